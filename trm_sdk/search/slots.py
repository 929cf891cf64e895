"""Slots: attempts in a batch, and its rows as arrays that grow, compact and are gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Tokens
from trm_sdk.search.attempts import Attempt
from trm_sdk.search.requests import Request

#: Every array, once: its name, its type, and whether a row has one value or one per cell.
_ARRAYS: tuple[tuple[str, npt.DTypeLike, bool], ...] = (
    ("tokens", np.int32, True),
    ("puzzle", np.int32, True),
    ("given", np.bool_, True),
    ("answer", np.intp, True),
    ("identifier", np.int32, False),
    ("halt_logit", np.float32, False),
    ("threshold", np.float32, False),
    ("noise", np.float32, False),
    ("check", np.bool_, False),
)


@dataclass(slots=True)
class Slot:
    """One attempt in the batch."""

    request: Request
    number: int  # of the attempt; 0 is the plain one
    attempt: Attempt
    admitted: int  # steps that the scheduler had taken by then
    deadline: int  # step at which to re-examine it: solo phase over, or max_steps reached


class Slots:
    """Arrays with one row per slot, in the order of the runtime's state.

    Parameters
    ----------
    cells : int
        Cells of a board, N.

    Attributes
    ----------
    tokens : int32 array of shape (slots, N)
        What the network is given.
    puzzle : int32 array of shape (slots, N)
        What the rules are asked about: `tokens` without guesses.
    given : bool array of shape (slots, N)
        Cells that keep their token in the answer.
    answer : intp array of shape (slots, N)
        Answer after the last step; -1 before the first.
    identifier : int32 array of shape (slots,)
        Row of the model's puzzle embedding.
    halt_logit : float32 array of shape (slots,)
        Halting logit after the last step, kept where time is limited; -inf before the first.
    threshold : float32 array of shape (slots,)
        Halting logit above which the attempt halts; infinite where it never does.
    noise : float32 array of shape (slots,)
        Standard deviation of the noise added before every step.
    check : bool array of shape (slots,)
        Whether the rules are asked after every step.
    """

    tokens: Tokens
    puzzle: Tokens
    given: npt.NDArray[np.bool_]
    answer: npt.NDArray[np.intp]
    identifier: Tokens
    halt_logit: npt.NDArray[np.float32]
    threshold: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    check: npt.NDArray[np.bool_]

    def __init__(self, cells: int) -> None:
        self._store: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((0, cells) if per_cell else 0, dtype)
            for name, dtype, per_cell in _ARRAYS
        }
        self._count = -1
        self.resize(0)

    def __len__(self) -> int:
        return self._count

    def resize(self, count: int) -> None:
        """Use the first `count` rows; the arrays grow where they have fewer."""
        if count == self._count:
            return
        for name, array in self._store.items():
            if len(array) < count:
                more = max(count, 2 * len(array)) - len(array)
                array = np.concatenate((array, np.zeros((more, *array.shape[1:]), array.dtype)))
                self._store[name] = array
            setattr(self, name, array[:count])
        self._count = count

    def write(self, slot: int, **values: Any) -> None:
        """Fill the arrays of one slot; all of them must be named."""
        for name, array in self._store.items():
            array[slot] = values[name]

    def compact(self, kept: Sequence[int]) -> None:
        """Keep only these slots, in this (ascending) order."""
        index = np.array(kept, np.intp)
        for array in self._store.values():
            array[: len(index)] = array[index]
        self.resize(len(index))


__all__ = ["Slot", "Slots"]
