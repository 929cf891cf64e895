"""Hash boards so that symmetric images have equal hashes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.kernels.splitmix import mix
from trm_sdk.domains.sudoku.engine.arguments import checked_boards, checked_box


@kernel
def _refine(
    board: Any, colour: Any, sums: Any, rounds: Any, box_rows: Any, box_cols: Any, cells: Any
) -> Any:
    """Refine the colours of cells by those of their lines, bands, box and digit.

    Sums make the result independent of order, and with square boxes rows and columns are treated
    alike, so that transposing changes nothing. Return the sum of the mixed colours.
    """
    n = box_rows * box_cols
    tag = np.uint64(0) if box_rows == box_cols else np.uint64(0x5851F42D4C957F2D)
    rows, cols, boxes, bands, stacks, digits = 0, n, 2 * n, 3 * n, 4 * n, 5 * n
    for _ in range(rounds):
        sums[:] = np.uint64(0)
        for r in range(n):
            for c in range(n):
                cell = r * n + c
                mixed = mix(colour[cell])
                sums[rows + r] += mixed
                sums[cols + c] += mixed
                sums[boxes + r // box_rows * box_rows + c // box_cols] += mixed
                sums[digits + board[cell]] += mixed
        for k in range(n):
            sums[bands + k // box_rows] += mix(sums[rows + k])
            sums[stacks + k // box_cols] += mix(sums[cols + k])
        for k in range(3 * n):
            sums[k] = mix(sums[k])
        for r in range(n):
            row = mix(sums[rows + r] + tag + np.uint64(3) * sums[bands + r // box_rows])
            for c in range(n):
                cell = r * n + c
                col = mix(sums[cols + c] + np.uint64(3) * sums[stacks + c // box_cols])
                value = colour[cell] + row + col
                value += np.uint64(5) * sums[boxes + r // box_rows * box_rows + c // box_cols]
                if board[cell] > 0:
                    value += np.uint64(7) * mix(sums[digits + board[cell]])
                colour[cell] = mix(value)
    total = np.uint64(0)
    for cell in range(cells):
        total += mix(colour[cell])
    return total


@kernel
def fingerprint_board(
    board: Any, base: Any, colour: Any, sums: Any, box_rows: Any, box_cols: Any
) -> Any:
    """Return the hash of one board; `base`, `colour` and `sums` are scratch arrays."""
    cells = board.shape[0]
    for cell in range(cells):
        base[cell] = np.uint64(1) if board[cell] > 0 else np.uint64(2)
    value = _refine(board, base, sums, 3, box_rows, box_cols, cells)
    for cell in range(cells):
        if board[cell] > 0:
            colour[:] = base
            colour[cell] += np.uint64(0xA5A5A5A5)
            value += mix(_refine(board, colour, sums, 3, box_rows, box_cols, cells))
    return value


@kernel
def _fingerprint_boards(boards: Any, box_rows: Any, box_cols: Any) -> Any:
    total, cells = boards.shape
    result = np.empty(total, np.uint64)
    base = np.empty(cells, np.uint64)
    colour = np.empty(cells, np.uint64)
    sums = np.empty(6 * box_rows * box_cols + 1, np.uint64)
    for i in range(total):
        result[i] = fingerprint_board(boards[i], base, colour, sums, box_rows, box_cols)
    return result


def fingerprint(boards: Any, box: tuple[int, int] = (3, 3)) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each board that symmetric images share.

    Boards with different fingerprints are certainly no symmetric images of each other. Boards with
    equal ones almost certainly are, but for highly symmetric full grids (three of the 49 classes of
    6x6 grids share a hash). The hash refines the colours of cells by what shares a line, box or
    digit with them (after Weisfeiler and Leman, 1968), once for the board and once more for every
    clue singled out, since full grids look alike everywhere until a cell is singled out.

    Parameters
    ----------
    boards : int array of shape (N, cells)
        0 for a blank.
    box : (int, int)
        Shape of a box. Default 3 x 3.

    Returns
    -------
    uint64 array of shape (N,)

    Raises
    ------
    InvalidInputError
        If an argument has an invalid shape, dtype or value.
    """
    box = checked_box(box)
    result: NDArray[np.uint64] = _fingerprint_boards(checked_boards(boards, box), box[0], box[1])
    return result
