"""Random mazes of seven kinds, of any size, by seed.

Item i of a batch draws from the stream of (seed, i) alone (`splitmix`), so a seed gives the same
mazes on every machine, and the first of them do not depend on how many are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.kernels import splitmix
from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.maze.engine import perfect
from trm_sdk.domains.maze.engine.distances import flood, offsets
from trm_sdk.domains.maze.rules import FREE, GOAL, START, WALL, Boards
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.validation import is_int

__all__ = ["KINDS", "MIXTURE", "Mazes", "generate", "maze_hard_like"]

#: Kinds of mazes, in the order of their numbers in `Mazes.kinds`.
KINDS = ("dfs", "wilson", "prim", "braided", "walls", "open", "climbed")
# Perfect kinds come first, in the order of `perfect`.
_BRAIDED, _WALLS, _OPEN, _CLIMBED = range(perfect.PRIM + 1, len(KINDS))

#: Weights of the kinds where none are given: loops and dead ends in about equal shares.
MIXTURE: Mapping[str, float] = {
    "dfs": 1,
    "wilson": 1,
    "prim": 1,
    "braided": 2,
    "walls": 4,
    "open": 1,
    "climbed": 2,
}

#: Open boards have a smaller share of walls than this.
OPEN = 0.3
#: Random cells that are looked at before a board is given up for want of free ones with company.
_LOOKS = 50
#: Flips per cell that a climb may take: to a given length, and to one of its own choice.
_CLIMB, _STROLL = 40, 3


class Mazes(NamedTuple):
    """A batch of mazes.

    Attributes
    ----------
    puzzles : uint8 array of shape (n, rows, columns)
        0 wall, 1 free, 2 start, 3 goal.
    kinds : int8 array of shape (n,)
        Indices into `KINDS`.
    """

    puzzles: Boards
    kinds: npt.NDArray[np.int8]


@kernel
def _ends(
    cells: Any, steps: Any, farthest: Any, shortest: Any, field: Any, queue: Any, rng: Any
) -> Any:
    """Return start and goal at least `shortest` moves apart, (0, 0) where none were found.

    Farthest: from a random cell to a farthest one, and from there to a farthest one. Otherwise a
    random cell, and any that is far enough from it.
    """
    for _ in range(_LOOKS):
        first = splitmix.below(rng, cells.size)
        if cells[first] == WALL:
            continue
        reached = flood(cells, steps, first, field, queue)
        if reached <= shortest:
            # Too few cells hang together here; there may be more elsewhere.
            continue
        if farthest:
            first = _last(field, queue, reached, rng)
            reached = flood(cells, steps, first, field, queue)
            last = _last(field, queue, reached, rng)
            if field[last] < shortest:
                return np.int64(0), np.int64(0)
            return first, last
        if field[queue[reached - 1]] < shortest:
            # Not far enough from this cell to any other: start at one of those that are far enough
            # from a farthest one.
            reached = flood(cells, steps, queue[reached - 1], field, queue)
            if field[queue[reached - 1]] < shortest:
                return np.int64(0), np.int64(0)
            first = _further(field, queue, reached, shortest, rng)
            reached = flood(cells, steps, first, field, queue)
        return first, _further(field, queue, reached, shortest, rng)
    return np.int64(0), np.int64(0)


@kernel
def _further(field: Any, queue: Any, reached: Any, shortest: Any, rng: Any) -> Any:
    """Return one of the cells reached that are so many moves away, each with equal chance."""
    low = np.int64(0)
    high = reached - 1
    while low < high:  # the queue is sorted by distance
        middle = (low + high) // 2
        if field[queue[middle]] < shortest:
            low = middle + 1
        else:
            high = middle
    return queue[low + splitmix.below(rng, reached - low)]


@kernel
def _last(field: Any, queue: Any, reached: Any, rng: Any) -> Any:
    """Return one of the cells that were reached last, each with equal chance."""
    count = 1
    while count < reached and field[queue[reached - count - 1]] == field[queue[reached - 1]]:
        count += 1
    return queue[reached - 1 - splitmix.below(rng, count)]


@kernel
def _climb(
    cells: Any,
    steps: Any,
    width: Any,
    corner: Any,
    rows: Any,
    columns: Any,
    ends: Any,
    wanted: Any,
    flips: Any,
    field: Any,
    queue: Any,
    rng: Any,
) -> Any:
    """Flip random cells, keep what does not shorten the way; return its length.

    Most flips are judged without a search: `field` has the distances from the start, and stays
    right where a cell is closed that none is reached through alone, or opened where it shortens
    the way to no neighbour.
    """
    first, last = ends
    flood(cells, steps, first, field, queue)
    length = field[last]
    for _ in range(flips):
        if length >= wanted:
            break
        cell = corner + splitmix.below(rng, rows) * width + splitmix.below(rng, columns)
        if cell in (first, last):
            continue
        was = cells[cell]
        if was == WALL:
            nearest = np.int32(-1)
            for step in steps:
                near = field[cell + step]
                if near >= 0 and (nearest < 0 or near < nearest):
                    nearest = near
            cells[cell] = FREE
            if nearest < 0:
                continue
            stale = False
            for step in steps:
                near = field[cell + step]
                if cells[cell + step] != WALL and (near < 0 or near > nearest + 2):
                    stale = True
            if not stale:
                field[cell] = nearest + 1
                continue
        else:
            cells[cell] = WALL
            stale = False
            for step in steps:
                near = cell + step
                if field[cell] >= 0 and field[near] == field[cell] + 1:
                    others = False
                    for other in steps:
                        if near + other != cell and field[near + other] == field[cell]:
                            others = True
                    if not others:
                        stale = True
            if not stale:
                field[cell] = -1
                continue
        flood(cells, steps, first, field, queue)
        if field[last] < length:  # shorter, or cut off
            cells[cell] = was
            flood(cells, steps, first, field, queue)
        else:
            length = field[last]
    return length


@kernel
def _fill(
    cells: Any,
    width: Any,
    corner: Any,
    rows: Any,
    columns: Any,
    kind: Any,
    walls: Any,
    braid: Any,
    rooms: Any,
    rng: Any,
) -> None:
    """Write a board of a kind to `cells`, without start and goal."""
    cells[:] = WALL
    if kind <= _BRAIDED:
        base = splitmix.below(rng, _BRAIDED) if kind == _BRAIDED else kind
        tall, wide = (rows + 1) // 2, (columns + 1) // 2
        perfect.carve(cells, width, corner, tall, wide, base, rooms, rng)
        if kind == _BRAIDED:
            share = braid[0] + (braid[1] - braid[0]) * splitmix.uniform(rng)
            for row in range(2 * tall - 1):
                for column in range(2 * wide - 1):
                    cell = corner + row * width + column
                    between = (row + column) % 2 == 1
                    if between and cells[cell] == WALL and splitmix.uniform(rng) < share:
                        cells[cell] = FREE
        return
    if kind == _OPEN:
        share = OPEN * splitmix.uniform(rng)
    else:
        share = walls[0] + (walls[1] - walls[0]) * splitmix.uniform(rng)
    for row in range(rows):
        for column in range(columns):
            if splitmix.uniform(rng) >= share:
                cells[corner + row * width + column] = FREE


@kernel
def _generate_all(
    seed: Any,
    first_item: Any,
    smallest: Any,
    cumulative: Any,
    walls: Any,
    braid: Any,
    farthest: Any,
    shortest: Any,
    attempts: Any,
    puzzles: Any,
    kinds: Any,
) -> Any:
    """Fill `puzzles` and `kinds`; return the number of items done."""
    n, height, breadth = puzzles.shape
    width = breadth + 2
    cells = np.empty((height + 2) * width, np.uint8)
    field = np.empty(cells.size, np.int32)
    queue = np.empty(cells.size, np.int64)
    rng = np.zeros(1, np.uint64)
    steps = offsets(width)
    for i in range(n):
        splitmix.start_stream(rng, seed, first_item + i)
        draw = splitmix.uniform(rng) * cumulative[-1]
        kind = np.int64(0)
        while draw >= cumulative[kind]:
            kind += 1
        roomy = kind <= _BRAIDED
        done = False
        for _ in range(attempts):
            rows = smallest[0] + splitmix.below(rng, height - smallest[0] + 1)
            columns = smallest[1] + splitmix.below(rng, breadth - smallest[1] + 1)
            # What is drawn: a perfect maze has an odd number of rows and of columns.
            tall = rows - (rows + 1) % 2 if roomy else rows
            wide = columns - (columns + 1) % 2 if roomy else columns
            top = splitmix.below(rng, height - tall + 1)
            left = splitmix.below(rng, breadth - wide + 1)
            corner = (top + 1) * width + left + 1
            _fill(cells, width, corner, tall, wide, kind, walls, braid, queue, rng)
            far = splitmix.uniform(rng) < farthest
            climbs = kind == _CLIMBED
            ends = _ends(cells, steps, far, 1 if climbs else shortest, field, queue, rng)
            if ends[1] == 0:
                continue
            if climbs:
                wanted, flips = shortest, _CLIMB * rows * columns
                if shortest <= 1:
                    wanted = np.int64((0.1 + 0.2 * splitmix.uniform(rng)) * rows * columns)
                    flips = _STROLL * rows * columns
                length = _climb(
                    cells, steps, width, corner, tall, wide, ends, wanted, flips, field, queue, rng
                )
                if length < shortest:
                    continue
            cells[ends[0]] = START
            cells[ends[1]] = GOAL
            done = True
            break
        if not done:
            return i
        kinds[i] = kind
        for row in range(height):
            for column in range(breadth):
                puzzles[i, row, column] = cells[(row + 1) * width + column + 1]
    return n


def generate(
    n: int,
    seed: int,
    shape: tuple[int, int] = (30, 30),
    *,
    kinds: Mapping[str, float] = MIXTURE,
    walls: tuple[float, float] = (0.28, 0.45),
    braid: tuple[float, float] = (0.02, 0.3),
    farthest: float = 0.7,
    min_length: int = 1,
    smallest: tuple[int, int] | None = None,
    first: int = 0,
    attempts: int = 100_000,
) -> Mazes:
    """Return random mazes whose goal can be reached.

    Kinds:

    - ``dfs``, ``wilson``, ``prim``: perfect mazes (free cells form a tree, so there is one way
      between any two) by depth-first search (long corridors), loop-erased random walks (every tree
      equally likely) and Prim's algorithm on random weights (many short dead ends). They have an
      odd number of rows and of columns: on an even side, one row or column of walls remains.
    - ``braided``: one of these with a share of the walls between rooms removed, so that it has
      loops.
    - ``walls``: every cell is a wall with the same probability.
    - ``open``: the same with less than 30% walls.
    - ``climbed``: as ``walls``, then random cells are flipped, and what does not shorten the way is
      kept, until it has `min_length` moves (where that is 1: until it has as many as 10 to 30% of
      the cells, or three flips per cell have been tried).

    Parameters
    ----------
    n : int
        How many.
    seed : int from 0 to 2**64 - 1
        Item i depends on the seed and on i alone.
    shape : (rows, columns)
        Default 30x30.
    kinds : mapping of kind to weight
        Default `MIXTURE`.
    walls : (low, high)
        Probability of a wall in ``walls`` and ``climbed``, drawn uniformly per board. A board that
        does not reach `min_length` is replaced by another draw. Default 0.28 to 0.45.
    braid : (low, high)
        Share of walls that ``braided`` removes, drawn likewise. Default 0.02 to 0.3.
    farthest : float from 0 to 1
        Share of boards with start and goal as far apart as a double sweep finds (exact in perfect
        mazes); in the others they are a random pair at least `min_length` apart. Default 0.7.
    min_length : int
        Fewest moves of a shortest path. Default 1.
    smallest : (rows, columns), optional
        Draw the size of each board between this and `shape`, and place it at random, with walls
        around it. Default: every board has `shape`.
    first : int
        Number of the first item, so that a batch can be drawn in parts. Default 0.
    attempts : int
        Boards to try for an item before giving up. Default 100,000.

    Raises
    ------
    InvalidInputError
        If an argument is not acceptable, or no board of a kind had a path of `min_length`.
    """
    sides = _checked_pair("shape", shape, 1, 4096)
    if sides[0] * sides[1] < 2:
        raise InvalidInputError("shape must have at least 2 cells; got (1, 1)")
    count = _checked_int("n", n, 0)
    least = sides if smallest is None else _checked_pair("smallest", smallest, 1, 4096)
    if least[0] > sides[0] or least[1] > sides[1]:
        raise InvalidInputError(f"smallest must fit into shape, {sides}; got {least}")
    puzzles = np.empty((count, *sides), np.uint8)
    numbers = np.empty(count, np.int8)
    done = _generate_all(
        np.uint64(_checked_int("seed", seed, 0, 2**64 - 1)),
        _checked_int("first", first, 0),
        np.array(least, np.int64),
        np.cumsum(_checked_weights(kinds)),
        _checked_range("walls", walls),
        _checked_range("braid", braid),
        _checked_share("farthest", farthest),
        _checked_int("min_length", min_length, 1),
        _checked_int("attempts", attempts, 1),
        puzzles,
        numbers,
    )
    if done < count:
        raise InvalidInputError(
            f"no maze of {sides[0]}x{sides[1]} cells with a shortest path of min_length="
            f"{min_length} in {attempts} attempts at item {first + done} of seed {seed}; "
            f"lower min_length, or change kinds, walls or farthest"
        )
    return Mazes(puzzles, numbers)


def maze_hard_like(n: int, seed: int, *, first: int = 0) -> Mazes:
    """Return boards like those of Maze-Hard: 30x30, random walls, at least 109 moves.

    Shares of walls are distributed as in Maze-Hard (`benchmarks.maze_hard`), lengths nearly so.

    Parameters
    ----------
    n, seed, first
        As in `generate`.

    Raises
    ------
    InvalidInputError
        As `generate`.
    """
    return generate(n, seed, kinds={"walls": 1}, walls=(0.28, 0.45), min_length=109, first=first)


def _checked_int(name: str, value: object, low: int, high: int = 2**62) -> int:
    if not is_int(value) or not low <= value <= high:
        accepted = f"of at least {low}" if high == 2**62 else f"from {low} to {high}"
        raise InvalidInputError(f"{name} must be an integer {accepted}; got {shown(value)}")
    return int(value)


def _checked_pair(name: str, value: Any, low: int, high: int) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidInputError(f"{name} must be a pair (rows, columns); got {shown(value)}")
    rows, columns = (_checked_int(f"a side of {name}", side, low, high) for side in value)
    return rows, columns


def _checked_range(name: str, value: Any) -> npt.NDArray[np.float64]:
    try:
        low, high = (float(end) for end in value)
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name} must be a pair (low, high); got {shown(value)}") from None
    if not 0 <= low <= high <= 1:
        raise InvalidInputError(f"{name} must satisfy 0 <= low <= high <= 1; got {shown(value)}")
    return np.array((low, high))


def _checked_share(name: str, value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = np.nan
    if not 0 <= share <= 1:
        raise InvalidInputError(f"{name} must be a number from 0 to 1; got {shown(value)}")
    return share


def _checked_weights(kinds: Any) -> list[float]:
    if not isinstance(kinds, Mapping):
        raise InvalidInputError(f"kinds must map kinds to weights; got {shown(kinds)}")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InvalidInputError(f"unknown kind of maze {unknown[0]!r}; there are {list(KINDS)}")
    try:
        weights = [float(kinds.get(kind, 0)) for kind in KINDS]
    except (TypeError, ValueError):
        raise InvalidInputError(f"weights must be numbers; got {shown(kinds)}") from None
    if not all(0 <= weight < np.inf for weight in weights) or not sum(weights):
        raise InvalidInputError(
            f"weights must be finite, not negative, and not all zero; got {shown(kinds)}"
        )
    return weights
