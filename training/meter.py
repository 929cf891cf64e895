"""How fast a run is, and how much of the machine it uses."""

from __future__ import annotations

import math

from trm_sdk.model.cost import work

from . import cost, machine
from .run import Run


class Meter:
    """Throughput, and the share of the machine's matrix-product peak that it stands for.

    The peak is measured when made, on the device and in the precision of the run, with the number
    of threads that it has; work is counted by `cost`. Steps that compile are left out.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        device = next(run.model.parameters()).device
        self.peak = machine.matmul_peak(device, run.supervision.dtype, 0.1) * run.world.size
        self.one = work(run.model.config)
        self.skip = 3
        self.puzzle_steps = self.work = 0.0
        self.since = self.elapsed = 0.0

    def count(self, elapsed: float) -> None:
        """Note that a step has ended at this time."""
        self.elapsed = elapsed
        if self.skip:
            self.skip -= 1
            self.since = elapsed
            return
        recipe, supervision = self.run.recipe, self.run.supervision
        objective = recipe.objective
        history = 0.0
        if objective.scheme == "last-step":  # on average: the draws are not kept
            history = (objective.min_steps + self.run.carry.max_steps) / 2 - objective.grad_steps
        depth = (supervision.H_cycles, supervision.L_cycles)
        carry = self.run.carry
        cells = math.prod(carry.shape) / carry.config.seq_len
        self.work += cells * cost.optimiser_step(recipe, self.one, depth, history)
        self.puzzle_steps += recipe.batch_size * (objective.grad_steps + history)

    def pause(self, elapsed: float) -> None:
        """Begin anew: what was done up to this time was no training."""
        self.since = self.elapsed = elapsed
        self.puzzle_steps = self.work = 0.0

    @property
    def rate(self) -> float:
        """Supervision steps a second, counted a puzzle."""
        return self.puzzle_steps / (self.elapsed - self.since) if self.puzzle_steps else math.nan

    @property
    def utilisation(self) -> float:
        """Model FLOPs over the measured peak, 0..1."""
        return self.work / (self.elapsed - self.since) / self.peak if self.work else math.nan

    def figures(self) -> dict[str, float]:
        """Return both for the log; nothing before a step has been timed."""
        if not self.puzzle_steps:
            return {}
        return {
            "puzzle_steps_per_second": round(self.rate, 1),
            "utilisation": round(self.utilisation, 4),
        }
