"""The canvas: an ARC grid of any size as 900 tokens, and back.

The encoding is that of the reference implementation of TRM: a canvas of 30x30 tokens, 0 (PAD) where
nothing is, the grid's colours 0 to 9 as 2 to 11, and 1 (EOS) in the row below the grid and in the
column right of it where the canvas has them. The corner between the two is PAD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Tokens
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid

#: Rows and columns of the canvas, and the most that a grid may have.
SIDE = 30
PAD, EOS = 0, 1
#: Token of the colour 0: the colour c is token ``c + FIRST``.
FIRST = 2
COLOURS = 10

Cells = npt.NDArray[np.integer[Any]]


def encode(cells: Cells, offset: Sequence[int] = (0, 0)) -> Tokens:
    """Return a grid on the canvas as int32 tokens of shape (900,).

    Parameters
    ----------
    cells : integer array of shape (rows, columns)
        Colours 0 to 9; at most 30 rows and columns.
    offset : (row, column)
        Where the grid's first cell stands on the canvas. Default: the corner.

    Raises
    ------
    InvalidInputError
        If the grid does not fit on the canvas.
    """
    (top, left), (rows, columns) = offset, cells.shape
    bottom, right = top + rows, left + columns
    if min(offset) < 0 or bottom > SIDE or right > SIDE:
        raise InvalidInputError(
            f"a grid must fit on the canvas of {SIDE}x{SIDE}; got {rows}x{columns} at row {top}, "
            f"column {left}"
        )
    canvas = np.zeros((SIDE, SIDE), np.int32)
    canvas[top:bottom, left:right] = cells
    canvas[top:bottom, left:right] += FIRST
    if bottom < SIDE:
        canvas[bottom, left:right] = EOS
    if right < SIDE:
        canvas[top:bottom, right] = EOS
    return canvas.reshape(-1)


def crop_sizes(tokens: Cells) -> npt.NDArray[np.intp]:
    """Return the size of the largest rectangle of colours in the corner of each canvas.

    Of rectangles of equal area the one with fewer rows is taken, as in the reference.

    Parameters
    ----------
    tokens : integer array of shape (n, 900)

    Returns
    -------
    intp array of shape (n, 2)
        Rows and columns; both 0 where the first cell is not a colour.
    """
    canvas = np.asarray(tokens).reshape(-1, SIDE, SIDE)
    coloured = (canvas >= FIRST) & (canvas < FIRST + COLOURS)
    # Columns of colours that each row begins with, then that all rows down to it begin with.
    leading = np.where(coloured.all(2), SIDE, coloured.argmin(2))
    widths = np.minimum.accumulate(leading, axis=1)
    best = (widths * np.arange(1, SIDE + 1)).argmax(1)
    width = widths[np.arange(len(widths)), best]
    return np.stack([np.where(width > 0, best + 1, 0), width], axis=1)


def decode_batch(tokens: Cells) -> list[Grid | None]:
    """Return the grid on each canvas: the largest rectangle of colours in its corner.

    Parameters
    ----------
    tokens : integer array of shape (n, 900)

    Returns
    -------
    list of n Grid or None
        None where the first cell is not a colour, so that there is no grid.
    """
    canvas = np.asarray(tokens).reshape(-1, SIDE, SIDE)
    return [
        Grid(one[:rows, :columns] - FIRST) if rows else None
        for one, (rows, columns) in zip(canvas, crop_sizes(tokens).tolist(), strict=True)
    ]


def decode(tokens: Cells) -> Grid | None:
    """Return the grid on one canvas, of 900 tokens; see `decode_batch`."""
    return decode_batch(np.asarray(tokens).reshape(1, -1))[0]


__all__ = [
    "COLOURS",
    "EOS",
    "FIRST",
    "PAD",
    "SIDE",
    "crop_sizes",
    "decode",
    "decode_batch",
    "encode",
]
