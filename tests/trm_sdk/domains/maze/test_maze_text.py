"""Mazes as text: the forms that are read, the one that is written, and mistakes by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_maze import board

from trm_sdk.domains.maze.engine.distances import shortest_path
from trm_sdk.domains.maze.engine.generate import generate
from trm_sdk.domains.maze.text import check_maze, format_maze, parse_maze
from trm_sdk.errors import InvalidInputError

MAZE = board("#####", "#S# #", "# # #", "#  G#", "#####")


def mazes(**options: Any) -> list[np.ndarray]:
    puzzles = generate(30, 1, **{"shape": (9, 11), **options}).puzzles
    return [*puzzles, *shortest_path(puzzles)[0]]


def translated(maze: np.ndarray, symbols: str) -> str:
    return "\n".join("".join(symbols[value] for value in row) for row in maze.tolist())


def drawn(maze: np.ndarray, room: int, height: int = 1) -> str:
    """A perfect maze (rooms at even cells) with a wall around it, as lines between rooms."""
    lines = []
    padded = np.pad(maze, 1)
    for row, cells in enumerate(padded.tolist()):
        parts = []
        for column, value in enumerate(cells):
            width = room if column % 2 else 1
            if value:
                parts.append((" " if value == 1 else "?SGo"[value - 1]).center(width))
            elif row % 2 and column % 2:
                parts.append("#" * width)
            else:
                parts.append("|" if row % 2 else "-" * width if column % 2 else "+")
        line = "".join(parts)
        lines += [line] + ["".join(" " if mark in "SGo" else mark for mark in line)] * (
            (height - 1) * (row % 2)
        )
    return "\n".join(lines)


def test_what_is_written_is_read_back() -> None:
    for maze in mazes():
        assert (parse_maze(format_maze(maze)) == maze).all()
    assert format_maze(MAZE) == "#####\n#S# #\n# # #\n#  G#\n#####"


def test_cells_are_int8() -> None:
    assert parse_maze(format_maze(MAZE)).dtype == np.int8


@pytest.mark.parametrize(
    "symbols", ["#.SGo", "█ SEo", "X.sfo", "x·Sgo", "■□SGo", "⬛⬜SGo", "# S*o", "#.*Go"]
)
def test_symbols_that_people_use_are_read(symbols: str) -> None:
    for maze in mazes():
        assert (parse_maze(translated(maze, symbols)) == maze).all()


def test_a_square_board_on_one_line_is_read() -> None:
    for maze in mazes(shape=(30, 30), kinds={"walls": 1}):
        line = format_maze(maze).replace("\n", "")
        assert (parse_maze(line) == maze).all()
        assert (parse_maze(line + "\r\n") == maze).all()


def test_one_line_that_is_no_square_is_one_row() -> None:
    assert parse_maze("S...G").tolist() == [[2, 1, 1, 1, 3]]


def test_cells_with_spaces_between_are_read() -> None:
    for maze in mazes():
        text = "\n".join(" ".join(line) for line in translated(maze, "#.SGo").split("\n"))
        assert (parse_maze(text) == maze).all()


@pytest.mark.parametrize("mark", ["{0}{0}", "{0} ", " {0}"])
def test_blocks_of_two_characters_are_one_cell(mark: str) -> None:
    for maze in mazes(kinds={"dfs": 1}):
        text = translated(maze, "█ SGo").replace("█", "██").replace(" ", "  ")
        for symbol in "SGo":
            text = text.replace(symbol, mark.format(symbol))
        assert (parse_maze(text) == maze).all()


def test_line_ends_indents_and_blank_lines_around_do_not_matter() -> None:
    text = format_maze(MAZE)
    for form in (
        text + "\n",
        "\n\n" + text + "\n   \n",
        text.replace("\n", "\r\n"),
        "\n    " + text.replace("\n", "\n    ") + "\n    ",
    ):
        assert (parse_maze(form) == MAZE).all()


def test_an_indent_before_a_wall_with_openings_does_not_matter() -> None:
    text = "    #.####\n    #.#..#\n    #.....\n    ######\n"
    assert format_maze(parse_maze(text)) == "#S####\n# #  #\n#    G\n######"


def test_free_columns_at_the_edge_are_no_indent() -> None:
    maze = board("  S  ", "  #  ", "  G  ")
    assert (parse_maze(format_maze(maze)) == maze).all()


@pytest.mark.parametrize("separator", ["", " ", ",", ", "])
def test_matrices_with_marks_are_read(separator: str) -> None:
    for symbols in ("10SG0", "10230", "10SE0"):
        for maze in mazes(shape=(6, 7)):
            puzzle = np.where(maze == 4, 1, maze)
            lines = translated(puzzle, symbols).split("\n")
            assert (parse_maze("\n".join(separator.join(line) for line in lines)) == puzzle).all()


def test_matrices_in_brackets_are_read() -> None:
    for maze in mazes(shape=(6, 7)):
        puzzle = np.where(maze == 4, 1, maze)
        numbers = np.array([1, 0, 2, 3])[puzzle]
        assert (parse_maze(json.dumps(numbers.tolist())) == puzzle).all()
        assert (parse_maze(str(numbers)) == puzzle).all()
    assert parse_maze("[['S', 0], [1, 'G']]").tolist() == [[2, 1], [0, 3]]


@pytest.mark.parametrize("room", [1, 2, 3, 4])
@pytest.mark.parametrize("height", [1, 2])
def test_drawn_mazes_are_read_whatever_the_size_of_rooms(room: int, height: int) -> None:
    for kind in ("dfs", "wilson", "prim"):
        for maze in mazes(shape=(9, 13), kinds={kind: 1}):
            assert (parse_maze(drawn(maze, room, height)) == np.pad(maze, 1)).all()


def test_a_drawn_maze_with_openings_is_read() -> None:
    text = """
    +   +---+---+
    |   |       |
    +   +   +   +
    |       |   |
    +---+---+   +
    """
    want = ["#S#####", "# #   #", "# # # #", "#   # #", "#####G#"]
    assert format_maze(parse_maze(text)) == "\n".join(want)


def test_a_maze_of_box_characters_is_read() -> None:
    text = """
┌───────┬─┐
│       │ │
│ ┌─┬── │ │
│ │ │   │ *
│ │ │ ──┤ │
* │ │   │ │
├─┤ └── │ │
│ │     │ │
│ │ ────┘ │
│         │
└─────────┘
"""
    cells = parse_maze(text)
    assert cells.shape == (11, 11)
    assert (cells[3, 10], cells[5, 0]) == (2, 3)
    assert (parse_maze(text.replace("*", " ")) == cells).all()
    want = np.array([[mark not in " *" for mark in line] for line in text.strip().split("\n")])
    assert ((cells == 0) == want).all()


def test_trailing_spaces_of_a_drawn_maze_may_be_lost() -> None:
    text = "+--+--+\n|S\n+--+--+\n|     |\n+--+--+"
    with pytest.raises(InvalidInputError, match="no goal"):
        parse_maze(text.replace("|S\n", "|S    |\n"))
    assert format_maze(parse_maze(text)) == "#####\n#S  G\n#####\n#   #\n#####"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("#.#\n#.#\n#.#", "#S#\n# #\n#G#"),
        ("###\n...\n###", "###\nS G\n###"),
        ("*.*", "S G"),
        ("#*#\n#.S\n###", "#G#\n# S\n###"),
        ("#*#\n#.G\n###", "#S#\n# G\n###"),
        ("###\n#S.\n###", "###\n#SG\n###"),
        ("101\n100\n111", "#S#\n# G\n###"),
    ],
)
def test_ends_without_a_name_are_named_in_reading_order(text: str, want: str) -> None:
    assert format_maze(parse_maze(text)) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text is empty"),
        (" \n \n", "text is empty"),
        ("[]", "unknown character ''"),
        ("[", "no cells"),
        ("####\n#.G#\n####", "no start .S., and 0 openings"),
        ("####\n#S.#\n####", "no goal .G., and 0 openings"),
        ("####\n#..#\n####", "no start .S. and no goal .G., and 0 openings"),
        ("#.#.\n#...\n####", "and 3 openings in the wall around it where 2 would do"),
        ("SS.G", "one start .S.; this one has 2, at row 1, column 1 and row 1, column 2"),
        ("S.#\nG.E", "one goal .G.; this one has 2, at row 2, column 1 and row 2, column 3"),
        ("S.*G*", "2 ends"),
        ("S..\n.G", "row 2 of a maze has 2 cells, row 1 has 3"),
        ("S..\n....\n..G", "row 2 of a maze has 4 cells, row 1 has 3"),
        ("0,S\n0,1,G", "row 2 of a maze has 3 cells"),
        ("S.#\n.?G", r"unknown character '\?' in a maze at row 2, column 2; walls are '#'"),
        ("S\t#\n..G", r"unknown character '\\t' in a maze at row 1, column 2"),
        ("S0#\n.1G", "unknown character '0' in a maze at row 1, column 2"),
        ("0 S\n12 G", "unknown character '12' in a maze at row 2, column 1"),
        ("S#G", "goal of this maze can't be reached from its start"),
        ("S.#\n.#.\n#.G", "can't be reached"),
        ("+--+\n|SG|\n+--+", "'SG' in a drawn maze, from row 2, column 2"),
        ("+---+---+\n|S -   G|\n+---+---+", "'S -' in a drawn maze, from row 2, column 2"),
        ("+--+---+\n|S    G|\n+--+---+", "corners .*at equal distances of at least 2"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_maze(text)


@settings(max_examples=1500, deadline=None)
@given(
    st.one_of(
        st.text("#S G.o*\n", max_size=40),
        st.text("+-| SG\n", max_size=60),
        st.text("01SG, \n[]'", max_size=40),
        st.text(max_size=20),
    )
)
def test_any_text_is_a_maze_or_refused_by_name(text: str) -> None:
    try:
        cells = parse_maze(text)
    except InvalidInputError:
        return
    check_maze(cells)
    assert cells.dtype == np.int8
    assert format_maze(cells)


@pytest.mark.parametrize("text", [None, 5, b"S.G", ["S.G"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInputError, match="must be a str"):
        parse_maze(text)


def test_a_maze_is_checked_with_its_path_or_without() -> None:
    check_maze(MAZE)
    check_maze(board("SoG"))
    check_maze(board("SoG").astype(np.int64))
    with pytest.raises(InvalidInputError, match="can't be reached"):
        check_maze(board("So#G"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.zeros(4, np.int8), "integer array of shape"),
        (np.zeros((0, 4), np.int8), "integer array of shape"),
        (np.zeros((2, 2)), "got float64"),
        (board("S G") * 2, "got 6 at row 1, column 3"),
        (-board("SG").astype(np.int8), "got -2 at row 1, column 1"),
    ],
)
def test_cells_of_another_form_are_refused(cells: Any, message: str) -> None:
    for function in (check_maze, format_maze):
        with pytest.raises(InvalidInputError, match=message):
            function(cells)
