"""Boards over several lines: between blank lines, under titles, in frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from trm_sdk.domains.rows import Board, boards_in
from trm_sdk.errors import TRMError
from trm_sdk.files.lines import DELIMITERS, Puzzles, split_record
from trm_sdk.task import Task

_ANSWER = re.compile(r"\b(?:solution|solved|answer)", re.IGNORECASE)

#: A whole number as spreadsheets and data frames write it: ``5.0``, ``5,0``, ``5.000e+00``.
_DECIMAL = re.compile(r"([0-9]{1,2})[.,]0*(?:[eE][+-]?00)?")
#: The line below the header of a table in Markdown.
_RULE = re.compile(r"\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?\s*)?")

Lines = Sequence[tuple[int, str]]
Tasks = list["Task | TRMError"]


def read_boards(puzzles: Puzzles, numbered: Lines) -> Tasks:
    """Return the boards of a text, and an error for each block of lines that is none."""
    domain = puzzles.domain
    blocks = _blocks(puzzles, numbered)
    if not domain.any_size:
        whole = "".join(line for _, block in blocks for line in block)
        # One board, perhaps with blank lines between its boxes?
        if puzzles.board(whole) is not None:
            task = puzzles.task(whole, None, puzzles.name, {})
            if isinstance(task, Task):
                return [task]
    plain = [_block(puzzles, number, block) for number, block in blocks]
    if domain.any_size or not any(isinstance(task, TRMError) for task in plain):
        return _with_answers(puzzles, plain)
    drawn = boards_in(numbered, domain.vocabulary, domain.shape, puzzles.is_comment)
    found = [] if drawn is None else [_drawn(puzzles, board) for board in drawn]
    if drawn is not None and len(drawn) == 1 and isinstance(found[0], Task):
        found = [puzzles.task(drawn[0].text(), None, puzzles.name, _titled(drawn[0]))]
    sheet = _sheet(puzzles, [line for _, line in numbered if not puzzles.is_blank(line)])
    best = plain
    for other in (found, sheet):
        if _read(other) and (_read(other), -len(other)) > (_read(best), -len(best)):
            best = other
    return _with_answers(puzzles, best)


def _read(tasks: Sequence[Task | TRMError]) -> int:
    return sum(isinstance(task, Task) for task in tasks)


def _with_answers(puzzles: Puzzles, tasks: Tasks) -> Tasks:
    """Filled boards under the title "Solution" are the answers of the boards above them."""
    found: Tasks = []
    for task in tasks:
        above = found[-1] if found else None
        is_answer = (
            isinstance(task, Task)
            and _ANSWER.search(str(task.metadata.get("title", "")))
            and puzzles.is_filled(task.grid)
        )
        if not is_answer or above is None:
            found.append(task)
        elif isinstance(above, Task) and isinstance(task, Task):
            found[-1] = replace(above, answers=above.answers or task.inputs)
    return found


def _sheet(puzzles: Puzzles, lines: list[str]) -> Tasks:
    """The board, if it is one, of a cell a field, as spreadsheets and data frames write it.

    There may be a line of names above and a column of row numbers on the left; fields are parted by
    commas, semicolons, tabs or spaces, or stand in a table of Markdown.
    """
    rows, columns = puzzles.domain.shape
    ruled = [number for number, line in enumerate(lines) if _RULE.fullmatch(line.strip())]
    headed = ruled == [1]
    lines = [line for number, line in enumerate(lines) if number not in ruled]
    if not rows <= len(lines) <= rows + 1:
        return []
    for delimiter in (*DELIMITERS, "|", " "):
        table = [_record(line, delimiter) for line in lines]
        if len(table) > rows and not (headed or _is_head(puzzles, table[0], columns)):
            continue
        table = table[-rows:]
        numbers = [row[0] for row in table if row]
        if numbers in (_counted(rows, 0), _counted(rows, 1)):
            table = [row[1:] if len(row) == columns + 1 else row for row in table]
        if any(len(row) != columns for row in table):
            continue
        cells = [[_field(cell) for cell in row] for row in table]
        task = puzzles.task(cells, None, puzzles.name, {})
        if isinstance(task, Task):
            return [task]
    return []


def _is_head(puzzles: Puzzles, fields: list[str], columns: int) -> bool:
    """Whether fields are the names of columns, and can't be a row of the board themselves."""
    names = [one.strip() for one in fields if one.strip()]
    counted = (_counted(columns, 0), _counted(columns, 1))
    value_of = puzzles.domain.vocabulary.value_of
    return names in counted or any(
        value_of(one) is None and not _DECIMAL.fullmatch(one) for one in names
    )


def _counted(count: int, first: int) -> list[str]:
    return [str(number) for number in range(first, first + count)]


def _record(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    if delimiter == "|":
        return line.strip().strip("|").split("|")
    return split_record(line, delimiter)


def _field(cell: str) -> str | None:
    cell = cell.strip()
    number = _DECIMAL.fullmatch(cell)
    if number is not None:
        cell = number[1]
    return None if cell.lower() in ("", "nan", "none", "null", "na") else cell


def _blocks(puzzles: Puzzles, numbered: Lines) -> list[tuple[int, list[str]]]:
    blocks: list[tuple[int, list[str]]] = []
    gap = True
    for number, line in numbered:
        if puzzles.is_blank(line):
            gap = True
        elif not puzzles.is_comment(line):
            if gap:
                blocks.append((number, []))
            gap = False
            blocks[-1][1].append(line)
    return blocks


def _block(puzzles: Puzzles, number: int, block: list[str]) -> Task | TRMError:
    """A block without the title above it, or as it stands."""
    name = f"{puzzles.name}:{number}"
    text = "".join(block)
    # On boards of any size, a row of letters that are walls would be missed by nobody.
    if puzzles.domain.any_size and not puzzles.reason(text):
        return puzzles.task(text, None, name, {})
    if len(block) > 1 and puzzles.has_words(block[0]):
        below = puzzles.task("".join(block[1:]), None, name, {"title": block[0].strip()})
        if isinstance(below, Task):
            return below
    return puzzles.task(text, None, name, {})


def _titled(board: Board) -> dict[str, str]:
    return {"title": board.title} if board.title else {}


def _drawn(puzzles: Puzzles, board: Board) -> Task | TRMError:
    name = f"{puzzles.name}:{board.numbers[0]}"
    complete = not board.spoilt and len(board.rows) == puzzles.domain.shape[0]
    text = board.text() if complete else "".join(board.lines)
    return puzzles.task(text, None, name, _titled(board))


__all__ = ["Lines", "read_boards"]
