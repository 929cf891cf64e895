"""Selection: which of the attempts' answers is given, and which follow as other candidates."""

from __future__ import annotations

from itertools import islice

from trm_sdk.domains.base import Domain
from trm_sdk.grid import Grid
from trm_sdk.search.requests import Request, Tally
from trm_sdk.search.rules import verdict
from trm_sdk.solution import Candidate


def count(request: Request, grid: Grid, confidence: float, halted: bool) -> None:
    """Add the last answer of an attempt to a request's tallies."""
    order = request.retired
    request.retired += 1
    tally = request.ended_with.get(grid)
    if tally is None:
        request.ended_with[grid] = Tally(1, confidence, order, halted)
        return
    tally.votes += 1
    if confidence > tally.confidence:
        tally.confidence, tally.order, tally.halted = confidence, order, halted


def ranked(request: Request) -> list[Grid]:
    """Return the distinct last answers, best first: by votes if these decide, then confidence."""

    def key(grid: Grid) -> tuple[float, float, int]:
        tally = request.ended_with[grid]
        return (-tally.votes if request.votes else 0, -tally.confidence, tally.order)

    return sorted(request.ended_with, key=key)


def candidates(
    domain: Domain, request: Request, best: Grid, verified: bool | None
) -> tuple[Candidate, ...]:
    """Return a request's candidates: the answer `best`, then the others in their order."""
    order = dict.fromkeys((best, *ranked(request)))
    found = []
    for grid in islice(order, request.options.candidates):
        tally = request.ended_with[grid]
        obeys = verified if grid is best else verdict(domain, request, grid)
        found.append(Candidate(grid, tally.votes, tally.confidence, obeys))
    return tuple(found)


__all__ = ["candidates", "count", "ranked"]
