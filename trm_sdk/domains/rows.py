"""Rows of boards as people draw them: frames, titles, and cells that only their place tells.

A `Reading` says what the cells of a line are. Which of several readings a text is in can't be told
from one line (a dash may be an empty cell or a drawn rule): `boards_in` takes the one under which
most boards of a text are complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trm_sdk.domains.vocabulary import Vocabulary

_BARS = "|!¦" + "".join(map(chr, range(0x2502, 0x250C))) + "║"
_SPACED_BAR = re.compile(f" ?[{re.escape(_BARS)}] ?")
_SPACES = re.compile(r"[\s,;]+")
#: Lines of frames: only these characters, and somewhere a drawn line of two at least.
_FRAME = re.compile(r"[\s|+*.:'`,!=\-_~\u2500-\u257f]*")
_LINE = re.compile(r"[-=_~\u2500\u2501\u2550]{2}|[+\u253c\u2500\u2501\u2550][-+=\s]")
_CROSSES = re.compile(r"[|!+\u2500-\u257f]")
_WORD = re.compile(r"[^\W\d_]{2}")
_NUMBER = re.compile(r"\W*\d{1,6}\W*")
#: Characters that may stand for an empty cell in a text, beside those of the vocabulary.
_MAYBE_BLANK = "-xX~oO#:\u00b7\u2022\u25a1\u25a2\u2592\u2014\u2013"

#: Characters that a cell takes at most, with what stands around it.
_WIDEST_CELL = 40
#: Lines among which one must be a row, so that text about something else is soon done with.
_LOOKED_AT = 500
_Split = Literal["gaps", "titles"]
_SPLITS: tuple[_Split, _Split] = ("gaps", "titles")
#: The cells of a line, or None where it is not a row.
Split = Callable[[str, int], list[str] | None]


@dataclass(frozen=True)
class Reading:
    """One way to take the cells of a line.

    Attributes
    ----------
    split : callable
        The cells of a line, as they are written.
    symbols : mapping from str to str
        What a written cell is read as. Cells that are not in it are numbers, or wrong.
    numbers : bool
        Whether cells of several digits are accepted.
    stride : int
        Characters from one cell to the next where only its place tells a cell: rows may then end
        early. 0, the default: it is not so.
    """

    split: Split
    symbols: Mapping[str, str]
    numbers: bool = False
    stride: int = 0

    def cells(self, line: str, count: int) -> list[str] | None:
        """Return the cells of a line of `count` cells; None where it is no such line."""
        if len(line) > _WIDEST_CELL * (count + 10):
            return None
        written = self.split(line, count)
        if written is None or len(written) != count:
            return None
        found = [self._symbol(cell) for cell in written]
        return None if None in found else found  # type: ignore[return-value]

    def _symbol(self, cell: str) -> str | None:
        symbol = self.symbols.get(cell)
        if symbol is None and self.numbers and len(cell) <= 3 and cell.isascii():
            return cell if cell.isdigit() else None
        return symbol


@dataclass
class Board:
    """A board of a text, or rows that are not one.

    Attributes
    ----------
    numbers : list of int
        Of its lines, from 1.
    rows : list of list of str
        Its cells, each one symbol or a number.
    lines : list of str
        As they stand in the text.
    title : str
        What stood above it; may be empty.
    spoilt : bool
        Whether a line of it is not a row.
    """

    numbers: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    title: str = ""
    spoilt: bool = False

    def text(self) -> str:
        """Return the rows in the plainest form, a line each."""
        return "\n".join(" ".join(row) for row in self.rows)


def readings(vocabulary: Vocabulary, text: str) -> Iterator[Reading]:
    """Yield the readings that the characters of a text leave open, the usual one first."""
    known = {one: one for one in vocabulary.readable() if not one.isspace()}
    blank = _blank_symbol(vocabulary)
    numbers = vocabulary.is_numbers
    alphabets: list[dict[str, str]] = [known]
    if numbers and not any(one.isdigit() and one != "0" for one in text):
        size = vocabulary.values - 1
        shifted = {chr(ord("A") + i): vocabulary.symbols[i + 1] for i in range(min(size, 26))}
        shifted |= {one.lower(): value for one, value in shifted.items()}
        empty = {one: one for one in known if not one.isalnum()} | {"0": "0"}
        alphabets.append(empty | shifted)
    if blank is not None:
        maybe = [one for one in _MAYBE_BLANK if one in text]
        alphabets += [a | {one: blank} for a in list(alphabets) for one in maybe if one not in a]
    for alphabet in alphabets:
        yield Reading(_characters(alphabet), alphabet)
        if numbers and vocabulary.values > 10:
            yield Reading(_tokens, alphabet, numbers=True)
    if blank is None:
        return
    empty_ones = {one for one in known if vocabulary.value_of(one) == vocabulary.value_of(blank)}
    for alphabet in alphabets:
        padded = alphabet | {"": blank, " ": blank}
        for delimiter in ",;\t|\u2502":
            if delimiter in text:
                yield Reading(_fields(delimiter), padded, numbers)
    # Where a space is the empty cell no other character is: a short row is not to be filled up.
    spaced = {one: value for one, value in alphabets[0].items() if value not in empty_ones}
    spaced[" "] = blank
    if " " in text or "\n" in text:
        yield Reading(_places, spaced, stride=1)
        yield Reading(_places_around_bars, spaced, stride=1)
        yield Reading(_every_second(0), spaced, stride=2)
        yield Reading(_every_second(1), spaced, stride=2)


def _blank_symbol(vocabulary: Vocabulary) -> str | None:
    blanks = vocabulary.having("blank")
    return vocabulary[blanks[0]].symbol if len(blanks) == 1 else None


def _characters(alphabet: Mapping[str, str]) -> Split:
    def split(line: str, count: int) -> list[str] | None:
        kept = []
        for one in line:
            if one in alphabet:
                kept.append(one)
            elif not (one.isspace() or one in ",;|+!-=/" or "\u2500" <= one <= "\u257f"):
                return None
        return kept

    return split


def _tokens(line: str, count: int) -> list[str]:
    return _SPACES.split(_CROSSES.sub(" ", line).strip(" \t\r\n,;"))


def _fields(delimiter: str) -> Split:
    def split(line: str, count: int) -> list[str]:
        found = [one.strip().strip("\"'") for one in line.strip("\r\n").split(delimiter)]
        outside = delimiter in _BARS or len(found) == count + 1
        if outside and found[-1] in ("", "."):  # the dot is LaTeX's
            found.pop()
        if delimiter in _BARS and found and not found[0]:
            del found[0]
        return found

    return split


def _places(line: str, count: int) -> list[str] | None:
    kept = [one for one in line.rstrip("\r\n") if one not in _BARS]
    kept = kept if len(kept) <= count else list("".join(kept).rstrip())
    return kept + [" "] * (count - len(kept)) if any(map(str.strip, kept)) or kept else None


def _places_around_bars(line: str, count: int) -> list[str] | None:
    return _places(_SPACED_BAR.sub("", line), count) if _SPACED_BAR.search(line) else None


def _every_second(first: int) -> Split:
    def split(line: str, count: int) -> list[str] | None:
        line = line.rstrip("\r\n")
        between = line[1 - first :: 2]
        if any(one not in _BARS + " " for one in between) or not line.strip():
            return None
        kept = [one for one in line[first::2] if one not in _BARS]
        kept = kept if len(kept) <= count else list("".join(kept).rstrip().ljust(count))
        return kept + [" "] * (count - len(kept))

    return split


def is_frame(line: str) -> bool:
    """Return whether a line is drawn around or between cells."""
    return bool(_FRAME.fullmatch(line)) and bool(_LINE.search(line))


def is_title(line: str, columns: int, symbols: Container[str]) -> bool:
    """Return whether a line that is not a row says something of the board below it.

    It does where it has a word, is a number, or has letters but none that is a cell.
    """
    marks = [one for one in line if one.isalnum()]
    return (
        bool(_WORD.search(line))
        or (bool(_NUMBER.fullmatch(line)) and len(line.strip()) < columns)
        or (bool(marks) and not any(one in symbols for one in marks))
    )


def cells_of_line(line: str, vocabulary: Vocabulary, count: int) -> list[str] | None:
    """Return the cells of a line that holds a whole board; None where it holds none."""
    for reading in readings(vocabulary, line):
        # Only where a line is as long as it must be does a space tell anything.
        if reading.stride and (reading.stride > 1 or len(line.strip("\r\n")) != count):
            continue
        cells = reading.cells(line, count)
        if cells is not None:
            return cells
    return None


def boards_in(
    lines: Sequence[tuple[int, str]],
    vocabulary: Vocabulary,
    shape: tuple[int, int],
    is_comment: Callable[[str], bool] = lambda line: False,
) -> list[Board] | None:
    """Return the boards of a text, with what is not one between them, in order.

    Parameters
    ----------
    lines : sequence of (number, line)
    vocabulary : Vocabulary
    shape : (rows, columns)
        Of every board.
    is_comment : callable
        Whether a line is to be passed over.

    Returns
    -------
    list of Board or None
        Those of `shape[0]` rows that are not `spoilt` are complete. None: no reading of the text
        has a complete board.
    """
    best: tuple[int, int] = (0, 0)
    found: list[Board] | None = None
    text = "".join(line for _, line in lines)
    sample = [line for _, line in lines if line.strip()][:_LOOKED_AT]
    for reading in readings(vocabulary, text):
        if all(reading.cells(line, shape[1]) is None for line in sample):
            continue
        for split in _SPLITS:
            boards = list(_segments(lines, reading, shape, is_comment, split))
            whole = sum(_is_whole(board, shape, reading.stride) for board in boards)
            score = (whole, whole - len(boards))
            if whole and score > best:
                best, found = score, boards
        if found is not None and best[1] == 0:
            break
    return found


def _is_whole(board: Board, shape: tuple[int, int], stride: int) -> bool:
    # Rows may end early, but not all of them: nine digits are not a column of a Sudoku.
    reach = max((len(line.rstrip()) for line in board.lines), default=0)
    return (
        len(board.rows) == shape[0] and not board.spoilt and reach > stride * max(shape[1] - 3, 0)
    )


def _segments(
    lines: Sequence[tuple[int, str]],
    reading: Reading,
    shape: tuple[int, int],
    is_comment: Callable[[str], bool],
    split: _Split,
) -> Iterator[Board]:
    """Boards between blank lines and titles, or between titles alone."""
    rows, columns = shape
    board, title = Board(), ""
    for number, line in (*lines, (0, "")):
        cells = reading.cells(line, columns) if line.strip() or number else None
        kind = _kind(line, cells, columns, reading, is_comment)
        if kind in ("frame", "comment"):
            continue
        ends = number == 0 or kind == "title" or (kind == "gap" and split == "gaps")
        if ends and board.lines:
            yield from _stacked(board, rows)
            board, title = Board(), ""
        if kind == "title":
            title = line.strip()
        elif kind != "gap":
            if not board.lines:
                board = Board(title=title)
            board.numbers.append(number)
            board.lines.append(line)
            if cells is None:
                board.spoilt = True
            else:
                board.rows.append(cells)


def _kind(
    line: str,
    cells: list[str] | None,
    columns: int,
    reading: Reading,
    is_comment: Callable[[str], bool],
) -> Literal["row", "gap", "comment", "frame", "title", "other"]:
    bare = line.strip("\r\n")
    if not bare.strip():
        return "row" if cells is not None and len(bare) == columns else "gap"
    if is_comment(line):
        return "comment"
    if is_frame(line) and (cells is None or _CROSSES.search(bare) or len(bare.strip()) != columns):
        return "frame"
    if cells is not None:
        return "row"
    return "title" if is_title(line, columns, reading.symbols) else "other"


def _stacked(board: Board, rows: int) -> Iterator[Board]:
    """A board, or several that stand one under the other without anything between them."""
    count = len(board.rows)
    if board.spoilt or count == rows or count % rows or len(board.lines) != count:
        yield board
        return
    for start in range(0, count, rows):
        part = slice(start, start + rows)
        yield Board(board.numbers[part], board.rows[part], board.lines[part], board.title)


__all__ = ["Board", "Reading", "boards_in", "cells_of_line", "is_frame", "is_title", "readings"]
