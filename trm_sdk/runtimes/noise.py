"""Gaussian noise for latent states, cheap enough to be added at every step."""

from __future__ import annotations

import math
import threading

import numpy as np

from trm_sdk.runtimes.base import Float32

_SMALLEST = 1 << 20
_SEED = 0x7A_B1E


class GaussianTable:
    """Standard-normal numbers, drawn once; a draw is a slice of them at a random offset.

    Drawing fresh normals for every row and step would cost a tenth of a small model's step; a slice
    of a table costs a hundredth of that. Two draws share numbers only where their slices overlap,
    and then at shifted cells.

    Parameters
    ----------
    shape : tuple of int
        Of one draw. The table is at least 16 times as long (and at least 4 MB).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.size = math.prod(shape)
        self._length = max(_SMALLEST, 16 * self.size)
        self._numbers: Float32 | None = None
        self._lock = threading.Lock()

    @property
    def numbers(self) -> Float32:
        """The table, float32 and read-only; drawn on first use."""
        if self._numbers is None:
            with self._lock:
                numbers = np.random.default_rng(_SEED).standard_normal(self._length, np.float32)
                numbers.flags.writeable = False
                self._numbers = numbers
        return self._numbers

    def place(self, rng: np.random.Generator) -> int:
        """Return the offset of the next slice of `size` numbers."""
        return int(rng.integers(self._length - self.size + 1))

    def draw(self, rng: np.random.Generator) -> Float32:
        """Return read-only noise of `shape`, of standard deviation 1."""
        place = self.place(rng)
        return self.numbers[place : place + self.size].reshape(self.shape)


class GaussianTables:
    """One `GaussianTable` per shape of state, made on first use."""

    def __init__(self) -> None:
        self._tables: dict[tuple[int, ...], GaussianTable] = {}

    def of(self, shape: tuple[int, ...]) -> GaussianTable:
        """Return the table for draws of this shape."""
        table = self._tables.get(shape)
        if table is None:
            table = self._tables.setdefault(shape, GaussianTable(shape))
        return table
