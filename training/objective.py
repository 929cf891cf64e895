"""Losses and supervision schemes: deep supervision with a carried state, and last-step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.mixture import Stream
from training.distributed import World
from training.recipe import Objective
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
    dtype : torch.dtype
        What the recursion computes in; weights and the loss stay in float32.

    Attributes
    ----------
    H_cycles, L_cycles, grad_cycles : int
        Depth at present; a curriculum changes it between steps.
    """

    columns: Tensor

    def __init__(
        self, model: TRM, objective: Objective, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.dtype = dtype
        self.H_cycles, self.L_cycles = model.config.H_cycles, model.config.L_cycles
        self.grad_cycles = objective.grad_cycles
        # The logit column of each token; one that may not stand in an answer has the first.
        columns = torch.zeros(model.config.vocab_size, dtype=torch.long)
        columns[list(model.config.output_tokens)] = torch.arange(model.config.outputs)
        self.register_buffer("columns", columns, persistent=False)

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
        x, state = self._start(tokens, State(y, z), fresh)
        targets = self.columns[answers.long()]
        wanted = torch.ones_like(tokens, dtype=torch.float32)
        if objective.cells == "empty":
            wanted = (~model.is_given[tokens.long()]).float()
        share = wanted / wanted.sum(1, keepdim=True).clamp(min=1)
        entropy = softmax_cross_entropy if objective.loss == "softmax" else stablemax_cross_entropy
        loss = share.new_zeros(())
        for step in range(objective.grad_steps):
            if noise.numel():
                state = State(state.y, state.z + noise[step].to(self.dtype))
            state = model.recurse(x, state, self.H_cycles, self.L_cycles, self.grad_cycles)
            logits, halt_logit = model.network.readout(state.y)
            hits = logits.argmax(-1) == targets
            right = (hits.float() * share).sum(1)
            solved = (hits | (wanted == 0)).all(1)
            loss = loss + (entropy(logits, targets.long()) * share).sum()
            loss = loss + objective.halting_weight * F.binary_cross_entropy_with_logits(
                halt_logit, solved.float(), reduction="sum"
            )
        return Outcome(
            loss / objective.grad_steps, state.detach(), solved, halt_logit.detach(), right
        )

    @torch.no_grad()
    def settle(self, tokens: Tensor, y: Tensor, z: Tensor, fresh: Tensor) -> State:
        """One supervision step without gradient or loss: the history of ``last-step``."""
        x, state = self._start(tokens, State(y, z), fresh)
        return self.model.recurse(x, state, self.H_cycles, self.L_cycles)

    def _start(self, tokens: Tensor, state: State, fresh: Tensor) -> tuple[Tensor, State]:
        x = self.model.network.embed(tokens, None)
        state = self.model.initial_state(len(tokens)).where(fresh, state)
        return x.to(self.dtype), State(state.y.to(self.dtype), state.z.to(self.dtype))

    def compiled(self) -> Supervision:
        """Itself, compiled: whole, or a pass at a time for the paper's mixers.

        The structured network is many small operations, and gains from every one that is fused
        with another. The paper's passes are few and large, and one compiled pass serves any depth.
        """
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        if self.model.config.mixer == "structured":
            self.compile(fullgraph=True, dynamic=False)
            self.settle = torch.compile(self.settle, fullgraph=True, dynamic=False)  # type: ignore[method-assign]
        else:
            self.model.update = torch.compile(  # type: ignore[method-assign]
                self.model.update, fullgraph=True, dynamic=False
            )
        return self


class Carry:
    """Slots of puzzles that are being refined, each with its state and age.

    Deep supervision (paper, section 2): every optimiser step moves each slot on by `grad_steps`
    supervision steps, and the state is carried over, detached, until the puzzle leaves its slot.
    With ``last-step`` every puzzle leaves at once.

    The slots are empty until `begin` or `load_state_dict`.

    In a distributed run every process draws all puzzles and decides about all slots, alike, and
    holds the states of its own rows alone: the run is the same whatever the number of processes.

    Parameters
    ----------
    model : TRM
    objective : Objective
    stream : Stream
    batch_size : int
        Of all processes together.
    seed : int
    world : World, optional
        Default: this process alone.
    dtype : torch.dtype
        Of the states.
    """

    def __init__(
        self,
        model: TRM,
        objective: Objective,
        stream: Stream,
        batch_size: int,
        seed: int,
        world: World | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.objective, self.stream = objective, stream
        self.world = world or World()
        self.rng = np.random.default_rng(seed)
        #: Most supervision steps of a puzzle at present; a curriculum changes it.
        self.max_steps = objective.max_steps
        self.mine = self.world.rows(batch_size)
        device = next(model.parameters()).device
        blank = torch.zeros(batch_size, model.config.seq_len, dtype=torch.int32, device=device)
        self.tokens, self.answers = blank, blank
        shape = (self.mine.stop - self.mine.start, *model.config.state_shape)
        self.y = torch.zeros(shape, device=device, dtype=dtype)
        self.z = torch.zeros(shape, device=device, dtype=dtype)
        self.fresh = torch.ones(batch_size, dtype=torch.bool, device=device)
        self.age = np.zeros(batch_size, dtype=np.int64)
        self.limit = np.zeros(batch_size, dtype=np.int64)
        #: Puzzles that have left their slots, and how many of those were solved.
        self.finished = 0
        self.finished_solved = 0

    def begin(self, progress: float) -> None:
        """Put a new puzzle into every slot; `progress` in 0..1 is how much of the run is done."""
        slots = len(self.age)
        new, device = self.stream.draw(slots, progress), self.tokens.device
        self.tokens = torch.from_numpy(new.tokens).to(device)
        self.answers = torch.from_numpy(new.answers).to(device)
        self.fresh = torch.ones(slots, dtype=torch.bool, device=device)
        self.age = np.zeros(slots, dtype=np.int64)
        self.limit = self._limits(slots)

    def _limits(self, n: int) -> np.ndarray:
        """Ages at which n new puzzles leave at the latest."""
        if self.objective.scheme == "deep" and self.objective.refill == "solved":
            return self.rng.integers(self.objective.min_steps, self.max_steps + 1, size=n)
        return np.full(n, self.max_steps)

    def _least(self, n: int) -> np.ndarray:
        """Ages that n puzzles must reach before the halting head may end them (exploration)."""
        explored = self.rng.random(n) < self.objective.exploration
        return explored * self.rng.integers(2, max(self.max_steps, 2) + 1, size=n)

    def history(self) -> int:
        """Supervision steps to run without gradient before the differentiated ones."""
        if self.objective.scheme == "deep":
            return 0
        steps = int(self.rng.integers(self.objective.min_steps, self.max_steps + 1))
        return steps - self.objective.grad_steps

    def extra_cycle(self) -> bool:
        """Whether this optimiser step differentiates one more cycle."""
        chance = self.objective.extra_cycle
        return bool(chance) and float(self.rng.random()) < chance

    def advance(self, outcome: Outcome, progress: float) -> None:
        """Take over the new states; put new puzzles where one is done."""
        self.y, self.z = outcome.state
        verdicts = torch.stack((outcome.solved.float(), (outcome.halt_logit > 0).float()), 1)
        solved, halted = (self.world.gather(verdicts).cpu().numpy() > 0.5).T
        self.age += self.objective.grad_steps
        if self.objective.scheme == "last-step":
            done = np.ones(len(solved), dtype=bool)
        elif self.objective.refill == "solved":
            linger = self.rng.integers(0, self.objective.linger + 1, size=len(solved))
            self.limit = np.where(solved, np.minimum(self.limit, self.age + linger), self.limit)
            done = self.age >= self.limit
        else:
            done = halted & (self.age >= self._least(len(solved))) | (self.age >= self.limit)
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
        """Everything that the next step depends on; to be called by every process together."""
        tensors = {name: getattr(self, name) for name in ("tokens", "answers", "fresh")}
        return {
            "tensors": {
                **tensors,
                **{name: self.world.gather(getattr(self, name)) for name in "yz"},
            },
            "age": self.age,
            "limit": self.limit,
            "finished": (self.finished, self.finished_solved),
            "rng": self.rng.bit_generator.state,
            "stream": self.stream.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, with any number of processes.

        A travelled checkpoint (see `training.state`) has no slots: `begin` must follow.
        """
        self.rng.bit_generator.state = state["rng"]
        self.stream.load_state_dict(state["stream"])
        if "tensors" not in state:
            return
        for name, tensor in state["tensors"].items():
            if name in "yz":
                tensor = tensor[self.mine].to(getattr(self, name).dtype)
            setattr(self, name, tensor.to(self.tokens.device))
        self.age, self.limit = state["age"], state["limit"]
        self.finished, self.finished_solved = state["finished"]
