"""Boards in other scripts' digits, with labels, in markup and in source code."""

from __future__ import annotations

import numpy as np
import pytest

from trm_sdk import get_domain
from trm_sdk.domains.plain import from_source, plain, without_labels
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid

P = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ROWS = [P[start : start + 9] for start in range(0, 81, 9)]
CELLS = [[0 if cell == "." else int(cell) for cell in row] for row in ROWS]
SPACED = [" ".join(row) for row in ROWS]


def _in_digits_from(first: int) -> str:
    return P.translate({ord(str(i)): first + i for i in range(10)})


def _listed(row: list[int], nothing: str = "0", separator: str = ", ") -> str:
    return separator.join(str(value) if value else nothing for value in row)


FORMS = {
    "full width": P.translate({ord(one): ord(one) + 0xFEE0 for one in "123456789."}),
    "Arabic-Indic": _in_digits_from(0x660),
    "Devanagari": _in_digits_from(0x966),
    "mathematical bold": _in_digits_from(0x1D7CE),
    "circled": P.translate({ord(str(i)): 0x245F + i for i in range(1, 10)}),
    "keycaps and squares": "".join("\u2b1c" if c == "." else f"{c}\ufe0f\u20e3" for c in P),
    "no-break spaces": "\n".join(row.replace(".", "\u00a0") for row in SPACED),
    "a zero-width space": f"{P[:40]}\u200b{P[40:]}",
    "an ellipsis": P.replace("...", "\u2026"),
    "colours of a terminal": f"\x1b[1;31m5\x1b[0m{P[1:]}",
    "line breaks of HTML": "<br>".join(ROWS),
    "line breaks written out": "\\n".join(ROWS),
    "a quoted mail": "\n".join(f"> {row}" for row in ROWS),
    "a fence": "```text\n" + "\n".join(ROWS) + "\n```",
    "a title": f"Puzzle: {P}",
    "labels and a head": "   1 2 3 4 5 6 7 8 9\n"
    + "\n".join(f"{label}  {row}" for label, row in zip("ABCDEFGHI", SPACED, strict=True)),
    "labels in a frame": "    1 2 3   4 5 6   7 8 9\n"
    + "\n".join(
        f"{label} | {row[:5]} | {row[6:11]} | {row[12:]} |"
        for label, row in zip("ABCDEFGHI", SPACED, strict=True)
    ),
    "a table of pandas": "   " + "  ".join("012345678") + "\n"
    + "\n".join(f"{i}  {_listed(row, separator='  ')}" for i, row in enumerate(CELLS)),
    "R1 to R9": "\n".join(f"R{i}: {row}" for i, row in enumerate(ROWS, 1)),
    "Prolog": "[" + ",".join(f"[{_listed(row, '_')}]" for row in CELLS) + "]",
    "Kotlin": "arrayOf(" + ", ".join(f"intArrayOf({_listed(row)})" for row in CELLS) + ")",
    "Go": "[][]int{" + ",".join(f"{{{_listed(row)}}}" for row in CELLS) + "}",
    "PyTorch": f"tensor({CELLS}, dtype=torch.int32)",
    "numpy with nan": str(np.where(np.array(CELLS) == 0, np.nan, np.array(CELLS))),
    "YAML": "\n".join(f"- {row}" for row in CELLS),
    "JavaScript": "const b = [" + ", ".join(f"[{_listed(row, 'null')}]" for row in CELLS) + "];",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_board_is_found_in_it(form: str) -> None:
    assert get_domain("sudoku").parse(form).grid == Grid(CELLS)


@pytest.mark.parametrize(
    "text",
    [
        P.replace("5", "\u2075"),  # raised
        P.replace("5", "\u2085"),
        P.replace("5", "\u00bd"),
        "> " + "\n".join(ROWS),  # in the first line alone
        "\n".join(f"{i} {row}" for i, row in enumerate(SPACED[:8], 1)),
        "[" + ",".join(f"[{_listed(row)}]" for row in CELLS[:8]) + ",[1,2]]",
        "f(" + ",".join(f"[{_listed(row, 'x1')}]" for row in CELLS) + ")",
    ],
)
def test_what_may_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        get_domain("sudoku").parse(text)


def test_values_at_the_start_of_rows_are_not_taken_for_labels() -> None:
    rows = [f"{i} {'. ' * 8}".rstrip() for i in range(1, 10)]
    assert get_domain("sudoku").parse("\n".join(rows)).grid.cells[:, 0].tolist() == [*range(1, 10)]
    assert without_labels("\n".join(f"{row} ." for row in rows), (9, 9)) is None
    assert without_labels("\n".join(rows[:8]), (9, 9)) is None


def test_other_boards_than_asked_for_are_not_taken_from_source_code() -> None:
    assert from_source("[[1, 2], [3, 4]]", (2, 2)) == "1 2\n3 4"
    assert from_source("[[1, 2], [3, 4]]", (3, 3)) is None
    assert from_source("[[1, 2], [3, 4], []]", (2, 2)) == "1 2\n3 4"
    assert from_source("[[1, 2], [3, 4.5]]", (2, 2)) is None
    assert from_source("no brackets", (2, 2)) is None


def test_plain_text_stays() -> None:
    for text in (P, "\n".join(ROWS), "#####\n#S G#\n#####", "\u250c\u2500\u2510"):
        assert plain(text) == text


@pytest.mark.parametrize(
    "link",
    [
        "https://www.f-puzzles.com/?load=N4IgzglgXgpiBcBOANCALhNAbO8QFEAnQgVwAsAhZA",
        "https://sudopad.app/scf?puzzleid=abc",
        "http://example.org",
    ],
)
def test_a_link_without_digits_is_said_to_be_one(link: str) -> None:
    with pytest.raises(InvalidInputError, match="the link holds no puzzle of sudoku in plain"):
        get_domain("sudoku").parse(link)


@pytest.mark.parametrize("value", [iter([[1]]), int, object()])
def test_what_is_no_board_at_all_is_named_by_its_type(value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"got {type(value).__name__}"):
        get_domain("sudoku").parse(value)
