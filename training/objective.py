"""Losses and supervision schemes: deep supervision with a carried state."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import Objective
from training.data.base import Stream
from trm_sdk.model.recursion import TRM, State


def stablemax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with ``s(x) = x + 1 (x >= 0), 1 / (1 - x) (x < 0)`` in softmax's place.

    The reference's loss (from "Grokking at the edge of numerical stability", arXiv 2501.04697),
    in float64 as there. Shapes: logits (..., classes), targets (...); result (...).
    """
    wide = logits.double()
    s = torch.where(wide < 0, 1 / (1 - wide + 1e-30), wide + 1)
    log_p = torch.log(s / s.sum(-1, keepdim=True))
    return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1).to(logits.dtype)


def softmax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The usual cross-entropy, one value a target."""
    return -F.log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


class Outcome(NamedTuple):
    """Of one differentiated stretch of supervision steps, a row a puzzle.

    Attributes
    ----------
    loss : scalar Tensor
        Sum over puzzles of the mean over steps.
    state : State
        Detached.
    solved : bool Tensor (batch,)
        The whole answer was right at the last step.
    halt_logit : float32 Tensor (batch,)
        At the last step.
    cells_right : float32 Tensor (batch,)
        Share of the supervised cells that were right at the last step.
    """

    loss: Tensor
    state: State
    solved: Tensor
    halt_logit: Tensor
    cells_right: Tensor


class Supervision(nn.Module):
    """Supervision steps with their loss; the piece of work that is compiled.

    Parameters
    ----------
    model : TRM
    objective : Objective
    """

    def __init__(self, model: TRM, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self, tokens: Tensor, answers: Tensor, y: Tensor, z: Tensor, fresh: Tensor, noise: Tensor
    ) -> Outcome:
        """Run `grad_steps` supervision steps.

        Parameters
        ----------
        tokens, answers : integer Tensors (batch, N)
        y, z : Tensors (batch, *state_shape)
            The carried state.
        fresh : bool Tensor (batch,)
            Rows that start from the model's initial state, which so gets its gradient.
        noise : Tensor (grad_steps, batch, *state_shape), or of size 0 for none
            Added to z before each step.
        """
        model, objective = self.model, self.objective
        # Embedded once: the tokens of a slot do not change within a stretch.
        x = model.network.embed(tokens, None)
        state = model.initial_state(len(tokens)).where(fresh, State(y, z))
        targets = answers - model.config.output_offset
        first_given = model.config.givens_from
        if objective.cells == "empty" and first_given is not None:
            wanted = (tokens < first_given).float()
        else:
            wanted = torch.ones_like(tokens, dtype=torch.float32)
        share = wanted / wanted.sum(1, keepdim=True).clamp(min=1)
        entropy = softmax_cross_entropy if objective.loss == "softmax" else stablemax_cross_entropy
        loss = share.new_zeros(())
        for step in range(objective.grad_steps):
            if noise.numel():
                state = State(state.y, state.z + noise[step])
            state = model.recurse(x, state, grad_cycles=objective.grad_cycles)
            logits, halt_logit = model.network.readout(state.y)
            right = ((logits.argmax(-1) == targets).float() * share).sum(1)
            solved = right > 1 - 0.5 / tokens.shape[1]
            loss = loss + (entropy(logits, targets.long()) * share).sum()
            loss = loss + objective.halting_weight * F.binary_cross_entropy_with_logits(
                halt_logit, solved.float(), reduction="sum"
            )
        return Outcome(
            loss / objective.grad_steps, state.detach(), solved, halt_logit.detach(), right
        )


class Carry:
    """Slots of puzzles that are being refined, each with its state and age.

    Deep supervision (paper, section 2): every optimiser step moves each slot on by `grad_steps`
    supervision steps, and the state is carried over, detached, until the puzzle leaves its slot.
    """

    def __init__(
        self, model: TRM, objective: Objective, stream: Stream, batch_size: int, seed: int
    ) -> None:
        self.objective, self.stream = objective, stream
        self.rng = np.random.default_rng(seed)
        first = stream.draw(batch_size, 0.0)
        device = next(model.parameters()).device
        self.tokens = torch.from_numpy(first.tokens).to(device)
        self.answers = torch.from_numpy(first.answers).to(device)
        shape = (batch_size, *model.config.state_shape)
        self.y = torch.zeros(shape, device=device)
        self.z = torch.zeros(shape, device=device)
        self.fresh = torch.ones(batch_size, dtype=torch.bool, device=device)
        self.age = np.zeros(batch_size, dtype=np.int64)
        self.limit = self._limits(batch_size)
        #: Puzzles that have left their slots, and how many of those were solved.
        self.finished = 0
        self.finished_solved = 0

    def _limits(self, n: int) -> np.ndarray:
        """Ages at which n new puzzles leave at the latest."""
        low, high = self.objective.min_steps, self.objective.max_steps
        if self.objective.refill == "solved":
            return self.rng.integers(low, high + 1, size=n)
        return np.full(n, high)

    def _least(self, n: int) -> np.ndarray:
        """Ages that n puzzles must reach before the halting head may end them (exploration)."""
        explored = self.rng.random(n) < self.objective.exploration
        return explored * self.rng.integers(2, max(self.objective.max_steps, 2) + 1, size=n)

    def advance(self, outcome: Outcome, progress: float) -> None:
        """Take over the new states; put new puzzles where one is done."""
        self.age += self.objective.grad_steps
        solved = outcome.solved.cpu().numpy()
        if self.objective.refill == "solved":
            linger = self.rng.integers(0, self.objective.linger + 1, size=len(solved))
            self.limit = np.where(solved, np.minimum(self.limit, self.age + linger), self.limit)
            done = self.age >= self.limit
        else:
            halted = (outcome.halt_logit > 0).cpu().numpy() & (self.age >= self._least(len(solved)))
            done = halted | (self.age >= self.limit)
        self.y, self.z = outcome.state
        self.fresh = torch.from_numpy(done).to(self.fresh.device)
        count = int(done.sum())
        if not count:
            return
        new = self.stream.draw(count, progress)
        rows = torch.from_numpy(np.flatnonzero(done)).to(self.tokens.device)
        self.tokens = self.tokens.index_copy(0, rows, torch.from_numpy(new.tokens).to(rows.device))
        self.answers = self.answers.index_copy(
            0, rows, torch.from_numpy(new.answers).to(rows.device)
        )
        self.finished += count
        self.finished_solved += int(solved[done].sum())
        self.age[done] = 0
        self.limit[done] = self._limits(count)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "tensors": {name: getattr(self, name) for name in _CARRIED},
            "age": self.age,
            "limit": self.limit,
            "finished": (self.finished, self.finished_solved),
            "rng": self.rng.bit_generator.state,
            "stream": self.stream.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name in _CARRIED:
            setattr(self, name, state["tensors"][name].to(getattr(self, name).device))
        self.age, self.limit = state["age"], state["limit"]
        self.finished, self.finished_solved = state["finished"]
        self.rng.bit_generator.state = state["rng"]
        self.stream.load_state_dict(state["stream"])


_CARRIED = ("tokens", "answers", "y", "z", "fresh")
