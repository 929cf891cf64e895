"""Generate random puzzles: a full grid that loses clues while its solution stays unique."""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import ONE, ZERO, kernel
from trm_sdk.domains.kernels.splitmix import below, shuffle, start_stream
from trm_sdk.domains.sudoku.engine.arguments import (
    checked_geometry,
    checked_integer,
    checked_range,
    checked_seed,
)
from trm_sdk.domains.sudoku.engine.geometry import Boards, Groups
from trm_sdk.domains.sudoku.engine.search import NO_CAP, NO_CELL, search, workspace
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

#: Searches for a full grid of groups after which there is taken to be none.
_RESTARTS = 10_000


@kernel
def fill_grid(
    grid: Any,
    attempts: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> Any:
    """Write a random full grid into `grid` (1, cells); return whether one was found.

    Near to uniform, though not exactly: units that don't see each other (the boxes on a diagonal)
    are filled outright; a search in random order does the rest, and after a hundred failed guesses
    it is cheaper to start again.
    """
    units, apart = geometry[1], geometry[4]
    n = units.shape[1]
    start = np.empty(grid.shape[1], np.uint8)
    digits = np.empty(n, np.uint8)
    for k in range(n):
        digits[k] = k + 1
    for _ in range(attempts):
        start[:] = 0
        for unit in apart:
            shuffle(rng, digits, n)
            for k in range(n):
                start[units[unit, k]] = digits[k]
        count, _ = search(start, NO_CELL, ZERO, ONE, np.int64(100), grid, work, geometry, ONE, rng)
        if count > 0:
            return True
    return False


@kernel
def _is_forced(puzzle: Any, cell: Any, digit: Any, used: Any, geometry: Any) -> Any:
    """Return whether the givens force `digit` into the blank `cell` as a naked or hidden single.

    `used[unit]` is the set of digits given in a unit. Most clues that can go are of this kind, and
    seeing so costs a tenth of a search.
    """
    units, cell_units = geometry[1], geometry[3]
    n = units.shape[1]
    kinds = cell_units.shape[1]
    bit = 1 << (np.int64(digit) - 1)
    seen = np.int64(0)
    for kind in range(kinds):
        seen |= used[cell_units[cell, kind]]
    if seen | bit == (1 << n) - 1:
        return True
    for kind in range(kinds):
        unit = cell_units[cell, kind]
        alone = True
        for k in range(n):
            other = units[unit, k]
            if other == cell or puzzle[other] > 0:
                continue
            seen = np.int64(0)
            for one in range(kinds):
                seen |= used[cell_units[other, one]]
            if not bit & seen:
                alone = False
                break
        if alone:
            return True
    return False


@kernel
def minimise(
    puzzle: Any,
    solution: Any,
    order: Any,
    cap: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> None:
    """Take clues out in the given order while the solution stays unique.

    A clue that is needed now is needed for good, since fewer clues only mean more solutions. So
    one look at each clue suffices, and it asks only for a solution with another digit there.
    """
    cell_units = geometry[3]
    kinds = cell_units.shape[1]
    used = work[3]
    nowhere = np.empty((0, puzzle.shape[0]), np.uint8)
    used[:] = 0
    for cell in range(puzzle.shape[0]):
        if puzzle[cell] > 0:
            for kind in range(kinds):
                used[cell_units[cell, kind]] |= 1 << (np.int64(puzzle[cell]) - 1)
    for k in range(order.shape[0]):
        cell = np.int64(order[k])  # type: ignore[assignment]
        if puzzle[cell] == 0:
            continue
        digit = solution[cell]
        bit = 1 << (np.int64(digit) - 1)
        puzzle[cell] = 0
        for kind in range(kinds):
            used[cell_units[cell, kind]] &= ~bit
        if _is_forced(puzzle, cell, digit, used, geometry):
            continue
        count, _ = search(
            puzzle, cell, np.int64(digit), ONE, cap, nowhere, work, geometry, ZERO, rng
        )
        if count != 0:
            puzzle[cell] = digit
            for kind in range(kinds):
                used[cell_units[cell, kind]] |= bit


@kernel
def reduce_grid(
    puzzle: Any, solution: Any, order: Any, cap: Any, work: Any, geometry: Any, rng: Any
) -> None:
    """Write a minimal puzzle of a full grid to `puzzle`; `order` is scratch."""
    puzzle[:] = solution
    for cell in range(puzzle.shape[0]):
        order[cell] = cell
    shuffle(rng, order, puzzle.shape[0])
    minimise(puzzle, solution, order, cap, work, geometry, rng)


@kernel
def put_back(puzzle: Any, solution: Any, order: Any, missing: Any, rng: Any) -> None:
    """Put so many clues back, as far as cells are blank; `order` holds the cells in any order."""
    cells = puzzle.shape[0]
    shuffle(rng, order, cells)
    for k in range(cells):
        if missing == 0:
            break
        if puzzle[order[k]] == 0:
            puzzle[order[k]] = solution[order[k]]
            missing -= 1


@kernel
def _generate_boards(
    total: Any,
    seed: Any,
    low: Any,
    high: Any,
    absolute: Any,
    attempts: Any,
    restarts: Any,
    cap: Any,
    geometry: Any,
) -> Any:
    """Fill in boards for `generate`; return how many, short of `total` where attempts ran out.

    `low` to `high` are givens in all where `absolute`, else clues added back. -1: no full grid was
    found in so many `restarts`.
    """
    cells = geometry[0].shape[0]
    puzzles = np.zeros((total, cells), np.uint8)
    solutions = np.zeros((total, cells), np.uint8)
    work = workspace(geometry)
    rng = np.zeros(1, np.uint64)
    order = np.empty(cells, np.uint8)
    for i in range(total):
        start_stream(rng, seed, i)
        wanted = low + below(rng, high - low + 1)
        tries = 0
        while True:
            if not fill_grid(solutions[i : i + 1], restarts, work, geometry, rng):
                return -1, puzzles, solutions
            reduce_grid(puzzles[i], solutions[i], order, cap, work, geometry, rng)
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
        put_back(puzzles[i], solutions[i], order, missing, rng)
    return total, puzzles, solutions


def checked_effort(effort: int | None, side: int) -> int:
    """Return a bound on failed guesses, or the default for boards of so many digits."""
    if effort is None:
        effort = int(NO_CAP) if side <= 9 else 200
    return checked_integer("effort", effort, 0)


def generate(
    n: int,
    box: tuple[int, int] = (3, 3),
    *,
    seed: int,
    clues_added: tuple[int, int] = (0, 0),
    givens: tuple[int, int] | None = None,
    attempts: int = 1000,
    effort: int | None = None,
    groups: Groups | None = None,
) -> tuple[Boards, Boards]:
    """Generate random puzzles with exactly one solution.

    Each starts as a random full grid, loses clues in random order for as long as the solution
    stays unique, and so ends minimal: every clue left is needed. Then a random number of clues is
    put back.

    Parameters
    ----------
    n : int
        Number of puzzles.
    box : (int, int)
        Shape of a box. Default 3 x 3.
    seed : int
        From 0 to 2**64 - 1. Puzzle ``i`` depends on the seed and on ``i``, not on `n`.
    clues_added : (int, int)
        Inclusive range of the number of clues put back, drawn uniformly. Default none.
    givens : (int, int), optional
        Inclusive range of the number of clues in all, drawn uniformly; instead of `clues_added`.
        A minimal puzzle with more clues than drawn is thrown away. A minimal 9x9 puzzle has 24
        clues or so, rarely under 21.
    attempts : int
        Minimal puzzles to try for one number of givens. Default 1000.
    effort : int, optional
        Failed guesses after which a clue is kept as needed, so that a puzzle may be not quite
        minimal (it is always unique). By default unbounded up to 9x9, and 200 on larger boards,
        where a proof can take forever.
    groups : tuple of tuples of int, optional
        Sets of cells that hold every digit once, as many cells each as there are digits, in place
        of the rows, columns and boxes of `box`.

    Returns
    -------
    puzzles, solutions : uint8 arrays of shape (n, cells)

    Raises
    ------
    InvalidInputError
        If an argument has an invalid value, `attempts` did not suffice for `givens`, or no full
        grid was found for `groups`.
    """
    geometry, side = checked_geometry(box, groups)
    cells = side * side
    n = checked_integer("n", n, 0)
    attempts = checked_integer("attempts", attempts, 1)
    low, high = checked_range("clues_added", clues_added, cells)
    if givens is not None:
        if (low, high) != (0, 0):
            raise InvalidInputError(
                "only one of clues_added and givens may be set; got "
                f"{shown(clues_added)} and {shown(givens)}"
            )
        low, high = checked_range("givens", givens, cells)
    cap = checked_effort(effort, side)
    absolute, restarts = givens is not None, NO_CAP if groups is None else _RESTARTS
    done, puzzles, solutions = _generate_boards(
        n, checked_seed(seed), low, high, absolute, attempts, restarts, cap, geometry
    )
    if done < 0:
        raise InvalidInputError(f"no full grid found for these groups in {_RESTARTS} attempts")
    if done < n:
        raise InvalidInputError(
            f"no puzzle with {low} to {high} givens found in {attempts} attempts: "
            "ask for more givens, or raise attempts"
        )
    return puzzles, solutions
