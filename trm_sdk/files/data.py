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
        found = list(_walk(puzzles, data, name, 0)) if isinstance(data, dict) else []
        yield from found or [puzzles.task(data, None, name, {})]


def read_data(puzzles: Puzzles, text: str) -> Iterator[Task | TRMError] | None:
    """Return the puzzles of a text that is JSON or source code; None where it has none."""
    data = data_in(text)
    if not isinstance(data, (list, dict)) or not data:
        return None
    found = _walk(puzzles, data, puzzles.name, 0)
    head = list(islice(found, _LOOKED_AT))
    readable = any(isinstance(task, Task) for task in head)
    # Errors alone say that the data is about something else, unless it has a key for puzzles.
    keyed = isinstance(data, dict) and bool(head)
    return chain(head, found) if readable or keyed else None


def _walk(puzzles: Puzzles, data: Any, name: str, depth: int) -> Iterator[Task | TRMError]:
    """The puzzles somewhere inside data, in its order."""
    if depth > 8:
        return
    if isinstance(data, dict):
        task = _record(puzzles, data, name)
        if task is not None:
            yield task
            return
        for key, value in data.items():
            if key.strip().lower() in ANSWERS:
                continue
            yield from _walk(puzzles, value, f"{name}:{key}", depth + 1)
    elif isinstance(data, (list, str)) and data:
        task = None if _has_objects(data) else puzzles.task(data, None, name, {})
        if isinstance(task, Task):
            yield task
        elif isinstance(data, list):
            for number, value in enumerate(data, 1):
                item = f"{name}:{number}"
                before = False
                for one in _walk(puzzles, value, item, depth + 1):
                    before = True
                    yield one
                if not before and _is_wrong_item(value, data):
                    yield puzzles.task(value, None, item, {})


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
        task = puzzles.task(value, None, name, {})
        several = isinstance(value, list) and not isinstance(task, Task)
        if several and any(isinstance(item, (list, str)) for item in value):
            continue  # a list of puzzles, perhaps
        answer = first_of(ANSWERS, list(names))
        known = None if answer is None else data[names[answer]]
        used = (names[question], names.get(answer or ""))
        rest = {key: item for key, item in data.items() if key not in used}
        return puzzles.task(value, known or None, name, rest)
    return None


def _names(data: dict[str, Any]) -> dict[str, str]:
    return {str(key).strip().lower(): str(key) for key in data}


def describe(text: str) -> str:
    """Return what a text that holds no puzzle looks like, for an error; may be empty."""
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        try:
            data = json.loads(start)
        except (ValueError, RecursionError) as error:
            return f"it begins like JSON, which is not valid: {first_line(error)}"
        if isinstance(data, dict):
            return f"it is a JSON object with the keys {shown(list(data))}"
        return "it is a JSON list"
    if start.lower().startswith(("<!doctype html", "<html")):
        return "it is a web page"
    if start.startswith("<"):
        return "it is XML"
    return ""


__all__ = ["describe", "object_in", "read_data", "read_jsonl"]
