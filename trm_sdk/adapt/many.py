"""Many tasks: side by side in processes, and never twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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
        Folder for what is done, a small file a task: a list that is gone through again, after an
        interruption too, takes from there what was learned with equal options.
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
    ConfigError, InvalidInputError
        At once, if an option is invalid.
    MissingDependencyError
        At once, without numba.
    """
    require_numba()
    chosen = AdaptOptions(**options)
    processes = checked_count("processes", processes, _MOST_PROCESSES)
    domain = checked_domain(domain)
    folder = None if cache is None else as_path(cache)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return _results(list(tasks), domain, chosen, processes, folder, progress)


def _results(
    tasks: list[Task | TRMError],
    domain: Domain,
    options: AdaptOptions,
    processes: int,
    folder: Path | None,
    progress: bool,
) -> Iterator[tuple[int, Solution | Failure]]:
    waiting: list[tuple[int, Task]] = []
    for index, task in enumerate(tasks):
        if isinstance(task, TRMError):
            yield index, Failure(index, task)
            continue
        done = None if folder is None else _read(folder / key(task, options), task, domain)
        if done is None:
            waiting.append((index, task))
        else:
            yield index, done
    if processes == 1:
        for index, task in waiting:
            yield (
                index,
                _finished(
                    _learn(task, domain, options, progress), index, task, domain, folder, options
                ),
            )
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
                yield index, _finished(future.result(), index, task, domain, folder, options)
        finally:
            for future in asked:
                future.cancel()


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


def _finished(
    data: dict[str, Any],
    index: int,
    task: Task,
    domain: Domain,
    folder: Path | None,
    options: AdaptOptions,
) -> Solution | Failure:
    """Keep a result, and return it as what it stands for."""
    if "error" in data:
        return Failure(index, InvalidInputError(data["error"]))
    if folder is not None:
        write_whole(folder / key(task, options), json.dumps(data).encode())
    return _solution(data, task, domain)


def _read(path: Path, task: Task, domain: Domain) -> Solution | None:
    """Return a result that was kept; None where there is none, or it can't be read."""
    try:
        return _solution(json.loads(path.read_text(encoding="utf-8")), task, domain)
    except (OSError, ValueError, KeyError, TypeError, TRMError):
        return None


def _solution(data: dict[str, Any], task: Task, domain: Domain) -> Solution:
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
        domain=domain,
        fitted=data["fitted"],
    )


__all__ = ["key", "solve_tasks"]
