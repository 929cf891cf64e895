"""Perfect mazes: rooms joined to a spanning tree, so that one way leads from any to any other.

Rooms stand at even rows and columns of a board, and the cell between two neighbours is free where
they are joined. `cells` is a flat board with a wall around it (see `distances`), `steps` the
offsets of the moves, `rooms` scratch of one int64 a cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels import splitmix
from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.maze.engine.distances import offsets
from trm_sdk.domains.maze.rules import FREE, WALL

#: Ways to join the rooms: depth-first search, loop-erased random walks, Prim's algorithm.
DFS, WILSON, PRIM = range(3)

# What a place is, in `state`. Two cells up from the first rooms or down from the last may be off
# the board: `state` is longer by two rows that hold no rooms, where negative places end up too.
_APART, _LISTED, _JOINED = 1, 2, 3


@kernel
def _depth_first(cells: Any, steps: Any, state: Any, room: Any, rooms: Any, rng: Any) -> None:
    """Join the rooms by a random walk that backtracks."""
    open_moves = np.empty(len(steps), np.int64)
    rooms[0] = room
    depth = 1
    cells[room] = FREE
    state[room] = _JOINED
    while depth > 0:
        room = rooms[depth - 1]
        count = 0
        for step in steps:
            if state[room + 2 * step] == _APART:
                open_moves[count] = step
                count += 1
        if count == 0:
            depth -= 1
            continue
        step = open_moves[splitmix.below(rng, count)]
        cells[room + step] = FREE
        room += 2 * step
        cells[room] = FREE
        state[room] = _JOINED
        rooms[depth] = room
        depth += 1


@kernel
def _wilson(cells: Any, steps: Any, state: Any, listed: Any, rooms: Any, rng: Any) -> None:
    """Join the rooms by loop-erased random walks: every spanning tree is equally likely.

    Wilson (STOC 1996). `listed` holds the places of all rooms; `rooms` the last move out of each.
    """
    cells[listed[splitmix.below(rng, len(listed))]] = FREE
    for first in listed:
        room = first
        while cells[room] == WALL:
            step = steps[splitmix.below(rng, len(steps))]
            if state[room + 2 * step] == _APART:
                rooms[room] = step
                room += 2 * step
        room = first
        while cells[room] == WALL:
            cells[room] = FREE
            cells[room + rooms[room]] = FREE
            room += 2 * rooms[room]


@kernel
def _prim(cells: Any, steps: Any, state: Any, room: Any, rooms: Any, rng: Any) -> None:
    """Join the rooms by adding a random room beside those joined, by a random one of these."""
    near = np.empty(len(steps), np.int64)
    listed = 0
    cells[room] = FREE
    while True:
        state[room] = _JOINED
        for step in steps:
            if state[room + 2 * step] == _APART:
                state[room + 2 * step] = _LISTED
                rooms[listed] = room + 2 * step
                listed += 1
        if listed == 0:
            break
        index = splitmix.below(rng, listed)
        room = rooms[index]
        listed -= 1
        rooms[index] = rooms[listed]
        count = 0
        for step in steps:
            if state[room + 2 * step] == _JOINED:
                near[count] = step
                count += 1
        cells[room] = FREE
        cells[room + near[splitmix.below(rng, count)]] = FREE


@kernel
def carve(
    cells: Any, width: Any, corner: Any, rows: Any, columns: Any, kind: Any, rooms: Any, rng: Any
) -> None:
    """Write a perfect maze of that many rows and columns of rooms to `cells`, all walls so far.

    `corner` is the place of the first room, `kind` is `DFS`, `WILSON` or `PRIM`.
    """
    steps = offsets(width)
    listed = np.empty(rows * columns, np.int64)
    state = np.zeros(cells.size + 2 * width, np.uint8)
    for row in range(rows):
        for column in range(columns):
            room = corner + 2 * (row * width + column)
            listed[row * columns + column] = room
            state[room] = _APART
    if kind == WILSON:
        _wilson(cells, steps, state, listed, rooms, rng)
        return
    first = listed[splitmix.below(rng, len(listed))]
    if kind == DFS:
        _depth_first(cells, steps, state, first, rooms, rng)
    else:
        _prim(cells, steps, state, first, rooms, rng)
