"""Sudokus with other groups of cells: two diagonals, four windows, regions in place of boxes.

The groups beyond rows and columns use the weights of Sudoku's boxes, so that a network of message
blocks that was trained on Sudoku takes all of them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from trm_sdk.domains.base import Shape
from trm_sdk.domains.sudoku import ClueOptions, Sudoku, of_size
from trm_sdk.domains.symmetry import Rearrangement
from trm_sdk.structure import Grouping, groups

#: Weights of the groups beyond rows and columns: those of Sudoku's boxes.
BOX_WEIGHTS = "box"
#: Rows (and columns) of the windows of a Windoku.
_WINDOWS = ((1, 2, 3), (5, 6, 7))

_Relation = npt.NDArray[np.bool_]


class SudokuX(Sudoku):
    """X-Sudoku: the two diagonals hold each value once, too.

    Parameters
    ----------
    box_rows, box_columns : int
        As for `Sudoku`. Default 3 x 3.
    """

    Options: ClassVar[type[BaseModel]] = ClueOptions
    _family = "sudoku-x"

    def _further_groups(self) -> tuple[Grouping, ...]:
        steps = range(self.size)
        down = [step * self.size + step for step in steps]
        up = [(self.size - 1 - step) * self.size + step for step in steps]
        return (groups("diagonal", (down, up), weights=BOX_WEIGHTS),)

    @staticmethod
    def _shown(size: int) -> tuple[tuple[str, str], ...]:
        return ()

    def resized(self, shape: Shape) -> SudokuX:
        """Return the X-Sudoku on boards of another shape; see `x_of_size`."""
        return self if shape == self.shape else x_of_size(*shape)

    def random_symmetry(self, rng: np.random.Generator) -> Rearrangement:
        """Relabel digits; move cells in one of the ways that keep rows, columns, boxes, diagonals.

        Rows and columns are put in the same order, one that keeps bands and stacks together and
        lines opposite one another so; then the board may be mirrored, and transposed.
        """
        high, wide = self.box
        order = draw_order(rng, self.size, [_together(self.size, side) for side in (high, wide)])
        cells = np.arange(self.size * self.size).reshape(self.shape)[np.ix_(order, order)]
        if rng.integers(2):
            cells = cells[:, ::-1]
        return _rearranged(rng, cells, transposes=high == wide)


class Windoku(Sudoku):
    """Windoku: 9x9, where four 3x3 windows, a cell from the edge and from each other, hold each
    value once, too."""

    Options: ClassVar[type[BaseModel]] = ClueOptions
    _family = "windoku"

    def __init__(self) -> None:
        super().__init__(3, 3)

    def _further_groups(self) -> tuple[Grouping, ...]:
        windows = [
            [row * self.size + column for row in high for column in wide]
            for high in _WINDOWS
            for wide in _WINDOWS
        ]
        return (groups("window", windows, weights=BOX_WEIGHTS),)

    @staticmethod
    def _shown(size: int) -> tuple[tuple[str, str], ...]:
        return ()

    def resized(self, shape: Shape) -> Windoku:
        """Return itself: there is no Windoku of another shape."""
        super(Sudoku, self).resized(shape)
        return self

    def random_symmetry(self, rng: np.random.Generator) -> Rearrangement:
        """Relabel digits; move cells in one of the ways that keep rows, columns, boxes, windows."""
        inside = np.zeros((self.size, self.size), bool)
        for lines in _WINDOWS:
            inside[np.ix_(lines, lines)] = True
        keep = [_together(self.size, 3), inside]
        orders = [draw_order(rng, self.size, keep, mirrored=False) for _ in range(2)]
        cells = np.arange(self.size * self.size).reshape(self.shape)[np.ix_(*orders)]
        return _rearranged(rng, cells, transposes=True)


def x_of_size(rows: int, columns: int) -> SudokuX:
    """Return the X-Sudoku of a board size, with boxes as `of_size` has them.

    Raises
    ------
    InvalidInputError
        If there is no Sudoku of that size.
    """
    return SudokuX(*of_size(rows, columns).box)


def _together(size: int, side: int) -> _Relation:
    """Which lines are in one band of so many."""
    bands = np.arange(size) // side
    together: _Relation = np.equal(bands[:, None], bands)
    return together


def draw_order(
    rng: np.random.Generator, size: int, keep: list[_Relation], *, mirrored: bool = True
) -> npt.NDArray[np.intp]:
    """Draw an order of lines that keeps relations between them, each as a matrix.

    Parameters
    ----------
    rng : numpy Generator
    size : int
        Number of lines.
    keep : list of bool arrays of shape (size, size)
        Lines i and j are related exactly where the lines in their places are.
    mirrored : bool
        Whether lines opposite each other stay so. Default True.

    Returns
    -------
    intp array of shape (size,)
        The line that comes to each place.
    """
    order = np.full(size, -1, np.intp)

    def place(at: int) -> bool:
        while at < size and order[at] >= 0:
            at += 1
        if at == size:
            return True
        both = [at, size - 1 - at] if mirrored else [at]
        for line in rng.permutation(size):
            lines = [line, size - 1 - line] if mirrored else [line]
            if np.isin(lines, order).any() or (both[0] == both[-1]) != (lines[0] == lines[-1]):
                continue
            order[both] = lines
            filled = np.flatnonzero(order >= 0)
            there, here = np.ix_(order[filled], order[filled]), np.ix_(filled, filled)
            if all((one[there] == one[here]).all() for one in keep) and place(at + 1):
                return True
            order[both] = -1
        return False

    found = place(0)
    assert found  # lines as they are keep everything
    return order


def _rearranged(
    rng: np.random.Generator, cells: npt.NDArray[np.intp], *, transposes: bool
) -> Rearrangement:
    """Cells moved so, perhaps transposed, with values renamed."""
    size = len(cells)
    if transposes and rng.integers(2):
        cells = cells.T
    renamed = np.concatenate(([0], rng.permutation(size) + 1)).astype(np.int8)
    return Rearrangement(np.ascontiguousarray(cells).reshape(-1), renamed, (size, size))


__all__ = ["BOX_WEIGHTS", "ClueOptions", "SudokuX", "Windoku", "draw_order", "x_of_size"]
