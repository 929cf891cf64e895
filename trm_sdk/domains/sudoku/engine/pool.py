"""Keep a pool of puzzles that climbs in difficulty, and bring it back from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trm_sdk.domains.sudoku.engine.arguments import (
    checked_box,
    checked_integer,
    checked_number,
    checked_pairs,
    checked_seed,
)
from trm_sdk.domains.sudoku.engine.climb import climb_boards
from trm_sdk.domains.sudoku.engine.fingerprints import fingerprint
from trm_sdk.domains.sudoku.engine.generation import generate
from trm_sdk.domains.sudoku.engine.geometry import board_geometry
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown


class HardPool:
    """A pool of puzzles that gets harder as it advances: a source of ever new hard puzzles.

    It starts from random minimal puzzles. In each round, every member has one clue (sometimes two)
    taken out and others put in that make the solution unique again; what became redundant is taken
    out, and the child enters the pool unless it is rated easier than the member that it would
    replace. So members always have exactly one solution and are minimal, and solutions change
    along the way.

    With ``reach > 0`` no two members are symmetric images of each other, but successive members
    are related by moved clues, and good ones spread until all are: a new random member is soon
    replaced by a child of an old one. A model learns such a pool by heart. `families` that die as a
    whole give variety; so do, less, a larger pool and a lower `ceiling`.

    Parameters
    ----------
    size : int
        Number of members. Default 500.
    box : (int, int)
        Shape of a box. Default 3 x 3.
    seed : int
        From 0 to 2**64 - 1; drives everything. Equal arguments and equal calls give equal
        puzzles, also across `state` and `from_state`.
    lifetime : int, optional
        Rounds after which a member gives its place to a new random minimal puzzle, a family as a
        whole; the ages of the first ones are spread evenly. By default members stay.
    temperature : float
        0 (default) never accepts an easier child. Above, a child whose ``rating + 1`` is lower by
        a factor f is accepted with probability ``f ** (1 / temperature)``.
    ceiling : float
        Ratings from here on count as equal, which makes a random walk among hard puzzles of what
        would be a climb to ever harder, slower and rarer ones. Default infinity.
    reach : int
        Members stand in a ring, and a child replaces a random neighbour at a distance of up to
        `reach`, if it is no symmetric image of any member. This climbs much faster, since good
        puzzles spread, at the cost that neighbours are related. 0: a child replaces its parent
        only. Default 10, at most ``(n - 1) // 2`` in families of n.
    families : int, optional
        Parts of the pool, of equal sizes, whose members only replace their own kin. Of 24 members
        by probing, a family takes some 300 to 1,200 rounds to get to puzzles that no lookahead
        solves. Default: one, whose members live and die one by one.
    repeats : int
        Random images that a rating by guesses averages over; noise lets easy puzzles in.
        Default 4.
    rating : {"guesses", "probing"}
        What is climbed in: the ratings of `rate` (default), or those of `probe`. By guesses, a few
        hundred rounds lead to what a plain search finds hard, and lookahead easy. By probing, a
        pool reaches puzzles that no lookahead solves after some eight hundred.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid value.

    Attributes
    ----------
    puzzles, solutions : uint8 arrays of shape (size, cells)
        May be read at any time.
    ratings : float64 array of shape (size,)
        As seen on the way: kept ratings by guesses were lucky draws, and `rate` gives fair,
        somewhat lower ones.
    rounds : int
        Rounds that the pool has advanced.
    renewed : int
        Members replaced because their lifetime was over.
    """

    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8]
    ratings: NDArray[np.float64]

    def __init__(
        self,
        size: int = 500,
        box: tuple[int, int] = (3, 3),
        *,
        seed: int,
        lifetime: int | None = None,
        temperature: float = 0.0,
        ceiling: float = float("inf"),
        reach: int = 10,
        families: int | None = None,
        repeats: int = 4,
        rating: Literal["guesses", "probing"] = "guesses",
    ) -> None:
        size = checked_integer("size", size, 1)
        self.families = _checked_families(families, size)
        if rating not in ("guesses", "probing"):
            raise InvalidInputError(f"rating must be 'guesses' or 'probing'; got {shown(rating)}")
        repeats = checked_integer("repeats", repeats, 1)
        self._set_options(
            box=box,
            seed=seed,
            lifetime=lifetime,
            temperature=temperature,
            ceiling=ceiling,
            reach=min(checked_integer("reach", reach, 0), (size // (self.families or 1) - 1) // 2),
            repeats=0 if rating == "probing" else repeats,
        )
        self.rounds = 0
        self.renewed = 0
        # Ages are spread over the lifetime, so that the first members do not all go at once.
        apart = self.families or size
        ages = np.arange(apart, dtype=np.int64) * (lifetime or 0) // apart
        self._born = np.repeat(-ages, size // apart)
        self.puzzles, self.solutions = generate(size, self.box, seed=seed)
        self.ratings = np.full(size, -1.0)
        self._prints = fingerprint(self.puzzles, self.box)
        self._climb(0)  # rates the members

    def _set_options(
        self,
        *,
        box: Any,
        seed: Any,
        lifetime: Any,
        temperature: Any,
        ceiling: Any,
        reach: Any,
        repeats: Any,
    ) -> None:
        """Check and keep what does not change; no `repeats` stand for a rating by probing."""
        self.box = checked_box(box)
        self.seed = int(checked_seed(seed))
        self.lifetime = None if lifetime is None else checked_integer("lifetime", lifetime, 1)
        self.temperature = checked_number("temperature", temperature, finite=True)
        self.ceiling = checked_number("ceiling", ceiling, finite=False)
        self.reach = checked_integer("reach", reach, 0)
        self.repeats = checked_integer("repeats", repeats, 0)

    def __len__(self) -> int:
        return len(self.puzzles)

    def advance(self, rounds: int = 1) -> None:
        """Try `rounds` moves for every member, and renew those whose lifetime is over.

        Raises
        ------
        InvalidInputError
            If `rounds` is not an integer of at least 0.
        """
        rounds = checked_integer("rounds", rounds, 0)
        if self.lifetime is None:
            self._climb(rounds)
            return
        for _ in range(rounds):
            self._climb(1)
            old = np.flatnonzero(self.rounds - self._born >= self.lifetime)
            if len(old):
                self._renew(old)

    def _renew(self, members: NDArray[np.int64]) -> None:
        """Put new random minimal puzzles in the places of these members."""
        # A stream apart from those of the first puzzles and the moves.
        seed = (self.seed ^ 0xBB67AE8584CAA73B) + self.renewed
        puzzles, solutions = generate(len(members), self.box, seed=seed & (2**64 - 1))
        self.puzzles[members], self.solutions[members] = puzzles, solutions
        self._prints[members] = fingerprint(puzzles, self.box)
        self.ratings[members] = -1.0
        self._born[members] = self.rounds
        self.renewed += len(members)
        self._climb(0)  # rates them

    def _climb(self, rounds: int) -> None:
        climb_boards(
            self.puzzles,
            self.solutions,
            self.ratings,
            self._prints,
            self.rounds,
            rounds,
            np.uint64(self.seed),
            self.temperature,
            self.ceiling,
            self.reach,
            len(self) // (self.families or 1),
            self.repeats,
            self.box[0],
            self.box[1],
            board_geometry(self.box),
        )
        self.rounds += rounds

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays, copies, fit for ``numpy.savez``; see `from_state`."""
        return {
            "puzzles": self.puzzles.copy(),
            "solutions": self.solutions.copy(),
            "ratings": self.ratings.copy(),
            "prints": self._prints.copy(),
            "born": self._born.copy(),
            "box": np.array(self.box, np.int64),
            "seed": np.array(self.seed, np.uint64),
            "climb": np.array([self.temperature, self.ceiling], np.float64),
            "counters": np.array([self.reach, self.repeats, self.rounds], np.int64),
            "renewal": np.array([self.lifetime or 0, self.renewed], np.int64),
            **({} if self.families is None else {"families": np.array(self.families)}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> HardPool:
        """Return a pool that goes on where `state` was taken.

        Checkpoints may hold more than is read: earlier versions also kept the array ``fresh`` and
        a fourth counter.

        Raises
        ------
        InvalidInputError
            If an entry is missing or malformed.
        """
        missing = sorted(_STATE_KEYS - set(state))
        if missing:
            raise InvalidInputError(f"not the state of a HardPool: {', '.join(missing)} missing")
        box, seed = _entry(state, "box", np.int64, 2), _entry(state, "seed", np.uint64)
        temperature, ceiling = _entry(state, "climb", np.float64, 2).tolist()
        reach, repeats, rounds = _entry(state, "counters", np.int64, 3, 4)[:3].tolist()
        lifetime, renewed = _entry(state, "renewal", np.int64, 2).tolist()
        families = int(_entry(state, "families", np.int64)) if "families" in state else None
        pool = cls.__new__(cls)
        pool._set_options(
            box=tuple(box.tolist()),
            seed=int(seed),
            lifetime=lifetime or None,
            temperature=temperature,
            ceiling=ceiling,
            reach=reach,
            repeats=repeats,
        )
        pool.rounds = checked_integer("rounds", rounds, 0)
        pool.renewed = checked_integer("renewed", renewed, 0)
        puzzles, solutions = checked_pairs(state["puzzles"], state["solutions"], pool.box)
        size = len(puzzles)
        pool.families = _checked_families(families, size)
        pool.puzzles, pool.solutions = puzzles.copy(), solutions.copy()
        pool.ratings = _entry(state, "ratings", np.float64, size)
        pool._prints = _entry(state, "prints", np.uint64, size)
        pool._born = _entry(state, "born", np.int64, size)
        return pool


_STATE_KEYS = frozenset(
    [
        "puzzles",
        "solutions",
        "ratings",
        "prints",
        "born",
        "box",
        "seed",
        "climb",
        "counters",
        "renewal",
    ]
)


def _checked_families(families: Any, size: int) -> int | None:
    """Return the number of families of a pool, which must be of equal sizes; None: no families."""
    if families is None:
        return None
    count = checked_integer("families", families, 1)
    if count > size or size % count:
        raise InvalidInputError(f"families must divide the size {size}; got {count}")
    return count


def _entry(state: Mapping[str, Any], name: str, dtype: Any, *lengths: int) -> NDArray[Any]:
    """Return a copy of one entry of a state: a vector of one of these lengths, else a number."""
    array = np.asarray(state[name])
    shapes: list[tuple[int, ...]] = [(length,) for length in lengths] or [()]
    kinds = "iuf" if dtype is np.float64 else "iu"
    if array.shape not in shapes or array.dtype.kind not in kinds:
        raise InvalidInputError(
            f"{name} must be {np.dtype(dtype)} of shape {' or '.join(map(str, shapes))}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    return np.array(array, dtype)
