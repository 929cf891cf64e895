"""Alternatives: further answers, read from a model's heads and tried against the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Tokens
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.search.answers import Float32
from trm_sdk.search.rules import Bools

Answers = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.intp]


class Alternatives:
    """Reads the alternatives of the slots of a batch, and remembers which ones the rules refuted.

    Parameters
    ----------
    domain : Domain
        Of boards of the batch's shape.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._names = domain.decode_heads
        # One array per rank of preference; rows are slots, -1 where nothing has been refuted.
        self._refuted: list[npt.NDArray[np.intp]] = []

    def can_read(self, heads: Mapping[str, Float32]) -> bool:
        """Return whether a step gave every head that the domain reads."""
        return all(name in heads for name in self._names)

    def forget(self) -> None:
        """Forget what was refuted: the slots of the batch are others now."""
        self._refuted = []

    def confirm(
        self,
        places: Places,
        puzzles: Tokens,
        heads: Mapping[str, Float32],
        verdicts: Callable[[Places, Answers], Bools],
        confirmed: npt.NDArray[np.intp],
    ) -> Bools:
        """Return which slots have an alternative that obeys the rules.

        Only alternatives that have changed are checked, and none after the first that is right.

        Parameters
        ----------
        places : intp array of shape (n,)
            The slots in question.
        puzzles : int32 array of shape (slots, N)
        heads : mapping from name to float32 array of shape (slots, N, width)
        verdicts : callable
            Takes some of the places and an answer for each, and returns which obey the rules.
        confirmed : intp array of shape (slots, N)
            Filled in with the alternatives that do, each in the row of its slot.

        Raises
        ------
        InvalidInputError
            If what the domain returns are not arrays of answers.
        Exception
            Whatever the domain raises.
        """
        found = np.zeros(len(places), bool)
        for rank, answers in enumerate(self._read(places, puzzles, heads)):
            if rank == len(self._refuted):
                self._refuted.append(np.full(puzzles.shape, -1, np.intp))
            refuted = self._refuted[rank]
            asked = np.flatnonzero(~found & (answers != refuted[places]).any(1))
            if not len(asked):
                continue
            right = verdicts(places[asked], answers[asked])
            found[asked] = right
            confirmed[places[asked[right]]] = answers[asked[right]]
            refuted[places[asked[~right]]] = answers[asked[~right]]
        return found

    def _read(self, places: Places, puzzles: Tokens, heads: Mapping[str, Float32]) -> list[Answers]:
        domain = self._domain
        tokens = puzzles[places]
        seen = {name: heads[name][places] for name in self._names}
        found = [np.asarray(one) for one in domain.alternatives(tokens, seen, domain.shape)]
        for one in found:
            if one.shape != tokens.shape or one.dtype.kind not in "iu":
                raise InvalidInputError(
                    f"alternatives of {domain.name} must be integer arrays of shape "
                    f"{tokens.shape}; got {shown(one)}"
                )
        return found


__all__ = ["Alternatives", "Places"]
