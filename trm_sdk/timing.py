"""How fast a solver is on this machine; `trm bench` prints it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import numpy as np

from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime
from trm_sdk.solver import Solver
from trm_sdk.task import Task


@dataclass(frozen=True, slots=True)
class PuzzleTimes:
    """What solving a set of puzzles took.

    Attributes
    ----------
    puzzles, solved : int
        How many there were, and how many answers the rules confirmed (without rules: how many
        equal the known answer).
    p50, p95, p99 : float
        Milliseconds per puzzle, solved one at a time.
    per_second : float
        Puzzles per second, in batches.
    unreadable : tuple of str
        Why others could not be read, one sentence each.
    """

    puzzles: int
    solved: int
    p50: float
    p95: float
    p99: float
    per_second: float
    unreadable: tuple[str, ...] = ()


def time_steps(runtime: Runtime, rows: int, seconds: float = 0.5) -> float:
    """Return the median seconds of one supervision step over `rows` equal boards."""
    board = runtime.spec.model.token_shape_of(runtime.spec.grid_shape)
    state = runtime.start(np.ones((rows, *board), np.int32))
    state = runtime.step(state).state  # the first one warms up
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        begun = perf_counter()
        state = runtime.step(state).state
        times.append(perf_counter() - begun)
    return float(np.median(times))


def time_puzzles(
    solver: Solver,
    puzzles: Iterable[Task | TRMError],
    limit: int,
    options: SolveOptions | None = None,
    batch_size: int | None = None,
) -> PuzzleTimes:
    """Solve up to `limit` puzzles one at a time and then in batches.

    Those that can't be read are left out, and a warning says so.

    Raises
    ------
    InvalidInputError
        If none of them can be read.
    """
    taken = list(islice(puzzles, limit))
    tasks = [task for task in taken if isinstance(task, Task)]
    unreadable = tuple(str(task) for task in taken if not isinstance(task, Task))
    if not tasks:
        first = f": {unreadable[0]}" if unreadable else ""
        raise InvalidInputError(f"none of the puzzles can be read{first}")
    if unreadable:
        more = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        warnings.warn(
            f"{len(unreadable)} of {len(taken)} puzzles can't be read and are left out: "
            f"{'; '.join(unreadable[:3])}{more}",
            RuntimeWarning,
            stacklevel=2,
        )
    times, solved = [], 0
    for task in tasks:
        begun = perf_counter()
        solution = solver.solve(task, options)
        times.append(1000 * (perf_counter() - begun))
        solved += bool(solution.correct if solution.verified is None else solution.verified)
    begun = perf_counter()
    for _ in solver.solve_many(tasks, options, batch_size):
        pass
    together = perf_counter() - begun
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    return PuzzleTimes(len(tasks), solved, p50, p95, p99, len(tasks) / together, unreadable)
