"""Texts of jigsaws: a puzzle and its regions, on a line, as two boards, or drawn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import dedent
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown

_BETWEEN = re.compile(r"[\s,;|:]+")
#: Characters of a drawing's walls and corners; between them there is room.
_WALLS = re.compile(r"[-+|=#\u2500-\u257f]")


def split(text: str, size: int) -> tuple[str, str] | None:
    """Return the puzzle and the regions of a text, each with a symbol a cell; None: only one board.

    Parameters
    ----------
    text : str
    size : int
        Rows and columns of a board.

    Raises
    ------
    InvalidInputError
        If there is a second board, and it is not of the same size.
    """
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    drawn = _drawn(text, size)
    if drawn is not None:
        return drawn
    cells = size * size
    if len(lines) == 2 * size:
        halves = ["".join("".join(_rows(part)).split()) for part in (lines[:size], lines[size:])]
        return _checked(halves[0], halves[1], cells)
    if len(lines) == 2:
        return _checked("".join(lines[0].split()), "".join(lines[1].split()), cells)
    if len(lines) != 1:
        return None
    parts = [part for part in _BETWEEN.split(lines[0].strip()) if part]
    if len(parts) == 2:
        return _checked(parts[0], parts[1], cells)
    if len(parts) == 2 * size:  # rows, parted by blanks
        return _checked("".join(parts[:size]), "".join(parts[size:]), cells)
    return None


def blocks(text: str, size: int, comment: str | None = None) -> list[tuple[int, str]]:
    """Return the jigsaws of a file over several lines each, with the number of their first line.

    Blocks between blank lines are a drawing, a board with its regions below, or a board; the block
    after a board is its regions. Empty where some block is none of these.
    """
    found: list[tuple[int, list[str]]] = []
    gap = True
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if not line.strip():
            gap = True
        elif comment is None or not line.startswith(comment):
            if gap:
                found.append((number, []))
            gap = False
            found[-1][1].append(line)
    jigsaws: list[tuple[int, str]] = []
    waiting: tuple[int, list[str]] | None = None
    for number, lines in found:
        if waiting is None and len(lines) == size:
            waiting = number, lines
            continue
        if waiting is not None:
            number, lines = waiting[0], [*waiting[1], *lines]
            waiting = None
        if len(lines) not in (2 * size, 2 * size + 1):
            return []
        jigsaws.append((number, "\n".join(lines)))
    return [] if waiting is not None else jigsaws


def _rows(lines: Sequence[str]) -> list[str]:
    return [_BETWEEN.sub("", line) for line in lines]


def _checked(puzzle: str, regions: str, cells: int) -> tuple[str, str] | None:
    if len(puzzle) != cells:
        return None
    if len(regions) != cells:
        raise InvalidInputError(
            f"a jigsaw's regions must be {cells} symbols, one a cell; got {len(regions)} in "
            f"{shown(regions)}"
        )
    return puzzle, regions


def numbered(regions: Any, size: int) -> npt.NDArray[np.intp]:
    """Return regions in any form, numbered from 0 in the order of their first cells.

    Parameters
    ----------
    regions : Grid, str of a symbol a cell, or array-like of whole numbers or symbols
    size : int
        Rows and columns of the board.

    Returns
    -------
    intp array of shape (size * size,)

    Raises
    ------
    InvalidInputError
        If they are not `size` regions of `size` cells each.
    """
    flat: npt.NDArray[Any]
    if isinstance(regions, Grid):
        flat = regions.cells.reshape(-1)
    elif isinstance(regions, str):
        flat = np.array(list("".join(regions.split())))
    else:
        try:
            flat = np.asarray(regions)
        except ValueError:
            flat = np.empty(0)
        if flat.dtype.kind in "US" and flat.size == size:  # a text a row
            flat = np.array(list("".join("".join(map(str, flat.reshape(-1))).split())))
        flat = flat.reshape(-1)
    if flat.size != size * size or flat.dtype.kind not in "iuUS":
        raise InvalidInputError(
            f"a jigsaw's regions must be {size * size} symbols or whole numbers, one a cell; got "
            f"{shown(regions)}"
        )
    _, first, inverse, counts = np.unique(
        flat, return_index=True, return_inverse=True, return_counts=True
    )
    if len(counts) != size or (counts != size).any():
        sizes = ", ".join(map(str, sorted(counts.tolist())))
        raise InvalidInputError(
            f"a jigsaw of {size}x{size} must have {size} regions of {size} cells; got "
            f"{len(counts)} of {sizes} cells"
        )
    rank = np.empty(size, np.intp)
    rank[np.argsort(first)] = np.arange(size)
    found: npt.NDArray[np.intp] = rank[inverse.reshape(-1)]
    return found


# --- drawings -----------------------------------------------------------------------------------


def draw(
    cells: Sequence[Sequence[int]], regions: Sequence[Sequence[int]], symbols: Sequence[str]
) -> str:
    """Return a board with walls between regions: three characters a cell, and one between.

    Parameters
    ----------
    cells : rows of values
    regions : rows of region numbers
    symbols : sequence of str
        What stands for each value.
    """
    size = len(cells)

    def region(row: int, column: int) -> int:
        inside = 0 <= row < size and 0 <= column < size
        return regions[row][column] if inside else -1

    lines = []
    for row in range(size + 1):
        lines.append(
            "".join(
                "+" + ("---" if region(row - 1, column) != region(row, column) else "   ")
                for column in range(size)
            )
            + "+"
        )
        if row < size:
            lines.append(
                "".join(
                    ("|" if region(row, column - 1) != region(row, column) else " ")
                    + f" {symbols[cells[row][column]]} "
                    for column in range(size)
                )
                + "|"
            )
    return "\n".join(lines)


def _drawn(text: str, size: int) -> tuple[str, str] | None:
    """The puzzle and regions of a drawing as `draw` makes it; None: it is not one."""
    lines = [line.rstrip() for line in dedent(text.strip("\n")).splitlines() if line.strip()]
    wide = 4 * size + 1
    if len(lines) != 2 * size + 1 or max(map(len, lines)) > wide:
        return None
    rows = [line.ljust(wide) for line in lines]
    if not all(_WALLS.fullmatch(one) for one in (rows[0][2], rows[1][0], rows[-1][2])):
        return None
    puzzle = "".join(rows[2 * r + 1][4 * c + 2] for r in range(size) for c in range(size))
    names = [-1] * (size * size)
    for start in range(size * size):
        if names[start] >= 0:
            continue
        waiting = [start]
        names[start] = start
        while waiting:
            row, column = divmod(waiting.pop(), size)
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                wall = rows[2 * row + 1 + down][4 * column + 2 + 2 * right]
                other = (row + down) * size + column + right
                inside = 0 <= row + down < size and 0 <= column + right < size
                if inside and wall == " " and names[other] < 0:
                    names[other] = start
                    waiting.append(other)
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(order) != size:
        raise InvalidInputError(
            f"a jigsaw of {size}x{size} must have {size} regions; the walls of this drawing make "
            f"{len(order)}"
        )
    return puzzle.replace(" ", "."), "".join(chr(ord("A") + order[name]) for name in names)


__all__ = ["blocks", "draw", "numbered", "split"]
