"""Sudoku examples: made on the fly or read from a file, never one that is held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.base import Examples, weights_at
from training.data.files import examples, read_csv
from training.recipe import DataSource, PuzzleFile, SudokuGenerated
from trm_sdk.domains import Sudoku
from trm_sdk.domains.sudoku.engine import generator
from trm_sdk.errors import ConfigError

Boards = npt.NDArray[np.uint8]

#: Seed of the held-out sets. Training seeds are drawn elsewhere, and what coincides is dropped.
HELD_OUT_SEED = 0x5EED_0F_7E57
#: Examples made at once: enough to spread the cost of a call, few enough to follow a curriculum.
_CHUNK = 64
#: Chunks in a row without an example that may be used, after which a source is given up. There are
#: only 36 minimal 4x4 puzzles up to symmetry: a source can be held out as a whole.
_FRUITLESS = 100


def held_out_set(domain: Sudoku, clues_added: tuple[int, int], n: int) -> Examples:
    """Generated puzzles that every run holds out; the first n of one endless list."""
    puzzles, solutions = generator.generate(
        n, domain.box, seed=HELD_OUT_SEED, clues_added=clues_added
    )
    return _encode(puzzles, solutions)


def _encode(puzzles: Boards, solutions: Boards) -> Examples:
    # Token 1 is an empty cell and token v + 1 the value v; see `Domain`.
    return Examples(puzzles.astype(np.int32) + 1, solutions.astype(np.int32) + 1)


class SudokuStream:
    """A mixture of generated and filed Sudoku puzzles that follows a curriculum.

    Every chunk is made from a seed of its own, counted up, so that the state is a counter a source
    (and, for hard puzzles, their pool) and resuming is exact.
    """

    def __init__(
        self,
        sources: Sequence[DataSource],
        domain: Sudoku,
        seed: int,
        held_out: Iterable[Examples],
    ) -> None:
        self.domain = domain
        self.sources = sources
        self.seed = seed
        self.draws = 0
        boards = [(examples.tokens - 1).astype(np.uint8) for examples in held_out]
        self.excluded: npt.NDArray[np.uint64] = (
            np.unique(generator.fingerprint(np.concatenate(boards), domain.box))
            if boards
            else np.empty(0, dtype=np.uint64)
        )
        #: Examples dropped because they are held out, up to symmetry.
        self.dropped = 0
        self.parts: list[_Part] = [
            _File(source, domain, seed, self)
            if isinstance(source, PuzzleFile)
            else (_HardPool if source.hard else _Generated)(source, domain, seed + 7919 * number)
            for number, source in enumerate(sources, start=1)
        ]

    def draw(self, n: int, progress: float) -> Examples:
        """The next n examples of the sources that are in use at this point of the run."""
        rng = np.random.default_rng((self.seed, self.draws))
        self.draws += 1
        chosen = rng.choice(len(self.parts), size=n, p=weights_at(self.sources, progress))
        pairs = np.empty((n, 2, self.domain.seq_len), dtype=np.uint8)
        for index, part in enumerate(self.parts):
            rows = np.flatnonzero(chosen == index)
            fruitless = 0
            while len(part.ready) < len(rows):
                before = len(part.ready)
                self._fill(part)
                fruitless = 0 if len(part.ready) > before else fruitless + 1
                if fruitless == _FRUITLESS:
                    raise ConfigError(
                        f"data source {index + 1} gives nothing that is not held out: "
                        f"{self.sources[index]!r}"
                    )
            pairs[rows] = part.ready[: len(rows)]
            part.ready = part.ready[len(rows) :]
        return _encode(pairs[:, 0], pairs[:, 1])

    def _fill(self, part: _Part) -> None:
        """Have a source make its next chunk, and keep what is not held out."""
        pairs = np.stack(part.make(), axis=1)
        if not part.disjoint:
            held = np.isin(generator.fingerprint(pairs[:, 0], self.domain.box), self.excluded)
            self.dropped += int(held.sum())
            pairs = pairs[~held]
        part.ready = np.concatenate((part.ready, pairs))

    def state_dict(self) -> dict[str, Any]:
        """Counters, waiting examples and pools."""
        return {
            "draws": self.draws,
            "dropped": self.dropped,
            "parts": [part.state_dict() for part in self.parts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.draws, self.dropped = state["draws"], state["dropped"]
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


class _Part:
    """One source of a mixture: makes chunks, and keeps what has not been drawn yet."""

    def __init__(self, domain: Sudoku, seed: int) -> None:
        self.domain, self.seed = domain, seed
        self.made = 0
        self.ready: Boards = np.empty((0, 2, domain.seq_len), dtype=np.uint8)
        #: Whether what it makes needs no comparison with what is held out.
        self.disjoint = False

    def make(self) -> tuple[Boards, Boards]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {"made": self.made, "ready": self.ready}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.made, self.ready = state["made"], state["ready"]


class _Generated(_Part):
    def __init__(self, source: SudokuGenerated, domain: Sudoku, seed: int) -> None:
        super().__init__(domain, seed)
        self.clues_added = source.clues_added

    def make(self) -> tuple[Boards, Boards]:
        self.made += 1
        return generator.generate(
            _CHUNK,
            self.domain.box,
            seed=self.seed * 1_000_003 + self.made,
            clues_added=self.clues_added,
        )


class _File(_Part):
    def __init__(self, source: PuzzleFile, domain: Sudoku, seed: int, stream: SudokuStream) -> None:
        super().__init__(domain, seed)
        self.augment = source.augment
        tokens, answers = examples(read_csv(source.path, domain, source.limit, seed), domain)
        puzzles = (tokens - 1).astype(np.uint8)
        # Once for all: no symmetry turns a puzzle into one that is held out and was not before.
        held = np.isin(generator.fingerprint(puzzles, domain.box), stream.excluded)
        stream.dropped += int(held.sum())
        if held.all():
            raise ConfigError(f"{source.path}: every puzzle of it is held out for evaluation")
        self.puzzles, self.solutions = puzzles[~held], (answers[~held] - 1).astype(np.uint8)
        self.disjoint = True

    def make(self) -> tuple[Boards, Boards]:
        self.made += 1
        seed = self.seed * 1_000_003 + self.made
        rows = np.random.default_rng(seed).integers(len(self.puzzles), size=_CHUNK)
        puzzles, solutions = self.puzzles[rows], self.solutions[rows]
        if self.augment:
            return generator.augment(puzzles, solutions, box=self.domain.box, seed=seed)
        return puzzles, solutions


class _HardPool(_Part):
    """Minimal puzzles that climb in rating by clue swaps; see `generator.HardPool`.

    Members are drawn at random, whether or not they have changed since: a swap that is accepted
    takes some thirty milliseconds, several times what training on the puzzle does.
    """

    def __init__(self, source: SudokuGenerated, domain: Sudoku, seed: int) -> None:
        super().__init__(domain, seed)
        self.clues_added, self.rounds = source.clues_added, source.rounds
        self.first_rounds = source.first_rounds
        self.pool = generator.HardPool(
            source.pool, domain.box, seed=seed, lifetime=source.lifetime, rating=source.rating
        )

    def make(self) -> tuple[Boards, Boards]:
        # Not before it is drawn from: it can take minutes, and a run that goes on has a pool.
        if not self.made:
            self.pool.advance(self.first_rounds)
        self.made += 1
        self.pool.advance(self.rounds)
        seed = self.seed * 1_000_003 + self.made
        rng = np.random.default_rng(seed)
        members = rng.integers(len(self.pool), size=_CHUNK)
        puzzles, solutions = generator.augment(
            self.pool.puzzles[members], self.pool.solutions[members], box=self.domain.box, seed=seed
        )
        # A random order of each puzzle's empty cells: those that come first get their clue back.
        keys = np.where(puzzles == 0, rng.random(puzzles.shape), 2.0)
        place = keys.argsort(1).argsort(1)
        low, high = self.clues_added
        back = (place < rng.integers(low, high + 1, size=(_CHUNK, 1))) & (puzzles == 0)
        return np.where(back, solutions, puzzles), solutions

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "pool": self.pool.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.pool = generator.HardPool.from_state(state["pool"])
