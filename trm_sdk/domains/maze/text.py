"""Mazes as text: read what people and programs write, write one form.

Read by `parse_maze`, told apart by what they look like:

- rows of characters, one a cell: ``#`` ``█`` ``X`` ``+`` walls, space or ``.`` free, ``S`` and
  ``G`` (or ``E``, ``F``), ``o`` the path; also with a space between the cells, or with every
  block two characters wide;
- the same on one line, where its length is a square number: the 900 characters of Maze-Hard;
- matrices of 0 (free) and 1 (wall), with ``S`` and ``G`` or 2 and 3 in them; in rows of digits,
  separated by spaces or commas, or in brackets;
- plain bitmaps (PBM, ``P1``), black pixels being walls;
- mazes drawn with ``+``, ``-`` and ``|`` or with box characters. Every wall, passage and room
  becomes a cell: 2r + 1 rows and 2c + 1 columns for r x c rooms of whatever width and height.

Ends without a name, two ``*`` or two openings in the wall around the maze, are start and goal in
reading order; a single one is whichever of them is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.maze.rules import FREE, GOAL, PATH, START, WALL, lengths
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

#: What `format_maze` writes for each value: wall, free, start, goal, path.
SYMBOLS = "# SGo"

_END = 5  # start or goal, as the maze will show
_BLOCKS = "█▓▒░"
_CHARACTERS = {
    **dict.fromkeys("#Xx+■⬛" + _BLOCKS, WALL),
    **dict.fromkeys(" .·□⬜", FREE),
    **dict.fromkeys("Ss", START),
    **dict.fromkeys("GgEeFf", GOAL),
    "o": PATH,
    "*": _END,
}
_DIGITS = {"0": FREE, "1": WALL, "2": START, "3": GOAL}
_CORNERS = "+┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╭╮╯╰╴╵╶╷"
_FLAT, _UPRIGHT = "-=─━═", "|│┃║"
_DRAWN = _CORNERS + _FLAT + _UPRIGHT
_ACCEPTED = (
    "walls are '#', '█' or 'X', free cells ' ' or '.', the start 'S', the goal 'G', 'E' or 'F', "
    "the path 'o', an end '*'; in matrices 1 is a wall and 0 free"
)

Cells = npt.NDArray[np.int8]


def parse_maze(text: str) -> Cells:
    """Return the cells of a maze given as text.

    Parameters
    ----------
    text : str
        In one of the forms that this module names.

    Returns
    -------
    int8 array of shape (rows, columns)
        0 wall, 1 free, 2 start, 3 goal, 4 path.

    Raises
    ------
    InvalidInputError
        If a row is shorter or longer than the first, a character is unknown, or `check_maze`
        refuses the maze; the message says where.

    Examples
    --------
    >>> parse_maze("S.#\\n#.G").tolist()
    [[2, 1, 0], [0, 1, 3]]
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"a maze's text must be a str; got {shown(text)}")
    if not text.strip():
        raise InvalidInputError("a maze's text is empty")
    bitmap = _bitmap(text)
    if bitmap is not None:
        cells = bitmap
    elif "[" in text:
        rows = [_entries(row) for row in re.findall(r"\[([^\[\]]*)\]", text)]
        cells = _values(rows)
    else:
        lines = _lines(text)
        cells = _drawn(lines) if _is_drawn(text) else _values(_split(lines))
    cells = _named_ends(cells)
    check_maze(cells)
    if set(text) & set("01"):
        refuse_swapped(cells, "in matrices 1 is a wall and 0 free; write walls as '#', free as '.'")
    return cells


def refuse_swapped(cells: npt.ArrayLike, meaning: str) -> None:
    """Refuse a maze of numbers that looks as if walls and free cells were exchanged.

    That is so where the cells around it are free, all but two at most, and the maze with walls in
    the place of free cells has a way, too.

    Parameters
    ----------
    cells : integer array of shape (rows, columns)
        Values from 0 to 4.
    meaning : str
        What the numbers are read as, for the error.

    Raises
    ------
    InvalidInputError
    """
    array = _checked_cells(cells)
    inside = np.zeros(array.shape, np.bool_)
    inside[1:-1, 1:-1] = True
    if not inside.any() or not (array == WALL).any() or (array[~inside] == WALL).any():
        return
    if (array[~inside] != FREE).sum() > 2:
        return
    swapped = np.where(array == WALL, FREE, np.where(array == FREE, WALL, array))
    if lengths(np.where(swapped == PATH, FREE, swapped)[None])[0] >= 0:
        raise InvalidInputError(
            f"all around this maze is free, and what is read as walls leads from start to goal: "
            f"walls and free cells may be exchanged; {meaning}"
        )


def format_maze(cells: npt.ArrayLike) -> str:
    """Return a maze as rows of ``# SGo`` (wall, free, start, goal, path), joined by line ends.

    Parameters
    ----------
    cells : integer array of shape (rows, columns)
        Values from 0 to 4.

    Raises
    ------
    InvalidInputError
        If `cells` is not such an array.
    """
    array = _checked_cells(cells)
    return "\n".join("".join(SYMBOLS[value] for value in row) for row in array.tolist())


def check_maze(cells: npt.ArrayLike) -> None:
    """Check that a maze has one start and one goal, and a way between them.

    Parameters
    ----------
    cells : integer array of shape (rows, columns)
        Values from 0 to 4; cells of the path count as free.

    Raises
    ------
    InvalidInputError
        If it does not; or if `cells` is not such an array.
    """
    array = _checked_cells(cells)
    for value, name in ((START, "start (S)"), (GOAL, "goal (G)")):
        places = np.argwhere(array == value)
        if len(places) == 0:
            raise InvalidInputError(f"a maze must have one {name}; this one has none")
        if len(places) > 1:
            where = " and ".join(_place(row, column) for row, column in places[:2])
            raise InvalidInputError(
                f"a maze must have one {name}; this one has {len(places)}, at {where}"
            )
    if lengths(np.where(array == PATH, FREE, array)[None])[0] < 0:
        raise InvalidInputError("the goal of this maze can't be reached from its start")


def _checked_cells(cells: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(cells)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"a maze must be an integer array of shape (rows, columns); "
            f"got {array.dtype} of shape {array.shape}"
        )
    wrong = np.argwhere((array < WALL) | (array > PATH))
    if len(wrong):
        row, column = wrong[0]
        raise InvalidInputError(
            f"a maze's cells must be from 0 to 4 (wall, free, start, goal, path); "
            f"got {array[row, column]} at {_place(row, column)}"
        )
    return array


def _place(row: int, column: int) -> str:
    return f"row {row + 1}, column {column + 1}"


def _lines(text: str) -> list[str]:
    """Return the rows of a text, without blank lines around them and without an indent."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    width = len(next(line for line in lines if line.strip()))
    # A line of spaces that is as wide as the others may be a row of free cells.
    while not lines[0].strip() and len(lines[0]) != width:
        lines.pop(0)
    while not lines[-1].strip() and len(lines[-1]) != width:
        lines.pop()
    indent = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
    dedented = [line[indent:] for line in lines]
    # Free cells look like an indent, but not outside of a wall around all.
    return dedented if indent and (_is_drawn(text) or _is_walled(dedented)) else lines


def _is_drawn(text: str) -> bool:
    """Return whether a text has corners and lines of a drawn maze."""
    marks = set(text)
    return bool(marks & set(_CORNERS) and marks & set(_FLAT + _UPRIGHT))


def _is_walled(lines: list[str]) -> bool:
    """Return whether rows have walls around them, with at most two openings."""
    rows = [line.rstrip() or " " for line in lines]
    ring = [*rows[0], *rows[-1], *(row[0] for row in rows), *(row[-1] for row in rows)]
    return sum(_CHARACTERS.get(mark) != WALL for mark in ring) <= 2


def _bitmap(text: str) -> Cells | None:
    """The cells of a plain bitmap (PBM, "P1"), whose black pixels are walls; None for others."""
    if not text.startswith("P1"):
        return None
    _, *entries = re.sub(r"#[^\n]*", "", text).split()
    if len(entries) < 2 or not all(one.isdecimal() and len(one) < 5 for one in entries[:2]):
        return None
    columns, rows = int(entries[0]), int(entries[1])
    bits = "".join(entries[2:])
    if len(bits) != rows * columns or set(bits) - set("01"):
        raise InvalidInputError(
            f"a bitmap (P1) of {rows} rows and {columns} columns must have {rows * columns} pixels "
            f"of 0 or 1; got {len(bits)} in {shown(bits)}"
        )
    return np.array([_DIGITS[bit] for bit in bits], np.int8).reshape(rows, columns)


def _entries(row: str) -> list[str]:
    """Return the entries of a matrix's row, separated by commas, semicolons or spaces."""
    return [entry.strip("'\"") for entry in re.split(r"[,;\s]+", row.strip(",; \t\n"))]


def _split(lines: list[str]) -> Sequence[Sequence[str]]:
    """Return the cells of each row, as characters or as entries of a matrix."""
    text = "".join(lines)
    marks = set(text) - set(",; \t")
    if marks & set("01") and not marks - set("0123SsGgEeFf*o'\"") and set(text) & set(",; \t"):
        return [_entries(line) for line in lines]
    if len(lines) == 1:
        side = math.isqrt(len(text))
        if side * side == len(text):
            return [text[start : start + side] for start in range(0, len(text), side)]
        return lines
    separated = len(lines[0]) > 1 and all(
        len(line) % 2 == 1 and not line[1::2].strip(" ") for line in lines
    )
    if separated and " " not in {mark for line in lines for mark in line[::2]}:
        return [line[::2] for line in lines]
    return _halved(lines) or lines


def _halved(lines: list[str]) -> list[str] | None:
    """Return the rows of a maze of blocks that are two characters wide, None where they aren't."""
    walls = {mark for line in lines for mark in line if _CHARACTERS.get(mark) == WALL}
    if not walls or not walls <= set(_BLOCKS) or any(len(line) % 2 for line in lines):
        return None
    rows = []
    for line in lines:
        pairs = [line[start : start + 2] for start in range(0, len(line), 2)]
        if any(pair[0] != pair[1] and (" " not in pair or walls & set(pair)) for pair in pairs):
            return None
        rows.append("".join(pair.strip()[:1] or " " for pair in pairs))
    return rows


def _values(rows: Sequence[Sequence[str]]) -> Cells:
    """Return the values of rows of symbols, `_END` for an end without a name."""
    if not rows or not len(rows[0]):
        raise InvalidInputError("a maze's text has no cells")
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise InvalidInputError(
                f"row {index + 1} of a maze has {len(row)} cells, row 1 has {len(rows[0])}; all "
                f"must have the same number (write '.' for free cells where spaces get lost)"
            )
    known = dict(_CHARACTERS)
    symbols = {symbol for row in rows for symbol in row}
    if not any(known.get(symbol) == WALL for symbol in symbols):
        known.update(_DIGITS)
    if unknown := symbols - set(known):
        found, where = next(
            (symbol, _place(number, column))
            for number, line in enumerate(rows)
            for column, symbol in enumerate(line)
            if symbol in unknown
        )
        raise InvalidInputError(f"unknown character {found!r} in a maze at {where}; {_ACCEPTED}")
    return np.array([[known[symbol] for symbol in row] for row in rows], np.int8)


def _drawn(lines: list[str]) -> Cells:
    """Return the cells of a maze whose walls are drawn as lines between rooms."""
    width = max(len(line.rstrip()) for line in lines)
    rows = [line.rstrip().ljust(width) for line in lines]
    # Walls stand on a lattice: its pitch is what all corners and upright walls agree on.
    posts = [
        (row, column)
        for row, line in enumerate(rows)
        for column, mark in enumerate(line)
        if mark in _CORNERS
    ]
    upright = [column for line in rows for column, mark in enumerate(line) if mark in _UPRIGHT]
    tall = math.gcd(len(rows) - 1, *(row for row, _ in posts))
    wide = math.gcd(width - 1, *(column for _, column in posts), *upright)
    if tall < 2 or wide < 2:
        raise InvalidInputError(
            f"a drawn maze must have its corners ('+') at equal distances of at least 2, the first "
            f"in row 1, column 1; got a distance of {tall} rows and {wide} columns over "
            f"{len(rows)}x{width} characters"
        )
    cells = np.empty(((len(rows) - 1) // tall * 2 + 1, (width - 1) // wide * 2 + 1), np.int8)
    for row, column in np.ndindex(cells.shape):
        top, left = row // 2 * tall + row % 2, column // 2 * wide + column % 2
        bottom, right = top + (tall - 1 if row % 2 else 1), left + (wide - 1 if column % 2 else 1)
        cells[row, column] = _drawn_cell(rows, top, bottom, left, right)
    return cells


def _drawn_cell(rows: list[str], top: int, bottom: int, left: int, right: int) -> int:
    """Return the value of a rectangle of characters: a room, a corner or what is between them."""
    marks = "".join(line[left:right] for line in rows[top:bottom])
    found = set(marks) - {" "}
    if not found:
        return FREE
    if " " not in marks and found <= set(_DRAWN + "#" + _BLOCKS):
        return WALL
    inside = marks.replace(" ", "")
    if len(inside) == 1 and inside in _CHARACTERS and _CHARACTERS[inside] != WALL:
        return _CHARACTERS[inside]
    raise InvalidInputError(
        f"{marks!r} in a drawn maze, from {_place(top, left)}, is neither a whole wall nor free "
        f"nor a single mark; {_ACCEPTED}"
    )


def _named_ends(cells: Cells) -> Cells:
    """Return the cells with start and goal in place of ends without a name."""
    missing = [value for value in (START, GOAL) if not (cells == value).any()]
    ends = np.argwhere(cells == _END)
    if len(ends) > len(missing):
        raise InvalidInputError(
            f"a maze must have one start and one goal; this one has {len(ends)} ends ('*') beside "
            f"{2 - len(missing)} with a name"
        )
    if missing and len(ends) == 0:
        border = np.ones(cells.shape, np.bool_)
        border[1:-1, 1:-1] = False
        ends = np.argwhere(border & ((cells == FREE) | (cells == PATH)))
        if len(ends) != len(missing):
            names = " and no ".join({START: "start (S)", GOAL: "goal (G)"}[v] for v in missing)
            raise InvalidInputError(
                f"a maze must have one start and one goal; this one has no {names}, and "
                f"{len(ends)} openings in the wall around it where {len(missing)} would do"
            )
    named: Cells = cells.copy()
    for (row, column), value in zip(ends, missing, strict=False):
        named[row, column] = value
    return named
