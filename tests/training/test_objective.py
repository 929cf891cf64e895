"""Losses, the differentiated stretch, and the slots that carry puzzles."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.mixture import Mixture
from training.objective import Carry
from training.recipe import load_recipe
from training.settings import Generated, Objective
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import (
    Outcome,
    Puzzles,
    Supervision,
    SupervisionSettings,
    softmax_cross_entropy,
    stablemax_cross_entropy,
)

FOUR = Sudoku(2, 2)


def _model() -> TRM:
    torch.manual_seed(0)
    model = TRM(load_recipe("sudoku-4x4").spec().model)
    torch.nn.init.normal_(model.network.q_head.weight)
    return model


def _puzzles(model: TRM, n: int = 5, clues_added: int = 1) -> Puzzles:
    options = {"clues_added": (clues_added, clues_added)}
    return Puzzles.of(FOUR.examples(n, HELD_OUT_SEED, options), model.config)


def _stream(**options: object) -> Mixture:
    return Mixture((Generated(**options),), FOUR, 1, ())


def _zeros(model: TRM, n: int) -> State:
    shape = (n, *model.config.state_shape)
    return State(torch.zeros(shape), torch.zeros(shape))


def test_softmax_cross_entropy_is_torchs():
    logits, targets = torch.randn(6, 4, 9), torch.randint(0, 9, (6, 4))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert torch.allclose(softmax_cross_entropy(logits, targets).mean(), expected)


def test_stablemax_follows_its_definition():
    logits = torch.tensor([[1.0, -1.0, 0.0]])
    # s = 2, 1/2, 1
    expected = -np.log(np.array([2, 0.5, 1]) / 3.5)
    for target in range(3):
        loss = stablemax_cross_entropy(logits, torch.tensor([target]))
        assert loss.item() == pytest.approx(expected[target], rel=1e-5)


def test_a_stretch_is_the_same_as_its_steps_one_by_one():
    model = _model()
    puzzles = _puzzles(model)
    fresh = torch.ones(5, dtype=torch.bool)
    three = Supervision(model, SupervisionSettings(grad_steps=3))(puzzles, _zeros(model, 5), fresh)
    one = Supervision(model, SupervisionSettings(grad_steps=1))
    losses, state = [], _zeros(model, 5)
    for _ in range(3):
        outcome = one(puzzles, state, fresh)
        losses.append(outcome.loss)
        state, fresh = outcome.state, torch.zeros_like(fresh)
    assert torch.allclose(three.loss, torch.stack(losses).mean(), atol=1e-5)
    assert torch.allclose(three.state.z, state.z, atol=1e-5)


def test_the_loss_counts_empty_cells_alone_and_each_puzzle_equally():
    model = _model()
    puzzles = _puzzles(model)
    outcome = Supervision(model, SupervisionSettings(halting_weight=0))(
        puzzles, _zeros(model, 5), torch.ones(5, dtype=torch.bool)
    )
    tokens, answers = puzzles.tokens, puzzles.answers
    _, logits, _ = model(tokens, model.initial_state(5))
    expected = 0.0
    for row in range(5):
        empty = tokens[row] < 2
        expected += torch.nn.functional.cross_entropy(
            logits[row][empty], (answers[row][empty] - 2).long()
        )
    assert torch.allclose(outcome.loss, expected, atol=1e-5)


def test_only_fresh_rows_start_anew_and_the_first_state_has_a_gradient():
    model = _model()
    puzzles = _puzzles(model)
    state = State(*(torch.randn(5, *model.config.state_shape) for _ in range(2)))
    fresh = torch.tensor([True, False, False, False, True])
    outcome = Supervision(model, SupervisionSettings())(puzzles, state, fresh)
    outcome.loss.backward()
    assert model.network.y_init.grad.abs().sum() > 0
    expected, _, _ = model(puzzles.tokens, model.initial_state(5).where(fresh, state))
    assert torch.allclose(outcome.state.y, expected.y, atol=1e-6)


def test_the_gradient_spans_the_cycles_asked_for():
    recipe = load_recipe("sudoku-4x4", ("model.H_cycles=2",))
    torch.manual_seed(0)
    model = TRM(recipe.spec().model)
    puzzles = _puzzles(model)
    norms = []
    for cycles in (1, 2):
        model.zero_grad()
        Supervision(model, SupervisionSettings(grad_cycles=cycles))(
            puzzles, _zeros(model, 5), torch.ones(5, dtype=torch.bool)
        ).loss.backward()
        norms.append(model.network.z_init.grad)
    assert norms[0] is None  # the first cycle, which reads it, is not differentiated
    assert norms[1].abs().sum() > 0


def _outcome(model: TRM, solved: list[bool], halt: list[float]) -> Outcome:
    n = len(solved)
    return Outcome(
        torch.zeros(()),
        _zeros(model, n),
        torch.tensor(solved),
        torch.tensor(halt),
        torch.ones(n),
        torch.zeros(n, model.config.seq_len, model.config.outputs),
    )


def test_slots_are_refilled_when_solved_or_too_old():
    model = _model()
    objective = Objective(min_steps=3, max_steps=3)
    carry = Carry(model, objective, _stream(), 4, 0)
    carry.begin(0.0)
    before = carry.puzzles.tokens.clone()
    carry.advance(_outcome(model, [True, False, False, False], [9.0] * 4), 0.0)
    assert carry.fresh.tolist() == [True, False, False, False]
    assert torch.equal(carry.puzzles.tokens[1:], before[1:])
    assert carry.age.tolist() == [0, 1, 1, 1]
    for _ in range(2):
        carry.advance(_outcome(model, [False] * 4, [9.0] * 4), 0.0)
    assert carry.fresh.tolist() == [False, True, True, True]
    assert (carry.finished, carry.finished_solved) == (4, 1)


def test_slots_are_refilled_by_the_halting_head_as_in_the_reference():
    model = _model()
    objective = Objective(refill="halting", max_steps=4, exploration=0.0)
    carry = Carry(model, objective, _stream(), 3, 0)
    carry.begin(0.0)
    carry.advance(_outcome(model, [True, False, False], [-1.0, 0.5, -2.0]), 0.0)
    assert carry.fresh.tolist() == [False, True, False]
    for _ in range(3):
        carry.advance(_outcome(model, [True] * 3, [-1.0] * 3), 0.0)
    assert carry.fresh.tolist() == [True, False, True]


def test_a_puzzle_without_empty_cells_is_solved():
    model = _model()
    puzzles = _puzzles(model, 2, 0)
    tokens = puzzles.answers.clone()
    tokens[1, 3] = 1
    supervision = Supervision(model, SupervisionSettings(cells="empty"))
    outcome = supervision(
        puzzles._replace(tokens=tokens), model.initial_state(2), torch.ones(2, dtype=torch.bool)
    )
    assert outcome.solved[0]
    right = outcome.cells_right.tolist()
    assert right[0] == 0  # nothing was asked
    assert outcome.solved[1] == (right[1] == 1)
