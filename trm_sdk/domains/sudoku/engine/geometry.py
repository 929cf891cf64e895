"""Describe a board shape in the tables that the compiled loops read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: One board per row: uint8 of shape (N, cells), row-major, 0 for a blank.
Boards = NDArray[np.uint8]
#: ``(peers, units, unit_bits, cell_units, diagonal)``; see `board_geometry`. A plain tuple, since
#: numba's cache on disk would otherwise name this module.
Geometry = tuple[Boards, Boards, NDArray[np.int64], Boards, NDArray[np.int64]]


@lru_cache(maxsize=16)
def board_geometry(box: tuple[int, int]) -> Geometry:
    """Return the tables of the board whose boxes have shape ``(box_rows, box_cols)``.

    With ``n = box_rows * box_cols`` digits, the units 0..n-1 are rows, n..2n-1 columns and
    2n..3n-1 boxes.

    Returns
    -------
    peers : uint8 array of shape (cells, peers)
        The cells that share a unit with a cell.
    units : uint8 array of shape (3n, n)
        The cells of each unit.
    unit_bits : int64 array of shape (cells,)
        Bit u is set where unit u holds the cell.
    cell_units : uint8 array of shape (cells, 3)
        The row, column and box of a cell.
    diagonal : int64 array of shape (min(box),)
        Numbers (from 0) of boxes of which no two share a row or a column.
    """
    box_rows, box_cols = box
    n = box_rows * box_cols
    rows, cols = np.divmod(np.arange(n * n), n)
    boxes = rows // box_rows * box_rows + cols // box_cols
    cell_units = np.stack([rows, n + cols, 2 * n + boxes], axis=1)
    units = np.stack([np.flatnonzero((cell_units == u).any(axis=1)) for u in range(3 * n)])
    shared = (cell_units[:, None, :] == cell_units[None, :, :]).any(axis=2)
    np.fill_diagonal(shared, False)
    peers = np.stack([np.flatnonzero(row) for row in shared])
    return (
        peers.astype(np.uint8),
        units.astype(np.uint8),
        (np.int64(1) << cell_units).sum(axis=1).astype(np.int64),
        cell_units.astype(np.uint8),
        np.arange(min(box), dtype=np.int64) * (box_rows + 1),
    )
