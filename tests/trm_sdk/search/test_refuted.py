"""Puzzles without a solution: they end early, said to have none only where the rules prove it."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest

from trm_sdk import Solver
from trm_sdk.domains.base import Domain
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.task import Task

NINE, FOUR = Sudoku(3, 3), Sudoku(2, 2)


class Silent(Sudoku):
    """The same rules without deduction: nobody can tell how many solutions there are."""

    def check(self, task: Task) -> None:
        pass

    def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
        return Domain.count_solutions(self, task, index, limit)


@cache
def unsolvable() -> list[Task]:
    """Minimal 9x9 puzzles with a wrong clue more, which singles don't show to have no solution."""
    puzzles, _ = engine.generate(600, (3, 3), seed=5)
    rng = np.random.default_rng(5)
    for board in puzzles:
        board[rng.choice(np.flatnonzero(board == 0))] = rng.integers(1, 10)
    counts, _, _ = engine.solve_count(puzzles)
    tasks = [Task((Grid(board.reshape(9, 9)),)) for board in puzzles[counts == 0]]
    found = []
    for task in tasks:
        with suppress(InvalidInputError):
            found.append(NINE.parse(task))
    return found


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver.from_pretrained("sudoku", threads=1)


@pytest.mark.parametrize(
    "options",
    [
        None,
        SolveOptions(attempts=1, max_steps=3),
        SolveOptions(attempts=9, max_steps=3, explore="noise"),
        SolveOptions(attempts=9, max_steps=3, explore="symmetry", choose="majority", width=1),
        SolveOptions(attempts=9, max_steps=16, explore="guess", patience=3, width=1),
    ],
    ids=["defaults", "one attempt", "noise", "vote", "patience"],
)
def test_what_has_no_solution_ends_when_the_first_attempt_has_failed(
    solver: Solver, options: SolveOptions | None
) -> None:
    tasks = unsolvable()
    assert len(tasks) > 10
    for solution in solver.solve_many(tasks[:4], options, batch_size=4):
        assert (solution.stopped_by, solution.verified) == ("refuted", False)
        first = solver.complete(options).max_steps if options is None else 3
        assert solution.steps <= first * solution.attempts
        assert solution.attempts <= 9
        if options is None or options.choose != "majority":
            assert (solution.attempts, solution.steps) == (1, first)
        assert solution.unique is None
        assert (solution.grid.cells > 0).all()


def test_a_tree_of_guesses_is_not_begun_where_there_is_no_solution() -> None:
    with Solver.from_pretrained("sudoku", threads=1) as solver:
        assert solver.options.explore == "tree"
        solution = solver.solve(unsolvable()[0])
    assert (solution.stopped_by, solution.attempts) == ("refuted", 1)


def test_the_last_step_of_a_stream_says_so(solver: Solver) -> None:
    steps = list(solver.stream(unsolvable()[0], SolveOptions(max_steps=3)))
    assert [step.refuted for step in steps] == [False, False, True]
    assert not any(step.verified for step in steps)
    solvable = solver.stream(NINE.generate(np.random.default_rng(1), **NINE.generator_options({})))
    assert not any(step.refuted for step in solvable)


def test_the_rules_left_aside_refute_nothing(solver: Solver) -> None:
    options = SolveOptions(attempts=1, max_steps=3, verify=False)
    assert solver.solve(unsolvable()[0], options).stopped_by == "max_steps"


def test_a_domain_without_deduction_refutes_nothing(solver: Solver) -> None:
    silent = Solver(solver.runtime, Silent(3, 3))
    contradicting = Task((Grid([[5, 5, *[0] * 7], *[[0] * 9] * 8]),))
    for task in (unsolvable()[0], contradicting):
        solution = silent.solve(task, SolveOptions(attempts=3, max_steps=3))
        assert (solution.stopped_by, solution.attempts) == ("max_steps", 3)


def test_a_search_for_a_solution_that_exists_is_not_told_of_it(solver: Solver) -> None:
    """The same attempts and steps, whether the domain can count solutions or not."""
    silent = Solver(solver.runtime, Silent(3, 3))
    made = NINE.examples(12, 77)
    tasks = [NINE.decode_task(tokens) for tokens in made.tokens]
    options = SolveOptions(max_steps=2, attempts=12, seed=4)
    pairs = list(
        zip(solver.solve_many(tasks, options), silent.solve_many(tasks, options), strict=True)
    )
    for one, other in pairs:
        assert one.stopped_by == other.stopped_by != "refuted"
        assert (one.grid, one.steps, one.attempts) == (other.grid, other.steps, other.attempts)
    assert any(one.attempts > 1 for one, _ in pairs)


def test_a_proof_that_takes_too_long_leaves_the_search_as_it_is(
    solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trm_sdk.domains.deduction.MAX_WORK", 0)
    solution = solver.solve(unsolvable()[0], SolveOptions(attempts=3, max_steps=3))
    assert (solution.stopped_by, solution.attempts) == ("max_steps", 3)


def test_of_several_inputs_one_without_solution_is_enough() -> None:
    class Pair(Sudoku):
        def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
            return 0 if index == 1 else None

        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            return np.zeros(len(tokens), bool)

    runtime = Solver.from_pretrained("sudoku-4x4", threads=1).runtime
    empty = FOUR.parse("." * 16).grid
    solution = Solver(runtime, Pair(2, 2)).solve(
        Task((empty, empty)), SolveOptions(attempts=1, max_steps=2)
    )
    assert solution.stopped_by == "refuted"
    assert len(solution.answers) == 2
