"""Puzzle files: many puzzles in one text, read lazily in whatever form people keep them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

_QUESTIONS = ("question", "puzzle", "quizzes")
_ANSWERS = ("answer", "solution", "solutions")
_NOT_CELLS = re.compile(r"[\s,;|+\-=/\u2500-\u257f]")


def read_tasks(lines: Iterable[str], domain: Domain, name: str) -> Iterator[Task | TRMError]:
    """Read the puzzles of a text, each a `Task`, or the error that says why it is none.

    Accepted: one puzzle a line; CSV with a header that has a column ``question`` or ``puzzle``
    (and perhaps ``answer`` or ``solution``; other columns become metadata); or boards drawn over
    several lines, separated by blank lines. Lines that start with ``#`` are comments.

    Parameters
    ----------
    lines : iterable of str
        An open file, for example; read as far as the tasks are asked for, except for drawn boards.
    domain : Domain
    name : str
        Of the text, for the tasks' names: ``puzzles.csv:12``.

    Raises
    ------
    InvalidInputError
        If there is no puzzle at all, or the text can't be read.
    """
    try:
        yield from _read(lines, domain, name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{name} can't be read as text: {error}") from None


def _read(lines: Iterable[str], domain: Domain, name: str) -> Iterator[Task | TRMError]:
    numbered = enumerate(lines, 1)
    head: list[tuple[int, str]] = []
    first = ""
    for number, line in numbered:
        line = line.removeprefix("\ufeff") if number == 1 else line
        head.append((number, line))
        if _NOT_CELLS.sub("", line) and not line.lstrip().startswith("#"):
            first = line
            break
    if not first:
        raise InvalidInputError(f"{name} holds no puzzle")
    everything = chain(head, numbered)
    header = [column.strip().lower() for column in next(csv.reader([first]))]
    if any(column in _QUESTIONS for column in header):
        yield from _read_csv(numbered, header, domain, name)
    # A row of a drawn board has as many cells as the board has columns, each of one or two
    # characters; anything longer is a whole puzzle.
    elif domain.shape[0] == 1 or len(_NOT_CELLS.sub("", first)) > 2 * domain.shape[1]:
        for number, line in everything:
            text = line.strip()
            if text and not text.startswith("#"):
                yield _task(text, None, domain, f"{name}:{number}", {})
    else:
        yield from _read_boards(everything, domain, name)


def _read_csv(
    numbered: Iterator[tuple[int, str]], header: list[str], domain: Domain, name: str
) -> Iterator[Task | TRMError]:
    question = next(column for column in _QUESTIONS if column in header)
    answer = next((column for column in _ANSWERS if column in header), None)
    for number, line in numbered:
        if not line.strip():
            continue
        fields = next(csv.reader([line]))
        if len(fields) != len(header):
            yield InvalidInputError(
                f"{name}:{number}: expected {len(header)} columns; got {len(fields)}"
            )
            continue
        row = dict(zip(header, fields, strict=True))
        known = row.pop(answer) if answer else None
        yield _task(row.pop(question), known or None, domain, f"{name}:{number}", row)


def _read_boards(
    numbered: Iterable[tuple[int, str]], domain: Domain, name: str
) -> Iterator[Task | TRMError]:
    blocks: list[tuple[int, list[str]]] = []
    gap = True
    for number, line in numbered:
        if not line.strip():
            gap = True
        elif not line.lstrip().startswith("#"):
            if gap:
                blocks.append((number, []))
            gap = False
            blocks[-1][1].append(line)
    whole = "".join(line for _, block in blocks for line in block)
    try:
        Grid.parse(whole, domain.shape)  # one board, perhaps with blank lines between its boxes
    except TRMError:
        for number, block in blocks:
            yield _task("".join(block), None, domain, f"{name}:{number}", {})
    else:
        yield _task(whole, None, domain, name, {})


def _task(
    puzzle: str, answer: str | None, domain: Domain, name: str, metadata: dict[str, str]
) -> Task | TRMError:
    try:
        task = domain.parse(puzzle)
        answers = None if answer is None else (Grid.parse(answer, domain.shape),)
    except TRMError as error:
        return InvalidInputError(f"{name}: {error}")
    return Task(task.inputs, answers=answers, name=name, metadata=metadata)
