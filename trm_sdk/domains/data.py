"""What training asks of a domain: examples, any number of them, forever, and resumable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]

#: Seed of generated puzzles that models are judged by; training leaves out whatever coincides.
HELD_OUT_SEED = 0x5EED_0F_7E57


class Encoded(NamedTuple):
    """One input of a task as a network takes it.

    Attributes
    ----------
    tokens : int32 array of shape (N,)
        Cells row by row.
    given : bool array of shape (N,)
        Cells that stand in the answer as they are.
    shape : (rows, columns)
        Of the board; ``N = rows * columns``.
    identifier : int
        Row of the model's puzzle embedding. Default 0.
    """

    tokens: Tokens
    given: npt.NDArray[np.bool_]
    shape: tuple[int, int]
    identifier: int = 0


class Examples(NamedTuple):
    """Puzzles with their answers, all on boards of one shape.

    Attributes
    ----------
    tokens, answers : int32 arrays of shape (n, N)
    identifiers : int32 array of shape (n,)
        Rows of the puzzle embedding.
    mask : bool array of shape (n, N)
        Cells whose answer counts, in the loss and for being right; the others are padding.
    shape : (rows, columns)
        Of the boards; ``N = rows * columns``.
    """

    tokens: Tokens
    answers: Tokens
    identifiers: Tokens
    mask: npt.NDArray[np.bool_]
    shape: tuple[int, int]

    @classmethod
    def of(cls, tokens: Tokens, answers: Tokens, shape: tuple[int, int]) -> Examples:
        """Return examples without identifiers or padding."""
        return cls(
            tokens,
            answers,
            np.zeros(len(tokens), np.int32),
            np.ones(tokens.shape, bool),
            shape,
        )

    def rows(self, index: Any) -> Examples:
        """Return some of the examples, by slice, mask or index array."""
        tokens, answers, identifiers, mask = (part[index] for part in self[:4])
        return Examples(tokens, answers, identifiers, mask, self.shape)

    @staticmethod
    def concatenate(several: Sequence[Examples]) -> Examples:
        """Return all of several examples, in order; their boards must be of one shape."""
        tokens, answers, identifiers, mask = (
            np.concatenate(part) for part in zip(*(one[:4] for one in several), strict=True)
        )
        return Examples(tokens, answers, identifiers, mask, several[0].shape)


class Head(NamedTuple):
    """What an auxiliary head over the cells is to learn, beside the answer.

    Attributes
    ----------
    classes : int32 array of shape (n, N)
        The class that is right for each cell in the end.
    due : int32 array of shape (n, N)
        Passes over the latent z (``H_cycles * L_cycles`` a supervision step) after which a cell can
        know its class: what travels a cell a pass, as the distance to a goal does.
    before : int or None
        The class that is asked of a cell until then; None: nothing is.
    mask : bool array of shape (n, N)
        Cells that are asked at all.
    """

    classes: Tokens
    due: Tokens
    before: int | None
    mask: npt.NDArray[np.bool_]


class Targets(NamedTuple):
    """What a domain asks of a network at each step, beside "the answer, at every step".

    Attributes
    ----------
    answer_due : int32 array of shape (n, N)
        Passes after which a cell is asked for its answer; until then a cell of the mask whose
        answer is right is not rewarded, nor one that is wrong punished. 0: always.
    answer_weight : float32 array of shape (n, N)
        Weight of a cell's answer in the loss, relative to the others'.
    heads : dict from name to Head
        One for each of `Domain.heads`.
    """

    answer_due: Tokens
    answer_weight: npt.NDArray[np.float32]
    heads: dict[str, Head]


class Source(Protocol):
    """An endless source of examples whose state can be saved.

    Attributes
    ----------
    shape : (rows, columns)
        Of every board that it draws.
    """

    shape: tuple[int, int]

    def draw(self, n: int) -> Examples:
        """Return the next n examples."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next draws depend on: numbers, texts, arrays, and dicts of these."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        ...


__all__ = ["HELD_OUT_SEED", "Encoded", "Examples", "Head", "Source", "Targets", "Tokens"]
