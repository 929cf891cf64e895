"""How attempts at one puzzle differ: by noise, by a symmetry, or by a guess."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Encoded
from trm_sdk.domains.data import GroupsOf, Tokens
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.model.config import DEAD_END, ModelConfig
from trm_sdk.model.groups import complete_groups
from trm_sdk.options import SolveOptions
from trm_sdk.search.tree import Guess, Path, answer_columns, log_probabilities
from trm_sdk.task import Task

#: Stands for the generator of an attempt that draws nothing.
_NO_RNG = np.random.Generator(np.random.SFC64(0))

#: Symmetries that are drawn in search of one that keeps the board's shape: a quarter turn of a
#: board of 2x3 does not.
_DRAWS = 64


class Attempt(NamedTuple):
    """What an attempt begins with.

    Attributes
    ----------
    tokens : int32 array of shape (N,)
        What the network is given.
    puzzle : int32 array of shape (N,)
        What the rules are asked about: `tokens` without guesses.
    given : bool array of shape (N,)
        Cells that stand in the answer as they are in `tokens`: givens and guesses.
    identifier : int
        Row of the puzzle embedding.
    symmetry : Symmetry or None
        Applied to the puzzle; all of these are in the orientation after it.
    noise : float
        Standard deviation of what is added to the latent z before every step.
    rng : numpy Generator
        Source of that noise; unused where it is 0.
    guesses : tuple of (cell, token)
        What was filled in.
    groups : mapping from weights key to uint8 array of shape (groups, N), or None
        Groups of cells that the network is given; None: those of its structure.
    """

    tokens: Tokens
    puzzle: Tokens
    given: npt.NDArray[np.bool_]
    identifier: int = 0
    symmetry: Symmetry | None = None
    noise: float = 0.0
    rng: np.random.Generator = _NO_RNG
    guesses: tuple[Guess, ...] = ()
    groups: GroupsOf | None = None


def check_options(
    options: SolveOptions, domain: Domain, model: ModelConfig, heads: Collection[str]
) -> None:
    """Refuse attempts that would all be the same, or that the domain or model can't make.

    `heads` are those that every step gives (`Runtime.heads`).

    Raises
    ------
    ConfigError
    """
    if options.attempts == 1:
        return
    if options.explore == "none":
        raise ConfigError(
            f"attempts={options.attempts} with explore='none' would be {options.attempts} times "
            "the same attempt (attempts is the model's default where you gave none); use "
            "attempts=1, or explore='noise', 'symmetry', 'guess' or 'tree' to make them differ"
        )
    if options.explore == "symmetry" and not domain.has_symmetries:
        raise ConfigError(
            f"explore='symmetry' is unavailable: {domain.name} states no symmetries; "
            "explore='noise' works for every domain"
        )
    if options.explore in ("guess", "tree"):
        if not model.given_tokens:
            raise ConfigError(
                f"explore={options.explore!r} is unavailable: it fills in empty cells, and the "
                "answers of this model don't have to keep givens (given_tokens is empty); "
                "explore='noise' works for every model"
            )
        if options.patience == 0:
            raise ConfigError(
                f"explore={options.explore!r} is unavailable with patience=0: guesses are drawn "
                "from what the plain attempt believes, so it must run alone for at least one step"
            )
    if options.explore == "tree":
        if DEAD_END not in heads:
            raise ConfigError(
                "explore='tree' is unavailable: it follows a head that says which guesses are dead "
                "ends, and this model has none (dead_end_head), or its graph leaves it out; "
                "explore='guess' does without"
            )
        if options.choose == "majority":
            raise ConfigError(
                "choose='majority' is unavailable with explore='tree', whose attempts follow on "
                "one another; explore='guess' has attempts that can vote"
            )


def encode(domain: Domain, model: ModelConfig, task: Task, index: int) -> Encoded:
    """Return input `index` of a task as `Domain.encode` does, checked for the model.

    Raises
    ------
    InvalidInputError
        If the model takes no such board, token or identifier.
    """
    encoded = domain.encode(task, index)
    tokens = np.ascontiguousarray(encoded.tokens, np.int32)
    rows, columns = encoded.shape
    if not model.any_size and rows * columns != model.seq_len:
        raise InvalidInputError(
            f"this model takes boards of {model.seq_len} cells; got {rows}x{columns}"
        )
    given = np.asarray(encoded.given, np.bool_)
    if not tokens.shape == given.shape == (rows * columns,):
        raise InvalidInputError(
            f"encode of {domain.name} must return {rows * columns} tokens and givens for a board "
            f"of {rows}x{columns}; got shapes {tokens.shape} and {given.shape}"
        )
    if int(tokens.view(np.uint32).max()) >= model.vocab_size:  # which a negative one is, too
        wrong = int(tokens.min()) if int(tokens.min()) < 0 else int(tokens.max())
        raise InvalidInputError(
            f"this model takes the tokens 0 to {model.vocab_size - 1}; got {wrong}"
        )
    if not 0 <= encoded.identifier < model.num_puzzle_identifiers:
        raise InvalidInputError(
            f"this model takes the puzzle identifiers 0 to {model.num_puzzle_identifiers - 1}; "
            f"got {encoded.identifier}"
        )
    groups = _groups(domain, model, encoded)
    return Encoded(tokens, given, encoded.shape, encoded.identifier, groups)


def _groups(domain: Domain, model: ModelConfig, encoded: Encoded) -> GroupsOf | None:
    """Return groups for every key of the model's weights; None if the model's own hold."""
    if not domain.own_groups and same_groups(domain, model):
        return None
    found = dict(encoded.groups or {})
    if set(found) != set(domain.own_groups):
        raise InvalidInputError(
            f"encode of {domain.name} must give groups for {sorted(domain.own_groups)}; got "
            f"{sorted(found)}"
        )
    stated = {} if domain.structure is None else domain.structure.memberships()
    for key, one in found.items():
        wanted = stated[key].shape if key in stated else (0, model.seq_len)
        if one.shape != wanted or not np.isin(one, (0, 1)).all():
            raise InvalidInputError(
                f"groups {key!r} of {domain.name} must be 0 or 1, of shape {wanted}; got "
                f"{one.dtype} of shape {one.shape}"
            )
    batch = {key: one[None] for key, one in {**stated, **found}.items()}
    return {key: one[0] for key, one in complete_groups(batch, model).items()}


def same_groups(domain: Domain, model: ModelConfig) -> bool:
    """Return whether the structures of a domain and of a model state the same groups.

    True where the model takes no groups: it always uses those of its own structure.
    """
    if not model.takes_groups or model.structure is None or domain.structure is None:
        return True
    if model.structure == domain.structure:
        return True
    return model.structure.groups_by_key() == domain.structure.groups_by_key()


def begin(
    number: int,
    domain: Domain,
    model: ModelConfig,
    task: Task,
    index: int,
    encoded: Encoded,
    options: SolveOptions,
    guesses: Path,
) -> Attempt:
    """Return the attempt of this number at a task; number 0 is the plain one.

    An attempt depends on its number, the seed and the guesses alone, not on when or beside what it
    runs.

    Parameters
    ----------
    number : int
    domain : Domain
    model : ModelConfig
    task : Task
    index : int
        Of the input.
    encoded : Encoded
        That input.
    options : SolveOptions
        Complete, and accepted by `check_options`.
    guesses : tuple of (cell, token)
        What it fills in, where ``explore`` is "guess" or "tree".

    Raises
    ------
    InvalidInputError
        If ``explore`` is "symmetry" and no symmetry keeps the board's shape.
    """
    plain = Attempt(
        encoded.tokens, encoded.tokens, encoded.given, encoded.identifier, groups=encoded.groups
    )
    if number == 0:
        return plain
    if options.explore in ("guess", "tree"):
        tokens, given = encoded.tokens.copy(), encoded.given.copy()
        for cell, token in guesses:
            tokens[cell], given[cell] = token, True
        return plain._replace(tokens=tokens, given=given, guesses=guesses)
    rng = np.random.Generator(np.random.SFC64([options.seed, number]))
    if options.explore == "noise":
        noise = options.noise * options.noise_spread ** (2 * _van_der_corput(number) - 1)
        return plain._replace(noise=noise, rng=rng)
    for _ in range(_DRAWS):
        symmetry = domain.symmetry_for(task, rng)
        moved = encode(domain, model, symmetry.apply_task(task), index)
        if moved.shape == encoded.shape:
            break
    else:
        rows, columns = encoded.shape
        raise InvalidInputError(
            f"explore='symmetry' is unavailable: of {_DRAWS} symmetries of {domain.name} none "
            f"keeps a board of {rows}x{columns} in its shape; explore='noise' works for every board"
        )
    return Attempt(
        moved.tokens,
        moved.tokens,
        moved.given,
        moved.identifier,
        symmetry,
        rng=rng,
        groups=moved.groups,
    )


def draw_guesses(
    model: ModelConfig,
    domain: Domain,
    encoded: Encoded,
    logits: npt.NDArray[np.float32],
    options: SolveOptions,
) -> list[Guess]:
    """Draw what later attempts fill in, in their order: (cell, token) pairs without replacement.

    A pair's weight is how unsure the plain attempt is of the cell (its entropy, squared), times how
    likely it holds the token there: an undecided cell tells most once it is known, and a likely
    value is right most often.

    Parameters
    ----------
    model : ModelConfig
    domain : Domain
    encoded : Encoded
    logits : float32 array of shape (N, outputs)
        Of the plain attempt, where its patience ends.
    options : SolveOptions
    """
    columns, tokens = answer_columns(domain, model)
    cells = np.flatnonzero(~encoded.given)
    log_p = log_probabilities(logits[cells], columns)
    entropy = -(np.exp(log_p) * log_p).sum(1, keepdims=True)
    # The largest of log-weights plus Gumbel noise are a draw without replacement.
    gumbel = np.random.default_rng(options.seed).gumbel(size=log_p.shape)
    keys = 2 * np.log(entropy + 1e-9) + log_p + gumbel
    best = np.argsort(-keys, axis=None)[: options.attempts - 1]
    rows, values = np.unravel_index(best, keys.shape)
    drawn = np.array(tokens)[values]
    return list(zip(cells[rows].tolist(), drawn.tolist(), strict=True))


def combined(guesses: Sequence[Guess], number: int) -> Path:
    """Return the guesses of an attempt: one; two once each has been tried alone; then three."""
    if not guesses:  # nothing is empty
        return ()
    rounds, first = divmod(number - 1, len(guesses))
    # Each round has a stride of its own, so that the same guesses don't meet again.
    return tuple(
        guesses[(first + more * (rounds + 1)) % len(guesses)] for more in range(rounds + 1)
    )


def _van_der_corput(number: int) -> float:
    """Return an element of the sequence 1/2, 1/4, 3/4, 1/8 ..., which fills 0..1 evenly."""
    place, share = 0.0, 0.5
    while number:
        place += share * (number & 1)
        number >>= 1
        share /= 2
    return place


__all__ = ["Attempt", "begin", "check_options", "combined", "draw_guesses", "encode"]
