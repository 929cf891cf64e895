"""Sudoku's rules, symmetries and encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku, engine, of_size
from trm_sdk.domains.text import read_numbers
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
SHAPES = [(2, 2), (2, 3), (3, 2), (3, 3), (4, 4)]


def solved(domain: Sudoku) -> Grid:
    """A solved board of any shape: every line is the one before, shifted."""
    rows, columns = domain.box
    line = np.arange(domain.size)
    shifts = [columns * (row % rows) + row // rows for row in range(domain.size)]
    return Grid(np.stack([(line + shift) % domain.size + 1 for shift in shifts]))


def groups_of(domain: Sudoku) -> list[list[int]]:
    return [list(group) for one in domain.distinct for group in one.groups_on(domain.shape)]


def holes(grid: Grid, rng: np.random.Generator) -> Grid:
    return Grid(np.where(rng.random(grid.shape) < 0.5, grid.cells, 0))


@pytest.mark.parametrize("box", SHAPES)
def test_boards_of_every_shape_verify(box: tuple[int, int]) -> None:
    domain = Sudoku(*box)
    answer = solved(domain)
    task = domain.parse(holes(answer, np.random.default_rng(0)))
    assert domain.verify(task, answer)
    cells = answer.cells.copy()
    cells[0, 0], cells[0, 1] = cells[0, 1], cells[0, 0]
    assert not domain.verify(task, Grid(cells))


@pytest.mark.parametrize("box", SHAPES)
def test_groups_are_what_a_person_would_list(box: tuple[int, int]) -> None:
    domain = Sudoku(*box)
    rows, columns = box
    size = rows * columns
    expected = [{(r, c) for c in range(size)} for r in range(size)]
    expected += [{(r, c) for r in range(size)} for c in range(size)]
    expected += [
        {(R + r, C + c) for r in range(rows) for c in range(columns)}
        for R in range(0, size, rows)
        for C in range(0, size, columns)
    ]
    found = [{divmod(cell, size) for cell in group} for group in groups_of(domain)]
    assert found == expected


def test_an_answer_that_drops_a_given_is_refuted() -> None:
    domain = get_domain("sudoku")
    task = domain.parse(PUZZLE)
    assert domain.verify(task, read_numbers(ANSWER))
    relabelled = Grid(np.asarray(read_numbers(ANSWER)) % 9 + 1)  # obeys the rules, not the givens
    assert domain.verify(domain.parse("." * 81), relabelled)
    assert not domain.verify(task, relabelled)
    assert not domain.verify(task, domain.parse(PUZZLE).grid)
    assert not domain.verify(task, Grid([[1, 2], [2, 1]]))


def test_vectorised_verification_agrees_with_the_rules_said_slowly() -> None:
    domain = Sudoku(2, 2)
    rng = np.random.default_rng(5)
    answer = domain.encode_grid(solved(domain))
    answers = np.tile(answer, (400, 1))
    for row in answers[20:]:  # damage all but twenty in one to three cells, with any token at all
        row[rng.integers(16, size=rng.integers(1, 4))] = rng.integers(-3, 9)
    tokens = np.where(rng.random(answers.shape) < 0.3, answer, 1).astype(np.int32)

    def slowly(puzzle: np.ndarray, given: np.ndarray) -> bool:
        groups = all(sorted(given[group] - 1) == [1, 2, 3, 4] for group in groups_of(domain))
        return groups and all(t in (0, 1) or t == a for t, a in zip(puzzle, given, strict=True))

    expected = [slowly(t, a) for t, a in zip(tokens, answers, strict=True)]
    assert domain.verify_tokens(tokens, answers).tolist() == expected
    assert 20 <= sum(expected) < 400


@pytest.mark.parametrize("box", SHAPES)
def test_a_first_look_rules_out_no_solution(box: tuple[int, int]) -> None:
    domain, rng = Sudoku(*box), np.random.default_rng(0)
    answer = domain.encode_grid(solved(domain))
    for _ in range(20):
        symmetry = domain.random_symmetry(rng)
        assert not domain.rules_out(domain.encode_grid(symmetry.apply(solved(domain))).tolist())
    for token in (-3, 0, 1, int(answer[1]), domain.size + 2):
        assert domain.rules_out([token, *answer.tolist()[1:]])


@pytest.mark.parametrize("box", SHAPES)
def test_symmetries_keep_solutions_and_can_be_undone(box: tuple[int, int]) -> None:
    domain, rng = Sudoku(*box), np.random.default_rng(1)
    answer = solved(domain)
    puzzle = domain.parse(holes(answer, rng))
    seen = set()
    for _ in range(30):
        symmetry = domain.random_symmetry(rng)
        turned = symmetry.apply_task(puzzle)
        moved = symmetry.apply(answer)
        seen.add(moved)
        assert domain.verify(turned, moved)
        assert symmetry.inverse().apply(moved) == answer
        assert symmetry.then(symmetry.inverse()).apply(answer) == answer
        other = domain.random_symmetry(rng)
        assert symmetry.then(other).apply(answer) == other.apply(symmetry.apply(answer))
    assert len(seen) > 20


def test_a_symmetry_takes_the_whole_task_along() -> None:
    domain = Sudoku(2, 2)
    answer = solved(domain)
    task = Task((answer,), ((answer, answer),), (answer,), name="a", metadata={"k": 1})
    symmetry = domain.random_symmetry(np.random.default_rng(0))
    turned = symmetry.apply_task(task)
    assert turned.answer == symmetry.apply(answer) == turned.demonstrations[0][0]
    assert (turned.name, turned.metadata) == ("a", {"k": 1})
    with pytest.raises(InvalidInputError, match="boards of 4x4; got 1x2"):
        symmetry.apply(Grid([[1, 2]]))


def test_encoding_round_trips() -> None:
    domain = get_domain("sudoku")
    task = domain.parse(PUZZLE)
    tokens = domain.encode(task).tokens
    assert tokens.dtype == np.int32
    assert tokens.shape == (81,)
    assert tokens[:3].tolist() == [6, 4, 1]
    assert domain.decode(tokens) == task.grid
    assert domain.decode_task(tokens) == task
    assert domain.decode(np.zeros(81, np.int64)).cells.max() == 0
    assert domain.vocabulary.value_names() == ("empty", *map(str, range(1, 10)))


@pytest.mark.parametrize(
    "puzzle",
    [
        PUZZLE,
        read_numbers(PUZZLE),
        Task((read_numbers(PUZZLE),)),
        read_numbers(PUZZLE).tolist(),
        np.asarray(read_numbers(PUZZLE)),
        np.asarray(read_numbers(PUZZLE)).ravel(),
        tuple(int(cell) for cell in PUZZLE.replace(".", "0")),
        np.asarray(read_numbers(PUZZLE), dtype=float),
    ],
)
def test_a_puzzle_comes_in_any_form(puzzle: object) -> None:
    assert get_domain("sudoku").parse(puzzle).grid == read_numbers(PUZZLE)


@pytest.mark.parametrize(
    ("puzzle", "named"),
    [
        ("55" + PUZZLE[2:], "5 appears 2 times in row 1"),
        ("5" + "." * 26 + "5" + "." * 53, "5 appears 2 times in column 1"),
        (PUZZLE[:10] + "3" + PUZZLE[11:], "3 appears 2 times in (column 2|box 1)"),
        (PUZZLE[:-1], "expected 81 cells"),
        (PUZZLE.replace("5", "A", 1), "got 10 in row 1, column 1"),
        (PUZZLE.replace("5", "!", 1), "'!'"),
        (Grid([[1, 2], [3, 4]]), "9x9"),
        ([[1] * 9] * 8, "8x9"),
        ([1, 2, 3], "dimensions"),
        (None, "NoneType"),
        (b"123", "bytes"),
        ({}, "dict"),
        (3.5, "dimensions"),
        (np.full((9, 9), -1), "got -1 in row 1"),
        (" ".join(["5", *["-1"] * 80]), "got -1 in row 1, column 2"),
        ([True] + [0] * 80, "not booleans"),
    ],
)
def test_what_is_no_sudoku_is_refused_by_name(puzzle: object, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        get_domain("sudoku").parse(puzzle)


@pytest.mark.parametrize(
    ("domain", "cells", "named"),
    [
        ("sudoku", 16, "'sudoku-4x4'"),
        ("sudoku", 256, "'sudoku-16x16'"),
        ("sudoku-16x16", 81, "'sudoku'"),
        ("sudoku-x", 16, "'sudoku-x-4x4'"),
        ("sudoku", 25, None),  # no Sudoku has five rows
        ("sudoku", 80, None),
        ("windoku", 256, None),
    ],
)
def test_a_board_of_another_size_is_named(domain: str, cells: int, named: str | None) -> None:
    with pytest.raises(InvalidInputError, match=f"got {cells} in") as caught:
        get_domain(domain).parse("1" + "." * (cells - 1))
    said = f"; boards of {cells} cells are those of {named}"
    assert str(caught.value).endswith(said) == (named is not None)
    for unreadable in ("?!" * 8, "", " \n"):
        with pytest.raises(InvalidInputError) as caught:
            get_domain(domain).parse(unreadable)
        assert "are those of" not in str(caught.value)


@pytest.mark.parametrize("name", ["sudoku-4x4", "sudoku", "sudoku-16x16"])
def test_puzzles_to_offer_have_one_solution(name: str) -> None:
    domain = get_domain(name)
    assert isinstance(domain, Sudoku)
    assert domain.showcase
    for _, line in domain.showcase:
        grid = domain.parse(line).grid
        assert domain.to_line(grid) == line
        counts, _, _ = engine.solve_count(grid.cells.reshape(1, -1), domain.box)
        assert counts.tolist() == [1]


def test_a_box_repeat_is_found() -> None:
    with pytest.raises(InvalidInputError, match="7 appears 2 times in box 5"):
        get_domain("sudoku").parse("." * 30 + "7" + "." * 10 + "7" + "." * 39)


@pytest.mark.parametrize(
    "shape", [(0, 0), (-4, -4), (5, 5), (6, 9), (64, 64), ("4", "4"), (4.0, 4.0)]
)
def test_sizes_that_can_not_be_are_refused(shape: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"side that makes boxes|2 to 35"):
        of_size(*shape)


@pytest.mark.parametrize("box", [(0, 3), (1, 1), (6, 6), ("a", 3), (2.0, 2), (True, 3)])
def test_boards_that_can_not_be_are_refused(box: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidInputError, match="2 to 35"):
        Sudoku(*box)


def test_boards_are_drawn_with_their_boxes() -> None:
    grid = read_numbers("1234 3412 2143 4321", (4, 4))
    drawn = Sudoku(2, 2).format(grid)
    assert drawn.splitlines()[2] == "-----+-----"
    for box in SHAPES:
        domain = Sudoku(*box)
        assert read_numbers(domain.format(solved(domain)), domain.shape) == solved(domain)
        lines = domain.format(solved(domain)).splitlines()
        assert len({len(line) for line in lines}) == 1
        assert len(lines) == domain.size + box[1] - 1


def test_no_two_boards_share_a_name() -> None:
    boards = [Sudoku(r, c) for r in range(1, 36) for c in range(1, 36) if 2 <= r * c <= 35]
    assert len({board.name for board in boards}) == len(boards)
    for board in boards:
        assert get_domain(board.name).box == board.box  # type: ignore[attr-defined]
    assert [Sudoku(*box).name for box in ((3, 3), (2, 3), (3, 2), (9, 1))] == [
        "sudoku",
        "sudoku-6x6",
        "sudoku-boxes-3x2",
        "sudoku-boxes-9x1",
    ]
