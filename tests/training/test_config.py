"""Recipes: what is accepted, and how what is not is answered."""

from __future__ import annotations

import pytest

from training.config import RECIPES, load_recipe
from training.fit import seconds
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_builds_its_model(path):
    recipe = load_recipe(path.stem)
    model = TRM(recipe.spec().model)
    assert recipe.name == path.stem
    assert sum(p.numel() for p in model.parameters()) < 7_000_000


def test_overrides_reach_nested_keys_and_keep_their_types():
    recipe = load_recipe("sudoku", ("optimizer.lr=1e-3", "steps=7", "data=[{kind: generated}]"))
    assert recipe.optimizer.lr == 0.001
    assert recipe.steps == 7
    assert len(recipe.data) == 1


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("optimizer.learning_rate=1", "learning_rate"),
        ("optimiser.lr=1", "did you mean 'optimizer'"),
        ("steps=-3", "-3"),
        ("steps", "key=value"),
        ("name.x=1", "no group"),
        ("micro_batch=5", "micro_batch"),
        ("objective.min_steps=99", "max_steps"),
        ("model.mixer=attention", None),
        ("domain=sudoku-5x5", "sudoku-4x4"),
        ("data=[{kind: downloaded}]", "downloaded"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, fault):
    if fault is None:
        assert load_recipe("sudoku", (override,)).spec().model.mixer == "attention"
        return
    with pytest.raises(Exception, match=fault) as caught:
        load_recipe("sudoku", (override,)).spec()
    assert isinstance(caught.value, ValueError)


def test_an_unknown_recipe_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'sudoku'"):
        load_recipe("sudoko")


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("7", 7)])
def test_times_are_read(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-3m", "9 minutes", "0"])
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match="number with s, m or h"):
        seconds(text)
