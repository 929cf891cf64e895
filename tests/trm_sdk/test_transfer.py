"""A structured model on another board: the same weights, and a polite no where that can't be."""

from __future__ import annotations

import pytest
import torch

from trm_sdk import Solver, get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import ConfigError
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
