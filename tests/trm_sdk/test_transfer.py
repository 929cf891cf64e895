"""A structured model on another board: the same weights, and a polite no where that can't be."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from export import export_bundle
from trm_sdk import Solver, get_domain
from trm_sdk.cli import main
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import CheckpointError, ConfigError, MissingDependencyError
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.checkpoint import build, load_model
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.structure import values
from trm_sdk.transfer import transfer

# A 6x6 puzzle with one solution; its boxes have two rows and three columns.
PUZZLE = "...1...612.......3.4.6.1....5..2..1."


def test_a_model_of_9x9_solves_6x6_and_4x4():
    spec, model = load_model(resolve("sudoku"))
    for domain, puzzle in ((Sudoku(2, 3), PUZZLE), (Sudoku(2, 2), "1.....3..4.....2")):
        moved, weights = transfer(spec, model.state_dict(), domain)
        solver = Solver(TorchRuntime(build(moved, weights, "the 9x9 model"), moved))
        assert solver.domain.name == domain.name
        assert solver.solve(puzzle).verified


def test_a_transfer_to_its_own_board_changes_nothing():
    spec, model = load_model(resolve("sudoku"))
    moved, weights = transfer(spec, model.state_dict(), get_domain("sudoku"))
    again = build(moved, weights, "the same")
    tokens = torch.randint(1, 11, (3, 81), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(tokens, model.initial_state(3))[1]
        assert torch.equal(again(tokens, again.initial_state(3))[1], expected)


def test_what_can_not_be_transferred_is_named():
    nine = get_domain("sudoku")
    paper = ModelSpec.for_domain(nine, ModelConfig(vocab_size=11, seq_len=81))
    with pytest.raises(ConfigError, match="mlp_t"):
        transfer(paper, {}, nine)
    spec, _ = load_model(resolve("sudoku"))
    plain = Sudoku(2, 2)
    plain.structure = None
    with pytest.raises(ConfigError, match="sudoku-4x4"):
        transfer(spec, {}, plain)
    odd = Sudoku(2, 2)
    assert odd.structure is not None
    relation = odd.structure.relations[0].model_copy(update={"name": "diagonal", "weights": None})
    relations = (relation, values())
    odd.structure = odd.structure.model_copy(update={"relations": relations})
    with pytest.raises(ConfigError, match="diagonal"):
        transfer(spec, {}, odd)


# --- by name ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "clues"),
    [
        ("sudoku-6x6", 2),
        ("sudoku-boxes-3x2", 2),
        ("sudoku-boxes-2x8", 60),  # of the model's shape, with rows that are not like columns
        ("sudoku-x-8x8", 2),
        ("jigsaw-7x7", 2),
    ],
)
def test_a_size_by_name_is_solved_by_the_weights_of_another(name, clues, tmp_path):
    domain = get_domain(name)
    options = {"clues_added": (clues, clues)}
    tasks = [domain.generate(np.random.default_rng(seed), **options) for seed in range(2)]
    solver = Solver.from_pretrained(name, threads=1)
    assert (solver.domain, solver.runtime.name) == (domain, "torch")
    assert solver.options == Solver.from_pretrained(domain.base_model).options
    assert all(one.correct for one in solver.solve_many(tasks))
    assert solver.save_pretrained(tmp_path / "saved")
    report = export_bundle(name, tmp_path / "own")
    assert report.max_difference < 1e-4
    for folder in ("own", "saved"):
        own = Solver.from_pretrained(tmp_path / folder, threads=1)
        assert own.domain is domain
        assert own.runtime.name == ("onnx" if folder == "own" else "torch")
        assert all(one.correct for one in own.solve_many(tasks))


def test_by_argument_it_is_the_same():
    solver = Solver.from_pretrained("sudoku", domain=Sudoku(2, 3))
    assert solver.solve(PUZZLE).verified


def test_a_graph_is_of_its_own_size(monkeypatch):
    with pytest.raises(CheckpointError, match="trm-export bundle sudoku-6x6 -o FOLDER"):
        Solver.from_pretrained("sudoku-6x6", runtime="onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="trm-export bundle sudoku-6x6 -o FOLDER"):
        Solver.from_pretrained("sudoku-6x6")


def test_boards_that_the_weights_can_not_take_are_named():
    for name in ("sudoku-20x20", "sudoku-x-16x16", "jigsaw-12x12", "maze-7x7"):
        assert get_domain(name).base_model is None
    with pytest.raises(CheckpointError, match="'maze' has others"):
        Solver.from_pretrained("sudoku", domain=get_domain("maze"))
    # Weights of pools, whose groups can't be others, stay with their boards.
    with pytest.raises(CheckpointError, match="is a model of 'sudoku-4x4'"):
        Solver.from_pretrained("sudoku-4x4", domain=get_domain("sudoku-6x6"))
    lines = Sudoku(2, 3)
    assert lines.structure is not None
    relation = lines.structure.relations[0].model_copy(update={"name": "rings"})
    relations = (relation, values())
    lines.structure = lines.structure.model_copy(update={"relations": relations})
    with pytest.raises(CheckpointError, match="rings"):
        Solver.from_pretrained("sudoku", domain=lines)


def test_what_it_is_says_the_size():
    shown = CliRunner().invoke(main, ["info", "sudoku-6x6", "--json"])
    facts = json.loads(shown.output)
    assert facts["domain"] == "sudoku-6x6"
    assert facts["grid_shape"] == [6, 6]
    assert facts["vocabulary"] == 8
    assert facts["weights"] == "sudoku, made for sudoku"
