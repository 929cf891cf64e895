"""Rate how hard puzzles are: by the failed guesses of a search, or by what a lookahead leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_sdk.domains.kernels.compilation import ONE, TWO, ZERO, kernel
from trm_sdk.domains.kernels.splitmix import start_stream
from trm_sdk.domains.sudoku.engine.arguments import (
    checked_boards,
    checked_box,
    checked_integer,
    checked_seed,
)
from trm_sdk.domains.sudoku.engine.geometry import board_geometry
from trm_sdk.domains.sudoku.engine.search import (
    NO_CAP,
    NO_CELL,
    lay_out,
    propagate,
    search,
    workspace,
)
from trm_sdk.domains.sudoku.engine.symmetry import apply_symmetry, draw_symmetry


@kernel
def _surplus(masks: Any, level: Any) -> Any:
    """Count the digits still possible beyond one per cell."""
    surplus = 0
    for cell in range(masks.shape[1]):
        rest = masks[level, cell]
        rest &= rest - 1
        while rest:
            surplus += 1
            rest &= rest - 1
    return surplus


@kernel
def probe_board(board: Any, work: Any, geometry: Any) -> Any:
    """Rate one board; see `probe`.

    Level 0 of `work` holds the start of a round, level 1 a trial, level 2 the end of the round.
    """
    masks, _, queue, _ = work
    units, unit_bits = geometry[1], geometry[2]
    cells = board.shape[0]
    queued = lay_out(board, masks, queue, geometry)
    every = (np.int64(1) << units.shape[0]) - 1
    if not propagate(masks, ZERO, queue, queued, every, geometry):
        return 0.0
    rounds = 0
    first = 0.0
    while True:
        surplus = _surplus(masks, ZERO)
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
                if not propagate(masks, ONE, queue, ONE, unit_bits[cell], geometry):
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
        if not propagate(masks, ZERO, queue, queued, every, geometry):
            return 0.0


@kernel
def _probe_boards(boards: Any, geometry: Any) -> Any:
    ratings = np.empty(boards.shape[0], np.float64)
    work = workspace(geometry)
    for i in range(boards.shape[0]):
        ratings[i] = probe_board(boards[i], work, geometry)
    return ratings


def probe(boards: Any, box: tuple[int, int] = (3, 3)) -> NDArray[np.float64]:
    """Rate how hard puzzles are for whoever looks one guess ahead, where `rate` counts guesses.

    A round tries every digit that singles leave possible, one at a time, and strikes out those that
    singles then refute. Puzzles for which `rate` counts hundreds of guesses mostly fall in the
    first round; those collected as the hardest known do not fall at all. It is this rating that
    says which puzzles a recursive network finds hard.

    Parameters
    ----------
    boards : int array of shape (N, cells)
        Puzzles with one solution (rated 0 where there is none), 0 for a blank.
    box : (int, int)
        Shape of a box. Default 3 x 3.

    Returns
    -------
    float64 array of shape (N,)
        0: singles solve the puzzle. Below 1: one round does, and the fewer of the wrong digits it
        strikes out, the closer to 1. From 1 on: two rounds do; and so
        on. From the number of cells on: no number of rounds does; that number, plus a tenth of the
        digits left beyond one per cell. Symmetric images are rated alike.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid shape, dtype or value.
    """
    box = checked_box(box)
    ratings: NDArray[np.float64] = _probe_boards(checked_boards(boards, box), board_geometry(box))
    return ratings


@kernel
def rate_board(
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
    """Rate one board as `rate` does, or with 0 repeats as `probe` does, which needs none."""
    if repeats == 0:
        return probe_board(board, work, geometry)
    n = box_rows * box_cols
    rows = np.empty(n, np.int64)
    cols = np.empty(n, np.int64)
    digits = np.empty(n + 1, np.uint8)
    nowhere = np.empty((0, n * n), np.uint8)
    total = 0
    for k in range(repeats):
        start_stream(rng, seed, k)
        transposed = draw_symmetry(rng, rows, cols, digits, box_rows, box_cols)
        apply_symmetry(board, image, rows, cols, digits, transposed)
        _, failed = search(image, NO_CELL, ZERO, TWO, NO_CAP, nowhere, work, geometry, ZERO, rng)
        total += failed
    return total / repeats


@kernel
def _rate_boards(
    boards: Any, repeats: Any, seed: Any, box_rows: Any, box_cols: Any, geometry: Any
) -> Any:
    total, cells = boards.shape
    ratings = np.empty(total, np.float64)
    image = np.empty(cells, np.uint8)
    work = workspace(geometry)
    rng = np.zeros(1, np.uint64)
    for i in range(total):
        ratings[i] = rate_board(
            boards[i], image, repeats, seed, box_rows, box_cols, work, geometry, rng
        )
    return ratings


def rate(
    boards: Any, box: tuple[int, int] = (3, 3), repeats: int = 8, seed: int = 0
) -> NDArray[np.float64]:
    """Rate how hard puzzles are by the failed guesses of a plain search, over random symmetries.

    The search is that of `solve_count`, which uses no deductions beyond naked and hidden singles.
    A single count depends on which of several equally good cells the search happens to branch
    on; the mean of 8 is steady to a fifth or so. 0 means that singles solve the puzzle.

    Parameters
    ----------
    boards : int array of shape (N, cells)
        Puzzles with one solution (else the count is cut short at the second), 0 for a blank.
    box : (int, int)
        Shape of a box. Default 3 x 3.
    repeats : int
        Random images of a board to solve. Default 8.
    seed : int
        Draws the symmetries, the same ones for every board. Default 0.

    Returns
    -------
    float64 array of shape (N,)
        Mean number of failed guesses.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid shape, dtype or value.
    """
    box = checked_box(box)
    array = checked_boards(boards, box)
    repeats = checked_integer("repeats", repeats, 1)
    ratings: NDArray[np.float64] = _rate_boards(
        array, repeats, checked_seed(seed), box[0], box[1], board_geometry(box)
    )
    return ratings
