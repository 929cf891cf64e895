"""Runs follow each other as they should."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("numba")
from adapt_tasks import RECOLOUR, made

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.training import can_turn, learn, turned

OPTIONS = AdaptOptions(steps=900, snapshot_steps=30, settled=2)


def test_a_run_ends_when_it_has_settled_and_the_next_starts_anew() -> None:
    found = learn(Coding(RECOLOUR), RECOLOUR, OPTIONS.model_copy(update={"turns": False}))
    runs = [[one for one in found if one.run == run] for run in range(found[-1].run + 1)]
    assert len(runs) > 2
    for run in runs[:-1]:
        assert all(min(one.accuracy) == 1 for one in run[-2:])
        assert not any(min(a.accuracy) == min(b.accuracy) == 1 for a, b in pairwise(run[:-1]))
    starts = [run[0].weights.flat for run in runs]
    assert not np.array_equal(starts[0], starts[1])
    assert found[-1].steps == 900
    assert [one.steps for one in found] == sorted(one.steps for one in found)


def test_every_orientation_of_a_task_without_direction_is_learned() -> None:
    found = learn(Coding(RECOLOUR), RECOLOUR, OPTIONS)
    assert max(min(one.accuracy) for one in found if one.run == 1) == 1


def test_a_turned_run_of_a_task_with_a_direction_does_not_count_as_fitted() -> None:
    def shifted(cells: np.ndarray) -> np.ndarray:
        return np.pad(cells, ((0, 0), (1, 0)))[:, :-1]

    task = made(shifted, ((4, 4), (3, 5)))
    options = OPTIONS.model_copy(update={"steps": 2500})
    found = learn(Coding(task), task, options)
    assert max(min(one.accuracy) for one in found if one.run % 2 == 0) == 1
    assert max((max(one.accuracy) for one in found if one.run % 2), default=0) < 1


def test_turns_are_the_eight_of_the_square() -> None:
    grids = {turned(RECOLOUR, number).demonstrations[0] for number in range(8)}
    assert len(grids) == 8
    assert turned(RECOLOUR, 0).demonstrations == RECOLOUR.demonstrations
    large = made(lambda cells: cells, ((30, 30), (30, 30)))
    assert not can_turn(Coding(large), large)
    halved = made(lambda cells: cells[:, :2], ((3, 4), (2, 4)))
    assert not can_turn(Coding(halved), halved)


@pytest.mark.parametrize("unit", [1, 40, 10_000])
def test_units_of_every_size_learn(unit: int) -> None:
    options = OPTIONS.model_copy(update={"unit": unit})
    assert max(min(one.accuracy) for one in learn(Coding(RECOLOUR), RECOLOUR, options)) == 1
