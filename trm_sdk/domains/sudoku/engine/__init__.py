"""A Sudoku engine for making training data: solve, generate, rate, harden, augment, fingerprint.

Boards are two-dimensional arrays, one board per row: shape ``(N, cells)``, row-major, ``0`` for a
blank and ``1..n`` for a digit, where ``n = box_rows * box_cols`` and ``cells = n * n``. A *box* is
given by its shape ``(box_rows, box_cols)``: ``(2, 2)`` is 4x4 Sudoku, ``(2, 3)`` is 6x6, ``(3, 3)``
is 9x9 and ``(4, 4)`` is 16x16. Variants state other groups of cells in its place.

Everything random takes a seed, and item ``i`` of a batch draws from a stream of its own made of
``(seed, i)``. So a seed gives the same boards on every machine, and the first ``k`` boards do not
depend on how many more were asked for.

The inner loops are compiled by numba on first use and cached on disk where that is possible. They
release the GIL and use one core; run several processes or threads with different seeds to use more.
"""

from __future__ import annotations

from trm_sdk.domains.sudoku.engine.fingerprints import fingerprint
from trm_sdk.domains.sudoku.engine.generation import generate
from trm_sdk.domains.sudoku.engine.jigsaw import generate_jigsaws
from trm_sdk.domains.sudoku.engine.pool import HardPool
from trm_sdk.domains.sudoku.engine.rating import probe, rate
from trm_sdk.domains.sudoku.engine.search import solve_count
from trm_sdk.domains.sudoku.engine.symmetry import augment

__all__ = [
    "HardPool",
    "augment",
    "fingerprint",
    "generate",
    "generate_jigsaws",
    "probe",
    "rate",
    "solve_count",
]
