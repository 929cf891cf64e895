"""Describe a board shape in the tables that the compiled loops read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: One board per row: uint8 of shape (N, cells), row-major, 0 for a blank.
Boards = NDArray[np.uint8]
#: Sets of cells that hold every digit once.
Groups = tuple[tuple[int, ...], ...]
#: ``(peers, units, unit_bits, cell_units, apart)``; see `group_geometry`. A plain tuple, since
#: numba's cache on disk would otherwise name this module.
Geometry = tuple[Boards, Boards, NDArray[np.int64], Boards, NDArray[np.int64]]


def box_groups(box: tuple[int, int]) -> Groups:
    """Return the rows, columns and boxes of the board whose boxes have this shape.

    With ``n = box_rows * box_cols`` digits, the groups 0..n-1 are rows, n..2n-1 columns and
    2n..3n-1 boxes.
    """
    box_rows, box_cols = box
    n = box_rows * box_cols
    cells = np.arange(n * n).reshape(n, n)
    boxes = cells.reshape(box_cols, box_rows, box_rows, box_cols).transpose(0, 2, 1, 3)
    stacked = np.concatenate((cells, cells.T, boxes.reshape(n, n)))
    return tuple(tuple(sorted(group)) for group in stacked.tolist())


@lru_cache(maxsize=16)
def board_geometry(box: tuple[int, int]) -> Geometry:
    """Return the tables of the board whose boxes have shape ``(box_rows, box_cols)``.

    They are those of `box_groups`; the boxes on a diagonal share no row and no column.
    """
    n = box[0] * box[1]
    apart = 2 * n + np.arange(min(box), dtype=np.int64) * (box[0] + 1)
    return (*group_geometry(box_groups(box))[:4], apart)


@lru_cache(maxsize=16)
def group_geometry(groups: Groups) -> Geometry:
    """Return the tables of a board of any groups ("units" in the loops) of as many cells as digits.

    Cells may be in different numbers of groups: short rows of a table repeat their first entry,
    which changes nothing for whoever goes through them.

    Returns
    -------
    peers : uint8 array of shape (cells, peers)
        The cells that share a unit with a cell.
    units : uint8 array of shape (units, n)
        The cells of each unit.
    unit_bits : int64 array of shape (cells,)
        Bit u is set where unit u holds the cell.
    cell_units : uint8 array of shape (cells, most)
        The units of a cell.
    apart : int64 array
        Units that a full grid may be begun with, filled at random each: here, the first alone.
    """
    units = np.array(groups, np.intp)
    cells = int(units.max()) + 1
    inside = np.zeros((cells, len(units)), bool)
    for number, group in enumerate(units):
        inside[group, number] = True
    shared: NDArray[np.bool_] = np.any(inside[:, None, :] & inside[None, :, :], axis=2)
    np.fill_diagonal(shared, False)
    return (
        _padded(shared),
        units.astype(np.uint8),
        (inside * (np.int64(1) << np.arange(len(units)))).sum(axis=1).astype(np.int64),
        _padded(inside),
        np.zeros(1, np.int64),
    )


def _padded(table: NDArray[np.bool_]) -> Boards:
    """Return the columns in which each row is true, the first repeated where they are fewer."""
    found = [np.flatnonzero(row) for row in table]
    wide = max(map(len, found))
    padded = np.stack([np.pad(row, (0, wide - len(row)), constant_values=row[0]) for row in found])
    return padded.astype(np.uint8)
