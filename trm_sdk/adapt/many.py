"""Lists of tasks: learned in parallel processes, and never twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.solver import adapt, require_numba
from trm_sdk.adapt.tasks import checked_domain, task_from_json, task_json
from trm_sdk.atomic import write_whole
from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.solution import Candidate, Failure, Solution
from trm_sdk.task import Task
from trm_sdk.validation import as_path, checked_count

#: Changes whenever answers to a task may change with equal options: older results are not used.
VERSION = 1
_MOST_PROCESSES = 1024


def solve_tasks(
    tasks: Sequence[Task | TRMError],
    domain: Domain | str = "arc",
    *,
    processes: int = 1,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Iterator[tuple[int, Solution | Failure]]:
    """Learn and answer tasks, yielding each as soon as it is done.

    Parameters
    ----------
    tasks : sequence of Task or TRMError
        An error, as readers of files give it, becomes a `Failure`.
    domain : Domain or str
        Default "arc". A domain that is not registered works with one process only.
    processes : int
        Tasks learned at a time, each in a process of its own. Default 1: in this one.
    cache : path, optional
        Folder of finished tasks, a small file each. When the list is solved again, as after an
        interruption, tasks that were learned with equal options are taken from there.
    progress : bool
        With one process, show a progress bar for each task on standard error. Default False.
    **options
        Fields of `AdaptOptions`.

    Yields
    ------
    (int, Solution or Failure)
        The index of the task, and its result.

    Raises
    ------
    ConfigError
        At once, if an option is invalid.
    InvalidInputError
        At once, if another argument is invalid, or the folder can't be made.
    MissingDependencyError
        At once, without numba.
    """
    require_numba()
    chosen = AdaptOptions(**options)
    processes = checked_count("processes", processes, _MOST_PROCESSES)
    tasks = list(tasks)
    for task in tasks:
        if not isinstance(task, (Task, TRMError)):
            raise InvalidInputError(f"tasks must be Tasks; got {shown(task)}")
    folder = None if cache is None else _made(as_path(cache))
    return _solve(tasks, _Results(checked_domain(domain), chosen, folder), processes, progress)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cache {folder} can't be made: {error.strerror}") from None
    return folder


def _solve(
    tasks: list[Task | TRMError], results: _Results, processes: int, progress: bool
) -> Iterator[tuple[int, Solution | Failure]]:
    waiting: list[tuple[int, Task]] = []
    for index, task in enumerate(tasks):
        if isinstance(task, TRMError):
            yield index, Failure(index, task)
            continue
        done = results.kept(task)
        if done is None:
            waiting.append((index, task))
        else:
            yield index, done
    domain, options = results.domain, results.options
    if processes == 1:
        for index, task in waiting:
            yield index, results.take(_learn(task, domain, options, progress), index, task)
        return
    # Spawned rather than forked: threads of the host's libraries do not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        asked: dict[Future[Any], tuple[int, Task]] = {}
        try:
            for index, task in waiting:
                plain = task_json(task)
                asked[pool.submit(_learn_plain, plain, domain.name, options)] = index, task
            for future in as_completed(asked):
                index, task = asked[future]
                yield index, results.take(future.result(), index, task)
        finally:
            for future in asked:
                future.cancel()


@dataclass(frozen=True)
class _Results:
    """Results of tasks learned with equal options, kept in a folder if there is one."""

    domain: Domain
    options: AdaptOptions
    folder: Path | None

    def kept(self, task: Task) -> Solution | None:
        """Return the result that was kept of a task; None if there is none that can be read."""
        if self.folder is None:
            return None
        try:
            text = (self.folder / key(task, self.options)).read_text(encoding="utf-8")
            return self._solution(json.loads(text), task)
        except (OSError, ValueError, KeyError, TypeError, TRMError):
            return None

    def take(self, data: dict[str, Any], index: int, task: Task) -> Solution | Failure:
        """Keep what `_learn` returned, and return it as a result."""
        if "error" in data:
            return Failure(index, InvalidInputError(data["error"]))
        if self.folder is not None:
            write_whole(self.folder / key(task, self.options), json.dumps(data).encode())
        return self._solution(data, task)

    def _solution(self, data: dict[str, Any], task: Task) -> Solution:
        candidates = tuple(
            tuple(Candidate(Grid(cells), votes, share, None) for cells, votes, share in several)
            for several in data["candidates"]
        )
        return Solution(
            answers=tuple(several[0].grid for several in candidates),
            candidates=candidates,
            verified=None,
            confidence=data["confidence"],
            steps=data["steps"],
            attempts=data["attempts"],
            seconds=data["seconds"],
            stopped_by=data["stopped_by"],
            task=task,
            domain=self.domain,
            fitted=data["fitted"],
        )


def key(task: Task, options: AdaptOptions) -> str:
    """Return the name of the file that the result of a task is kept in."""
    about = [VERSION, task_json(task), options.model_dump(mode="json")]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    name = "".join(one if one.isalnum() else "-" for one in (task.name or "task"))[:64]
    return f"{name}-{digest}.json"


def _learn_plain(data: dict[str, Any], domain: str, options: AdaptOptions) -> dict[str, Any]:
    """Learn a task in a process of its own."""
    return _learn(task_from_json(data), get_domain(domain), options)


def _learn(
    task: Task, domain: Domain, options: AdaptOptions, progress: bool = False
) -> dict[str, Any]:
    """Return the result of a task as plain data; a `TRMError` as its message."""
    try:
        with adapt(task, domain, progress=progress, **options.model_dump()) as solver:
            solution = solver.solve(solver.task)
    except TRMError as error:
        return {"error": str(error)}
    return {
        "candidates": [
            [[one.grid.tolist(), one.votes, one.confidence] for one in several]
            for several in solution.candidates
        ],
        "confidence": solution.confidence,
        "steps": solution.steps,
        "attempts": solution.attempts,
        "seconds": solution.seconds,
        "stopped_by": solution.stopped_by,
        "fitted": solution.fitted,
    }


__all__ = ["key", "solve_tasks"]
