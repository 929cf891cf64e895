"""Every form of file that public bug reports name is read, or refused in one sentence."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files import read_file, read_tasks
from trm_sdk.task import Task

NINE = get_domain("sudoku")
P = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
Q = "54.263...7.1...4....2.......9..2..6.31.4.8.92.5..7..1.......8....4...2.3...794.51"
SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
ROWS = [P[start : start + 9] for start in range(0, 81, 9)]
CELLS = [[int(cell.replace(".", "0")) for cell in row] for row in ROWS]
BOARD = "\n".join(ROWS)
OTHER = "\n".join(Q[start : start + 9] for start in range(0, 81, 9))
SOLUTION = "\n".join(SOLVED[start : start + 9] for start in range(0, 81, 9))


def read(text: str, domain: str = "sudoku") -> list[Task | TRMError]:
    return list(read_tasks(io.StringIO(text, newline=None), get_domain(domain), "f"))


def tasks(text: str) -> list[Task]:
    found = read(text)
    assert all(isinstance(task, Task) for task in found), found
    return [task for task in found if isinstance(task, Task)]


def puzzles(text: str) -> list[str]:
    return [NINE.to_line(task.grid) for task in tasks(text)]


def refusal(text: str, domain: str = "sudoku") -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(text, domain)
    message = str(caught.value)
    assert "\n" not in message
    return message


def boxed(row: str, gap: str = " ") -> str:
    return " | ".join(gap.join(row[start : start + 3]) for start in (0, 3, 6))


def framed(top: str, middle: str, bottom: str, blank: str = ".") -> str:
    rows = [f"| {boxed(row.replace('.', blank))} |" for row in ROWS]
    return "\n".join([top, *rows[:3], middle, *rows[3:6], middle, *rows[6:], bottom]) + "\n"


# --- frames, blanks and titles (S01, S14, S15, S17, S37) ------------------------------------------


@pytest.mark.parametrize(
    ("top", "middle", "bottom"),
    [
        ("*-------*-------*-------*", "|-------+-------+-------|", "*-------*-------*-------*"),
        (".-------.-------.-------.", ":-------+-------+-------:", "'-------'-------'-------'"),
        ("+=======+=======+=======+", "+-------+-------+-------+", "+=======+=======+=======+"),
        ("┌───────┬───────┬───────┐", "├───────┼───────┼───────┤", "└───────┴───────┴───────┘"),
    ],
)
@pytest.mark.parametrize("blank", [".", "-", " ", "x", "_", "0"])
def test_frames_of_any_characters_are_not_cells(
    top: str, middle: str, bottom: str, blank: str
) -> None:
    assert puzzles(framed(top, middle, bottom, blank)) == [P]


def test_the_corner_of_a_frame_is_not_an_empty_cell() -> None:
    dense = [f"|{row[:3]}|{row[3:6]}|{row[6:]}|" for row in ROWS]
    rule = "|---+---+---|"
    lines = ["*-----------*", *dense[:3], rule, *dense[3:6], rule, *dense[6:], "*-----------*"]
    assert puzzles("\n".join(f" {line}" for line in lines)) == [P]


@pytest.mark.parametrize(
    "title", ["Grid 01", "Puzzle 1 (easy)", "1", "02:", "=== No. 3 ===", "# 4", "by A. N. Other"]
)
@pytest.mark.parametrize("gap", ["", "\n"])
@pytest.mark.parametrize("after", ["", "\n"])
def test_boards_stand_under_titles(title: str, gap: str, after: str) -> None:
    text = f"{title}\n{after}{BOARD}\n{gap}{title}\n{after}{OTHER}\n"
    assert puzzles(text) == [P, Q]
    assert puzzles(text.replace("\n", "\r\n")) == [P, Q]


def test_titles_are_kept_and_lines_are_named() -> None:
    first, second = tasks(f"Grid 01\n{BOARD}\nGrid 02\n{OTHER}\n")
    assert (first.name, first.metadata) == ("f:2", {"title": "Grid 01"})
    assert (second.name, second.metadata) == ("f:12", {"title": "Grid 02"})


def test_boards_stand_one_under_the_other() -> None:
    assert puzzles(f"{BOARD}\n{OTHER}\n{BOARD}\n") == [P, Q, P]
    bands = ["\n".join(ROWS[start : start + 3]) for start in (0, 3, 6)]
    assert puzzles("\n\n".join(bands)) == [P]
    assert puzzles("\n\n".join(["My Sudoku\n" + bands[0], *bands[1:]])) == [P]
    assert puzzles("\n\n".join(bands * 2)) == [P, P]


@pytest.mark.parametrize("spoilt", ["12", "6..195..", "6..195....", "6..1§5..."])
def test_a_spoilt_row_never_shifts_the_boards_below_it(spoilt: str) -> None:
    bad = "\n".join([ROWS[0], spoilt, *ROWS[2:]])
    found = read(f"Grid 01\n{BOARD}\nGrid 02\n{bad}\nGrid 03\n{OTHER}\n")
    good = [NINE.to_line(task.grid) for task in found if isinstance(task, Task)]
    assert good == [P, Q]
    assert any(isinstance(task, TRMError) and "f:12" in str(task) for task in found)
    assert "expected 81 cells" in refusal(f"{BOARD}\n{bad}\n{OTHER}\n") or spoilt == "6..1§5..."


def test_a_filled_board_under_the_title_solution_is_the_answer() -> None:
    for title in ("Solution", "solution: |", "The answer:"):
        (task,) = tasks(f"Puzzle\n{BOARD}\n\n{title}\n{SOLUTION}\n")
        assert task.answer is not None
        assert NINE.to_line(task.answer) == SOLVED
    spoilt = BOARD.replace("5", "", 1)
    found = read(f"Puzzle 1\n{spoilt}\n\nSolution\n{SOLUTION}\n\nPuzzle 2\n{OTHER}\n")
    assert [NINE.to_line(task.grid) for task in found if isinstance(task, Task)] == [Q]


@pytest.mark.parametrize("blank", ["-", "x", "X", "~", "·", " ", "_", "*", "?"])
def test_what_is_blank_is_what_makes_the_count_right(blank: str) -> None:
    assert puzzles(P.replace(".", blank)) == [P]
    assert puzzles(f"{P}\n{Q}\n".replace(".", blank)) == [P, Q]
    assert puzzles(BOARD.replace(".", blank)) == [P]
    assert puzzles(f"{BOARD}\n\n{OTHER}".replace(".", blank)) == [P, Q]


def test_cells_are_told_by_their_place() -> None:
    def each(row: Callable[[str], str]) -> str:
        return "\n".join(row(one.replace(".", " ")) for one in ROWS)

    assert puzzles(each(lambda row: "|" + "|".join(row) + "|")) == [P]
    assert puzzles(each(lambda row: "| " + " | ".join(row) + " |")) == [P]
    assert puzzles(each(str.rstrip)) == [P]
    assert puzzles(each(lambda row: " ".join(row).rstrip())) == [P]
    assert puzzles(each(boxed)) == [P]
    assert puzzles(each(lambda row: boxed(row, ""))) == [P]
    dashes = "\n".join("|" + "|".join(row) + "|" for row in ROWS).replace(".", "-")
    assert puzzles(dashes) == [P]
    head = "|" + "|".join("ABCDEFGHI") + "|\n|" + "---|" * 9 + "\n"
    assert puzzles(head + each(lambda row: "|" + "|".join(row) + "|")) == [P]


def test_a_column_of_digits_is_not_a_board() -> None:
    assert "expected 81 cells" in refusal("\n".join("123456789"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("blank", ["", "0", "nan"])
def test_a_sheet_of_a_cell_a_field(delimiter: str, blank: str) -> None:
    def line(cells: list[str]) -> str:
        return delimiter.join(cells) + "\n"

    rows = [[blank if cell == "." else cell for cell in row] for row in ROWS]
    assert puzzles("".join(map(line, rows))) == [P]
    if blank == "nan":  # as a data frame of floats is written
        floats = [[cell if cell == "nan" else f"{cell}.0" for cell in row] for row in rows]
        assert puzzles("".join(map(line, floats))) == [P]
    header = line([f"c{number}" for number in range(9)])
    assert puzzles(header + "".join(map(line, rows))) == [P]
    numbered = [[str(number), *row] for number, row in enumerate(rows)]
    above = line(["", *map(str, range(9))])
    assert puzzles(above + "".join(map(line, numbered))) == [P]


# --- things beside a puzzle (S10, S11, S20) -------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "metadata"),
    [
        ("{};11.9;1.2;GP;kz0;", {"column 2": "11.9", "column 5": "kz0"}),
        ("11.9;{};x", {"column 1": "11.9", "column 3": "x"}),
        ("{}\t  7.1", {"column 2": "7.1"}),
        ("{}  7.1  hard", {"column 2": "7.1", "column 3": "hard"}),
        ("{} # easy one", {"note": "easy one"}),
        ("{}   # easy one", {"note": "easy one"}),
        ("1: {}", {"column 1": "1:"}),
        ("12) {}", {"column 1": "12"}),
        ("Puzzle 3:{}", {"column 1": "Puzzle", "column 2": "3"}),
        ("0000183b305c {}  1.2", {"column 1": "0000183b305c", "column 3": "1.2"}),
        ('"{}"', {}),
        ('  "{}",', {}),
        ("https://www.sudokuwiki.org/sudoku.htm?bd={}", {}),
        ("https://sudoku.example/play/{}?level=3", {}),
    ],
)
def test_a_puzzle_is_found_among_what_stands_beside_it(form: str, metadata: dict[str, str]) -> None:
    first, second = tasks(f"{form.format(P)}\n{form.format(Q)}\n")
    assert [NINE.to_line(one.grid) for one in (first, second)] == [P, Q]
    assert metadata.items() <= first.metadata.items()
    assert first.answer is None
    assert puzzles(form.format(P.replace(".", "0"))) == [P]


@pytest.mark.parametrize("form", ["{},{}", "{} {}", "{};{};easy", "{}\t{}", '"{}","{}"', "3,{},{}"])
def test_the_second_board_of_a_line_is_its_answer(form: str) -> None:
    for task in tasks(f"{form.format(P, SOLVED)}\n" * 3):
        assert task.answer is not None
        assert (NINE.to_line(task.grid), NINE.to_line(task.answer)) == (P, SOLVED)


@pytest.mark.parametrize("form", ["{},{}", "{} {}", "{};{};easy", '"{}","{}"'])
def test_the_answer_to_a_puzzle_that_is_spoilt_is_not_taken_for_it(form: str) -> None:
    for bad in (P[:-1], P + "1", P.replace("5", "§", 1)):
        good, wrong = read(f"{form.format(P, SOLVED)}\n{form.format(bad, SOLVED)}\n")
        assert isinstance(good, Task)
        assert str(wrong).startswith("f:2: ")
        assert str(wrong).count("\n") == 0
        assert refusal(form.format(bad, SOLVED))


def test_a_header_of_other_names_is_told_by_the_record_below_it() -> None:
    first, _ = tasks(f"id,sud_str,sol_str,level\n1,{P},{SOLVED},3\n2,{P},{SOLVED},4\n")
    assert first.answer is not None
    assert first.metadata == {"id": "1", "level": "3"}


def test_a_board_quoted_over_several_lines_of_a_csv() -> None:
    (task,) = tasks(f'id,puzzle,solution\n1,"{BOARD}","{SOLUTION}"\n')
    assert task.answer is not None
    assert (NINE.to_line(task.grid), NINE.to_line(task.answer)) == (P, SOLVED)


def test_what_a_data_frame_did_to_digits_is_named() -> None:
    zeros = P[::-1].replace(".", "0")[4:]  # a number has no leading zeros
    wrong, good = read(f"quizzes,solutions\n{zeros.lstrip('0')},{SOLVED}\n{P},{SOLVED}\n")
    assert "leading zeros were lost" in str(wrong)
    assert "dtype=str" in str(wrong)
    assert isinstance(good, Task)
    (lost,) = read("quizzes,solutions\n8.007900041900506e+76,3.4528617928741964e+80\n")
    assert "floating-point number" in str(lost)


# --- data (S26) -----------------------------------------------------------------------------------

_NONES = [[value or None for value in row] for row in CELLS]
_STRINGS = [list(row) for row in ROWS]


@pytest.mark.parametrize(
    "text",
    [
        str(_STRINGS).replace("'", '"'),
        str(ROWS).replace("'", '"'),
        str(_NONES).replace("None", "null"),
        f'{{"puzzle": "{P}"}}',
        f'{{\n  "puzzle": "{P}"\n}}\n',
        f'{{"board": {CELLS}}}',
        f'{{"puzzles": ["{P}"]}}',
        f'{{"newboard": {{"grids": [{{"value": {CELLS}, "difficulty": "Easy"}}]}}}}',
        f'{{"puzzle": "{P.replace(".", "-")}"}}',
        repr(_STRINGS),
        f"grid = {_NONES}",
        "board = [\n" + "".join(f"    {row},\n" for row in CELLS) + "]\n",
        f"import numpy as np\n\npuzzle = np.array({CELLS})\n",
        "int grid[9][9] = {\n" + "".join(f"  {{{str(row)[1:-1]}}},\n" for row in CELLS) + "};\n",
        "char[][] board = new char[][] {\n"
        + ",\n".join("{" + str(list(row))[1:-1] + "}" for row in ROWS)
        + "};",
        "const board = [\n" + "".join(f"  '{row}',\n" for row in ROWS) + "];\n",
        "puzzle = (\n" + "".join(f'    "{row}"\n' for row in ROWS) + ")\n",
        f'puzzle = "{P}"',
        "M = [" + "; ".join(" ".join(map(str, row)) for row in CELLS) + "];",
        "[" + "\n ".join(str(row).replace(",", "") for row in CELLS) + "]",
    ],
)
def test_data_and_pasted_code(text: str) -> None:
    assert puzzles(text) == [P]


def test_several_puzzles_in_json() -> None:
    assert puzzles(f'["{P}", "{Q}"]') == [P, Q]
    assert puzzles(f'{{"easy": ["{P}"], "hard": ["{Q}"]}}') == [P, Q]
    first, second = tasks(f'[{{"quiz": "{P}", "solution": "{SOLVED}", "n": 1}}, {{"quiz": "{Q}"}}]')
    assert first.answer is not None
    assert (first.metadata, NINE.to_line(second.grid)) == ({"n": 1}, Q)
    lines = f'{{"puzzle": "{P}", "solution": "{SOLVED}"}}\n{{oh\n{{"puzzle": "{Q}"}}\n'
    one, bad, two = read(lines)
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert (one.name, two.name, two.answer) == ("f:1", "f:3", None)
    assert str(bad).startswith("f:2: not valid JSON")


def test_jsonl_is_read_as_it_is_needed() -> None:
    def endless() -> object:
        while True:
            yield f'{{"puzzle": "{P}"}}\n'

    stream = read_tasks(endless(), NINE, "f")  # type: ignore[arg-type]
    assert all(isinstance(next(stream), Task) for _ in range(5))


# --- values beyond nine (S21) ---------------------------------------------------------------------

_SIXTEEN = [[(4 * (r % 4) + r // 4 + c) % 16 for c in range(16)] for r in range(16)]


def large(symbols: str, blank: str = ".") -> str:
    return "\n".join(
        "".join(symbols[value] if (3 * r + 5 * c) % 7 < 3 else blank for c, value in enumerate(row))
        for r, row in enumerate(_SIXTEEN)
    )


def test_two_blanks_on_a_board_of_16_values_are_refused() -> None:
    for text in (large("0123456789ABCDEF"), large("0123456789ABCDEF").replace("\n", "")):
        message = refusal(text, "sudoku-16x16")
        assert "both '0' and '.'" in message
        assert "first of 0-F" in message
        assert "1-G" in message


@pytest.mark.parametrize("symbols", ["123456789ABCDEFG", "ABCDEFGHIJKLMNOP", "abcdefghijklmnop"])
@pytest.mark.parametrize("blank", [".", "0", "-"])
def test_boards_of_16_values(symbols: str, blank: str) -> None:
    wanted = [
        [value + 1 if (3 * r + 5 * c) % 7 < 3 else 0 for c, value in enumerate(row)]
        for r, row in enumerate(_SIXTEEN)
    ]
    text = large(symbols, blank)
    for form in (text, text.replace("\n", ""), f"Grid 01\n{text}\n"):
        (task,) = read(form, "sudoku-16x16")
        assert isinstance(task, Task)
        assert task.grid.tolist() == wanted


# --- none of these (S05, S35) ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Dear all,\nthis is about nothing.\n\nYours\n" * 50, "begins with 'Dear all,'"),
        ("name,age\nbob,3\nann,5\n", "a column called question, puzzle or quizzes"),
        ("<!DOCTYPE html>\n<html><body>hi</body></html>\n" * 9, "first element is <html>"),
        ("<?xml version='1.0'?><plist><dict/></plist>", "first element is <plist>"),
        ('{"name": "x", "age": 3}', "JSON object with the keys ['name', 'age']"),
        ('{"name": "x", ', "begins like JSON, which is not valid"),
        (f"{P[:80]}\n" * 500, "f:1: expected 81 cells for a 9x9 grid; got 80"),
        ("https://www.sudokuwiki.org/Sudoku?bd=S9B0145020305060708090102030405", "compressed"),
    ],
)
def test_a_file_that_is_none_of_these_is_one_error(text: str, named: str) -> None:
    assert named in refusal(text)
    assert len(refusal(text)) < 300


def test_a_file_of_another_domain_is_one_error() -> None:
    assert "maze" in refusal("hello\nworld\n", "maze") or "row" in refusal("a\nb\n", "maze")


def test_clashing_givens_spoil_their_own_line_alone() -> None:
    clash = "....................1..6.9...841...7..2.5.6..6...124...2.5..9...................."
    bad, good = read(f"{clash}\n{P}\n")
    assert str(bad) == "f:1: contradicting givens: 1 appears 2 times in column 5"
    assert isinstance(good, Task)
    (impossible,) = read("12345678" + "." * 45 + "9" + "." * 27)
    assert str(impossible) == (
        "f:1: the puzzle has no solution: no value is left for row 1, column 9"
    )


# --- any text at all ------------------------------------------------------------------------------

_FORMS = [
    f"{P}\n{Q}\n",
    f"Grid 01\n{BOARD}\nGrid 02\n{OTHER}\n",
    framed("*-------*-------*-------*", "|-------+-------+-------|", "*-------*-------*-------*"),
    f"[Puzzle]\n{BOARD}\n[State]\n{BOARD}\n",
    f"board = {CELLS}\n",
    f'{{"puzzle": "{P}", "solution": "{SOLVED}"}}\n',
    f'<opensudoku><game data="{P}"/></opensudoku>',
    f"id,puzzle,solution\n1,{P},{SOLVED}\n",
]


@pytest.mark.parametrize("form", range(len(_FORMS)))
def test_damaged_text_is_read_or_refused_and_never_misread(form: int) -> None:
    rng = random.Random(form)
    text = _FORMS[form]
    refusals: list[str] = []
    for _ in range(60):
        place = rng.randrange(len(text))
        put = rng.choice(["", "", "1", ".", ",", "|", "\n", '"', "[", "}", "\x00", "é"])
        try:
            found = read(text[:place] + put + text[place + rng.randrange(2) :])
        except InvalidInputError as error:
            refusals.append(str(error))
            continue
        for task in found:
            if isinstance(task, Task):
                line = NINE.to_line(task.grid)
                # One cell is changed at most: none has moved.
                assert min(sum(map(str.__ne__, line, one)) for one in (P, Q)) <= 1, line
    assert all(len(message) < 600 and "\n" not in message for message in refusals)


def test_noise_is_refused() -> None:
    rng = random.Random(0)
    refusals: list[str] = []
    for _ in range(200):
        length = rng.randrange(1, 400)
        noise = "".join(rng.choice("019.,;|+-[]{}()<>=:#\"' \n\tabxZ\x1bé") for _ in range(length))
        try:
            read(noise)
        except InvalidInputError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in message for message in refusals)


_BUGS = Path(__file__).parents[4] / "shared" / "bugs"


@pytest.mark.skipif(not _BUGS.is_dir(), reason="the inputs of bug reports are not here")
def test_inputs_of_bug_reports_are_read() -> None:
    files = [file for file in sorted(_BUGS.glob("S*/*")) if file.suffix not in ("", ".py")]
    files = [file for file in files if file.parent.name != "S21"]
    unread = {}
    for file in files:
        found = list(read_file(file, NINE))
        wrong = [str(task) for task in found if isinstance(task, TRMError)]
        if wrong:
            unread[f"{file.parent.name}/{file.name}"] = wrong
    assert files
    assert {name: len(errors) for name, errors in unread.items()} == {
        "S09/float.csv": 1,  # the digits are lost
        "S09/mangled.csv": 1,
        "S23/clash.txt": 1,  # contradicting givens
        "S23/nosolution.txt": 1,  # as singles show
    }
