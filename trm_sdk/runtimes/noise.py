"""Gaussian noise for latent states, cheap enough to be added at every step."""

from __future__ import annotations

import math
import threading

import numpy as np

from trm_sdk.runtimes.base import Float32

_SMALLEST = 1 << 20
_SEED = 0x7A_B1E


class GaussianTable:
    """Standard-normal numbers, drawn once; a draw is a stretch of them from a random place.

    Drawing fresh normals for every row and step would cost a tenth of a small model's step; a
    stretch of a table costs a hundredth of that. Two draws share numbers only where their stretches
    happen to overlap, and then at shifted cells.

    Parameters
    ----------
    shape : tuple of int
        Of one draw. The table is at least 16 times as long (and at least 4 MB).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._draw = math.prod(shape)
        self._length = max(_SMALLEST, 16 * self._draw)
        self._table: Float32 | None = None
        self._lock = threading.Lock()

    def draw(self, rng: np.random.Generator) -> Float32:
        """Read-only float32 noise of `shape` and deviation 1; `rng` says which."""
        table = self._table
        if table is None:
            with self._lock:
                table = np.random.default_rng(_SEED).standard_normal(self._length, np.float32)
                table.flags.writeable = False
                self._table = table
        place = int(rng.integers(self._length - self._draw + 1))
        return table[place : place + self._draw].reshape(self.shape)
