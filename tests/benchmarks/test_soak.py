"""Many threads on one solver: seconds by default, as long as TRM_SOAK_SECONDS says."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("numba")
from benchmarks.soak import Worker, soak
from benchmarks.sudoku_sets import generated, sudoku_of
from trm_sdk import Grid, Solver

SECONDS = float(os.environ.get("TRM_SOAK_SECONDS", "4"))


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver.from_pretrained("sudoku", threads=2)


@pytest.mark.soak
def test_threads_that_share_a_solver_get_their_own_answers_and_memory_stays(
    solver: Solver,
) -> None:
    tasks = generated(sudoku_of(solver), 100)
    reports: list[dict[str, object]] = []
    found = soak(solver, tasks, SECONDS, workers=4, report=reports.append)
    assert found["puzzles"] > 0
    assert found["verified"] > 0
    assert (found["wrong"], found["errors"]) == (0, 0)
    assert found["minutes"] >= SECONDS / 60
    # What is allocated once (buffers of each batch size) is allocated in the first seconds.
    assert found["growth"] < (0.02 if SECONDS >= 60 else 0.25)
    assert len(reports) >= SECONDS // 10 - 1
    if SECONDS >= 60:
        assert found["solves_timed"] > 0
        assert None not in found["p99_ms"]


def test_a_row_of_another_puzzle_would_be_seen(solver: Solver) -> None:
    one, other = generated(sudoku_of(solver), 2)
    worker = Worker(solver, [one], 0.0, 0)
    assert one.answer is not None
    assert other.answer is not None
    worker._count(one, one.answer, True)
    assert worker.counts == {"puzzles": 1, "verified": 1, "wrong": 0, "errors": 0}
    worker._count(one, other.answer, False)
    cells = one.answer.cells.copy()
    blank = int((one.grid.cells.ravel() == 0).argmax())
    cells.flat[blank] = cells.flat[blank] % 9 + 1
    worker._count(one, Grid(cells), True)
    assert worker.counts == {"puzzles": 3, "verified": 2, "wrong": 2, "errors": 0}
    worker._count(one, Grid(cells), False)  # not verified: only not solved
    assert worker.counts["wrong"] == 2
