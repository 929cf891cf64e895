"""Puzzles as data: JSON, a JSON object a line, and lists pasted from source code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from trm_sdk.domains.cells import data_in
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files.lines import Puzzles
from trm_sdk.files.table import ANSWERS, QUESTIONS, Numbered, first_of
from trm_sdk.messages import first_line, shown
from trm_sdk.task import Task

#: Items among which one must be a puzzle.
_LOOKED_AT = 100
#: How deep puzzles may lie in data, and how many lists and objects without one are looked into.
_DEEPEST, _BUDGET = 8, 5_000
#: Further keys that hold a board, too general for a column of a CSV.
_MORE_QUESTIONS = ("value", "cells", "rows", "data")


def object_in(line: str) -> dict[str, Any] | None:
    """Return the JSON object with a puzzle that a line is; None where it is something else."""
    if not line.lstrip("\ufeff \t").startswith("{"):
        return None
    try:
        data = json.loads(line.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    known = isinstance(data, dict) and first_of(QUESTIONS, _names(data)) is not None
    return data if known else None


def read_jsonl(puzzles: Puzzles, numbered: Numbered) -> Iterator[Task | TRMError]:
    """Read a JSON object a line."""
    for number, line in numbered:
        if not line.strip():
            continue
        name = f"{puzzles.name}:{number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield InvalidInputError(f"{name}: not valid JSON: {first_line(error)}")
            continue
        found = list(_walk(puzzles, data, name)) if isinstance(data, dict) else []
        yield from found or [puzzles.task(data, None, name, {})]


def read_data(puzzles: Puzzles, text: str) -> Iterator[Task | TRMError] | None:
    """Return the puzzles of a text that is JSON or source code; None where it has none."""
    data = data_in(text)
    if not isinstance(data, (list, dict)) or not data:
        return None
    found = _walk(puzzles, data, puzzles.name)
    head = list(islice(found, _LOOKED_AT))
    readable = any(isinstance(task, Task) for task in head)
    # Errors alone say that the data is about something else, unless it has a key for puzzles.
    keyed = isinstance(data, dict) and bool(head)
    return chain(head, found) if readable or keyed else None


def _walk(
    puzzles: Puzzles, data: Any, name: str, depth: int = 0, budget: list[int] | None = None
) -> Iterator[Task | TRMError]:
    """The puzzles somewhere inside data, in its order.

    `budget` is how many lists and objects are still looked into before the next puzzle.
    """
    budget = [_BUDGET] if budget is None else budget
    budget[0] -= 1
    if depth > _DEEPEST or budget[0] < 0:
        return
    if isinstance(data, dict):
        task = _record(puzzles, data, name)
        if task is not None:
            budget[0] = _BUDGET
            yield task
            return
        table = _table(puzzles, data)
        if table is not None:
            yield from _walk(puzzles, table, name, depth + 1, budget)
            return
        yield from _values(puzzles, data, name, depth, budget)
    elif isinstance(data, (list, str)) and data:
        rows = _rows(data)
        task = None if _has_objects(rows) else puzzles.task(rows, None, name, {})
        if isinstance(task, Task):
            budget[0] = _BUDGET
            yield task
        elif isinstance(data, list):
            for number, value in enumerate(data, 1):
                if not isinstance(value, (list, dict, str)):
                    continue
                item = f"{name}:{number}"
                before = False
                for one in _walk(puzzles, value, item, depth + 1, budget):
                    before = True
                    yield one
                if not before and budget[0] > 0 and _is_wrong_item(value, data):
                    yield puzzles.task(value, None, item, {})


def _values(
    puzzles: Puzzles, data: dict[str, Any], name: str, depth: int, budget: list[int]
) -> Iterator[Task | TRMError]:
    """The puzzles of an object whose keys say nothing, but perhaps which value is the answer."""
    answer = first_of(ANSWERS, list(_names(data)))
    found: list[Task | TRMError] = []
    for key, value in data.items():
        if key.strip().lower() not in ANSWERS and isinstance(value, (list, dict, str)):
            inside = _walk(puzzles, value, f"{name}:{key}", depth + 1, budget)
            if answer is None:
                yield from inside
            else:
                found += inside
    known = None if answer is None else data[_names(data)[answer]]
    if known and len(found) == 1 and isinstance(found[0], Task) and found[0].answers is None:
        yield puzzles.task(found[0], known, name, {})
    else:
        yield from found


def _are_boards(puzzles: Puzzles, items: list[Any]) -> bool:
    """Whether the items of a list may be boards, not the rows of one."""
    domain = puzzles.domain
    for item in items[:1]:
        if isinstance(item, str):
            return "\n" in item.strip() or domain.is_whole(item)
        if isinstance(item, list):
            nested = any(isinstance(one, (list, str)) for one in item)
            return len(item) == domain.seq_len or (nested and not _is_row(item))
    return True


def _is_row(item: list[Any]) -> bool:
    """Whether a list holds cells: texts of a character or two, numbers and nothing."""
    return all(not isinstance(one, list) and len(str(one)) <= 4 for one in item)


def _table(puzzles: Puzzles, data: dict[str, Any]) -> list[Any] | None:
    """The records of a data frame that was written by columns, or by rows without their names."""
    names = _names(data)
    columns, rows = data.get("columns"), data.get("data")
    if isinstance(rows, list) and isinstance(data.get("schema"), dict):
        return rows
    if isinstance(columns, list) and isinstance(rows, list):
        same = all(isinstance(row, list) and len(row) == len(columns) for row in rows)
        named = first_of(QUESTIONS, [str(one).strip().lower() for one in columns]) is not None
        return (
            [dict(zip(map(str, columns), row, strict=True)) for row in rows]
            if same and named
            else rows
        )
    question = first_of(QUESTIONS, list(names))
    first = None if question is None else data[names[question]]
    if not isinstance(first, (list, dict)) or not first or question is None:
        return None
    numbered = isinstance(first, list) or all(str(key).isdecimal() for key in first)
    if not numbered or _has_objects([*(first.values() if isinstance(first, dict) else first)]):
        return None
    if isinstance(first, list) and not _are_boards(puzzles, first):
        return None
    keys = list(first) if isinstance(first, dict) else list(range(len(first)))
    whole = {
        key: column
        for key, column in data.items()
        if type(column) is type(first)
        and len(column) == len(first)
        and (isinstance(column, list) or set(column) == set(keys))
    }
    return [{key: column[row] for key, column in whole.items()} for row in keys]


def _rows(data: Any) -> Any:
    """The rows of a board whose rows are objects with a key a column."""
    if not isinstance(data, list) or not isinstance(data[0], dict):
        return data
    keys = list(data[0])
    plain = (str, int, float, type(None))
    if all(
        isinstance(row, dict)
        and list(row) == keys
        and all(isinstance(cell, plain) for cell in row.values())
        for row in data
    ):
        return [list(row.values()) for row in data]
    return data


def _has_objects(data: Any) -> bool:
    return isinstance(data, list) and any(isinstance(item, dict) for item in data)


def _is_wrong_item(value: Any, data: list[Any]) -> bool:
    """Whether an item of a list of puzzles is meant as one, and is none."""
    return isinstance(value, str) and all(isinstance(item, str) for item in data)


def _record(puzzles: Puzzles, data: dict[str, Any], name: str) -> Task | TRMError | None:
    """The task of an object that has a key for the puzzle."""
    names = _names(data)
    for question in (*QUESTIONS, *_MORE_QUESTIONS):
        value = data.get(names.get(question, ""))
        if isinstance(value, dict) or value in (None, "", []) or _has_objects(value):
            continue
        answer = first_of(ANSWERS, list(names))
        used = (names[question], names.get(answer or ""))
        rest = {key: item for key, item in data.items() if key not in used}
        task = puzzles.task(value, None, name, rest)
        several = isinstance(value, list) and not isinstance(task, Task)
        if several and (question in _MORE_QUESTIONS or _are_boards(puzzles, value)):
            continue  # a list of puzzles, perhaps
        known = None if answer is None else data[names[answer]]
        return puzzles.task(value, known or None, name, rest)
    return None


def _names(data: dict[str, Any]) -> dict[str, str]:
    return {str(key).strip().lower(): str(key) for key in data}


def describe(puzzles: Puzzles, text: str) -> str:
    """Return what a text that holds no puzzle looks like, for an error; may be empty."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        try:
            data = json.loads(start)
        except (ValueError, RecursionError) as error:
            return f"it begins like JSON, which is not valid: {first_line(error)}"
        if isinstance(data, dict):
            return f"it is a JSON object with the keys {shown(list(data))}"
        if data and isinstance(data, list):
            return f"it is a JSON list, and {puzzles.reason(data)}"
        return "it is an empty JSON list"
    if start.lower().startswith(("<!doctype html", "<html")):
        return "it is a web page"
    if start.startswith("<"):
        return "it is XML"
    return ""


__all__ = ["describe", "object_in", "read_data", "read_jsonl"]
