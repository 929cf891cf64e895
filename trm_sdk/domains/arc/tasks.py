"""ARC's JSON files: single tasks, folders of them, and combined files with their solutions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from trm_sdk.domains.arc.canvas import COLOURS, SIDE
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import first_line, shown
from trm_sdk.task import Task
from trm_sdk.validation import as_path

_SECTIONS = ("train", "test")


def read_tasks(
    path: str | os.PathLike[str], solutions: str | os.PathLike[str] | None = None
) -> list[Task]:
    """Read all tasks of a file or folder, in the order of the file.

    Accepted: a task, ``{"train": [pair, ...], "test": [pair, ...]}``, named after its file; a
    combined file as on Kaggle, ``{id: task, ...}``, or a list of tasks; a folder, in which every
    ``*.json`` at any depth is one of these, as in the repositories of ARC-AGI-1, ARC-AGI-2 and
    ConceptARC. A pair is
    ``{"input": grid, "output": grid}``; outputs of test pairs may be missing, or null.

    Parameters
    ----------
    path : path
    solutions : path, optional
        Of the test outputs, ``{id: [grid, ...], ...}``. Default: beside a file whose name has
        ``challenges`` in it, the file with ``solutions`` instead, where there is one.

    Returns
    -------
    list of Task
        `name` is the task's id. ``metadata["sections"]`` is the order of "train" and "test" in the
        file, on which the reference's data sets depend; other keys of the task stand there, too.

    Raises
    ------
    InvalidInputError
        Naming file, task, pair and row of what is wrong: JSON, keys, types, sizes, colours,
        duplicate ids, solutions that do not match.
    """
    place = as_path(path)
    if not place.is_dir():
        return _read_file(place, None if solutions is None else as_path(solutions))
    if solutions is not None:
        raise InvalidInputError(
            f"solutions are for a combined file; got them with the folder {place}"
        )
    files = sorted(
        file
        for file in place.rglob("*.json")
        if not file.stem.endswith(("_solutions", "-solutions"))
    )
    if not files:
        raise InvalidInputError(f"{place} holds no .json file")
    tasks: dict[str | None, Task] = {}
    for file in files:
        for task in _read_file(file, None):
            if task.name in tasks:
                raise InvalidInputError(f"{file}: the id {task.name!r} is in another file, too")
            tasks[task.name] = task
    return list(tasks.values())


def _read_file(path: Path, solutions: Path | None) -> list[Task]:
    return tasks_in(_loaded(path), path.name, path, solutions)


def tasks_in(
    data: Any, source: str, path: Path | None = None, solutions: Path | None = None
) -> list[Task]:
    """Return the tasks of a file's parsed JSON; see `read_tasks`.

    Parameters
    ----------
    data : dict
    source : str
        Name of the file, for errors; without its ending, the id of a single task.
    path, solutions : Path, optional
        As in `read_tasks`.
    """
    if solutions is None and path is not None and "challenges" in path.name:
        beside = path.with_name(path.name.replace("challenges", "solutions"))
        solutions = beside if beside.is_file() else None
    if not data:
        raise InvalidInputError(f"{source}: holds no task")
    if isinstance(data, list):
        tasks = _listed(data, PurePath(source).stem, source)
    elif isinstance(data, dict) and not set(_SECTIONS) & set(data):
        tasks = [task_of(value, name, source) for name, value in data.items()]
    else:
        tasks = [task_of(data, PurePath(source).stem, source)]
    if solutions is None:
        return tasks
    return _merged(tasks, _loaded(solutions), solutions.name)


def _listed(data: list[Any], stem: str, source: str) -> list[Task]:
    """Return the tasks of a list, each named by its "id" or "name", or after its place."""
    if all(isinstance(item, dict) and "input" in item for item in data):
        raise InvalidInputError(
            f"{source}: a list of {len(data)} pairs, of which none says whether it is a "
            "demonstration or a test; a task is an object with the keys 'train' and 'test'"
        )
    tasks = []
    for number, item in enumerate(data, start=1):
        known = [item.get(key) for key in ("id", "name")] if isinstance(item, dict) else []
        names = [one for one in known if isinstance(one, str) and one]
        tasks.append(task_of(item, names[0] if names else f"{stem}-{number}", source))
    names = [str(task.name) for task in tasks]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise InvalidInputError(f"{source}: the id {twice!r} stands twice in the list")
    return tasks


def _loaded(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} can't be read as text: {error}") from None
    return parse_json(text, path.name)


def parse_json(text: str, source: str) -> Any:
    """Return the data of a JSON text; keys that stand twice are refused.

    Raises
    ------
    InvalidInputError
        Naming `source` and where the text goes wrong.
    """

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidInputError(f"{source}: the key {twice!r} appears twice in one object")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except InvalidInputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{source}: not valid JSON: {first_line(error)}") from None


def task_of(data: Any, name: str | None, source: str | None = None) -> Task:
    """Return the task that parsed JSON describes.

    Parameters
    ----------
    data : dict
        ``{"train": [pair, ...], "test": [pair, ...]}``; see `read_tasks`.
    name : str or None
        The task's id.
    source : str, optional
        Of the data, for errors: a file's name.

    Raises
    ------
    InvalidInputError
        Naming source, task, pair and row.
    """
    where = (f"{source}: " if source else "") + (f"task {name}" if name else "a task")
    if not isinstance(data, dict):
        raise InvalidInputError(
            f"{where}: must be an object with the keys 'train' and 'test'; got {shown(data)}"
        )
    for section in _SECTIONS:
        if section not in data:
            raise InvalidInputError(f"{where}: missing key {section!r}; got {shown(list(data))}")
        if not isinstance(data[section], list) or not data[section]:
            raise InvalidInputError(
                f"{where}, {section}: must be a list of at least one pair; "
                f"got {shown(data[section])}"
            )
    demonstrations: list[tuple[Grid, Grid]] = []
    for number, pair in enumerate(data["train"], start=1):
        before, after = _pair(pair, f"{where}, train pair {number}")
        if after is None:
            raise InvalidInputError(f"{where}, train pair {number}: missing key 'output'")
        demonstrations.append((before, after))
    tests = [
        _pair(pair, f"{where}, test pair {number}")
        for number, pair in enumerate(data["test"], start=1)
    ]
    answers = [after for _, after in tests if after is not None]
    if answers and len(answers) < len(tests):
        missing = next(i for i, (_, after) in enumerate(tests, start=1) if after is None)
        raise InvalidInputError(
            f"{where}, test pair {missing}: missing key 'output', which other test pairs have"
        )
    metadata = {key: value for key, value in data.items() if key not in _SECTIONS}
    metadata["sections"] = tuple(key for key in data if key in _SECTIONS)
    return Task(
        tuple(before for before, _ in tests),
        tuple(demonstrations),
        tuple(answers) or None,
        name,
        metadata,
    )


def _pair(pair: Any, where: str) -> tuple[Grid, Grid | None]:
    if not isinstance(pair, dict):
        raise InvalidInputError(f"{where}: must be an object with an 'input'; got {shown(pair)}")
    unknown = sorted(set(pair) - {"input", "output"})
    if unknown:
        raise InvalidInputError(
            f"{where}: unknown key {unknown[0]!r}; a pair has 'input' and 'output'"
        )
    if "input" not in pair:
        raise InvalidInputError(f"{where}: missing key 'input'")
    given = pair.get("output")  # null where it is withheld
    output = None if given is None else grid_of(given, f"{where}, output")
    return grid_of(pair["input"], f"{where}, input"), output


def grid_of(cells: Any, where: str) -> Grid:
    """Return the grid that a list of rows describes: 1 to 30 rows of colours 0 to 9.

    Parameters
    ----------
    cells : list of lists of int
    where : str
        What the grid is, for errors.

    Raises
    ------
    InvalidInputError
        Naming the row and, for a colour, the column.
    """
    if not isinstance(cells, list):
        raise InvalidInputError(f"{where}: a grid must be a list of rows; got {shown(cells)}")
    if not 1 <= len(cells) <= SIDE:
        raise InvalidInputError(f"{where}: a grid must have 1 to {SIDE} rows; got {len(cells)}")
    for number, row in enumerate(cells, start=1):
        place = f"{where}, row {number}"
        if not isinstance(row, list):
            raise InvalidInputError(f"{place}: must be a list of colours; got {shown(row)}")
        if not 1 <= len(row) <= SIDE:
            raise InvalidInputError(f"{place}: must have 1 to {SIDE} cells; got {len(row)}")
        if len(row) != len(cells[0]):
            raise InvalidInputError(
                f"{place}: must have {len(cells[0])} cells, as row 1 has; got {len(row)}"
            )
        for column, colour in enumerate(row, start=1):
            if type(colour) is not int or not 0 <= colour < COLOURS:
                raise InvalidInputError(
                    f"{place}, column {column}: a colour must be a whole number from 0 to 9; "
                    f"got {shown(colour)}"
                )
    return Grid(cells)


def entries_of(
    data: Mapping[Any, Any], task: Task, source: str, what: str
) -> tuple[str, list[Any]]:
    """Return where a task stands in a file, and the list that it has there, one entry an input.

    Raises
    ------
    InvalidInputError
        If the task is missing, or has something else; `what` says what its entries are.
    """
    where = f"{source}: task {task.name}"
    if task.name not in data:
        raise InvalidInputError(f"{where}: missing")
    entries = data[task.name]
    if not isinstance(entries, list) or len(entries) != len(task.inputs):
        given = len(entries) if isinstance(entries, list) else shown(entries)
        raise InvalidInputError(
            f"{where}: must be a list of {len(task.inputs)} {what}, one a test input; got {given}"
        )
    return where, entries


def _merged(tasks: list[Task], data: Any, source: str) -> list[Task]:
    """Tasks with the test outputs of a solutions file."""
    if not isinstance(data, dict):
        raise InvalidInputError(f"{source}: must be an object of lists of grids; got {shown(data)}")
    unknown = sorted(set(data) - {str(task.name) for task in tasks})
    if unknown:
        raise InvalidInputError(f"{source}: task {unknown[0]}: the challenges have no such task")
    merged = []
    for task in tasks:
        where, outputs = entries_of(data, task, source, "grids")
        answers = tuple(
            grid_of(cells, f"{where}, test output {number}")
            for number, cells in enumerate(outputs, start=1)
        )
        if task.answers not in (None, answers):
            raise InvalidInputError(f"{where}: differs from the outputs that the task itself has")
        merged.append(Task(task.inputs, task.demonstrations, answers, task.name, task.metadata))
    return merged


__all__ = ["grid_of", "parse_json", "read_tasks", "task_of", "tasks_in"]
