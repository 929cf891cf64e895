"""What the tests of the package share: 4x4 puzzles, and models that run in no time."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec


def all_boards() -> np.ndarray:
    """The 288 solved 4x4 boards, as int32 values of shape (288, 16)."""
    domain = Sudoku(2, 2)
    lines = list(itertools.permutations((1, 2, 3, 4)))
    first = np.array(list(itertools.product(lines, repeat=2)), np.int32).reshape(-1, 8)
    first = first[[len({*row[:2], *row[4:6]}) == 4 for row in first.tolist()]]
    first = first[[len({*row[2:4], *row[6:]}) == 4 for row in first.tolist()]]
    boards = np.concatenate(
        [np.concatenate((first, np.broadcast_to(other, first.shape)), 1) for other in first]
    )
    empty = np.ones_like(boards)
    return boards[domain.verify_tokens(empty, boards + 1)]


def make_puzzles(n: int, seed: int, givens: tuple[int, int] = (4, 10)) -> tuple[Any, Any]:
    """Values of puzzles with one solution, and of their solutions, each of shape (n, 16)."""
    rng = np.random.default_rng(seed)
    boards = all_boards()
    puzzles, solutions = [], []
    while len(puzzles) < n:
        board = boards[rng.integers(len(boards))]
        kept = np.zeros(16, bool)
        kept[rng.permutation(16)[: rng.integers(givens[0], givens[1] + 1)]] = True
        if (boards[:, kept] == board[kept]).all(1).sum() == 1:
            puzzles.append(np.where(kept, board, 0))
            solutions.append(board)
    return np.array(puzzles, np.int32), np.array(solutions, np.int32)


def text_of(values: np.ndarray) -> str:
    """A board as one line."""
    return "".join(map(str, values.tolist())).replace("0", ".")


def small_config(mixer: str = "structured", **changes: Any) -> ModelConfig:
    """A 4x4 model that runs in a fraction of a millisecond."""
    domain = get_domain("sudoku-4x4")
    shared: dict[str, Any] = {
        "vocab_size": 6,
        "seq_len": 16,
        "mixer": mixer,
        "hidden_size": 16,
        "ffn_size": 32,
        "L_layers": 1,
        "H_cycles": 1,
        "L_cycles": 2,
        "num_heads": 2,
    }
    if mixer == "structured":
        values = domain.vocabulary.answer_tokens
        shared |= {
            "answer_tokens": values,
            "given_tokens": values,
            "structure": domain.structure,
        }
    return ModelConfig(**(shared | changes))


def random_model(mixer: str = "structured", **changes: Any) -> tuple[ModelSpec, TRM]:
    """A model with random weights, always the same ones."""
    torch.manual_seed(7)
    config = small_config(mixer, **changes)
    spec = ModelSpec.for_domain(get_domain("sudoku-4x4"), config, SolveOptions(max_steps=8))
    return spec, TRM(config).eval()
