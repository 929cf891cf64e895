"""Learn one task: runs from new initial weights until the budget is spent, and their snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter, process_time

import numpy as np

from trm_sdk.adapt import kernels
from trm_sdk.adapt.network import PAIR, RELATIONS, Float32, Network, Sizes, Weights, Workspace
from trm_sdk.adapt.nodes import Batch, Coding, units
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.threads import one_thread
from trm_sdk.domains.symmetry import Turn
from trm_sdk.task import Task

#: Share of a run's budget at the end in which the rate falls, and what it falls to.
_FALLING, _LOWEST = 0.4, 0.1
_WARM_UP = 20
#: Steps of a run in all orientations, as a multiple of those that the run before it took.
_PATIENCE = 2
#: Nodes of all demonstrations that are learned in eight orientations, at most (3 KB each, times 8).
_MOST_TURNED = 4000
#: Orientations in which a run that learns all is judged: upright, a quarter turn, transposed.
_JUDGED = (0, 1, 5)
#: Norm that a gradient is clipped to.
_CLIP = 1.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The weights at one time of a run.

    Attributes
    ----------
    run : int
        From 0.
    steps : int
        Optimiser steps, over all runs.
    seconds : float
        Since the beginning of the first run.
    progress : float
        Share of the run's budget that was spent, 0..1.
    weights : Weights
        Moving average.
    accuracy : tuple of float
        Share of the demonstrations reproduced exactly, read out after each of the options' depths.
    loss : float
        Mean loss of the steps since the snapshot before.
    """

    run: int
    steps: int
    seconds: float
    progress: float
    weights: Weights
    accuracy: tuple[float, ...]
    loss: float


class Budget:
    """What is left to learn in: time, or steps where the options name them."""

    def __init__(self, options: AdaptOptions) -> None:
        self.options = options
        self.steps = 0
        self._clock = process_time if options.clock == "cpu" else perf_counter
        self._started = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._started

    @property
    def spent(self) -> float:
        """Share of the budget that is spent; 1 or more at its end."""
        if self.options.steps is not None:
            return self.steps / self.options.steps
        return self.seconds / self.options.seconds


def learn(
    coding: Coding,
    task: Task,
    options: AdaptOptions,
    notify: Callable[[Snapshot], None] | None = None,
) -> list[Snapshot]:
    """Train networks on the demonstrations of a task until the budget is spent.

    A run goes on until `AdaptOptions.settled` snapshots in a row reproduce all demonstrations; then
    the next one starts from other weights. With `AdaptOptions.turns` every second run learns the
    demonstrations in all eight orientations: where the task has no direction that is eight times as
    much to go by, and where it has one the run reproduces little, and has few votes. Test inputs
    are not looked at, but for the colours that they have.

    Parameters
    ----------
    coding : Coding
    task : Task
    options : AdaptOptions
    notify : callable, optional
        Called with every snapshot.

    Returns
    -------
    list of Snapshot
        At least one, in order.
    """
    _compile()
    found: list[Snapshot] = []
    with one_thread():
        budget = Budget(options)
        number, plain = 0, 0
        while number == 0 or budget.spent < 1:
            turned = number % 2 == 1 and options.turns and can_turn(coding, task)
            run = Run(coding, task, options, budget, number, turned)
            # Where a task has a direction a turned run would never settle.
            limit = _PATIENCE * plain if turned else None
            for snapshot in run.snapshots(limit):
                found.append(snapshot)
                if notify is not None:
                    notify(snapshot)
            plain = plain if turned else run.steps
            number += 1
    return found


def can_turn(coding: Coding, task: Task) -> bool:
    """Return whether the demonstrations can be learned in all orientations, in little memory."""
    rows = [len(coding.colours_of(a)) * a.cells.size for a, _ in task.demonstrations]
    return coding.view.kind == "same" and sum(rows) <= _MOST_TURNED


def turned(task: Task, number: int) -> Task:
    """Return the demonstrations in one of the eight orientations; 0 leaves them alone."""
    turn = Turn(number)
    pairs = [(turn.apply(before), turn.apply(after)) for before, after in task.demonstrations]
    return Task(task.inputs, tuple(pairs))


class Run:
    """One network, from its initial weights until it has settled or the budget is spent."""

    def __init__(
        self,
        coding: Coding,
        task: Task,
        options: AdaptOptions,
        budget: Budget,
        number: int,
        turns: bool = False,
    ) -> None:
        self.options, self.budget, self.number = options, budget, number
        self._rng = np.random.Generator(np.random.Philox([options.seed, number]))
        sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
        self.weights = Weights.initial(sizes, self._rng, coding.copying())
        self.averaged = self.weights.copy()
        self._first, self._second = np.zeros_like(self.weights.flat), self.averaged.flat * 0
        self.network = Network(self.weights)
        order = self._rng.permutation(len(task.demonstrations)).tolist()
        several = {
            turn: [
                _Unit(batch, self.network)
                for batch in units(coding, turned(task, turn), options.unit, order)
            ]
            for turn in (range(8) if turns else (0,))
        }
        self._units = [unit for ones in several.values() for unit in ones]
        # Some orientations are enough to see whether all are learned.
        self._judged = [unit for turn in _JUDGED for unit in several.get(turn, ())]
        self._from = budget.spent
        self.steps = 0
        self._losses: list[float] = []

    @property
    def progress(self) -> float:
        """Share of the run's budget that is spent, 0..1."""
        left = max(1e-9, 1 - self._from)
        return min(1.0, max(0.0, (self.budget.spent - self._from) / left))

    def snapshots(self, limit: int | None = None) -> Iterator[Snapshot]:
        """Train, for at most so many steps, and yield snapshots on the way."""
        settled, taken, mark = 0, 0, self._from
        while settled < self.options.settled and (limit is None or self.steps < limit):
            self.step()
            taken += 1
            spent = self.budget.spent
            due = spent - mark >= 1 / self.options.snapshots
            if not (due or taken >= self.options.snapshot_steps or spent >= 1):
                continue
            taken, mark = 0, spent
            snapshot = self.snapshot()
            yield snapshot
            settled = settled + 1 if min(snapshot.accuracy) == 1 else 0
            if spent >= 1:
                return

    def step(self) -> None:
        """Take one optimiser step on one unit, drawn at random."""
        options, rng = self.options, self._rng
        unit = self._units[int(rng.integers(len(self._units)))]
        if unit.left == 0:
            unit.restart(self.network, int(rng.integers(1, options.max_age + 1)))
        kept = rng.random(len(RELATIONS)) >= options.relation_dropout
        self.network.prepare(dict(zip(RELATIONS, kept.tolist(), strict=True)))
        loss, _ = self.network.learn(unit.batch, unit.work, unit.y, unit.z, unit.is_new)
        unit.left -= 1
        unit.is_new = False
        self._update()
        self._losses.append(loss)

    def _update(self) -> None:
        options = self.options
        self.steps += 1
        self.budget.steps += 1
        rate = options.learning_rate * min(1.0, self.steps / _WARM_UP)
        rate *= min(1.0, max(_LOWEST, (1 - self.progress) / _FALLING))
        kernels.adam(
            self.weights.flat,
            self.network.gradient.flat,
            self._first,
            self._second,
            self.averaged.flat,
            self.steps,
            rate,
            options.weight_decay,
            _CLIP,
            min(options.average, self.steps / (self.steps + 5)),
        )
        if options.lasso:
            _shrink(self.weights["colours"], rate * options.lasso)
            _shrink(self.weights["pairs"].reshape(-1, PAIR), rate * options.lasso)

    def snapshot(self) -> Snapshot:
        """Return the averaged weights, and how many demonstrations they reproduce."""
        depths = self.options.depths
        weights = self.averaged.copy()
        network = Network(weights)
        right: list[list[bool]] = [[] for _ in depths]
        for unit in self._judged:
            for place, logits in enumerate(network.run(unit.batch, unit.work, depths)):
                right[place] += unit.batch.right(logits).tolist()
        accuracy = tuple(float(np.mean(one)) for one in right)
        loss = float(np.mean(self._losses)) if self._losses else float("nan")
        self._losses.clear()
        return Snapshot(
            self.number,
            self.budget.steps,
            self.budget.seconds,
            self.progress,
            weights,
            accuracy,
            loss,
        )


class _Unit:
    """Some demonstrations that are learned together, and the state that they are in."""

    def __init__(self, batch: Batch, network: Network) -> None:
        self.batch = batch
        self.work = Workspace(batch, network.inner + 1)
        self.left = 0
        self.is_new = True
        self.y: Float32
        self.z: Float32

    def restart(self, network: Network, steps: int) -> None:
        """Begin anew, for so many steps."""
        self.y, self.z = network.start(self.batch)
        self.left, self.is_new = steps, True


def _shrink(rows: Float32, by: float) -> None:
    """Draw each row towards zero by so much, but not beyond (proximal step of the group lasso)."""
    norms = np.sqrt((rows * rows).sum(-1, keepdims=True))
    rows *= np.maximum(0, 1 - np.float32(by) / (norms + np.float32(1e-8)))


def _compile() -> None:
    """Compile the kernels, or load them from disk, before the clock runs."""
    from trm_sdk.grid import Grid

    grid = Grid([[0, 1]])
    task = Task((grid,), ((grid, grid),))
    options = AdaptOptions(steps=1, seconds=1)
    run = Run(Coding(task), task, options, Budget(options), 0)
    run.step()
    run.snapshot()


__all__ = ["Budget", "Run", "Snapshot", "learn"]
