"""Verdicts on answers and walks along direction fields, in numpy and compiled."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from plain_maze import board, distances_from, neighbours, place, random_boards

from trm_sdk.domains.maze import rules
from trm_sdk.domains.maze.engine import distances as engine
from trm_sdk.domains.maze.engine import judge as compiled
from trm_sdk.domains.maze.rules import INVALID, LONGER, NO_MOVE, OPTIMAL
from trm_sdk.errors import InvalidInputError

both = pytest.mark.parametrize("module", [rules, compiled], ids=["numpy", "numba"])

PUZZLE = board(
    "S    ",
    " ### ",
    "     ",
    " ### ",
    "    G",
)
VERDICTS = {
    "shortest": (("Soooo", " ###o", "    o", " ###o", "    G"), OPTIMAL),
    "another shortest": (("S    ", "o### ", "ooooo", " ###o", "    G"), OPTIMAL),
    "nothing marked": (("S    ", " ### ", "     ", " ### ", "    G"), INVALID),
    "a gap": (("Soooo", " ### ", "    o", " ###o", "    G"), INVALID),
    "a gap at the goal": (("Soooo", " ###o", "    o", " ### ", "    G"), INVALID),
    "a gap at the start": (("S ooo", " ###o", "    o", " ###o", "    G"), INVALID),
    "a fork": (("Soooo", " ###o", "   oo", " ###o", "    G"), INVALID),
    "two paths": (("Soooo", "o###o", "o   o", "o###o", "ooooG"), INVALID),
    "two paths that join": (("Soooo", "o###o", "ooooo", " ###o", "    G"), INVALID),
    "a mark beside the path": (("Soooo", " ###o", "    o", "o###o", "    G"), INVALID),
    "a wall opened": (("S    ", "o### ", "oo   ", "#o## ", " oooG"), INVALID),
    "a wall marked": (("So   ", " o## ", " o   ", " o## ", " oooG"), INVALID),
    "a wall built": (("Soooo", "####o", "    o", " ###o", "    G"), INVALID),
    "the start marked": (("ooooo", " ###o", "    o", " ###o", "    G"), INVALID),
    "the goal marked": (("Soooo", " ###o", "    o", " ###o", "    o"), INVALID),
    "the start moved": ((" Sooo", " ###o", "    o", " ###o", "    G"), INVALID),
}


@both
@pytest.mark.parametrize("name", list(VERDICTS))
def test_verdict_on(module: ModuleType, name: str) -> None:
    rows, want = VERDICTS[name]
    assert module.judge(PUZZLE[None], board(*rows)[None]).tolist() == [want]


@both
def test_a_detour_is_valid_and_longer(module: ModuleType) -> None:
    puzzle = board("S G", "   ", "   ")
    for rows, want in [
        (("SoG", "   ", "   "), OPTIMAL),
        (("S G", "ooo", "   "), LONGER),
        (("S G", "o o", "ooo"), LONGER),
        (("SoG", "ooo", "   "), INVALID),
        (("SoG", "   ", "ooo"), INVALID),
    ]:
        assert module.judge(puzzle[None], board(*rows)[None]).tolist() == [want], rows


@both
def test_a_ring_beside_the_path_is_invalid(module: ModuleType) -> None:
    puzzle = board("S G   ", *["      "] * 4)
    ring = board("SoG   ", "      ", "   ooo", "   o o", "   ooo")
    path = board("SoG   ", *["      "] * 4)
    assert module.judge(puzzle[None], ring[None]).tolist() == [INVALID]
    assert module.judge(puzzle[None], path[None]).tolist() == [OPTIMAL]
    # In a batch the ring spoils its own board alone.
    verdicts = module.judge(np.stack([puzzle] * 3), np.stack([path, ring, path]))
    assert verdicts.tolist() == [OPTIMAL, INVALID, OPTIMAL]


@both
def test_start_beside_goal_needs_no_mark(module: ModuleType) -> None:
    puzzle = board("SG", "  ")
    assert module.judge(puzzle[None], puzzle[None]).tolist() == [OPTIMAL]
    assert module.judge(puzzle[None], board("SG", "oo")[None]).tolist() == [INVALID]


@both
def test_where_the_goal_is_out_of_reach_nothing_is_valid(module: ModuleType) -> None:
    puzzle = board("S # G")
    for answer in ("S # G", "So#oG", "So oG", "SoooG"):
        assert module.judge(puzzle[None], board(answer)[None]).tolist() == [INVALID]


@both
def test_answers_may_hold_anything(module: ModuleType) -> None:
    puzzle = board("S G")
    for value in (-7, 5, 200, 2**40):
        answer = puzzle.astype(np.int64)
        answer[0, 1] = value
        assert module.judge(puzzle[None], answer[None]).tolist() == [INVALID]


@both
def test_known_lengths_decide_what_is_optimal(module: ModuleType) -> None:
    puzzle, answer = board("S G")[None], board("SoG")[None]
    assert module.judge(puzzle, answer, [2]).tolist() == [OPTIMAL]
    assert module.judge(puzzle, answer, np.array([1])).tolist() == [LONGER]
    with pytest.raises(InvalidInputError, match="lengths must be 1 integers"):
        module.judge(puzzle, answer, [2, 2])


def slow_verdict(maze: np.ndarray, answer: np.ndarray) -> int:
    """Follow the marks from the start; every mark must be met, and only two neighbours each."""
    changed = answer != maze
    if (changed & ((answer != 4) | (maze != 1))).any():
        return INVALID
    drawn = np.where(answer >= 2, answer, 0)
    cell, seen = place(maze, 2), [place(maze, 2)]
    while cell != place(maze, 3):
        ways = [near for _, near in neighbours(drawn, cell) if near not in seen[-2:]]
        if len(ways) != 1 or ways[0] in seen:
            return INVALID
        cell = ways[0]
        seen.append(cell)
    for index, cell in enumerate(seen):
        touching = {near for _, near in neighbours(drawn, cell)}
        if touching != set(seen[max(index - 1, 0) : index] + seen[index + 1 : index + 2]):
            return INVALID
    if len(seen) != np.count_nonzero(drawn):
        return INVALID
    known = distances_from(maze, place(maze, 3))
    return OPTIMAL if len(seen) - 1 == known[seen[0]] else LONGER


@both
@pytest.mark.parametrize("shape", [(3, 3), (5, 7), (9, 9)])
def test_verdicts_agree_with_a_plain_judge(module: ModuleType, shape: tuple[int, int]) -> None:
    boards = random_boards(1500, shape, seed=11, share=0.2)
    rng = np.random.default_rng(12)
    # Walks down the field of a board with other walls: often longer ways of the true one.
    other = np.where((rng.random(boards.shape) < 0.2) & (boards == 1), 0, boards)
    answers = rules.shortest_path(other)[0]
    answers = np.where(answers == 4, 4, boards)
    spoilt = rng.random(len(boards)) < 0.4
    places = rng.integers(answers[0].size, size=len(boards))
    flat = answers.reshape(len(boards), -1)
    flat[spoilt, places[spoilt]] = rng.integers(0, 5, spoilt.sum())
    want = [slow_verdict(*pair) for pair in zip(boards, answers, strict=True)]
    assert min(np.bincount(want, minlength=3)) > 5
    assert module.judge(boards, answers).tolist() == want


@both
def test_labels_are_judged_optimal(module: ModuleType) -> None:
    boards = random_boards(500, (12, 9), seed=13)
    answers, lengths = engine.shortest_path(boards)
    assert (module.judge(boards, answers) == np.where(lengths < 0, INVALID, OPTIMAL)).all()


@both
def test_a_walk_along_the_directions_draws_the_canonical_path(module: ModuleType) -> None:
    boards = random_boards(500, (10, 11), seed=14)
    found = engine.targets(boards)
    answers, reached = module.walk(boards, found.directions)
    assert (answers == engine.shortest_path(boards)[0]).all()
    assert (reached == (found.lengths >= 0)).all()


@both
@pytest.mark.parametrize(
    ("directions", "drawn", "reached"),
    [
        ([[2, 2, 4], [4, 4, 4]], "SoG/ # ", True),
        ([[2, 4, 4], [4, 4, 4]], "SoG/ # ", False),  # stands still
        ([[2, 0, 4], [4, 4, 4]], "SoG/ # ", False),  # into a wall
        ([[2, 3, 4], [4, 4, 4]], "SoG/ # ", False),  # off the board
        ([[2, 1, 4], [4, 4, 4]], "SoG/ # ", False),  # back to the start
        ([[0, 4, 4], [3, 4, 4]], "S G/o# ", False),  # to and fro
        ([[1, 4, 4], [4, 4, 4]], "S G/ # ", False),  # off the left edge, not to the row above
        ([[4, 4, 4], [4, 4, 4]], "S G/ # ", False),
    ],
)
def test_a_walk_ends_where_it_is_lost(
    module: ModuleType, directions: list[list[int]], drawn: str, reached: bool
) -> None:
    puzzle = board("S G", " # ")
    answers, arrived = module.walk(puzzle[None], np.array([directions]))
    assert (answers[0] == board(*drawn.split("/"))).all()
    assert arrived.tolist() == [reached]


def test_both_walks_agree_on_fields_with_mistakes() -> None:
    boards = random_boards(2000, (8, 9), seed=15)
    right = engine.targets(boards).directions
    rng = np.random.default_rng(16)
    fields = np.where(rng.random(right.shape) < 0.1, rng.integers(0, 5, right.shape), right)
    (one, reached), (two, arrived) = rules.walk(boards, fields), compiled.walk(boards, fields)
    assert (one == two).all()
    assert (reached == arrived).all()
    assert 0 < reached.mean() < 1
    assert (rules.judge(boards, one) == compiled.judge(boards, two)).all()


@both
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (board("SoG"), "must have the shape of puzzles"),
        (board("SoG")[None].astype(np.float32), "answers must hold integers"),
    ],
)
def test_answers_of_another_form_are_refused(
    module: ModuleType, answers: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        module.judge(board("S G")[None], answers)


@both
def test_directions_of_another_form_are_refused(module: ModuleType) -> None:
    puzzle = board("S G")[None]
    with pytest.raises(InvalidInputError, match="directions must have the shape"):
        module.walk(puzzle, np.zeros((1, 2, 3), np.uint8))
    for wrong in (np.full((1, 1, 3), NO_MOVE + 1), np.full((1, 1, 3), -1), np.zeros((1, 1, 3))):
        with pytest.raises(InvalidInputError, match="integers from 0 to 4"):
            module.walk(puzzle, wrong)
