"""Dead ends: puzzles of which some more is filled in, and sometimes one value that is wrong.

What the dead-end head (`ModelConfig.dead_end_head`) is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Examples
from trm_sdk.model.config import ModelConfig
from trm_sdk.search.tree import branching_cell, log_probabilities

#: Values that are filled in rightly are one fewer than a geometric number of this chance: a search
#: has made so many guesses before. 2.3 in the mean, 11 or more in one of fifty.
_CHANCE = 0.3

Bools = npt.NDArray[np.bool_]


def are_dead_ends(
    tokens: npt.NDArray[Any], answers: npt.NDArray[Any], given_tokens: Sequence[int]
) -> Bools:
    """Return which puzzles, of shape (n, N), have a given that their answer has not."""
    dead: Bools = (np.isin(tokens, given_tokens) & (tokens != answers)).any(1)
    return dead


def with_dead_ends(
    examples: Examples, config: ModelConfig, share: float, rng: np.random.Generator
) -> tuple[Examples, Bools]:
    """Return puzzles of which some have more filled in, and which of these are dead ends.

    A chosen puzzle has a random number of its empty cells filled in as its answer says; then, in
    one of two, another one with a value that its answer has not there; if it can be, with one that
    stands nowhere else in the cell's groups, for what plain sight rules out no search would guess.
    If the puzzle has one solution, it has none then.

    Puzzles that come with a given which their answer has not are dead ends as they are (those of
    `training.guesses`), and are never chosen.

    Parameters
    ----------
    examples : Examples
        Not changed.
    config : ModelConfig
        Of a model that keeps givens; says which tokens are such, and which cells are in a group.
    share : float
        Of the puzzles that are chosen.
    rng : numpy Generator
    """
    n, cells = examples.tokens.shape
    tokens = examples.tokens.copy()
    values = np.array(config.output_tokens)
    dead = are_dead_ends(tokens, examples.answers, config.given_tokens)
    empty = ~np.isin(tokens, config.given_tokens) & examples.mask
    rows = np.flatnonzero((rng.random(n) < share) & ~dead & empty.any(1))
    # Each puzzle's empty cells in a random order, then the others.
    order = np.where(empty[rows], rng.random((len(rows), cells)), 2.0).argsort(1)
    count = empty[rows].sum(1)
    right = np.minimum(rng.geometric(_CHANCE, len(rows)) - 1, count - 1)
    row, place = np.nonzero(np.arange(cells) < right[:, None])
    filled = rows[row], order[row, place]
    tokens[filled] = examples.answers[filled]
    ends = (rng.random(len(rows)) < 0.5) & (len(values) > 1)
    rows, order, count, right = rows[ends], order[ends], count[ends], right[ends]
    every = _groups(examples, config)
    own = every[rows] if len(every) > 1 else every
    wrong = values != examples.answers[rows][:, :, None]
    unseen = wrong & ~_seen(tokens[rows], own, values)
    # The first cell in order that has such a value. Where plain sight rules everything out, or
    # groups may hold a value twice: the first of all, with any wrong value.
    one, places = np.arange(len(rows)), np.arange(cells)
    ahead = (places >= right[:, None]) & (places < count[:, None])
    fits = ahead & np.take_along_axis(unseen.any(2), order, 1)
    found = fits.any(1)
    cell = order[one, np.where(found, fits.argmax(1), right)]
    allowed = np.where(found[:, None], unseen[one, cell], wrong[one, cell])
    tokens[rows, cell] = values[np.where(allowed, rng.random(allowed.shape), -1.0).argmax(1)]
    dead[rows] = True
    return examples._replace(tokens=tokens), dead


def guesses_on(
    examples: Examples,
    logits: npt.NDArray[np.float32],
    config: ModelConfig,
    right: Bools,
    dead: Bools,
) -> npt.NDArray[np.int64]:
    """Return what a search would fill in next, as cells and tokens, of shape (n, 2).

    In the cell that it would branch on (`trm_sdk.search.tree`), the value that the answer has
    there, or the likeliest other one; -1 where no cell is empty.

    Parameters
    ----------
    examples : Examples
    logits : float32 array of shape (n, N, outputs)
        Of the last step.
    config : ModelConfig
    right : bool array of shape (n,)
        Whether the guess is the answer's value. One at a dead end is the likeliest value of all.
    dead : bool array of shape (n,)
        Puzzles in which something wrong is filled in.
    """
    columns = [k for k, token in enumerate(config.output_tokens) if token in config.given_tokens]
    values = np.array(config.output_tokens)[columns]
    empty = ~np.isin(examples.tokens, config.given_tokens) & examples.mask
    peers = peers_of(examples, config)
    made = np.full((len(logits), 2), -1, np.int64)
    for row in np.flatnonzero(empty.any(1)).tolist():
        cells = np.flatnonzero(empty[row])
        log_p = log_probabilities(logits[row, cells], columns)
        among = None if peers is None else peers[row][np.ix_(cells, cells)]
        at = branching_cell(np.exp(log_p), among)
        answer = examples.answers[row, cells[at]]
        if dead[row]:
            token = values[log_p[at].argmax()]
        elif right[row] or len(values) == 1:
            token = answer
        else:
            token = values[np.where(values == answer, -np.inf, log_p[at]).argmax()]
        made[row] = cells[at], token
    return made


def peers_of(examples: Examples, config: ModelConfig) -> Bools | None:
    """Return which cells of each puzzle share a group, (n, N, N): `Domain.peers` for examples.

    None where no group is known.
    """
    members = _groups(examples, config).astype(np.float32)
    if not members.shape[1]:
        return None
    shared: Bools = np.swapaxes(members, 1, 2) @ members > 0
    cells = np.arange(shared.shape[1])
    shared[:, cells, cells] = False
    return np.broadcast_to(shared, (len(examples.tokens), *shared.shape[1:]))


def _seen(tokens: npt.NDArray[np.int32], groups: Bools, values: npt.NDArray[np.int64]) -> Bools:
    """Return which values stand in the groups of each cell, (n, N, values)."""
    stands = (tokens[:, :, None] == values).astype(np.float32)
    members = groups.astype(np.float32)
    seen: Bools = np.swapaxes(members, 1, 2) @ np.minimum(members @ stands, 1) > 0
    return seen


def _groups(examples: Examples, config: ModelConfig) -> Bools:
    """Which cells are in which groups, (n, groups, N), or (1, groups, N) if in all puzzles alike.

    There are none where values are not interchangeable.
    """
    structure = config.structure
    if structure is None or structure.any_size or not structure.interchangeable_values:
        return np.zeros((1, 0, examples.tokens.shape[1]), bool)
    sets = examples.groups or {key: one[None] for key, one in structure.memberships().items()}
    return np.concatenate(list(sets.values()), axis=1).astype(bool)


__all__ = ["are_dead_ends", "guesses_on", "peers_of", "with_dead_ends"]
