"""Generated mazes are what their kind says, reachable, long enough, and the same by seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from plain_maze import distances_from, neighbours, place

from trm_sdk.domains.maze.engine.generate import KINDS, MIXTURE, Mazes, generate, maze_hard_like
from trm_sdk.errors import InvalidInputError

PERFECT = ("dfs", "wilson", "prim")
SHAPES = [(3, 3), (9, 9), (10, 13), (30, 30), (5, 24)]


def lengths(mazes: Mazes) -> list[int]:
    """Moves from start to goal; a KeyError where there is no way."""
    return [distances_from(one, place(one, 2))[place(one, 3)] for one in mazes.puzzles]


def free(maze: np.ndarray) -> list[tuple[int, int]]:
    return [(row, column) for row, column in np.argwhere(maze > 0).tolist()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_maze_has_one_start_one_goal_and_a_way(kind: str, shape: tuple[int, int]) -> None:
    mazes = generate(20, 1, shape, kinds={kind: 1})
    assert mazes.puzzles.shape == (20, *shape)
    assert mazes.puzzles.dtype == np.uint8
    assert mazes.puzzles.max() == 3
    assert {KINDS[number] for number in mazes.kinds} == {kind}
    assert (np.count_nonzero(mazes.puzzles == 2, axis=(1, 2)) == 1).all()
    assert (np.count_nonzero(mazes.puzzles == 3, axis=(1, 2)) == 1).all()
    assert min(lengths(mazes)) >= 1


@pytest.mark.parametrize("kind", PERFECT)
@pytest.mark.parametrize("shape", SHAPES)
def test_free_cells_of_a_perfect_maze_form_a_tree(kind: str, shape: tuple[int, int]) -> None:
    rooms = (shape[0] + 1) // 2 * ((shape[1] + 1) // 2)
    for maze in generate(10, 2, shape, kinds={kind: 1}).puzzles:
        cells = free(maze)
        edges = sum(len(list(neighbours(maze, cell))) for cell in cells) // 2
        assert edges == len(cells) - 1
        assert len(distances_from(maze, cells[0])) == len(cells)
        assert len(cells) == 2 * rooms - 1


def test_wilson_draws_every_spanning_tree_equally_often() -> None:
    trees = Counter(
        (one > 0).tobytes() for one in generate(6000, 3, (3, 5), kinds={"wilson": 1}).puzzles
    )
    assert len(trees) == 15  # spanning trees of 2x3 rooms
    expected = 6000 / 15
    chi_squared = sum((count - expected) ** 2 / expected for count in trees.values())
    assert chi_squared < 36.1  # 14 degrees of freedom, p = 0.001


def test_depth_first_search_makes_longer_ways_than_prim() -> None:
    means = [
        np.mean(lengths(generate(40, 4, (21, 21), kinds={kind: 1}, farthest=1))) for kind in PERFECT
    ]
    assert means[0] > means[1] > means[2]


def test_braided_mazes_have_loops_and_keep_their_rooms() -> None:
    for maze in generate(30, 5, (15, 15), kinds={"braided": 1}, braid=(0.2, 0.3)).puzzles:
        cells = free(maze)
        edges = sum(len(list(neighbours(maze, cell))) for cell in cells) // 2
        assert edges > len(cells) - 1
        assert len(distances_from(maze, cells[0])) == len(cells)
        assert (maze[::2, ::2] > 0).all()
        assert (maze[1::2, 1::2] == 0).all()


def test_braiding_all_walls_leaves_none_between_rooms() -> None:
    (maze,) = generate(1, 6, (7, 7), kinds={"braided": 1}, braid=(1, 1)).puzzles
    assert np.count_nonzero(maze == 0) == 9


def test_shares_of_walls_are_as_asked() -> None:
    for low, high in [(0.1, 0.1), (0.3, 0.35)]:
        puzzles = generate(200, 7, (40, 40), kinds={"walls": 1}, walls=(low, high)).puzzles
        shares = (puzzles == 0).mean(axis=(1, 2))
        assert shares.mean() == pytest.approx((low + high) / 2, abs=0.005)
        assert shares.min() > low - 0.05
        assert shares.max() < high + 0.05


def test_open_boards_have_few_walls() -> None:
    puzzles = generate(300, 8, (30, 30), kinds={"open": 1}).puzzles
    shares = (puzzles == 0).mean(axis=(1, 2))
    assert shares.mean() == pytest.approx(0.15, abs=0.02)
    assert shares.max() < 0.35


@pytest.mark.parametrize("kind", PERFECT)
def test_farthest_ends_of_a_perfect_maze_are_its_diameter(kind: str) -> None:
    mazes = generate(15, 9, (9, 11), kinds={kind: 1}, farthest=1)
    for maze, length in zip(mazes.puzzles, lengths(mazes), strict=True):
        assert length == max(max(distances_from(maze, cell).values()) for cell in free(maze))


@pytest.mark.parametrize("farthest", [0, 0.5, 1])
@pytest.mark.parametrize(
    ("kind", "least"), [("dfs", 60), ("braided", 40), ("walls", 30), ("climbed", 50), ("open", 25)]
)
def test_shortest_paths_have_the_length_asked_for(kind: str, least: int, farthest: float) -> None:
    found = lengths(
        generate(25, 10, (17, 17), kinds={kind: 1}, farthest=farthest, min_length=least)
    )
    assert min(found) >= least


def test_climbing_stops_at_the_length_asked_for() -> None:
    found = lengths(generate(25, 11, (20, 20), kinds={"climbed": 1}, farthest=0, min_length=80))
    assert min(found) >= 80
    assert np.median(found) < 90


def test_random_ends_are_nearer_than_farthest_ones() -> None:
    near, far = (
        np.mean(lengths(generate(60, 12, (15, 15), kinds={"dfs": 1}, farthest=share)))
        for share in (0, 1)
    )
    assert near < 0.7 * far


def test_boards_like_maze_hard() -> None:
    mazes = maze_hard_like(60, 13)
    assert mazes.puzzles.shape == (60, 30, 30)
    assert min(lengths(mazes)) >= 109
    shares = (mazes.puzzles == 0).mean(axis=(1, 2))
    assert shares.mean() == pytest.approx(0.371, abs=0.02)
    assert (maze_hard_like(5, 13, first=55).puzzles == mazes.puzzles[55:]).all()


def test_kinds_come_in_the_shares_asked_for() -> None:
    kinds = generate(4000, 14, (7, 7), kinds={"dfs": 1, "walls": 2.5, "open": 0.5, "prim": 0}).kinds
    counts = Counter(KINDS[number] for number in kinds)
    assert set(counts) == {"dfs", "walls", "open"}
    assert counts["dfs"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert counts["walls"] / 4000 == pytest.approx(0.625, abs=0.03)
    assert set(MIXTURE) == set(KINDS)


def test_smaller_boards_lie_anywhere_on_the_canvas() -> None:
    puzzles = generate(300, 15, (12, 14), kinds={"open": 1}, walls=(0, 0), smallest=(4, 5)).puzzles
    tops, lefts, sizes = set(), set(), set()
    for maze in puzzles:
        rows, columns = np.flatnonzero(maze.any(axis=1)), np.flatnonzero(maze.any(axis=0))
        tops.add(rows[0])
        lefts.add(columns[0])
        sizes.add((rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))
    assert {0, 1, 2, 3, 4, 5} <= tops
    assert {0, 1, 2, 3, 4, 5} <= lefts
    assert len(sizes) > 40
    assert (12, 14) in sizes


def test_smaller_perfect_mazes_are_whole() -> None:
    for maze in generate(50, 16, (12, 14), kinds={"prim": 1}, smallest=(4, 5)).puzzles:
        rows, columns = np.flatnonzero(maze.any(axis=1)), np.flatnonzero(maze.any(axis=0))
        assert len(rows) % 2 == 1
        assert len(columns) % 2 == 1
        assert np.count_nonzero(maze) == (len(rows) + 1) * (len(columns) + 1) // 2 - 1


def test_a_seed_gives_the_same_mazes_and_another_gives_others() -> None:
    one, two, other = (generate(50, seed, (9, 10)) for seed in (17, 17, 18))
    assert (one.puzzles == two.puzzles).all()
    assert (one.kinds == two.kinds).all()
    assert (one.puzzles != other.puzzles).any(axis=(1, 2)).all()
    assert len({maze.tobytes() for maze in one.puzzles}) == 50


def test_an_item_depends_on_its_number_alone() -> None:
    many = generate(40, 19, (9, 9), smallest=(5, 5))
    few = generate(7, 19, (9, 9), smallest=(5, 5))
    later = generate(9, 19, (9, 9), smallest=(5, 5), first=31)
    assert (few.puzzles == many.puzzles[:7]).all()
    assert (later.puzzles == many.puzzles[31:]).all()
    assert (later.kinds == many.kinds[31:]).all()


def test_mazes_of_a_seed_are_the_same_on_every_machine() -> None:
    mazes = generate(210, 20, (15, 18), smallest=(7, 7))
    digest = hashlib.sha256(mazes.puzzles.tobytes() + mazes.kinds.tobytes()).hexdigest()
    assert digest == "c8f25e1ef806cb5e9bbae16c15336ae6a2970f97bf1b823659a97a99a35d6ed2"


def test_the_largest_seed_and_no_mazes_are_accepted() -> None:
    assert generate(1, 2**64 - 1, (5, 5)).puzzles.shape == (1, 5, 5)
    empty = generate(0, 0, (4, 5))
    assert empty.puzzles.shape == (0, 4, 5)
    assert empty.kinds.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n must be an integer of at least 0; got -1"),
        ({"n": 1.5}, "n must be an integer"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": 2**64}, "seed must be an integer from 0"),
        ({"shape": 9}, "shape must be a pair"),
        ({"shape": (9,)}, "shape must be a pair"),
        ({"shape": (0, 9)}, "a side of shape must be an integer from 1 to 4096; got 0"),
        ({"shape": (1, 1)}, "at least 2 cells"),
        ({"smallest": (10, 3)}, "smallest must fit into shape"),
        ({"kinds": {"maze": 1}}, "unknown kind of maze 'maze'"),
        ({"kinds": ["dfs"]}, "kinds must map kinds to weights"),
        ({"kinds": {"dfs": 0}}, "not all zero"),
        ({"kinds": {"dfs": -1, "prim": 2}}, "not negative"),
        ({"kinds": {"dfs": float("nan")}}, "must be finite"),
        ({"kinds": {"dfs": "many"}}, "weights must be numbers"),
        ({"walls": 0.3}, "walls must be a pair"),
        ({"walls": (0.4, 0.3)}, "0 <= low <= high <= 1"),
        ({"braid": (0, 1.1)}, "0 <= low <= high <= 1"),
        ({"farthest": 2}, "farthest must be a number from 0 to 1; got 2"),
        ({"farthest": None}, "farthest must be a number"),
        ({"min_length": 0}, "min_length must be an integer of at least 1"),
        ({"first": -1}, "first must be an integer"),
        ({"attempts": 0}, "attempts must be an integer"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        generate(**{"n": 2, "seed": 0, "shape": (9, 9), **arguments})


@pytest.mark.parametrize(
    "arguments",
    [
        {"kinds": {"open": 1}, "min_length": 60},
        {"kinds": {"prim": 1}, "shape": (2, 2)},
        {"kinds": {"walls": 1}, "walls": (1, 1)},
        {"kinds": {"climbed": 1}, "min_length": 81},
    ],
)
def test_a_length_that_no_board_has_ends_with_an_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="in 50 attempts at item 0 of seed 0"):
        generate(**{"n": 2, "seed": 0, "shape": (9, 9), "attempts": 50, **arguments})
