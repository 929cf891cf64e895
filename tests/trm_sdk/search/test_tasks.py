"""Tasks of several inputs, identifiers, clues beside the cells, and a domain's own mistakes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
import torch
from search_doubles import Counting
from small_models import random_model

from trm_sdk.aio import AsyncSolver
from trm_sdk.domains.data import Encoded
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.text import line_of, read_numbers
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.solution import Failure, Solution
from trm_sdk.solver import Solver
from trm_sdk.task import Task

Puzzles = tuple[list[str], list[str]]
STEPS = SolveOptions(max_steps=16)


def several(puzzles: Puzzles, first: int, count: int) -> Task:
    """A task with `count` inputs and their answers."""
    inputs, answers = (
        tuple(read_numbers(one) for one in some[first : first + count]) for some in puzzles
    )
    return Task(inputs, answers=answers, name=f"task {first}")


# --- several inputs ---------------------------------------------------------------------------


def test_all_inputs_of_a_task_are_solved_in_one_batch(solver: Solver, puzzles: Puzzles) -> None:
    counting = Counting(solver.runtime)
    task = several(puzzles, 0, 3)
    solution = Solver(counting, solver.domain).solve(task, STEPS)
    alone = [solver.solve(grid, STEPS) for grid in task.inputs]
    assert counting.batches[0] == 3
    assert solution.answers == tuple(one.grid for one in alone)
    assert solution.grid == alone[0].grid
    assert solution.steps == sum(one.steps for one in alone)
    assert solution.attempts == 3
    assert solution.confidence == pytest.approx(min(one.confidence for one in alone), abs=1e-4)
    assert solution.verified is all(one.verified for one in alone)
    assert solution.correct is (solution.answers == task.answers)
    assert len(solution.candidates) == 3
    assert str(solution) == "\n\n".join(map(solver.domain.format, solution.answers))


def test_one_wrong_answer_makes_the_task_wrong(solver: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(max_steps=1)
    right = [solver.solve(puzzle, options).verified is True for puzzle in puzzles[0]]
    good, bad = right.index(True), right.index(False)
    inputs = tuple(read_numbers(puzzles[0][i]) for i in (good, bad))
    answers = tuple(read_numbers(puzzles[1][i]) for i in (good, bad))
    solution = solver.solve(Task(inputs, answers=answers), options)
    assert solution.answers[0] == answers[0]
    assert (solution.verified, solution.correct) == (False, False)
    assert solution.stopped_by == "max_steps"
    assert [several[0].verified for several in solution.candidates] == [True, False]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_tasks_of_any_number_of_inputs_come_back_in_order(
    solver: Solver, puzzles: Puzzles, batch_size: int
) -> None:
    tasks: list[object] = []
    for first in range(0, 60, 6):
        tasks += [several(puzzles, first, 3), puzzles[0][first + 3], several(puzzles, first + 4, 2)]
    solutions = list(solver.solve_many(tasks, STEPS, batch_size))
    found = [line_of(grid) for solution in solutions for grid in solution.answers]
    asked = [line_of(grid) for solution in solutions for grid in solution.task.inputs]
    assert asked == puzzles[0][:60]
    assert sum(a == b for a, b in zip(found, puzzles[1], strict=False)) >= 57
    assert [len(solution.answers) for solution in solutions] == [3, 1, 2] * 10

    async def main() -> list[Solution]:
        async with AsyncSolver(solver, batch_size) as service:
            return list(await asyncio.gather(*(service.solve(task, STEPS) for task in tasks)))

    assert [one.answers for one in asyncio.run(main())] == [one.answers for one in solutions]


def test_a_stream_shows_one_input(solver: Solver, puzzles: Puzzles) -> None:
    task = several(puzzles, 0, 3)
    for index in range(3):
        steps = list(solver.stream(task, STEPS, index=index))
        alone = list(solver.stream(task.inputs[index], STEPS))
        assert [(one.grid, one.verified) for one in steps] == [
            (one.grid, one.verified) for one in alone
        ]
        assert steps[-1].grid == solver.solve(task, STEPS).answers[index]


def test_candidates_are_distinct_ranked_and_bounded(untrained: Solver) -> None:
    puzzle = "12" + "." * 14
    options = SolveOptions(max_steps=2, attempts=30, explore="noise", noise=2.0, verify=False)
    by_confidence = untrained.solve(puzzle, options.model_copy(update={"candidates": 100}))
    (found,) = by_confidence.candidates
    assert sum(one.votes for one in found) == 30
    assert len({one.grid for one in found}) == len(found) > 16
    assert found[0].grid == by_confidence.grid
    assert found[0].confidence == by_confidence.confidence
    sure = [one.confidence for one in found]
    assert sure == sorted(sure, reverse=True)
    assert [one.verified for one in found] == [False] * len(found)
    (few,) = untrained.solve(puzzle, options).candidates
    assert few == found[:16]
    voting = options.model_copy(update={"choose": "majority", "candidates": 100})
    (by_votes,) = untrained.solve(puzzle, voting).candidates
    counts = [one.votes for one in by_votes]
    assert counts == sorted(counts, reverse=True)
    assert {one.grid for one in by_votes} == {one.grid for one in found}


def test_the_confirmed_answer_leads_the_candidates(solver: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(max_steps=1, attempts=16, explore="guess")
    later = 0
    for puzzle in puzzles[0]:
        solution = solver.solve(puzzle, options)
        (found,) = solution.candidates
        assert found[0].grid == solution.grid
        assert found[0].verified is solution.verified
        assert [one.verified for one in found[1:]] == [False] * (len(found) - 1)
        later += len(found) > 1 and solution.verified is True
    assert later >= 5


def test_a_solution_as_plain_values(solver: Solver, puzzles: Puzzles) -> None:
    one = solver.solve(several(puzzles, 0, 1), STEPS)
    facts = one.to_dict()
    assert facts["puzzle"] == puzzles[0][0]
    assert facts["answer"] == line_of(one.grid)
    assert facts["name"] == "task 0"
    assert facts["correct"] is one.correct
    assert "candidates" not in facts
    assert json.loads(one.to_json()) == facts
    both = solver.solve(several(puzzles, 0, 2), STEPS)
    facts = json.loads(both.to_json(candidates=True))
    assert facts["puzzles"] == puzzles[0][:2]
    assert facts["answers"] == [line_of(grid) for grid in both.answers]
    assert [some[0]["answer"] for some in facts["candidates"]] == facts["answers"]
    assert facts["candidates"][0][0]["votes"] == 1


# --- identifiers ------------------------------------------------------------------------------


class Numbered(Sudoku):
    """4x4 Sudoku whose tasks say which row of the puzzle embedding they use."""

    identifiers = 3

    def encode(self, task: Task, index: int = 0) -> Encoded:
        return super().encode(task, index)._replace(identifier=task.metadata["number"])


def numbered() -> tuple[Solver, Any]:
    spec, model = random_model(
        "mlp_t", puzzle_emb_ndim=16, puzzle_emb_len=1, num_puzzle_identifiers=3
    )
    torch.nn.init.normal_(model.network.puzzle_emb)
    torch.nn.init.normal_(model.network.q_head.weight)
    return Solver(TorchRuntime(model, spec, device="cpu"), Numbered(2, 2)), model


def test_identifiers_reach_the_model_in_every_slot() -> None:
    solver, model = numbered()
    grid = read_numbers("12" + "." * 14)
    numbers = [0, 1, 2, 2, 1, 0, 1]
    tasks = [Task((grid,), metadata={"number": number}) for number in numbers]
    options = SolveOptions(max_steps=1, halt_threshold=1)
    tokens = torch.from_numpy(solver.domain.encode(tasks[0]).tokens[None])
    with torch.inference_mode():
        expected = [
            float(
                model(tokens, model.initial_state(1), torch.tensor([number], dtype=torch.int32))[
                    2
                ].sigmoid()
            )
            for number in range(3)
        ]
    assert len({round(one, 3) for one in expected}) == 3
    for batch_size in (1, 3, 16):  # restarted, appended
        solutions = list(solver.solve_many(tasks, options, batch_size))
        for number, solution in zip(numbers, solutions, strict=True):
            assert solution.confidence == pytest.approx(expected[number], abs=1e-3)


def test_an_identifier_that_the_model_lacks_fails_its_puzzle_alone() -> None:
    solver, _ = numbered()
    grid = read_numbers("12" + "." * 14)
    tasks = [Task((grid,), metadata={"number": number}) for number in (0, 3, 1)]
    options = SolveOptions(max_steps=1)
    one, failure, other = solver.solve_many(tasks, options, on_error="yield")
    assert isinstance(one, Solution)
    assert isinstance(other, Solution)
    assert isinstance(failure, Failure)
    assert "identifiers 0 to 2; got 3" in str(failure.error)


# --- clues beside the cells -------------------------------------------------------------------


class Cornered(Sudoku):
    """4x4 Sudoku with one more clue: what stands in the corner, in no cell of the puzzle."""

    clues_in_cells = False

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
        corner = task.metadata["corner"]
        return answer[0, 0] == corner and super().verify(task, answer, index) is True

    def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
        raise AssertionError("the cells don't say it all")


@pytest.mark.parametrize("explore", ["noise", "symmetry"])
def test_rules_that_need_more_than_cells_are_asked_about_the_task(
    solver: Solver, puzzles: Puzzles, explore: Any
) -> None:
    own = Solver(solver.runtime, Cornered(2, 2))
    options = SolveOptions(max_steps=8, attempts=3, explore=explore, patience=0)
    tasks, right = [], []
    for puzzle, answer in zip(puzzles[0][:30], puzzles[1], strict=False):
        for corner in (int(answer[0]), int(answer[0]) % 4 + 1):
            tasks.append(Task((read_numbers(puzzle),), metadata={"corner": corner}))
            right.append(corner == int(answer[0]))
    for solutions in (
        list(own.solve_many(tasks, options, batch_size=7)),
        [own.solve(task, options) for task in tasks[:20]],
    ):
        for solution, possible in zip(solutions, right, strict=False):
            assert solution.verified is own.domain.verify(solution.task, solution.grid)
            assert possible or solution.verified is False
        assert sum(one.verified is True for one in solutions) >= 0.45 * len(solutions)


# --- a domain's own mistakes ------------------------------------------------------------------

WHERE = ("check", "encode", "verify_tokens", "verify", "decode", "random_symmetry", "rules_out")


def spoilt(where: str) -> Sudoku:
    """A domain with a mistake in one of its methods, about puzzles that begin with a 4."""

    def is_bad(argument: object) -> bool:
        if isinstance(argument, Task):
            return bool(argument.inputs[0][0, 0] == 4)
        array = np.atleast_2d(np.asarray(argument))
        return bool((array[:, 0] == 5).any())

    def method(self: Sudoku, *arguments: Any) -> Any:
        if where == "random_symmetry" or is_bad(arguments[0]):
            raise KeyError(where)
        return getattr(Sudoku, where)(self, *arguments)

    methods = {"rules_out": lambda self, answer: False, where: method}
    return type("Spoilt", (Sudoku,), methods)(2, 2)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_mistake_in_the_domain_fails_its_puzzle_alone(
    solver: Solver, puzzles: Puzzles, where: str, batch_size: int
) -> None:
    own = Solver(solver.runtime, spoilt(where))
    bad = "4" + "." * 15
    good = [puzzle for puzzle in puzzles[0] if puzzle[0] in "123"][:8]
    if where == "decode":  # of answers, whose first value is 4
        known = dict(zip(*puzzles, strict=True))
        good = [puzzle for puzzle in puzzles[0] if known[puzzle][0] != "4"][:8]
    options = SolveOptions(max_steps=8)
    if where == "verify":  # is asked once, in the end
        options = SolveOptions(max_steps=4, verify=False)
    if where == "random_symmetry":
        options = SolveOptions(max_steps=1, attempts=2, explore="symmetry", patience=1)
    if where == "rules_out" and batch_size > 1:
        pytest.skip("asked about a batch of one alone")
    if where == "random_symmetry":
        with pytest.raises(KeyError, match=where):
            own.solve("1" + "." * 15, options)
        return
    mixed = [*good[:4], bad, *good[4:]]
    with pytest.raises(KeyError, match=where):
        own.solve(bad, options)
    results = list(own.solve_many(mixed, options, batch_size, on_error="yield"))
    failure = results.pop(4)
    assert isinstance(failure, Failure)
    assert failure.index == 4
    assert isinstance(failure.error, KeyError)
    expected = [solver.solve(puzzle, options) for puzzle in good]
    assert [one.grid for one in results] == [one.grid for one in expected]  # type: ignore[union-attr]
    raising = own.solve_many(mixed, options, batch_size)
    assert [next(raising).grid for _ in range(4)] == [one.grid for one in expected[:4]]
    with pytest.raises(KeyError, match=where):
        next(raising)

    async def main() -> list[Any]:
        async with AsyncSolver(own, batch_size) as service:
            return [one async for one in service.solve_many(mixed, options, on_error="yield")]

    again = asyncio.run(main())
    assert isinstance(again[4], Failure)
    assert isinstance(again.pop(4).error, KeyError)
    assert [one.grid for one in again] == [one.grid for one in expected]


def test_one_input_that_fails_fails_its_task(solver: Solver, puzzles: Puzzles) -> None:
    own = Solver(solver.runtime, spoilt("verify_tokens"))
    good = read_numbers(next(puzzle for puzzle in puzzles[0] if puzzle[0] in "123"))
    task = Task((good, read_numbers("4" + "." * 15), good))
    with pytest.raises(KeyError, match="verify_tokens"):
        own.solve(task, STEPS)
    first, second = own.solve_many([task, good], STEPS, on_error="yield")
    assert isinstance(first, Failure)
    assert isinstance(second, Solution)


@pytest.mark.parametrize("yes", [np.True_, 1, np.array(1)])
def test_verdicts_are_taken_as_plain_booleans(solver: Solver, puzzles: Puzzles, yes: Any) -> None:
    class Loose(Sudoku):
        def verify(self, task: Task, answer: Grid, index: int = 0) -> Any:
            return yes if super().verify(task, answer, index) else 0

        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            return [int(one) for one in super().verify_tokens(tokens, answers, shape)]

    own = Solver(solver.runtime, Loose(2, 2))
    for verify in (True, False):
        options = SolveOptions(max_steps=8, verify=verify)
        found = [own.solve(puzzle, options).verified for puzzle in puzzles[0][:10]]
        found += [one.verified for one in own.solve_many(puzzles[0][:10], options)]
        assert {type(one) for one in found} == {bool}
        assert sum(found) >= 16
        assert all(type(step.verified) is bool for step in own.stream(puzzles[0][0], options))


def test_rules_that_give_no_verdict_are_a_mistake(solver: Solver, puzzles: Puzzles) -> None:
    class Mute(Sudoku):
        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            return None

        def rules_out(self, answer: list[int]) -> bool:
            return False

    with pytest.raises(InvalidInputError, match="verify_tokens of sudoku-4x4 must return a bool"):
        Solver(solver.runtime, Mute(2, 2)).solve(puzzles[0][0])


# --- what a domain's encode must return ---------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tokens": np.zeros(15, np.int32)}, r"must return 16 tokens and givens .* got .*\(15,\)"),
        ({"given": np.zeros((4, 4), bool)}, r"must return 16 tokens and givens .* got .*\(4, 4\)"),
        ({"tokens": np.full(16, 77, np.int32)}, "77"),
        ({"tokens": np.full(16, -3, np.int32)}, "-3"),
    ],
)
def test_what_encode_returns_is_checked(
    solver: Solver, puzzles: Puzzles, change: dict[str, Any], named: str
) -> None:
    class Careless(Sudoku):
        def encode(self, task: Task, index: int = 0) -> Encoded:
            return super().encode(task, index)._replace(**change)

    careless = Solver(solver.runtime, Careless(2, 2))
    with pytest.raises(InvalidInputError, match=named):
        careless.solve(puzzles[0][0], STEPS)
