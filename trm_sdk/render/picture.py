"""Picture: what is drawn of a board, as data; terminal, image, report and web page draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: A line along cell edges, as (column, row, column, row).
Border = tuple[int, int, int, int]
#: Red, green, blue, each 0 to 255.
Colour = tuple[int, int, int]

#: Colours of certainty: red at 0.5 and below, through amber, to green at 1. Each is legible on
#: white paper and on a black terminal; where there are sixteen colours, the ends are red and green.
RAMP: tuple[tuple[float, Colour], ...] = (
    (0.5, (214, 58, 48)),
    (0.75, (196, 128, 10)),
    (1.0, (24, 140, 56)),
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One board, cell by cell.

    Attributes
    ----------
    symbols : tuple of tuples of str
        What stands for each cell in text, by row.
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
    blank : bool array of shape (rows, columns)
        Cells that want an answer; an image leaves them empty.
    borders : tuple of (column, row, column, row)
        Thick lines along cell edges: the frame, and the edges between regions.
    shaded : bool array of shape (rows, columns) or None
        Cells on a ground of their own, such as the diagonals of an X-Sudoku. None: none are.
    """

    symbols: tuple[tuple[str, ...], ...]
    colours: tuple[tuple[str | None, ...], ...]
    given: npt.NDArray[np.bool_]
    certainty: npt.NDArray[np.float32]
    changed: npt.NDArray[np.bool_]
    tried: npt.NDArray[np.bool_]
    blank: npt.NDArray[np.bool_]
    borders: tuple[Border, ...] = ()
    shaded: npt.NDArray[np.bool_] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.symbols), len(self.symbols[0])

    @property
    def is_painted(self) -> bool:
        """Whether some cell is filled with a colour instead of its symbol."""
        return any(colour is not None for row in self.colours for colour in row)

    def edges(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return where the thick lines run, unit by unit.

        Returns
        -------
        across : bool array of shape (rows + 1, columns)
            Whether the edge above cell (row, column) is thick; the last row is the lower side.
        down : bool array of shape (rows, columns + 1)
            Whether the edge to the left of cell (row, column) is thick; the last column is the
            right side.
        """
        rows, columns = self.shape
        across = np.zeros((rows + 1, columns), bool)
        down = np.zeros((rows, columns + 1), bool)
        for left, top, right, bottom in self.borders:
            if top == bottom:
                across[top, left:right] = True
            else:
                down[top:bottom, left] = True
        return across, down

    @property
    def has_regions(self) -> bool:
        """Whether thick lines run inside the board, not only around it."""
        across, down = self.edges()
        return bool(across[1:-1].any() or down[:, 1:-1].any())


def certainty_colour(certainty: float) -> Colour:
    """Return the colour of `RAMP` that stands for a certainty of 0..1."""
    (first, colour), *rest = RAMP
    if not certainty > first:  # not a number, too
        return colour
    for end, other in rest:
        if certainty <= end:
            share = (certainty - first) / (end - first)
            red, green, blue = (
                round(a + share * (b - a)) for a, b in zip(colour, other, strict=True)
            )
            return red, green, blue
        first, colour = end, other
    return colour


def rgb(colour: str) -> Colour:
    """Return a colour ``#rrggbb`` as numbers."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def is_light(colour: Colour) -> bool:
    """Return whether black is easier to read on a colour than white (by ITU-R BT.601's luma)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140


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


__all__ = [
    "RAMP",
    "Border",
    "Colour",
    "Picture",
    "certainty_colour",
    "edges",
    "frame",
    "is_light",
    "rgb",
]
