"""How attempts at one puzzle differ: by noise, by a symmetry, or by a guess."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Encoded
from trm_sdk.domains.data import Tokens
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.errors import ConfigError
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.task import Task

#: (cell, token): that this token stands there.
Guess = tuple[int, int]

#: Stands for the generator of an attempt that draws nothing.
_NO_RNG = np.random.Generator(np.random.SFC64(0))


class Attempt(NamedTuple):
    """What an attempt begins with.

    Attributes
    ----------
    tokens : int32 array of shape (N,)
        What the network is given.
    puzzle : int32 array of shape (N,)
        What the rules are asked about: the same without what was guessed.
    given : bool array of shape (N,)
        Cells that stand in the answer as they are in `tokens`: givens and guesses.
    symmetry : Symmetry or None
        Under which all three stand.
    noise : float
        Standard deviation of what is added to the latent z before every step.
    rng : numpy Generator
        That noise is drawn from; of no use where it is 0.
    guesses : tuple of (cell, token)
        What was filled in.
    """

    tokens: Tokens
    puzzle: Tokens
    given: npt.NDArray[np.bool_]
    symmetry: Symmetry | None
    noise: float
    rng: np.random.Generator
    guesses: tuple[Guess, ...]


def check_options(options: SolveOptions, domain: Domain, model: ModelConfig) -> None:
    """Refuse attempts that would all be the same, or that domain or model can't make.

    Raises
    ------
    ConfigError
    """
    if options.attempts == 1:
        return
    if options.explore == "none":
        raise ConfigError(
            f"attempts={options.attempts} (the model's own number where none is given) with "
            f"explore='none' would be {options.attempts} times the same attempt; attempts=1 makes "
            "one, and explore='noise', 'symmetry' or 'guess' makes them differ"
        )
    if options.explore == "symmetry" and not domain.has_symmetries:
        raise ConfigError(
            f"explore='symmetry' is unavailable: {domain.name} states no symmetries; "
            "explore='noise' works for every domain"
        )
    if options.explore == "guess":
        if not model.given_tokens:
            raise ConfigError(
                "explore='guess' is unavailable: it fills in an empty cell, and this model's "
                "answers need not keep what is given (no given_tokens); explore='noise' works for "
                "every model"
            )
        if options.patience == 0:
            raise ConfigError(
                "explore='guess' with patience=0: guesses are drawn from what the plain attempt "
                "believes, so it must run alone for at least one step"
            )


def begin(
    number: int,
    domain: Domain,
    task: Task,
    encoded: Encoded,
    options: SolveOptions,
    guesses: list[Guess],
    index: int = 0,
) -> Attempt:
    """The attempt of this number at a task; number 0 is the plain one.

    An attempt depends on its number and the seed alone, not on when or beside what it runs.

    Parameters
    ----------
    number : int
    domain : Domain
    task : Task
    encoded : Encoded
        Input `index` of the task.
    options : SolveOptions
        Complete, and accepted by `check_options`.
    guesses : list of (cell, token)
        Of `draw_guesses`; heeded where ``explore`` is "guess".
    """
    tokens, given = encoded.tokens, encoded.given
    if number == 0:
        return Attempt(tokens, tokens, given, None, 0.0, _NO_RNG, ())
    if options.explore == "guess":
        made = tuple(_combined(guesses, number))
        filled = tokens.copy()
        for cell, token in made:
            filled[cell] = token
        held = given.copy()
        held[[cell for cell, _ in made]] = True
        return Attempt(filled, tokens, held, None, 0.0, _NO_RNG, made)
    rng = np.random.Generator(np.random.SFC64([options.seed, number]))
    if options.explore == "noise":
        noise = options.noise * options.noise_spread ** (2 * _evenly(number) - 1)
        return Attempt(tokens, tokens, given, None, noise, rng, ())
    symmetry = domain.random_symmetry(rng)
    turned = domain.encode(symmetry.apply_task(task), index)
    return Attempt(turned.tokens, turned.tokens, turned.given, symmetry, 0.0, rng, ())


def draw_guesses(
    model: ModelConfig,
    domain: Domain,
    encoded: Encoded,
    logits: npt.NDArray[np.float32],
    options: SolveOptions,
) -> list[Guess]:
    """What later attempts fill in, in their order: (cell, token) pairs, without replacement.

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
    # Only columns that stand for what may be in an answer.
    answers = set(domain.vocabulary.answer_tokens)
    meant = [column for column, token in enumerate(model.output_tokens) if token in answers]
    cells = np.flatnonzero(~encoded.given)
    wide = logits[cells][:, meant].astype(np.float64)
    log_p = wide - np.logaddexp.reduce(wide, 1, keepdims=True)
    entropy = -(np.exp(log_p) * log_p).sum(1, keepdims=True)
    # The largest of log-weights plus Gumbel noise are a draw without replacement.
    gumbel = np.random.default_rng(options.seed).gumbel(size=log_p.shape)
    keys = 2 * np.log(entropy + 1e-9) + log_p + gumbel
    best = np.argsort(-keys, axis=None)[: options.attempts - 1]
    rows, columns = np.unravel_index(best, keys.shape)
    drawn = np.array(model.output_tokens)[meant][columns]
    return list(zip(cells[rows].tolist(), drawn.tolist(), strict=True))


def _combined(guesses: list[Guess], number: int) -> list[Guess]:
    """One guess an attempt; two at once when each has been tried alone, then three."""
    if not guesses:  # nothing is empty
        return []
    rounds, first = divmod(number - 1, len(guesses))
    # A stride of its own for each round, so that the same ones don't meet again.
    return [guesses[(first + more * (rounds + 1)) % len(guesses)] for more in range(rounds + 1)]


def _evenly(number: int) -> float:
    """Van der Corput's sequence 1/2, 1/4, 3/4, 1/8 ...: however many are taken, they lie evenly."""
    place, share = 0.0, 0.5
    while number:
        place += share * (number & 1)
        number >>= 1
        share /= 2
    return place


__all__ = ["Attempt", "Guess", "begin", "check_options", "draw_guesses"]
