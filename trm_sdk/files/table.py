"""CSV with a header: which column is the puzzle, and records that take several lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files.lines import DELIMITERS, Puzzles, split_record
from trm_sdk.task import Task

#: Names of columns, and of keys in JSON, that hold the puzzle; those that come first are preferred.
QUESTIONS = (
    *("question", "puzzle", "quizzes", "puzzles", "quiz", "questions", "sudoku", "board", "grid"),
    *("problem", "givens", "clues", "unsolved", "initial", "input", "maze"),
)
ANSWERS = (
    "answer",
    "solution",
    "solutions",
    "answers",
    "solved",
    "solved_puzzle",
    "output",
    "target",
)
#: Those that errors name.
NAMED = "question, puzzle or quizzes"
#: Characters of a header.
_LONGEST_HEADER = 20_000
#: Lines that a record of a CSV may take.
_LONGEST_RECORD = 1000

#: ``'0053``, and ``="0053"``.
_GUARDED = re.compile(r"\s*(?:'([0-9.]+)|=\"([0-9.]+)\")\s*")

Numbered = Iterator[tuple[int, str]]


class Header(NamedTuple):
    """The columns of a CSV, what parts them, and which are the puzzle and its answer."""

    columns: list[str]
    delimiter: str
    question: str
    answer: str | None


def header_of(line: str) -> Header | None:
    """Return the header that a line is by the names in it; None where it is not one."""
    if len(line) > _LONGEST_HEADER:
        return None
    for delimiter in f"{DELIMITERS}|":
        header = _names(line, delimiter)
        question = first_of(QUESTIONS, header)
        if question is not None:
            return Header(header, delimiter, question, first_of(ANSWERS, header))
    return None


def header_above(puzzles: Puzzles, line: str, below: str) -> Header | None:
    """Return the header that a line is by the record below it, whatever it calls its columns.

    The first field of the record that is a board is the puzzle, the second one the answer where it
    is filled. None where the lines differ in number of fields, or there is no board.
    """
    for delimiter in DELIMITERS:
        header, record = _names(line, delimiter), split_record(below, delimiter)
        if not 2 <= len(header) == len(record) == len(set(header)):
            continue
        boards = [puzzles.board(part) if puzzles.domain.is_whole(part) else None for part in record]
        columns = [name for name, one in zip(header, boards, strict=True) if one is not None]
        filled = [name for name, one in zip(header, boards, strict=True) if puzzles.is_filled(one)]
        if columns and columns[0] not in filled:
            answer = columns[1] if len(columns) > 1 and columns[1] in filled else None
            return Header(header, delimiter, columns[0], answer)
    return None


def _names(line: str, delimiter: str) -> list[str]:
    return [name.strip().strip("\ufeff").lower() for name in split_record(line, delimiter)]


def first_of(names: Sequence[str], header: Container[str]) -> str | None:
    """Return the first of some names that is in a header."""
    return next((name for name in names if name in header), None)


def read_csv(
    puzzles: Puzzles, numbered: Numbered, header: Header, place: int
) -> Iterator[Task | TRMError]:
    """Read a puzzle a record, after a header on line `place`.

    Raises
    ------
    InvalidInputError
        If a column is named twice.
    """
    columns = header.columns
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise InvalidInputError(
            f"{puzzles.name} has several columns called {twice[0]!r}; one is accepted"
        )
    return _rows(puzzles, numbered, header, place)


def _rows(
    puzzles: Puzzles, numbered: Numbered, header: Header, place: int
) -> Iterator[Task | TRMError]:
    columns, delimiter, question, answer = header
    for number, fields in _records(numbered, delimiter, place, len(columns)):
        name = f"{puzzles.name}:{number}"
        if isinstance(fields, csv.Error):
            yield InvalidInputError(f"{name}: not a line of CSV: {fields}")
            continue
        fits = len(fields) == len(columns)
        if delimiter == "|" and set("".join(fields).strip()) <= set("-: "):
            continue  # the rule below the header of a table in Markdown
        if not any(map(str.strip, fields)) or (
            # A row whose first field merely begins like a comment has all of its columns.
            puzzles.is_comment(fields[0]) and (not fits or len(columns) == 1)
        ):
            continue
        if not fits:
            yield InvalidInputError(f"{name}: expected {len(columns)} columns; got {len(fields)}")
            continue
        row = dict(zip(columns, fields, strict=True))
        known = row.pop(answer) if answer else None
        known = _as_text(known) if known and known.strip() else None
        yield puzzles.task(_as_text(row.pop(question)), known, name, row)


def _as_text(field: str) -> str:
    """A field without what keeps a spreadsheet from taking its digits for a number."""
    found = _GUARDED.fullmatch(field)
    return field if found is None else found[1] or found[2]


def _records(
    numbered: Numbered, delimiter: str, place: int, columns: int
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


__all__ = [
    "ANSWERS",
    "NAMED",
    "QUESTIONS",
    "Header",
    "Numbered",
    "first_of",
    "header_above",
    "header_of",
    "read_csv",
]
