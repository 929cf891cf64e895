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
#: Lines that a record of a CSV may take.
_LONGEST_RECORD = 1000
_WORD = re.compile(r"[^\W\d_]{2}")
#: What ``errors="surrogateescape"`` makes of bytes that are not UTF-8.
_NOT_TEXT = re.compile("[\udc80-\udcff]")

_Numbered = Iterator[tuple[int, str]]


def read_tasks(lines: Iterable[str], domain: Domain, name: str) -> Iterator[Task | TRMError]:
    """Read the puzzles of a text, each a `Task`, or the error that says why it is not one.

    Accepted: one puzzle a line; CSV (with commas, semicolons or tabs) with a header that has a
    column ``question`` or ``puzzle`` (and perhaps ``answer`` or ``solution``; other columns become
    metadata), where a quoted board may take several lines; or boards over several lines, separated
    by blank lines, of whatever shapes the domain takes. Lines that start with `Domain.comment` are
    comments.

    Parameters
    ----------
    lines : iterable of str
        An open file, for example; read as far as the tasks are asked for, except for drawn boards.
        Opened with ``errors="surrogateescape"``, a line that is not UTF-8 spoils itself alone.
    domain : Domain
        Says how a puzzle is written.
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
        for task in _Reader(domain, name).read(lines):
            yield task
            begun = True
    except (OSError, UnicodeDecodeError) as error:
        failure = InvalidInputError(f"{name} can't be read as text: {error}")
        if not begun:
            raise failure from None
        yield failure


class _Reader:
    """Reads the puzzles of one text."""

    def __init__(self, domain: Domain, name: str) -> None:
        self.domain, self.name = domain, name
        #: Where a space is a cell, a row may consist of them.
        self.keeps_spaces = domain.vocabulary.value_of(" ") is not None

    def read(self, lines: Iterable[str]) -> Iterator[Task | TRMError]:
        """Find out in which form the text is, and read it."""
        numbered = enumerate(lines, 1)
        head: list[tuple[int, str]] = []
        first = ""
        for number, line in numbered:
            line = line.removeprefix("\ufeff") if number == 1 else line
            head.append((number, line))
            if self.domain.cells_in(line) and not self._is_comment(line):
                first = line
                break
        if not first:
            raise InvalidInputError(f"{self.name} holds no puzzle")
        for delimiter in _DELIMITERS:
            header = _header(first, delimiter)
            if any(column in _QUESTIONS for column in header):
                return self._csv(numbered, header, delimiter, head[-1][0])
        everything: Iterable[tuple[int, str]] = chain(head, numbered)
        if not self.domain.is_whole(first):
            everything = list(everything)
            # One whole puzzle is enough: before it stood a title, or a puzzle cut short.
            if not any(self._is_puzzle(line) for _, line in everything):
                return self._boards(everything)
        return self._lines(everything, head[-1][0])

    def _is_comment(self, line: str) -> bool:
        sign = self.domain.comment
        return sign is not None and line.lstrip().startswith(sign)

    def _is_blank(self, line: str) -> bool:
        return not self._text(line)

    def _text(self, line: str) -> str:
        return line.rstrip("\r\n") if self.keeps_spaces else line.strip()

    def _is_puzzle(self, line: str) -> bool:
        return not self._is_comment(line) and self.domain.is_whole(line)

    def _lines(self, numbered: Iterable[tuple[int, str]], first: int) -> Iterator[Task | TRMError]:
        """One puzzle a line."""
        for number, line in numbered:
            if self._is_blank(line) or self._is_comment(line):
                continue
            text = self._text(line)
            task = self._task(text, None, f"{self.name}:{number}", {})
            if number == first and isinstance(task, TRMError) and _WORD.search(text):
                task = InvalidInputError(
                    f"{task} (the header of a CSV has a column called "
                    f"{', '.join(_QUESTIONS[:-1])} or {_QUESTIONS[-1]})"
                )
            yield task

    def _csv(
        self, numbered: _Numbered, header: list[str], delimiter: str, place: int
    ) -> Iterator[Task | TRMError]:
        """A puzzle a record, after a header on line `place`."""
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            raise InvalidInputError(
                f"{self.name} has several columns called {twice[0]!r}; one is accepted"
            )
        question = next(column for column in _QUESTIONS if column in header)
        answer = next((column for column in _ANSWERS if column in header), None)
        for number, fields in _records(numbered, delimiter, place, len(header)):
            name = f"{self.name}:{number}"
            if isinstance(fields, csv.Error):
                yield InvalidInputError(f"{name}: not a line of CSV: {fields}")
                continue
            fits = len(fields) == len(header)
            if not any(map(str.strip, fields)) or (
                # A row whose first field merely begins like a comment has all of its columns.
                self._is_comment(fields[0]) and (not fits or len(header) == 1)
            ):
                continue
            if not fits:
                yield InvalidInputError(
                    f"{name}: expected {len(header)} columns; got {len(fields)}"
                )
                continue
            row = dict(zip(header, fields, strict=True))
            known = row.pop(answer) if answer else None
            yield self._task(row.pop(question), known or None, name, row)

    def _boards(self, numbered: Iterable[tuple[int, str]]) -> Iterator[Task | TRMError]:
        """Boards over several lines, with blank lines between them."""
        blocks: list[tuple[int, list[str]]] = []
        gap = True
        for number, line in numbered:
            if self._is_blank(line):
                gap = True
            elif not self._is_comment(line):
                if gap:
                    blocks.append((number, []))
                gap = False
                blocks[-1][1].append(line)
        if not self.domain.any_size:
            whole = "".join(line for _, block in blocks for line in block)
            try:
                # One board, perhaps with blank lines between its boxes?
                alone = self.domain.read(whole).shape == self.domain.shape
            except TRMError:
                alone = False
            if alone:
                yield self._task(whole, None, self.name, {})
                return
        for number, block in blocks:
            yield self._task("".join(block), None, f"{self.name}:{number}", {})

    def _task(
        self, puzzle: str, answer: str | None, name: str, metadata: dict[str, str]
    ) -> Task | TRMError:
        if _NOT_TEXT.search(puzzle):
            return InvalidInputError(f"{name} can't be read as text: it is not UTF-8")
        try:
            task = self.domain.parse(puzzle)
            answers = None if answer is None else (self.domain.parse_answer(answer),)
        except TRMError as error:
            return InvalidInputError(f"{name}: {error}")
        return Task(task.inputs, answers=answers, name=name, metadata=metadata)


def _header(line: str, delimiter: str) -> list[str]:
    try:
        return [column.strip().lower() for column in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return []


def _records(
    numbered: _Numbered, delimiter: str, place: int, columns: int
) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The records of a CSV after line `place`, each with the number of the line it begins on.

    A quote that is never closed would take the rest of the file with it: where a record of several
    lines has not as many columns as the header, its first line alone is spoilt.
    """
    record: list[tuple[int, str]] = []
    again: list[tuple[int, str]] = []

    def lines() -> Iterator[str]:
        while len(record) < _LONGEST_RECORD:
            entry = again.pop() if again else next(numbered, None)
            if entry is None:
                return
            record.append(entry)
            yield entry[1]

    while True:
        record.clear()
        found: list[str] | csv.Error
        try:
            found = next(csv.reader(lines(), delimiter=delimiter))
        except StopIteration:
            return
        except csv.Error as error:
            found = error
        begun = record[0][0] if record else place + 1
        if len(record) > 1 and (isinstance(found, csv.Error) or len(found) != columns):
            again += reversed(record[1:])
            found = csv.Error("a quoted field is not closed")
        yield begun, found
