"""Grid: an immutable two-dimensional board of small integers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown, times


class Grid:
    """An immutable 2-D board of int8 values.

    What a value means, and how it is written, is for the domain to say: see `Domain.parse`,
    `Domain.format` and `Domain.to_line`.

    Parameters
    ----------
    cells : array-like of shape (rows, columns)
        Integers in -128..127. Booleans, floats with a fraction and ragged rows are refused.

    Raises
    ------
    InvalidInputError
        If `cells` is not a non-empty two-dimensional array of such integers.

    Examples
    --------
    >>> Grid([[1, 0], [0, 2]]).shape
    (2, 2)
    """

    __slots__ = ("_cells", "_hash")
    _cells: npt.NDArray[np.int8]
    _hash: int | None

    def __init__(self, cells: npt.ArrayLike) -> None:
        array = as_array(cells)
        if array.ndim != 2 or array.size == 0:
            raise InvalidInputError(
                f"a grid has two non-empty dimensions (rows, columns); got shape {array.shape}"
            )
        if array.dtype.kind == "f" and (np.abs(array) < 1e4).all() and (array % 1 == 0).all():
            array = array.astype(np.int64)  # e.g. read by np.loadtxt or from a data frame
        if array.dtype.kind not in "iu":
            raise InvalidInputError(
                f"a grid holds integers; got dtype {array.dtype} in {shown(cells)}"
            )
        low, high = int(array.min()), int(array.max())
        if low < -128 or high > 127:
            wrong = low if low < -128 else high
            raise InvalidInputError(f"a grid holds integers in -128..127; got {wrong}")
        own = np.array(array, dtype=np.int8, order="C", copy=True)
        own.flags.writeable = False
        self._cells = own
        self._hash = None

    @property
    def cells(self) -> npt.NDArray[np.int8]:
        """The values as a read-only int8 array of shape (rows, columns)."""
        return self._cells

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self._cells.shape
        return rows, columns

    def tolist(self) -> list[list[int]]:
        """Return the values as nested Python lists."""
        rows: list[list[int]] = self._cells.tolist()
        return rows

    def __str__(self) -> str:
        width = max(len(str(int(value))) for value in (self._cells.min(), self._cells.max()))
        return "\n".join(" ".join(f"{value:>{width}}" for value in row) for row in self.tolist())

    def __repr__(self) -> str:
        if self._cells.size <= 256:
            return f"Grid({self.tolist()!r})"
        return f"<Grid {times(self.shape)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return np.array_equal(self._cells, other._cells)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self._cells.shape, self._cells.tobytes()))
        return self._hash

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if dtype is None or np.dtype(dtype) == self._cells.dtype:
            return self._cells.copy() if copy else self._cells
        if copy is False:
            raise ValueError(f"a copy is needed to give a Grid as {np.dtype(dtype)}")
        return self._cells.astype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[npt.NDArray[np.int8]]:
        return iter(self._cells)

    def __getitem__(self, index: Any) -> Any:
        value = self._cells[index]
        return int(value) if np.ndim(value) == 0 else value

    def __reduce__(self) -> tuple[type[Grid], tuple[list[list[int]]]]:
        return Grid, (self.tolist(),)


def as_array(cells: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return cells as an array of any shape and dtype, before either is checked.

    Raises
    ------
    InvalidInputError
        If they are ragged, can't be made an array, or have booleans among numbers, which numpy
        would read as 0 and 1.
    """
    if isinstance(cells, np.ma.MaskedArray) and np.ma.is_masked(cells):
        raise InvalidInputError(
            f"a grid needs a value in every cell; got a masked array: {shown(cells)}"
        )
    try:
        array = np.asarray(cells)
    except Exception as error:  # ragged rows, or whatever an object's `__array__` raises
        raise InvalidInputError(
            f"a grid needs rows of equal length holding integers; got {shown(cells)}"
        ) from error
    if array.ndim == 0 and array.dtype == object:  # not a sequence at all: a path, a generator
        raise InvalidInputError(f"a grid is made of rows of integers; got {type(cells).__name__}")
    if array.dtype.kind in "iuf" and _has_boolean(cells):
        raise InvalidInputError(f"a grid holds integers, not booleans; got {shown(cells)}")
    return array


def _has_boolean(cells: object) -> bool:
    if isinstance(cells, (list, tuple)):
        return any(map(_has_boolean, cells))
    return type(cells) is not int and (
        isinstance(cells, bool) or getattr(cells, "dtype", None) == np.bool_
    )
