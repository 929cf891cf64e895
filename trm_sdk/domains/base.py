"""Domain: what a kind of puzzle is. A domain knows its rules and its encoding, and no network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid, as_array
from trm_sdk.structure import Structure
from trm_sdk.task import Task

Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Symmetry:
    """An invertible transform of grids that maps puzzles to puzzles and solutions to solutions.

    Attributes
    ----------
    cells : int array of shape (N,)
        Cell i of the result is cell ``cells[i]`` of the grid transformed.
    values : int array of shape (V,)
        Value v becomes ``values[v]``; index 0 (an empty cell) stays 0.
    shape : (rows, columns)
        Of the result.
    """

    cells: npt.NDArray[np.intp]
    values: npt.NDArray[np.int8]
    shape: tuple[int, int]

    def apply(self, grid: Grid) -> Grid:
        """The transformed grid."""
        flat = grid.cells.reshape(-1)
        if flat.size != self.cells.size:
            raise InvalidInputError(
                f"this symmetry is of {self.cells.size} cells; got a grid of {flat.size}"
            )
        return Grid(self.values[flat[self.cells]].reshape(self.shape))

    def apply_to_values(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        r"""Numbers about the values of each cell, such as probabilities, transformed alike.

        Parameters
        ----------
        numbers : float32 array of shape (rows, columns, values)
            Of the values 1 and up.

        Returns
        -------
        float32 array of shape (\*shape, values)
        """
        flat = numbers.reshape(-1, numbers.shape[-1])
        moved = np.empty_like(flat)
        moved[:, self.values[1:] - 1] = flat[self.cells]
        return moved.reshape(*self.shape, -1)

    def apply_task(self, task: Task) -> Task:
        """The transformed task: inputs, demonstrations and answers alike."""
        return Task(
            inputs=tuple(self.apply(grid) for grid in task.inputs),
            demonstrations=tuple((self.apply(a), self.apply(b)) for a, b in task.demonstrations),
            answers=None if task.answers is None else tuple(map(self.apply, task.answers)),
            name=task.name,
            metadata=task.metadata,
        )

    def inverse(self) -> Symmetry:
        """The transform that undoes this one (for square grids or unchanged shapes)."""
        cells = np.empty_like(self.cells)
        cells[self.cells] = np.arange(self.cells.size)
        values = np.empty_like(self.values)
        values[self.values] = np.arange(self.values.size, dtype=np.int8)
        return Symmetry(cells, values, self.shape)

    def then(self, other: Symmetry) -> Symmetry:
        """This transform followed by another."""
        return Symmetry(self.cells[other.cells], other.values[self.values], other.shape)


class Domain(ABC):
    """One kind of puzzle on a board of fixed shape.

    A subclass states the attributes below and implements `check` and `verify`; everything else has
    a default that fits puzzles whose answer fills in the empty cells of the input.

    Attributes
    ----------
    name : str
        As in ``Solver.from_pretrained(name)`` and in checkpoints.
    shape : (rows, columns)
    vocabulary : tuple of str
        Names of the tokens, in order. By default token 0 is padding, token 1 an empty cell, and
        token v + 1 the value v.
    answer_offset : int
        First token that may stand in an answer.
    structure : Structure or None
        For the structured mixer.
    """

    name: str
    shape: tuple[int, int]
    vocabulary: tuple[str, ...]
    answer_offset: int = 2
    structure: Structure | None = None

    @property
    def seq_len(self) -> int:
        """Number of cells N."""
        return self.shape[0] * self.shape[1]

    # --- what a subclass must say -----------------------------------------------------------

    @abstractmethod
    def check(self, task: Task) -> None:
        """Raise `InvalidInputError` where the task breaks the rules before anyone solves it."""

    @abstractmethod
    def verify(self, task: Task, answer: Grid) -> bool | None:
        """Does the answer solve the task, by the rules and the givens alone? None: can't say."""

    # --- what it may say --------------------------------------------------------------------

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.bool_] | None:
        """`verify` for a whole batch of encoded puzzles, vectorised.

        Parameters
        ----------
        tokens, answers : integer arrays of shape (batch, N)

        Returns
        -------
        bool array of shape (batch,), or None where the domain has no rules to check by.
        """
        verdicts = [
            self.verify(self.decode_task(puzzle), self.decode(answer))
            for puzzle, answer in zip(tokens, answers, strict=True)
        ]
        if any(verdict is None for verdict in verdicts):
            return None
        return np.array(verdicts, dtype=bool)

    def rules_out(self, answer: list[int]) -> bool:
        """A first look at one answer, for speed alone: True only where it can't be right.

        A single solve asks after every step of the network, most often about an answer that is
        wrong, and calls `verify_tokens` where this says False (here: always). Worth overriding with
        a few operations on the list itself.

        Parameters
        ----------
        answer : list of N int
            Tokens, with the givens in their places.
        """
        return False

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry | None:
        """A random member of the domain's symmetry group; None where it has none."""
        return None

    def format(self, grid: Grid) -> str:
        """The grid as people like to see it."""
        return str(grid)

    # --- from the outside world to tokens and back ------------------------------------------

    def parse(self, puzzle: object) -> Task:
        """Read a puzzle in any accepted form and check it.

        Parameters
        ----------
        puzzle : Task, Grid, str, or array-like of shape `shape` or (N,)

        Raises
        ------
        InvalidInputError
            If it can't be read, has another shape, holds unknown values or breaks the rules.
        """
        if isinstance(puzzle, Task):
            task = puzzle
        elif isinstance(puzzle, Grid):
            task = Task((puzzle,))
        elif isinstance(puzzle, str):
            task = Task((Grid.parse(puzzle, self.shape),))
        elif isinstance(puzzle, (bytes, bytearray, dict, set)) or puzzle is None:
            raise InvalidInputError(
                "a puzzle is a Task, a Grid, a str, or an array of integers; "
                f"got {type(puzzle).__name__}"
            )
        else:
            task = Task((self._grid_from_array(puzzle),))
        for grid in task.inputs:
            self._check_values(grid)
        self.check(task)
        return task

    def _grid_from_array(self, puzzle: Any) -> Grid:
        array = as_array(puzzle)
        if array.ndim == 1 and array.size == self.seq_len:
            array = array.reshape(self.shape)
        return Grid(array)

    def _check_values(self, grid: Grid) -> None:
        if grid.shape != self.shape:
            raise InvalidInputError(
                f"{self.name} takes grids of {self.shape[0]}x{self.shape[1]}; "
                f"got {grid.shape[0]}x{grid.shape[1]}"
            )
        highest = len(self.vocabulary) - 2
        wrong = np.argwhere((grid.cells < 0) | (grid.cells > highest))
        if len(wrong):
            row, column = (int(index) for index in wrong[0])
            raise InvalidInputError(
                f"{self.name} takes values 0 (empty) to {highest}; got {grid[row, column]} "
                f"in row {row + 1}, column {column + 1}"
            )

    def encode(self, task: Task) -> Tokens:
        """The first input as int32 tokens of shape (N,)."""
        return self.encode_grid(task.inputs[0])

    def encode_grid(self, grid: Grid) -> Tokens:
        """A grid as int32 tokens of shape (N,)."""
        return grid.cells.reshape(-1).astype(np.int32) + 1

    def decode(self, tokens: npt.NDArray[np.integer[Any]]) -> Grid:
        """Tokens of shape (N,) as a grid; padding reads as an empty cell."""
        return Grid(np.maximum(np.asarray(tokens, dtype=np.int64) - 1, 0).reshape(self.shape))

    def decode_task(self, tokens: npt.NDArray[np.integer[Any]]) -> Task:
        """The task that a row of tokens encodes."""
        return Task((self.decode(tokens),))

    def value_names(self) -> Sequence[str]:
        """Names of the values that an answer may hold, in the order of their tokens."""
        return self.vocabulary[self.answer_offset :]

    def __repr__(self) -> str:
        return f"<Domain {self.name}>"
