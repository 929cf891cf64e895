"""The text dialect of boards of numbers: what people write a Sudoku in, read and written."""

from __future__ import annotations

import json
import math
import re

import numpy as np

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown, times
from trm_sdk.validation import is_int

#: Characters that stand for an empty cell (value 0) in text.
BLANKS = "0._*?"
_BLANK = frozenset(BLANKS)
#: What people draw between cells: ASCII art and the box-drawing block. A dash right before a cell,
#: at the start of a token, is a sign, and is kept so that it is not lost unseen.
_RULES = re.compile(r"[|+=/\u2500-\u257f]|-(?![\w.*?])|(?<=[^\s,;|\u2500-\u257f])-")
#: No longer than Python turns into an int at once; whether it fits into a cell is seen after that.
_NUMBER = re.compile(r"-?[0-9]{1,9}")


def read_numbers(text: str, shape: tuple[int, int] | None = None) -> Grid:
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
        return _from_json(body, shape)
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
    return _shaped(rows, shape, text)


def _from_json(body: str, shape: tuple[int, int] | None) -> Grid:
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
        return _shaped([data], shape, body)
    grid = Grid(data)
    if shape is not None and grid.shape != shape:
        raise InvalidInputError(f"expected a {times(shape)} grid; got {times(grid.shape)}")
    return grid


def _shaped(rows: list[list[int]], shape: tuple[int, int] | None, text: str) -> Grid:
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
            f"expected {shape[0] * shape[1]} cells for a {times(shape)} grid; got {len(flat)} "
            f"in {shown(text)}"
        )
    return Grid(np.array(flat).reshape(shape))


def line_of(grid: Grid) -> str:
    """Return all cells on one line, row by row: ``.`` for 0, digits, then ``A`` for 10 and up.

    Raises
    ------
    InvalidInputError
        If a value is outside 0..35 and so has no one-character form.
    """
    return "".join(_symbol(int(value)) for value in grid.cells.flat)


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, (tuple, list))
        and len(shape) == 2
        and all(is_int(size) and size > 0 for size in shape)
    )


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


__all__ = ["line_of", "read_numbers"]
