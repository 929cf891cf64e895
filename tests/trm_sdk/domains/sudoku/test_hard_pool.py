"""A pool of puzzles climbs, keeps its members valid, and resumes from its state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sudoku_oracles import BOXES, is_solved

from trm_sdk.domains.sudoku import engine
from trm_sdk.domains.sudoku.engine import HardPool
from trm_sdk.errors import InvalidInputError


def check_unique(pool: HardPool) -> None:
    counts, _, answers = engine.solve_count(pool.puzzles, pool.box)
    assert (counts == 1).all()
    assert (answers == pool.solutions).all()
    assert all(is_solved(grid, pool.box) for grid in pool.solutions)


def check_same(pool: HardPool, other: HardPool) -> None:
    state = other.state()
    for name, array in pool.state().items():
        assert array.dtype == state[name].dtype
        assert (array == state[name]).all(), name


def test_climbing_by_guesses_keeps_puzzles_unique_and_minimal() -> None:
    pool = HardPool(12, seed=13, reach=0)
    start = pool.puzzles.copy()
    pool.advance(60)
    assert pool.ratings.shape == (12,)
    check_unique(pool)
    for puzzle in pool.puzzles:  # too hard for the slow solver
        clues = np.flatnonzero(puzzle)
        fewer = np.repeat(puzzle[None], len(clues), axis=0)
        fewer[np.arange(len(clues)), clues] = 0
        assert (engine.solve_count(fewer)[0] == 2).all()
    assert engine.rate(pool.puzzles).mean() > 2 * engine.rate(start).mean()


def test_without_reach_members_do_not_depend_on_each_other() -> None:
    pool, fewer = HardPool(12, seed=13, reach=0), HardPool(5, seed=13, reach=0)
    for each in (pool, fewer):
        each.advance(60)
    assert (fewer.puzzles == pool.puzzles[:5]).all()
    assert (fewer.ratings == pool.ratings[:5]).all()


def test_a_pool_climbs_by_probing_and_resumes() -> None:
    pool = HardPool(20, seed=4, rating="probing")
    start = pool.ratings.copy()
    resumed = HardPool.from_state(pool.state())
    pool.advance(60)
    assert np.median(pool.ratings) > 1 > np.median(start)
    assert pool.ratings == pytest.approx(engine.probe(pool.puzzles))
    check_unique(pool)
    resumed.advance(60)
    check_same(resumed, pool)


@pytest.mark.parametrize("box", BOXES)
def test_a_pool_resumes_under_every_option(box: tuple[int, int]) -> None:
    pool = HardPool(30, box, seed=4, ceiling=20.0, temperature=0.1, reach=4, repeats=2, lifetime=30)
    pool.advance(3)
    state = pool.state()
    kept = {name: array.copy() for name, array in state.items()}
    pool.advance(20)
    assert all((state[name] == kept[name]).all() for name in kept)  # states are copies
    resumed = HardPool.from_state(state)
    assert resumed.lifetime == 30
    resumed.advance(20)
    check_same(resumed, pool)
    check_unique(pool)


def test_no_two_members_are_symmetric_images_of_each_other() -> None:
    pool = HardPool(30, seed=4)
    start = pool.ratings.mean()
    pool.advance(40)
    assert pool.ratings.mean() > start
    assert len(np.unique(engine.fingerprint(pool.puzzles))) == len(pool) == 30


def test_hard_pool_renews_its_members() -> None:
    pool = HardPool(20, seed=4, lifetime=5)
    first = pool.puzzles.copy()
    pool.advance(3)
    # Ages are spread: some have gone, each for a new puzzle of its own, and not all at once.
    assert pool.renewed == 12
    assert len(np.unique(engine.fingerprint(pool.puzzles))) == 20
    check_unique(pool)
    assert (pool.ratings >= 0).all()
    resumed = HardPool.from_state(pool.state())
    pool.advance(4)
    for _ in range(4):
        resumed.advance(1)
    check_same(resumed, pool)
    assert resumed.renewed == pool.renewed == 28
    assert not (pool.puzzles == first).all(1).any()


def test_families_are_not_related_and_die_as_a_whole() -> None:
    pool = HardPool(20, seed=4, lifetime=8, families=4)
    alone = HardPool(5, seed=4, lifetime=8, families=1)
    pool.advance(7)
    alone.advance(7)
    # The first family's members only ever came from one another: the others make no difference.
    np.testing.assert_array_equal(pool.puzzles[:5], alone.puzzles)
    assert pool.renewed == 15  # of ages 0, 2, 4 and 6 all but the youngest, five at a time
    pool.advance(1)
    assert pool.renewed == 20
    check_unique(pool)
    resumed = HardPool.from_state(pool.state())
    pool.advance(3)
    resumed.advance(3)
    check_same(resumed, pool)
    assert resumed.renewed == pool.renewed == 25


@pytest.mark.parametrize("lifetime", [None, 5])
def test_a_new_pool_is_rated(lifetime: int | None) -> None:
    pool = HardPool(20, seed=4, lifetime=lifetime, rating="probing")
    assert pool.ratings == pytest.approx(engine.probe(pool.puzzles))


def test_states_of_earlier_versions_are_read() -> None:
    """They also hold which members had been given out, and how many puzzles."""
    pool = HardPool(8, (2, 2), seed=1)
    pool.advance(2)
    state = pool.state()
    state["fresh"] = np.ones(8, np.bool_)
    state["counters"] = np.append(state["counters"], 640)
    resumed = HardPool.from_state(state)
    check_same(resumed, pool)
    assert resumed.rounds == 2


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("puzzles", np.zeros((3, 81), np.uint8), r"puzzles must have shape \(N, 16\)"),
        ("solutions", np.zeros((3, 16), np.uint8), "must be equal in shape"),
        ("ratings", np.zeros(7), r"ratings must be float64 of shape \(8,\); got .* \(7,\)"),
        ("prints", np.zeros(8), "prints must be uint64 .* got float64"),
        ("born", np.zeros((8, 1), np.int64), "born must be"),
        ("box", np.array(2), r"box must be int64 of shape \(2,\); got int64 of shape \(\)"),
        ("box", np.array([1, 4]), "box must have sides"),
        ("seed", np.array([1, 2]), r"seed must be uint64 of shape \(\)"),
        ("climb", np.array([-1.0, 2.0]), "temperature must be"),
        ("climb", np.array([0.0, np.nan]), "ceiling must be"),
        ("counters", np.array([1, 2]), r"of shape \(3,\) or \(4,\)"),
        ("counters", np.array([1, 4, -1]), "rounds must be"),
        ("renewal", np.array([-1, 0]), "lifetime must be"),
        ("renewal", "never", "renewal must be int64"),
    ],
)
def test_malformed_states_are_refused(entry: str, value: Any, message: str) -> None:
    state: dict[str, Any] = HardPool(8, (2, 2), seed=1).state()
    state[entry] = value
    with pytest.raises(InvalidInputError, match=message):
        HardPool.from_state(state)


def test_a_state_that_lacks_entries_is_refused() -> None:
    state = HardPool(8, (2, 2), seed=1).state()
    del state["born"], state["climb"]
    with pytest.raises(InvalidInputError, match="not the state of a HardPool: born, climb missing"):
        HardPool.from_state(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be an integer of at least 1 and below 2\\*\\*63; got 0"),
        ({"size": 2.0}, "size must be"),
        ({"seed": -1}, "seed must be"),
        ({"box": (2, 9)}, "box must have sides"),
        ({"temperature": -1}, "temperature must be a finite number of at least 0; got -1"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"ceiling": float("nan")}, "ceiling must be a number of at least 0; got nan"),
        ({"ceiling": "high"}, "ceiling must be a number"),
        ({"lifetime": 0}, "lifetime must be"),
        ({"families": 2}, "families must divide the size 5; got 2"),
        ({"families": 0}, "families must be an integer of at least 1"),
        ({"reach": -1}, "reach must be"),
        ({"repeats": 0}, "repeats must be"),
        ({"repeats": True}, "repeats must be"),
        ({"rating": "luck"}, "rating must be 'guesses' or 'probing'; got 'luck'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        HardPool(**{"size": 5, "seed": 0, **arguments})


def test_rounds_must_be_counted() -> None:
    pool = HardPool(2, (2, 2), seed=0)
    with pytest.raises(InvalidInputError, match="rounds must be"):
        pool.advance(-1)
