"""Accuracy against compute: longer plain attempts, and more attempts of every kind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trm_sdk import SolveOptions, Solver, Task
from trm_sdk.model.config import DEAD_END


class Way(NamedTuple):
    """One way of spending compute.

    Attributes
    ----------
    explore : str
        As in `SolveOptions`.
    label, style : str
        For figures.
    steps : int
        Most steps of an attempt. Those of a tree that go on from others take as many as the model's
        defaults say.
    sizes : tuple of int
        Of each point: steps for the plain attempt, attempts for the others.
    """

    explore: str
    label: str
    style: str
    steps: int
    sizes: tuple[int, ...]


WAYS = (
    Way("none", "one attempt, up to 256 steps", "o-", 256, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    Way("noise", "attempts with noise, 64 steps each", "s--", 64, (1, 2, 4, 8, 16, 32)),
    Way("symmetry", "attempts under symmetries, 64 steps each", "x:", 64, (1, 8)),
    Way("guess", "attempts with a guess, 16 steps each", "^-", 16, (1, 4, 8, 16, 32, 64, 128)),
    Way("tree", "a tree of guesses", "v-", 16, (1, 4, 8, 16, 32, 64, 128)),
)


def curve(
    solver: Solver, tasks: Sequence[Task], batch_size: int, ways: Sequence[Way] = WAYS
) -> list[dict[str, Any]]:
    """Return the points of every way, in order.

    A search stops at the first step that the rules confirm, and here attempts follow one another:
    so one run of the longest says what every shorter one would have done. The milliseconds of a
    point are its steps at the time a step took in that run.
    """
    points: list[dict[str, Any]] = []
    for way in ways:
        if way.explore == "tree" and DEAD_END not in solver.runtime.heads:
            continue
        plain = way.explore == "none"
        update: dict[str, Any] = {
            "explore": way.explore,
            "max_steps": way.steps,
            "later_steps": solver.options.later_steps if way.explore == "tree" else None,
            "attempts": 1 if plain else way.sizes[-1],
            "patience": None,
            "width": None if way.explore == "tree" else 1,  # a tree's attempts depend on it
        }
        options = SolveOptions(**solver.options.model_copy(update=update).model_dump())
        start = time.perf_counter()
        solutions = list(solver.solve_many(iter(tasks), options, batch_size=batch_size))
        seconds = time.perf_counter() - start
        right = np.array([bool(one.correct) for one in solutions])
        steps = np.array([one.steps for one in solutions])
        cost = steps if plain else np.array([one.attempts for one in solutions])
        for size in way.sizes:
            solved = right & (cost <= size)
            most = size if plain else way.steps + (size - 1) * options.steps_of(1)
            spent = np.where(solved, steps, most)
            points.append(
                {
                    "explore": way.explore,
                    "noise": options.noise if way.explore == "noise" else 0.0,
                    "max_steps": size if plain else way.steps,
                    "later_steps": options.later_steps,
                    "attempts": 1 if plain else size,
                    "puzzles": len(tasks),
                    "exact": float(solved.mean()),
                    "mean_steps": float(spent.mean()),
                    "ms": float(1000 * seconds * spent.mean() / steps.mean() / len(tasks)),
                }
            )
    return points
