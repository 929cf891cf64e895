"""Check the arguments of the engine's public functions.

Each check returns the value in the type that the compiled loops take, and raises
`InvalidInputError` where it is not acceptable.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trm_sdk.domains.sudoku.engine.geometry import (
    Boards,
    Geometry,
    Groups,
    board_geometry,
    group_geometry,
)
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.validation import is_int

#: Cell indices are kept in uint8 tables, and units in one 64-bit mask.
MAX_DIGITS = 16
_MAX_GROUPS = 62
#: Integers are int64 in the compiled loops.
_MAX_INTEGER = 2**63 - 1


def checked_box(box: Any) -> tuple[int, int]:
    """Return a box shape: two sides of at least 2, and at most 16 cells."""
    sides = _pair("box", box, "(box_rows, box_cols)")
    if min(sides) < 2 or sides[0] * sides[1] > MAX_DIGITS:
        raise InvalidInputError(
            f"box must have sides of at least 2 and at most {MAX_DIGITS} cells; got {shown(box)}"
        )
    return sides


def checked_geometry(box: Any, groups: Any = None) -> tuple[Geometry, int]:
    """Return the tables of a box's board, or of groups in its place, and the number of digits."""
    if groups is None:
        box = checked_box(box)
        return board_geometry(box), box[0] * box[1]
    sets = checked_groups(groups)
    return group_geometry(sets), len(sets[0])


def checked_groups(groups: Any) -> Groups:
    """Return groups of n cells each, 2 to 16, that together are all cells of an n x n board."""
    try:
        sets = tuple(tuple(int(cell) for cell in group) for group in groups)
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"groups must be sets of cell numbers; got {shown(groups)}"
        ) from None
    n = len(sets[0]) if sets else 0
    if not (2 <= n <= MAX_DIGITS and len(sets) <= _MAX_GROUPS):
        raise InvalidInputError(
            f"groups must be 1 to {_MAX_GROUPS} sets of 2 to {MAX_DIGITS} cells; got {len(sets)} "
            f"sets, the first of {n} cells"
        )
    if any(len(set(one)) != n or len(one) != n for one in sets):
        raise InvalidInputError(f"every group must have {n} different cells, as the first has")
    if {cell for one in sets for cell in one} != set(range(n * n)):
        raise InvalidInputError(
            f"groups of {n} cells must hold the cells 0 to {n * n - 1}, each at least once"
        )
    return sets


def checked_boards(boards: Any, box: tuple[int, int], name: str = "boards") -> Boards:
    """Return boards as contiguous uint8 of shape (N, cells), values 0 to n."""
    return boards_of(boards, box[0] * box[1], f"box {box}", name)


def boards_of(boards: Any, n: int, what: str, name: str = "boards") -> Boards:
    """Return boards of n digits, as `checked_boards`; `what` says why there are so many."""
    try:
        array = np.asarray(boards)
    except ValueError:  # rows of different lengths
        raise InvalidInputError(
            f"{name} must have shape (N, {n * n}) for {what}; got {shown(boards)}"
        ) from None
    if array.ndim != 2 or array.shape[1] != n * n:
        raise InvalidInputError(
            f"{name} must have shape (N, {n * n}) for {what}; got {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise InvalidInputError(f"{name} must hold integers; got dtype {array.dtype}")
    if array.size and (array.min() < 0 or array.max() > n):
        low, high = int(array.min()), int(array.max())
        raise InvalidInputError(f"{name} must hold values from 0 to {n}; got {low} to {high}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def checked_pairs(puzzles: Any, solutions: Any, box: tuple[int, int]) -> tuple[Boards, Boards]:
    """Return puzzles and their solutions as `checked_boards`, of equal shape."""
    left = checked_boards(puzzles, box, "puzzles")
    right = checked_boards(solutions, box, "solutions")
    if left.shape != right.shape:
        raise InvalidInputError(
            f"puzzles and solutions must be equal in shape; got {left.shape} and {right.shape}"
        )
    return left, right


def checked_seed(seed: Any) -> np.uint64:
    """Return a seed from 0 to 2**64 - 1."""
    if not is_int(seed) or not 0 <= int(seed) < 1 << 64:
        raise InvalidInputError(f"seed must be an integer from 0 to 2**64 - 1; got {shown(seed)}")
    checked: np.uint64 = np.uint64(int(seed))
    return checked


def checked_integer(name: str, value: Any, low: int) -> int:
    """Return an integer of at least `low` that an int64 can hold."""
    if not is_int(value) or not low <= int(value) <= _MAX_INTEGER:
        raise InvalidInputError(
            f"{name} must be an integer of at least {low} and below 2**63; got {shown(value)}"
        )
    return int(value)


def checked_number(name: str, value: Any, *, finite: bool) -> float:
    """Return a number of at least 0."""
    if is_int(value) or isinstance(value, (float, np.floating)):
        number = float(value)
        if number >= 0 and (math.isfinite(number) or not finite):
            return number
    kind = "a finite number" if finite else "a number"
    raise InvalidInputError(f"{name} must be {kind} of at least 0; got {shown(value)}")


def checked_range(name: str, value: Any, high: int) -> tuple[int, int]:
    """Return an inclusive range (low, high) within 0 to `high`."""
    first, last = _pair(name, value, "(low, high)")
    if not 0 <= first <= last <= high:
        raise InvalidInputError(
            f"{name} must be a pair with 0 <= low <= high <= {high}; got {shown(value)}"
        )
    return first, last


def _pair(name: str, value: Any, form: str) -> tuple[int, int]:
    if isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2 and all(map(is_int, value)):
        return int(value[0]), int(value[1])
    raise InvalidInputError(f"{name} must be a pair {form} of integers; got {shown(value)}")
