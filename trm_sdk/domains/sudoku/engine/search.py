"""Solve boards: naked and hidden singles, and a depth-first search over what they leave open.

``masks[level, cell]`` is the set of digits still possible (bit d-1 for digit d), where a level is
one guess deep. ``stack`` has one column per level: the branching cell, the digits left to try
there, and the number of solutions known when the current guess was made. Both are part of
``work``, the scratch arrays that a batch allocates once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_sdk.domains.kernels.compilation import ONE, ZERO, kernel
from trm_sdk.domains.kernels.splitmix import below
from trm_sdk.domains.sudoku.engine.arguments import boards_of, checked_geometry, checked_integer
from trm_sdk.domains.sudoku.engine.geometry import Boards, Groups

#: Stand for no barred cell and for no bound on failed guesses in `search`.
NO_CELL = np.int64(-1)
NO_CAP = np.int64(1 << 62)


@kernel
def workspace(geometry: Any) -> Any:
    """Return the scratch arrays ``(masks, stack, queue, used)`` for boards of one shape."""
    cells = geometry[0].shape[0]
    return (
        np.empty((cells + 1, cells), np.int32),
        np.zeros((3, cells + 1), np.int64),
        np.empty(cells, np.uint8),
        np.zeros(geometry[1].shape[0], np.int64),
    )


@kernel
def propagate(masks: Any, level: Any, queue: Any, queued: Any, dirty: Any, geometry: Any) -> Any:
    """Apply naked and hidden singles to a fixed point; return False on a contradiction.

    `queue[:queued]` are cells newly reduced to one digit, the bits of `dirty` the units to look
    through for hidden singles.
    """
    peers, units, unit_bits = geometry[0], geometry[1], geometry[2]
    width = peers.shape[1]
    n = units.shape[1]
    full = (1 << n) - 1
    while True:
        while queued > 0:
            queued -= 1
            cell = queue[queued]
            bit = masks[level, cell]
            for k in range(width):
                peer = peers[cell, k]
                old = masks[level, peer]
                if old & bit:
                    new = old & ~bit
                    if new == 0:
                        return False
                    masks[level, peer] = new
                    dirty |= unit_bits[peer]
                    if new & (new - 1) == 0:
                        queue[queued] = peer
                        queued += 1
        if dirty == 0:
            return True
        for unit in range(units.shape[0]):
            if not (dirty >> unit) & 1:
                continue
            dirty ^= np.int64(1) << unit
            once = 0
            twice = 0
            for k in range(n):
                mask = masks[level, units[unit, k]]
                twice |= once & mask
                once |= mask
            if once != full:
                return False
            once &= ~twice
            if once == 0:
                continue
            for k in range(n):
                cell = units[unit, k]
                old = masks[level, cell]
                new = old & once
                if new and new != old:
                    if new & (new - 1):
                        return False  # two digits have this cell as their only place
                    masks[level, cell] = new
                    dirty |= unit_bits[cell]
                    queue[queued] = cell
                    queued += 1
            if queued > 0:
                break


@kernel
def lay_out(board: Any, masks: Any, queue: Any, geometry: Any) -> Any:
    """Write a board's digits to level 0 and its clues to the queue; return their number."""
    full = (1 << geometry[1].shape[1]) - 1
    queued = 0
    for cell in range(board.shape[0]):
        if board[cell] > 0:
            masks[0, cell] = 1 << (np.int64(board[cell]) - 1)
            queue[queued] = cell
            queued += 1
        else:
            masks[0, cell] = full
    return queued


@kernel
def search(
    board: Any,
    barred_cell: Any,
    barred_digit: Any,
    limit: Any,
    cap: Any,
    found: Any,
    work: Any,
    geometry: Any,
    shuffled: Any,
    rng: Any,
) -> Any:
    """Count solutions up to `limit`, and store them in `found` as far as it has rows.

    `barred_cell` (or `NO_CELL`) may not hold `barred_digit`. A nonzero `shuffled` makes the search
    visit cells and digits in random order, which turns it into a generator of full grids.

    Returns
    -------
    count, failed : int64
        Solutions, and guesses that led to none. A negative count means that more than `cap`
        guesses failed and the search was given up.
    """
    masks, stack, queue, _ = work
    units, unit_bits = geometry[1], geometry[2]
    cells = board.shape[0]
    n = units.shape[1]
    queued = lay_out(board, masks, queue, geometry)
    if barred_cell >= 0:
        masks[0, barred_cell] &= ~(1 << (np.int64(barred_digit) - 1))
    count = 0
    failed = 0
    if not propagate(masks, ZERO, queue, queued, (np.int64(1) << units.shape[0]) - 1, geometry):
        return count, failed
    level = 0
    while True:
        # The cell with the fewest candidates; the first one with two is as good as any.
        best = -1
        fewest = n + 1
        offset = below(rng, cells) if shuffled else ZERO
        for k in range(cells):
            cell = k + offset
            if cell >= cells:
                cell -= cells
            mask = masks[level, cell]
            rest = mask & (mask - 1)
            if rest:
                size = 2
                rest &= rest - 1
                while rest:
                    size += 1
                    rest &= rest - 1
                if size < fewest:
                    fewest = size
                    best = cell  # type: ignore[assignment]
                    if size == 2:
                        break
        if best < 0:
            if count < found.shape[0]:
                for cell in range(cells):
                    mask = masks[level, cell]
                    digit = 0
                    while mask:
                        digit += 1
                        mask >>= 1
                    found[count, cell] = digit
            count += 1
            if count >= limit:
                return count, failed
            stack[1, level] = 0
        else:
            stack[0, level] = best
            stack[1, level] = masks[level, best]
        while True:
            rest = stack[1, level]
            if rest == 0:
                level -= 1
                if level < 0:
                    return count, failed
                if stack[2, level] == count:
                    failed += 1
                    if failed > cap:
                        return -1, failed
                continue
            bit = rest & -rest
            if shuffled:
                size = 0
                while rest:
                    size += 1
                    rest &= rest - 1
                rest = stack[1, level]
                for _ in range(below(rng, size)):
                    rest &= rest - 1
                bit = rest & -rest
            stack[1, level] ^= bit
            stack[2, level] = count
            best = stack[0, level]
            for cell in range(cells):
                masks[level + 1, cell] = masks[level, cell]
            masks[level + 1, best] = bit
            queue[0] = best
            if propagate(masks, level + 1, queue, ONE, unit_bits[best], geometry):
                level += 1
                break
            failed += 1
            if failed > cap:
                return -1, failed


@kernel
def _solve_boards(boards: Any, limit: Any, geometry: Any) -> Any:
    total, cells = boards.shape
    counts = np.zeros(total, np.int64)
    failed = np.zeros(total, np.int64)
    solutions = np.zeros((total, cells), np.uint8)
    work = workspace(geometry)
    rng = np.zeros(1, np.uint64)
    for i in range(total):
        counts[i], failed[i] = search(
            boards[i],
            NO_CELL,
            ZERO,
            limit,
            NO_CAP,
            solutions[i : i + 1],
            work,
            geometry,
            ZERO,
            rng,
        )
    return counts, failed, solutions


def solve_count(
    boards: Any,
    box: tuple[int, int] = (3, 3),
    limit: int = 2,
    groups: Groups | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Boards]:
    """Count the solutions of each board, up to a limit.

    The search knows naked and hidden singles, guesses in the first cell with the fewest
    candidates, and tries digits in ascending order. With ``limit=2`` and a puzzle that has one
    solution it walks the whole tree, so that the number of failed guesses does not depend on the
    names of the digits, only on where the cells lie; see `rate` for a measure free of that.

    Parameters
    ----------
    boards : int array of shape (N, cells)
        0 for a blank.
    box : (int, int)
        Shape of a box. Default 3 x 3.
    limit : int
        Solutions after which the search of a board stops. Default 2.
    groups : tuple of tuples of int, optional
        Sets of cells that hold every digit once, in place of the rows, columns and boxes of `box`.

    Returns
    -------
    counts : int64 array of shape (N,)
        Solutions found, 0 to `limit`.
    backtracks : int64 array of shape (N,)
        Guesses that led to no solution.
    solutions : uint8 array of shape (N, cells)
        The first solution found, zeros where there is none.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid shape, dtype or value.
    """
    geometry, n = checked_geometry(box, groups)
    what = f"box {tuple(box)}" if groups is None else f"groups of {n} cells"
    array = boards_of(boards, n, what)
    limit = checked_integer("limit", limit, 1)
    counts, failed, solutions = _solve_boards(array, limit, geometry)
    return counts, failed, solutions
