"""Sudoku of any box shape: 4x4, 6x6 (2x3 boxes), 9x9, 16x16."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Symmetry, Tokens
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.structure import Relation, Structure
from trm_sdk.task import Task
from trm_sdk.validation import is_int


class Sudoku(Domain):
    """Fill the board so that every row, column and box holds each value once.

    Parameters
    ----------
    box_rows, box_columns : int
        Shape of a box; the board has ``size = box_rows * box_columns`` rows and columns.
        Default 3 x 3.

    Raises
    ------
    InvalidInputError
        If these are no integers from 1, or there would not be 2 to 35 values.

    Attributes
    ----------
    size : int
        Rows, columns and values of the board.
    groups : int array of shape (3 * size, size)
        Cell indices of the rows, then the columns, then the boxes.
    """

    def __init__(self, box_rows: int = 3, box_columns: int = 3) -> None:
        sides = (box_rows, box_columns)
        if (
            not all(is_int(side) and side >= 1 for side in sides)
            or not 2 <= box_rows * box_columns <= 35
        ):
            raise InvalidInputError(
                f"a Sudoku has 2 to 35 values; got boxes of {box_rows!r}x{box_columns!r}"
            )
        size = box_rows * box_columns
        self.box = sides
        self.size = size
        self.name = "sudoku" if size == 9 else f"sudoku-{size}x{size}"
        self.shape = (size, size)
        self.vocabulary = ("pad", "empty", *(str(value) for value in range(1, size + 1)))
        cells = np.arange(size * size).reshape(size, size)
        boxes = (
            cells.reshape(box_columns, box_rows, box_rows, box_columns)
            .transpose(0, 2, 1, 3)
            .reshape(size, size)
        )
        self.groups: npt.NDArray[np.intp] = np.concatenate((cells, cells.T, boxes))
        self._members = np.ascontiguousarray(self.groups.T)
        bits = [0, 0, *(1 << value for value in range(size)), 0]
        self._bits: npt.NDArray[np.int64] = np.array(bits, np.int64)
        self._all = (1 << size) - 1
        line = None if box_rows == box_columns else ("row", "column")

        def relation(name: str, sets: npt.NDArray[np.intp]) -> Relation:
            # Rows and columns change places by transposition where boxes are square, only there.
            weights = "line" if line is None and name != "box" else None
            return Relation(name=name, sets=tuple(map(tuple, sets.tolist())), weights=weights)

        self.structure = Structure(
            cells=size * size,
            relations=(
                relation("row", cells),
                relation("column", cells.T),
                relation("box", boxes),
            ),
            interchangeable_values=True,
        )

    def check(self, task: Task) -> None:
        """Refuse a puzzle whose givens already repeat a value in a row, column or box."""
        for grid in task.inputs:
            groups = grid.cells.reshape(-1)[self.groups]
            values = np.sort(groups, axis=1)
            repeats = (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > 0)
            if not repeats.any():
                continue
            number, place = (int(index) for index in np.argwhere(repeats)[0])
            value = int(values[number, place])
            kind = ("row", "column", "box")[number // self.size]
            raise InvalidInputError(
                f"contradicting givens: {value} stands {int((groups[number] == value).sum())} "
                f"times in {kind} {number % self.size + 1}"
            )

    def verify(self, task: Task, answer: Grid) -> bool:
        """True where every group holds each value once and every given is kept."""
        if answer.shape != self.shape:
            return False
        tokens = self.encode(task)[None]
        return bool(self.verify_tokens(tokens, self.encode_grid(answer)[None])[0])

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.bool_]:
        """`verify` for batches of encoded puzzles and answers, each of shape (batch, N)."""
        # One bit a value, none for any other token: n cells cover all n bits only with every value
        # once. Gathered with the groups on the last axis, which is the fast one to reduce over.
        bits = self._bits.take(answers, mode="clip").take(self._members, axis=1)
        covered = np.bitwise_and.reduce(np.bitwise_or.reduce(bits, axis=1), axis=1)
        verdict: npt.NDArray[np.bool_] = covered == self._all
        if verdict.any():  # seldom, and so the givens are seldom looked at
            verdict &= ((tokens < self.answer_offset) | (tokens == answers)).all(1)
        return verdict

    def rules_out(self, answer: list[int]) -> bool:
        """True unless every value stands as often as the board has rows: the first thing that a
        wrong answer gets wrong."""
        size = self.size
        for value in range(self.answer_offset, self.answer_offset + size):
            if answer.count(value) != size:
                return True
        return False

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """Relabel digits; permute bands, stacks, rows and columns; transpose (square boxes)."""
        rows, columns = self.box
        order = _shuffled_lines(rng, columns, rows), _shuffled_lines(rng, rows, columns)
        cells = np.arange(self.size * self.size).reshape(self.shape)[np.ix_(*order)]
        if rows == columns and rng.integers(2):
            cells = cells.T
        values = np.concatenate(([0], rng.permutation(self.size) + 1)).astype(np.int8)
        return Symmetry(np.ascontiguousarray(cells).reshape(-1), values, self.shape)

    def format(self, grid: Grid) -> str:
        """The board with its boxes drawn."""
        rows, columns = self.box
        lines = []
        rule = "+".join(["-" * (2 * columns + 1)] * rows)
        for row, line in enumerate(grid.to_line()[i : i + self.size] for i in self._starts()):
            if row and row % rows == 0:
                lines.append(rule)
            boxes = [line[i : i + columns] for i in range(0, self.size, columns)]
            lines.append("|".join(f" {' '.join(box)} " for box in boxes))
        return "\n".join(lines)

    def _starts(self) -> range:
        return range(0, self.size * self.size, self.size)


def _shuffled_lines(rng: np.random.Generator, bands: int, lines: int) -> npt.NDArray[np.intp]:
    """Shuffle whole bands, and the lines within each."""
    return np.concatenate(
        [band * lines + rng.permutation(lines) for band in rng.permutation(bands)]
    )
