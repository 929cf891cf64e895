"""Attempts, halting, rules and budgets, on real models."""

from __future__ import annotations

from time import perf_counter, sleep
from typing import Any

import numpy as np
import pytest
from search_doubles import Counting, Lawless, Watching, run, solve_all

from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.text import line_of
from trm_sdk.errors import ConfigError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime, StepInterruptedError, StepOutput
from trm_sdk.search.requests import Request
from trm_sdk.search.select import candidates, count, ranked
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Candidate
from trm_sdk.solver import Solver

Puzzles = tuple[list[str], list[str]]


@pytest.mark.parametrize("capacity", [1, 3, 16, 300])
def test_rows_are_refilled_and_every_puzzle_gets_its_own_answer(
    solver: Solver, puzzles: Puzzles, capacity: int
) -> None:
    solutions, batches = solve_all(solver, puzzles[0], SolveOptions(max_steps=16), capacity)
    assert len(solutions) == 200
    for puzzle, answer, solution in zip(*puzzles, solutions, strict=True):
        assert line_of(solution.task.grid) == puzzle
        assert solution.verified == (line_of(solution.grid) == answer)
        assert solution.attempts == 1
    assert sum(solution.verified is True for solution in solutions) >= 190
    # No row is idle while puzzles wait, and every row of every step is accounted for.
    assert sum(batches) == sum(solution.steps for solution in solutions)
    first_short = next((i for i, rows in enumerate(batches) if rows < capacity), len(batches))
    assert all(rows <= capacity for rows in batches)
    assert batches == batches[:first_short] + sorted(batches[first_short:], reverse=True)


def test_the_rules_are_asked_at_every_step(torch_solver: Solver, puzzles: Puzzles) -> None:
    """A solve stops at the first step whose answer is right, not one later."""
    later = 0
    for puzzle in puzzles[0][:40]:
        solution = torch_solver.solve(puzzle, SolveOptions(max_steps=8))
        steps = list(torch_solver.stream(puzzle, SolveOptions(max_steps=8)))
        assert len(steps) == solution.steps
        assert [step.verified for step in steps[:-1]] == [False] * (len(steps) - 1)
        assert steps[-1].grid == solution.grid
        assert steps[-1].confidence == pytest.approx(solution.confidence, abs=1e-5)
        later += solution.steps > 1
    assert later


def test_a_halted_answer_that_the_rules_refute_goes_on(solver: Solver, puzzles: Puzzles) -> None:
    patient, _ = solve_all(solver, puzzles[0], SolveOptions(max_steps=8), 32)
    hasty, _ = solve_all(solver, puzzles[0], SolveOptions(max_steps=8, halt_threshold=0), 32)
    assert [s.grid for s in hasty] == [s.grid for s in patient]
    assert max(s.steps for s in hasty) > 1
    assert {s.stopped_by for s in hasty} <= {"verified", "max_steps"}


@pytest.mark.parametrize("lawless", [False, True])
def test_without_rules_the_halting_head_decides(
    solver: Solver, puzzles: Puzzles, lawless: bool
) -> None:
    domain = Lawless(2, 2) if lawless else solver.domain
    own = Solver(solver.runtime, domain)
    for threshold, stopped_by in ((0.0, "halted"), (1.0, "max_steps")):
        options = SolveOptions(max_steps=4, halt_threshold=threshold, verify=lawless)
        for puzzle in puzzles[0][:10]:
            solution = own.solve(puzzle, options)
            assert solution.stopped_by == stopped_by
            assert solution.steps == (1 if threshold == 0 else 4)
            # Even unused, the rules tell whether the answer is right, where there are any.
            assert (solution.verified is None) == lawless
    options = SolveOptions(max_steps=16, halt_threshold=0.5, verify=lawless)
    solutions, _ = solve_all(own, puzzles[0], options, 32)
    halted = [s for s in solutions if s.stopped_by == "halted"]
    assert len(halted) > 150
    assert all(s.confidence > 0.5 for s in halted)
    right = sum(line_of(s.grid) == a for s, a in zip(solutions, puzzles[1], strict=True))
    assert right > 140


@pytest.mark.parametrize(
    ("patience", "batches"),
    [
        (None, [1] * 5 + [3] * 5),
        (9, [1] * 5 + [3] * 5),
        (2, [1] * 2 + [4] * 3 + [3] * 2),
        (0, [4] * 5),
    ],
)
@pytest.mark.parametrize("explore", ["noise", "symmetry"])
def test_later_attempts_start_together_when_patience_ends(
    untrained: Solver, patience: int | None, batches: list[int], explore: Any
) -> None:
    options = SolveOptions(max_steps=5, attempts=4, explore=explore, patience=patience)
    (solution,), seen = solve_all(untrained, ["1" + "." * 15], options, 16)
    assert seen == batches
    assert (solution.steps, solution.attempts) == (20, 4)
    assert (solution.verified, solution.stopped_by) == (False, "max_steps")


def test_more_attempts_than_rows_run_in_waves(untrained: Solver) -> None:
    options = SolveOptions(max_steps=3, attempts=8, explore="noise", patience=0)
    (solution,), seen = solve_all(untrained, ["1" + "." * 15], options, 3)
    assert seen == [3, 3, 3, 3, 3, 3, 2, 2, 2]
    assert (solution.steps, solution.attempts) == (24, 8)


@pytest.mark.parametrize(
    ("patience", "batches"),
    [
        (None, [1] * 5 + [3] * 10),
        (2, [1] * 2 + [3] * 10 + [1] * 3),  # the plain attempt is one of the three at first
        (0, [3] * 10 + [1] * 5),
    ],
)
def test_width_is_how_many_attempts_are_under_way(
    untrained: Solver, patience: int | None, batches: list[int]
) -> None:
    options = SolveOptions(max_steps=5, attempts=7, explore="noise", patience=patience, width=3)
    (solution,), seen = solve_all(untrained, ["1" + "." * 15], options, 16)
    assert seen == batches
    assert (solution.steps, solution.attempts) == (35, 7)
    # A single solve has no more rows than that, and ends the same.
    counting = Counting(untrained.runtime)
    single = Solver(counting).solve("1" + "." * 15, options)
    assert counting.batches == batches
    assert (single.grid, single.confidence) == (solution.grid, solution.confidence)


def test_a_narrow_search_leaves_rows_to_other_puzzles(untrained: Solver) -> None:
    options = SolveOptions(max_steps=4, attempts=5, explore="noise", width=2)
    solutions, seen = solve_all(untrained, ["1" + "." * 15] * 4, options, 8)
    assert seen == [4] * 4 + [8] * 8
    assert [(s.steps, s.attempts) for s in solutions] == [(20, 5)] * 4


def test_the_first_look_at_an_answer_changes_nothing_but_time(
    solver: Solver, puzzles: Puzzles
) -> None:
    """One row alone asks `Domain.rules_out` first; a domain without it comes to the same."""

    class Plain(Sudoku):
        def rules_out(self, answer: list[int]) -> bool:
            seen.append(answer)
            return False

    seen: list[list[int]] = []
    plain = Solver(solver.runtime, Plain(2, 2))
    options = SolveOptions(max_steps=6)
    for puzzle in puzzles[0][:60]:
        one, other = solver.solve(puzzle, options), plain.solve(puzzle, options)
        assert (one.grid, one.steps, one.verified) == (other.grid, other.steps, other.verified)
        assert seen[-1] == (np.array(other.grid.tolist()).ravel() + 1).tolist()
        givens = np.array(other.task.grid.tolist()).ravel()
        assert all((np.array(answer) == givens + 1)[givens > 0].all() for answer in seen)
        seen.clear()


def test_attempts_solve_what_one_does_not(solver: Solver, puzzles: Puzzles) -> None:
    plain, _ = solve_all(solver, puzzles[0], SolveOptions(max_steps=1), 64)
    options = SolveOptions(max_steps=1, attempts=16, explore="noise", noise=0.3)
    tried, _ = solve_all(solver, puzzles[0], options, 64)
    failed = [i for i, solution in enumerate(plain) if not solution.verified]
    assert len(failed) >= 10
    assert all(t.verified for t, p in zip(tried, plain, strict=True) if p.verified)
    assert sum(tried[i].verified is True for i in failed) >= len(failed) / 2
    assert all(t.attempts == 1 for t, p in zip(tried, plain, strict=True) if p.verified)


def test_a_guess_solves_what_the_plain_attempt_does_not(solver: Solver, puzzles: Puzzles) -> None:
    plain, _ = solve_all(solver, puzzles[0], SolveOptions(max_steps=1), 64)
    options = SolveOptions(max_steps=1, attempts=16, explore="guess")
    tried, _ = solve_all(solver, puzzles[0], options, 64)
    failed = [i for i, solution in enumerate(plain) if not solution.verified]
    assert len(failed) >= 10
    assert sum(tried[i].verified is True for i in failed) >= len(failed) / 2
    for solution, before, answer in zip(tried, plain, puzzles[1], strict=True):
        assert solution.verified == (line_of(solution.grid) == answer)
        assert (solution.attempts > 1) == (before.verified is False)


@pytest.mark.parametrize(("patience", "choose"), [(None, "auto"), (2, "auto"), (2, "majority")])
def test_guesses_fill_in_one_empty_cell_each_and_never_the_same(
    untrained: Solver, patience: int | None, choose: Any
) -> None:
    watching = Watching(untrained.runtime)
    options = SolveOptions(
        max_steps=3, attempts=30, explore="guess", patience=patience, choose=choose
    )
    puzzle = "12" + "." * 14
    solution = Solver(watching).solve(puzzle, options)
    assert (solution.attempts, solution.steps, solution.verified) == (30, 90, False)
    assert line_of(solution.grid)[:2] == "12"
    first, *others = watching.seen
    assert first == [2, 3] + [1] * 14
    guesses = [[(i, t) for i, t in enumerate(row) if t != first[i]] for row in others]
    assert len(guesses) == 29
    assert all(len(guess) == 1 for guess in guesses)
    assert all(cell >= 2 and 2 <= token <= 5 for ((cell, token),) in guesses)
    assert len({guess[0] for guess in guesses}) == 29
    # Drawn: another seed, other guesses; the same seed, the same.
    again = Watching(untrained.runtime)
    Solver(again).solve(puzzle, options)
    assert again.seen == watching.seen
    other = Watching(untrained.runtime)
    Solver(other).solve(puzzle, options.model_copy(update={"seed": 1}))
    assert other.seen != watching.seen


def test_when_every_single_guess_has_been_tried_two_are_made_at_once(untrained: Solver) -> None:
    watching = Watching(untrained.runtime)
    options = SolveOptions(max_steps=1, attempts=20, explore="guess")
    Solver(watching).solve("12343412214343..", options)
    first, *others = watching.seen
    changed = [sum(a != b for a, b in zip(row, first, strict=True)) for row in others]
    assert changed[:8] == [1] * 8
    assert max(changed[8:]) == 2


def test_a_full_board_needs_no_guess(untrained: Solver) -> None:
    full = "1234341221434321"
    options = SolveOptions(max_steps=2, attempts=5, explore="guess")
    assert untrained.solve(full, options).verified is True
    own = Solver(untrained.runtime, Lawless(2, 2))
    assert own.solve(full, options).attempts == 5


def test_the_rules_judge_by_the_puzzle_and_not_by_the_guess(
    solver: Solver, puzzles: Puzzles
) -> None:
    asked: list[list[int]] = []

    class Asking(Sudoku):
        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            asked.extend(tokens.tolist())
            return super().verify_tokens(tokens, answers, shape)

    asking = Solver(solver.runtime, Asking(2, 2))
    options = SolveOptions(max_steps=1, attempts=8, explore="guess", width=3)
    more = 0
    for puzzle in puzzles[0]:
        asked.clear()
        more += asking.solve(puzzle, options).attempts > 1
        given = (np.array([int(c) for c in puzzle.replace(".", "0")]) + 1).tolist()
        assert all(tokens == given for tokens in asked)
    assert more >= 10


def test_guesses_that_can_not_be_made_are_refused(solver: Solver, untrained: Solver) -> None:
    with pytest.raises(ConfigError, match="patience=0"):
        solver.solve("." * 16, SolveOptions(attempts=3, explore="guess", patience=0))
    spec = untrained.spec
    model = spec.model.model_copy(update={"given_tokens": ()})
    forgetful = Counting(untrained.runtime)
    forgetful.spec = spec.model_copy(update={"model": model})
    with pytest.raises(ConfigError, match="given_tokens is empty"):
        Solver(forgetful).solve("." * 16, SolveOptions(attempts=3, explore="guess"))


def test_the_others_are_cancelled_with_the_first_success(solver: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(max_steps=50, attempts=6, explore="noise", patience=0, noise=0.01)
    solutions, batches = solve_all(solver, puzzles[0][:50], options, 600)
    assert all(s.verified for s in solutions)
    assert len(batches) < 50
    assert sum(batches) == sum(s.steps for s in solutions)


def test_an_attempt_does_not_depend_on_its_batch(torch_solver: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(
        max_steps=2, attempts=5, explore="noise", noise=0.5, verify=False, seed=3
    )
    few = puzzles[0][:12]
    together, _ = solve_all(torch_solver, few, options, 7)
    for puzzle, solution in zip(few, together, strict=True):
        (alone,), _ = solve_all(torch_solver, [puzzle], options, 64)
        assert alone.grid == solution.grid
        assert alone.confidence == pytest.approx(solution.confidence, abs=1e-4)
    other = options.model_copy(update={"seed": 4})
    differently, _ = solve_all(torch_solver, few, other, 7)
    assert [s.confidence for s in differently] != [s.confidence for s in together]


def test_symmetric_attempts_come_back_in_the_puzzles_own_orientation(
    solver: Solver, puzzles: Puzzles
) -> None:
    """This network is equivariant: under every symmetry it must give the plain answer."""
    options = SolveOptions(max_steps=3, attempts=6, explore="symmetry", verify=False)
    plain, _ = solve_all(solver, puzzles[0][:30], SolveOptions(max_steps=3, verify=False), 16)
    voted, _ = solve_all(solver, puzzles[0][:30], options, 16)
    assert [s.grid for s in voted] == [s.grid for s in plain]
    assert all((s.attempts, s.steps) == (6, 18) for s in voted)


def chosen(grids: str, confidences: list[float], **options: Any) -> list[Candidate]:
    """What is chosen among attempts that ended with these answers, a letter each."""
    domain = get_domain("sudoku-4x4")
    task = domain.parse("." * 16)
    complete = SolveOptions(attempts=4, explore="noise", **options)
    request = Request.of(task, 0, domain.encode(task), complete, False, 16)
    assert request.votes == (complete.choose == "majority")
    for letter, confidence in zip(grids, confidences, strict=True):
        count(request, Grid(np.full((4, 4), "abcd".index(letter) + 1)), confidence, False)
    return list(candidates(domain, request, ranked(request)[0], None))


def letters(found: list[Candidate]) -> str:
    return "".join("abcd"[one.grid[0, 0] - 1] for one in found)


def test_the_choice_among_answers() -> None:
    tie = chosen("abba", [0.1, 0.2, 0.3, 0.9], choose="majority")
    assert letters(tie) == "ab"  # the surest of the most frequent
    assert [(one.votes, one.confidence) for one in tie] == [(2, 0.9), (2, 0.3)]
    assert letters(chosen("cbba", [0.9, 0.2, 0.3, 0.5], choose="majority")) == "bca"
    assert letters(chosen("cbba", [0.9, 0.2, 0.3, 0.5])) == "cab"
    assert letters(chosen("dcba", [0.5, 0.5, 0.5, 0.5])) == "dcba"  # who came first
    assert letters(chosen("dcba", [0.5, 0.5, 0.6, 0.5], candidates=2)) == "bd"


def test_attempts_that_would_be_the_same_are_refused(solver: Solver) -> None:
    with pytest.raises(ConfigError, match="3 times the same attempt"):
        solver.solve("." * 16, SolveOptions(attempts=3, explore="none"))

    class Rigid(Sudoku):
        has_symmetries = False

    rigid = Solver(solver.runtime, Rigid(2, 2))
    with pytest.raises(ConfigError, match="states no symmetries"):
        rigid.solve("." * 16, SolveOptions(attempts=3, explore="symmetry"))


def test_time_runs_out(untrained: Solver) -> None:
    options = SolveOptions(max_steps=100_000, attempts=3, explore="noise", seconds=0.05)
    started = perf_counter()
    (solution,), _ = solve_all(untrained, ["1" + "." * 15], options, 8)
    assert solution.stopped_by == "seconds"
    assert 0.05 <= solution.seconds <= perf_counter() - started < 2
    assert solution.grid[0, 0] == 1
    # Time that runs out between the end of one attempt and the start of the next.
    options = SolveOptions(max_steps=1, attempts=100_000, explore="noise", seconds=0.05)
    (solution,), _ = solve_all(untrained, ["1" + "." * 15], options, 8)
    assert solution.stopped_by == "seconds"
    assert 1 < solution.attempts < 100_000


class Hanging(Counting):
    """A runtime whose steps, after the first so many, never end by themselves."""

    def __init__(self, runtime: Runtime, hangs_at: int) -> None:
        super().__init__(runtime)
        self.hangs_at = hangs_at

    def step(self, state: Any, deadline: float | None = None) -> StepOutput:
        if len(self.batches) < self.hangs_at:
            return super().step(state)
        assert deadline is not None, "this would never end"
        while perf_counter() < deadline:
            sleep(0.001)
        raise StepInterruptedError("a step was still running at its deadline")


@pytest.mark.parametrize("hangs_at", [0, 2])
def test_time_runs_out_in_a_step_that_hangs(untrained: Solver, hangs_at: int) -> None:
    puzzles = ["1" + "." * 15, "." * 15 + "2"]
    options = SolveOptions(max_steps=100_000, seconds=0.05)
    hanging = Hanging(untrained.runtime, hangs_at)
    first, second = Solver(hanging).solve_many(puzzles, options)
    for solution, line in zip((first, second), puzzles, strict=True):
        assert (solution.stopped_by, solution.verified) == ("seconds", False)
        assert solution.steps == hangs_at
        if not hangs_at:  # nothing was found out: it is left as it was given
            assert untrained.domain.to_line(solution.grid) == line
            assert solution.confidence < 1e-30
        else:
            assert (solution.grid.cells > 0).all()
            assert 0 < solution.confidence < 1
    assert list(Solver(Hanging(untrained.runtime, 0)).stream(puzzles[0], options)) == []


def test_requests_without_a_limit_wait_for_a_step_however_long(untrained: Solver) -> None:
    """Those that have one are late after it; nobody's step is thrown away."""
    given: list[float | None] = []

    class Noting(Counting):
        def step(self, state: Any, deadline: float | None = None) -> StepOutput:
            given.append(deadline)
            return super().step(state)

    search = Search(untrained.domain, Noting(untrained.runtime), 2)
    task = untrained.domain.parse("1" + "." * 15)
    search.add(task, SolveOptions(max_steps=3))
    limited = search.add(task, SolveOptions(max_steps=100_000, seconds=1e-9))
    run(search)
    assert set(given) == {None}
    assert limited.solution is not None
    assert limited.solution.stopped_by == "seconds"


def test_a_cancelled_submission_leaves_alone(solver: Solver, puzzles: Puzzles) -> None:
    search = Search(solver.domain, solver.runtime, 4)
    tasks = [solver.domain.parse(puzzle) for puzzle in puzzles[0][:8]]
    endless = SolveOptions(max_steps=100_000, attempts=2, explore="noise", patience=0)
    stuck = search.add(solver.domain.parse("12..............".replace("2", ".")), endless)
    never = search.add(tasks[0], SolveOptions())
    others = [search.add(task, SolveOptions(max_steps=16)) for task in tasks]
    search.cancel(never)
    search.step()
    search.cancel(stuck)
    search.cancel(stuck)
    done = run(search)
    assert {id(one) for one in others} - {id(one) for one in done} <= {
        id(one) for one in others if one.done
    }
    assert all(one.solution is not None for one in others)
    assert never.done
    assert never.solution is None


def test_a_broken_runtime_is_heard_of(solver: Solver, puzzles: Puzzles) -> None:
    broken = Solver(Counting(solver.runtime, broken_at=2), solver.domain)
    with pytest.raises(TRMError, match="fell off the bus"):
        list(broken.solve_many(puzzles[0]))


def test_attempts_spread_their_noise_evenly(untrained: Solver) -> None:
    def scales(**changes: Any) -> list[float]:
        noted: list[float] = []

        class Noting(Counting):
            def perturb(self, state: Any, scale: Any, rngs: Any) -> Any:
                noted[:] = scale.tolist()
                return self.runtime.perturb(state, scale, rngs)

        options = SolveOptions(
            max_steps=1, attempts=8, explore="noise", patience=0, noise=0.1, **changes
        )
        Solver(Noting(untrained.runtime)).solve("1" + "." * 15, options)
        return noted

    plain, first, *others = scales(noise_spread=3)
    assert plain == 0
    assert first == pytest.approx(0.1)
    assert len(others) == 6
    steps = np.diff(np.log(sorted([first, *others])))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    assert 0.1 / 3 < min(others) < max(others) < 0.3
    assert scales(noise_spread=1)[1:] == pytest.approx([0.1] * 7)
