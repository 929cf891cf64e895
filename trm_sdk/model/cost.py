"""What a model costs: floating-point operations, counted on the meta device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM


class Work(NamedTuple):
    """Floating-point operations of matrix products, for one puzzle.

    Attributes
    ----------
    update : int
        One pass of the network.
    readout : int
        Both heads.
    """

    update: int
    readout: int

    def step(self, H_cycles: int, L_cycles: int, grad_cycles: int, *, loss: bool = True) -> int:
        """Return the operations of a supervision step in training.

        A backward pass costs twice what its forward pass does. Nothing is counted twice for being
        computed twice, and only matrix products are counted: these are model FLOPs, the least that
        the result needs.
        """
        differentiated = min(grad_cycles, H_cycles)
        passes = (H_cycles + 2 * differentiated) * (L_cycles + 1)
        return passes * self.update + loss * 3 * self.readout


def work(config: ModelConfig) -> Work:
    """Count a model's operations, on the meta device: any size, nothing computed."""
    with torch.device("meta"):
        model = TRM(config).requires_grad_(False)
        state = model.initial_state(1)
        with FlopCounterMode(display=False) as counter:
            model.update(state.y, state.z)
        update = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            model.network.readout(state.y)
    return Work(update, counter.get_total_flops())


def step_flops(config: ModelConfig) -> float:
    """Return the floating-point operations of one supervision step of one puzzle.

    Of matrix products: a multiplication and an addition count as two. Element-wise work does not
    count.
    """
    one = work(config)
    return config.passes * one.update + one.readout
