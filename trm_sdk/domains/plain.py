"""A board without what stands around it: other scripts' digits, labels, markup, source code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

#: Colours and other commands of terminals.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TITLE = re.compile(r"(?<![^\W_])[^\W\d_]{2}[^\W_]*\s*:\s+")
#: Innermost brackets of source code.
_BRACKETS = re.compile(r"[\[({]([^\[\](){}]*)[\])}]")
_VALUE = re.compile(r"-?[0-9]+(?:\.0*)?")
#: What an empty cell is called in source code.
_NOTHING = frozenset(("None", "null", "nil", "nan", "NaN", "NA", "_", ".", "''", '""'))
_SQUARES = "\u25a2\u25fb\u25fd\u2b1c\u2b1b\u2610"


def plain(text: str) -> str:
    """Return a text in ASCII as far as that is only another way to write the same.

    Digits of other scripts, in circles or of full width become digits, spaces of any width spaces,
    ``…`` three points, empty squares a point. Invisible characters, colours of terminals, fences
    (```) and quotation marks of mail (``>``) are left out; ``<br>`` and a written-out ``\\n`` begin
    a line. A title before a colon is taken off a single line.
    """
    text = _BREAKS.sub("\n", _ESCAPES.sub("", text))
    if "\n" not in text.strip():
        text = text.replace("\\n", "\n")
    text = text if text.isascii() else "".join(map(_ascii, text))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("```")]
    if sum(bool(line.strip()) for line in lines) == 1:
        lines = [_TITLE.sub("", line, count=1) for line in lines]
    elif all(line.lstrip().startswith(">") for line in lines if line.strip()):
        lines = [line.lstrip().removeprefix(">") for line in lines]
    return "\n".join(lines)


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    digit = unicodedata.digit(character, None)
    if digit is not None:
        # Raised and lowered ones are notes beside a cell.
        small = "SCRIPT" in unicodedata.name(character, "")
        return character if small else str(digit)
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)
    if character == "\u2026":
        return "..."
    if character in _SQUARES:
        return "."
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f" or character == "\u20e3":
        return ""
    return character


def without_labels(text: str, shape: tuple[int, int]) -> str | None:
    """Return a board without the labels of its rows, and of its columns if they are there.

    Rows are labelled A, B, ... or 1, 2, ... or 0, 1, ..., or R1, R2, ..., from the first to the
    last, with or without a colon after it. None where they are not.
    """
    rows, columns = shape
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    for labels, of_columns in (
        (_letters(rows), (_numbers(columns),)),
        (_numbers(rows), (_numbers(columns), _letters(columns))),
        (_numbers(rows, 0), (_numbers(columns, 0),)),
        ([f"R{i}" for i in _numbers(rows)], (_numbers(columns), _columns(columns))),
    ):
        first, *body = lines if len(lines) > rows else ["", *lines]
        if len(body) != rows:
            continue
        if first and [*map(str.upper, re.findall(r"\w+", first))] not in of_columns:
            continue
        if not first and labels[0] != "R1" and not _apart(body):
            continue  # without a head, a value of the board would be taken for a label
        found = []
        for label, line in zip(labels, body, strict=True):
            match = re.match(rf"[\s|]*{label}(?:[:.)|]+|\s)", line, re.IGNORECASE)
            if match is None:
                break
            found.append(line[match.end() :])
        if len(found) == rows:
            return "\n".join(found)
    return None


def _apart(lines: Sequence[str]) -> bool:
    """Whether what each line begins with is parted from the rest by a colon."""
    return all(re.match(r"[\s|]*\w+\s*[:)]", line) for line in lines)


def _numbers(count: int, first: int = 1) -> list[str]:
    return [str(number) for number in range(first, first + count)]


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + number) for number in range(min(count, 26))]


def _columns(count: int) -> list[str]:
    return [f"C{number}" for number in range(1, count + 1)]


def from_source(text: str, shape: tuple[int, int]) -> str | None:
    """Return the rows of a board that stands in source code of any language; None where none does.

    They are the innermost brackets, of whatever kind, that have anything in them: as many as the
    board has rows, each with as many numbers, or words for nothing, as it has columns.
    """
    rows = []
    for inside in _BRACKETS.findall(text):
        parts = re.split(r"[\s,;]+", inside.strip(" \t\r\n,;"))
        if parts == [""]:
            continue
        if len(parts) != shape[1]:
            return None
        cells = [_cell(part) for part in parts]
        if None in cells:
            return None
        rows.append(" ".join(filter(None, cells)))
    return "\n".join(rows) if len(rows) == shape[0] else None


def _cell(part: str) -> str | None:
    if part in _NOTHING:
        return "."
    return part.partition(".")[0] if _VALUE.fullmatch(part) else None


__all__ = ["from_source", "plain", "without_labels"]
