"""What the tests of the search share: runtimes that take notes, and domains without rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import TRMError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime, StepOutput
from trm_sdk.search.requests import Submission
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Solution
from trm_sdk.solver import Solver
from trm_sdk.task import Task


class Lawless(Sudoku):
    """4x4 Sudoku whose rules nobody wrote down: the halting head decides alone."""

    has_rules = False

    def verify(self, task: Task, answer: Grid, index: int = 0) -> None:  # type: ignore[override]
        return None


class Counting:
    """A runtime that notes the batch of every step, and may break at one of them."""

    def __init__(self, runtime: Runtime, broken_at: int = -1) -> None:
        self.runtime = runtime
        self.name, self.device, self.spec = runtime.name, runtime.device, runtime.spec
        self.batch_size = runtime.batch_size
        self.batches: list[int] = []
        self.broken_at = broken_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)

    def step(self, state: Any, deadline: float | None = None) -> StepOutput:
        if len(self.batches) == self.broken_at:
            raise TRMError("the device fell off the bus")
        output = self.runtime.step(state, deadline)
        self.batches.append(len(output.halt_logit))
        return output


def run(search: Search) -> list[Submission]:
    done: list[Submission] = []
    while not search.idle:
        done += search.step()
    return done


def solve_all(
    solver: Solver, puzzles: Sequence[str], options: SolveOptions, capacity: int
) -> tuple[list[Solution], list[int]]:
    """Every solution in the order of the puzzles, and the batch of every step."""
    counting = Counting(solver.runtime)
    search = Search(solver.domain, counting, capacity)
    added = [search.add(solver.domain.parse(puzzle), options) for puzzle in puzzles]
    assert set(map(id, run(search))) == set(map(id, added))
    return [one.solution for one in added if one.solution is not None], counting.batches


class Watching(Counting):
    """A runtime that notes the tokens of every attempt."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.seen: list[list[int]] = []

    def start(self, tokens: Any, identifiers: Any = None) -> Any:
        self.seen += tokens.tolist()
        return self.runtime.start(tokens, identifiers)

    def restart(self, state: Any, rows: Any, tokens: Any, identifiers: Any = None) -> Any:
        self.seen += tokens.tolist()
        return self.runtime.restart(state, rows, tokens, identifiers)
