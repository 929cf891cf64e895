"""What is drawn of a puzzle or an answer, where a domain says nothing else."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trm_sdk.grid import Grid
from trm_sdk.render.picture import Picture
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain


def picture_of(
    domain: Domain,
    task: Task,
    answer: Grid | None,
    index: int,
    certainty: npt.NDArray[np.floating[Any]] | None,
    before: Grid | None,
    tried: Collection[tuple[int, int]],
) -> Picture:
    """Return the symbols, colours and marks of a board; see `Domain.picture`."""
    puzzle = task.inputs[index]
    grid = puzzle if answer is None else answer
    vocabulary = domain.vocabulary
    given = np.zeros(grid.shape, bool)
    if puzzle.shape == grid.shape:
        given = vocabulary.given_values[puzzle.cells]
    marked = np.zeros(grid.shape, bool)
    for row, column in tried:
        marked[row, column] = True
    sure = np.ones(grid.shape, np.float32)
    if certainty is not None:
        sure = np.where(given, 1, certainty).astype(np.float32)
    changed = np.zeros(grid.shape, bool)
    if before is not None and before.shape == grid.shape:
        changed = (before.cells != grid.cells) & ~given
    blank = np.zeros(len(vocabulary), bool)
    blank[list(vocabulary.having("blank"))] = True
    symbols, colours = vocabulary.symbols, vocabulary.colours
    return Picture(
        tuple(tuple(symbols[value] for value in row) for row in grid.tolist()),
        tuple(tuple(colours[value] for value in row) for row in grid.tolist()),
        given,
        sure,
        changed,
        marked,
        blank[vocabulary.first :][grid.cells],
        domain.borders(grid.shape),
        domain.shaded(grid.shape),
    )


__all__ = ["picture_of"]
