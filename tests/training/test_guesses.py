"""Guesses of a model's search, collected to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from training.data.dead_ends import with_dead_ends
from training.data.prepared import PreparedPuzzles
from training.fit import main as fit
from training.guesses import main, tree_guesses
from training.prepare import main as prepare
from trm_sdk import Solver, get_domain

_PUZZLES = 24
_RECIPE = {
    "name": "guessing",
    "domain": "sudoku",
    "model": {
        "block": "message",
        "hidden_size": 8,
        "ffn_size": 16,
        "L_cycles": 1,
        "halt_max_steps": 4,
    },
    "objective": {"dead_ends": 0.3, "max_steps": 4},
    "batch_size": 8,
    "steps": 2,
    "compile": False,
    "data": [{"clues_added": [0, 0]}, {"domain": "jigsaw", "clues_added": [0, 0], "weight": 3}],
    "evaluation": {"sets": {"minimal": [0, 0]}, "puzzles": 4},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guesses")
    (folder / "guessing.yaml").write_text(json.dumps(_RECIPE))
    out = ["--out", str(folder / "puzzles.npz"), "--puzzles", str(_PUZZLES), "--processes", "1"]
    result = CliRunner().invoke(prepare, [str(folder / "guessing.yaml"), *out])
    assert result.exit_code == 0, result.output
    arguments = ["sudoku", str(folder / "puzzles.npz"), "--out", str(folder / "guesses.npz")]
    result = CliRunner().invoke(main, [*arguments, "--attempts", "10", "--processes", "1"])
    assert result.exit_code == 0, result.output
    return folder


def test_guesses_are_puzzles_of_the_file_with_more_filled_in(folder: Path) -> None:
    domain = get_domain("sudoku")
    puzzles = PreparedPuzzles.read(folder / "puzzles.npz", domain)
    guesses = PreparedPuzzles.read(folder / "guesses.npz", domain)
    assert len(guesses.tokens)
    empty = domain.vocabulary.first
    for tokens, answers, made_by in zip(
        guesses.tokens, guesses.answers, guesses.made_by, strict=True
    ):
        row = int(np.flatnonzero((puzzles.answers == answers).all(1))[0])
        assert puzzles.made_by[row] == made_by
        added = tokens != puzzles.tokens[row]
        assert added.any()
        assert (puzzles.tokens[row][added] == empty).all()


def test_wrong_guesses_are_dead_ends_and_right_ones_are_not(folder: Path) -> None:
    solver = Solver.from_pretrained("sudoku")
    guesses = PreparedPuzzles.read(folder / "guesses.npz", solver.domain)
    examples = guesses.examples(np.arange(len(guesses.tokens)))
    given = np.isin(examples.tokens, solver.spec.model.given_tokens)
    wrong = (given & (examples.tokens != examples.answers)).any(1)
    assert wrong.any()
    assert not wrong.all()
    same, dead = with_dead_ends(examples, solver.spec.model, 0.0, np.random.default_rng(0))
    assert (dead == wrong).all()
    assert (same.tokens == examples.tokens).all()


def test_the_search_is_that_of_the_solver(folder: Path) -> None:
    # As many attempts as `solve` takes, but for the plain one.
    solver = Solver.from_pretrained("sudoku")
    puzzles = PreparedPuzzles.read(folder / "puzzles.npz", solver.domain)
    rows = np.flatnonzero(puzzles.made_by == 0)
    examples = puzzles.examples(rows)
    _, of = tree_guesses(solver.runtime, solver.domain, examples, 64, solver.options.max_steps)
    for row in range(len(rows)):
        solution = solver.solve(solver.domain.decode_task(examples.tokens[row]))
        assert solution.attempts - 1 == int((of == row).sum())


def test_a_run_learns_from_them(folder: Path) -> None:
    names = ("puzzles.npz", "guesses.npz")
    data = [{"kind": "prepared", "path": str(folder / name)} for name in names]
    arguments = [str(folder / "guessing.yaml"), f"data={json.dumps(data)}"]
    result = CliRunner().invoke(fit, [*arguments, "--out", str(folder / "run")])
    assert result.exit_code == 0, result.output
    assert (folder / "run" / "model" / "model.safetensors").exists()
    arguments += ["objective.dead_ends=0", "--out", str(folder / "other")]
    result = CliRunner().invoke(fit, arguments)
    assert result.exit_code == 2
    assert "data.1: " in result.output
    assert "hold a given that their answer has not" in " ".join(result.output.split())


def test_a_model_without_a_dead_end_head_is_refused(folder: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out.npz")]
    result = CliRunner().invoke(main, ["sudoku-4x4", str(folder / "puzzles.npz"), *out])
    assert result.exit_code == 2
    assert "no dead-end head" in result.output
