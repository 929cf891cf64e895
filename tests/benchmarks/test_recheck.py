"""Verified answers under a second look; the long form is ``python -m benchmarks.recheck``."""

from __future__ import annotations

import pytest

pytest.importorskip("numba")
from benchmarks.recheck import KINDS, recheck, shares, wrong_maze, wrong_sudoku
from trm_sdk import get_domain

PUZZLE, ANSWER = "1.34341..14343.1", "1234341221434321"


@pytest.mark.parametrize("name", KINDS)
def test_what_is_called_verified_is_right_by_other_rules_as_well(name: str) -> None:
    found = recheck(name, 40, seed=3)
    assert found["findings"] == []
    assert found["false"] == found["disagreements"] == 0
    assert found["verified"] > 30
    assert found["candidates"] == 5 * found["puzzles"] == 200
    assert 40 <= found["right_candidates"] < 120


def test_shorter_runs_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.recheck.BATCH", 10)
    reports: list[int] = []
    whole = recheck("sudoku-4x4", 30, 5)
    part = recheck("sudoku-4x4", 20, 5)
    added = recheck("sudoku-4x4", 30, 5, part, lambda counts: reports.append(counts["puzzles"]))
    assert added["puzzles"] == added["verified"] == 30
    assert reports == [30]
    assert {**added, "seconds": 0} == {**whole, "seconds": 0}


def test_a_rule_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    domain = type(get_domain("maze"))
    monkeypatch.setattr(
        domain, "verify_tokens", lambda self, tokens, *_: np.ones(len(tokens), np.bool_)
    )
    found = recheck("maze", 20, seed=0)
    assert found["disagreements"] == 100 - found["right_candidates"] > 0
    assert found["findings"][0].keys() == {"puzzle", "answer", "wrong"}


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (ANSWER, None),
        (ANSWER[:-1], "15 cells"),
        ("2134341221434321", "cell 0 was 1"),
        ("1134341221434321", "row 1"),
        (ANSWER.replace("2", "x"), "row 1"),
    ],
)
def test_sudokus_are_judged(answer: str, wrong: str | None) -> None:
    found = wrong_sudoku(PUZZLE, answer)
    assert found is None if wrong is None else wrong in str(found)


def test_columns_and_boxes_are_looked_at() -> None:
    blank = "." * 16
    assert "column 1" in str(wrong_sudoku(blank, "1234" * 4))
    assert "box 1" in str(wrong_sudoku(blank, "1234234134124123"))


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("Soo\n# o\nG o", "0 ways on"),
        ("Soo\n#oo\nGo ", "2 ways on"),
        ("So \n#o \nGo ", None),
        ("So \n#oo\nGo ", "2 ways on"),
        ("Soo\n#oo\nGoo", "2 ways on"),
        ("So \n o \nGo ", "was '#'"),
        ("So \n#o\nGo ", "another shape"),
        ("S  \n#  \nG  ", "0 ways on"),
    ],
)
def test_mazes_are_judged(answer: str, wrong: str | None) -> None:
    found = wrong_maze("S  \n#  \nG  ", answer)
    assert found is None if wrong is None else wrong in str(found)


def test_a_path_must_be_a_shortest_one_and_nothing_else_be_marked() -> None:
    maze = "S   G\n ### \n     "
    assert wrong_maze(maze, "SoooG\n ### \n     ") is None
    assert wrong_maze(maze, "S   G\no###o\nooooo") == "8 moves, where 4 do"
    assert wrong_maze(maze, "SoooG\n ### \n  o  ") == "1 marks beside the path"


def test_shares_make_up_the_whole() -> None:
    assert sum(shares(101).values()) == 101
