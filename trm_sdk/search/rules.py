"""Rules: how the search asks a domain whether answers are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Encoded, Tokens
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.search.requests import Request
from trm_sdk.search.tree import Count, Path
from trm_sdk.task import Task

Bools = npt.NDArray[np.bool_]


def verdict(domain: Domain, request: Request, grid: Grid) -> bool | None:
    """Return whether a grid answers a request, as a plain bool; None where there are no rules."""
    found = domain.verify(request.task, grid, request.index)
    return None if found is None else bool(found)


def read_answer(
    domain: Domain,
    request: Request,
    tokens: npt.NDArray[np.integer[Any]],
    symmetry: Symmetry | None = None,
) -> Grid:
    """Return answer tokens of shape (N,) as a grid in the puzzle's own orientation."""
    grid = domain.decode(tokens, request.encoded.shape)
    return grid if symmetry is None else symmetry.inverse().apply(grid)


def verdicts(
    domain: Domain,
    requests: Sequence[Request],
    symmetries: Sequence[Symmetry | None],
    tokens: Tokens,
    answers: npt.NDArray[np.integer[Any]],
) -> Bools:
    """Return which answers obey the rules, one per row.

    Parameters
    ----------
    domain : Domain
    requests : sequence of Request
        What each row is an attempt at.
    symmetries : sequence of Symmetry or None
        Applied to each row's puzzle.
    tokens, answers : integer arrays of shape (rows, N)

    Raises
    ------
    Exception
        Whatever the domain raises.
    """
    if domain.clues_in_cells:
        found = np.asarray(domain.verify_tokens(tokens, answers, requests[0].encoded.shape))
        if found.shape != (len(answers),) or found.dtype == object:
            raise InvalidInputError(
                f"verify_tokens of {domain.name} must return a bool per row, {len(answers)} in "
                f"all; got {shown(found)}"
            )
        return found.astype(np.bool_, copy=False)
    grids = map(read_answer, [domain] * len(requests), requests, answers, symmetries)
    rows = zip(requests, grids, strict=True)
    return np.fromiter((bool(verdict(domain, *row)) for row in rows), bool, len(requests))


def solutions_below(domain: Domain, task: Task, index: int, encoded: Encoded) -> Count:
    """Return what counts the solutions of a puzzle with guesses filled in, by the rules."""

    def count(path: Path, limit: int) -> int | None:
        tokens = encoded.tokens.copy()
        for cell, token in path:
            tokens[cell] = token
        inputs = list(task.inputs)
        inputs[index] = domain.decode(tokens, encoded.shape)
        filled = dataclasses.replace(task, inputs=tuple(inputs), answers=None)
        return domain.count_solutions(filled, index, limit)

    return count


__all__ = ["read_answer", "solutions_below", "verdict", "verdicts"]
