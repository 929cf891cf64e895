"""Grids become nodes and nodes grids, whatever their sizes and colours."""

from __future__ import annotations

import numpy as np
import pytest
from adapt_tasks import RECOLOUR, made

from trm_sdk.adapt.nodes import Coding, View, find_view, units
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task


def test_targets_read_back_are_the_outputs() -> None:
    coding = Coding(RECOLOUR)
    batch = coding.batch(*zip(*RECOLOUR.demonstrations, strict=True))
    logits = np.zeros(batch.nodes, np.float32)
    ends = np.cumsum(batch.counts * batch.areas)
    cells = np.split(batch.targets, np.cumsum(batch.areas)[:-1])
    for end, count, area, target in zip(ends, batch.counts, batch.areas, cells, strict=True):
        logits[end - count * area + target * area + np.arange(area)] = 1
    assert coding.grids(batch, logits) == [after for _, after in RECOLOUR.demonstrations]
    assert batch.right(logits).all()
    logits[0], logits[batch.areas[0]] = -1, 2
    assert batch.right(logits).tolist()[1:] == [True, True]


def test_an_example_has_nodes_for_its_own_colours_and_those_that_outputs_bring() -> None:
    pairs = [(Grid([[1, 0]]), Grid([[7, 0]])), (Grid([[2, 5]]), Grid([[2, 5]]))]
    coding = Coding(Task((Grid([[5, 5]]),), pairs))
    assert coding.palette == (0, 1, 2, 5, 7)
    named = [[coding.palette[i] for i in coding.colours_of(before)] for before, _ in pairs]
    assert named == [[0, 1, 7], [0, 2, 5, 7]]
    assert [coding.palette[i] for i in coding.colours_of(Grid([[5, 5]]))] == [0, 5, 7]


def test_units_are_whole_demonstrations_and_no_larger_than_asked() -> None:
    coding = Coding(RECOLOUR)
    assert [one.examples for one in units(coding, RECOLOUR, 10_000, [2, 0, 1])] == [3]
    assert [one.examples for one in units(coding, RECOLOUR, 1, [2, 0, 1])] == [1, 1, 1]
    several = units(coding, RECOLOUR, 130, [0, 1, 2])
    assert [one.examples for one in several] == [2, 1]
    assert all(one.nodes <= 130 for one in several)


@pytest.mark.parametrize(
    ("pairs", "view"),
    [
        ([((3, 3), (3, 3))], View("same")),
        ([((3, 6), (3, 3)), ((4, 8), (4, 4))], View("blocks", (1, 2))),
        ([((3, 7), (3, 3)), ((5, 9), (5, 4))], View("blocks", (1, 2), (0, 1))),
        ([((2, 2), (4, 6)), ((3, 1), (6, 3))], View("zoom")),
        ([((9, 9), (2, 2)), ((4, 4), (2, 2))], View("corner")),
    ],
)
def test_the_closest_view_that_fits_all_is_taken(
    pairs: list[tuple[tuple[int, int], tuple[int, int]]], view: View
) -> None:
    assert find_view(pairs) == view


def test_views_show_what_they_say() -> None:
    cells = np.array([[1, 2, 0, 3, 4]])
    assert View("blocks", (1, 2), (0, 1)).look(cells, (1, 2), 9).tolist() == [[[1, 2]], [[3, 4]]]
    small = np.array([[1, 2]])
    zoomed, *repeated = View("zoom").look(small, (2, 4), 9)
    assert zoomed.tolist() == [[1, 1, 2, 2]] * 2
    one, upside_down, left_to_right, both = (tiled.tolist() for tiled in repeated)
    assert one == upside_down == [[1, 2, 1, 2]] * 2
    assert left_to_right == both == [[2, 1, 2, 1]] * 2
    square = View("zoom").look(np.array([[1, 2], [3, 4]]), (2, 4), 9)
    assert [tiled.tolist() for tiled in square[1:]] == [
        [[1, 2, 1, 2], [3, 4, 3, 4]],
        [[3, 4, 3, 4], [1, 2, 1, 2]],
        [[2, 1, 2, 1], [4, 3, 4, 3]],
        [[4, 3, 4, 3], [2, 1, 2, 1]],
    ]
    assert View("corner").look(small, (2, 1), 9).tolist() == [[[1, 2], [9, 9]]]


def test_cells_of_a_repeated_input_know_which_repetition_they_are_in() -> None:
    coding = Coding(made(lambda cells: np.tile(cells, (2, 3)), ((2, 2), (1, 2), (2, 1))))
    batch = coding.batch([Grid([[1, 2]])])
    assert batch.features.shape[1] == coding.features
    features = batch.features.reshape(-1, 2, 6, coding.features)
    for colour in features:
        assert colour[..., -2].tolist() == [[0] * 6, [1] * 6]
        assert colour[..., -1].tolist() == [[0, 0, 1, 1, 0, 0]] * 2


def test_an_untrained_network_copies_what_is_not_mirrored() -> None:
    assert Coding(RECOLOUR).copying().tolist() == [1]
    repeated = made(lambda cells: np.tile(cells, (1, 2)))
    assert Coding(repeated).copying().tolist() == [0.5, 0.5, 0, 0, 0]


def test_what_has_no_answer_is_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="needs demonstrations"):
        Coding(Task((Grid([[1]]),)))
    uneven = [(Grid([[1, 1]]), Grid([[1]])), (Grid([[1, 1]]), Grid([[1], [1]]))]
    with pytest.raises(InvalidInputError, match=r"follow no rule.*1x2 to 1x1, 1x2 to 2x1"):
        Coding(Task((Grid([[1, 1]]),), uneven))
    halved = made(lambda cells: cells[:, : cells.shape[1] // 2], ((2, 4), (3, 6)))
    with pytest.raises(InvalidInputError, match="an input of 3x5 has no answer"):
        Coding(halved).batch([Grid(np.zeros((3, 5), int))])
    with pytest.raises(InvalidInputError, match="the value 9 is not among those of the task"):
        Coding(RECOLOUR).batch([Grid([[9]])])
