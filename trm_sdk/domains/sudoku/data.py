"""Sudoku examples, made on the fly by the engine. Needs numba."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Examples, Source, Tokens
from trm_sdk.domains.sudoku import engine

if TYPE_CHECKING:
    from trm_sdk.domains.board import BoardDomain
    from trm_sdk.domains.sudoku import Sudoku

Boards = npt.NDArray[np.uint8]


def examples(domain: Sudoku, n: int, seed: int, options: Mapping[str, Any]) -> Examples:
    """Return n examples of a seed; see `Sudoku.examples`."""
    if options.get("hard"):
        return HardSource(domain, options, seed).draw(n)
    return _generated(domain, n, seed, options["clues_added"])


def make_source(domain: Sudoku, options: Mapping[str, Any], seed: int) -> Source:
    """Return an endless source of examples; see `Sudoku.source`."""
    return (HardSource if options.get("hard") else PlainSource)(domain, options, seed)


def fingerprint(domain: Sudoku, tokens: Tokens) -> npt.NDArray[np.uint64]:
    """Return a hash that is equal for puzzles that are equal up to symmetry."""
    return engine.fingerprint((tokens - domain.vocabulary.first).astype(np.uint8), domain.box)


def _generated(domain: Sudoku, n: int, seed: int, clues_added: tuple[int, int]) -> Examples:
    """Puzzles by random removal of clues, by the groups of the domain."""
    groups = None
    if len(domain.distinct) > 3:  # beside rows, columns and boxes, for which tables are at hand
        groups = tuple(one for kind in domain.distinct for one in kind.groups_on(domain.shape))
    made = engine.generate(n, domain.box, seed=seed, clues_added=clues_added, groups=groups)
    return encode_boards(domain, *made)


def encode_boards(domain: BoardDomain, puzzles: Boards, solutions: Boards) -> Examples:
    """Return boards of shape (n, cells), 0 for an empty cell, as examples of tokens."""
    first = domain.vocabulary.first
    return Examples.of(
        puzzles.astype(np.int32) + first, solutions.astype(np.int32) + first, domain.shape
    )


class PlainSource:
    """Puzzles by random removal, every draw from a seed of its own."""

    def __init__(self, domain: Sudoku, options: Mapping[str, Any], seed: int) -> None:
        self.domain, self.seed = domain, seed
        self.shape = domain.shape
        self.clues_added: tuple[int, int] = options["clues_added"]
        self.made = 0

    def draw(self, n: int) -> Examples:
        """Return the next n examples."""
        self.made += 1
        seed = _seed_of(self.seed, self.made)
        return _generated(self.domain, n, seed, self.clues_added)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of draws."""
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.made = int(state["made"])


class HardSource:
    """Minimal puzzles that climb in rating by clue swaps; see `engine.HardPool`.

    Members are drawn at random, whether or not they have changed since: a swap that is accepted
    takes some thirty milliseconds, several times what training on the puzzle does.
    """

    def __init__(self, domain: Sudoku, options: Mapping[str, Any], seed: int) -> None:
        self.domain, self.seed = domain, seed
        self.shape = domain.shape
        self.clues_added: tuple[int, int] = options["clues_added"]
        self.rounds: int = options["rounds"]
        self.first_rounds: int = options["first_rounds"]
        self.made = 0
        self.pool = engine.HardPool(
            options["pool"],
            domain.box,
            seed=seed,
            lifetime=options["lifetime"],
            families=options["families"],
            ceiling=math.inf if options["ceiling"] is None else options["ceiling"],
            rating=options["rating"],
        )

    def draw(self, n: int) -> Examples:
        """Return n members of the pool, each under a random symmetry, and let the pool climb."""
        # Not before it is drawn from: it can take minutes, and a run that goes on has a pool.
        if not self.made:
            self.pool.advance(self.first_rounds)
        self.made += 1
        self.pool.advance(self.rounds)
        seed = _seed_of(self.seed, self.made)
        rng = np.random.default_rng(seed)
        members = rng.integers(len(self.pool), size=n)
        puzzles, solutions = engine.augment(
            self.pool.puzzles[members], self.pool.solutions[members], box=self.domain.box, seed=seed
        )
        # A random order of each puzzle's empty cells: those that come first get their clue back.
        keys = np.where(puzzles == 0, rng.random(puzzles.shape), 2.0)
        place = keys.argsort(1).argsort(1)
        low, high = self.clues_added
        back = (place < rng.integers(low, high + 1, size=(n, 1))) & (puzzles == 0)
        return encode_boards(self.domain, np.where(back, solutions, puzzles), solutions)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of draws and the pool."""
        return {"made": self.made, "pool": self.pool.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.made = int(state["made"])
        self.pool = engine.HardPool.from_state(state["pool"])


def _seed_of(seed: int, draw: int) -> int:
    """A seed of its own for every draw."""
    return int(np.random.SeedSequence((seed, draw)).generate_state(1, np.uint64)[0])


__all__ = ["HardSource", "PlainSource", "encode_boards", "examples", "fingerprint", "make_source"]
