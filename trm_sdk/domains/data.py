"""What training asks of a domain: examples, any number of them, forever, and resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

#: Rows and columns of a board.
Shape = tuple[int, int]
Tokens = npt.NDArray[np.int32]
#: By weights key (`Structure`), 1 where a cell is in a group: uint8 arrays of shape (groups, N), or
#: (n, groups, N) for several puzzles. Rows of zeros are groups that a puzzle has not.
GroupsOf = Mapping[str, npt.NDArray[np.uint8]]

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
    groups : mapping from weights key to uint8 array of shape (groups, N), or None
        The puzzle's own groups, for all of `Domain.own_groups`. None: those of the structure.
    """

    tokens: Tokens
    given: npt.NDArray[np.bool_]
    shape: tuple[int, int]
    identifier: int = 0
    groups: GroupsOf | None = None


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
    groups : mapping from weights key to uint8 array of shape (n, groups, N), or None
        Each puzzle's own groups, rows of zeros where it has fewer than another. None: those of the
        structure.
    """

    tokens: Tokens
    answers: Tokens
    identifiers: Tokens
    mask: npt.NDArray[np.bool_]
    shape: tuple[int, int]
    groups: GroupsOf | None = None

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
        groups = self.groups and {key: one[index] for key, one in self.groups.items()}
        return Examples(tokens, answers, identifiers, mask, self.shape, groups)

    @staticmethod
    def concatenate(several: Sequence[Examples]) -> Examples:
        """Return all of several examples, in order.

        Their boards must be of one shape, and all or none must have groups, of the same keys.
        """
        tokens, answers, identifiers, mask = (
            np.concatenate(part) for part in zip(*(one[:4] for one in several), strict=True)
        )
        groups: GroupsOf | None = None
        if several[0].groups is not None:
            groups = {
                key: padded_groups([one.groups[key] for one in several if one.groups is not None])
                for key in several[0].groups
            }
        return Examples(tokens, answers, identifiers, mask, several[0].shape, groups)


def stacked_groups(several: Sequence[GroupsOf | None]) -> GroupsOf | None:
    """Return the groups of several puzzles together; None where these have none of their own."""
    known = [one for one in several if one is not None]
    if not known:
        return None
    return {key: padded_groups([one[key][None] for one in known]) for key in known[0]}


def padded_groups(several: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return arrays of shape (n, groups, N) one after another, with as many groups as any has."""
    most = max(one.shape[1] for one in several)
    if any(one.shape[1] != most for one in several):
        several = [np.pad(one, ((0, 0), (0, most - one.shape[1]), (0, 0))) for one in several]
    return np.concatenate(several)


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


__all__ = [
    "HELD_OUT_SEED",
    "Encoded",
    "Examples",
    "GroupsOf",
    "Head",
    "Shape",
    "Source",
    "Targets",
    "Tokens",
    "padded_groups",
    "stacked_groups",
]
