"""`time_puzzles`: what is timed, and what is left out aloud."""

from __future__ import annotations

import pytest

from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.options import SolveOptions
from trm_sdk.solver import Solver
from trm_sdk.timing import time_puzzles


def test_puzzles_that_can_not_be_read_are_named(
    solver: Solver, puzzles: tuple[list[str], list[str]]
) -> None:
    bad = [TRMError(f"p.txt:{line}: no puzzle") for line in range(5)]
    tasks = [solver.parse(puzzle) for puzzle in puzzles[0][:3]]
    named = "5 of 8 puzzles can't be read.*p.txt:0: no puzzle; .*p.txt:2: no puzzle; and 2 more$"
    with pytest.warns(RuntimeWarning, match=named):
        times = time_puzzles(solver, [*bad, *tasks], 8, SolveOptions(max_steps=2))
    assert times.puzzles == 3
    assert len(times.unreadable) == 5
    with pytest.raises(InvalidInputError, match="none of the puzzles can be read: p"):
        time_puzzles(solver, bad, 8)
