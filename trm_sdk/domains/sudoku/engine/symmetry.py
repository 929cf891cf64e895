"""Map boards to their symmetric images.

A symmetry permutes bands, rows within a band, stacks, columns within a stack and digits, and may
transpose the board where boxes are square. It maps puzzles to puzzles and solutions to solutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import ONE, TWO, kernel
from trm_sdk.domains.kernels.splitmix import below, shuffle, start_stream
from trm_sdk.domains.sudoku.engine.arguments import checked_box, checked_pairs, checked_seed
from trm_sdk.domains.sudoku.engine.geometry import Boards


@kernel
def _draw_lines(rng: Any, lines: Any, group: Any) -> None:
    """Draw an order of rows (or columns) that keeps bands (or stacks) of `group` together."""
    n = lines.shape[0]
    bands = n // group
    order = np.arange(max(bands, group))
    shuffle(rng, order, bands)
    for band in range(bands):
        for k in range(group):
            lines[band * group + k] = order[band] * group + k
    for band in range(bands):
        shuffle(rng, lines[band * group : (band + 1) * group], group)


@kernel
def draw_symmetry(rng: Any, rows: Any, cols: Any, digits: Any, box_rows: Any, box_cols: Any) -> Any:
    """Draw line orders and names of digits; return whether to transpose."""
    n = rows.shape[0]
    _draw_lines(rng, rows, box_rows)
    _draw_lines(rng, cols, box_cols)
    for k in range(n + 1):
        digits[k] = k
    shuffle(rng, digits[1:], n)
    return box_rows == box_cols and below(rng, TWO) == ONE


@kernel
def apply_symmetry(
    board: Any, out: Any, rows: Any, cols: Any, digits: Any, transposed: Any
) -> None:
    """Write the image of `board` under one symmetry to `out`."""
    n = rows.shape[0]
    for i in range(n):
        for j in range(n):
            source = cols[j] * n + rows[i] if transposed else rows[i] * n + cols[j]
            out[i * n + j] = digits[board[source]]


@kernel
def _augment_boards(puzzles: Any, solutions: Any, box_rows: Any, box_cols: Any, seed: Any) -> Any:
    n = box_rows * box_cols
    new_puzzles = np.empty_like(puzzles)
    new_solutions = np.empty_like(solutions)
    rows = np.empty(n, np.int64)
    cols = np.empty(n, np.int64)
    digits = np.empty(n + 1, np.uint8)
    rng = np.zeros(1, np.uint64)
    for i in range(puzzles.shape[0]):
        start_stream(rng, seed, i)
        transposed = draw_symmetry(rng, rows, cols, digits, box_rows, box_cols)
        apply_symmetry(puzzles[i], new_puzzles[i], rows, cols, digits, transposed)
        apply_symmetry(solutions[i], new_solutions[i], rows, cols, digits, transposed)
    return new_puzzles, new_solutions


def augment(
    puzzles: Any, solutions: Any, *, box: tuple[int, int] = (3, 3), seed: int
) -> tuple[Boards, Boards]:
    """Apply a random symmetry to each puzzle, and the same one to its solution.

    Parameters
    ----------
    puzzles : int array of shape (N, cells)
        0 for a blank.
    solutions : int array of shape (N, cells)
    box : (int, int)
        Shape of a box; boards are transposed only where it is square. Default 3 x 3.
    seed : int
        From 0 to 2**64 - 1. The symmetry of pair ``i`` depends on the seed and on ``i`` alone.

    Returns
    -------
    puzzles, solutions : uint8 arrays of shape (N, cells)

    Raises
    ------
    InvalidInputError
        If an argument has an invalid shape, dtype or value.
    """
    box = checked_box(box)
    left, right = checked_pairs(puzzles, solutions, box)
    new_puzzles, new_solutions = _augment_boards(left, right, box[0], box[1], checked_seed(seed))
    return new_puzzles, new_solutions
