"""Draw random numbers by SplitMix64 (Steele, Lea and Flood, 2014), one stream per batch item.

numpy's generators inside numba share one hidden state; here the state is an array of one uint64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import kernel


@kernel
def mix(z: Any) -> Any:
    """Return the 64 bits of `z` scrambled: the output function of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def start_stream(rng: Any, seed: Any, item: Any) -> None:
    """Point the state `rng` (uint64, one element) at the stream of one item of a batch."""
    rng[0] = mix(seed ^ mix(np.uint64(item) * np.uint64(0xD1342543DE82EF95) + np.uint64(1)))


@kernel
def advance(rng: Any) -> Any:
    """Return the next 64 random bits."""
    rng[0] += np.uint64(0x9E3779B97F4A7C15)
    return mix(rng[0])


@kernel
def below(rng: Any, bound: Any) -> Any:
    """Return a random integer from 0 to ``bound - 1``; its bias of 2**-32 does not matter here."""
    high = advance(rng) >> np.uint64(32)
    return np.int64((high * np.uint64(bound)) >> np.uint64(32))


@kernel
def uniform(rng: Any) -> Any:
    """Return a random float64 from 0 (included) to 1 (not), a multiple of 2**-53."""
    return np.float64(advance(rng) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def shuffle(rng: Any, items: Any, length: Any) -> None:
    """Put the first `length` items in random order (Fisher and Yates)."""
    for i in range(length - 1, 0, -1):
        j = below(rng, i + 1)
        items[i], items[j] = items[j], items[i]
