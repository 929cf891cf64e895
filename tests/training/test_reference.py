"""The reference's choices: its loss, its optimisers, its schedule, written here once more."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.data.mixture import Mixture
from training.objective import Carry
from training.optim import EMA, AdamATan2, SparseSignSGD, make_optimizers, rate
from training.recipe import load_recipe
from training.run import depth_at
from training.settings import Depth, Generated, Objective, Optimizer
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Outcome, Puzzles, Supervision, SupervisionSettings

FOUR = Sudoku(2, 2)
PAPER = (
    "domain=sudoku-4x4",
    "model.hidden_size=16",
    "model.puzzle_emb_ndim=16",
    "model.puzzle_emb_len=2",
    "model.H_cycles=2",
    "model.L_cycles=2",
)


def _paper(*overrides: str):
    recipe = load_recipe("sudoku-extreme-1k", (*PAPER, *overrides))
    torch.manual_seed(0)
    model = TRM(recipe.spec().model)
    torch.nn.init.normal_(model.network.q_head.weight)
    return recipe, model


def _zeros(model: TRM, n: int) -> State:
    shape = (n, *model.config.state_shape)
    return State(torch.zeros(shape), torch.zeros(shape))


def _batch(model: TRM, n: int = 6) -> Puzzles:
    return Puzzles.of(FOUR.examples(n, HELD_OUT_SEED, {"clues_added": (6, 6)}), model.config)


def test_the_deep_loss_is_the_references():
    recipe, model = _paper()
    puzzles = _batch(model)
    tokens, answers = puzzles.tokens, puzzles.answers
    # So that one answer is right as a whole, and the halting target not always 0.
    with torch.no_grad():
        _, logits, _ = model(tokens, model.initial_state(6))
    answers[2] = logits[2].argmax(-1).int()
    outcome = Supervision(model, recipe.objective.supervision())(
        puzzles, _zeros(model, 6), torch.ones(6, dtype=torch.bool)
    )
    _, logits, halt = model(tokens, model.initial_state(6))

    # As the reference's ACTLossHead adds it up, in numpy.
    wide = logits.detach().double().numpy()
    s = np.where(wide < 0, 1 / (1 - wide), wide + 1)
    log_p = np.log(s / s.sum(-1, keepdims=True))
    labels = answers.numpy()
    picked = np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    lm_loss = (-picked / labels.shape[1]).sum()
    correct = (wide.argmax(-1) == labels).all(1)
    p = 1 / (1 + np.exp(-halt.detach().double().numpy()))
    q_loss = -np.where(correct, np.log(p), np.log(1 - p)).sum()

    assert correct.sum() == 1
    assert outcome.solved.numpy().tolist() == correct.tolist()
    assert outcome.loss.item() == pytest.approx(lm_loss + 0.5 * q_loss, rel=1e-5)


def test_the_recipe_states_the_references_numbers():
    recipe = load_recipe("sudoku-extreme-1k")
    assert recipe.optimizer.model_dump() | {"name": "adam_atan2"} == {
        **Optimizer().model_dump(),
        **{"name": "adam_atan2", "lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 1.0},
        **{"clip": None, "warmup": 2000, "schedule": "constant"},
        **{"ema": 0.999, "ema_warmup": False},
    }
    parameters = sum(p.numel() for p in TRM(recipe.spec().model).parameters())
    assert 5_000_000 < parameters < 5_100_000
    rates = [rate(recipe.optimizer, step, recipe.steps) for step in (0, 999, 1999, 60_000)]
    assert rates == pytest.approx([1 / 2000, 0.5, 1, 1])


def test_the_last_step_loss_is_that_of_a_run_whose_past_is_detached():
    _, model = _paper()
    settings = SupervisionSettings(loss="stablemax", cells="all")
    supervision, puzzles = Supervision(model, settings), _batch(model)
    fresh = torch.ones(6, dtype=torch.bool)
    state = supervision.settle(puzzles, _zeros(model, 6), fresh)
    state = supervision.settle(puzzles, state, torch.zeros_like(fresh))
    assert not state.y.requires_grad
    outcome = supervision(puzzles, state, torch.zeros_like(fresh))
    outcome.loss.backward()
    got = model.network.layers[0].mlp.down_proj.weight.grad.clone()

    model.zero_grad()
    with torch.no_grad():
        past = model.initial_state(6)
        for _ in range(2):
            past, _, _ = model(puzzles.tokens, past)
    Supervision(model, settings)(puzzles, past, torch.zeros_like(fresh)).loss.backward()
    assert torch.allclose(got, model.network.layers[0].mlp.down_proj.weight.grad, atol=1e-6)
    assert got.abs().sum() > 0


def test_last_step_draws_its_depth_and_refills_every_slot():
    _, model = _paper()
    objective = Objective(scheme="last-step", min_steps=2, max_steps=5, extra_cycle=0.3)
    carry = Carry(model, objective, Mixture((Generated(),), FOUR, 1, ()), 4, 0)
    carry.begin(0.0)
    histories = {carry.history() for _ in range(100)}
    assert histories == {1, 2, 3, 4}
    share = np.mean([carry.extra_cycle() for _ in range(1000)])
    assert 0.25 < share < 0.35
    solved = torch.tensor([True, False, False, False])
    carry.advance(
        Outcome(torch.zeros(()), _zeros(model, 4), solved, -torch.ones(4), solved, torch.empty(0)),
        0.0,
    )
    assert carry.fresh.all()
    assert (carry.finished, carry.finished_solved) == (4, 1)


def test_a_depth_curriculum_is_followed_and_must_be_consistent():
    milestones = (
        "[{start: 0.2, H_cycles: 1, L_cycles: 2, max_steps: 5}, "
        "{start: 0.6, H_cycles: 2, L_cycles: 2}]"
    )
    recipe, _ = _paper(f"objective.depth={milestones}", "steps=100")
    depths = [depth_at(recipe, step) for step in (0, 20, 59, 60, 100)]
    assert [(one.H_cycles, one.L_cycles) for one in depths] == [
        (2, 2), (1, 2), (1, 2), (2, 2), (2, 2)
    ]  # fmt: skip
    assert [one.max_steps for one in depths] == [None, 5, 5, None, None]
    with pytest.raises(ConfigError, match="must end at the model's own"):
        _paper("objective.depth=[{start: 0, H_cycles: 1, L_cycles: 1}]")
    with pytest.raises(ValueError, match="ascending"):
        Objective(depth=(Depth(start=0.5, H_cycles=1, L_cycles=1),) * 2)
    with pytest.raises(ValueError, match="below grad_steps"):
        Objective(scheme="last-step", min_steps=1, max_steps=4, grad_steps=2)


def test_the_depth_decides_how_often_the_network_runs():
    _, model = _paper()
    supervision, puzzles = Supervision(model, SupervisionSettings()), _batch(model)
    counted = []
    model.network.register_forward_hook(lambda *_: counted.append(1))
    for H, L in ((1, 1), (3, 2)):
        counted.clear()
        supervision.H_cycles, supervision.L_cycles = H, L
        supervision(puzzles, _zeros(model, 6), torch.ones(6, dtype=torch.bool))
        assert len(counted) == H * (L + 1)


def test_adam_atan2_follows_its_formula():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = AdamATan2([weight], lr=0.1, betas=(0.9, 0.95), weight_decay=0.5)
    w, m, v = np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
    for step, g in enumerate(([1.0, -1e-9, 0.5], [0.5, 2e-9, -4.0], [1.0, 0.0, 0.0]), start=1):
        weight.grad = torch.tensor(g)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * np.array(g), 0.95 * v + 0.05 * np.array(g) ** 2
        w = w * (1 - 0.1 * 0.5)
        w = w - 0.1 * np.arctan2(m / (1 - 0.9**step), np.sqrt(v / (1 - 0.95**step)))
    assert weight.detach().numpy() == pytest.approx(w, rel=1e-5)


@pytest.mark.parametrize("sparse", [False, True])
def test_puzzle_embeddings_move_by_the_sign_where_they_were_used(sparse):
    table = torch.nn.Embedding(5, 3, sparse=sparse)
    start = table.weight.detach().clone()
    optimizer = SparseSignSGD(table.parameters(), lr=0.01, weight_decay=0.1)
    scale = torch.tensor([[2.0, -3.0, 0.5], [1.0, 1.0, -1.0], [4.0, -5.0, 2.0]])
    (table(torch.tensor([1, 3, 1])) * scale).sum().backward()
    optimizer.step()
    expected = start.clone()
    expected[1] = start[1] * 0.999 - 0.01 * torch.tensor([1.0, -1.0, 1.0])
    expected[3] = start[3] * 0.999 - 0.01 * torch.tensor([1.0, 1.0, -1.0])
    assert torch.allclose(table.weight, expected, atol=1e-7)


def test_a_puzzle_embedding_gets_sign_sgd_and_nothing_else():
    recipe, model = _paper()
    optimizers = make_optimizers(model, recipe.optimizer)
    assert [type(one) for one in optimizers] == [AdamATan2, SparseSignSGD]
    held = [p for one in optimizers for group in one.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(id(p) for p in model.parameters())
    assert optimizers[1].param_groups[0]["params"][0] is model.network.puzzle_emb


def test_the_average_without_warm_up_is_the_plain_one():
    layer = torch.nn.Linear(2, 2, bias=False)
    start = layer.weight.detach().clone()
    ema = EMA(layer, 0.9, warmup=False)
    with torch.no_grad():
        layer.weight.add_(1.0)
    ema.update(layer, 0)
    assert torch.allclose(ema.weights["weight"], start + 0.1)
    assert math.isclose(EMA(layer, 0.9).decay, 0.9)


def test_bfloat16_stays_close_to_float32():
    recipe, model = _paper()
    puzzles = _batch(model)
    fresh = torch.ones(6, dtype=torch.bool)
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        supervision = Supervision(model, recipe.objective.supervision(), dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            outcome = supervision(puzzles, _zeros(model, 6), fresh)
        assert outcome.state.y.dtype is dtype
        losses.append(outcome.loss.item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
