"""Puzzles in, solutions out in the same order, however long each takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from trm_sdk.errors import TRMError
from trm_sdk.options import SolveOptions
from trm_sdk.search.requests import Submission
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Failure, Solution
from trm_sdk.task import Task

#: Batches of solved puzzles that may wait for an earlier one that takes longer.
_LOOKAHEAD = 64


def solve_in_order(
    search: Search,
    puzzles: Iterable[object],
    parse: Callable[[object], Task],
    options: SolveOptions,
    on_error: str,
) -> Iterator[Solution | Failure]:
    """Yield the solution, or the failure, of each puzzle; see `Solver.solve_many`.

    Parameters
    ----------
    search : Search
        Takes the puzzles as its slots become free.
    puzzles : iterable
        As for `Solver.solve_many`.
    parse : callable
        Reads a puzzle.
    options : SolveOptions
        Complete ones.
    on_error : {"raise", "yield"}
    """
    source = enumerate(puzzles)
    in_order: deque[tuple[int, Submission | Failure]] = deque()
    exhausted, broken = False, None
    while True:
        while not exhausted and search.wants_more and len(in_order) < _LOOKAHEAD * search.capacity:
            try:
                index, puzzle = next(source, (-1, None))
            except Exception as error:  # the source's own; what it gave before is solved first
                index, broken = -1, error
            if index < 0:
                exhausted = True
                break
            try:
                if isinstance(puzzle, TRMError):  # what a reader could not read
                    raise puzzle
                in_order.append((index, search.add(parse(puzzle), options)))
            except Exception as error:  # a domain's own, too: it is this puzzle's alone
                in_order.append((index, Failure(index, error)))
        search.step()
        while in_order:
            index, first = in_order[0]
            if isinstance(first, Submission):
                if first.solution is not None:
                    yield first.solution
                    in_order.popleft()
                    continue
                if first.error is None:
                    break
                first = Failure(index, first.error)
            if on_error == "raise":
                raise first.error
            yield first
            in_order.popleft()
        if exhausted and not in_order:
            if broken is not None:
                raise broken
            return


__all__ = ["solve_in_order"]
