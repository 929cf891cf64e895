"""Models for the tests: a small one trained here, small random ones, and their graphs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from export.exporter import export_onnx
from trm_sdk.checkpoint import save_model
from trm_sdk.domains import Sudoku, get_domain
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.solver import Solver
from trm_sdk.spec import ModelSpec

torch.set_num_threads(1)


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
        shared |= {"output_offset": 2, "givens_from": 2, "structure": domain.structure}
    return ModelConfig(**(shared | changes))


def random_model(mixer: str = "structured", **changes: Any) -> tuple[ModelSpec, TRM]:
    """A model with random weights, always the same ones."""
    torch.manual_seed(7)
    config = small_config(mixer, **changes)
    spec = ModelSpec.for_domain(get_domain("sudoku-4x4"), config, SolveOptions(max_steps=8))
    return spec, TRM(config).eval()


def _train(model: TRM, steps: int) -> None:
    """Deep supervision on 4x4 puzzles: enough to solve most of them, in a few seconds."""
    puzzles, solutions = make_puzzles(2000, seed=1)
    rng = np.random.default_rng(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        rows = rng.integers(len(puzzles), size=64)
        tokens = torch.from_numpy(puzzles[rows] + 1)
        targets = torch.from_numpy(solutions[rows] + 1).long()
        state = model.initial_state(len(rows))
        for _ in range(3):
            state, logits, halt_logit = model(tokens, state.detach())
            wrong = model.answer(tokens, logits) != targets
            right = (~wrong.any(1)).float()
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten() - 2)
            loss = loss + 0.3 * F.binary_cross_entropy_with_logits(halt_logit, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a small trained 4x4 model: weights, config, step graph, card."""
    spec, model = random_model(L_cycles=1)
    _train(model, 60)
    folder = save_model(tmp_path_factory.mktemp("models") / "small", spec, model.state_dict())
    export_onnx(folder, folder / "model.onnx")
    (folder / "README.md").write_text("# small\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def solver(model_folder: Path) -> Solver:
    """That model on onnxruntime."""
    return Solver.from_pretrained(model_folder, runtime="onnx", threads=1)


@pytest.fixture(scope="session")
def torch_solver(model_folder: Path) -> Solver:
    """That model on PyTorch."""
    return Solver.from_pretrained(model_folder, runtime="torch", device="cpu", threads=1)


@pytest.fixture(scope="session")
def untrained() -> Solver:
    """A model that knows nothing, and so solves next to nothing."""
    spec, model = random_model()
    return Solver(TorchRuntime(model, spec, device="cpu"))


@pytest.fixture(scope="session")
def puzzles() -> tuple[list[str], list[str]]:
    """200 puzzles of 4 to 10 givens that training has not seen, and their solutions."""
    unsolved, solutions = make_puzzles(200, seed=99)
    return [text_of(row) for row in unsolved], [text_of(row) for row in solutions]
