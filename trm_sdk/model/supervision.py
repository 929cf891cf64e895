"""Supervision: cross-entropies, and supervision steps with their loss.

For whoever trains a `TRM`: `trm-fit`, and adaptation inside the SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.groups import complete_groups
from trm_sdk.model.recursion import TRM, State

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from trm_sdk.domains.data import Examples, Targets


def stablemax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy with ``s(x) = x + 1 (x >= 0), 1 / (1 - x) (x < 0)`` for softmax's
    exponential.

    The reference's loss (from "Grokking at the edge of numerical stability", arXiv 2501.04697),
    in float64 as there. Shapes: logits (..., classes), targets (...); result (...).
    """
    wide = logits.double()
    s = torch.where(wide < 0, 1 / (1 - wide + 1e-30), wide + 1)
    log_p = torch.log(s / s.sum(-1, keepdim=True))
    return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1).to(logits.dtype)


def softmax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the usual cross-entropy, one value a target."""
    return -F.log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def weighted_share(weights: Tensor) -> Tensor:
    """Return weights of shape (batch, N) scaled so that every puzzle's add up to at most 1.

    A puzzle of which little is asked is not made to count as much as one of which all is.
    """
    return weights / weights.sum(1, keepdim=True).clamp(min=1)


class HeadTargets(NamedTuple):
    """`trm_sdk.domains.data.Head` as tensors."""

    classes: Tensor
    due: Tensor
    before: int | None
    mask: Tensor


class TimedTargets(NamedTuple):
    """`trm_sdk.domains.data.Targets` as tensors."""

    answer_due: Tensor
    answer_weight: Tensor
    heads: dict[str, HeadTargets]


class Puzzles(NamedTuple):
    """A batch of puzzles and what is asked of a network, as tensors on one device.

    Attributes
    ----------
    tokens : int32 Tensor (batch, N)
        Or (batch, rows, columns), for models of any size.
    answers : int32 Tensor (batch, N)
        Tokens.
    identifiers : int32 Tensor (batch,)
        Rows of the puzzle embedding.
    mask : bool Tensor (batch, N)
        Cells whose answer counts; the others are padding.
    targets : TimedTargets or None
        What is asked at which step; None: the answer, at every step.
    groups : dict from weights key to uint8 Tensor (batch, groups, cells), or None
        Each puzzle's groups; None: those that the structure states.
    dead : bool Tensor (batch,), or None
        Puzzles in which a wrong value is filled in, which no answer is asked of; None: none.
    """

    tokens: Tensor
    answers: Tensor
    identifiers: Tensor
    mask: Tensor
    targets: TimedTargets | None = None
    groups: dict[str, Tensor] | None = None
    dead: Tensor | None = None

    @classmethod
    def of(
        cls,
        examples: Examples,
        config: ModelConfig,
        targets: Targets | None = None,
        device: torch.device | str = "cpu",
        dead: npt.NDArray[np.bool_] | None = None,
    ) -> Puzzles:
        """Return a domain's examples, and its targets in time, as a model of `config` takes them.

        Raises
        ------
        InvalidInputError
            If a head of the model has no targets, or the puzzles bring groups that the model does
            not take.
        """

        def put(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        timed = None
        if targets is not None:
            if missing := sorted(config.heads.keys() - targets.heads.keys()):
                raise InvalidInputError(
                    f"the model has the head {missing[0]!r}, and the domain's targets are for "
                    f"{sorted(targets.heads)}"
                )
            heads = {
                name: HeadTargets(put(one.classes), put(one.due), one.before, put(one.mask))
                for name, one in targets.heads.items()
                if name in config.heads
            }
            timed = TimedTargets(put(targets.answer_due), put(targets.answer_weight), heads)
        tokens = put(examples.tokens).view(-1, *config.token_shape_of(examples.shape))
        return cls(
            tokens,
            put(examples.answers),
            put(examples.identifiers),
            put(examples.mask),
            timed,
            {key: put(one) for key, one in complete_groups(examples.groups, config).items()}
            or None,
            None if dead is None else put(dead),
        )

    def rows(self, index: slice) -> Puzzles:
        """Return some of the puzzles."""
        chosen: Puzzles = _over(lambda tensor: tensor[index], self)
        return chosen

    def replaced(self, rows: Tensor, new: Puzzles) -> Puzzles:
        """Return the same with new puzzles in the rows of an index tensor."""
        result: Puzzles = _over(lambda old, fresh: old.index_copy(0, rows, fresh), self, new)
        return result


def _over(function: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    """Apply a function to the tensors of named tuples and dicts of equal form."""
    if isinstance(first, Tensor):
        return function(first, *others)
    if isinstance(first, dict):
        return {key: _over(function, *(one[key] for one in (first, *others))) for key in first}
    if isinstance(first, tuple):
        return type(first)(*(_over(function, *parts) for parts in zip(first, *others, strict=True)))
    return first


class Outcome(NamedTuple):
    """Result of one differentiated stretch of supervision steps, a row a puzzle.

    Attributes
    ----------
    loss : scalar Tensor
        Sum over puzzles of the mean over steps.
    state : State
        Detached.
    solved : bool Tensor (batch,)
        The whole answer was right at the last step; never of a dead end.
    halt_logit : float32 Tensor (batch,)
        At the last step.
    cells_right : float32 Tensor (batch,)
        Share of the supervised cells that were right at the last step.
    logits : float32 Tensor (batch, N, outputs)
        At the last step.
    dead_end_logit : float32 Tensor (batch,), or None
        At the last step; None where no dead ends are supervised.
    """

    loss: Tensor
    state: State
    solved: Tensor
    halt_logit: Tensor
    cells_right: Tensor
    logits: Tensor
    dead_end_logit: Tensor | None = None


@dataclass(frozen=True)
class SupervisionSettings:
    """How supervision steps are differentiated and judged.

    Attributes
    ----------
    grad_steps : int
        Supervision steps that one gradient spans; the loss is the mean over them. Default 1.
    grad_cycles : int
        Of the T cycles in a supervision step, how many are differentiated. Default 1.
    loss : {"softmax", "stablemax"}
        Cross-entropy over the values of a cell, and over the classes of the heads.
    cells : {"empty", "all"}
        Whether cells that are given are supervised as well. Default "empty": they are not.
    halting_weight : float
        Weight of the halting head's binary cross-entropy ("is the whole answer right?").
    dead_end_weight : float
        Weight of the dead-end head's binary cross-entropy ("is a value wrong that is filled in?").
    head_weights : mapping from name to float
        Weights of the auxiliary heads' losses. Default 1 each.
    timing : {"due", "final"}
        ``due``: a cell is asked for what it can know at each step, as the targets say. ``final``:
        for what is right in the end, at every step.
    """

    grad_steps: int = 1
    grad_cycles: int = 1
    loss: Literal["softmax", "stablemax"] = "softmax"
    cells: Literal["empty", "all"] = "empty"
    halting_weight: float = 0.2
    dead_end_weight: float = 0.5
    head_weights: Mapping[str, float] = field(default_factory=dict)
    timing: Literal["due", "final"] = "due"


class Supervision(nn.Module):
    """Supervision steps with their loss; the piece of work that is compiled.

    Parameters
    ----------
    model : TRM
    settings : SupervisionSettings
    dtype : torch.dtype
        What the recursion computes in; weights and the loss stay in float32.

    Attributes
    ----------
    H_cycles, L_cycles, grad_cycles : int
        Depth at present; a curriculum changes it between steps.
    """

    columns: Tensor

    def __init__(
        self, model: TRM, settings: SupervisionSettings, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.dtype = dtype
        self.H_cycles, self.L_cycles = model.config.H_cycles, model.config.L_cycles
        self.grad_cycles = settings.grad_cycles
        # The logit column of each token; one that may not stand in an answer has the first.
        columns = torch.zeros(model.config.vocab_size, dtype=torch.long)
        columns[list(model.config.output_tokens)] = torch.arange(model.config.outputs)
        columns = columns.to(model.output_tokens.device)  # a model may have been moved already
        self.register_buffer("columns", columns, persistent=False)

    @property
    def passes_per_step(self) -> int:
        """Passes over the latent z in a supervision step, at the present depth."""
        return self.H_cycles * self.L_cycles

    def forward(
        self,
        puzzles: Puzzles,
        state: State,
        fresh: Tensor,
        passes: Tensor | None = None,
        noise: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Outcome:
        """Run `grad_steps` supervision steps.

        Parameters
        ----------
        puzzles : Puzzles
        state : State
            As carried from step to step.
        fresh : bool Tensor (batch,)
            Rows that start from the model's initial state, which so gets its gradient.
        passes : int32 Tensor (batch,), optional
            Passes over z that each puzzle has had, by which puzzles with `targets` are asked for
            what is due. Default 0.
        noise : Tensor (grad_steps, batch, *state_shape), optional
            Added to z before each step.
        start : Tensor (2, batch, *state_shape), optional
            Added to y and z of the initial state.
        """
        model, settings = self.model, self.settings
        # Embedded once: the tokens of a slot do not change within a stretch.
        x, state = self._start(puzzles, state, fresh, start)
        columns = self.columns[puzzles.answers.long()]
        asked = puzzles.mask.float()
        if settings.cells == "empty":
            asked = asked * (~model.is_given[puzzles.tokens.long()]).flatten(1).float()
        dead, dead_end_logit = puzzles.dead, None
        if dead is not None:
            asked = asked * (~dead).float()[:, None]
        share = weighted_share(asked)
        if passes is None:
            passes = torch.zeros_like(puzzles.identifiers)
        loss = share.new_zeros(())
        for step in range(settings.grad_steps):
            if noise is not None:
                state = State(state.y, state.z + noise[step].to(self.dtype))
            state = model.recurse(
                x, state, self.H_cycles, self.L_cycles, self.grad_cycles, puzzles.groups
            )
            passes = passes + self.passes_per_step
            logits, halt_logit = model.network.readout(state.y)
            logits = logits.flatten(1, -2)
            hits = logits.argmax(-1) == columns
            right = (hits.float() * share).sum(1)
            solved = (hits | (asked == 0)).all(1)
            if dead is not None:
                solved = solved & ~dead
            loss = loss + self._answer_loss(logits, columns, asked, share, puzzles.targets, passes)
            loss = loss + settings.halting_weight * F.binary_cross_entropy_with_logits(
                halt_logit, solved.float(), reduction="sum"
            )
            if puzzles.targets is not None:
                loss = loss + self._head_loss(state.y, puzzles.targets, passes)
            if dead is not None:
                logit = model.network.dead_end(state.y)  # type: ignore[operator]
                dead_end_logit = logit.detach()
                loss = loss + settings.dead_end_weight * F.binary_cross_entropy_with_logits(
                    logit, dead.float(), reduction="sum"
                )
        return Outcome(
            loss / settings.grad_steps,
            state.detach(),
            solved,
            halt_logit.detach(),
            right,
            logits.detach(),
            dead_end_logit,
        )

    def _answer_loss(
        self,
        logits: Tensor,
        columns: Tensor,
        asked: Tensor,
        share: Tensor,
        targets: TimedTargets | None,
        passes: Tensor,
    ) -> Tensor:
        if targets is not None:
            weights = asked * targets.answer_weight
            if self.settings.timing == "due":
                weights = weights * (targets.answer_due <= passes[:, None])
            share = weighted_share(weights)
        return (self._entropy(logits, columns) * share).sum()

    def _head_loss(self, y: Tensor, targets: TimedTargets, passes: Tensor) -> Tensor:
        total = y.new_zeros((), dtype=torch.float32)
        network = self.model.network
        auxiliary = network.auxiliary(y) if targets.heads else {}  # type: ignore[operator]
        for name, head in targets.heads.items():
            weights, classes = head.mask.float(), head.classes.long()
            if self.settings.timing == "due":
                due = head.due <= passes[:, None]
                if head.before is None:
                    weights = weights * due
                else:
                    classes = torch.where(due, classes, head.before)
            entropy = self._entropy(auxiliary[name].flatten(1, -2), classes)
            weight = self.settings.head_weights.get(name, 1.0)
            total = total + weight * (entropy * weighted_share(weights)).sum()
        return total

    def _entropy(self, logits: Tensor, classes: Tensor) -> Tensor:
        softmax = self.settings.loss == "softmax"
        return (softmax_cross_entropy if softmax else stablemax_cross_entropy)(logits, classes)

    @torch.no_grad()
    def settle(
        self, puzzles: Puzzles, state: State, fresh: Tensor, start: Tensor | None = None
    ) -> State:
        """Run one supervision step without gradient or loss: the history of ``last-step``."""
        x, state = self._start(puzzles, state, fresh, start)
        return self.model.recurse(x, state, self.H_cycles, self.L_cycles, groups=puzzles.groups)

    def _start(
        self, puzzles: Puzzles, state: State, fresh: Tensor, start: Tensor | None
    ) -> tuple[Tensor, State]:
        model, tokens = self.model, puzzles.tokens
        x = model.network.embed(tokens, puzzles.identifiers)
        board = (tokens.shape[1], tokens.shape[2]) if model.config.any_size else None
        initial = model.initial_state(len(tokens), board)
        if start is not None:
            initial = State(initial.y + start[0], initial.z + start[1])
        state = initial.where(fresh, state)
        return x.to(self.dtype), State(state.y.to(self.dtype), state.z.to(self.dtype))

    def compiled(self) -> Supervision:
        """Return itself, compiled: whole, or a pass at a time for the paper's mixers.

        The structured network is many small operations, and gains from every one that is fused
        with another. The paper's passes are few and large, and one compiled pass serves any depth.
        Boards of another shape are compiled for anew.
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


__all__ = [
    "HeadTargets",
    "Outcome",
    "Puzzles",
    "Supervision",
    "SupervisionSettings",
    "TimedTargets",
    "softmax_cross_entropy",
    "stablemax_cross_entropy",
    "weighted_share",
]
