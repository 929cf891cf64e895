"""Grid: an immutable two-dimensional board of small integers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.validation import is_int

#: Characters that stand for an empty cell (value 0) in text.
BLANKS = "0._*?"
_BLANK = frozenset(BLANKS)
#: What people draw between cells: ASCII art and the box-drawing block. A dash right before a cell,
#: at the start of a token, is a sign, and is kept so that it is not lost unseen.
_RULES = re.compile(r"[|+=/\u2500-\u257f]|-(?![\w.*?])|(?<=[^\s,;|\u2500-\u257f])-")
#: No longer than Python turns into an int at once; whether it fits into a cell is seen after that.
_NUMBER = re.compile(r"-?[0-9]{1,9}")


class Grid:
    """An immutable 2-D board of int8 values; 0 is an empty cell wherever a domain has such a thing.

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
    >>> Grid.parse("1.\\n.2") == Grid([[1, 0], [0, 2]])
    True
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
        if array.dtype.kind == "f" and (np.abs(array) < 1e6).all() and (array % 1 == 0).all():
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

    @classmethod
    def parse(cls, text: str, shape: tuple[int, int] | None = None) -> Grid:
        """Read a grid from any of the usual text forms.

        Accepted: one character a cell (``53..7....``; blanks are any of ``0 . _ * ?``, digits stand
        for themselves, letters ``A``.. for 10 and up), on one line or many, with spaces or drawn
        rules between cells; numbers, perhaps negative, separated by spaces or commas; a JSON list
        (nested or flat). Lines that start with ``#`` are comments.

        Parameters
        ----------
        text : str
        shape : (rows, columns), optional
            What the grid must be. Without it, several lines give the shape, and a single line
            must have a square number of cells.

        Raises
        ------
        InvalidInputError
            Naming the character, or the number of cells found and expected.
        """
        if not isinstance(text, str):
            raise InvalidInputError(f"text to parse must be a str; got {type(text).__name__}")
        if shape is not None and not _is_shape(shape):
            raise InvalidInputError(f"shape must be (rows, columns); got {shown(shape)}")
        body = "\n".join(
            line for line in text.lstrip("\ufeff").splitlines() if not line.lstrip().startswith("#")
        ).strip()
        if body.startswith("["):
            return cls._from_json(body, shape)
        lines = [_RULES.sub(" ", line).strip() for line in body.splitlines()]
        lines = [line for line in lines if line.strip(",; ")]
        if not lines:
            raise InvalidInputError(f"no cells in the text {shown(text)}")
        expected = None if shape is None else shape[0] * shape[1]
        numbers = [re.split(r"[\s,;]+", line.strip(",; ")) for line in lines]
        characters = [re.sub(r"[\s,;]", "", line) for line in lines]
        n_numbers, n_characters = sum(map(len, numbers)), sum(map(len, characters))
        # A list of numbers and a row of characters look alike only where every number has one
        # digit, and then both readings agree; elsewhere the expected count decides.
        as_numbers = n_characters != n_numbers and (
            n_numbers == expected
            or (expected is None and n_numbers > len(lines) and _all_numbers(numbers))
        )
        if as_numbers and n_characters != expected:
            rows = [[_number(token) for token in row] for row in numbers]
        else:
            rows = [[_cell(character, text) for character in row] for row in characters]
        return cls._shaped(rows, shape, text)

    @classmethod
    def _from_json(cls, body: str, shape: tuple[int, int] | None) -> Grid:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"text that starts with '[' must be a JSON list of integers: {error}"
            ) from error
        rows = [row if isinstance(row, list) else [row] for row in data]
        if any(type(value) is not int for row in rows for value in row):
            raise InvalidInputError(
                f"text that starts with '[' must be a JSON list of integers; got {shown(body)}"
            )
        if data and all(isinstance(value, int) for value in data):
            return cls._shaped([data], shape, body)
        grid = cls(data)
        if shape is not None and grid.shape != shape:
            raise InvalidInputError(f"expected a {_times(shape)} grid; got {_times(grid.shape)}")
        return grid

    @classmethod
    def _shaped(cls, rows: list[list[int]], shape: tuple[int, int] | None, text: str) -> Grid:
        flat = [value for row in rows for value in row]
        if shape is None:
            side = math.isqrt(len(flat))
            if len(rows) > 1 and len({len(row) for row in rows}) == 1:
                shape = (len(rows), len(rows[0]))
            elif side * side == len(flat):
                shape = (side, side)
            else:
                lengths = sorted({len(row) for row in rows})
                raise InvalidInputError(
                    "rows of equal length or a square number of cells are needed; got "
                    f"{len(flat)} cells in {len(rows)} rows of length {lengths}: {shown(text)}"
                )
        if len(flat) != shape[0] * shape[1]:
            raise InvalidInputError(
                f"expected {shape[0] * shape[1]} cells for a {_times(shape)} grid; got {len(flat)} "
                f"in {shown(text)}"
            )
        return cls(np.array(flat).reshape(shape))

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
        """The values as nested Python lists."""
        rows: list[list[int]] = self._cells.tolist()
        return rows

    def to_line(self) -> str:
        """All cells on one line, row by row: ``.`` for 0, digits, then ``A`` for 10 and up.

        Raises
        ------
        InvalidInputError
            If a value is outside 0..35 and so has no one-character form.
        """
        return "".join(_symbol(int(value)) for value in self._cells.flat)

    def __str__(self) -> str:
        if int(self._cells.min()) >= 0 and int(self._cells.max()) <= 35:
            return "\n".join("".join(_symbol(int(v)) for v in row) for row in self._cells)
        return "\n".join(" ".join(str(int(v)) for v in row) for row in self._cells)

    def __repr__(self) -> str:
        if self._cells.size <= 256:
            return f"Grid({self.tolist()!r})"
        return f"<Grid {_times(self.shape)}>"

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
    """Cells as an array of any shape and type, before anything is asked of either.

    Raises
    ------
    InvalidInputError
        If they are ragged, or have booleans among numbers, which numpy would read as 0 and 1.
    """
    try:
        array = np.asarray(cells)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            f"a grid needs rows of equal length holding integers; got {shown(cells)}"
        ) from error
    if array.dtype.kind in "iuf" and _has_boolean(cells):
        raise InvalidInputError(f"a grid holds integers, no booleans; got {shown(cells)}")
    return array


def _has_boolean(cells: object) -> bool:
    if isinstance(cells, (list, tuple)):
        return any(map(_has_boolean, cells))
    return type(cells) is not int and (
        isinstance(cells, bool) or getattr(cells, "dtype", None) == np.bool_
    )


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, (tuple, list))
        and len(shape) == 2
        and all(is_int(size) and size > 0 for size in shape)
    )


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)


def _symbol(value: int) -> str:
    if value == 0:
        return "."
    if 1 <= value <= 9:
        return str(value)
    if 10 <= value <= 35:
        return chr(ord("A") + value - 10)
    raise InvalidInputError(f"only values 0..35 have a one-character form; got {value}")


def _cell(character: str, text: str) -> int:
    if character in BLANKS:
        return 0
    if character.isascii() and character.isdigit():
        return int(character)
    if character.isascii() and character.isalpha():
        return ord(character.upper()) - ord("A") + 10
    raise InvalidInputError(
        f"unexpected character {character!r} in {shown(text)}; a cell is a digit, a letter "
        f"(A = 10), or one of {BLANKS!r} for an empty cell"
    )


def _all_numbers(rows: list[list[str]]) -> bool:
    return all(_NUMBER.fullmatch(token) or token in _BLANK for row in rows for token in row)


def _number(token: str) -> int:
    if token in _BLANK:
        return 0
    if not _NUMBER.fullmatch(token):
        raise InvalidInputError(
            f"expected a number in -128..127 or one of {BLANKS!r}; got {shown(token)}"
        )
    return int(token)
