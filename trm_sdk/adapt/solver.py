"""AdaptedSolver: networks that have learned one task, behind the methods of a Solver."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.progress import Progress, Reporter, learning_bar
from trm_sdk.adapt.saved import read_folder, write_folder
from trm_sdk.adapt.tasks import blank_value, checked_domain
from trm_sdk.arguments import check_on_error, check_puzzles, checked_input
from trm_sdk.closing import Closes
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, MissingDependencyError, TRMError
from trm_sdk.messages import shown
from trm_sdk.solution import Candidate, Failure, Solution, Step
from trm_sdk.task import Task
from trm_sdk.validation import as_path

if TYPE_CHECKING:
    from trm_sdk.adapt.training import Snapshot
    from trm_sdk.grid import Grid

#: Snapshots that are kept after learning: their votes say what those of the others do.
KEPT = 64
#: Answers of an input that a solution lists.
_CANDIDATES = 16


class AdaptedSolver(Closes):
    """Solves inputs of one task, whose demonstrations its networks have learned.

    `Solver.adapt` makes it. Its networks are small (60 KB each) and run in numpy and numba.

    Parameters
    ----------
    task : Task
        With the demonstrations that were learned.
    domain : Domain
    options : AdaptOptions
    snapshots : sequence of Snapshot
    steps, runs : int
        Spent on learning.
    seconds : float
        Spent on learning.

    Examples
    --------
    >>> from trm_sdk import Solver
    >>> solver = Solver.adapt("task.json", seconds=30)      # doctest: +SKIP
    >>> solution = solver.solve(solver.task)                # doctest: +SKIP
    >>> solution.fitted, solution.candidates[0][:2]         # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task,
        domain: Domain,
        options: AdaptOptions,
        snapshots: Iterable[Snapshot],
        steps: int,
        runs: int,
        seconds: float,
    ) -> None:
        self.task, self.domain, self.options = task, domain, options
        self.snapshots = tuple(snapshots)
        self.steps, self.runs, self.seconds = steps, runs, seconds
        self.coding = Coding(task, blank_value(domain))
        self._closed = False

    @property
    def fitted(self) -> bool:
        """Whether one of the networks reproduces all demonstrations."""
        return any(max(one.accuracy) == 1 for one in self.snapshots)

    def speaker(self) -> tuple[int, int]:
        """Return the network that alone answers what all of them vote for, and after which step.

        Returns
        -------
        snapshot : int
            Index of the first of `snapshots` that answers every input of the task as the votes do;
            0 where none does.
        steps : int
            Steps after which it is read out.
        """
        from trm_sdk.adapt.votes import rank, read_out

        self._check_open()
        depths = self.options.depths
        answers = read_out(self.coding, self.snapshots, self.task.inputs, depths)
        voted = [rank(self.snapshots, given)[0].grid for given in answers]
        for place, one in enumerate(self.snapshots):
            for number in _by_accuracy(one):
                if [given[place][number] for given in answers] == voted:
                    return place, depths[number]
        return 0, depths[_by_accuracy(self.snapshots[0])[0]]

    def parse(self, puzzle: object) -> Task:
        """Read a task as `Domain.parse` does; a grid alone is an input of the task learned.

        Raises
        ------
        InvalidInputError
            If it can't be read, or has other demonstrations than were learned.
        TRMError
            If the solver is closed.
        """
        self._check_open()
        task = self.domain.parse(puzzle)
        learned = self.task.demonstrations
        if task.demonstrations not in ((), learned):
            raise InvalidInputError(
                f"this solver is adapted to {_name(self.task)}, and the task has other "
                "demonstrations: adapt to it, too"
            )
        return replace(task, demonstrations=learned)

    def solve(self, puzzle: object) -> Solution:
        """Answer the inputs of the task, or other inputs of its kind.

        Parameters
        ----------
        puzzle : Task, Grid, dict, str, or array-like of shape (rows, columns)
            As `Domain.parse` reads it; with the demonstrations that were learned, or without.

        Returns
        -------
        Solution
            ``fitted`` says whether the answers are of networks that reproduce all demonstrations;
            ``candidates`` are ranked by votes, so that the first two are the attempts to hand in; a
            ``confidence`` is a candidate's share of the votes, times the highest share of the
            demonstrations that a network reproduces;
            ``seconds``, ``steps`` and ``attempts`` are what learning took.

        Raises
        ------
        InvalidInputError
            If an input can't be read, has a colour that the task has not, or a size that the
            demonstrations give no answer for.
        """
        from trm_sdk.adapt.votes import tally

        task = self.parse(puzzle)
        ranked = tally(self.coding, self.snapshots, task.inputs, self.options.depths)
        best = max(max(one.accuracy) for one in self.snapshots)
        candidates = tuple(
            tuple(
                Candidate(one.grid, one.votes, one.share * best, None)
                for one in several[:_CANDIDATES]
            )
            for several in ranked
        )
        return Solution(
            answers=tuple(several[0].grid for several in ranked),
            candidates=candidates,
            verified=None,
            confidence=min(several[0].confidence for several in candidates),
            steps=self.steps,
            attempts=self.runs,
            seconds=self.seconds,
            stopped_by="seconds" if self.options.steps is None else "max_steps",
            task=task,
            domain=self.domain,
            fitted=all(several[0].accuracy == 1 for several in ranked),
        )

    def solve_many(
        self, puzzles: Iterable[object], on_error: Literal["raise", "yield"] = "raise"
    ) -> Iterator[Solution | Failure]:
        """Solve puzzles lazily, and yield their solutions in order; see `solve`.

        Parameters
        ----------
        puzzles : iterable
            Puzzles as in `solve`. A `TRMError` among them, as `read_tasks` yields it, counts as a
            puzzle that failed.
        on_error : {"raise", "yield"}
            What to do about a puzzle that can't be read: raise the error when the puzzle's turn
            comes, which is the default, or yield a `Failure` in its place.

        Raises
        ------
        InvalidInputError
            If an argument has an invalid value (at once), or for a puzzle.
        """
        check_puzzles(puzzles)
        check_on_error(on_error)
        self._check_open()
        return self._results(puzzles, on_error)

    def _results(
        self, puzzles: Iterable[object], on_error: Literal["raise", "yield"]
    ) -> Iterator[Solution | Failure]:
        for index, puzzle in enumerate(puzzles):
            try:
                if isinstance(puzzle, TRMError):  # what a reader could not read
                    raise puzzle
                yield self.solve(puzzle)
            except TRMError as error:
                if on_error == "raise":
                    raise
                yield Failure(index, error)

    def stream(self, puzzle: object, index: int = 0) -> Iterator[Step]:
        """Yield every step of the network that speaks for all (see `speaker`), on one input.

        Parameters
        ----------
        puzzle : as in `solve`
        index : int
            Which input of a task that has several. Default 0, the first.

        Raises
        ------
        InvalidInputError
            At once, if the puzzle can't be read or has no such input.
        """
        task = self.parse(puzzle)
        return self._steps(task.inputs[checked_input(task, index)])

    def _steps(self, grid: Grid) -> Iterator[Step]:
        from trm_sdk.adapt.network import Network, Workspace
        from trm_sdk.adapt.threads import one_thread

        batch = self.coding.batch([grid])
        place, steps = self.speaker()
        best = self.snapshots[place]
        network, depths = Network(best.weights), tuple(range(1, steps + 1))
        with one_thread():
            several = network.run(batch, Workspace(batch, network.inner + 1), depths)
        values = self.domain.vocabulary.answer_values
        columns = [values.index(self.coding.palette[member]) for member in batch.members]
        (shape,) = batch.outputs
        for number, logits in enumerate(several, start=1):
            canvas = batch.split(logits)[0][:, : shape[0], : shape[1]]
            exps = np.exp(canvas - canvas.max(0))
            probabilities = np.zeros((*shape, len(values)), np.float32)
            probabilities[..., columns] = np.moveaxis(exps / exps.sum(0), 0, -1)
            (answer,) = self.coding.grids(batch, logits)
            yield Step(number, answer, max(best.accuracy), probabilities, None)

    # --- on disk -------------------------------------------------------------------------------

    def save_pretrained(self, path: str | os.PathLike[str]) -> Path:
        """Write the solver as a folder: ``adapted.json`` and ``weights.npy``.

        Returns
        -------
        Path
            The folder, for `AdaptedSolver.load`.

        Raises
        ------
        InvalidInputError
            If `path` is empty or can't be written.
        """
        self._check_open()
        folder = as_path(path)
        write_folder(folder, self)
        return folder

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AdaptedSolver:
        """Read a solver that `save_pretrained` has written.

        Raises
        ------
        CheckpointError
            If a file is missing, corrupt, or of another version.
        """
        require_numba()
        return cls(**read_folder(as_path(path)))

    def close(self) -> None:
        """Release the networks; no puzzle can be solved afterwards."""
        self._closed, self.snapshots = True, ()

    def _check_open(self) -> None:
        if self._closed:
            raise TRMError(f"{self!r} is closed")

    def __repr__(self) -> str:
        return f"<AdaptedSolver of {self.domain.name}, {_name(self.task)}, {self.runs} runs>"


def adapt(
    puzzle: object,
    domain: Domain | str = "arc",
    *,
    progress: bool | Callable[[Progress], None] = False,
    **options: Any,
) -> AdaptedSolver:
    """Learn a task from its demonstrations, from scratch; see `Solver.adapt`."""
    require_numba()
    from trm_sdk.adapt.training import learn

    if not (isinstance(progress, bool) or callable(progress)):
        raise InvalidInputError(f"progress must be a bool or a function; got {shown(progress)}")
    chosen = AdaptOptions(**options)
    domain = checked_domain(domain)
    task = domain.parse(puzzle)
    coding = Coding(task, blank_value(domain))
    for grid in task.inputs:  # before the time is spent
        coding.output_shape(grid)
    if progress is True:
        with learning_bar() as show:
            snapshots = learn(coding, task, chosen, Reporter(chosen, show))
    else:
        listener = progress if callable(progress) else _ignore
        snapshots = learn(coding, task, chosen, Reporter(chosen, listener))
    last = snapshots[-1]
    return AdaptedSolver(
        task, domain, chosen, _kept(snapshots), last.steps, last.run + 1, last.seconds
    )


def _ignore(now: Progress) -> None:
    """Listen to nothing."""


def solve_task(puzzle: object, domain: Domain | str = "arc", **options: Any) -> Solution:
    """Learn a task from its demonstrations and answer its inputs, in one call.

    Parameters
    ----------
    puzzle : Task, dict, str
        As `Domain.parse` reads it.
    domain : Domain or str
        Default "arc".
    **options
        As `Solver.adapt` takes them.

    Returns
    -------
    Solution
        See `AdaptedSolver.solve`.
    """
    with adapt(puzzle, domain, **options) as solver:
        return solver.solve(solver.task)


def require_numba() -> None:
    """Raise `MissingDependencyError` where numba is not installed."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"learning a task needs numba ({error}): pip install 'trm-sdk[train]'"
        ) from None


def _name(task: Task) -> str:
    return "a task" if task.name is None else f"the task {task.name}"


def _by_accuracy(one: Snapshot) -> list[int]:
    """Return the places of the depths at which it reproduces most demonstrations first."""
    return sorted(range(len(one.accuracy)), key=lambda number: -one.accuracy[number])


def _kept(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Return at most `KEPT` snapshots, the most accurate and latest of each run first."""
    place: dict[int, int] = {}
    ranked = []
    for one in reversed(snapshots):
        place[one.run] = place.get(one.run, -1) + 1
        ranked.append((-float(np.mean(one.accuracy)), place[one.run], one.run, one))
    ranked.sort(key=lambda entry: entry[:3])
    return [one for *_, one in ranked[:KEPT]]


__all__ = ["AdaptedSolver", "Progress", "adapt", "solve_task"]
