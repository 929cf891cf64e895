"""Runs that start from another model's weights: as they are, or in a wider network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from training.fit import main
from training.initial import start_from
from training.recipe import Recipe, load_recipe
from training.run import Run, open_run
from training.step import train_step
from trm_sdk.domains import get_domain
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.errors import ConfigError, ModelNotFoundError
from trm_sdk.model.recursion import TRM
from trm_sdk.model.supervision import Puzzles
from trm_sdk.persistence.checkpoint import load_model, save_model
from trm_sdk.persistence.hub import BUNDLED

CPU = torch.device("cpu")
SMALL = ("compile=false", "evaluation.puzzles=4", "steps=3", "batch_size=4")
#: Networks of every kind that can be widened: recipe, changes, and the domain of its puzzles.
NETWORKS = {
    "pools": ("sudoku-4x4", ()),
    "two layers": ("sudoku-4x4", ("model.L_layers=2",)),
    "messages and dead ends": ("sudoku", ()),
    "taps and further heads": ("maze", ()),
    "mean and maximum": ("sudoku-4x4", ("model.halt_pool=mean_max",)),
}


def _drawn(recipe: Recipe, seed: int) -> TRM:
    """A model whose every weight is drawn, those that start as zeros too."""
    torch.manual_seed(seed)
    model = TRM(recipe.spec().model).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    return model


@torch.inference_mode()
def _outputs(model: TRM, recipe: Recipe, steps: int = 3) -> dict[str, torch.Tensor]:
    """Logits of all heads for two puzzles after some supervision steps."""
    domain = get_domain(recipe.domain)
    options = {"rows": 9} if recipe.domain == "maze" else None
    examples = domain.examples(2, HELD_OUT_SEED, options)
    puzzles = Puzzles.of(examples, model.config)
    x = model.network.embed(puzzles.tokens, None)
    state = model.initial_state(2, examples.shape if model.config.any_size else None)
    for _ in range(steps):
        state = model.recurse(x, state)
    logits, halting = model.network.readout(state.y)
    return {"answer": logits, "halting": halting, **model.network.auxiliary(state.y)}


def _saved(model: TRM, recipe: Recipe, folder: Path) -> str:
    return str(save_model(folder, recipe.spec(), model.state_dict()))


def _wider(recipe: str, changes: tuple[str, ...] = ()) -> Recipe:
    more = ("model.hidden_size=40", "model.ffn_size=72")
    return load_recipe(recipe, (*changes, *more))


@pytest.mark.parametrize(("name", "changes"), NETWORKS.values(), ids=NETWORKS)
def test_a_wider_network_starts_as_the_same_function(name, changes, tmp_path):
    recipe, wide = load_recipe(name, changes), _wider(name, changes)
    model = _drawn(recipe, 0)
    wider = _drawn(wide, 1)
    weights = start_from(_saved(model, recipe, tmp_path), wide.spec(), wider.state_dict())
    different = _outputs(wider, wide)
    wider.load_state_dict(weights)
    expected = _outputs(model, recipe)
    for head, logits in _outputs(wider, wide).items():
        torch.testing.assert_close(logits, expected[head], atol=2e-4, rtol=2e-4)
        assert not torch.allclose(different[head], expected[head], atol=0.01)


def test_gradients_reach_every_new_channel_within_two_steps():
    """Or the network would stay as narrow as it was, whatever it is trained on."""
    narrow = load_recipe("sudoku-4x4").model.hidden_size
    run = Run.start(_wider("sudoku-4x4", (*SMALL, "start_from=sudoku-4x4")), CPU)
    block, embedding = run.model.network.layers[0], run.model.network.embed_tokens
    assert not block.down.weight[narrow:].any()
    for _ in range(2):
        train_step(run)
    assert (block.down.weight[narrow:] != 0).any(1).all()  # they are written
    assert (embedding[:, narrow:] != 0).any(0).all()
    assert (run.model.network.lm_head.weight[:, narrow:] != 0).all()  # and heard


def test_a_model_of_the_same_shapes_is_taken_as_it_is():
    recipe = load_recipe("sudoku-4x4", (*SMALL, "start_from=sudoku-4x4"))
    run = Run.start(recipe, CPU)
    _, bundled = load_model(BUNDLED / "sudoku-4x4")
    for name, weight in bundled.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], weight)
        assert name not in run.ema.weights or torch.equal(run.ema.weights[name], weight)


def test_heads_that_the_other_model_lacks_stay_fresh():
    recipe = load_recipe("sudoku-4x4", (*SMALL, "objective.dead_ends=0.5"))
    fresh = TRM(recipe.spec().model).state_dict()
    weights = start_from("sudoku-4x4", recipe.spec(), fresh)
    assert torch.equal(
        weights["network.dead_end_head.weight"], fresh["network.dead_end_head.weight"]
    )
    assert not torch.equal(weights["network.lm_head.weight"], fresh["network.lm_head.weight"])


def test_the_weights_of_one_puzzle_start_a_run_on_another():
    same = ("model.hidden_size=32", "model.ffn_size=64", "model.block=message")
    recipe = load_recipe("sudoku-4x4", (*same, "objective.dead_ends=0.5"))
    weights = start_from("sudoku", recipe.spec(), TRM(recipe.spec().model).state_dict())
    _, bundled = load_model(BUNDLED / "sudoku")
    assert all(torch.equal(weights[name], one) for name, one in bundled.state_dict().items())


@pytest.mark.parametrize(
    ("name", "changes", "source", "words"),
    [
        ("sudoku-4x4", ("model.hidden_size=8",), "sudoku-4x4", "may be wider than"),
        ("sudoku-4x4", ("model.L_layers=2",), "sudoku-4x4", "'network.layers.1.* is missing"),
        ("sudoku-quick", ("model.hidden_size=32", "model.ffn_size=64"), "sudoku", "is missing"),
        ("sudoku-extreme-1k", (), "sudoku", "must be as wide"),
        ("maze", (), "sudoku", r"has it of shape \(6, 32\)"),
    ],
    ids=["narrower", "more layers", "another block", "the paper's network", "another puzzle"],
)
def test_what_does_not_fit_is_named(name, changes, source, words):
    recipe = load_recipe(name, changes)
    fresh = TRM(recipe.spec().model).state_dict()
    with pytest.raises(ConfigError, match=words):
        start_from(source, recipe.spec(), fresh)


def test_a_model_that_is_not_there_is_named_before_training(tmp_path):
    with pytest.raises(ModelNotFoundError, match="sudoku-4x5"):
        Run.start(load_recipe("sudoku-4x4", (*SMALL, "start_from=sudoku-4x5")), CPU)


def test_a_resumed_run_needs_the_other_model_no_more(tmp_path):
    small = load_recipe("sudoku-4x4")
    source = tmp_path / "source"
    _saved(_drawn(small, 0), small, source)
    recipe = load_recipe("sudoku-4x4", (*SMALL, f"start_from={source}"))
    run = Run.start(recipe, CPU)
    run.save(tmp_path / "latest.pt")
    for file in source.iterdir():
        file.unlink()
    again = open_run(recipe, tmp_path, CPU, fresh=False)
    for name, weight in run.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight)


def test_the_command_line_starts_from_a_bundled_model(tmp_path):
    """Three steps from weights that are right are still right; from fresh ones nothing is."""
    solved = {}
    for start in ("sudoku-4x4", "null"):
        out = tmp_path / start
        arguments = ["sudoku-4x4", *SMALL, f"start_from={start}", "optimizer.lr=1e-6", "--out"]
        result = CliRunner().invoke(main, [*arguments, str(out), "--threads", "1"])
        assert result.exit_code == 0, result.output
        notes = load_model(out / "model")[0].notes["accuracy"]
        solved[start] = max(value for name, value in notes.items() if name.endswith("/last"))
    assert solved["sudoku-4x4"] == 1.0
    assert solved["null"] < 0.5
