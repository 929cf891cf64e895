"""Dead ends: puzzles of which some more is filled in, and sometimes one value that is wrong.

What the dead-end head (`ModelConfig.dead_end_head`) is trained on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Examples
from trm_sdk.model.config import ModelConfig

#: Values that are filled in rightly are one fewer than a geometric number of this chance: a search
#: has made so many guesses before. 2.3 in the mean, 11 or more in one of fifty.
_CHANCE = 0.3

Bools = npt.NDArray[np.bool_]


def with_dead_ends(
    examples: Examples, config: ModelConfig, share: float, rng: np.random.Generator
) -> tuple[Examples, Bools]:
    """Return puzzles of which some have more filled in, and which of these are dead ends.

    A chosen puzzle has a random number of its empty cells filled in as its answer says; then, in
    one of two, another one with a value that its answer has not there; if it can be, with one that
    stands nowhere else in the cell's groups, for what plain sight rules out no search would guess.
    If the puzzle has one solution, it has none then.

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
    n = len(examples.tokens)
    tokens, dead = examples.tokens.copy(), np.zeros(n, bool)
    values = np.array(config.output_tokens)
    empty = ~np.isin(tokens, config.given_tokens) & examples.mask
    groups = _groups(examples, config)
    for row in np.flatnonzero(rng.random(n) < share).tolist():
        order = rng.permutation(np.flatnonzero(empty[row]))
        right = min(int(rng.geometric(_CHANCE)) - 1, len(order) - 1)
        if right < 0:  # nothing is empty
            continue
        tokens[row, order[:right]] = examples.answers[row, order[:right]]
        if rng.random() < 0.5 or len(values) < 2:
            continue
        own = groups[row % len(groups)]
        others = [values[values != examples.answers[row, cell]] for cell in order[right:]]
        unseen = (
            (cell, wrong[~np.isin(wrong, tokens[row, own[own[:, cell]].any(0)])])
            for cell, wrong in zip(order[right:], others, strict=True)
        )
        # Where plain sight rules everything out, or groups may hold a value twice: any wrong value.
        cell, wrong = next((one for one in unseen if len(one[1])), (order[right], others[0]))
        tokens[row, cell], dead[row] = rng.choice(wrong), True
    return examples._replace(tokens=tokens), dead


def _groups(examples: Examples, config: ModelConfig) -> Bools:
    """Which cells are in which groups, (n, groups, N), or (1, groups, N) if in all puzzles alike.

    There are none where values are not interchangeable.
    """
    structure = config.structure
    if structure is None or structure.any_size or not structure.interchangeable_values:
        return np.zeros((1, 0, examples.tokens.shape[1]), bool)
    sets = examples.groups or {key: one[None] for key, one in structure.memberships().items()}
    return np.concatenate(list(sets.values()), axis=1).astype(bool)


__all__ = ["with_dead_ends"]
