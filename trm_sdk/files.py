"""Puzzle files: many puzzles in one text, read lazily in whatever form people keep them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.task import Task

_QUESTIONS = ("question", "puzzle", "quizzes")
_ANSWERS = ("answer", "solution", "solutions")
_DELIMITERS = ",;\t"
_NOT_CELLS = re.compile(r"[\s,;|+\-=/\u2500-\u257f]")
_WORD = re.compile(r"[^\W\d_]{2}")
#: What ``errors="surrogateescape"`` makes of bytes that are no UTF-8.
_NOT_TEXT = re.compile("[\udc80-\udcff]")


def read_tasks(lines: Iterable[str], domain: Domain, name: str) -> Iterator[Task | TRMError]:
    """Read the puzzles of a text, each a `Task`, or the error that says why it is none.

    Accepted: one puzzle a line; CSV (with commas, semicolons or tabs) with a header that has a
    column ``question`` or ``puzzle`` (and perhaps ``answer`` or ``solution``; other columns become
    metadata); or boards drawn over several lines, separated by blank lines. Lines that start with
    ``#`` are comments.

    Parameters
    ----------
    lines : iterable of str
        An open file, for example; read as far as the tasks are asked for, except for drawn boards.
        Opened with ``errors="surrogateescape"``, a line that is no UTF-8 spoils itself alone.
    domain : Domain
    name : str
        Of the text, for the tasks' names: ``puzzles.csv:12``.

    Raises
    ------
    InvalidInputError
        If there is no puzzle at all, the text can't be read from the start (later on, that is the
        last of the errors yielded), or a CSV names a column twice.
    """
    begun = False
    try:
        for task in _read(lines, domain, name):
            yield task
            begun = True
    except (OSError, UnicodeDecodeError) as error:
        failure = InvalidInputError(f"{name} can't be read as text: {error}")
        if not begun:
            raise failure from None
        yield failure


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
    for delimiter in _DELIMITERS:
        header = _header(first, delimiter)
        if any(column in _QUESTIONS for column in header):
            yield from _read_csv(numbered, header, delimiter, domain, name)
            return
    everything: Iterable[tuple[int, str]] = chain(head, numbered)
    if domain.shape[0] > 1 and not _is_whole(first, domain):
        everything = list(everything)
        # One whole puzzle is enough: what stands before it was a title, or a puzzle cut short.
        if not any(_is_whole(line, domain) for _, line in everything):
            yield from _read_boards(everything, domain, name)
            return
    for number, line in everything:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        task = _task(text, None, domain, f"{name}:{number}", {})
        if number == head[-1][0] and isinstance(task, TRMError) and _WORD.search(text):
            task = InvalidInputError(
                f"{task} (the header of a CSV has a column called {', '.join(_QUESTIONS[:-1])} or "
                f"{_QUESTIONS[-1]})"
            )
        yield task


def _is_whole(line: str, domain: Domain) -> bool:
    """Whether a line is too long for a row of a drawn board, and so must be a whole puzzle.

    A row has as many cells as the board has columns, each of one or two characters.
    """
    too_long = len(_NOT_CELLS.sub("", line)) > 2 * domain.shape[1]
    return too_long and not line.lstrip().startswith("#")


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [column.strip().lower() for column in _fields(line, delimiter)]
    except csv.Error:
        return []


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter))


def _read_csv(
    numbered: Iterator[tuple[int, str]],
    header: list[str],
    delimiter: str,
    domain: Domain,
    name: str,
) -> Iterator[Task | TRMError]:
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InvalidInputError(f"{name} has several columns called {twice[0]!r}; one is accepted")
    question = next(column for column in _QUESTIONS if column in header)
    answer = next((column for column in _ANSWERS if column in header), None)
    for number, line in numbered:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            fields = _fields(line, delimiter)
        except csv.Error as error:
            yield InvalidInputError(f"{name}:{number}: no line of CSV: {error}")
            continue
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
        domain.read(whole)  # one board, perhaps with blank lines between its boxes
    except TRMError:
        for number, block in blocks:
            yield _task("".join(block), None, domain, f"{name}:{number}", {})
    else:
        yield _task(whole, None, domain, name, {})


def _task(
    puzzle: str, answer: str | None, domain: Domain, name: str, metadata: dict[str, str]
) -> Task | TRMError:
    if _NOT_TEXT.search(puzzle):
        return InvalidInputError(f"{name} can't be read as text: it is not UTF-8")
    try:
        task = domain.parse(puzzle)
        answers = None if answer is None else (domain.parse_answer(answer),)
    except TRMError as error:
        return InvalidInputError(f"{name}: {error}")
    return Task(task.inputs, answers=answers, name=name, metadata=metadata)
