"""SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), since numpy's generators inside numba share one
hidden state.

A state is a uint64 array of one element. `start` points it at the stream of one item of a batch,
made of (seed, item) alone: an item does not depend on how many others are asked for, and is the
same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mix(z: Any) -> Any:
    """Return 64 bits that depend on all bits of z."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def start(rng: Any, seed: Any, item: Any) -> None:
    """Point the state `rng` at the stream of one item of a batch."""
    rng[0] = mix(seed ^ mix(np.uint64(item) * np.uint64(0xD1342543DE82EF95) + np.uint64(1)))


@njit(cache=True, nogil=True)
def advance(rng: Any) -> Any:
    """Return the next 64 random bits."""
    rng[0] += np.uint64(0x9E3779B97F4A7C15)
    return mix(rng[0])


@njit(cache=True, nogil=True)
def below(rng: Any, bound: Any) -> Any:
    """Return a random integer from 0 to bound - 1; its bias of 2**-32 does not matter here."""
    high = advance(rng) >> np.uint64(32)
    return np.int64((high * np.uint64(bound)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def uniform(rng: Any) -> Any:
    """Return a random float64 from 0 (included) to 1 (not), a multiple of 2**-53."""
    return np.float64(advance(rng) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
