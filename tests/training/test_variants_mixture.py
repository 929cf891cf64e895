"""One run that draws puzzles of several domains, whose groups of cells differ."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from training.data.mixture import make_held_out, make_stream, with_groups
from training.evaluate import evaluate
from training.objective import Carry
from training.recipe import Recipe
from trm_sdk import get_domain
from trm_sdk.model.recursion import TRM
from trm_sdk.model.supervision import Supervision

FOUR = get_domain("sudoku-4x4")
SOURCES = [
    {"clues_added": [2, 4]},
    {"domain": "sudoku-x-4x4", "clues_added": [2, 4]},
    {"domain": "jigsaw-4x4", "clues_added": [2, 4]},
]


def recipe(**changes: Any) -> Recipe:
    small = {"mixer": "structured", "block": "message", "hidden_size": 8, "ffn_size": 8}
    depth = {"L_layers": 1, "H_cycles": 1, "L_cycles": 1}
    stated = {
        "name": "mixed",
        "domain": "sudoku-4x4",
        "steps": 10,
        "batch_size": 12,
        "data": [{"kind": "generated", **one} for one in SOURCES],
        "model": small | depth,
        "evaluation": {"puzzles": 2, "sets": {"own": {}, "jigsaw": {"domain": "jigsaw-4x4"}}},
    }
    return Recipe.model_validate(stated | changes)


def test_every_puzzle_of_a_mixture_says_its_groups() -> None:
    stream = make_stream(recipe(), FOUR, {}, 0)
    drawn = stream.draw(40, 0.0)
    assert drawn.groups is not None
    assert {key: one.shape for key, one in drawn.groups.items()} == {
        "line": (40, 8, 16),
        "box": (40, 6, 16),  # four boxes or regions, and two diagonals
    }
    diagonals = drawn.groups["box"][:, 4:].any((1, 2))
    assert 0 < diagonals.sum() < 40
    values = drawn.answers - 1
    for puzzle, answer in enumerate(values):
        for group in np.concatenate([one[puzzle] for one in drawn.groups.values()]):
            inside = answer[group > 0]
            assert len(set(inside.tolist())) == len(inside)


def test_a_mixture_of_one_domain_says_none() -> None:
    stream = make_stream(recipe(data=[{"kind": "generated"}] * 2), FOUR, {}, 0)
    assert stream.draw(4, 0.0).groups is None


def test_a_mixture_goes_on_where_its_state_was_taken() -> None:
    one, other = (make_stream(recipe(), FOUR, {}, 0) for _ in range(2))
    one.draw(5, 0.0)
    other.load_state_dict(one.state_dict())
    again, expected = other.draw(9, 0.0), one.draw(9, 0.0)
    assert again.groups is not None
    assert expected.groups is not None
    assert (again.tokens == expected.tokens).all()
    assert (again.groups["box"] == expected.groups["box"]).all()


def test_slots_keep_their_groups_through_a_checkpoint() -> None:
    chosen = recipe()
    torch.manual_seed(0)
    model = TRM(chosen.spec(FOUR).model)
    supervision = Supervision(model, chosen.objective.supervision())

    def carry() -> Carry:
        stream = make_stream(chosen, FOUR, {}, 0)
        return Carry(model, chosen.objective, stream, chosen.batch_size, 0)

    def step(slots: Carry) -> torch.Tensor:
        outcome = supervision(slots.puzzles, model.initial_state(12), slots.fresh)
        slots.advance(outcome, 0.0)
        return outcome.loss.detach()

    first, second = carry(), carry()
    first.begin(0.0)
    for _ in range(3):
        step(first)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert first.puzzles.groups is not None
    assert second.puzzles.groups is not None
    for key, one in first.puzzles.groups.items():
        assert (second.puzzles.groups[key] == one).all()
    assert [float(step(first)) for _ in range(3)] == [float(step(second)) for _ in range(3)]


def test_slots_of_a_run_on_one_domain_get_groups_when_others_join() -> None:
    alone, mixed = recipe(data=[{"kind": "generated"}]), recipe()
    model = TRM(mixed.spec(FOUR).model)
    slots = [
        Carry(model, one.objective, make_stream(one, FOUR, {}, 0), one.batch_size, 0)
        for one in (alone, mixed)
    ]
    slots[0].begin(0.0)
    state = copy.deepcopy(slots[0].state_dict())
    state["stream"] = slots[1].stream.state_dict()
    slots[1].load_state_dict(state)
    groups = slots[1].puzzles.groups
    assert groups is not None
    assert groups["box"].shape == (12, 6, 16)
    assert not groups["box"][:, 4:].any()
    assert (groups["box"][:, :4].sum(1) == 1).all()


def test_sets_of_other_domains_are_evaluated_by_their_groups() -> None:
    chosen = recipe()
    sets = make_held_out(chosen, FOUR)
    assert sets["own"].groups is None
    assert sets["jigsaw"].groups is not None
    torch.manual_seed(0)
    model = TRM(chosen.spec(FOUR).model)
    accuracy = evaluate(model, sets["jigsaw"], FOUR, 2)
    # Sudoku's rules are not a jigsaw's: what counts is the answer that is known.
    assert (accuracy.verified == np.maximum.accumulate(accuracy.last)).all()


def test_groups_are_padded_to_the_most_of_the_mixture() -> None:
    made = FOUR.examples(2, 0)
    groups = with_groups(made, FOUR, {"box": 6, "cage": 3}).groups
    assert groups is not None
    assert groups["box"].shape == (2, 6, 16)
    assert groups["cage"].shape == (2, 3, 16)
    assert not groups["cage"].any()
    assert not groups["box"][:, 4:].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": [{"kind": "generated", "domain": "jigsow"}]}, "no domain named 'jigsow'"),
        ({"data": [{"kind": "generated", "domain": "jigsaw"}]}, "boards of 4x4"),
        ({"model": {"mixer": "structured"}}, "'sudoku-4x4' only: models of block 'message'"),
        (
            {"data": [{"kind": "generated", "domain": "jigsaw-4x4", "hard": True}]},
            "unknown key 'hard'",
        ),
        ({"domain": "jigsaw-4x4", "data": [{"kind": "generated"}], "model": {}}, "model.block"),
    ],
)
def test_what_a_mixture_can_t_be_is_named(changes: dict[str, Any], message: str) -> None:
    if "domain" in changes:
        changes = changes | {"evaluation": {}}
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)
