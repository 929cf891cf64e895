"""Optimisers, schedule and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.config import Optimizer


def make_optimizers(model: nn.Module, config: Optimizer) -> list[torch.optim.Optimizer]:
    """One optimiser, or for Muon two: Muon for the matrices inside the network, AdamW for the rest.

    Each group carries its peak rate as ``peak``; `set_rate` scales it.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    inner: list[nn.Parameter] = []
    if config.name == "muon":
        inner = [p for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]
    chosen = {id(p) for p in inner}
    outer = [p for p in parameters if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            outer,
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
    ]
    if inner:
        optimizers.append(
            torch.optim.Muon(inner, lr=config.muon_lr, weight_decay=config.weight_decay)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(config: Optimizer, step: int, steps: int) -> float:
    """Learning rate at a step, as a fraction of the peak."""
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

    The decay is warmed up, ``min(decay, (1 + step) / (10 + step))``, so that the first random
    weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after an optimiser step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        new = model.state_dict()
        torch._foreach_lerp_(
            list(self.weights.values()), [new[name] for name in self.weights], 1 - decay
        )

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from saved averages."""
        for name, value in weights.items():
            self.weights[name].copy_(value)
