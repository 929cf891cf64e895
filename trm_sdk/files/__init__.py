"""Puzzle files: many puzzles in one text, in whatever form people keep them.

Reading goes in three steps. `opening` unpacks and decodes a file; this module recognises the form
of the text, with `table` (CSV), `data` (JSON and source code), `lines` (a puzzle a line, with other
things beside it) and `boards`; and the cells are the domain's to read. Forms that only one kind of
puzzle has are that domain's, too: `Domain.read_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from trm_sdk.domains.base import Domain
from trm_sdk.domains.rows import is_frame
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files.boards import read_boards
from trm_sdk.files.data import describe, object_in, read_data, read_jsonl
from trm_sdk.files.lines import Puzzles
from trm_sdk.files.opening import decoded_lines, open_lines
from trm_sdk.files.table import NAMED, header_above, header_of, read_csv
from trm_sdk.messages import shown
from trm_sdk.task import Task

#: Lines in which one is looked for that holds a puzzle; what comes after such lines is streamed.
_LOOKED_AT = 1000
#: Errors that are named one by one where no puzzle has been read.
_SOME_ERRORS = 9
#: Blank lines and comments above the first puzzle.
_MOST_AHEAD = 1 << 18
#: What is looked at as a whole: JSON of 25,000 boards with a cell a line, 190,000 drawn ones.
_MOST_LINES, _MOST_CHARACTERS = 1 << 21, 1 << 26
_DATA = re.compile(r"\s*(?:[{\[<]|(?:import|from|package|using|#include|#!|//)\b)")
_ASSIGNS = re.compile(r"\w\s*=\s*[\[{(]")
#: What Excel takes for the first line of a CSV that says how fields are parted.
_SEPARATOR = re.compile(r"\"?sep=[,;|\t]?\"?", re.IGNORECASE)
#: How files in TOML and INI begin, and lists of code with a puzzle a line.
_SECTION = re.compile(r"\s*(?:\[\[?[\w.-]+\]\]?|[\[{(])\s*\n|[^\n]*=\s*[\[{(]")
_OPENS = re.compile(r"\s*[\[{]+\s*")
_WORD = re.compile(r"[^\W\d_]{2}")

_Lines = list[tuple[int, str]]


def read_tasks(
    lines: Iterable[str], domain: Domain, name: str, path: Path | None = None
) -> Iterator[Task | TRMError]:
    """Read the puzzles of a text, each a `Task`, or the error that says why it is not one.

    Accepted: one puzzle a line, perhaps with a rating, a note or its answer beside it, or in a
    link; CSV (with commas, semicolons or tabs) with a header that has a column ``question`` or
    ``puzzle`` (and perhaps ``answer`` or ``solution``; other columns become metadata), where a
    quoted board may take several lines; JSON, a JSON object a line, and lists pasted from source
    code; boards over several lines, with blank lines or titles between them, of whatever shapes the
    domain takes; and the forms that only this domain has (`Domain.read_file`). Lines that start
    with `Domain.comment` are comments.

    Parameters
    ----------
    lines : iterable of str
        An open file, for example, or what `open_lines` gives; CSV and puzzles a line are read as
        far as the tasks are asked for. Opened with ``errors="surrogateescape"``, a line that is not
        UTF-8 spoils itself alone.
    domain : Domain
        Says how a puzzle is written.
    name : str
        Of the text, for the tasks' names: ``puzzles.csv:12``.
    path : Path, optional
        Where the text lies, for domains that look beside it.

    Raises
    ------
    InvalidInputError
        If there is no puzzle at all, the text can't be read from the start (later on, that is the
        last of the errors yielded), or a CSV names a column twice.

    Notes
    -----
    Where no puzzle has been read, nine errors are yielded as they come, a thousand others once a
    puzzle follows, and one that counts the rest; at the end, one says that nothing can be read.
    """
    begun = False
    try:
        puzzles = Puzzles(domain, name)
        for task in _not_all_in_vain(_recognised(lines, puzzles, path), name):
            yield task
            begun = True
        if not begun:  # a header, and nothing below it
            raise InvalidInputError(f"{name} holds no puzzle")
    except (OSError, UnicodeDecodeError) as error:
        failure = InvalidInputError(f"{name} can't be read as text: {error}")
        if not begun:
            raise failure from None
        yield failure


def read_file(path: Path, domain: Domain, name: str | None = None) -> Iterator[Task | TRMError]:
    """Read the puzzles of a file: `read_tasks` of what `open_lines` gives.

    Parameters
    ----------
    path : Path
        Of text in any usual encoding, perhaps in .gz or .zip.
    domain : Domain
    name : str, optional
        For the tasks' names. Default: the file's name.
    """
    return read_tasks(open_lines(path), domain, path.name if name is None else name, path)


def _not_all_in_vain(tasks: Iterator[Task | TRMError], name: str) -> Iterator[Task | TRMError]:
    """Give a few errors as they come, and the others once there is a puzzle among them.

    A file of another kind is one thing that is wrong, not one a line.
    """
    held: list[TRMError] = []
    number = 0
    for number, task in enumerate(tasks, 1):
        if isinstance(task, Task):
            yield from held
            if (more := number - 1 - _SOME_ERRORS - len(held)) > 0:
                yield InvalidInputError(f"{name}: {more:,} further puzzles can't be read")
            yield task
            yield from tasks
            return
        if number <= _SOME_ERRORS:
            yield task
        elif len(held) < _LOOKED_AT:
            held.append(task)
    if held:
        yield InvalidInputError(f"{name}: none of its {number:,} puzzles can be read")


def _with_answers_below(
    tasks: Iterator[Task | TRMError], puzzles: Puzzles
) -> Iterator[Task | TRMError]:
    """A filled board right after a puzzle whose givens it keeps is the answer to it."""
    waiting: Task | None = None
    for task in tasks:
        if waiting is not None and isinstance(task, Task) and puzzles.is_answer(task, waiting):
            task = replace(waiting, answers=task.inputs)
        elif waiting is not None:
            yield waiting
        waiting = None
        if isinstance(task, Task) and puzzles.wants_answer(task):
            waiting = task
        else:
            yield task
    if waiting is not None:
        yield waiting


def _recognised(
    lines: Iterable[str], puzzles: Puzzles, path: Path | None
) -> Iterator[Task | TRMError]:
    """Find out in which form the text is, and read it."""
    domain = puzzles.domain
    numbered = enumerate(lines, 1)
    head: _Lines = []
    first = ""
    for number, line in numbered:
        line = line.removeprefix("\ufeff") if number == 1 else line
        if number == 1 and _SEPARATOR.fullmatch(line.strip()):
            continue  # the header shows it
        if _is_note(line, domain):
            continue
        head.append((number, line))
        if domain.cells_in(line) and not puzzles.is_comment(line):
            first = line
            break
        if len(head) > _MOST_AHEAD:
            raise InvalidInputError(f"{puzzles.name} holds no puzzle in its first {number:,} lines")
    if not first:
        raise InvalidInputError(f"{puzzles.name} holds no puzzle")
    found = header_of(first)
    if found is not None:
        ahead = _next_line(numbered) if len(found.columns) == 1 else []
        # A single word above rows of a board is its title.
        if not ahead or domain.is_whole(ahead[-1][1]) or '"' in ahead[-1][1]:
            return read_csv(puzzles, chain(ahead, numbered), found, head[-1][0])
        head += ahead
    if object_in(first) is not None:
        return read_jsonl(puzzles, chain(head, numbered))
    begins = next(number for number, line in head if line is first)
    opened = any(_OPENS.fullmatch(line) for _, line in head)
    if not opened and domain.is_whole(first) and puzzles.board(puzzles.text(first)) is not None:
        return _each_line(puzzles, chain(head, numbered), begins)
    if not (opened or _is_data(first) or is_frame(first)):
        # One whole puzzle is enough: before it stood a title, or a puzzle cut short.
        if any(puzzles.is_puzzle(line) for _, line in head):
            return _each_line(puzzles, chain(head, numbered), begins)
        for entry in numbered:
            head.append(entry)
            if puzzles.is_puzzle(entry[1]):
                header = header_above(puzzles, first, entry[1]) if head[-2][1] is first else None
                if header is not None:
                    return read_csv(puzzles, chain([entry], numbered), header, begins)
                return _each_line(puzzles, chain(head, numbered), begins)
            if len(head) == _LOOKED_AT:
                break
    return _whole_text(puzzles, _gathered(puzzles, chain(head, numbered)), path)


def _gathered(puzzles: Puzzles, numbered: Iterable[tuple[int, str]]) -> _Lines:
    """All lines, of a text that is not too large for that."""
    found: _Lines = []
    size = 0
    for entry in numbered:
        found.append(entry)
        size += len(entry[1])
        if len(found) > _MOST_LINES or size > _MOST_CHARACTERS:
            raise InvalidInputError(
                f"{puzzles.name} is too large: CSV and a puzzle a line have no end, but text of "
                f"this form is read as a whole, up to {_MOST_LINES:,} lines and "
                f"{_MOST_CHARACTERS:,} characters"
            )
    return found


def _is_note(line: str, domain: Domain) -> bool:
    """Return whether a line is a comment of a programming language, above the data."""
    return domain.comment is not None and line.lstrip().startswith("//")


def _next_line(numbered: Iterator[tuple[int, str]]) -> _Lines:
    """The lines up to the next that is not blank."""
    found: _Lines = []
    for entry in numbered:
        found.append(entry)
        if entry[1].strip():
            break
    return found


def _is_data(line: str) -> bool:
    """Whether a line begins JSON, XML, sections or source code, which are read as a whole."""
    return bool(_DATA.match(line) or _ASSIGNS.search(line)) or line.rstrip().endswith(
        ("[", "{", "(")
    )


def _each_line(
    puzzles: Puzzles, numbered: Iterable[tuple[int, str]], first: int
) -> Iterator[Task | TRMError]:
    """One puzzle a line."""
    for number, line in numbered:
        if puzzles.is_blank(line) or puzzles.is_comment(line):
            continue
        task = puzzles.line(line, number)
        if number == first and isinstance(task, TRMError) and _WORD.search(line):
            task = InvalidInputError(f"{task} (the header of a CSV has a column called {NAMED})")
        yield task


def _whole_text(puzzles: Puzzles, numbered: _Lines, path: Path | None) -> Iterator[Task | TRMError]:
    """Forms for which the whole text is looked at."""
    text = "".join(line for _, line in numbered)
    found = puzzles.domain.read_file(text, puzzles.name, path)
    found = read_data(puzzles, text) if found is None else found
    if found is not None:
        return _with_answers_below(found, puzzles)
    tasks = read_boards(puzzles, numbered)
    if any(isinstance(task, Task) for task in tasks):
        return _with_answers_below(iter(tasks), puzzles)
    if _SECTION.match(text):
        whole = [(number, line) for number, line in numbered if puzzles.domain.is_whole(line)]
        if any(puzzles.is_puzzle(line) for _, line in whole[:_LOOKED_AT]):
            return _each_line(puzzles, whole, 0)
    raise InvalidInputError(_nothing(puzzles, numbered, text, tasks))


def _nothing(puzzles: Puzzles, numbered: _Lines, text: str, tasks: list[Task | TRMError]) -> str:
    """What is said of a text in which nothing is a puzzle."""
    number, first = next(
        (number, line)
        for number, line in numbered
        if puzzles.domain.cells_in(line) and not puzzles.is_comment(line)
    )
    kind = describe(puzzles, text)
    if kind:
        return f"{puzzles.name} holds no puzzle of {puzzles.domain.name}: {kind}"
    hint = f" (the header of a CSV has a column called {NAMED})"
    word = _WORD.search(first)
    hint = hint if word and re.search(r"[,;\t]", first[word.end() :]) else ""
    words = puzzles.has_words(first)
    alone = text.strip() == first.strip()
    if puzzles.domain.is_whole(first) and (alone or not words):
        return f"{puzzles.line(first, number)}{hint}"
    if len(tasks) == 1 and not words:
        return f"{tasks[0]}{hint}"
    return (
        f"{puzzles.name} holds no puzzle of {puzzles.domain.name} that can be read; it begins with "
        f"{shown(first.strip())}{hint}"
    )


__all__ = ["decoded_lines", "open_lines", "read_file", "read_tasks"]
