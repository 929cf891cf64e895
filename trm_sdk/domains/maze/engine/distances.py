"""Distances to the goal, the canonical shortest path, and what a network is trained on.

Everything here also exists in `trm_sdk.domains.maze.rules` without numba, save the targets in one
pass and the numbers of shortest paths. The canonical path is defined there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.maze.rules import (
    GOAL,
    MOVES,
    NO_MOVE,
    PATH,
    START,
    WALL,
    Boards,
    checked_boards,
)

__all__ = [
    "MazeTargets",
    "count_shortest_paths",
    "count_shortest_paths_exactly",
    "distances",
    "shortest_path",
    "targets",
]


class MazeTargets(NamedTuple):
    """What a maze asks for, cell by cell.

    Attributes
    ----------
    distances : int32 array of shape (n, rows, columns)
        Moves to the goal; -1 for walls and cells that it can't be reached from.
    directions : uint8 array of shape (n, rows, columns)
        Index into `rules.MOVES` (down, left, right, up) of the first neighbour that is one move
        closer to the goal; `rules.NO_MOVE` (4) where there is none.
    positions : int32 array of shape (n, rows, columns)
        Moves from the start along the canonical path: 0 at the start, the length at the goal, -1
        beside the path.
    lengths : int32 array of shape (n,)
        Moves of a shortest path; -1 where the goal can't be reached.
    """

    distances: npt.NDArray[np.int32]
    directions: Boards
    positions: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]


# Compiled loops work on one board with a wall around it, flattened: (rows + 2) * (columns + 2)
# cells, so that a neighbour is an offset and no edge needs a test.


@kernel
def offsets(width: Any) -> Any:
    """Return the steps of `rules.MOVES` in a flat board with rows of that width."""
    steps = np.empty(len(MOVES), np.int64)
    for k in range(len(MOVES)):
        steps[k] = MOVES[k][0] * width + MOVES[k][1]
    return steps


@kernel
def flood(cells: Any, steps: Any, source: Any, field: Any, queue: Any) -> Any:
    """Write the distances from `source` to `field`, -1 where it can't be reached.

    Returns the number of cells reached; `queue` begins with these, nearest first.
    """
    field[:] = -1
    field[source] = 0
    queue[0] = source
    tail = 1
    head = 0
    while head < tail:
        cell = queue[head]
        head += 1
        further = field[cell] + 1
        for step in steps:
            near = cell + step
            if cells[near] != WALL and field[near] < 0:
                field[near] = further
                queue[tail] = near
                tail += 1
    return tail


@kernel
def pad(board: Any, cells: Any) -> Any:
    """Write a board with a wall around it to `cells`; return the places of start and goal."""
    rows, columns = board.shape
    cells[:] = WALL
    first = last = np.int64(0)
    for row in range(rows):
        for column in range(columns):
            cell = (row + 1) * (columns + 2) + column + 1
            value = board[row, column]
            cells[cell] = value
            if value == START:
                first = cell
            elif value == GOAL:
                last = cell
    return first, last


@kernel
def _descend(cells: Any, steps: Any, field: Any, cell: Any) -> Any:
    """Return the preferred direction from a cell with a distance."""
    for k in range(len(steps)):
        near = cell + steps[k]
        if cells[near] != WALL and field[near] == field[cell] - 1:
            return k
    return NO_MOVE


@kernel
def _targets_all(
    boards: Any, fields: Any, moves: Any, positions: Any, lengths: Any, complete: Any
) -> None:
    """Write distances, and unless only they are wanted, everything else."""
    n, rows, columns = boards.shape
    width = columns + 2
    cells = np.empty((rows + 2) * width, np.uint8)
    field = np.empty(cells.size, np.int32)
    queue = np.empty(cells.size, np.int64)
    steps = offsets(width)
    for i in range(n):
        first, last = pad(boards[i], cells)
        reached = flood(cells, steps, last, field, queue)
        lengths[i] = field[first]
        for row in range(rows):
            for column in range(columns):
                fields[i, row, column] = field[(row + 1) * width + column + 1]
        if not complete:
            continue
        for k in range(1, reached):
            cell = queue[k]
            moves[i, cell // width - 1, cell % width - 1] = _descend(cells, steps, field, cell)
        cell = first
        for k in range(lengths[i] + 1):
            row = cell // width - 1
            column = cell % width - 1
            positions[i, row, column] = k
            if k < lengths[i]:
                cell += steps[moves[i, row, column]]


@kernel
def _paths_all(answers: Any, lengths: Any) -> None:
    """Mark the canonical paths on copies of the boards."""
    n, rows, columns = answers.shape
    width = columns + 2
    cells = np.empty((rows + 2) * width, np.uint8)
    field = np.empty(cells.size, np.int32)
    queue = np.empty(cells.size, np.int64)
    steps = offsets(width)
    for i in range(n):
        first, last = pad(answers[i], cells)
        flood(cells, steps, last, field, queue)
        lengths[i] = field[first]
        cell = first
        for k in range(lengths[i]):
            if k > 0:
                answers[i, cell // width - 1, cell % width - 1] = PATH
            cell += steps[_descend(cells, steps, field, cell)]


@kernel
def _count_all(boards: Any, counts: Any) -> None:
    n, rows, columns = boards.shape
    width = columns + 2
    cells = np.empty((rows + 2) * width, np.uint8)
    field = np.empty(cells.size, np.int32)
    queue = np.empty(cells.size, np.int64)
    paths = np.empty(cells.size, np.float64)
    steps = offsets(width)
    for i in range(n):
        first, last = pad(boards[i], cells)
        reached = flood(cells, steps, last, field, queue)
        paths[:] = 0.0
        paths[last] = 1.0
        for k in range(1, reached):
            cell = queue[k]
            for step in steps:
                if field[cell + step] == field[cell] - 1:
                    paths[cell] += paths[cell + step]
        counts[i] = paths[first]


def targets(boards: npt.ArrayLike) -> MazeTargets:
    """Return distances, directions, positions on the canonical path and lengths, in one pass.

    Parameters
    ----------
    boards : integer array of shape (n, rows, columns)

    Raises
    ------
    InvalidInputError
        As `rules.checked_boards`.
    """
    puzzles = checked_boards(boards)
    result = MazeTargets(
        np.empty(puzzles.shape, np.int32),
        np.full(puzzles.shape, NO_MOVE, np.uint8),
        np.full(puzzles.shape, -1, np.int32),
        np.empty(len(puzzles), np.int32),
    )
    _targets_all(puzzles, *result, True)
    return result


def distances(boards: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Return the number of moves from each cell to the goal; see `rules.distances`."""
    puzzles = checked_boards(boards)
    fields = np.empty(puzzles.shape, np.int32)
    nothing = np.empty((0, 0, 0), np.uint8), np.empty((0, 0, 0), np.int32)
    _targets_all(puzzles, fields, *nothing, np.empty(len(puzzles), np.int32), False)
    return fields


def shortest_path(boards: npt.ArrayLike) -> tuple[Boards, npt.NDArray[np.int32]]:
    """Return the canonical shortest path of each board; see `rules.shortest_path`."""
    answers = checked_boards(boards).copy()
    lengths = np.empty(len(answers), np.int32)
    _paths_all(answers, lengths)
    return answers, lengths


def count_shortest_paths(boards: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return how many shortest paths each board has.

    Parameters
    ----------
    boards : integer array of shape (n, rows, columns)

    Returns
    -------
    float64 array of shape (n,)
        Exact up to 2**53; 0 where the goal can't be reached. See `count_shortest_paths_exactly`.

    Raises
    ------
    InvalidInputError
        As `rules.checked_boards`.
    """
    puzzles = checked_boards(boards)
    counts = np.empty(len(puzzles), np.float64)
    _count_all(puzzles, counts)
    return counts


def count_shortest_paths_exactly(boards: npt.ArrayLike) -> list[int]:
    """Return `count_shortest_paths` as integers without bound, a thousand times slower."""
    puzzles = checked_boards(boards)
    fields = np.pad(distances(puzzles), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    width = puzzles.shape[2] + 2
    steps = [row * width + column for row, column in MOVES]
    counts = []
    for field, start in zip(fields.reshape(len(fields), -1), _starts(puzzles, width), strict=True):
        order = np.argsort(field, kind="stable")
        moves = field.tolist()
        paths = [0] * len(moves)
        for cell in order[np.count_nonzero(field < 0) :].tolist():
            closer = [cell + step for step in steps if moves[cell + step] == moves[cell] - 1]
            paths[cell] = sum(paths[near] for near in closer) if moves[cell] else 1
        counts.append(paths[start])
    return counts


def _starts(puzzles: Boards, width: int) -> list[int]:
    """Return the place of each start in the padded, flattened board."""
    _, rows, columns = np.nonzero(puzzles == START)
    return [int(place) for place in (rows + 1) * width + columns + 1]
