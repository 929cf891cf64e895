"""The rules of a maze in numpy alone: distances, the canonical shortest path, verdicts on answers.

Boards are integer arrays of shape (n, rows, columns): 0 wall, 1 free, 2 start (S), 3 goal (G) and,
in answers, 4 for the free cells of the path. Moves go to the four neighbours, in the order of
preference down, left, right, up; a *direction* is an index into it.

Of the shortest paths, the *canonical* one is what a walk from S down the distances to G draws when
it prefers the moves in that order. The labels of Maze-Hard are made so (`benchmarks.maze_hard`).

Floods run on bitboards: a batch is one Python integer with a bit a cell, and a layer of the
breadth-first search is four shifts of it. For one board of 30x30 that takes as long as a queue, and
for a batch several times less, since it needs no Python per cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError

WALL, FREE, START, GOAL, PATH = range(5)
#: (row, column) steps in the order of preference: down, left, right, up.
MOVES = ((1, 0), (0, -1), (0, 1), (-1, 0))
#: The direction of a cell from which no move leads closer to the goal.
NO_MOVE = len(MOVES)
#: Verdicts of `judge`.
INVALID, LONGER, OPTIMAL = range(3)

Boards = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.integer[Any]]

#: Bits of an integer that a batch is cut into: where more of them stop being cheaper together.
_CHUNK_BITS = 1 << 16


def checked_boards(boards: npt.ArrayLike, name: str = "boards") -> Boards:
    """Return puzzles as a contiguous uint8 array of shape (n, rows, columns).

    Raises
    ------
    InvalidInputError
        If the shape has other than three axes or an empty side, the dtype is not an integer one, a
        value is outside 0 to 3, or a board does not have exactly one start and one goal.
    """
    array = np.asarray(boards)
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise InvalidInputError(f"{name} must have shape (n, rows, columns); got {array.shape}")
    if array.dtype.kind not in "iu":
        raise InvalidInputError(f"{name} must hold integers; got dtype {array.dtype}")
    if array.size and not (array.min() >= WALL and array.max() <= GOAL):
        raise InvalidInputError(
            f"{name} must hold 0 (wall), 1 (free), 2 (start) and 3 (goal); "
            f"got values from {array.min()} to {array.max()}"
        )
    result: Boards = np.ascontiguousarray(array, np.uint8)
    for value, what in ((START, "start"), (GOAL, "goal")):
        counts = np.count_nonzero(result == value, axis=(1, 2))
        if (counts != 1).any():
            index = int((counts != 1).argmax())
            raise InvalidInputError(
                f"{name} must have exactly one {what} each; board {index} has {counts[index]}"
            )
    return result


def checked_pairs(puzzles: npt.ArrayLike, answers: npt.ArrayLike) -> tuple[Boards, Integers]:
    """Return puzzles as `checked_boards` does, and integer arrays of the same shape beside them.

    Raises
    ------
    InvalidInputError
        As `checked_boards`; if `answers` has another shape or does not hold integers.
    """
    boards = checked_boards(puzzles, "puzzles")
    array = np.asarray(answers)
    if array.shape != boards.shape:
        raise InvalidInputError(
            f"answers must have the shape of puzzles, {boards.shape}; got {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise InvalidInputError(f"answers must hold integers; got dtype {array.dtype}")
    return boards, array


def checked_directions(puzzles: npt.ArrayLike, directions: npt.ArrayLike) -> tuple[Boards, Boards]:
    """Return puzzles as `checked_boards` does, and a direction field for each as uint8.

    Raises
    ------
    InvalidInputError
        As `checked_boards`; if `directions` has another shape, or values outside 0 to 4.
    """
    boards = checked_boards(puzzles, "puzzles")
    array = np.asarray(directions)
    if array.shape != boards.shape:
        raise InvalidInputError(
            f"directions must have the shape of puzzles, {boards.shape}; got {array.shape}"
        )
    if array.dtype.kind not in "iu" or (
        array.size and not (array.min() >= 0 and array.max() <= NO_MOVE)
    ):
        raise InvalidInputError(
            "directions must hold integers from 0 to 4 (down, left, right, up, none)"
        )
    return boards, np.ascontiguousarray(array, np.uint8)


def checked_lengths(lengths: npt.ArrayLike, n: int) -> npt.NDArray[np.int32]:
    """Return lengths of shortest paths as int32 of shape (n,).

    Raises
    ------
    InvalidInputError
        If these are not n integers.
    """
    array = np.asarray(lengths)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"lengths must be {n} integers; got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int32)


# Bitboards: every row has a wall behind it and every board a row of walls, so that no shift leads
# from one row or board into another.


def _stride(boards: Boards) -> int:
    _, rows, columns = boards.shape
    return int((rows + 1) * (columns + 1))


def _pack(mask: npt.NDArray[np.bool_]) -> int:
    """Return a batch of masks as one integer."""
    padded = np.pad(mask, ((0, 0), (0, 1), (0, 1)))
    return int.from_bytes(np.packbits(padded, axis=None, bitorder="little").tobytes(), "little")


def _unpack(bits: int, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the masks, as 0 and 1, of shape (n, rows, columns), that `_pack` made an integer."""
    n, rows, columns = shape
    size = n * (rows + 1) * (columns + 1)
    raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
    padded = np.unpackbits(raw, count=size, bitorder="little")
    return padded.reshape(n, rows + 1, columns + 1)[:, :rows, :columns]


def _layers(free: int, origins: int, width: int) -> Iterator[int]:
    """Yield the cells at distance 0, 1, 2, … from the origins of their boards."""
    unseen = free & ~origins
    layer = origins
    while layer:
        yield layer
        layer = (layer << 1 | layer >> 1 | layer << width | layer >> width) & unseen
        unseen ^= layer


def _chunks(boards: Boards) -> Iterator[slice]:
    step = max(1, _CHUNK_BITS // _stride(boards))
    for start in range(0, len(boards), step):
        yield slice(start, start + step)


def distances(boards: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Return the number of moves from each cell to the goal.

    Parameters
    ----------
    boards : integer array of shape (n, rows, columns)

    Returns
    -------
    int32 array of shape (n, rows, columns)
        -1 for walls and for cells that the goal can't be reached from.

    Raises
    ------
    InvalidInputError
        As `checked_boards`.
    """
    return _distances(checked_boards(boards))


def _distances(boards: Boards) -> npt.NDArray[np.int32]:
    field = np.empty(boards.shape, np.int32)
    for part in _chunks(boards):
        chunk = boards[part]
        # Bit b of the planes' counts is in planes[b]. Counted from 1, so that 0 is "never reached".
        planes: list[int] = []
        layers = _layers(_pack(chunk != WALL), _pack(chunk == GOAL), boards.shape[2] + 1)
        for count, layer in enumerate(layers, 1):
            if count >> len(planes):
                planes.append(0)
            for bit in range(len(planes)):
                if count >> bit & 1:
                    planes[bit] |= layer
        field[part] = -1
        for bit, plane in enumerate(planes):
            field[part] += _unpack(plane, chunk.shape).astype(np.int32) << bit
    return field


def directions(field: npt.NDArray[np.int32]) -> Boards:
    """Return the preferred move of each cell down a distance field.

    Parameters
    ----------
    field : int32 array of shape (n, rows, columns)
        As `distances` returns it.

    Returns
    -------
    uint8 array of the same shape
        Index into `MOVES` of the first neighbour that is one move closer to the goal; `NO_MOVE`
        for the goal, walls and cells that the goal can't be reached from.
    """
    rows, columns = field.shape[1:]
    padded = np.pad(field, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    result = np.full(field.shape, NO_MOVE, np.uint8)
    movable = field > 0
    for index in reversed(range(NO_MOVE)):
        row, column = MOVES[index]
        neighbour = padded[:, 1 + row : 1 + row + rows, 1 + column : 1 + column + columns]
        result[movable & (neighbour == field - 1)] = index
    return result


def lengths(boards: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Return the number of moves of a shortest path, -1 where the goal can't be reached.

    Parameters
    ----------
    boards : integer array of shape (n, rows, columns)

    Returns
    -------
    int32 array of shape (n,)

    Raises
    ------
    InvalidInputError
        As `checked_boards`.
    """
    return _lengths(checked_boards(boards))


def _lengths(boards: Boards) -> npt.NDArray[np.int32]:
    result = np.full(len(boards), -1, np.int32)
    stride = _stride(boards)
    for part in _chunks(boards):
        chunk = boards[part]
        starts = _pack(chunk == START)
        layers = _layers(_pack(chunk != WALL), _pack(chunk == GOAL), boards.shape[2] + 1)
        for count, layer in enumerate(layers):
            found = layer & starts
            starts ^= found
            while found:
                bit = found.bit_length() - 1
                result[part.start + bit // stride] = count
                found ^= 1 << bit
            if not starts:
                break
    return result


def shortest_path(boards: npt.ArrayLike) -> tuple[Boards, npt.NDArray[np.int32]]:
    """Return the canonical shortest path of each board.

    Parameters
    ----------
    boards : integer array of shape (n, rows, columns)

    Returns
    -------
    answers : uint8 array of shape (n, rows, columns)
        The boards with 4 on the cells between start and goal; unchanged where there is no path.
    lengths : int32 array of shape (n,)
        Moves from start to goal, -1 where the goal can't be reached.

    Raises
    ------
    InvalidInputError
        As `checked_boards`.
    """
    puzzles = checked_boards(boards)
    field = _distances(puzzles)
    answers, _ = _walk(puzzles, directions(field))
    return answers, field[puzzles == START]


def count_paths(board: npt.ArrayLike, limit: int) -> int:
    """Return the number of shortest paths of one maze of shape (rows, columns), at most `limit`.

    Raises
    ------
    InvalidInputError
        As `checked_boards`.
    """
    boards = checked_boards(np.asarray(board)[None])
    framed = np.pad(boards[0], 1, constant_values=WALL).reshape(-1)
    far = np.pad(_distances(boards)[0], 1, constant_values=-1).reshape(-1).tolist()
    start, goal = (int((framed == cell).argmax()) for cell in (START, GOAL))
    steps = [rows * (boards.shape[2] + 2) + columns for rows, columns in MOVES]
    ways = {start: 1}  # to come to each of the cells that are so many moves from the goal
    for left in range(far[start] - 1, -1, -1):
        reached: dict[int, int] = {}
        for cell, number in ways.items():
            for step in steps:
                if far[cell + step] == left:
                    reached[cell + step] = min(limit, reached.get(cell + step, 0) + number)
        ways = reached
    return ways.get(goal, 0)


def walk(puzzles: npt.ArrayLike, directions: npt.ArrayLike) -> tuple[Boards, npt.NDArray[np.bool_]]:
    """Follow a direction field from the start of each board.

    A walk ends at the goal; or where its next move is `NO_MOVE`, leads into a wall or off the
    board, or comes back to a cell that it has been on.

    Parameters
    ----------
    puzzles : integer array of shape (n, rows, columns)
    directions : integer array of the same shape
        Indices into `MOVES`, or `NO_MOVE`.

    Returns
    -------
    answers : uint8 array of the same shape
        The puzzles with 4 on the free cells that the walk has been on, also where it got lost.
    reached : bool array of shape (n,)
        Whether it came to the goal. A walk that passes beside itself may reach the goal and yet
        draw what `judge` calls invalid: the drawing does not say in which order its cells come.

    Raises
    ------
    InvalidInputError
        As `checked_directions`.
    """
    return _walk(*checked_directions(puzzles, directions))


def _walk(puzzles: Boards, field: Boards) -> tuple[Boards, npt.NDArray[np.bool_]]:
    columns = puzzles.shape[2]
    padded = np.pad(puzzles, ((0, 0), (1, 1), (1, 1)))
    starts = np.flatnonzero(padded == START).tolist()
    # Plain bytes: a walk is one cell after another, and on these a cell takes 0.1 microseconds.
    cells = bytearray(padded.tobytes())
    moves = np.pad(field, ((0, 0), (1, 1), (1, 1))).tobytes()
    # NO_MOVE stays in place, and so ends where the walk has been.
    steps = [row * (columns + 2) + column for row, column in (*MOVES, (0, 0))]
    reached = np.zeros(len(puzzles), np.bool_)
    for index, at in enumerate(starts):
        at += steps[moves[at]]
        while cells[at] == FREE:
            cells[at] = PATH
            at += steps[moves[at]]
        reached[index] = cells[at] == GOAL
    answers = np.frombuffer(cells, np.uint8).reshape(padded.shape)
    return np.ascontiguousarray(answers[:, 1:-1, 1:-1]), reached


def judge(
    puzzles: npt.ArrayLike, answers: npt.ArrayLike, lengths: npt.ArrayLike | None = None
) -> npt.NDArray[np.int8]:
    """Return a verdict on each answer.

    An answer is a valid path where it differs from its puzzle only by 4 on free cells, and these
    make one line from start to goal: each touches two others of the line, start and goal one, and
    nothing is marked beside it. (So a way that passes beside itself is invalid: its marks have a
    shorter way within them. A shortest path never does.)

    Parameters
    ----------
    puzzles, answers : integer arrays of shape (n, rows, columns)
    lengths : integer array of shape (n,), optional
        Lengths of the shortest paths, where they are known. Default: those of answers that are
        valid paths are searched for.

    Returns
    -------
    int8 array of shape (n,)
        `INVALID` (0), `LONGER` (1, a valid path) or `OPTIMAL` (2, a shortest one).

    Raises
    ------
    InvalidInputError
        If the arrays don't fit together, or a puzzle is not one (see `checked_boards`). What an
        answer holds is judged and never refused.
    """
    boards, drawn = checked_pairs(puzzles, answers)
    known = None if lengths is None else checked_lengths(lengths, len(boards))
    verdicts = np.zeros(len(boards), np.int8)
    marked = (drawn == PATH) & (boards == FREE)
    valid = (marked | (drawn == boards)).all(axis=(1, 2))
    on = marked | (boards >= START)
    padded = np.pad(on, ((0, 0), (1, 1), (1, 1))).view(np.int8)
    touching = (
        padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    )
    valid &= (~on | (touching == np.where(marked, 2, 1))).all(axis=(1, 2))
    # Such marks are one line from start to goal, and perhaps rings apart from it.
    chosen = np.flatnonzero(valid)
    chosen = chosen[~_rings(boards[chosen], on[chosen])]
    if len(chosen):
        shortest = _lengths(boards[chosen]) if known is None else known[chosen]
        moves = np.count_nonzero(on[chosen], axis=(1, 2)) - 1
        verdicts[chosen] = np.where(moves == shortest, OPTIMAL, LONGER)
    return verdicts


def _rings(boards: Boards, on: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which boards have marks that can't be reached from the start along marks."""
    result = np.zeros(len(boards), np.bool_)
    for part in _chunks(boards):
        rest = marks = _pack(on[part])
        for layer in _layers(marks, _pack(boards[part] == START), boards.shape[2] + 1):
            rest ^= layer
        if rest:
            result[part] = _unpack(rest, on[part].shape).any(axis=(1, 2))
    return result
