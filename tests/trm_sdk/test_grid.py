"""Grid: what it accepts, what it refuses and how it says so, and what it is worth as a value."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator

import numpy as np
import pytest

from trm_sdk.domains import get_domain
from trm_sdk.domains.text import line_of, read_numbers
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

LINE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
BOARD = [[int(c) for c in LINE[i : i + 9].replace(".", "0")] for i in range(0, 81, 9)]


def drawn() -> str:
    rows = []
    for number, row in enumerate(BOARD):
        if number in (3, 6):
            rows.append("------+-------+------")
        cells = [str(value) if value else "." for value in row]
        rows.append(" | ".join(" ".join(cells[i : i + 3]) for i in (0, 3, 6)))
    return "\n".join(rows)


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        LINE.replace(".", "0"),
        LINE.replace(".", "_"),
        LINE.replace(".", "*"),
        LINE.replace(".", "?"),
        f"  {LINE}\n",
        "\ufeff" + LINE,
        "# easy\n" + LINE,
        "\n".join(LINE[i : i + 9] for i in range(0, 81, 9)),
        "\r\n".join(LINE[i : i + 9] for i in range(0, 81, 9)),
        "\n".join(" ".join(LINE[i : i + 9]) for i in range(0, 81, 9)),
        ",".join(LINE.replace(".", "0")),
        "\n".join(",".join(row) for row in ([str(v) for v in line] for line in BOARD)),
        "\n".join(",".join(str(v) for v in line) + "," for line in BOARD),
        str(BOARD),
        str([value for row in BOARD for value in row]),
        drawn(),
        drawn().replace("|", "│").replace("-", "─").replace("+", "┼"),
    ],
)
def test_every_common_text_form_is_read(text: str) -> None:
    assert read_numbers(text, (9, 9)).tolist() == BOARD
    assert read_numbers(text).tolist() == BOARD


def test_numbers_of_two_digits_are_read() -> None:
    rows = [[(row * 4 + column) % 17 for column in range(16)] for row in range(16)]
    text = "\n".join(" ".join(str(value) for value in row) for row in rows)
    assert read_numbers(text, (16, 16)).tolist() == rows
    assert read_numbers(text).tolist() == rows
    assert read_numbers(line_of(Grid(rows)), (16, 16)).tolist() == rows


def test_letters_stand_for_ten_and_up() -> None:
    assert read_numbers("A1\ng.").tolist() == [[10, 1], [16, 0]]


def test_one_line_takes_the_shape_it_is_given() -> None:
    assert read_numbers("123456", (2, 3)).shape == (2, 3)
    assert read_numbers("1234").shape == (2, 2)


def test_line_and_str_round_trip() -> None:
    grid = Grid(BOARD)
    assert line_of(grid) == LINE
    assert read_numbers(str(grid)) == grid
    assert read_numbers(line_of(grid), (9, 9)) == grid


def test_random_grids_survive_every_writing() -> None:
    chance = random.Random(4)
    for _ in range(300):
        rows, columns = chance.randint(2, 6), chance.randint(2, 6)
        top = chance.choice((4, 9, 20, 35))
        cells = [[chance.randint(0, top) for _ in range(columns)] for _ in range(rows)]
        grid = Grid(cells)
        assert read_numbers(str(grid), grid.shape) == grid
        assert read_numbers(line_of(grid), grid.shape) == grid
        assert read_numbers(str(cells)) == grid
        spaced = "\n".join(" ".join(map(str, row)) for row in cells)
        assert read_numbers(spaced, grid.shape) == grid


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no cells"),
        ("   \n # only a comment", "no cells"),
        ("123", "square number"),
        ("12\n345", "rows of equal length"),
        (LINE[:-1], "expected 81 cells"),
        (LINE + "1", "got 82"),
        (LINE.replace("5", "§", 1), "§"),
        (LINE.replace("5", "５", 1), "５"),
        ("[1, 2", "JSON"),
        ("[[1, 2], [3]]", "equal length"),
        ('[["a", "b"], ["c", "d"]]', "integers"),
        ("[]", "cells|dimensions"),
        ("[[1.5, 2], [3, 4]]", "integers"),
        ("[[1, true], [3, 4]]", "integers"),
        ("[1, true, 3, 4]", "integers"),
        ("[[1, 2], 3]", "equal length"),
        ("[[99999999999999999999999999, 2], [3, 4]]", "integers"),
        ("[[300, 2], [3, 4]]", "300"),
        ("[{}]", "integers|dimensions"),
        ("[" * 100_000, "JSON"),
        ("[99999999999999999999999999, 2, 3, 4]", "integers"),
        ("-" + LINE, "unexpected character '-'"),
        ("-" + LINE.replace("5", ".", 1), "unexpected character '-'"),
        ("._ 12\n3 4", r"number .* got '\._'"),
        ("0. 12\n3 4", r"number .* got '0\.'"),
        ("٣ 12\n3 4", "got '٣'|character '٣'"),
    ],
)
def test_what_is_no_grid_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        read_numbers(text, (9, 9) if len(text) > 70 else (2, 2) if " 12" in text else None)


def test_a_sign_is_kept_and_a_rule_is_not() -> None:
    for text in ("-1 2\n3 -4", "-1,2\n3,-4", "| -1 | 2 |\n+---+--+\n|3|-4|", "[[-1, 2], [3, -4]]"):
        assert read_numbers(text).tolist() == [[-1, 2], [3, -4]]
        assert read_numbers(text, (2, 2)).tolist() == [[-1, 2], [3, -4]]
    assert read_numbers("1-2\n- -\n3-4\n--+--").tolist() == [[1, 2], [3, 4]]


def test_numbers_longer_than_python_reads_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"-128\.\.127 .* got '1111"):
        read_numbers("1" * 5000 + " 2 3 4", (2, 2))


@pytest.mark.parametrize("shape", [(2,), (0, 4), (-2, -2), (2.0, 2), (True, 4), "ab", 4])
def test_what_is_no_shape_is_refused(shape: object) -> None:
    with pytest.raises(InvalidInputError, match="shape must be"):
        read_numbers("1234", shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ([], "dimensions"),
        ([[]], "dimensions"),
        ([1, 2, 3], "dimensions"),
        (np.zeros((2, 2, 2), int), r"\(2, 2, 2\)"),
        ([[1, 2], [3]], "equal length"),
        ([[1.5, 2.0]], "integers"),
        ([[float("nan"), 2.0]], "integers"),
        ([[float("inf"), 2.0]], "integers"),
        ([[1e300, 2.0]], "integers"),
        ([[True, False]], "bool"),
        ([[True, 2], [3, 4]], "bool"),
        ([[np.True_, 2.0]], "bool"),
        ([["1", "2"]], "integers"),
        ([[None, 1]], "integers"),
        ([[128]], "128"),
        ([[-129]], "-129"),
        (7, "dimensions"),
        (None, "dimensions|integers"),
    ],
)
def test_arrays_that_are_no_grid_are_refused(cells: object, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        Grid(cells)  # type: ignore[arg-type]


def test_text_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="bytes"):
        read_numbers(b"1234")  # type: ignore[arg-type]


def test_whole_floats_and_every_integer_type_are_taken() -> None:
    for dtype in (np.int8, np.uint8, np.int64, np.uint64, np.float32, np.float64):
        assert Grid(np.eye(3, dtype=dtype)).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_grid_can_not_be_changed() -> None:
    source = np.ones((2, 2), np.int8)
    grid = Grid(source)
    source[0, 0] = 5
    assert grid[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.cells[0, 0] = 3
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(grid)[0, 0] = 3
    with pytest.raises(AttributeError):
        grid.colour = "red"  # type: ignore[attr-defined]


def test_grids_are_values() -> None:
    one, same, turned = Grid([[1, 2]]), Grid(np.array([[1, 2]])), Grid([[1], [2]])
    assert one == same
    assert hash(one) == hash(same)
    assert one != turned
    assert one != [[1, 2]]
    assert {one: "a"}[same] == "a"
    assert pickle.loads(pickle.dumps(one)) == one


def test_numpy_takes_a_grid_for_an_array() -> None:
    grid = Grid(BOARD)
    assert np.asarray(grid).dtype == np.int8
    assert np.array(grid, dtype=np.int64).tolist() == BOARD
    assert (np.asarray(grid) == np.array(BOARD)).all()
    copy = np.array(grid, copy=True)
    copy[0, 0] = 9
    assert grid[0, 0] == 5
    assert grid[0, 1] == 3
    assert grid[2].tolist() == BOARD[2]
    assert len(grid) == 9
    assert [row.tolist() for row in grid] == BOARD
    assert eval(repr(grid)) == grid


def test_values_without_a_character_have_no_line() -> None:
    with pytest.raises(InvalidInputError, match="40"):
        line_of(Grid([[40, 1]]))
    assert str(Grid([[40, -1]])) == "40 -1"


class _Raising:
    def __array__(self, *_: object, **__: object) -> None:
        raise KeyError("not today")

    def __iter__(self) -> Iterator[Grid]:
        raise KeyError("not today")


def test_what_raises_when_it_is_looked_at_is_refused_like_any_other_value() -> None:
    with pytest.raises(InvalidInputError, match="rows of equal length"):
        Grid(_Raising())  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="rows of equal length"):
        get_domain("sudoku-4x4").parse(_Raising())
    with pytest.raises(InvalidInputError, match="at least one input Grid"):
        Task(np.ma.masked)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="at least one input Grid"):
        Task(_Raising())  # type: ignore[arg-type]


def test_an_array_without_a_copy_is_refused_where_it_takes_one() -> None:
    grid = Grid([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="a copy is needed to give a Grid as float64"):
        grid.__array__(np.float64, copy=False)
    assert grid.__array__(copy=False) is grid.cells
    assert grid.__array__(copy=True) is not grid.cells
    assert np.asarray(grid, np.float64).tolist() == [[1, 2], [3, 4]]
