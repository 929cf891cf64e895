"""GeneratedSource: an endless source of what a domain makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_sdk.domains.data import Examples

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain


class GeneratedSource:
    """An endless source of what `Domain.examples` makes, a seed a draw.

    Parameters
    ----------
    domain : Domain
    options : mapping
        Of the generator.
    seed : int
    """

    def __init__(self, domain: Domain, options: Mapping[str, Any], seed: int) -> None:
        self.domain, self.options, self.seed = domain, dict(options), seed
        self.shape = domain.shape_of(domain.generator_options(self.options))
        self.made = 0

    def draw(self, n: int) -> Examples:
        """Return the next n examples."""
        self.made += 1
        # A list of its own for each draw: its first puzzles then don't depend on n.
        seed = int(np.random.SeedSequence((self.seed, self.made)).generate_state(1, np.uint64)[0])
        return self.domain.examples(n, seed >> 1, self.options)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of draws."""
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.made = int(state["made"])


__all__ = ["GeneratedSource"]
