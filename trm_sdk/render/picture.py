"""Picture: what is drawn of a board, as data; terminal, image, report and web page draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: A line along cell edges, as (column, row, column, row).
Border = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Picture:
    """One board, cell by cell.

    Attributes
    ----------
    symbols : tuple of tuples of str
        What is written into each cell, by row; a blank cell has a blank.
    colours : tuple of tuples of str or None
        ``#rrggbb`` that fills a cell instead of its symbol; None: the symbol is written.
    given : bool array of shape (rows, columns)
        Cells of the puzzle that stand in the answer as they are.
    certainty : float32 array of shape (rows, columns)
        How sure the model is of each cell, 0..1; 1 for what is not the model's.
    changed : bool array of shape (rows, columns)
        Cells that differ from the step before.
    tried : bool array of shape (rows, columns)
        Cells that an attempt fills in to see what follows.
    borders : tuple of (column, row, column, row)
        Thick lines along cell edges: the frame, and the edges between regions.
    """

    symbols: tuple[tuple[str, ...], ...]
    colours: tuple[tuple[str | None, ...], ...]
    given: npt.NDArray[np.bool_]
    certainty: npt.NDArray[np.float32]
    changed: npt.NDArray[np.bool_]
    tried: npt.NDArray[np.bool_]
    borders: tuple[Border, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.symbols), len(self.symbols[0])


def frame(shape: tuple[int, int]) -> tuple[Border, ...]:
    """Return the four sides of a board."""
    rows, columns = shape
    return (
        (0, 0, columns, 0),
        (0, rows, columns, rows),
        (0, 0, 0, rows),
        (columns, 0, columns, rows),
    )


def edges(regions: npt.NDArray[np.integer[Any]]) -> tuple[Border, ...]:
    """Return the edges between cells of different regions.

    Parameters
    ----------
    regions : int array of shape (rows, columns)
        The region that each cell belongs to.
    """
    across = np.argwhere(regions[:, 1:] != regions[:, :-1]).tolist()
    down = np.argwhere(regions[1:] != regions[:-1]).tolist()
    return (
        *((column + 1, row, column + 1, row + 1) for row, column in across),
        *((column, row + 1, column + 1, row + 1) for row, column in down),
    )


__all__ = ["Border", "Picture", "edges", "frame"]
