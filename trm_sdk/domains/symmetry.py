"""Symmetries: transforms of boards that map puzzles to puzzles and solutions to solutions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task

Values = npt.NDArray[np.int8]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


class Symmetry(ABC):
    """An invertible transform: cells move, and values are renamed.

    Two kinds are here: `Rearrangement` moves the cells of boards of one shape, `Turn` turns and
    mirrors boards of any shape. A domain may bring others.

    Attributes
    ----------
    values : int8 array of shape (V,) or None
        Value v becomes ``values[v]``. None: values stay.
    """

    values: Values | None

    @abstractmethod
    def move(self, array: _Array) -> _Array:
        """Move the cells of an array of shape (rows, columns, ...).

        Raises
        ------
        InvalidInputError
            If the symmetry is of boards of another shape.
        """

    @abstractmethod
    def inverse(self) -> Symmetry:
        """Return the transform that undoes this one, whatever the shape of the board."""

    def then(self, other: Symmetry) -> Symmetry:
        """Return this transform followed by another."""
        return Composition(self, other)

    def apply(self, grid: Grid) -> Grid:
        """Return the transformed grid."""
        moved = self.move(grid.cells)
        return Grid(moved if self.values is None else self.values[moved])

    def apply_task(self, task: Task) -> Task:
        """Return the transformed task: inputs, demonstrations and answers alike."""
        return Task(
            inputs=tuple(self.apply(grid) for grid in task.inputs),
            demonstrations=tuple((self.apply(a), self.apply(b)) for a, b in task.demonstrations),
            answers=None if task.answers is None else tuple(map(self.apply, task.answers)),
            name=task.name,
            metadata=self.apply_metadata(task.metadata),
        )

    def apply_metadata(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what came with a task, transformed alike; here, as it is.

        For domains whose clues are not all in the cells: regions move with them.
        """
        return metadata

    def apply_to_probabilities(
        self, numbers: npt.NDArray[np.float32], of: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """Return numbers about the values of each cell, such as probabilities, transformed alike.

        Parameters
        ----------
        numbers : float32 array of shape (rows, columns, len(of))
        of : sequence of int
            The value that each entry of the last axis is about; renaming must keep this set.

        Returns
        -------
        float32 array of shape (rows, columns, len(of)), of the transformed board
        """
        moved = self.move(numbers)
        if self.values is None:
            return moved
        place = {value: index for index, value in enumerate(of)}
        renamed = np.empty_like(moved)
        renamed[..., [place[int(self.values[value])] for value in of]] = moved
        return renamed


def _undone(values: Values | None) -> Values | None:
    if values is None:
        return None
    back = np.empty_like(values)
    back[values] = np.arange(values.size, dtype=np.int8)
    return back


class Rearrangement(Symmetry):
    """Moves the cells of boards of one shape.

    Parameters
    ----------
    cells : int array of shape (N,)
        Cell i of the result is cell ``cells[i]`` of the board transformed.
    values : int8 array of shape (V,), optional
        See `Symmetry`.
    shape : (rows, columns)
        Of the boards that it takes.
    result : (rows, columns), optional
        Of the boards that it gives; default `shape`.
    """

    def __init__(
        self,
        cells: npt.NDArray[np.integer[Any]],
        values: Values | None,
        shape: tuple[int, int],
        result: tuple[int, int] | None = None,
    ) -> None:
        self.cells: npt.NDArray[np.intp] = np.asarray(cells, np.intp)
        self.values = values
        self.shape = shape
        self.result = shape if result is None else result

    def move(self, array: _Array) -> _Array:
        """Move the cells of an array of shape (rows, columns, ...)."""
        if array.shape[:2] != self.shape:
            raise InvalidInputError(
                f"this symmetry is of boards of {self.shape[0]}x{self.shape[1]}; got "
                f"{array.shape[0]}x{array.shape[1]}"
            )
        rest = array.shape[2:]
        flat = array.reshape(-1, *rest)
        return flat[self.cells].reshape(*self.result, *rest)  # type: ignore[return-value]

    def inverse(self) -> Rearrangement:
        """Return the transform that undoes this one."""
        back = np.empty_like(self.cells)
        back[self.cells] = np.arange(self.cells.size)
        return Rearrangement(back, _undone(self.values), self.result, self.shape)


class Turn(Symmetry):
    """Turns and mirrors boards of any shape: one of the eight of the dihedral group.

    Parameters
    ----------
    number : int
        0 to 7: ``number % 4`` quarter turns counter-clockwise, after mirroring left and right where
        it is 4 and up.
    values : int8 array of shape (V,), optional
        See `Symmetry`.

    Raises
    ------
    InvalidInputError
        If `number` is not one of these.
    """

    def __init__(self, number: int, values: Values | None = None) -> None:
        if number not in range(8):
            raise InvalidInputError(f"a turn must be 0 to 7; got {shown(number)}")
        self.number = int(number)
        self.values = values

    def move(self, array: _Array) -> _Array:
        """Move the cells of an array of shape (rows, columns, ...)."""
        mirrored = array[:, ::-1] if self.number >= 4 else array
        return np.ascontiguousarray(np.rot90(mirrored, self.number % 4))  # type: ignore[return-value]

    def inverse(self) -> Turn:
        """Return the transform that undoes this one: mirrored turns undo themselves."""
        back = self.number if self.number >= 4 else -self.number % 4
        return Turn(back, _undone(self.values))


class Composition(Symmetry):
    """One transform after another; see `Symmetry.then`."""

    def __init__(self, first: Symmetry, second: Symmetry) -> None:
        self.first, self.second = first, second
        if first.values is None or second.values is None:
            self.values = second.values if first.values is None else first.values
        else:
            self.values = second.values[first.values]

    def move(self, array: _Array) -> _Array:
        """Move the cells of an array of shape (rows, columns, ...)."""
        return self.second.move(self.first.move(array))

    def apply_metadata(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what came with a task, transformed by both."""
        return self.second.apply_metadata(self.first.apply_metadata(metadata))

    def inverse(self) -> Symmetry:
        """Return the transform that undoes this one."""
        return Composition(self.second.inverse(), self.first.inverse())


__all__ = ["Composition", "Rearrangement", "Symmetry", "Turn"]
