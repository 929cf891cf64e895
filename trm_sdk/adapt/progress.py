"""How far learning a task has come: as data, and as a bar on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trm_sdk.adapt.options import AdaptOptions
    from trm_sdk.adapt.training import Snapshot


@dataclass(frozen=True)
class Progress:
    """How far learning a task has come.

    Attributes
    ----------
    spent : float
        Share of the budget, 0..1.
    seconds : float
    steps : int
        Optimiser steps, over all runs.
    runs : int
        Begun so far.
    accuracy : float
        Share of the demonstrations that the network reproduces now.
    best : float
        The highest such share so far.
    loss : float
        Mean over the latest steps.
    """

    spent: float
    seconds: float
    steps: int
    runs: int
    accuracy: float
    best: float
    loss: float


class Reporter:
    """Turns the snapshots of training into a `Progress` each, for one listener.

    Parameters
    ----------
    options : AdaptOptions
        Give the budget that `Progress.spent` is a share of.
    listener : callable
        Called with each `Progress`.
    """

    def __init__(self, options: AdaptOptions, listener: Callable[[Progress], None]) -> None:
        self._options = options
        self._listener = listener
        self._best = 0.0

    def __call__(self, one: Snapshot) -> None:
        steps, seconds = self._options.steps, self._options.seconds
        spent = one.seconds / seconds if steps is None else one.steps / steps
        accuracy = max(one.accuracy)
        self._best = max(self._best, accuracy)
        self._listener(
            Progress(
                spent=min(1.0, spent),
                seconds=one.seconds,
                steps=one.steps,
                runs=one.run + 1,
                accuracy=accuracy,
                best=self._best,
                loss=one.loss,
            )
        )


@contextmanager
def learning_bar() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on standard error, and give the function that moves it."""
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(
        progress.TextColumn("learning"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
    )
    shown = bar.add_task("learning", total=1.0, state="")

    def show(now: Progress) -> None:
        state = f"run {now.runs}, {now.steps} steps, {now.best:.0%} of the demonstrations"
        bar.update(shown, completed=now.spent, state=state)

    with bar:
        yield show


__all__ = ["Progress", "Reporter", "learning_bar"]
