"""Generate jigsaw puzzles: boards whose regions are drawn at random, one set of them a puzzle."""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.kernels.splitmix import below, start_stream
from trm_sdk.domains.sudoku.engine.arguments import (
    MAX_DIGITS,
    checked_integer,
    checked_range,
    checked_seed,
)
from trm_sdk.domains.sudoku.engine.generation import (
    checked_effort,
    fill_grid,
    put_back,
    reduce_grid,
)
from trm_sdk.domains.sudoku.engine.geometry import Boards, Groups, group_geometry
from trm_sdk.domains.sudoku.engine.search import workspace
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

#: Searches for a full grid after which other regions are drawn: some have none, or nearly so.
_RESTARTS = 10


@kernel
def _is_connected(regions: Any, region: Any, n: Any, stack: Any, seen: Any) -> Any:
    """Return whether the n cells of a region hang together by their sides."""
    first = 0
    while regions[first] != region:
        first += 1
    seen[:] = False
    seen[first] = True
    stack[0] = first
    waiting = 1
    found = 0
    while waiting > 0:
        waiting -= 1
        cell = stack[waiting]
        found += 1
        row, column = cell // n, cell % n
        for side in range(4):
            down, right = (side == 0) - (side == 1), (side == 2) - (side == 3)
            if 0 <= row + down < n and 0 <= column + right < n:
                other = cell + down * n + right
                if regions[other] == region and not seen[other]:
                    seen[other] = True
                    stack[waiting] = other
                    waiting += 1
    return found == n


@kernel
def _touches(regions: Any, cell: Any, region: Any, n: Any, but: Any) -> Any:
    """Return whether a neighbour of a cell, other than the cell `but`, is in a region."""
    row, column = cell // n, cell % n
    for side in range(4):
        down, right = (side == 0) - (side == 1), (side == 2) - (side == 3)
        if 0 <= row + down < n and 0 <= column + right < n:
            other = cell + down * n + right
            if other != but and regions[other] == region:
                return True
    return False


@kernel
def _shuffle_regions(regions: Any, n: Any, swaps: Any, rng: Any) -> None:
    """Try so many random exchanges of two cells between regions that touch.

    A cell goes to a region beside it, and a random cell of that region comes back, wherever both
    still hang together.
    """
    cells = n * n
    stack = np.empty(cells, np.int64)
    seen = np.empty(cells, np.bool_)
    for _ in range(swaps):
        cell, side = below(rng, cells), below(rng, 4)
        row = cell // n + (side == 0) - (side == 1)
        column = cell % n + (side == 2) - (side == 3)
        if not (0 <= row < n and 0 <= column < n):
            continue
        mine, theirs = regions[cell], regions[row * n + column]
        if mine == theirs:
            continue
        back = -1
        options = 0
        for other in range(cells):
            if regions[other] == theirs and _touches(regions, other, mine, n, cell):
                options += 1
                if below(rng, options) == 0:
                    back = other
        if back < 0:
            continue
        regions[cell], regions[back] = theirs, mine
        if not (
            _is_connected(regions, mine, n, stack, seen)
            and _is_connected(regions, theirs, n, stack, seen)
        ):
            regions[cell], regions[back] = mine, theirs


@kernel
def _number_regions(regions: Any, n: Any) -> None:
    """Number regions from 0 in the order in which their first cells come."""
    names = np.full(n, -1, np.int64)
    known = 0
    for cell in range(n * n):
        if names[regions[cell]] < 0:
            names[regions[cell]] = known
            known += 1
        regions[cell] = names[regions[cell]]


@kernel
def _lay_regions(regions: Any, n: Any, geometry: Any) -> None:
    """Write the tables of rows, columns and these regions over those of `geometry`.

    A cell has at most ``3 * (n - 1)`` peers; the rest of its row in the table repeats one.
    """
    peers, units, unit_bits, cell_units, _ = geometry
    filled = np.zeros(n, np.int64)
    for cell in range(n * n):
        region = regions[cell]
        units[2 * n + region, filled[region]] = cell
        filled[region] += 1
        cell_units[cell, 2] = 2 * n + region
        unit_bits[cell] = np.int64(1) << (cell // n)
        unit_bits[cell] |= np.int64(1) << (n + cell % n)
        unit_bits[cell] |= np.int64(1) << (2 * n + region)
    for cell in range(n * n):
        count = 0
        for kind in range(3):
            for k in range(n):
                other = units[cell_units[cell, kind], k]
                # Region cells in the same row or column are there already.
                again = kind == 2 and (other // n == cell // n or other % n == cell % n)
                if other != cell and not again:
                    peers[cell, count] = other
                    count += 1
        while count < peers.shape[1]:
            peers[cell, count] = peers[cell, 0]
            count += 1


@kernel
def _generate_jigsaws(
    total: Any, first: Any, seed: Any, low: Any, high: Any, swaps: Any, cap: Any, geometry: Any
) -> Any:
    cells = geometry[0].shape[0]
    n = geometry[1].shape[1]
    puzzles = np.zeros((total, cells), np.uint8)
    solutions = np.zeros((total, cells), np.uint8)
    regions = np.zeros((total, cells), np.uint8)
    work = workspace(geometry)
    rng = np.zeros(1, np.uint64)
    order = np.empty(cells, np.uint8)
    for i in range(total):
        start_stream(rng, seed, i)
        missing = low + below(rng, high - low + 1)
        regions[i] = first
        _shuffle_regions(regions[i], n, swaps, rng)
        while True:
            _shuffle_regions(regions[i], n, cells, rng)
            _number_regions(regions[i], n)
            _lay_regions(regions[i], n, geometry)
            if fill_grid(solutions[i : i + 1], _RESTARTS, work, geometry, rng):
                break
        reduce_grid(puzzles[i], solutions[i], order, cap, work, geometry, rng)
        put_back(puzzles[i], solutions[i], order, missing, rng)
    return puzzles, solutions, regions


def generate_jigsaws(
    n: int,
    first: Any,
    *,
    seed: int,
    clues_added: tuple[int, int] = (0, 0),
    swaps: int | None = None,
    effort: int | None = None,
) -> tuple[Boards, Boards, Boards]:
    """Generate random jigsaws with exactly one solution, each with regions of its own.

    Regions come from `first` by exchanging cells between neighbours at random, so that each still
    hangs together. Regions for which no full grid is found soon are changed further.

    Parameters
    ----------
    n : int
        Number of puzzles.
    first : int array of shape (side, side)
        Regions to begin with, numbered from 0: as many as the board has rows, of as many connected
        cells.
    seed : int
        From 0 to 2**64 - 1. Puzzle ``i`` depends on the seed and on ``i``, not on `n`.
    clues_added : (int, int)
        Inclusive range of the number of clues put back into a minimal puzzle. Default none.
    swaps : int, optional
        Exchanges that are tried. Default: 20 a cell.
    effort : int, optional
        As in `generate`.

    Returns
    -------
    puzzles, solutions, regions : uint8 arrays of shape (n, cells)
        Regions are numbered from 0, in the order of their first cells.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid value.
    """
    start = np.asarray(first)
    side = len(start)
    if start.shape != (side, side) or not 3 <= side <= MAX_DIGITS:
        raise InvalidInputError(
            f"first must be regions of a square board of 3 to {MAX_DIGITS} rows; got {shown(first)}"
        )
    counts = np.bincount(start.reshape(-1), minlength=side)
    if start.min() < 0 or counts.tolist() != [side] * side:
        raise InvalidInputError(
            f"first must have {side} regions of {side} cells, numbered from 0; got sizes "
            f"{counts.tolist()}"
        )
    low, high = checked_range("clues_added", clues_added, side * side)
    swaps = 20 * side * side if swaps is None else checked_integer("swaps", swaps, 0)
    puzzles, solutions, regions = _generate_jigsaws(
        checked_integer("n", n, 0),
        start.reshape(-1).astype(np.uint8),
        checked_seed(seed),
        low,
        high,
        swaps,
        checked_effort(effort, side),
        _scratch(side),
    )
    return puzzles, solutions, regions


def _scratch(side: int) -> Any:
    """Tables of a board of this side, to be written over: with room for the most peers."""
    cells = np.arange(side * side).reshape(side, side)
    lines: Groups = tuple(map(tuple, np.concatenate((cells, cells.T, cells)).tolist()))
    peers, units, unit_bits, cell_units, apart = group_geometry(lines)
    wide = np.zeros((len(peers), 3 * (side - 1)), np.uint8)
    return wide, units.copy(), unit_bits.copy(), cell_units.copy(), apart.copy()


__all__ = ["generate_jigsaws"]
