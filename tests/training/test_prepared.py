"""Puzzles that are drawn ahead of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from training.data.mixture import make_held_out, make_stream
from training.data.prepared import PreparedPuzzles, PreparedSource, Prints
from training.fit import main as fit
from training.prepare import draw, main
from training.recipe import parse_recipe
from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError

_RECIPE: dict[str, Any] = {
    "name": "mixed",
    "domain": "sudoku",
    "model": {
        "mixer": "structured",
        "block": "message",
        "hidden_size": 8,
        "ffn_size": 16,
        "L_layers": 1,
        "H_cycles": 1,
        "L_cycles": 1,
        "halt_max_steps": 4,
    },
    "objective": {"dead_ends": 0.5, "max_steps": 4},
    "batch_size": 8,
    "steps": 3,
    "data": [
        {"clues_added": [0, 6]},
        {"domain": "jigsaw", "weight": 0.5},
        {"domain": "windoku", "weight": 0.5},
    ],
    "evaluation": {"sets": {"minimal": [0, 0]}, "puzzles": 4},
}


def _prints_of(examples: Examples) -> Callable[[Domain], Prints]:
    return lambda maker: maker.fingerprint(examples.tokens, examples.shape)


def _nothing(maker: Domain) -> Prints:
    return np.empty(0, np.uint64)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "mixed.yaml"
    path.write_text(json.dumps(_RECIPE))
    return path


@pytest.fixture(scope="module")
def prepared(recipe_file: Path) -> Path:
    path = recipe_file.with_name("puzzles.npz")
    arguments = [str(recipe_file), "--puzzles", "200", "--out", str(path), "--processes", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return path


def test_a_file_holds_puzzles_of_every_source_with_their_groups(prepared: Path) -> None:
    puzzles = PreparedPuzzles.read(prepared, get_domain("sudoku"))
    assert len(puzzles.tokens) == 200
    assert set(puzzles.domains) == {"sudoku", "jigsaw", "windoku"}
    assert puzzles.domains[0] == "sudoku"
    for number, name in enumerate(puzzles.domains):
        rows = np.flatnonzero(puzzles.made_by == number)
        some = puzzles.examples(rows)
        assert some.groups is not None
        # Each value once in every group that is there: what the network hears of is what holds.
        every = np.concatenate(list(some.groups.values()), axis=1).astype(bool)
        for answer, groups in zip(some.answers, every, strict=True):
            present = groups[groups.any(1)]
            assert len(present) == {"sudoku": 27, "jigsaw": 27, "windoku": 31}[name]
            assert all(len(set(answer[group])) == 9 for group in present)
    sudoku = puzzles.which[puzzles.made_by == 0]
    assert len(set(sudoku.tolist())) == 1  # stored once


def test_two_processes_draw_different_puzzles(prepared: Path) -> None:
    puzzles = PreparedPuzzles.read(prepared, get_domain("sudoku"))
    assert len(np.unique(puzzles.tokens, axis=0)) == 200


def test_every_puzzle_is_drawn_once_before_any_is_drawn_again(prepared: Path) -> None:
    source = PreparedSource(str(prepared), get_domain("sudoku"), 3, _nothing)
    first = np.concatenate([source.draw(n).tokens for n in (64, 100, 36)])
    assert len(np.unique(first, axis=0)) == 200
    across = source.draw(64).tokens
    state = source.state_dict()
    expected = source.draw(150)
    again = PreparedSource(str(prepared), get_domain("sudoku"), 3, _nothing)
    again.load_state_dict(state)
    assert np.array_equal(again.draw(150).tokens, expected.tokens)
    assert not np.array_equal(across, first[:64])  # in another order


def test_what_is_held_out_is_never_drawn(prepared: Path) -> None:
    domain = get_domain("sudoku")
    puzzles = PreparedPuzzles.read(prepared, domain)
    own = np.flatnonzero(puzzles.made_by == 0)[:5]
    source = PreparedSource(str(prepared), domain, 0, _prints_of(puzzles.examples(own)))
    assert source.dropped == 5
    drawn = source.draw(195).tokens
    assert not (drawn[:, None] == puzzles.tokens[own]).all(2).any()
    everything = puzzles.examples(np.arange(200))
    with pytest.raises(ConfigError, match="all of its puzzles are held out"):
        PreparedSource(str(prepared), domain, 0, _prints_of(everything))


def test_a_run_trains_on_a_file_and_needs_no_set_to_measure(
    recipe_file: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    data = f"data=[{{kind: prepared, path: {prepared}}}]"
    arguments = [str(recipe_file), data, "evaluation.sets={}", "--out", str(out), "--threads", "1"]
    result = CliRunner().invoke(fit, arguments)
    assert result.exit_code == 0, result.output
    assert (out / "model" / "model.safetensors").is_file()
    assert (out / "report.md").is_file()


def test_prepared_and_generated_puzzles_mix(prepared: Path) -> None:
    data = [{"kind": "prepared", "path": str(prepared)}, {"domain": "sudoku-x"}]
    recipe = parse_recipe({**_RECIPE, "data": data}, "mixed")
    domain = get_domain("sudoku")
    mixture = make_stream(recipe, domain, make_held_out(recipe, domain), 0)
    drawn = mixture.draw(64, 0.0)
    assert drawn.groups is not None
    # As many as any has: nine boxes, with Windoku's four further ones or X-Sudoku's two diagonals.
    assert {key: one.shape[1] for key, one in drawn.groups.items()} == {"line": 18, "box": 13}
    more = (drawn.groups["box"].any(2)).sum(1)
    assert {9, 11, 13} <= set(more.tolist())


@pytest.mark.parametrize("kind", ["missing", "text", "half", "other", "pickle"])
def test_a_file_that_is_no_such_file_is_refused(kind: str, prepared: Path, tmp_path: Path) -> None:
    path = tmp_path / "puzzles.npz"
    domain, expected = get_domain("sudoku"), "is not a file of python -m training.prepare"
    if kind == "missing":
        expected = "there is no file"
    elif kind == "text":
        path.write_text("question,answer\n")
    elif kind == "half":
        path.write_bytes(prepared.read_bytes()[:-2000])
    elif kind == "other":
        np.savez(path, tokens=np.zeros((3, 81), np.uint8))
    else:
        np.savez(path, tokens=np.array([{}], dtype=object))
    with pytest.raises(ConfigError, match=expected):
        PreparedPuzzles.read(path, domain)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tokens": lambda one: one[:-1]}, "is not a file"),
        ({"which": lambda one: one + 10_000}, "is not a file"),
        ({"made_by": lambda one: one + 200}, "is not a file"),
        ({"tokens": lambda one: one + 90}, "holds the token"),
        ({"domains": lambda one: np.array(["maze", *one[1:]])}, "was prepared for 'maze'"),
    ],
)
def test_what_no_puzzle_has_is_refused(
    change: dict[str, Any], expected: str, prepared: Path, tmp_path: Path
) -> None:
    path = tmp_path / "puzzles.npz"
    with np.load(prepared) as file:
        arrays = {name: file[name] for name in file.files}
    for name, function in change.items():
        arrays[name] = function(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match=expected):
        PreparedPuzzles.read(path, get_domain("sudoku"))


@pytest.mark.parametrize("other", ["maze", "sudoku-16x16", "no-such-puzzle"])
def test_makers_of_other_puzzles_are_refused(other: str, prepared: Path, tmp_path: Path) -> None:
    path = tmp_path / "puzzles.npz"
    with np.load(prepared) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | {"domains": np.array(["sudoku", other, "windoku"])}))
    with pytest.raises(ConfigError, match=other):
        PreparedSource(str(path), get_domain("sudoku"), 0, _nothing)


def test_only_generated_puzzles_and_files_can_be_prepared(prepared: Path) -> None:
    data = [{"kind": "prepared", "path": str(prepared)}]
    recipe = parse_recipe({**_RECIPE, "data": data}, "twice")
    with pytest.raises(ConfigError, match="sources of kind 'prepared' can't be prepared"):
        next(draw(recipe, 10))


def test_a_recipe_that_generates_must_still_measure_something() -> None:
    with pytest.raises(ConfigError, match="must name a set or a file"):
        parse_recipe({**_RECIPE, "evaluation": {"sets": {}}}, "nothing")


def test_masks_and_missing_groups_come_back(tmp_path: Path) -> None:
    tokens = np.arange(32, dtype=np.int32).reshape(2, 16) % 5
    mask = np.ones((2, 16), bool)
    mask[1, 7:] = False
    examples = Examples.of(tokens, tokens, (4, 4))._replace(mask=mask)
    path = tmp_path / "four.npz"
    PreparedPuzzles.of([("sudoku-4x4", examples)], "sudoku-4x4").write(path)
    back = PreparedPuzzles.read(path, get_domain("sudoku-4x4")).examples(np.array([1, 0]))
    assert np.array_equal(back.tokens, tokens[::-1])
    assert np.array_equal(back.mask, mask[::-1])
    assert back.groups is None
