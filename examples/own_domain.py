"""A puzzle of your own: Latin squares, from rules to a solver in a minute of training on one core.

    python examples/own_domain.py [--size 5] [--steps 100] [--save FOLDER]

A Latin square holds each value once in every row and column. What the puzzle is stands in the class
below; nothing of the model, the recursion, the solver or the export knows anything about it.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from trm_sdk import Domain, Grid, SolveOptions, Solver, Task
from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.structure import Relation, Structure


class LatinSquare(Domain):
    """Every row and column holds each of the values 1 to `size` once."""

    def __init__(self, size: int) -> None:
        self.name = f"latin-{size}x{size}"
        self.shape = (size, size)
        self.vocabulary = ("pad", "empty", *(str(value) for value in range(1, size + 1)))
        cells = np.arange(size * size).reshape(size, size)
        self.lines = np.concatenate((cells, cells.T))

        def relation(name: str, sets: np.ndarray) -> Relation:
            # Rows and columns change places by transposition, so they may share their weights.
            return Relation(name=name, sets=tuple(map(tuple, sets.tolist())), weights="line")

        self.structure = Structure(
            cells=size * size,
            relations=(relation("row", cells), relation("column", cells.T)),
            interchangeable_values=True,
        )

    def check(self, task: Task) -> None:
        for number, line in enumerate(task.grid.cells.reshape(-1)[self.lines]):
            given = line[line > 0]
            if len(set(given.tolist())) < len(given):
                kind = "row" if number < self.shape[0] else "column"
                raise InvalidInputError(
                    f"contradicting givens in {kind} {number % self.shape[0] + 1}"
                )

    def verify(self, task: Task, answer: Grid) -> bool:
        given, cells = task.grid.cells, answer.cells
        whole = (np.sort(cells.reshape(-1)[self.lines]) == np.arange(1, self.shape[0] + 1)).all()
        return bool(whole) and bool(((given == 0) | (given == cells)).all())


def all_squares(size: int) -> np.ndarray:
    """Every Latin square, shape (n, size * size): 161,280 of 5x5."""
    lines = np.array(list(itertools.permutations(range(1, size + 1))), np.int8)
    squares = lines[:, None]
    for _ in range(size - 1):
        fits = (squares[:, None] != lines[None, :, None]).all((2, 3))
        above, below = np.nonzero(fits)
        squares = np.concatenate((squares[above], lines[below][:, None]), axis=1)
    return squares.reshape(len(squares), -1)


def puzzles(squares: np.ndarray, n: int, givens: tuple[int, int], seed: int) -> tuple:
    """n puzzles with one solution each, and the solutions, as tokens; by trial and rejection."""
    rng = np.random.default_rng(seed)
    questions, answers = [], []
    while len(questions) < n:
        square = squares[rng.integers(len(squares))]
        kept = rng.permutation(len(square))[: rng.integers(givens[0], givens[1] + 1)]
        if (squares[:, kept] == square[kept]).all(1).sum() == 1:
            question = np.zeros_like(square)
            question[kept] = square[kept]
            questions.append(question)
            answers.append(square)
    return np.array(questions, np.int64) + 1, np.array(answers, np.int64) + 1


def train(model: TRM, tokens: np.ndarray, answers: np.ndarray, steps: int) -> None:
    """Deep supervision: refine, take the loss, cut the state off, refine on."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1, (step + 1) / 20, 4 * (1 - step / steps))
        rows = rng.integers(len(tokens), size=64)
        question, target = torch.from_numpy(tokens[rows]), torch.from_numpy(answers[rows])
        state = model.initial_state(len(rows))
        for _ in range(4):
            state, logits, halt = model(question, state.detach())
            right = (model.answer(question, logits) == target).all(1).float()
            loss = F.cross_entropy(logits.flatten(0, 1), (target - 2).flatten())
            loss = loss + 0.2 * F.binary_cross_entropy_with_logits(halt, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % 20 == 19:
            print(f"step {step + 1}: {right.mean():.0%} of a batch solved after 4 refinements")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=5, choices=(4, 5))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--save", type=Path, help="Write the model into this folder.")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    domain = LatinSquare(arguments.size)
    cells = domain.seq_len
    config = ModelConfig(
        vocab_size=len(domain.vocabulary),
        seq_len=cells,
        mixer="structured",
        structure=domain.structure,
        hidden_size=24,
        ffn_size=48,
        L_layers=1,
        H_cycles=1,
        L_cycles=2,
        answer_tokens=tuple(range(2, len(domain.vocabulary))),  # logits for the values alone
        given_tokens=tuple(range(2, len(domain.vocabulary))),  # and givens stand as they are
    )
    spec = ModelSpec.for_domain(domain, config, SolveOptions(max_steps=24))
    squares = all_squares(arguments.size)
    model = TRM(config)
    train(model, *puzzles(squares, 1000, (cells // 3, 2 * cells // 3), seed=1), arguments.steps)

    solver = Solver(TorchRuntime(model.eval(), spec, device="cpu"), domain)
    tokens, _ = puzzles(squares, 100, (cells // 3, cells // 2), seed=2)
    tasks = [domain.decode_task(row) for row in tokens]
    solutions = list(solver.solve_many(tasks))
    print(f"\n{tasks[0].grid}\n\nbecomes\n\n{solutions[0].grid}\n")
    print(f"{sum(bool(s.verified) for s in solutions)} of {len(tasks)} new puzzles solved")
    if arguments.save:
        save_model(arguments.save, spec, model.state_dict())
        print(f"saved; next: trm-export onnx {arguments.save} -o latin.onnx")


if __name__ == "__main__":
    main()
