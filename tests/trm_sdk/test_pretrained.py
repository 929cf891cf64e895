"""The bundled models, as a user meets them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import make_puzzles, text_of

from trm_sdk.domains.sudoku import engine
from trm_sdk.domains.text import line_of
from trm_sdk.info import describe
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.folder import MODEL_FILES
from trm_sdk.persistence.hub import BUNDLED, list_pretrained
from trm_sdk.solver import Solver

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
NAMES = ("sudoku", "sudoku-16x16", "sudoku-4x4")
#: Takes more than a step or two.
BRUTE = "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9"
BRUTE_ANSWER = "987654321246173985351928746128537694634892157795461832519286473472319568863745219"


#: Puzzles with six clues to spare, by the domain whose name opens the model.
VARIANTS = {
    "sudoku-x": "..2.........3.7..83...6...1.....8.29..5..1......9.....8..7..1..6.7.3.9.....8.6..2",
    "windoku": "..2.....6.16..34..3...7...2..7....5.2..8.........5.2.......7...1.49...8.7..41....",
    "jigsaw": (
        "8..1....6.....4..7..1..7.9....3...4...2.83.5.63.9.578.......6.....8.6.2.......... "
        "111112333141212533142222553442266553444666533747666558747698588777798888799999998"
    ),
}


def test_the_promised_models_are_there() -> None:
    assert {*NAMES, "maze"} == set(list_pretrained())


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_solved_by_the_name_of_their_domain(name: str) -> None:
    solver = Solver.from_pretrained(name, threads=1)
    assert solver.domain.name == name
    solution = solver.solve(VARIANTS[name])
    assert solution.verified
    assert solution.unique is not False


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_whole(name: str) -> None:
    assert {path.name for path in (BUNDLED / name).iterdir()} >= set(MODEL_FILES)
    facts = describe(name)
    assert facts["domain"] == name
    assert facts["graph"].startswith("step, ")


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_and_the_weights_are_one_model(name: str) -> None:
    onnx = Solver.from_pretrained(name, runtime="onnx", threads=1)
    torch = Solver.from_pretrained(name, runtime="torch", device="cpu")
    assert onnx.spec == torch.spec
    tokens = np.ones((1, onnx.domain.seq_len), np.int32)
    tokens[0, ::3] = 2  # no puzzle; any tokens will do
    one, other = onnx.runtime.start(tokens), torch.runtime.start(tokens)
    for _ in range(2):
        one, logits, halt, _ = onnx.runtime.step(one)
        other, logits_torch, halt_torch, _ = torch.runtime.step(other)
        np.testing.assert_allclose(logits, logits_torch, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(halt, halt_torch, atol=1e-4, rtol=1e-4)


def test_sudoku_solves_an_easy_puzzle() -> None:
    solution = Solver.from_pretrained("sudoku", threads=1).solve(EASY)
    assert line_of(solution.grid) == ANSWER
    assert solution.verified is True


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_one_attempt_takes_the_steps_it_always_took(runtime: Any) -> None:
    solver = Solver.from_pretrained("sudoku", runtime=runtime, device="cpu", threads=1)
    options = SolveOptions(attempts=1, max_steps=32)
    found = list(solver.solve_many((EASY, BRUTE), options=options))
    assert [(one.steps, one.verified) for one in found] == [(3, True), (7, True)]
    assert [line_of(one.grid) for one in found] == [ANSWER, BRUTE_ANSWER]
    alone = [solver.solve(puzzle, options) for puzzle in (EASY, BRUTE)]
    assert [(one.steps, one.grid) for one in alone] == [(one.steps, one.grid) for one in found]


def test_16x16_boards_of_two_in_five_givens_are_solved() -> None:
    puzzles, solutions = engine.generate(10, (4, 4), seed=123, givens=(102, 102))
    solver = Solver.from_pretrained("sudoku-16x16", threads=1)
    found = list(solver.solve_many([puzzle.reshape(16, 16) for puzzle in puzzles]))
    assert all(solution.verified for solution in found)
    for solution, answer in zip(found, solutions, strict=True):
        assert solution.grid.cells.reshape(-1).tolist() == answer.tolist()


def test_sudoku_4x4_solves_nearly_all() -> None:
    puzzles, solutions = make_puzzles(300, seed=123)
    solver = Solver.from_pretrained("sudoku-4x4", threads=1)
    found = [line_of(s.grid) for s in solver.solve_many(map(text_of, puzzles))]
    right = sum(f == text_of(s) for f, s in zip(found, solutions, strict=True))
    assert right >= 0.99 * len(found)


def test_real_puzzles_of_seventeen_clues_are_solved() -> None:
    """The first of a published list, never trained on; more attempts solve more of them."""
    with (Path(__file__).parent / "clue17.csv").open(newline="", encoding="utf-8") as file:
        puzzles = [row["question"] for row in csv.DictReader(file)]
    solver = Solver.from_pretrained("sudoku", threads=1)
    alone = solver.solve_many(puzzles, SolveOptions(attempts=1))
    solved = sum(s.verified is True for s in alone)
    assert solved >= 0.45 * len(puzzles)
    more = sum(s.verified is True for s in solver.solve_many(puzzles))
    assert more >= max(solved, 0.98 * len(puzzles))


def test_the_command_line_solves_with_the_bundled_model() -> None:
    command = [sys.executable, "-m", "trm_sdk.cli", "solve", EASY, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["answer"] == ANSWER
