"""Small tasks to adapt to, made by a rule that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trm_sdk.grid import Grid
from trm_sdk.task import Task

Cells = np.ndarray[Any, Any]


def made(
    rule: Callable[[Cells], Cells],
    shapes: tuple[tuple[int, int], ...] = ((4, 4), (3, 5), (4, 3)),
    colours: tuple[int, ...] = (0, 1, 2),
    tests: int = 1,
    seed: int = 0,
) -> Task:
    """Return a task whose outputs are a rule applied to random grids."""
    rng = np.random.default_rng(seed)
    grids = [rng.choice(colours, shape) for shape in (*shapes, *((4, 5),) * tests)]
    pairs = [(Grid(cells), Grid(rule(cells))) for cells in grids]
    return Task(
        tuple(before for before, _ in pairs[len(shapes) :]),
        tuple(pairs[: len(shapes)]),
        tuple(after for _, after in pairs[len(shapes) :]),
        name="made",
    )


def recoloured(cells: Cells) -> Cells:
    """Colour 1 becomes 3."""
    return np.where(cells == 1, 3, cells)


RECOLOUR = made(recoloured)
