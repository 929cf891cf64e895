"""Forms in which only Sudokus are kept."""

from __future__ import annotations

import io
import time

import pytest

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files import read_tasks
from trm_sdk.task import Task

NINE = get_domain("sudoku")
P = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
Q = "54.263...7.1...4....2.......9..2..6.31.4.8.92.5..7..1.......8....4...2.3...794.51"
SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
BOARD = "\n".join(P[start : start + 9] for start in range(0, 81, 9))


def read(text: str) -> list[Task | TRMError]:
    return list(read_tasks(io.StringIO(text), NINE, "f"))


def puzzles(text: str) -> list[str]:
    tasks = read(text)
    assert all(isinstance(task, Task) for task in tasks), tasks
    return [NINE.to_line(task.grid) for task in tasks if isinstance(task, Task)]


# --- lines and links ------------------------------------------------------------------------------

_PLACED = P.replace("53..7", "53+4+67", 1)


@pytest.mark.parametrize(
    "line",
    [
        f":0000:x:{P}:::",
        f":0300:4:{_PLACED}:414 715:481:c28 r68",
        f":0300:4:{_PLACED.replace('.', '0')}::481:",
        f"{_PLACED}:414 715",
        f"{P}:414 715",
        _PLACED,
        f"https://www.sudokuwiki.org/sudoku.htm?bd={P.replace('.', '0')}",
        f"www.sudokuwiki.org/sudoku.htm?x=1&bd={P}#top",
    ],
)
def test_givens_are_read_and_placed_digits_are_left_to_solve(line: str) -> None:
    assert NINE.to_line(NINE.parse(line).grid) == P
    assert puzzles(f"{line}\n{line}\n") == [P, P]


def test_a_compressed_link_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="compressed puzzle"):
        NINE.parse("https://www.sudokuwiki.org/Sudoku?bd=S9B01450203050607080901020304")


def test_a_drawn_plus_is_not_a_placed_digit() -> None:
    four = get_domain("sudoku-4x4")
    grid = four.parse("1.|34\n34|1.\n--+--\n.1|43\n43|.1").grid
    assert four.to_line(grid) == "1.34341..14343.1"


# --- sections -------------------------------------------------------------------------------------


def test_sections_of_sdk_files() -> None:
    state = BOARD.replace(".", "9", 1)
    text = (
        "#ASomeone\n#DA puzzle\n#LEasy\n#Uhttp://example.org/\n"
        f"[Puzzle]\n{BOARD}\n[State]\n{state}\n"
    )
    for form in (text, text.replace("\n", "\r\n"), text.replace("[Puzzle]", "[PUZZLE]")):
        (task,) = read(form)
        assert isinstance(task, Task)
        assert NINE.to_line(task.grid) == P
        assert task.metadata == {
            "author": "Someone",
            "description": "A puzzle",
            "level": "Easy",
            "url": "http://example.org/",
        }
    assert puzzles(f"#ASomeone\n{BOARD}\n") == [P]
    assert puzzles(f"[State]\n{BOARD}\n") == [P]


def test_simple_sudoku_draws_its_sections() -> None:
    rows = [f"{row[:3]}|{row[3:6]}|{row[6:]}" for row in BOARD.splitlines()]
    drawn = "\n".join([*rows[:3], "-----------", *rows[3:6], "-----------", *rows[6:]])
    assert puzzles(f"[Puzzle]\n{drawn}\n[State]\n{drawn}\n") == [P]
    assert puzzles(drawn) == [P]
    starred = (
        "*-----------*\n" + "\n".join(f"|{row}|" for row in drawn.splitlines()) + "\n*-----------*"
    )
    assert puzzles(starred) == [P]


def test_a_wrong_section_is_one_error() -> None:
    (error,) = read("[Puzzle]\n53..7\n[State]\n53..7\n")
    assert str(error).startswith("f: expected 81 cells")


# --- XML ------------------------------------------------------------------------------------------


def test_opensudoku() -> None:
    games = "\n".join(
        f'    <game data="{line}" state="0" note="a &amp; b"/>' for line in (P.replace(".", "0"), Q)
    )
    head = "<?xml version='1.0'?>\n"
    text = f"{head}<opensudoku>\n  <folder name='E'>\n{games}\n</folder></opensudoku>"
    one, two = read(text)
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert [NINE.to_line(task.grid) for task in (one, two)] == [P, Q]
    assert (one.name, two.name) == ("f:4", "f:5")
    assert one.metadata == {"state": "0", "note": "a & b"}
    assert puzzles(text.removeprefix(head).replace('"', "'")) == [P, Q]


def test_opensudoku_with_notes_has_givens_that_can_not_be_edited() -> None:
    played = "".join(
        f"{placed}|{'3,4,' if given == '.' else '-'}|{int(given == '.')}|"
        for given, placed in zip(P, SOLVED, strict=True)
    )
    assert puzzles(f'<opensudoku>\n<game data="version: 1\n{played}"/></opensudoku>') == [P]


def test_one_bad_game_spoils_itself_alone() -> None:
    bad, good = read(f'<opensudoku><game data="12"/>\n<game data="{P}"/></opensudoku>')
    assert str(bad).startswith("f:1: expected 81 cells")
    assert isinstance(good, Task)


def test_xml_without_puzzles_is_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="XML or HTML without a puzzle"):
        read("<?xml version='1.0'?>\n" + "<feed>\n  <entry/>\n</feed>\n" * 5000)
    started = time.process_time()
    with pytest.raises(InvalidInputError):
        read("<" * 200_000 + "\n")
    assert time.process_time() - started < 60  # linear in the text's length, not its square


# --- pencil marks ---------------------------------------------------------------------------------


def candidates(line: str, keep: dict[int, str] | None = None) -> str:
    """The candidates that givens leave, with those of some cells replaced, drawn in a frame."""
    marks = []
    for place, given in enumerate(line):
        row, column = divmod(place, 9)
        seen = {
            line[other]
            for other in range(81)
            if other // 9 == row
            or other % 9 == column
            or (other // 27, other % 9 // 3) == (row // 3, column // 3)
        }
        left = "".join(digit for digit in "123456789" if digit not in seen)
        marks.append((keep or {}).get(place, left if given == "." else given))
    rows = [marks[start : start + 9] for start in range(0, 81, 9)]
    rule = "|" + "+".join(["-" * 32] * 3) + "|"
    lines = [
        "| " + " | ".join(" ".join(f"{c:9}" for c in row[i : i + 3]) for i in (0, 3, 6)) + "|"
        for row in rows
    ]
    edge = "*" + "-" * 98 + "*"
    return "\n".join([edge, *lines[:3], rule, *lines[3:6], rule, *lines[6:], edge, ""])


@pytest.mark.parametrize("edge", ["*", "+", ".", "'"])
def test_pencil_marks_are_read_by_their_singles(edge: str) -> None:
    text = candidates(P).replace("*", edge)
    (task,) = read(text)
    assert isinstance(task, Task)
    cells = NINE.to_line(task.grid)
    assert all(given in (".", cell) for given, cell in zip(P, cells, strict=True))
    assert all(cell in (".", digit) for cell, digit in zip(cells, SOLVED, strict=True))


def test_removed_candidates_are_implied_where_the_singles_have_one_solution() -> None:
    open_cells = [place for place, cell in enumerate(P) if cell == "."]
    keep = {place: "".join(sorted({SOLVED[place], "9", "1"})) for place in open_cells[:1]}
    (task,) = read(candidates(P, keep))
    assert isinstance(task, Task)
    assert NINE.to_line(task.grid)[0] == "5"


def test_candidates_that_say_more_than_their_singles_are_refused() -> None:
    sparse = P[:27] + "." * 54
    wrong = {place: "79" for place, cell in enumerate(sparse) if cell == "." and place % 2}
    for text in (candidates(sparse, wrong), candidates("." * 81, {80: "12"})):
        with pytest.raises(InvalidInputError, match=r"candidates \(pencil marks\)"):
            read(text)
