"""Recipes: what is accepted, and how what is not is answered."""

from __future__ import annotations

import pytest

from training.fit import seconds
from training.recipe import load_recipe, parse_recipe, recipe_files
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM


@pytest.mark.parametrize("path", [*recipe_files()], ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_builds_its_model(path):
    recipe = load_recipe(path.stem)
    assert recipe == load_recipe(f"{path.parent.name}/{path.stem}") == load_recipe(str(path))
    model = TRM(recipe.spec().model)
    assert recipe.name == path.stem
    assert sum(p.numel() for p in model.parameters()) < 7_000_000


def test_overrides_reach_nested_keys_and_keep_their_types():
    recipe = load_recipe("sudoku", ("optimizer.lr=1e-3", "steps=7", "data=[{kind: generated}]"))
    assert recipe.optimizer.lr == 0.001
    assert recipe.steps == 7
    assert len(recipe.data) == 1


@pytest.mark.parametrize("word", ["off", "'off'", "OFF"])
def test_targets_are_switched_off_by_the_word_that_is_documented(word):
    assert load_recipe("maze", (f"objective.targets={word}",)).objective.targets == "off"
    with pytest.raises(ConfigError, match=r"objective\.targets"):
        load_recipe("maze", ("objective.targets=on",))


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("optimizer.learning_rate=1", "learning_rate"),
        ("optimiser.lr=1", "did you mean 'optimizer'"),
        ("steps=-3", "-3"),
        ("steps", "key=value"),
        ("name.x=1", "not a group"),
        ("micro_batch=5", "micro_batch"),
        ("objective.min_steps=99", "max_steps"),
        ("model.mixer=attention", None),
        ("domain=sudoku-5x5", "makes boxes .* got 5x5"),
        ("domain=sudoko", "did you mean 'sudoku'"),
        ("data=[{kind: downloaded}]", "downloaded"),
        ("lr=1", r"did you mean 'optimizer\.lr'"),
        ("objective.loss_weight=1", "there are|did you mean"),
        (
            "data=[{kind: generated, clues_addd: [0, 1]}]",
            r"data\.0: unknown key 'clues_addd'; did you mean 'clues_added'",
        ),
        (
            "data=[{clues_added: [0, 1], wieght: 2}]",
            r"data\.0: unknown key 'wieght'; did you mean 'weight'",
        ),
        ("data=[{kind: generated, clues_added: [5, 2]}]", r"data\.0: .*low <= high; got \(5, 2\)"),
        ("data=[{kind: generated, clues_added: [0, 99]}]", "99 clues on a board of 81"),
        ("data=[{kind: generated, pool: 9}]", "pools of hard puzzles"),
        ("data=[{kind: generated, end: 0.5}]", "no data source covers the run from 50%"),
        ("data=[{kind: generated, start: 0.9, end: 0.1}]", "start 0.9 is after end 0.1"),
        ("data=[{a: 1, a: 2}]", "'a' is given twice"),
        ("data=train.csv", r"data: must be sources, such as \[\{kind: file.*got 'train.csv'"),
        ("data=[train.csv]", r"data: must be sources, such as .*got \['train.csv'\]"),
        ("data=[]", r"data: must have 1 or more items; got \[\]"),
        ("model=5", "model: must be a mapping of keys to values; got 5"),
        ("evaluation.sets={}", "must name a set or a file"),
        ("evaluation.sets={a: [9, 1]}", r"evaluation\.sets\.a: .*low <= high; got \(9, 1\)"),
        ("evaluation.sets={a: {clue_added: [0, 1]}}", r"sets\.a: .*did you mean 'clues_added'"),
        ("evaluation.sets={a: 3}", r"evaluation\.sets\.a: .*3"),
        ("objective.head_weight={direction: 2}", "has no head 'direction'"),
        ("objective.timing=early", "'due' or 'final'"),
        ("model.L_layers=100000000", "less than or equal to 1024; got 100000000"),
        ("batch_size=100000000000", "16777216"),
        ("evaluation.files={minimal: x.csv}", "both a generated set and a file"),
        ("checkpoint_every=.inf", "finite"),
        ("optimizer.betas=[1.0, 0.9]", "less than 1"),
        ("objective.grad_cycles=2", r"above model\.H_cycles 1"),
        ("seed=100000000000000", "4294967295"),
        ("steps=2024-13-45", "valid integer.*2024-13-45"),
        ("steps=!!int x", "tags are not read"),
        ("steps=[&a 1, *a]", "anchors and aliases are not read"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, fault):
    if fault is None:
        assert load_recipe("sudoku-quick", (override,)).spec().model.mixer == "attention"
        return
    with pytest.raises(Exception, match=fault) as caught:
        load_recipe("sudoku-quick", (override,)).spec()
    assert isinstance(caught.value, ValueError)


def test_one_data_source_needs_no_list_around_it():
    alone = load_recipe("sudoku-4x4", ("data={clues_added: [0, 2]}",))
    listed = load_recipe("sudoku-4x4", ("data=[{kind: generated, clues_added: [0, 2]}]",))
    assert alone.data == listed.data


def test_an_unknown_recipe_is_answered_with_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'sudoku'"):
        load_recipe("sudoko")


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("7", 7)])
def test_times_are_read(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "m", "-3m", "9 minutes", "0"])
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match="number followed by s, m or h"):
        seconds(text)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"steps: [1", r"not valid YAML: .*line 1"),
        (b"steps: 3\nsteps: 4", r"'steps' is given twice \(line 2, column 1\)"),
        ("domain: sudoku # \u00e9".encode("latin-1"), "not valid YAML"),
        (b"- sudoku", "must hold keys and values"),
        (b"", "must hold keys and values"),
    ],
)
def test_a_faulty_file_is_answered_in_one_line(tmp_path, content, fault):
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=fault) as caught:
        load_recipe(str(path))
    assert "\n" not in str(caught.value)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_recipe(str(tmp_path / "folder.yaml"))


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", ".hidden", "", "x" * 200])
def test_a_recipe_can_not_name_a_folder_elsewhere(name):
    with pytest.raises(ConfigError, match="name"):
        parse_recipe({"name": name, "domain": "sudoku-4x4"}, "a recipe")
    assert parse_recipe({"name": "a b-1.5", "domain": "sudoku-4x4"}, "a recipe").name == "a b-1.5"


@pytest.mark.parametrize("text", ["1" * 20_000, "1." * 10_000, "steps: " + "1" * 20_000])
def test_a_number_without_end_is_refused(tmp_path, text):
    """Whether it is one is seen in time that grows with its length."""
    (tmp_path / "long.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_recipe(str(tmp_path / "long.yaml"))
