"""A Sudoku engine for making training data: solve, generate, harden, canonicalise, augment.

Boards are two-dimensional arrays, one board a row: shape ``(N, cells)``, row-major, ``0`` for a
blank and ``1..n`` for a digit, where ``n = box_rows * box_cols`` and ``cells = n * n``. A *box* is
given by its shape ``(box_rows, box_cols)``: ``(2, 2)`` is 4x4 Sudoku, ``(2, 3)`` is 6x6, ``(3, 3)``
is 9x9 and ``(4, 4)`` is 16x16.

Everything random takes a seed, and item ``i`` of a batch draws from a stream of its own made of
``(seed, i)``. So a seed gives the same boards on every machine, and the first ``k`` boards do not
depend on how many more were asked for.

The inner loops are compiled by numba on first use and cached on disk. They release the GIL and use
one core; run several processes or threads with different seeds to use more.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import permutations, product
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

Boards = NDArray[np.uint8]

__all__ = [
    "HardPool",
    "augment",
    "canonical",
    "filled_grids",
    "fingerprint",
    "generate",
    "harden",
    "probe",
    "rate",
    "solve_count",
]

_MAX_DIGITS = 16  # cell indices are kept in uint8 tables, and units in one 64-bit mask
_NO_CAP = np.int64(1 << 62)
# numba compiles a function anew for every literal among its arguments. Typed constants avoid this,
# and with it half of the time that compiling takes.
_NONE = np.int64(-1)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_TWO = np.int64(2)
_MOST_SOLUTIONS = 64


# ---------------------------------------------------------------------------------------------
# Geometry and arguments
# ---------------------------------------------------------------------------------------------


# The tables of one board shape that the compiled loops read: peers, units, unit_bits, cell_units
# and diagonal. A plain tuple, since numba's cache on disk would otherwise name this module.
_Geometry = tuple[Boards, Boards, NDArray[np.int64], Boards, NDArray[np.int64]]


@lru_cache(maxsize=16)
def _geometry(box: tuple[int, int]) -> _Geometry:
    box_rows, box_cols = box
    n = box_rows * box_cols
    rows, cols = np.divmod(np.arange(n * n), n)
    boxes = rows // box_rows * box_rows + cols // box_cols
    # (cells, 3): the row, column and box of a cell, each a unit with a number of its own.
    cell_units = np.stack([rows, n + cols, 2 * n + boxes], axis=1)
    # (3n, n): the cells of each unit.
    units = np.stack([np.flatnonzero((cell_units == u).any(axis=1)) for u in range(3 * n)])
    # (cells, peers): the cells that share a unit with a cell.
    shared = (cell_units[:, None, :] == cell_units[None, :, :]).any(axis=2)
    np.fill_diagonal(shared, False)
    peers = np.stack([np.flatnonzero(row) for row in shared])
    return (
        peers.astype(np.uint8),
        units.astype(np.uint8),
        # (cells,): bit u is set where unit u holds the cell.
        (np.int64(1) << cell_units).sum(axis=1).astype(np.int64),
        cell_units.astype(np.uint8),
        # Boxes of which no two share a row or a column.
        np.arange(min(box), dtype=np.int64) * (box_rows + 1),
    )


def _check_box(box: tuple[int, int]) -> tuple[int, int]:
    try:
        box_rows, box_cols = (int(side) for side in box)
    except (TypeError, ValueError):
        raise ValueError(f"box must be a pair (box_rows, box_cols), got {box!r}") from None
    if box_rows < 2 or box_cols < 2 or box_rows * box_cols > _MAX_DIGITS:
        raise ValueError(
            f"box must have sides of at least 2 and at most {_MAX_DIGITS} cells, got {box!r}"
        )
    return box_rows, box_cols


def _check_boards(boards: Any, box: tuple[int, int], name: str = "boards") -> Boards:
    array = np.asarray(boards)
    n = box[0] * box[1]
    if array.ndim != 2 or array.shape[1] != n * n:
        raise ValueError(f"{name} must have shape (N, {n * n}) for box {box}, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integers, got dtype {array.dtype}")
    if array.size and (array.min() < 0 or array.max() > n):
        low, high = int(array.min()), int(array.max())
        raise ValueError(f"{name} must hold values in 0..{n}, got {low}..{high}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _check_pairs(puzzles: Any, solutions: Any, box: tuple[int, int]) -> tuple[Boards, Boards]:
    left = _check_boards(puzzles, box, "puzzles")
    right = _check_boards(solutions, box, "solutions")
    if left.shape != right.shape:
        raise ValueError(f"puzzles and solutions differ in shape: {left.shape}, {right.shape}")
    return left, right


def _check_seed(seed: int) -> np.uint64:
    if not 0 <= int(seed) < 1 << 64:
        raise ValueError(f"seed must be in 0..2**64-1, got {seed!r}")
    checked: np.uint64 = np.uint64(int(seed))
    return checked


def _check_at_least(name: str, value: int, low: int) -> int:
    if int(value) != value or value < low:
        raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
    return int(value)


def _check_range(name: str, value: tuple[int, int], high: int) -> tuple[int, int]:
    try:
        first, last = (int(end) for end in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a pair (low, high), got {value!r}") from None
    if not 0 <= first <= last <= high:
        raise ValueError(f"{name} must satisfy 0 <= low <= high <= {high}, got {value!r}")
    return first, last


# ---------------------------------------------------------------------------------------------
# Random numbers: SplitMix64, because numpy's generators inside numba share one hidden state
# ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _mix(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _start(rng: Any, seed: Any, item: Any) -> None:
    """Points the state `rng` (uint64, one element) at the stream of one item of a batch."""
    rng[0] = _mix(seed ^ _mix(np.uint64(item) * np.uint64(0xD1342543DE82EF95) + np.uint64(1)))


@njit(cache=True, nogil=True)
def _below(rng: Any, bound: Any) -> Any:
    """A random integer in ``0..bound-1``; the bias of 2**-32 does not matter here."""
    rng[0] += np.uint64(0x9E3779B97F4A7C15)
    high = _mix(rng[0]) >> np.uint64(32)
    return np.int64((high * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _shuffle(rng: Any, items: Any, length: Any) -> None:
    for i in range(length - 1, 0, -1):
        j = _below(rng, i + 1)
        items[i], items[j] = items[j], items[i]


# ---------------------------------------------------------------------------------------------
# Search
# ---------------------------------------------------------------------------------------------
#
# `masks[level, cell]` is the set of digits still possible (bit d-1 for digit d). A level is one
# guess deep. `stack` holds bookkeeping, one column a level: the branching cell, the digits left to
# try there, and the number of solutions known when the current guess was made. Both are part of
# `work`, the scratch arrays that a batch allocates once.


@njit(cache=True, nogil=True)
def _workspace(geometry: Any) -> Any:
    """The scratch arrays ``(masks, stack, queue, used)``."""
    cells = geometry[0].shape[0]
    return (
        np.empty((cells + 1, cells), np.int32),
        np.zeros((3, cells + 1), np.int64),
        np.empty(cells, np.uint8),
        np.zeros(geometry[1].shape[0], np.int64),
    )


@njit(cache=True, nogil=True)
def _propagate(masks: Any, level: Any, queue: Any, queued: Any, dirty: Any, geometry: Any) -> Any:
    """Naked and hidden singles to a fixed point; False where a contradiction shows.

    `queue[:queued]` are cells newly reduced to one digit; `dirty` the units to look through for
    hidden singles.
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


@njit(cache=True, nogil=True)
def _lay_out(board: Any, masks: Any, queue: Any, geometry: Any) -> Any:
    """Writes a board's digits to level 0 and its clues to the queue; returns their number."""
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


@njit(cache=True, nogil=True)
def _search(
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
    """Counts solutions up to `limit`, storing them in `found` as far as it has rows.

    `barred_cell` (or -1) may not hold `barred_digit`. A nonzero `shuffled` makes the search visit
    cells and digits in random order, which turns it into a generator of full grids. Returns the
    count and the number of guesses that led to no solution; a negative count means that more than
    `cap` guesses failed and the search was given up.
    """
    masks, stack, queue, _ = work
    units, unit_bits = geometry[1], geometry[2]
    cells = board.shape[0]
    n = units.shape[1]
    queued = _lay_out(board, masks, queue, geometry)
    if barred_cell >= 0:
        masks[0, barred_cell] &= ~(1 << (np.int64(barred_digit) - 1))
    count = 0
    failed = 0
    if not _propagate(masks, _ZERO, queue, queued, (np.int64(1) << units.shape[0]) - 1, geometry):
        return count, failed
    level = 0
    while True:
        # The cell with the fewest candidates; the first one with two is as good as any.
        best = -1
        fewest = n + 1
        offset = _below(rng, cells) if shuffled else _ZERO
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
                    best = cell
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
                for _ in range(_below(rng, size)):
                    rest &= rest - 1
                bit = rest & -rest
            stack[1, level] ^= bit
            stack[2, level] = count
            best = stack[0, level]
            for cell in range(cells):
                masks[level + 1, cell] = masks[level, cell]
            masks[level + 1, best] = bit
            queue[0] = best
            if _propagate(masks, level + 1, queue, _ONE, unit_bits[best], geometry):
                level += 1
                break
            failed += 1
            if failed > cap:
                return -1, failed


@njit(cache=True, nogil=True)
def _solve_all(boards: Any, limit: Any, geometry: Any) -> Any:
    total, cells = boards.shape
    counts = np.zeros(total, np.int64)
    failed = np.zeros(total, np.int64)
    solutions = np.zeros((total, cells), np.uint8)
    work = _workspace(geometry)
    rng = np.zeros(1, np.uint64)
    for i in range(total):
        counts[i], failed[i] = _search(
            boards[i],
            _NONE,
            _ZERO,
            limit,
            _NO_CAP,
            solutions[i : i + 1],
            work,
            geometry,
            _ZERO,
            rng,
        )
    return counts, failed, solutions


def solve_count(
    boards: Any, box: tuple[int, int] = (3, 3), limit: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.int64], Boards]:
    """Counts the solutions of each board, up to a limit.

    The search knows naked and hidden singles, guesses in the first cell with the fewest
    candidates, and tries digits in ascending order. With ``limit=2`` and a puzzle that has one
    solution it walks the whole tree, so that the number of failed guesses does not depend on the
    names of the digits, only on where the cells lie; see `rate` for a measure free of that.

    Args:
        boards: (N, cells) integers, 0 for a blank.
        box: shape of a box.
        limit: stop a board's search after so many solutions.

    Returns:
        ``counts`` (N,) int64 in ``0..limit``; ``backtracks`` (N,) int64, the number of guesses
        that led to no solution; ``solutions`` (N, cells) uint8, the first solution found, zeros
        where there is none.

    Raises:
        ValueError: on a wrong shape, dtype, value, box or limit.
    """
    box = _check_box(box)
    array = _check_boards(boards, box)
    limit = _check_at_least("limit", limit, 1)
    counts, failed, solutions = _solve_all(array, limit, _geometry(box))
    return counts, failed, solutions


# ---------------------------------------------------------------------------------------------
# Full grids and minimal puzzles
# ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _fill(
    grid: Any,
    diagonal: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> None:
    """Writes a random full grid into `grid` (1, cells).

    The boxes on the diagonal don't see each other, so they are filled outright; a search in random
    order does the rest, and after a hundred failed guesses it is cheaper to start again.
    """
    units = geometry[1]
    n = units.shape[1]
    start = np.empty(grid.shape[1], np.uint8)
    digits = np.empty(n, np.uint8)
    for k in range(n):
        digits[k] = k + 1
    while True:
        start[:] = 0
        for box in diagonal:
            _shuffle(rng, digits, n)
            for k in range(n):
                start[units[2 * n + box, k]] = digits[k]
        count, _ = _search(
            start, _NONE, _ZERO, _ONE, np.int64(100), grid, work, geometry, _ONE, rng
        )
        if count > 0:
            return


@njit(cache=True, nogil=True)
def _fill_all(total: Any, seed: Any, geometry: Any) -> Any:
    cells = geometry[0].shape[0]
    grids = np.zeros((total, cells), np.uint8)
    work = _workspace(geometry)
    rng = np.zeros(1, np.uint64)
    for i in range(total):
        _start(rng, seed, i)
        _fill(grids[i : i + 1], geometry[4], work, geometry, rng)
    return grids


@njit(cache=True, nogil=True)
def _is_forced(puzzle: Any, cell: Any, digit: Any, used: Any, geometry: Any) -> Any:
    """Whether the givens alone force `digit` into the blank `cell` as a naked or hidden single.

    `used[unit]` is the set of digits given in a unit. Most clues that can go are of this kind, and
    seeing so costs a tenth of a search.
    """
    units, cell_units = geometry[1], geometry[3]
    n = units.shape[1]
    bit = 1 << (np.int64(digit) - 1)
    seen = used[cell_units[cell, 0]] | used[cell_units[cell, 1]] | used[cell_units[cell, 2]]
    if seen | bit == (1 << n) - 1:
        return True
    for kind in range(3):
        unit = cell_units[cell, kind]
        alone = True
        for k in range(n):
            other = units[unit, k]
            if other == cell or puzzle[other] > 0:
                continue
            if not bit & (
                used[cell_units[other, 0]] | used[cell_units[other, 1]] | used[cell_units[other, 2]]
            ):
                alone = False
                break
        if alone:
            return True
    return False


@njit(cache=True, nogil=True)
def _minimise(
    puzzle: Any,
    solution: Any,
    order: Any,
    cap: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> None:
    """Takes clues out in the given order while the solution stays unique.

    A clue that is needed now is needed for good, since fewer clues only mean more solutions. So
    one look at each clue suffices, and it asks only for a solution with another digit there.
    """
    cell_units = geometry[3]
    used = work[3]
    nowhere = np.empty((0, puzzle.shape[0]), np.uint8)
    used[:] = 0
    for cell in range(puzzle.shape[0]):
        if puzzle[cell] > 0:
            for kind in range(3):
                used[cell_units[cell, kind]] |= 1 << (np.int64(puzzle[cell]) - 1)
    for k in range(order.shape[0]):
        cell = np.int64(order[k])
        if puzzle[cell] == 0:
            continue
        digit = solution[cell]
        bit = 1 << (np.int64(digit) - 1)
        puzzle[cell] = 0
        for kind in range(3):
            used[cell_units[cell, kind]] ^= bit
        if _is_forced(puzzle, cell, digit, used, geometry):
            continue
        count, _ = _search(
            puzzle, cell, np.int64(digit), _ONE, cap, nowhere, work, geometry, _ZERO, rng
        )
        if count != 0:
            puzzle[cell] = digit
            for kind in range(3):
                used[cell_units[cell, kind]] ^= bit


@njit(cache=True, nogil=True)
def _generate_all(
    total: Any,
    seed: Any,
    low: Any,
    high: Any,
    absolute: Any,
    attempts: Any,
    cap: Any,
    geometry: Any,
) -> Any:
    """See `generate`. Where `absolute`, `low..high` are givens in all, else clues added back."""
    cells = geometry[0].shape[0]
    puzzles = np.zeros((total, cells), np.uint8)
    solutions = np.zeros((total, cells), np.uint8)
    work = _workspace(geometry)
    rng = np.zeros(1, np.uint64)
    order = np.empty(cells, np.uint8)
    for i in range(total):
        _start(rng, seed, i)
        wanted = low + _below(rng, high - low + 1)
        tries = 0
        while True:
            _fill(solutions[i : i + 1], geometry[4], work, geometry, rng)
            puzzles[i] = solutions[i]
            for cell in range(cells):
                order[cell] = cell
            _shuffle(rng, order, cells)
            _minimise(puzzles[i], solutions[i], order, cap, work, geometry, rng)
            missing = wanted
            if absolute:
                for cell in range(cells):
                    if puzzles[i, cell] > 0:
                        missing -= 1
            if missing >= 0:
                break
            tries += 1
            if tries >= attempts:
                return i, puzzles, solutions
        _shuffle(rng, order, cells)
        for k in range(cells):
            if missing == 0:
                break
            if puzzles[i, order[k]] == 0:
                puzzles[i, order[k]] = solutions[i, order[k]]
                missing -= 1
    return total, puzzles, solutions


def filled_grids(n: int, box: tuple[int, int] = (3, 3), seed: int = 0) -> Boards:
    """Random full grids, from a search in random order; near to uniform, though not exactly.

    Args:
        n: how many.
        box: shape of a box.
        seed: grid ``i`` depends on the seed and on ``i`` alone.

    Returns:
        (n, cells) uint8.

    Raises:
        ValueError: on a negative `n`, or a wrong box or seed.
    """
    box = _check_box(box)
    grids: Boards = _fill_all(_check_at_least("n", n, 0), _check_seed(seed), _geometry(box))
    return grids


def generate(
    n: int,
    box: tuple[int, int] = (3, 3),
    *,
    seed: int,
    clues_added: tuple[int, int] = (0, 0),
    givens: tuple[int, int] | None = None,
    attempts: int = 1000,
    effort: int | None = None,
) -> tuple[Boards, Boards]:
    """Random puzzles with exactly one solution.

    Each starts as a random full grid, loses clues in random order for as long as the solution
    stays unique, and so ends minimal: every clue left is needed. Then a random number of clues is
    put back.

    Args:
        n: how many.
        box: shape of a box.
        seed: puzzle ``i`` depends on the seed and on ``i``, not on ``n``.
        clues_added: inclusive range of the number of clues put back, drawn uniformly.
        givens: inclusive range of the number of clues in all, drawn uniformly; instead of
            `clues_added`. A minimal puzzle with more clues than drawn is thrown away. A minimal
            9x9 puzzle has 24 clues or so, rarely under 21.
        attempts: how many minimal puzzles to try for one number of givens.
        effort: give a clue up as needed after so many failed guesses, so that a puzzle may be
            not quite minimal (it is always unique). By default without bound up to 9x9, and
            200 on larger boards, where a proof can take forever.

    Returns:
        ``puzzles`` and ``solutions``, each (n, cells) uint8.

    Raises:
        ValueError: on a wrong argument, or where `attempts` did not suffice for `givens`.
    """
    box = _check_box(box)
    side = box[0] * box[1]
    cells = side * side
    n = _check_at_least("n", n, 0)
    attempts = _check_at_least("attempts", attempts, 1)
    low, high = _check_range("clues_added", clues_added, cells)
    if givens is not None:
        if (low, high) != (0, 0):
            raise ValueError(
                f"give clues_added or givens, not both: got {clues_added!r} and {givens!r}"
            )
        low, high = _check_range("givens", givens, cells)
    if effort is None:
        cap = _NO_CAP if side <= 9 else 200
    else:
        cap = _check_at_least("effort", effort, 0)
    done, puzzles, solutions = _generate_all(
        n, _check_seed(seed), low, high, givens is not None, attempts, cap, _geometry(box)
    )
    if done < n:
        raise ValueError(
            f"no puzzle with givens in {givens!r} in {attempts} attempts; "
            "ask for more givens, or raise attempts"
        )
    return puzzles, solutions


# ---------------------------------------------------------------------------------------------
# Symmetries
# ---------------------------------------------------------------------------------------------
#
# A symmetry permutes bands, rows within a band, stacks, columns within a stack and digits, and may
# transpose the board where boxes are square. It maps puzzles to puzzles and solutions to solutions.


@njit(cache=True, nogil=True)
def _draw_lines(rng: Any, lines: Any, group: Any) -> None:
    """A random order of rows (or columns) that keeps bands (or stacks) of `group` together."""
    n = lines.shape[0]
    bands = n // group
    order = np.arange(max(bands, group))
    _shuffle(rng, order, bands)
    for band in range(bands):
        for k in range(group):
            lines[band * group + k] = order[band] * group + k
    for band in range(bands):
        _shuffle(rng, lines[band * group : (band + 1) * group], group)


@njit(cache=True, nogil=True)
def _draw_symmetry(
    rng: Any, rows: Any, cols: Any, digits: Any, box_rows: Any, box_cols: Any
) -> Any:
    """Fills in random line orders and digit names; returns whether to transpose."""
    n = rows.shape[0]
    _draw_lines(rng, rows, box_rows)
    _draw_lines(rng, cols, box_cols)
    for k in range(n + 1):
        digits[k] = k
    _shuffle(rng, digits[1:], n)
    return box_rows == box_cols and _below(rng, _TWO) == _ONE


@njit(cache=True, nogil=True)
def _apply_symmetry(
    board: Any, out: Any, rows: Any, cols: Any, digits: Any, transposed: Any
) -> None:
    n = rows.shape[0]
    for i in range(n):
        for j in range(n):
            source = cols[j] * n + rows[i] if transposed else rows[i] * n + cols[j]
            out[i * n + j] = digits[board[source]]


@njit(cache=True, nogil=True)
def _augment_all(
    puzzles: Any, solutions: Any, box_rows: Any, box_cols: Any, seed: Any, first: Any
) -> Any:
    n = box_rows * box_cols
    new_puzzles = np.empty_like(puzzles)
    new_solutions = np.empty_like(solutions)
    rows = np.empty(n, np.int64)
    cols = np.empty(n, np.int64)
    digits = np.empty(n + 1, np.uint8)
    rng = np.zeros(1, np.uint64)
    for i in range(puzzles.shape[0]):
        _start(rng, seed, first + i)
        transposed = _draw_symmetry(rng, rows, cols, digits, box_rows, box_cols)
        _apply_symmetry(puzzles[i], new_puzzles[i], rows, cols, digits, transposed)
        _apply_symmetry(solutions[i], new_solutions[i], rows, cols, digits, transposed)
    return new_puzzles, new_solutions


def augment(
    puzzles: Any, solutions: Any, *, box: tuple[int, int] = (3, 3), seed: int
) -> tuple[Boards, Boards]:
    """Applies a random symmetry to each puzzle, and the same one to its solution.

    Args:
        puzzles: (N, cells) integers, 0 for a blank.
        solutions: (N, cells) integers.
        box: shape of a box; boards are transposed only where it is square.
        seed: the symmetry of pair ``i`` depends on the seed and on ``i`` alone.

    Returns:
        New ``puzzles`` and ``solutions``, each (N, cells) uint8.

    Raises:
        ValueError: on a wrong shape, dtype, value, box or seed.
    """
    box = _check_box(box)
    left, right = _check_pairs(puzzles, solutions, box)
    new_puzzles, new_solutions = _augment_all(left, right, box[0], box[1], _check_seed(seed), 0)
    return new_puzzles, new_solutions


# ---------------------------------------------------------------------------------------------
# Equality up to symmetry
# ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _refine(
    board: Any, colour: Any, sums: Any, rounds: Any, box_rows: Any, box_cols: Any, cells: Any
) -> Any:
    """Colour refinement: each cell's colour takes in those of its lines, bands, box and digit.

    Sums make the result independent of order, and with square boxes rows and columns are treated
    alike, so that transposing changes nothing. Returns the sum of the mixed colours.
    """
    n = box_rows * box_cols
    tag = np.uint64(0) if box_rows == box_cols else np.uint64(0x5851F42D4C957F2D)
    rows, cols, boxes, bands, stacks, digits = 0, n, 2 * n, 3 * n, 4 * n, 5 * n
    for _ in range(rounds):
        sums[:] = np.uint64(0)
        for r in range(n):
            for c in range(n):
                cell = r * n + c
                mixed = _mix(colour[cell])
                sums[rows + r] += mixed
                sums[cols + c] += mixed
                sums[boxes + r // box_rows * box_rows + c // box_cols] += mixed
                sums[digits + board[cell]] += mixed
        for k in range(n):
            sums[bands + k // box_rows] += _mix(sums[rows + k])
            sums[stacks + k // box_cols] += _mix(sums[cols + k])
        for k in range(3 * n):
            sums[k] = _mix(sums[k])
        for r in range(n):
            row = _mix(sums[rows + r] + tag + np.uint64(3) * sums[bands + r // box_rows])
            for c in range(n):
                cell = r * n + c
                col = _mix(sums[cols + c] + np.uint64(3) * sums[stacks + c // box_cols])
                value = colour[cell] + row + col
                value += np.uint64(5) * sums[boxes + r // box_rows * box_rows + c // box_cols]
                if board[cell] > 0:
                    value += np.uint64(7) * _mix(sums[digits + board[cell]])
                colour[cell] = _mix(value)
    total = np.uint64(0)
    for cell in range(cells):
        total += _mix(colour[cell])
    return total


@njit(cache=True, nogil=True)
def _fingerprint(
    board: Any, base: Any, colour: Any, sums: Any, box_rows: Any, box_cols: Any
) -> Any:
    cells = board.shape[0]
    for cell in range(cells):
        base[cell] = np.uint64(1) if board[cell] > 0 else np.uint64(2)
    value = _refine(board, base, sums, 3, box_rows, box_cols, cells)
    for cell in range(cells):
        if board[cell] > 0:
            colour[:] = base
            colour[cell] += np.uint64(0xA5A5A5A5)
            value += _mix(_refine(board, colour, sums, 3, box_rows, box_cols, cells))
    return value


@njit(cache=True, nogil=True)
def _fingerprint_all(boards: Any, box_rows: Any, box_cols: Any) -> Any:
    total, cells = boards.shape
    result = np.empty(total, np.uint64)
    base = np.empty(cells, np.uint64)
    colour = np.empty(cells, np.uint64)
    sums = np.empty(6 * box_rows * box_cols + 1, np.uint64)
    for i in range(total):
        result[i] = _fingerprint(boards[i], base, colour, sums, box_rows, box_cols)
    return result


def fingerprint(boards: Any, box: tuple[int, int] = (3, 3)) -> NDArray[np.uint64]:
    """A 64-bit hash that is equal for boards that are equal up to symmetry.

    Boards with different fingerprints are certainly no symmetric images of each other. Boards with
    equal ones almost certainly are; `canonical` settles it. The hash refines the colours of cells
    by what shares a line, box or digit with them, once for the board and once more for every
    clue singled out, since full grids look alike everywhere until a cell is singled out.

    Args:
        boards: (N, cells) integers, 0 for a blank.
        box: shape of a box, up to 16x16 boards.

    Returns:
        (N,) uint64.

    Raises:
        ValueError: on a wrong shape, dtype, value or box.
    """
    box = _check_box(box)
    result: NDArray[np.uint64] = _fingerprint_all(_check_boards(boards, box), box[0], box[1])
    return result


@lru_cache(maxsize=8)
def _column_orders(box: tuple[int, int]) -> NDArray[np.uint8]:
    """(orders, n): every order of the columns that keeps stacks together."""
    box_rows, box_cols = box
    within = list(permutations(range(box_cols)))
    orders = [
        [stack * box_cols + k for stack, inner in zip(stacks, inners, strict=True) for k in inner]
        for stacks in permutations(range(box_rows))
        for inners in product(within, repeat=box_rows)
    ]
    return np.array(orders, np.uint8)


@njit(cache=True, nogil=True)
def _least_rows(
    board: Any,
    order: Any,
    first: Any,
    best: Any,
    box_rows: Any,
    blank_row: Any,
    blank_band: Any,
    label: Any,
    labels: Any,
    choice: Any,
    taken: Any,
) -> None:
    """Depth-first search for the least board with the columns in the given order.

    `best` (cells,) holds the least board so far, and the rows chosen so far always equal its
    first rows. `first[row]` says which rows may come first. Digits are named in order of
    appearance: `label[depth]` are the names given above that depth, `labels[depth]` how many.
    """
    n = order.shape[0]
    depth = 0
    choice[0] = -1
    while depth >= 0:
        row = choice[depth]
        if row >= 0:
            taken[row] = False
        row += 1
        while row < n:
            band = row // box_rows * box_rows
            allowed = not taken[row]
            if depth == 0:
                allowed = first[row]
            if allowed:
                if depth % box_rows:
                    allowed = choice[depth - 1] // box_rows * box_rows == band
                else:
                    for k in range(band, band + box_rows):
                        allowed = allowed and not taken[k]
                    # Blank bands are interchangeable: only the first one left is tried.
                    if allowed and blank_band[band // box_rows]:
                        for other in range(0, band, box_rows):
                            if blank_band[other // box_rows] and not taken[other]:
                                allowed = False
            if allowed and blank_row[row]:
                for k in range(band, row):  # and so are blank rows of a band
                    if blank_row[k] and not taken[k]:
                        allowed = False
            if allowed:
                # Name the row's digits, and compare as far as needed.
                names = labels[depth]
                for k in range(1, n + 1):
                    label[depth + 1, k] = label[depth, k]
                less = False
                for k in range(n):
                    digit = board[row * n + order[k]]
                    name = label[depth + 1, digit]
                    if digit > 0 and name == 0:
                        names += 1
                        name = names
                        label[depth + 1, digit] = name
                    if less:
                        best[depth * n + k] = name
                    elif name < best[depth * n + k]:
                        less = True
                        best[depth * n + k] = name
                        best[depth * n + k + 1 :] = 255
                    elif name > best[depth * n + k]:
                        allowed = False
                        break
                if allowed:
                    labels[depth + 1] = names
                    break
            row += 1
        if row == n:
            depth -= 1
            continue
        choice[depth] = row
        if depth + 1 < n:
            taken[row] = True
            depth += 1
            choice[depth] = -1


@njit(cache=True, nogil=True)
def _canonical_all(boards: Any, orders: Any, box_rows: Any, box_cols: Any) -> Any:
    total, cells = boards.shape
    n = box_rows * box_cols
    result = np.full((total, cells), 255, np.uint8)
    board = np.empty((2, cells), np.uint8)
    keys = np.empty((2, n), np.int64)
    counts = np.empty(box_rows, np.int64)
    first = np.empty(n, np.bool_)
    blank_row = np.empty(n, np.bool_)
    blank_band = np.empty(box_cols, np.bool_)
    blank_col = np.empty(n, np.bool_)
    blank_stack = np.empty(box_rows, np.bool_)
    label = np.zeros((n + 1, n + 1), np.uint8)
    labels = np.zeros(n + 1, np.int64)
    choice = np.empty(n, np.int64)
    taken = np.zeros(n, np.bool_)
    turns = 2 if box_rows == box_cols else 1
    for i in range(total):
        # A row put in its least form has its blanks first: the boxes in ascending order of clues,
        # the blanks of each before its clues. Only the rows least in this sense can come first.
        least = np.int64(1) << 62
        for turn in range(turns):
            for row in range(n):
                counts[:] = 0
                for col in range(n):
                    digit = boards[i, col * n + row] if turn else boards[i, row * n + col]
                    board[turn, row * n + col] = digit
                    counts[col // box_cols] += digit > 0
                counts.sort()
                key = 0
                for stack in range(box_rows):
                    key = key * (box_cols + 1) + counts[stack]
                keys[turn, row] = key
                least = min(least, key)
        for turn in range(turns):
            some = False
            for row in range(n):
                first[row] = keys[turn, row] == least
                some = some or first[row]
            if not some:
                continue
            blank_row[:] = True
            blank_col[:] = True
            blank_band[:] = True
            blank_stack[:] = True
            for row in range(n):
                for col in range(n):
                    if board[turn, row * n + col] > 0:
                        blank_row[row] = False
                        blank_col[col] = False
                        blank_band[row // box_rows] = False
                        blank_stack[col // box_cols] = False
            for k in range(orders.shape[0]):
                # Blank columns of a stack, and blank stacks, are interchangeable: one order does.
                allowed = True
                last_stack = -1
                last = -1
                for j in range(n):
                    col = np.int64(orders[k, j])
                    if j % box_cols == 0:
                        last = -1
                        stack = col // box_cols
                        if blank_stack[stack]:
                            if stack < last_stack:
                                allowed = False
                                break
                            last_stack = stack
                    if blank_col[col]:
                        if col < last:
                            allowed = False
                            break
                        last = col
                if allowed:
                    _least_rows(
                        board[turn],
                        orders[k],
                        first,
                        result[i],
                        box_rows,
                        blank_row,
                        blank_band,
                        label,
                        labels,
                        choice,
                        taken,
                    )
    return result


def canonical(boards: Any, box: tuple[int, int] = (3, 3)) -> Boards:
    """The least board, read row by row, among all symmetric images of each board.

    Two boards have the same canonical form if and only if a symmetry (of bands, rows, stacks,
    columns, digits, and transposition where boxes are square) maps one to the other. This is
    exact, and is computed from the puzzle's clues, not from its solution.

    Args:
        boards: (N, cells) integers, 0 for a blank.
        box: shape of a box, up to 9x9 boards; for larger ones use `fingerprint`.

    Returns:
        (N, cells) uint8.

    Raises:
        ValueError: on a wrong shape, dtype, value or box.
    """
    box = _check_box(box)
    if box[0] * box[1] > 9:
        raise ValueError(f"canonical takes boards of up to 9x9, got box {box}; use fingerprint")
    array = _check_boards(boards, box)
    result: Boards = _canonical_all(array, _column_orders(box), box[0], box[1])
    return result


# ---------------------------------------------------------------------------------------------
# Difficulty
# ---------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _rate(
    board: Any,
    image: Any,
    repeats: Any,
    seed: Any,
    box_rows: Any,
    box_cols: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> Any:
    """The rating of `rate`; with 0 repeats that of `probe`, which needs none."""
    if repeats == 0:
        return _probe(board, work, geometry)
    n = box_rows * box_cols
    rows = np.empty(n, np.int64)
    cols = np.empty(n, np.int64)
    digits = np.empty(n + 1, np.uint8)
    nowhere = np.empty((0, n * n), np.uint8)
    total = 0
    for k in range(repeats):
        _start(rng, seed, k)
        transposed = _draw_symmetry(rng, rows, cols, digits, box_rows, box_cols)
        _apply_symmetry(board, image, rows, cols, digits, transposed)
        _, failed = _search(image, _NONE, _ZERO, _TWO, _NO_CAP, nowhere, work, geometry, _ZERO, rng)
        total += failed
    return total / repeats


@njit(cache=True, nogil=True)
def _rate_all(
    boards: Any, repeats: Any, seed: Any, box_rows: Any, box_cols: Any, geometry: Any
) -> Any:
    total, cells = boards.shape
    ratings = np.empty(total, np.float64)
    image = np.empty(cells, np.uint8)
    work = _workspace(geometry)
    rng = np.zeros(1, np.uint64)
    for i in range(total):
        ratings[i] = _rate(boards[i], image, repeats, seed, box_rows, box_cols, work, geometry, rng)
    return ratings


def rate(
    boards: Any, box: tuple[int, int] = (3, 3), repeats: int = 8, seed: int = 0
) -> NDArray[np.float64]:
    """How hard puzzles are: failed guesses of a plain search, averaged over random symmetries.

    The search is that of `solve_count`, which uses no deductions beyond naked and hidden singles.
    A single count depends on which of several equally good cells the search happens to branch
    on; the mean of 8 is steady to a fifth or so. 0 means that singles solve the puzzle.

    Args:
        boards: (N, cells) integers; puzzles with one solution, or else the count is cut short at
            the second.
        box: shape of a box.
        repeats: how many random images of a board to solve.
        seed: draws the symmetries, the same ones for every board.

    Returns:
        (N,) float64.

    Raises:
        ValueError: on a wrong shape, dtype, value, box, repeats or seed.
    """
    box = _check_box(box)
    array = _check_boards(boards, box)
    repeats = _check_at_least("repeats", repeats, 1)
    ratings: NDArray[np.float64] = _rate_all(
        array, repeats, _check_seed(seed), box[0], box[1], _geometry(box)
    )
    return ratings


@njit(cache=True, nogil=True)
def _surplus(masks: Any, level: Any) -> Any:
    """Digits still possible beyond one a cell."""
    surplus = 0
    for cell in range(masks.shape[1]):
        rest = masks[level, cell]
        rest &= rest - 1
        while rest:
            surplus += 1
            rest &= rest - 1
    return surplus


@njit(cache=True, nogil=True)
def _probe(board: Any, work: Any, geometry: Any) -> Any:
    """See `probe`. Level 0 of `work` holds the round's start, level 1 a trial, level 2 its end."""
    masks, _, queue, _ = work
    units, unit_bits = geometry[1], geometry[2]
    cells = board.shape[0]
    queued = _lay_out(board, masks, queue, geometry)
    every = (np.int64(1) << units.shape[0]) - 1
    if not _propagate(masks, _ZERO, queue, queued, every, geometry):
        return 0.0
    rounds = 0
    first = 0.0
    while True:
        surplus = _surplus(masks, _ZERO)
        if surplus == 0:
            return rounds - first
        masks[2] = masks[0]
        refuted = 0
        for cell in range(cells):
            rest = masks[0, cell]
            if rest & (rest - 1) == 0:
                continue
            while rest:
                bit = rest & -rest
                rest ^= bit
                masks[1] = masks[0]
                masks[1, cell] = bit
                queue[0] = cell
                if not _propagate(masks, _ONE, queue, _ONE, unit_bits[cell], geometry):
                    masks[2, cell] &= ~bit
                    refuted += 1
        if refuted == 0:
            return cells + surplus / 10
        if rounds == 0:
            first = refuted / (surplus + 1)  # below 1: no puzzle that takes a round is rated 0
        rounds += 1
        queued = 0
        for cell in range(cells):
            mask = masks[2, cell]
            if mask == 0:
                return 0.0  # no solution at all
            if mask != masks[0, cell] and mask & (mask - 1) == 0:
                queue[queued] = cell
                queued += 1
            masks[0, cell] = mask
        if not _propagate(masks, _ZERO, queue, queued, every, geometry):
            return 0.0


@njit(cache=True, nogil=True)
def _probe_all(boards: Any, geometry: Any) -> Any:
    ratings = np.empty(boards.shape[0], np.float64)
    work = _workspace(geometry)
    for i in range(boards.shape[0]):
        ratings[i] = _probe(boards[i], work, geometry)
    return ratings


def probe(boards: Any, box: tuple[int, int] = (3, 3)) -> NDArray[np.float64]:
    """How hard puzzles are for whoever looks one guess ahead, where `rate` counts guesses.

    A round tries every digit that singles leave possible, one at a time, and strikes out those that
    singles then refute. Puzzles that `rate` counts hundreds of guesses for mostly fall in the first
    round; those collected as the hardest known do not fall at all. It is this that says which
    puzzles a recursive network finds hard.

    Args:
        boards: (N, cells) integers; puzzles with one solution (0 where there is none).
        box: shape of a box.

    Returns:
        (N,) float64. 0: singles solve the puzzle. Below 1: one round does, and the less it strikes
        out of what is to be struck out, the closer to 1. From 1 on: two rounds do; and so on. From
        the number of cells on: no number of rounds does; that, plus a tenth of the digits left
        beyond one a cell. Symmetric images are rated alike.

    Raises:
        ValueError: on a wrong shape, dtype, value or box.
    """
    box = _check_box(box)
    ratings: NDArray[np.float64] = _probe_all(_check_boards(boards, box), _geometry(box))
    return ratings


@njit(cache=True, nogil=True)
def _swap_clues(
    puzzle: Any,
    solution: Any,
    swaps: Any,
    found: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> Any:
    """Takes `swaps` clues out of `puzzle` and puts others in until it has one solution again.

    The new solution, which may be another one, goes to `solution`. Where the solutions are few
    enough to list in `found`, a clue that only one of them has makes the puzzle unique, and no
    further search is needed to know that. Where they are more, clues of a random one of them
    narrow them down first. Returns False where the puzzle had no solution left to choose.
    """
    cells = puzzle.shape[0]
    n = geometry[1].shape[1]
    limit = found.shape[0]
    barred = np.zeros(cells, np.bool_)
    for _ in range(swaps):
        clues = 0
        for cell in range(cells):
            clues += puzzle[cell] > 0
        if clues == 0:
            return False
        pick = _below(rng, clues)
        for cell in range(cells):
            if puzzle[cell] > 0:
                if pick == 0:
                    puzzle[cell] = 0
                    barred[cell] = True
                    break
                pick -= 1
    tally = np.empty((cells, n + 1), np.int64)
    while True:
        count, _ = _search(puzzle, _NONE, _ZERO, limit, _NO_CAP, found, work, geometry, _ONE, rng)
        if count == 0:
            return False
        if count == 1:
            solution[:] = found[0]
            return True
        few = count < limit
        tally[:] = 0
        for j in range(count):
            for cell in range(cells):
                tally[cell, found[j, cell]] += 1
        options = 0
        chosen = -1
        for cell in range(cells):
            if puzzle[cell] > 0 or barred[cell]:
                continue
            for digit in range(1, n + 1):
                size = tally[cell, digit]
                if size == 1 if few else 0 < size < count:
                    options += 1
                    if _below(rng, options) == 0:
                        chosen = cell * (n + 1) + digit
        if chosen < 0:
            if not few:
                return False
            # No single clue will do: take any that rules some solution out.
            for cell in range(cells):
                if puzzle[cell] == 0 and tally[cell, found[0, cell]] < count:
                    options += 1
                    if _below(rng, options) == 0:
                        chosen = cell * (n + 1) + found[0, cell]
        cell, digit = chosen // (n + 1), chosen % (n + 1)
        puzzle[cell] = digit
        if few:
            for j in range(count):
                if found[j, cell] == digit:
                    solution[:] = found[j]
            if tally[cell, digit] == 1:
                return True


@njit(cache=True, nogil=True)
def _harden_all(
    puzzles: Any,
    solutions: Any,
    ratings: Any,
    prints: Any,
    fresh: Any,
    first_round: Any,
    rounds: Any,
    seed: Any,
    temperature: Any,
    ceiling: Any,
    reach: Any,
    repeats: Any,
    box_rows: Any,
    box_cols: Any,
    geometry: Any,
) -> None:
    """See `harden` and `HardPool`; changes its arrays in place. A negative rating is not known."""
    total, cells = puzzles.shape
    work = _workspace(geometry)
    rng = np.zeros(1, np.uint64)
    order = np.empty(cells, np.uint8)
    puzzle = np.empty(cells, np.uint8)
    solution = np.empty(cells, np.uint8)
    image = np.empty(cells, np.uint8)
    fine = np.int64(1 << 30)
    found = np.empty((_MOST_SOLUTIONS, cells), np.uint8)
    base = np.empty(cells, np.uint64)
    colour = np.empty(cells, np.uint64)
    sums = np.empty(6 * geometry[1].shape[1] + 1, np.uint64)
    for i in range(total):
        if ratings[i] < 0:
            ratings[i] = _rate(
                puzzles[i], image, repeats, seed, box_rows, box_cols, work, geometry, rng
            )
    # By probing they are as often harder: a parent two rounds short of its victim is worth a try.
    slack = 0.0 if repeats else 2.0
    for k in range(first_round, first_round + rounds):
        for i in range(total):
            _start(rng, _mix(_mix(seed) + np.uint64(k)), i)
            victim = i
            if reach > 0:
                victim = (i + _below(rng, 2 * reach + 1) - reach + total) % total
            # Metropolis on the logarithm of the rating; the bar is drawn before the work is done.
            bar = min(ratings[victim], ceiling) + 1.0
            if temperature > 0:
                bar *= ((_below(rng, fine) + 1) / fine) ** temperature
            if min(ratings[i], ceiling) + 1.0 < bar - slack:
                continue  # children are mostly easier than their parents
            puzzle[:] = puzzles[i]
            swaps = 1 + (_below(rng, np.int64(4)) == 0)
            if not _swap_clues(puzzle, solution, swaps, found, work, geometry, rng):
                continue
            for cell in range(cells):
                order[cell] = cell
            _shuffle(rng, order, cells)
            rate_seed = _mix(rng[0])
            if repeats:
                rating = _rate(
                    puzzle, image, _ONE, rate_seed, box_rows, box_cols, work, geometry, rng
                )
                if rating + 1.0 < 0.5 * bar:
                    continue  # a hopeless one is not worth the cost of making it minimal
            _minimise(puzzle, solution, order, _NO_CAP, work, geometry, rng)
            rating = _rate(
                puzzle, image, repeats, rate_seed, box_rows, box_cols, work, geometry, rng
            )
            if rating + 1.0 < bar:
                continue
            mark = _fingerprint(puzzle, base, colour, sums, box_rows, box_cols)
            known = False
            for j in range(total if reach > 0 else 0):
                known = known or prints[j] == mark
            if known:
                continue  # a pool that let images of one puzzle in would fill up with them
            puzzles[victim] = puzzle
            solutions[victim] = solution
            ratings[victim] = rating
            prints[victim] = mark
            fresh[victim] = True


def _check_climb(
    temperature: float, ceiling: float, reach: int, repeats: int, rating: str
) -> tuple[float, float, int, int]:
    """The four numbers, checked; no repeats stand for a rating by probing."""
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be finite and at least 0, got {temperature!r}")
    if not ceiling >= 0:
        raise ValueError(f"ceiling must be at least 0, got {ceiling!r}")
    reach = _check_at_least("reach", reach, 0)
    if rating not in ("guesses", "probing"):
        raise ValueError(f"rating must be 'guesses' or 'probing', got {rating!r}")
    repeats = 0 if rating == "probing" else _check_at_least("repeats", repeats, 1)
    return float(temperature), float(ceiling), reach, repeats


def harden(
    puzzles: Any,
    solutions: Any,
    *,
    box: tuple[int, int] = (3, 3),
    seed: int,
    rounds: int = 100,
    temperature: float = 0.0,
    ceiling: float = float("inf"),
    reach: int = 0,
    repeats: int = 4,
    rating: Literal["guesses", "probing"] = "guesses",
) -> tuple[Boards, Boards, NDArray[np.float64]]:
    """Climbs from puzzles to harder ones by moving clues.

    Each round takes one clue (sometimes two) out of every puzzle, puts others in that make the
    solution unique again, takes out what became redundant, and keeps the child unless it is rated
    easier. The solution may change along the way. Puzzles stay unique, and a changed one is
    minimal.

    Args:
        puzzles: (N, cells) integers, each with one solution.
        solutions: (N, cells) integers, those solutions.
        box: shape of a box.
        seed: drives everything; with ``reach=0`` puzzle ``i`` depends on the seed, on ``i`` and on
            its own start alone.
        rounds: how many moves to try for each puzzle.
        temperature: 0 never accepts an easier child; above, a child whose ``rating + 1`` is lower
            by a factor f is accepted with probability ``f ** (1 / temperature)``.
        ceiling: ratings from here on count as equal, which makes a random walk among hard puzzles
            of what would be a climb to ever harder, slower and rarer ones.
        reach: 0 lets a child replace its parent only. Otherwise puzzles stand in a ring, and a
            child replaces a random neighbour at a distance of up to `reach`, if it is no easier
            than that one and no symmetric image of any puzzle there. This climbs much faster,
            since good puzzles spread, at the cost that neighbours are related.
        repeats: how many random images a rating by guesses averages over; noise lets easy puzzles
            in.
        rating: what is climbed in: the ratings of `rate`, or those of `probe`. By guesses, a few
            hundred rounds lead to what a plain search finds hard, and lookahead easy. By probing,
            a pool reaches puzzles that no lookahead solves after some eight hundred.

    Returns:
        ``puzzles`` and ``solutions``, each (N, cells) uint8, and ``ratings`` (N,) float64 as seen
        on the way (kept ratings by guesses were lucky draws: `rate` gives fair, somewhat lower
        ones).

    Raises:
        ValueError: on a wrong argument, or puzzles that don't have exactly the solution given.
    """
    box = _check_box(box)
    left, right = _check_pairs(puzzles, solutions, box)
    temperature, ceiling, reach, repeats = _check_climb(
        temperature, ceiling, reach, repeats, rating
    )
    counts, _, found = solve_count(left, box)
    wrong = np.flatnonzero((counts != 1) | (found != right).any(axis=1))
    if wrong.size:
        raise ValueError(
            f"puzzles must have exactly the solution given; {wrong.size} don't, "
            f"the first at index {wrong[0]}"
        )
    left, right = left.copy(), right.copy()
    ratings = np.full(len(left), -1.0)
    _harden_all(
        left,
        right,
        ratings,
        fingerprint(left, box),
        np.zeros(len(left), np.bool_),
        0,
        _check_at_least("rounds", rounds, 0),
        _check_seed(seed),
        temperature,
        ceiling,
        min(reach, (len(left) - 1) // 2),
        repeats,
        box[0],
        box[1],
        _geometry(box),
    )
    return left, right, ratings


class HardPool:
    """A pool of puzzles that gets harder as it is drawn from: an endless stream of hard puzzles.

    It starts from random minimal puzzles and advances by the moves of `harden` with ``reach > 0``.
    `draw` gives out members that have changed since they were last given out, each under a random
    symmetry, and advances the pool when there are none. No two members are symmetric images of
    each other, but successive members are related by moved clues; a `lifetime`, a larger pool, and
    a lower `ceiling` give more variety. A model learns a pool without a lifetime by heart.

    The arrays ``puzzles`` and ``solutions`` (size, cells) uint8 and ``ratings`` (size,) float64
    may be read at any time. Equal arguments and equal calls give equal puzzles, also across
    `state` and `from_state`.

    Args:
        size: how many puzzles to keep.
        box: shape of a box.
        seed: drives everything.
        lifetime: rounds after which a member gives its place to a new random minimal puzzle; the
            members' ages are spread evenly from the start. None: members stay.
        temperature, ceiling, reach, repeats, rating: see `harden`.

    Raises:
        ValueError: on a wrong argument.
    """

    def __init__(
        self,
        size: int = 500,
        box: tuple[int, int] = (3, 3),
        *,
        seed: int,
        lifetime: int | None = None,
        temperature: float = 0.0,
        ceiling: float = float("inf"),
        reach: int = 10,
        repeats: int = 4,
        rating: Literal["guesses", "probing"] = "guesses",
    ) -> None:
        size = _check_at_least("size", size, 1)
        if lifetime is not None:
            lifetime = _check_at_least("lifetime", lifetime, 1)
        self.lifetime = lifetime
        self.box = _check_box(box)
        self.seed = int(_check_seed(seed))
        self.temperature, self.ceiling, reach, self.repeats = _check_climb(
            temperature, ceiling, reach, repeats, rating
        )
        self.reach = min(reach, (size - 1) // 2)
        self.rounds = 0
        self.drawn = 0
        self.renewed = 0
        self._born = -_ages(size, lifetime)
        self.puzzles, self.solutions = generate(size, self.box, seed=seed)
        self.ratings: NDArray[np.float64] = np.full(size, -1.0)
        self._prints = fingerprint(self.puzzles, self.box)
        self._fresh: NDArray[np.bool_] = np.ones(size, np.bool_)
        self.advance(0)  # rates the members

    def __len__(self) -> int:
        return len(self.puzzles)

    def advance(self, rounds: int = 1) -> None:
        """Tries `rounds` moves for every member, and renews those whose time is up."""
        rounds = _check_at_least("rounds", rounds, 0)
        if self.lifetime is None:
            self._harden(rounds)
            return
        for _ in range(rounds):
            self._harden(1)
            old = np.flatnonzero(self.rounds - self._born >= self.lifetime)
            if len(old):
                self._renew(old)

    def _renew(self, members: NDArray[np.int64]) -> None:
        """Puts new random minimal puzzles in the places of these members."""
        # A stream apart from those of the first puzzles, the moves and the draws.
        seed = (self.seed ^ 0xBB67AE8584CAA73B) + self.renewed
        puzzles, solutions = generate(len(members), self.box, seed=seed & (2**64 - 1))
        self.puzzles[members], self.solutions[members] = puzzles, solutions
        self._prints[members] = fingerprint(puzzles, self.box)
        self.ratings[members] = -1.0
        self._fresh[members] = True
        self._born[members] = self.rounds
        self.renewed += len(members)
        self._harden(0)  # rates them

    def _harden(self, rounds: int) -> None:
        _harden_all(
            self.puzzles,
            self.solutions,
            self.ratings,
            self._prints,
            self._fresh,
            self.rounds,
            rounds,
            np.uint64(self.seed),
            self.temperature,
            self.ceiling,
            self.reach,
            self.repeats,
            self.box[0],
            self.box[1],
            _geometry(self.box),
        )
        self.rounds += rounds

    def draw(
        self, n: int, *, least: float = 0.0, patience: int = 100
    ) -> tuple[Boards, Boards, NDArray[np.float64]]:
        """Gives out `n` puzzles, advancing the pool as far as needed.

        Args:
            n: how many.
            least: give out only members rated at least so.
            patience: after so many rounds in a row without a new member, old ones are given out
                once more, under other symmetries; this bounds the time where a pool is stuck.

        Returns:
            ``puzzles`` and ``solutions``, each (n, cells) uint8, and ``ratings`` (n,) float64.

        Raises:
            ValueError: on a wrong `n` or `patience`, or where `patience` runs out with no member
                rated at `least`.
        """
        n = _check_at_least("n", n, 0)
        patience = _check_at_least("patience", patience, 1)
        cells = self.puzzles.shape[1]
        puzzles = np.empty((n, cells), np.uint8)
        solutions = np.empty((n, cells), np.uint8)
        ratings = np.empty(n, np.float64)
        done = 0
        waited = 0
        while done < n:
            ready = self._fresh & (self.ratings >= least)
            if not ready.any() and waited < patience:
                self.advance(1)
                waited += 1
                continue
            if not ready.any():
                ready = self.ratings >= least
                if not ready.any():
                    raise ValueError(
                        f"no puzzle rated {least!r} or more after {patience} rounds; the hardest "
                        f"is at {self.ratings.max():.1f}: lower least, or advance the pool"
                    )
            waited = 0
            members = np.flatnonzero(ready)[: n - done]
            span = slice(done, done + len(members))
            # A stream apart from that of the moves, counted by puzzles drawn so far.
            puzzles[span], solutions[span] = _augment_all(
                self.puzzles[members],
                self.solutions[members],
                self.box[0],
                self.box[1],
                np.uint64(self.seed ^ 0x6A09E667F3BCC909),
                self.drawn,
            )
            ratings[span] = self.ratings[members]
            self._fresh[members] = False
            self.drawn += len(members)
            done += len(members)
        return puzzles, solutions, ratings

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays, copies, fit for ``numpy.savez``; `from_state` brings it back."""
        return {
            "puzzles": self.puzzles.copy(),
            "solutions": self.solutions.copy(),
            "ratings": self.ratings.copy(),
            "prints": self._prints.copy(),
            "fresh": self._fresh.copy(),
            "box": np.array(self.box, np.int64),
            "seed": np.array(self.seed, np.uint64),
            "climb": np.array([self.temperature, self.ceiling], np.float64),
            "counters": np.array([self.reach, self.repeats, self.rounds, self.drawn], np.int64),
            "born": self._born.copy(),
            "renewal": np.array([self.lifetime or 0, self.renewed], np.int64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> HardPool:
        """A pool that goes on where `state` was taken.

        Raises:
            ValueError: where an entry is missing or does not fit.
        """
        missing = _STATE_KEYS - set(state)
        if missing:
            raise ValueError(f"the state of a HardPool lacks {sorted(missing)}")
        pool = cls.__new__(cls)
        box = np.asarray(state["box"])
        pool.box = _check_box((int(box[0]), int(box[1])))
        puzzles, solutions = _check_pairs(state["puzzles"], state["solutions"], pool.box)
        pool.puzzles, pool.solutions = puzzles.copy(), solutions.copy()
        pool.ratings = np.array(state["ratings"], np.float64)
        pool._prints = np.array(state["prints"], np.uint64)
        pool._fresh = np.array(state["fresh"], np.bool_)
        for name in ("ratings", "prints", "fresh", "born"):
            if np.shape(state[name]) != (len(puzzles),):
                raise ValueError(
                    f"{name} must have shape ({len(puzzles)},), got {np.shape(state[name])}"
                )
        pool.seed = int(_check_seed(int(state["seed"])))
        temperature, ceiling = (float(value) for value in state["climb"])
        reach, repeats, pool.rounds, pool.drawn = (int(value) for value in state["counters"])
        pool.temperature, pool.ceiling, pool.reach, pool.repeats = _check_climb(
            temperature, ceiling, reach, repeats, "guesses" if repeats else "probing"
        )
        lifetime, pool.renewed = (int(value) for value in state["renewal"])
        pool.lifetime = lifetime or None
        pool._born = np.array(state["born"], np.int64)
        return pool


def _ages(size: int, lifetime: int | None) -> NDArray[np.int64]:
    """What ages the members of a new pool are given: spread over the lifetime, so that they do not
    all go at once."""
    return np.arange(size, dtype=np.int64) * (lifetime or 0) // size


_STATE_KEYS = frozenset(
    {
        "puzzles",
        "solutions",
        "ratings",
        "prints",
        "fresh",
        "box",
        "seed",
        "climb",
        "counters",
        "born",
        "renewal",
    }
)
