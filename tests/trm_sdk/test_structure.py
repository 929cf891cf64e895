"""Structure: relations stated by kind, what they list, and what the first format stated."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from trm_sdk.structure import (
    Structure,
    board,
    boxes,
    columns,
    groups,
    neighbourhood,
    offsets,
    rows,
    values,
)


def test_relations_list_their_groups() -> None:
    shape = (2, 4)
    assert rows().groups_on(shape) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert columns().groups_on(shape) == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert boxes(2, 2).groups_on(shape) == ((0, 1, 4, 5), (2, 3, 6, 7))
    assert board().groups_on(shape) == (tuple(range(8)),)
    assert groups("pairs", [[0, 7], [1]]).groups_on(shape) == ((0, 7), (1,))
    assert len(offsets().offsets) == 9
    assert offsets((0, -2), (3, 1)).reach == (3, 2)


def test_a_structure_is_short_json_and_comes_back() -> None:
    sudoku = Structure(
        shape=(9, 9), relations=(rows("line"), columns("line"), boxes(3, 3), values())
    )
    text = json.dumps(sudoku.model_dump(mode="json", exclude_defaults=True))
    assert len(text) < 200
    assert Structure.model_validate_json(text) == sudoku
    everything = Structure(
        shape=(2, 2),
        relations=(
            board(),
            offsets((0, 1)),
            groups("odd", [[0, 3]]),
            neighbourhood("near", [[1], [0], [], [2]]),
        ),
    )
    assert Structure.model_validate_json(everything.model_dump_json()) == everything


def test_what_the_first_format_stated_cell_by_cell_is_read() -> None:
    old = {
        "cells": 4,
        "relations": [
            {"name": "row", "sets": [[0, 1], [2, 3]], "weights": "line"},
            {"name": "near", "kind": "neighbourhood", "sets": [[1], [0], [3], [2]]},
        ],
        "interchangeable_values": True,
    }
    structure = Structure.model_validate(old)
    assert structure.interchangeable_values
    assert structure.relations == (
        groups("row", [[0, 1], [2, 3]], "line"),
        neighbourhood("near", [[1], [0], [3], [2]]),
        values(),
    )


def test_only_relations_that_name_no_cell_take_boards_of_any_size() -> None:
    free = Structure(shape=(3, 3), relations=(rows(), columns(), board(), offsets(), values()))
    assert free.any_size
    assert free.resized((30, 40)).shape == (30, 40)
    boxed = Structure(shape=(4, 4), relations=(boxes(2, 2),))
    assert not boxed.any_size
    assert boxed.resized((6, 4)).cells == 24
    with pytest.raises(ValueError, match="do not tile 5x4"):
        boxed.resized((5, 4))


@pytest.mark.parametrize(
    ("relations", "named"),
    [
        ((groups("a", [[0, 9]]),), "names cell 9"),
        ((groups("a", [[1, 1]]),), "repeats a cell"),
        ((groups("a", [[]]),), "an empty group"),
        ((neighbourhood("a", [[1]]),), r"needs one set a cell \(4\); got 1"),
        ((rows(), rows()), "share a name"),
        ((values(), groups("value", [[0]])), "share a name"),
        ((boxes(2, 3),), "do not tile 2x2"),
        (({"kind": "offsets", "offsets": [[0, 1], [0, 1]]},), "repeats an offset"),
        (({"kind": "offsets", "offsets": [[0, 99]]},), "less than or equal to 16"),
        ((offsets(name="a", weights="w"), rows("w")), "can't share 'w'"),
        (({"kind": "hexagons"},), "does not match any of the expected tags"),
    ],
)
def test_what_does_not_fit_is_named(relations: tuple, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Structure.model_validate({"shape": (2, 2), "relations": relations})
