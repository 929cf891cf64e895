"""Boards as nested sequences and arrays: what text accepts, arrays of text accept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trm_sdk.domains import get_domain
from trm_sdk.domains.cells import data_in
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid

NINE = get_domain("sudoku")
P = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ROWS = [P[start : start + 9] for start in range(0, 81, 9)]
CELLS = [[int(cell.replace(".", "0")) for cell in row] for row in ROWS]


def with_blank(blank: Any, number: Any = int) -> list[list[Any]]:
    return [[blank if cell == "." else number(cell) for cell in row] for row in ROWS]


class Frame:
    """A table of another library, as numpy takes it."""

    def __init__(self, cells: list[Any]) -> None:
        self.cells = cells

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.cells, dtype=object)


@pytest.mark.parametrize(
    "value",
    [
        [list(row) for row in ROWS],
        ROWS,
        tuple(ROWS),
        list(P),
        [P],
        [" ".join(row) for row in ROWS],
        [row.replace(".", "x") for row in ROWS],
        with_blank(None),
        with_blank(math.nan),
        with_blank(math.nan, str),
        with_blank("", str),
        with_blank(" "),
        with_blank("-", str),
        with_blank("0", str),
        tuple(map(tuple, CELLS)),
        [value for row in CELLS for value in row],
        np.array(with_blank(np.nan)),
        np.array(with_blank(None), dtype=object),
        np.array([list(row) for row in ROWS]),
        np.array(ROWS),
        np.array(ROWS, dtype=object),
        np.array(CELLS, np.float32),
        np.array(CELLS).reshape(81, 1),
        np.array(CELLS).reshape(1, 81),
        np.array(CELLS)[None],
        Frame(with_blank(None)),
        Frame(ROWS),
    ],
)
def test_nested_sequences_of_numbers_text_and_nothing(value: object) -> None:
    assert NINE.to_line(NINE.parse(value).grid) == P
    assert NINE.to_line(NINE.parse_answer(value)) == P


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (with_blank(-1), "got -1 in row 1, column 3"),
        (with_blank("?!", str), r"got '\?!'"),
        (with_blank(True), "integers"),
        (np.array(CELLS) / 9, "integers"),
        (np.eye(10)[np.array(CELLS)], r"\(9, 9, 10\)"),
        ([*ROWS[:8], "12"], "expected 81 cells"),
        ([list(row) for row in ROWS[:8]] + [["1"]], "equal length"),
        ({"A1": 5}, "dict"),
        (P.encode(), "bytes"),
        ([["5", {}]], "got {}"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_board_is_named(value: object, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        NINE.parse(value)


def test_numbers_of_two_digits_as_text() -> None:
    rows = [[(4 * (r % 4) + r // 4 + c) % 16 + 1 for c in range(16)] for r in range(16)]
    large = get_domain("sudoku-16x16")
    assert large.parse([[str(value) for value in row] for row in rows]).grid.tolist() == rows
    assert large.parse([" ".join(map(str, row)) for row in rows]).grid.tolist() == rows


def test_symbols_of_any_domain_and_grids_of_numbers_alone() -> None:
    maze = get_domain("maze")
    wanted = [[2, 1, 0], [0, 1, 3]]
    assert maze.parse(["S.#", "#.G"]).grid.tolist() == wanted
    assert maze.parse([["S", " ", "#"], ["#", " ", "G"]]).grid.tolist() == wanted
    with pytest.raises(InvalidInputError, match="integers"):
        Grid([["1", "2"]])  # type: ignore[list-item]


@pytest.mark.parametrize("text", ["", "no data", "[1, 2", "f(x", "it's", "(" * 5000, "[" * 5000])
def test_text_without_data_has_none(text: str) -> None:
    assert data_in(text) is None


def test_what_a_masked_array_hides_is_an_empty_cell() -> None:
    answer = np.array([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]])
    hidden = np.ma.masked_array(answer, mask=answer > 2)
    domain = get_domain("sudoku-4x4")
    assert domain.to_line(domain.parse(hidden).grid) == "12....1221....21"
    with pytest.raises(InvalidInputError, match="masked array"):
        Grid(hidden)
    assert domain.parse(answer.astype("f2")).grid == Grid(answer)
