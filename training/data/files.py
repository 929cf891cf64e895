"""Examples from files, for any domain: puzzles with their answers as CSV."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains import Domain
from trm_sdk.domains.data import Examples, Tokens
from trm_sdk.errors import ConfigError, InvalidInputError, TRMError
from trm_sdk.files import open_lines, read_tasks
from trm_sdk.task import Task

from ..settings import PuzzleFile

#: Symmetries drawn for a board until one keeps its shape: of the eight turns half do.
_TRIES = 64
#: Puzzles of a file whose solutions are counted: a second or so of 9x9 Sudokus.
_LOOKED_AT = 1000


def read_csv(
    path: str | Path, domain: Domain, limit: int | None = None, seed: int = 0
) -> list[Task]:
    """Read puzzles and their answers, such as Sudoku-Extreme's (``source,question,answer,rating``).

    Parameters
    ----------
    path : path
        CSV as `trm_sdk.files.read_tasks` takes it, here with the column ``answer`` as well.
    domain : Domain
    limit : int, optional
        Only so many puzzles, drawn with `seed`; the others are not looked at, for the millions of
        Sudoku-Extreme would take minutes.

    Raises
    ------
    InvalidInputError
        Naming file and line of whatever can't be read or is no solution; or if there is no puzzle.
    """
    try:
        lines = list(open_lines(Path(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} can't be read as CSV: {error}") from None
    rows = [number for number, line in enumerate(lines) if number and line.strip()]
    if limit is not None and limit < len(rows):
        chosen = set(np.random.default_rng(seed).permutation(len(rows))[:limit].tolist())
        for place, number in enumerate(rows):
            if place not in chosen:
                lines[number] = "\n"  # blank lines are passed over, and keep the others' numbers
    tasks = [_answered(task, domain) for task in read_tasks(lines, domain, str(path))]
    if not tasks:
        raise InvalidInputError(f"{path} holds no puzzle")
    return tasks


def _answered(task: Task | TRMError, domain: Domain) -> Task:
    if isinstance(task, TRMError):
        raise task
    if task.answers is None:
        raise InvalidInputError(
            f"{task.name}: no answer; training needs CSV with the columns 'question' and 'answer'"
        )
    for index, (grid, answer) in enumerate(zip(task.inputs, task.answers, strict=True)):
        if domain.verify(task, answer, index) is False:  # None: the domain can't tell
            raise InvalidInputError(
                f"{task.name}: {domain.to_line(answer)!r} does not solve {domain.to_line(grid)!r}"
            )
    return task


def _warn_of_several_solutions(tasks: list[Task], domain: Domain, path: str) -> None:
    """Say how many of a file's puzzles have other solutions than the one that is taught.

    Not where a domain has targets of its own: it says which of several answers is taught.
    """
    if type(domain).targets is not Domain.targets:
        return
    step = max(1, len(tasks) // _LOOKED_AT)
    some = tasks[::step][:_LOOKED_AT]
    several = sum((domain.count_solutions(task) or 0) > 1 for task in some)
    if several:
        looked = f"of {len(some):,} looked at" if len(some) < len(tasks) else f"of {len(some):,}"
        warnings.warn(
            f"{path}: {several:,} puzzles {looked} have several solutions; a model is taught the "
            "file's, and can't tell it from the others",
            UserWarning,
            stacklevel=4,
        )


class FileSource:
    """The puzzles of a CSV file, drawn at random, forever.

    Parameters
    ----------
    source : PuzzleFile
    domain : Domain
    seed : int
    excluded : uint64 array
        Fingerprints of what is held out.

    Raises
    ------
    ConfigError
        If every puzzle of the file is held out.
    """

    def __init__(
        self,
        source: PuzzleFile,
        domain: Domain,
        seed: int,
        excluded: npt.NDArray[np.uint64],
    ) -> None:
        self.domain, self.seed = domain, seed
        self.augment = source.augment and domain.has_symmetries
        self.made = 0
        tasks = read_csv(source.path, domain, source.limit, seed)
        _warn_of_several_solutions(tasks, domain, str(source.path))
        every = domain.encode_examples(tasks)
        held = np.isin(domain.fingerprint(every.tokens, every.shape), excluded)
        if held.all():
            raise ConfigError(f"{source.path}: all of its puzzles are held out for evaluation")
        self.examples = every.rows(~held)
        #: Puzzles of the file that are left out because they are held out.
        self.dropped = int(held.sum())
        self.shape = every.shape

    def draw(self, n: int) -> Examples:
        """Return the next n examples, each under a random symmetry where it is asked for."""
        rng = np.random.default_rng((self.seed, self.made))
        self.made += 1
        drawn = self.examples.rows(rng.integers(len(self.examples.tokens), size=n))
        if not self.augment:
            return drawn
        for tokens, answer, mask in zip(drawn.tokens, drawn.answers, drawn.mask, strict=True):
            if mask.all():  # a canvas with padding around it has no symmetries
                self._turn(rng, tokens, answer)
        return drawn

    def _turn(self, rng: np.random.Generator, *boards: Tokens) -> None:
        """Put boards under one random symmetry, in place; one that keeps their shape."""
        grids = [self.domain.decode(board, self.shape) for board in boards]
        for _ in range(_TRIES):
            symmetry = self.domain.random_symmetry(rng)
            turned = [symmetry.apply(grid) for grid in grids]
            if turned[0].shape == self.shape:  # a quarter turn of 2x3 cells has 3x2
                for board, grid in zip(boards, turned, strict=True):
                    board[:] = self.domain.encode_grid(grid)
                return

    def state_dict(self) -> dict[str, Any]:
        """Return the number of draws: each has a seed of its own."""
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.made = int(state["made"])
