"""Kaggle submissions: two attempts at each test input, written, checked and scored.

The form is ``{id: [{"attempt_1": grid, "attempt_2": grid}, ...], ...}``, one object a test input in
the order of the challenges file, for every task of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from trm_sdk.atomic import write_whole
from trm_sdk.domains.arc.tasks import entries_of, grid_of, parse_json
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import as_path

ATTEMPTS = ("attempt_1", "attempt_2")
#: Stands where there is no attempt, as every input must have two.
_NOTHING = Grid([[0]])

Submission = dict[str, list[dict[str, list[list[int]]]]]


def make_submission(
    tasks: Sequence[Task], attempts: Mapping[str, Sequence[Sequence[Grid]]]
) -> Submission:
    """Return a submission.

    Parameters
    ----------
    tasks : sequence of Task
        All of the challenges file.
    attempts : mapping from str to sequences of sequences of Grid
        Of each task, for each test input, up to two grids, the better first. Where there is one it
        is handed in twice, as the reference does; where there is none, one black cell is.

    Raises
    ------
    InvalidInputError
        If attempts are of an unknown task, or not one sequence a test input.

    Examples
    --------
    >>> task = Task((Grid([[1]]),), name="a")
    >>> make_submission([task], {"a": [[Grid([[2]])]]})
    {'a': [{'attempt_1': [[2]], 'attempt_2': [[2]]}]}
    """
    unknown = set(attempts) - {task.name for task in tasks}
    if unknown:
        raise InvalidInputError(f"attempts at {sorted(unknown)[0]!r}, which is not among the tasks")
    made: Submission = {}
    for task in tasks:
        rows = attempts.get(str(task.name), [()] * len(task.inputs))
        if len(rows) != len(task.inputs):
            raise InvalidInputError(
                f"task {task.name} has {len(task.inputs)} test inputs; got attempts at {len(rows)}"
            )
        made[str(task.name)] = []
        for grids in rows:
            padded = [*grids[:2], *([grids[0]] if grids else []), _NOTHING, _NOTHING]
            made[str(task.name)].append(
                {key: grid.tolist() for key, grid in zip(ATTEMPTS, padded, strict=False)}
            )
    check_submission(made, tasks)
    return made


def check_submission(data: Any, tasks: Sequence[Task]) -> dict[str, list[tuple[Grid, Grid]]]:
    """Return the attempts of a submission, or say what is wrong with it.

    Raises
    ------
    InvalidInputError
        Naming task, test input, attempt and row: a task or input too few or too many, a missing or
        unknown key, or a grid that is not one.
    """
    if not isinstance(data, dict):
        raise InvalidInputError(f"a submission must be an object of tasks; got {shown(data)}")
    unknown = set(data) - {task.name for task in tasks}
    if unknown:
        raise InvalidInputError(f"submission: unknown task {sorted(unknown)[0]!r}")
    found: dict[str, list[tuple[Grid, Grid]]] = {}
    for task in tasks:
        where, rows = entries_of(data, task, "submission", "objects")
        found[str(task.name)] = []
        for number, row in enumerate(rows, start=1):
            place = f"{where}, test input {number}"
            if not isinstance(row, dict) or set(row) != set(ATTEMPTS):
                raise InvalidInputError(
                    f"{place}: must be an object with {' and '.join(ATTEMPTS)}; got "
                    f"{shown(list(row) if isinstance(row, dict) else row)}"
                )
            first, second = (grid_of(row[key], f"{place}, {key}") for key in ATTEMPTS)
            found[str(task.name)].append((first, second))
    return found


def write_submission(path: str | os.PathLike[str], data: Submission, tasks: Sequence[Task]) -> None:
    """Check a submission and write it as JSON.

    Raises
    ------
    InvalidInputError
        If it is not one for these tasks; see `check_submission`.
    OSError
        If the file can't be written.
    """
    check_submission(data, tasks)
    write_whole(as_path(path), json.dumps(data).encode())


def score_submission(
    submission: str | os.PathLike[str] | Submission, tasks: Sequence[Task]
) -> dict[str, list[bool]]:
    """Return, for each task, which of its test inputs one of the two attempts solves.

    Parameters
    ----------
    submission : path or dict
    tasks : sequence of Task
        With answers.

    Raises
    ------
    InvalidInputError
        If it can't be read or is not one for these tasks, or a task has no answers.
    """
    if isinstance(submission, dict):
        data: Any = submission
    else:
        path = as_path(submission)
        try:
            data = parse_json(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{path} can't be read as text: {error}") from None
    found = check_submission(data, tasks)
    solved = {}
    for task in tasks:
        if task.answers is None:
            raise InvalidInputError(f"task {task.name} has no answers to score by")
        pairs = zip(task.answers, found[str(task.name)], strict=True)
        solved[str(task.name)] = [answer in attempts for answer, attempts in pairs]
    return solved


__all__ = [
    "ATTEMPTS",
    "Submission",
    "check_submission",
    "make_submission",
    "score_submission",
    "write_submission",
]
