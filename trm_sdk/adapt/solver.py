"""AdaptedSolver: networks that have learned one task, behind the methods of a Solver."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.atomic import write_whole
from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import first_line, shown
from trm_sdk.options import check_on_error
from trm_sdk.solution import Candidate, Failure, Solution, Step
from trm_sdk.task import Task
from trm_sdk.validation import as_path, is_int

if TYPE_CHECKING:
    from trm_sdk.adapt.training import Snapshot

#: Snapshots that are kept after learning: their votes say what those of the others do.
KEPT = 64
#: Answers of an input that a solution lists.
_CANDIDATES = 16
_FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far learning a task has come.

    Attributes
    ----------
    spent : float
        Share of the budget, 0..1.
    seconds : float
    steps : int
        Optimiser steps, over all runs.
    runs : int
        Begun so far.
    accuracy : float
        Share of the demonstrations that the network reproduces now.
    best : float
        The highest such share so far.
    loss : float
        Mean over the latest steps.
    """

    spent: float
    seconds: float
    steps: int
    runs: int
    accuracy: float
    best: float
    loss: float


class AdaptedSolver:
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
        if self._closed:
            raise TRMError(f"{self!r} is closed")
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
        self, puzzles: Iterable[object], on_error: str = "raise"
    ) -> Iterator[Solution | Failure]:
        """Yield the solutions of several puzzles in order; see `solve`.

        Parameters
        ----------
        puzzles : iterable
        on_error : {"raise", "yield"}
            What to do about a puzzle that can't be read. Default "raise".

        Raises
        ------
        InvalidInputError
            At once, if `on_error` is neither; and for a puzzle.
        """
        check_on_error(on_error)
        return self._results(puzzles, on_error)

    def _results(self, puzzles: Iterable[object], on_error: str) -> Iterator[Solution | Failure]:
        for index, puzzle in enumerate(puzzles):
            try:
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
            If the puzzle can't be read or has no such input.
        """
        from trm_sdk.adapt.network import Network, Workspace
        from trm_sdk.adapt.threads import one_thread

        task = self.parse(puzzle)
        if not is_int(index) or not 0 <= index < len(task.inputs):
            raise InvalidInputError(
                f"index must be a whole number from 0 to {len(task.inputs) - 1}, an input of the "
                f"task; got {shown(index)}"
            )
        batch = self.coding.batch([task.inputs[index]])
        place, steps = self.speaker()
        best = self.snapshots[place]
        network, depths = Network(best.weights), tuple(range(1, steps + 1))
        with one_thread():
            several = network.run(batch, Workspace(batch, network.inner + 1), depths)
        values = self.domain.vocabulary.answer_values
        columns = [values.index(self.coding.palette[index]) for index in batch.members]
        (shape,) = batch.outputs
        for number, logits in enumerate(several, start=1):
            canvas = batch.split(logits)[0][:, : shape[0], : shape[1]]
            exps = np.exp(canvas - canvas.max(0))
            probabilities = np.zeros((*shape, len(values)), np.float32)
            probabilities[..., columns] = np.moveaxis(exps / exps.sum(0), 0, -1)
            (grid,) = self.coding.grids(batch, logits)
            yield Step(number, grid, max(best.accuracy), probabilities, None)

    # --- on disk -------------------------------------------------------------------------------

    def save_pretrained(self, path: str | os.PathLike[str]) -> Path:
        """Write the solver as a folder: ``adapted.json`` and ``weights.npy``.

        Returns
        -------
        Path
            The folder, for `AdaptedSolver.load`.
        """
        folder = as_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "format": _FORMAT,
            "domain": self.domain.name,
            "task": task_json(self.task),
            "options": self.options.model_dump(mode="json"),
            "steps": self.steps,
            "runs": self.runs,
            "seconds": self.seconds,
            "snapshots": [
                [one.run, one.steps, one.seconds, one.progress, list(one.accuracy), one.loss]
                for one in self.snapshots
            ],
        }
        np.save(folder / "weights.npy", np.stack([one.weights.flat for one in self.snapshots]))
        write_whole(folder / "adapted.json", json.dumps(about).encode())
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
        from trm_sdk.adapt.network import Sizes, Weights
        from trm_sdk.adapt.training import Snapshot

        folder = as_path(path)
        try:
            about = json.loads((folder / "adapted.json").read_text(encoding="utf-8"))
            weights = np.load(folder / "weights.npy", allow_pickle=False)
            if about["format"] != _FORMAT:
                raise ValueError(f"format {about['format']!r}; this version reads {_FORMAT}")
            domain, task = get_domain(about["domain"]), task_from_json(about["task"])
            coding = Coding(task, blank_value(domain))
            sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
            snapshots = [
                Snapshot(run, steps, at, progress, Weights(sizes, row), tuple(accuracy), loss)
                for row, (run, steps, at, progress, accuracy, loss) in zip(
                    np.ascontiguousarray(weights, np.float32), about["snapshots"], strict=True
                )
            ]
            if not snapshots:
                raise ValueError("it has no snapshots")
            options = AdaptOptions.checked(**about["options"])
            spent = int(about["steps"]), int(about["runs"]), float(about["seconds"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, TRMError) as error:
            raise CheckpointError(
                f"{folder} is not a saved AdaptedSolver: {first_line(error)}"
            ) from None
        return cls(task, domain, options, snapshots, *spent)

    def close(self) -> None:
        """Let go of the networks."""
        self._closed, self.snapshots = True, ()

    def __enter__(self) -> AdaptedSolver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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

    chosen = AdaptOptions.checked(**options)
    domain = get_domain(domain) if isinstance(domain, str) else domain
    if not isinstance(domain, Domain):
        raise InvalidInputError(f"domain must be a Domain or its name; got {shown(domain)}")
    task = domain.parse(puzzle)
    coding = Coding(task, blank_value(domain))
    for grid in task.inputs:  # before the time is spent
        coding.output_shape(grid)
    best = 0.0

    def report(one: Snapshot) -> None:
        nonlocal best
        best = max(best, *one.accuracy)
        if callable(progress):
            spent = one.seconds / chosen.seconds
            if chosen.steps is not None:
                spent = one.steps / chosen.steps
            accuracy = max(one.accuracy)
            progress(
                Progress(
                    min(1.0, spent), one.seconds, one.steps, one.run + 1, accuracy, best, one.loss
                )
            )

    if progress is True:
        with _bar(chosen) as progress:
            snapshots = learn(coding, task, chosen, report)
    else:
        snapshots = learn(coding, task, chosen, report)
    last = snapshots[-1]
    return AdaptedSolver(
        task,
        domain,
        chosen,
        _kept(snapshots),
        last.steps,
        last.run + 1,
        last.seconds,
    )


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


def blank_value(domain: Domain) -> int:
    """Return the value of a cell with nothing in it: the first that an answer may hold."""
    return int(domain.vocabulary.answer_values[0])


def task_json(task: Task) -> dict[str, Any]:
    """Return name, inputs and demonstrations of a task as plain data; not its answers."""
    return {
        "name": task.name,
        "inputs": [grid.tolist() for grid in task.inputs],
        "demonstrations": [[a.tolist(), b.tolist()] for a, b in task.demonstrations],
    }


def task_from_json(data: dict[str, Any]) -> Task:
    """Return the task that `task_json` has written."""
    pairs = tuple((Grid(a), Grid(b)) for a, b in data["demonstrations"])
    return Task(tuple(Grid(cells) for cells in data["inputs"]), pairs, name=data["name"])


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


class _bar:
    """A progress bar on standard error."""

    def __init__(self, options: AdaptOptions) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("learning"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._shown = self._bar.add_task("learning", total=1.0, state="")

    def __enter__(self) -> Callable[[Progress], None]:
        self._bar.start()
        return self._show

    def _show(self, now: Progress) -> None:
        state = f"run {now.runs}, {now.steps} steps, {now.best:.0%} of the demonstrations"
        self._bar.update(self._shown, completed=now.spent, state=state)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


__all__ = ["AdaptedSolver", "Progress", "adapt", "solve_task"]
