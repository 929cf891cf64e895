"""Examples from files, for any domain: puzzles with their answers as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.base import Examples, Tokens, weights_at
from training.recipe import PuzzleFile
from trm_sdk.domains import Domain
from trm_sdk.errors import ConfigError, InvalidInputError, TRMError
from trm_sdk.files import read_tasks
from trm_sdk.task import Task


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
        lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
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
    if task.answer is None:
        raise InvalidInputError(
            f"{task.name}: no answer; training needs CSV with the columns 'question' and 'answer'"
        )
    if domain.verify(task, task.answer) is False:  # None: the domain can't tell
        raise InvalidInputError(
            f"{task.name}: {task.answer.to_line()!r} does not solve {task.grid.to_line()!r}"
        )
    return task


def examples(tasks: Sequence[Task], domain: Domain) -> Examples:
    """Tasks with answers as tokens."""
    return Examples(
        np.stack([domain.encode(task) for task in tasks]),
        np.stack([domain.encode_grid(task.answer) for task in tasks if task.answer is not None]),
    )


class FileStream:
    """A mixture of files' puzzles, each under a random symmetry where its domain has some.

    What is held out is never drawn as it stands; a puzzle of a file that only a symmetry turns into
    one that is held out can't be told in general, and is the file's matter.

    Parameters
    ----------
    sources : sequence of PuzzleFile
    domain : Domain
    seed : int
    held_out : iterable of Examples
    """

    def __init__(
        self,
        sources: Sequence[PuzzleFile],
        domain: Domain,
        seed: int,
        held_out: Iterable[Examples],
    ) -> None:
        self.domain, self.sources, self.seed = domain, sources, seed
        self.draws = 0
        excluded = {row.tobytes() for one in held_out for row in one.tokens}
        self.parts = []
        for source in sources:
            every = examples(read_csv(source.path, domain, source.limit, seed), domain)
            kept = [
                index for index, row in enumerate(every.tokens) if row.tobytes() not in excluded
            ]
            if not kept:
                raise ConfigError(f"{source.path}: every puzzle of it is held out for evaluation")
            self.parts.append(Examples(every.tokens[kept], every.answers[kept]))

    def draw(self, n: int, progress: float) -> Examples:
        """The next n examples of the files that are in use at this point of the run."""
        rng = np.random.default_rng((self.seed, self.draws))
        self.draws += 1
        chosen = rng.choice(len(self.parts), size=n, p=weights_at(self.sources, progress))
        rows = [self._one(int(part), rng) for part in chosen]
        return Examples(np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]))

    def _one(self, number: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        part, domain = self.parts[number], self.domain
        row = rng.integers(len(part.tokens))
        tokens, answer = part.tokens[row], part.answers[row]
        if self.sources[number].augment and (symmetry := domain.random_symmetry(rng)) is not None:
            tokens, answer = (
                domain.encode_grid(symmetry.apply(domain.decode(one))) for one in (tokens, answer)
            )
        return tokens, answer

    def state_dict(self) -> dict[str, Any]:
        """The number of draws: each has a seed of its own."""
        return {"draws": self.draws}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.draws = state["draws"]
