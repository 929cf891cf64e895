"""One optimiser step of a run."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from trm_sdk.model.recursion import State
from trm_sdk.model.supervision import Outcome

from .optim import rate, set_rate
from .run import Run


class StepFigures(NamedTuple):
    """What is known of an optimiser step.

    Attributes
    ----------
    loss : float
        Mean over the slots.
    cells : float
        Share of supervised cells that are right.
    norm : float
        Gradient norm before clipping.
    """

    loss: float
    cells: float
    norm: float


def train_step(run: Run) -> StepFigures:
    """Take one optimiser step.

    ``deep``: every slot moves on by `grad_steps` supervision steps. ``last-step``: every slot runs
    its new puzzle from the first state on, and only the last `grad_steps` are differentiated.
    """
    recipe, carry, world = run.recipe, run.carry, run.world
    run.set_depth()
    set_rate(run.optimizers, rate(recipe.optimizer, run.step, recipe.steps))
    outcome = _differentiate(run)
    norm = _update(run)
    carry.advance(outcome, run.step / recipe.steps)
    run.step += 1
    sums = torch.stack((outcome.loss.float(), outcome.cells_right.sum()))
    loss, cells = (world.sum(sums) / recipe.batch_size).tolist()
    return StepFigures(loss, cells, norm)


def _differentiate(run: Run) -> Outcome:
    """Run the supervision steps of this process's slots, and leave the gradients behind."""
    recipe, carry, supervision = run.recipe, run.carry, run.supervision
    history = carry.history()
    supervision.grad_cycles = recipe.objective.grad_cycles + carry.extra_cycle()
    noise, start = draw_noise(run)
    passes = carry.passes_before(history)
    puzzles, fresh = carry.puzzles.rows(carry.mine), carry.fresh[carry.mine]
    size = min(recipe.micro_batch or recipe.batch_size, len(fresh))
    outcomes: list[Outcome] = []
    for first in range(0, len(fresh), size):
        rows = slice(first, first + size)
        some, started, state = puzzles.rows(rows), fresh[rows], State(carry.y[rows], carry.z[rows])
        added = None if noise is None else noise[:, rows]
        moved = None if start is None else start[:, rows]
        with torch.autocast(
            carry.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"
        ):
            for _ in range(history):
                state = supervision.settle(some, state, started, moved)
                started = torch.zeros_like(started)
            outcome: Outcome = supervision(some, state, started, passes[rows], added, moved)
        torch.autograd.backward(outcome.loss / recipe.batch_size)
        outcomes.append(outcome._replace(loss=outcome.loss.detach()))
    return _join(outcomes)


def _update(run: Run) -> float:
    """Apply the gradients of all processes to weights and average; return their norm."""
    parameters = list(run.model.parameters())
    run.world.sum_gradients(parameters)
    # Without a bound the norm is still worth knowing. Of the rows of a table that are trained by
    # their gradients' signs, it says nothing.
    clip = math.inf if run.recipe.optimizer.clip is None else run.recipe.optimizer.clip
    dense = [p for p in parameters if p.grad is not None and not p.grad.is_sparse]
    norm = torch.nn.utils.clip_grad_norm_(dense, clip)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.ema.update(run.model, run.step)
    return float(norm)


def draw_noise(run: Run) -> tuple[Tensor | None, Tensor | None]:
    """Draw what is added to z before each step and to the initial state, for this process's rows.

    Returns
    -------
    noise : Tensor (grad_steps, rows, *state_shape) or None
    start : Tensor (2, rows, *state_shape) or None
        For y and z.
    """
    objective, carry = run.recipe.objective, run.carry
    rows = (run.recipe.batch_size, *carry.y.shape[1:])  # all processes draw all of it

    def normal(copies: int, std: float) -> Tensor:
        return torch.randn((copies, *rows), generator=run.noise, device=carry.device) * std

    noise = start = None
    if objective.noise:
        noise = normal(objective.grad_steps, objective.noise)
        if objective.noise_share < 1:
            drawn = torch.rand(rows[0], generator=run.noise, device=carry.device)
            chosen = drawn < objective.noise_share
            noise = noise * chosen.view(-1, *[1] * (noise.ndim - 2))
        noise = noise[:, carry.mine]
    if objective.random_start:
        start = normal(2, objective.random_start)[:, carry.mine]
    return noise, start


def _join(outcomes: list[Outcome]) -> Outcome:
    if len(outcomes) == 1:
        return outcomes[0]
    judged = [one.dead_end_logit for one in outcomes if one.dead_end_logit is not None]
    return Outcome(
        torch.stack([one.loss for one in outcomes]).sum(),
        State(
            torch.cat([one.state.y for one in outcomes]),
            torch.cat([one.state.z for one in outcomes]),
        ),
        torch.cat([one.solved for one in outcomes]),
        torch.cat([one.halt_logit for one in outcomes]),
        torch.cat([one.cells_right for one in outcomes]),
        torch.cat([one.logits for one in outcomes]),
        torch.cat(judged) if judged else None,
    )


__all__ = ["StepFigures", "draw_noise", "train_step"]
