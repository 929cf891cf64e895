"""Puzzles in what data frames, programs and services write: the puzzle, and with it its answer."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.files import read_tasks
from trm_sdk.task import Task

P = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
Q = "..3.2.6..9..3.5..1..18.64....81.29..7.......8..67.82....26.95..8..2.3..9..5.1.3.."
A = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
B = "483921657967345821251876493548132976729564138136798245372689514814253769695417382"
NINE = get_domain("sudoku")
MAZE = ["#######", "#S    #", "# ### #", "#   #G#", "#######"]


def rows(line: str, size: int = 9) -> list[str]:
    return [line[start : start + size] for start in range(0, len(line), size)]


def cells(line: str) -> list[list[int]]:
    return [[int(cell.replace(".", "0")) for cell in row] for row in rows(line)]


def read(text: str, domain: str = "sudoku") -> list[Task | TRMError]:
    return list(read_tasks(io.StringIO(text, newline=None), get_domain(domain), "f"))


def pairs(text: str) -> list[tuple[str, str | None]]:
    found = []
    for task in read(text):
        assert isinstance(task, Task), task
        answer = None if task.answers is None else NINE.to_line(task.answers[0])
        found.append((NINE.to_line(task.grid), answer))
    return found


def mazes(text: str) -> list[str]:
    maze = get_domain("maze")
    return [maze.format(task.grid) for task in read(text, "maze") if isinstance(task, Task)]


def refusal(text: str, domain: str = "sudoku") -> str:
    try:
        found = read(text, domain)
    except InvalidInputError as error:
        return str(error)
    assert found, "nothing was read"
    assert all(isinstance(one, TRMError) for one in found), found
    return str(found[0])


_FRAMES: dict[str, Any] = {
    "split": {
        "columns": ["id", "puzzle", "solution"],
        "index": [0, 1],
        "data": [[1, P, A], [2, Q, B]],
    },
    "records": [{"puzzle": P, "solution": A}, {"puzzle": Q, "solution": B}],
    "index": {"0": {"puzzle": P, "solution": A}, "1": {"puzzle": Q, "solution": B}},
    "columns": {"solution": {"0": A, "1": B}, "puzzle": {"0": P, "1": Q}},
    "columns out of order": {"puzzle": {"0": P, "1": Q}, "solution": {"1": B, "0": A}},
    "values": [[P, A], [Q, B]],
    "table": {
        "schema": {"fields": [{"name": "index"}], "primaryKey": ["index"]},
        "data": [
            {"index": 0, "puzzle": P, "solution": A},
            {"index": 1, "puzzle": Q, "solution": B},
        ],
    },
    "list": {"puzzle": [P, Q], "solution": [A, B]},
    "boards": {"puzzle": [cells(P), cells(Q)], "solution": [cells(A), cells(B)]},
}


@pytest.mark.parametrize("orient", _FRAMES)
def test_data_frames_as_json_keep_every_puzzle_with_its_answer(orient: str) -> None:
    assert pairs(json.dumps(_FRAMES[orient])) == [(P, A), (Q, B)]
    assert pairs(json.dumps(_FRAMES[orient], indent=1)) == [(P, A), (Q, B)]


def test_a_data_frame_of_cells_as_records() -> None:
    records = [dict(zip("abcdefghi", row, strict=True)) for row in cells(P)]
    assert pairs(json.dumps(records)) == [(P, None)]


@pytest.mark.parametrize(
    "record",
    [
        {"mission": P, "solution": A},
        {"unsolved-sudoku": cells(P), "solved-sudoku": cells(A)},
        {"prompt": P, "completion": A},
        {"board": {"values": cells(P), "solution": cells(A)}},
    ],
)
def test_the_answer_beside_a_puzzle_is_no_second_puzzle(record: dict[str, Any]) -> None:
    assert pairs(json.dumps(record)) == [(P, A)]


def test_a_filled_board_that_changes_a_given_is_no_answer() -> None:
    assert pairs(json.dumps([P, B])) == [(P, None), (B, None)]
    assert pairs(json.dumps([A, P])) == [(A, None), (P, None)]


_NUMBERS = ",\n  ".join(str(row) for row in cells(P))
_OTHERS = ",\n  ".join(str(row) for row in cells(Q))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"board = [{_NUMBERS}]\nprint(solve(board))\n", [(P, None)]),
        (f"easy = [{_NUMBERS}]\nhard = [{_OTHERS}]\nmain()\n", [(P, None), (Q, None)]),
        (
            "#include <stdio.h>\nint main() {\n int g[9][9] = {"
            + _NUMBERS.replace("[", "{").replace("]", "}")
            + "};\n return solve(g);\n}\n",
            [(P, None)],
        ),
        (f"window.gameData = {json.dumps({'easy': {'puzzle': P, 'solution': A}})};", [(P, A)]),
        (f'module.exports = {{\n  puzzle: "{P}",\n  solution: "{A}",\n  ok: true\n}};\n', [(P, A)]),
        (f"{{'puzzle': '{P}', 'solution': '{A}'}}", [(P, A)]),
        (f'const all = [["{P}", "{A}"], ["{Q}", "{B}"]];', [(P, A), (Q, B)]),
        (f'// of today\n{{"board": {json.dumps(cells(P))}}}', [(P, None)]),
        (
            "start = [|" + "|\n".join(", ".join(map(str, row)) for row in cells(P)) + "|];",
            [(P, None)],
        ),
        (f'[[puzzle]]\ngrid = "{P}"\n[[puzzle]]\ngrid = "{Q}"\n', [(P, None), (Q, None)]),
    ],
)
def test_boards_in_source_code(code: str, expected: list[tuple[str, str | None]]) -> None:
    assert pairs(code) == expected


@pytest.mark.parametrize(
    "field",
    [
        lambda cell: "" if cell == "." else f"{cell},0",
        lambda cell: f"{int(cell.replace('.', '0')):.18e}",
        lambda cell: "NaN" if cell == "." else f"{cell}.0",
    ],
)
@pytest.mark.parametrize("delimiter", [";", "\t", " "])
def test_cells_written_as_decimals(field: Callable[[str], str], delimiter: str) -> None:
    sheet = [delimiter.join(map(field, row)) for row in rows(P)]
    if delimiter == " " and "" in sheet[0].split(" "):
        pytest.skip("an empty field between spaces is none")
    assert pairs("\n".join(sheet)) == [(P, None)]


def test_a_table_of_markdown_and_its_header() -> None:
    for head in ("| A | B | C | D | E | F | G | H | I |", "|" + " |" * 9):
        body = ["| " + " | ".join(row.replace(".", " ")) + " |" for row in rows(P)]
        assert pairs("\n".join([head, "|" + ":-:|" * 9, *body])) == [(P, None)]


def test_a_row_of_the_board_is_not_dropped_as_the_head_of_a_sheet() -> None:
    for delimiter in ", ;":
        sheet = [delimiter.join(row.replace(".", "0")) for row in (A[:9], *rows(P))]
        assert "got 90" in refusal("\n".join(sheet))


def test_what_is_wrong_with_a_list_is_said() -> None:
    given = json.dumps([[cell or -1 for cell in row] for row in cells(P)])
    assert "got -1 in row 1, column 3" in refusal(given)
    assert "not booleans" in refusal(
        json.dumps([[cell or False for cell in row] for row in cells(P)])
    )
    assert "{'value': 5}" in refusal(
        json.dumps([[{"value": cell} for cell in row] for row in cells(P)])
    )


# --- values that may begin with 0 -----------------------------------------------------------------


def sixteen(shift: int, blank: object) -> list[list[object]]:
    """Rows of a 16x16 board with the values 1-15, less `shift`, and empty cells."""
    return [
        [blank if (row + column) % 3 else (4 * row + row // 4 + column) % 15 + 1 - shift
         for column in range(16)]
        for row in range(16)
    ]  # fmt: skip


@pytest.mark.parametrize("blank", [None, ""])
def test_0_beside_cells_left_empty_is_refused_on_boards_of_16_values(blank: object) -> None:
    shifted = sixteen(1, blank)
    assert "0 may be an empty cell or the first of 0-15" in refusal(
        json.dumps(shifted), "sudoku-16x16"
    )
    sheet = "\n".join(",".join("" if v == blank else str(v) for v in row) for row in shifted)
    assert "may be an empty cell or the first of 0-F" in refusal(sheet, "sudoku-16x16")
    with pytest.raises(InvalidInputError, match="first of 0-15"):
        get_domain("sudoku-16x16").parse(shifted)
    # Without a 0 there is one reading.
    plain = get_domain("sudoku-16x16").read("\n".join(",".join(map(str, r)) for r in sixteen(0, 0)))
    assert plain.tolist() == sixteen(0, 0)


# --- mazes ----------------------------------------------------------------------------------------


def test_the_upper_wall_of_a_maze_is_not_its_title() -> None:
    for wall in "X#x":
        assert mazes("\n".join(MAZE).replace("#", wall).replace(" ", ".")) == ["\n".join(MAZE)]


def test_a_maze_of_numbers_is_the_same_in_every_form_of_file() -> None:
    codes = {"#": 1, " ": 0, "S": 2, "G": 3}
    matrix = [[codes[mark] for mark in row] for row in MAZE]
    sheet = "\n".join(",".join(map(str, row)) for row in matrix)
    for text in (sheet, json.dumps(matrix), f"maze = {matrix}", json.dumps({"maze": matrix})):
        assert mazes(text) == ["\n".join(MAZE)], text


def test_a_maze_of_numbers_with_walls_and_free_cells_exchanged_is_refused() -> None:
    codes = {"#": 0, " ": 1, "S": 2, "G": 3}
    values = [[codes[mark] for mark in row] for row in MAZE]
    for text in (json.dumps(values), "\n".join(",".join(map(str, row)) for row in values)):
        assert "may be exchanged; in matrices 1 is a wall" in refusal(text, "maze")
    maze = get_domain("maze")
    assert maze.format(maze.parse(values).grid) == "\n".join(MAZE)
    with pytest.raises(InvalidInputError, match="may be exchanged; in arrays 0 is a wall"):
        maze.parse([[1 - value if value < 2 else value for value in row] for row in values])
    # An open field with a block in it is no maze inside out.
    field = [[2, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 3]]
    assert maze.parse(field).grid.tolist() == field


def test_a_plain_bitmap_is_a_maze_with_openings() -> None:
    bitmap = "P1\n# drawn\n5 5\n11111\n0 0 0 0 1\n11101\n1 0 0 0 0\n11111\n"
    assert mazes(bitmap) == ["#####\nS   #\n### #\n#   G\n#####"]
    assert "must have 25 pixels of 0 or 1; got 24" in refusal(bitmap[:-2], "maze")


def test_walls_of_a_maze_in_source_code_are_not_comments() -> None:
    code = "maze = [\n" + "".join(f'  "{row}",  # a row\n' for row in MAZE) + "]\nsolve(maze)\n"
    assert mazes(code) == ["\n".join(MAZE)]


# --- puzzles with regions of their own ------------------------------------------------------------


def test_the_regions_of_a_jigsaw_may_stand_in_a_column_of_their_own() -> None:
    boxes = "".join(str(row // 3 * 3 + column // 3 + 1) for row in range(9) for column in range(9))
    regions = [[int(one) for one in row] for row in rows(boxes)]
    for text in (
        f"puzzle,regions,solution\n{P},{boxes},{A}\n",
        f"layout,puzzle\n{boxes},{P}\n",
        json.dumps({"puzzle": P, "regions": boxes}),
        json.dumps({"puzzle": cells(P), "regions": regions}),
    ):
        (task,) = read(text, "jigsaw")
        assert isinstance(task, Task), task
        assert NINE.to_line(task.grid) == P
        assert task.metadata["regions"].tolist() == regions


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "1234567\n" * 40_000,
        "." * 400_000,
        "a,b,c\n" + "1,2,3\n" * 40_000,
        "x = [1, 2, 3]\ny = foo(3)\n" * 10_000,
        json.dumps([[1, 2, 3]] * 30_000),
        json.dumps({"a": [{"b": [number] * 5} for number in range(30_000)]}),
        "x = [" * 20_000,
    ],
    ids=["rows", "dots", "csv", "code", "lists", "objects", "unclosed"],
)
def test_a_long_text_without_a_puzzle_is_refused_in_time_that_grows_with_its_length(
    text: str,
) -> None:
    # Both ran for minutes on the whole before: compared with a part, whatever the machine.
    def seconds(part: str) -> float:
        begun = time.process_time()
        refusal(part)
        return time.process_time() - begun

    refusal(text[:200])
    assert seconds(text) < 60 * max(seconds(text[: len(text) // 8]), 0.05)
