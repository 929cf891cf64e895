"""Boards of any size: one model, a scheduler per shape, one budget of slots."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from search_doubles import Counting

from trm_sdk.aio import AsyncSolver
from trm_sdk.calibration import reliability
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.symmetry import Turn
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Failure, Solution
from trm_sdk.solver import Solver
from trm_sdk.structure import Structure, columns, offsets, rows
from trm_sdk.task import Task
from trm_sdk.timing import time_steps

SHAPES = ((9, 9), (15, 20), (40, 40))
ONCE = SolveOptions(max_steps=2, halt_threshold=1.0)


class Colouring(BoardDomain):
    """Colour the cells so that neighbours differ; boards of any size."""

    name, shape, vocabulary = "colouring", (9, 9), Vocabulary.numbers(3)
    structure = Structure(shape=(9, 9), relations=(rows(), columns(), offsets((0, 1), (1, 0))))
    any_size = True
    has_symmetries = True
    turns: tuple[int, ...] = tuple(range(8))

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
        cells = answer.cells
        differ = (cells[1:] != cells[:-1]).all() and (cells[:, 1:] != cells[:, :-1]).all()
        return bool(differ) and super().verify(task, answer, index) is True

    def random_symmetry(self, rng: np.random.Generator) -> Turn:
        return Turn(int(rng.choice(self.turns)))


def make_solver(domain: Colouring | None = None) -> Solver:
    domain = domain or Colouring()
    torch.manual_seed(3)
    values = domain.vocabulary.answer_tokens
    config = ModelConfig(
        vocab_size=5,
        seq_len=81,
        mixer="structured",
        structure=domain.structure,
        hidden_size=16,
        ffn_size=32,
        L_layers=1,
        H_cycles=1,
        L_cycles=1,
        answer_tokens=values,
        given_tokens=values,
    )
    spec = ModelSpec.for_domain(domain, config)
    return Solver(Counting(TorchRuntime(TRM(config).eval(), spec, device="cpu")), domain)


def board(shape: tuple[int, int], seed: int, full: bool = False) -> Grid:
    """A colouring by diagonals, with some of its cells."""
    rng = np.random.default_rng(seed)
    answer = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 3 + 1
    return Grid(answer if full else np.where(rng.random(shape) < 0.4, answer, 0))


def by_hand(solver: Solver, grid: Grid, steps: int) -> np.ndarray:
    """The model's answer to one board, without Solver or runtime."""
    model = solver.runtime.runtime.model  # type: ignore[attr-defined]
    tokens = torch.from_numpy(grid.cells.astype(np.int32) + 1)[None]
    with torch.inference_mode():
        state = model.initial_state(1, grid.shape)
        for _ in range(steps):
            state, logits, _ = model(tokens, state)
    best = logits.argmax(-1)[0].numpy().reshape(grid.shape) + 1
    return np.where(grid.cells > 0, grid.cells, best)


def test_boards_of_mixed_shapes_are_solved_in_order_each_shape_in_one_call() -> None:
    solver = make_solver()
    grids = [board(shape, seed) for seed in range(3) for shape in SHAPES]
    solutions = list(solver.solve_many(grids, ONCE, batch_size=9))
    assert [solution.task.grid for solution in solutions] == grids
    assert solver.runtime.batches == [3] * 6  # type: ignore[attr-defined]
    for grid, solution in zip(grids, solutions, strict=True):
        assert solution.grid.shape == grid.shape
        assert (solution.grid.cells == by_hand(solver, grid, 2)).mean() > 0.99
        assert (solution.verified, solution.steps) == (False, 2)
        alone = solver.solve(grid, ONCE)
        assert (alone.grid.cells == solution.grid.cells).mean() > 0.99
        assert alone.confidence == pytest.approx(solution.confidence, abs=1e-4)


def test_the_rules_are_asked_for_the_board_at_hand() -> None:
    solver = make_solver()
    grids = [board(shape, 0, full=True) for shape in SHAPES]
    for solution in (*map(solver.solve, grids), *solver.solve_many(grids)):
        assert (solution.verified, solution.steps) == (True, 1)
    assert [step.verified for step in solver.stream(grids[1])] == [True]


def test_a_task_may_have_inputs_of_different_shapes() -> None:
    solver = make_solver()
    task = Task((board((9, 9), 1), board((3, 5), 1, full=True), board((4, 9), 1)))
    solution = solver.solve(task, ONCE)
    assert [grid.shape for grid in solution.answers] == [(9, 9), (3, 5), (4, 9)]
    assert (solution.steps, solution.verified) == (5, False)
    (step,) = solver.stream(task, ONCE, index=1)
    assert step.probabilities.shape == (3, 5, 3)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_shapes_share_the_capacity_and_none_starves(batch_size: int) -> None:
    solver = make_solver()
    search = Search(solver.domain, solver.runtime, batch_size)
    waiting = [board(shape, seed) for seed in range(6) for shape in ((3, 3), (4, 5), (2, 7))]
    batches: list[int] = solver.runtime.batches  # type: ignore[attr-defined]
    options = SolveOptions(max_steps=3, attempts=3, explore="noise", patience=1)
    added, done = [], []
    for _ in range(200):
        while waiting and search.wants_more:
            added.append(search.add(Task((waiting.pop(0),)), options))
        batches.clear()
        done += search.step()
        assert sum(batches) <= batch_size + 2  # one slot for every shape at least
    assert search.idle
    assert not waiting
    assert {id(one) for one in done} == {id(one) for one in added}
    assert all(one.solution is not None and one.solution.steps == 9 for one in added)


def test_an_async_solver_takes_boards_of_every_shape() -> None:
    solver = make_solver()
    grids = [board(shape, seed) for seed in range(4) for shape in ((3, 3), (4, 5), (2, 7))]

    async def main() -> list[Solution]:
        async with AsyncSolver(solver, batch_size=4) as service:
            return list(await asyncio.gather(*(service.solve(grid, ONCE) for grid in grids)))

    assert [one.task.grid for one in asyncio.run(main())] == grids


@pytest.mark.parametrize("explore", ["noise", "symmetry", "guess"])
def test_attempts_stay_on_boards_of_the_shape(explore: Any) -> None:
    """A quarter turn of a board that is not square is a board of another shape."""
    solver = make_solver()
    grid = board((2, 7), 0)
    options = SolveOptions(max_steps=2, attempts=5, explore=explore, verify=False)
    solution = solver.solve(grid, options)
    assert (solution.attempts, solution.grid.shape) == (5, (2, 7))
    given = grid.cells > 0
    for (candidate,) in (solution.candidates, solver.solve(grid, ONCE).candidates):
        for one in candidate:
            assert (one.grid.cells[given] == grid.cells[given]).all()
    for step in solver.stream(grid, options):
        assert (step.probabilities.argmax(-1) + 1 == step.grid.cells).all()
        for row, column, value in step.guesses:
            assert step.grid[row, column] == value


def test_symmetries_that_never_keep_the_shape_are_unavailable() -> None:
    domain = Colouring()
    domain.turns = (1, 3)
    solver = make_solver(domain)
    options = SolveOptions(max_steps=1, attempts=2, explore="symmetry", verify=False)
    assert solver.solve(board((4, 4), 0), options).attempts == 2
    with pytest.raises(InvalidInputError, match=r"explore='symmetry' is unavailable: .* of 2x7"):
        solver.solve(board((2, 7), 0), options)


def test_a_model_of_one_size_refuses_other_boards() -> None:
    solver = make_solver()
    fixed = solver.spec.model.model_copy(update={"structure": None, "mixer": "mlp_t"})
    counting = solver.runtime
    counting.spec = solver.spec.model_copy(update={"model": fixed})
    own = Solver(counting, solver.domain)
    with pytest.raises(InvalidInputError, match="takes boards of 81 cells; got 3x5"):
        own.solve(board((3, 5), 0))
    (failure,) = own.solve_many([board((3, 5), 0)], on_error="yield")
    assert isinstance(failure, Failure)


def test_calibration_and_timing_take_any_size() -> None:
    solver = make_solver()
    tasks = [Task((board((9, 9), 1), board((3, 5), 2, full=True))), Task((board((4, 4), 3),))]
    found = reliability(solver, tasks, steps=2)
    assert found.correct.shape == (3, 2)
    assert found.correct[1].all()
    assert not found.correct[[0, 2]].any()
    assert time_steps(solver.runtime, 2, seconds=0.01) > 0


def test_a_board_of_another_size_has_groups_of_its_own() -> None:
    class Rowwise(BoardDomain):
        name, shape, vocabulary = "rowwise", (3, 3), Vocabulary.numbers(5)
        distinct = (rows(),)
        any_size = True

    domain = Rowwise()
    assert domain.verify(domain.parse(np.zeros((3, 3), int)), Grid([[1, 2, 3]] * 3))
    task = domain.parse([[1, 0, 0, 0, 0], [1, 0, 0, 0, 2]])
    with pytest.raises(InvalidInputError, match="1 appears 2 times in row 2"):
        domain.parse([[1, 0, 0, 0, 0], [1, 0, 0, 0, 1]])
    assert domain.verify(task, Grid([[1, 2, 3, 4, 5], [1, 3, 4, 5, 2]]))
    assert not domain.verify(task, Grid([[1, 2, 3, 4, 5], [1, 3, 4, 4, 2]]))
    wide = domain.resized((2, 5))
    assert wide.verify(task, Grid([[1, 2, 3, 4, 5], [1, 3, 4, 5, 2]]))
    assert not wide.verify(task, Grid([[1, 2, 3], [1, 2, 3]]))
