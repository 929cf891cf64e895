"""Distances and canonical paths, in numpy and compiled, against plain Python."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from plain_maze import all_shortest_paths, board, distances_from, place, random_boards

from trm_sdk.domains.maze import rules
from trm_sdk.domains.maze.engine import distances as engine
from trm_sdk.errors import InvalidInputError

SHAPES = [(1, 2), (2, 1), (1, 9), (3, 3), (4, 6), (7, 5), (13, 13), (8, 31)]
both = pytest.mark.parametrize("module", [rules, engine], ids=["numpy", "numba"])


@both
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_those_of_a_plain_search(module: ModuleType, shape: tuple[int, int]) -> None:
    boards = random_boards(60, shape, seed=1)
    fields = module.distances(boards)
    assert fields.dtype == np.int32
    for maze, field in zip(boards, fields, strict=True):
        known = distances_from(maze, place(maze, 3))
        want = [[known.get(cell, -1) for cell in row] for row in _cells(shape)]
        assert field.tolist() == want


def _cells(shape: tuple[int, int]) -> list[list[tuple[int, int]]]:
    return [[(row, column) for column in range(shape[1])] for row in range(shape[0])]


@both
@pytest.mark.parametrize("shape", [(1, 5), (3, 3), (4, 5), (5, 4)])
def test_the_canonical_path_is_the_least_of_all_shortest(
    module: ModuleType, shape: tuple[int, int]
) -> None:
    boards = random_boards(300, shape, seed=2, share=0.2)
    answers, lengths = module.shortest_path(boards)
    assert (answers.dtype, lengths.dtype) == (np.uint8, np.int32)
    several = 0
    for maze, answer, length in zip(boards, answers, lengths, strict=True):
        paths = all_shortest_paths(maze)
        several += len(paths) > 1
        if not paths:
            assert length == -1
            assert (answer == maze).all()
            continue
        word, cells = min(paths)  # D < L < R < U in the alphabet
        assert length == len(word)
        want = maze.copy()
        for cell in cells[1:-1]:
            want[cell] = 4
        assert (answer == want).all()
    assert several > 50 or shape[0] == 1


def test_numbers_of_shortest_paths_are_those_of_listing_them() -> None:
    boards = random_boards(300, (5, 6), seed=3, share=0.15)
    want = [len(all_shortest_paths(maze)) for maze in boards]
    assert max(want) > 20
    assert min(want) == 0
    assert engine.count_shortest_paths(boards).tolist() == want
    assert engine.count_shortest_paths_exactly(boards) == want


def test_numbers_of_shortest_paths_stay_exact_beyond_floats() -> None:
    maze = np.ones((1, 40, 40), np.uint8)
    maze[0, 0, 0], maze[0, -1, -1] = 2, 3
    binomial = 27217014869199032015600  # 78 over 39
    assert engine.count_shortest_paths_exactly(maze) == [binomial]
    assert engine.count_shortest_paths(maze)[0] == pytest.approx(binomial, rel=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_targets_say_the_same_as_the_rules(shape: tuple[int, int]) -> None:
    boards = random_boards(400, shape, seed=4)
    found = engine.targets(boards)
    answers, lengths = rules.shortest_path(boards)
    assert (found.distances == rules.distances(boards)).all()
    assert (found.directions == rules.directions(found.distances)).all()
    assert (found.lengths == lengths).all()
    assert (rules.lengths(boards) == lengths).all()
    assert (engine.shortest_path(boards)[0] == answers).all()
    assert ((found.positions > 0) & (boards == 1)).tolist() == (answers == 4).tolist()


def test_positions_count_the_moves_from_the_start() -> None:
    maze = board("S #", "# #", "  G")
    found = engine.targets(maze[None])
    assert found.positions[0].tolist() == [[0, 1, -1], [-1, 2, -1], [-1, 3, 4]]
    assert found.distances[0].tolist() == [[4, 3, -1], [-1, 2, -1], [2, 1, 0]]
    down, left, right, up, none = range(5)
    assert found.directions[0].tolist() == [
        [right, down, none],
        [none, down, none],
        [right, right, none],
    ]
    assert left != up
    assert found.lengths.tolist() == [4]


def test_preferred_moves_are_down_then_left_then_right_then_up() -> None:
    open_board = np.ones((5, 5), np.uint8)
    for start, goal, want in [
        ((0, 0), (2, 2), "DDRR"),
        ((0, 2), (2, 0), "DDLL"),
        ((4, 4), (2, 2), "LLUU"),
        ((4, 0), (2, 2), "RRUU"),
    ]:
        maze = open_board.copy()
        maze[start], maze[goal] = 2, 3
        positions = engine.targets(maze[None]).positions[0]
        cells = [place(positions, index) for index in range(5)]
        steps = {(1, 0): "D", (0, -1): "L", (0, 1): "R", (-1, 0): "U"}
        word = "".join(steps[b[0] - a[0], b[1] - a[1]] for a, b in pairwise(cells))
        assert word == want


@both
def test_batches_larger_than_one_integer_are_cut_at_boards(module: ModuleType) -> None:
    boards = random_boards(700, (11, 10), seed=5)
    parts = [module.shortest_path(boards[i : i + 1]) for i in range(len(boards))]
    answers, lengths = module.shortest_path(boards)
    assert (answers == np.concatenate([part[0] for part in parts])).all()
    assert lengths.tolist() == [int(part[1][0]) for part in parts]


@both
def test_an_empty_batch_gives_empty_results(module: ModuleType) -> None:
    answers, lengths = module.shortest_path(np.empty((0, 4, 5), np.uint8))
    assert answers.shape == (0, 4, 5)
    assert lengths.shape == (0,)
    assert module.distances(np.empty((0, 4, 5), np.uint8)).shape == (0, 4, 5)


@both
def test_boards_are_not_written_to(module: ModuleType) -> None:
    boards = random_boards(5, (6, 6), seed=6)
    before = boards.copy()
    module.shortest_path(boards)
    module.distances(boards)
    assert (boards == before).all()


@both
@pytest.mark.parametrize(
    ("boards", "message"),
    [
        (board("SG"), "must have shape"),
        (np.zeros((1, 0, 3), np.uint8), "must have shape"),
        (board("SG")[None].astype(float), "must hold integers; got dtype float64"),
        (board("SoG")[None], "got values from 2 to 4"),
        (board("SG")[None].astype(int) - 3, "got values from -1 to 0"),
        (board(" G")[None], "exactly one start each; board 0 has 0"),
        (np.stack([board("SG#"), board("SGG")]), "exactly one goal each; board 1 has 2"),
    ],
)
def test_what_is_not_a_maze_is_refused(module: ModuleType, boards: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        module.distances(boards)
    with pytest.raises(InvalidInputError, match=message):
        module.shortest_path(boards)
