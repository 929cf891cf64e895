"""Optimisers, schedule and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .settings import Optimizer

#: What the name of a puzzle embedding ends with.
_TABLE = "puzzle_emb"


class AdamATan2(torch.optim.Optimizer):
    """Adam with ``atan2(m, sqrt(v))`` in place of ``m / (sqrt(v) + eps)`` (arXiv 2407.05872).

    Without epsilon the step does not depend on the gradient's scale, however small, and is bounded
    by pi / 2 times the rate. Weight decay is decoupled, as in AdamW. The reference trains with it.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
    betas : (float, float)
    weight_decay : float
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; a closure is not used."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if not weights:
                continue
            for p in weights:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros(()),
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": torch.zeros_like(p),
                    }
            gradients = [p.grad for p in weights]
            m = [self.state[p]["exp_avg"] for p in weights]
            v = [self.state[p]["exp_avg_sq"] for p in weights]
            steps = [self.state[p]["step"] for p in weights]
            torch._foreach_add_(steps, 1)
            first, second = group["betas"]
            torch._foreach_lerp_(m, gradients, 1 - first)
            torch._foreach_mul_(v, second)
            torch._foreach_addcmul_(v, gradients, gradients, 1 - second)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for p, one, two, count in zip(weights, m, v, steps, strict=True):
                step = float(count)
                scale = (two / (1 - second**step)).sqrt_()
                p.add_(torch.atan2(one / (1 - first**step), scale), alpha=-group["lr"])


class SparseSignSGD(torch.optim.Optimizer):
    """The reference's optimiser of puzzle embeddings: the gradient's sign, on the rows at hand.

    ``row = (1 - lr * weight_decay) * row - lr * sign(gradient)`` for every row that the batch used;
    rows of other puzzles neither move nor decay. A row was used if the gradient is sparse and names
    it, or dense and not zero there.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; a closure is not used."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                decay = 1 - group["lr"] * group["weight_decay"]
                if p.grad.is_sparse:
                    gradient = p.grad.coalesce()
                    rows = gradient.indices()[0]
                    p[rows] = p[rows] * decay - group["lr"] * gradient.values().sign()
                else:
                    # A product with a mask, not an index: no waiting for a GPU to count rows.
                    used = (p.grad != 0).any(1, keepdim=True)
                    p.mul_(torch.where(used, decay, 1.0)).sub_(p.grad.sign(), alpha=group["lr"])


def make_optimizers(model: nn.Module, config: Optimizer) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model's parts.

    First one for everything that no other takes; then Muon, where asked for, for the matrices
    inside the network; then sparse sign-SGD for a puzzle embedding. Each group carries its peak
    rate as ``peak``; `set_rate` scales it.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    puzzles = [p for name, p in named.items() if name.endswith(_TABLE)]
    inner: list[nn.Parameter] = []
    if config.name == "muon":
        inner = [p for name, p in named.items() if ".layers." in name and p.ndim == 2]
    chosen = {id(p) for p in inner + puzzles}
    outer = [p for p in named.values() if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "adam_atan2":
        optimizers.append(AdamATan2(outer, config.lr, config.betas, config.weight_decay))
    else:
        optimizers.append(
            torch.optim.AdamW(
                outer,
                lr=config.lr,
                betas=config.betas,
                weight_decay=config.weight_decay,
                fused=True,
            )
        )
    if inner:
        optimizers.append(
            torch.optim.Muon(inner, lr=config.muon_lr, weight_decay=config.weight_decay)
        )
    if puzzles:
        optimizers.append(SparseSignSGD(puzzles, config.puzzle_lr, config.puzzle_weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(config: Optimizer, step: int, steps: int) -> float:
    """Return the learning rate at a step, as a fraction of the peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "trapezoid":
        left = (steps - step) / max(config.cooldown * steps, 1)
        return config.floor + (1 - config.floor) * min(left, 1.0)
    done = min((step - config.warmup) / max(steps - config.warmup, 1), 1.0)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * done))


def set_rate(optimizers: list[torch.optim.Optimizer], fraction: float) -> None:
    """Set every group to this fraction of its peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * fraction


class EMA:
    """Exponential moving average of a model's weights, in float32.

    A puzzle embedding is not averaged, as in the reference: most of its rows stand still at most
    steps. `weights` has the model's own tensor there, not a copy.

    Parameters
    ----------
    model : Module
    decay : float
    warmup : bool
        Let the decay rise as ``min(decay, (1 + step) / (10 + step))``, so that the first random
        weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float, *, warmup: bool = True) -> None:
        self.decay, self.warmup = decay, warmup
        self.weights = {
            name: value.detach() if name.endswith(_TABLE) else value.detach().clone()
            for name, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after an optimiser step."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        new = model.state_dict()
        averaged = [name for name in self.weights if not name.endswith(_TABLE)]
        torch._foreach_lerp_(
            [self.weights[name] for name in averaged], [new[name] for name in averaged], 1 - decay
        )

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from saved averages."""
        for name, average in self.weights.items():
            average.copy_(weights[name])
