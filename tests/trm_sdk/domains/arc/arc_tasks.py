"""Small tasks of our own in ARC's forms, and the 800 of ARC-AGI-1 where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trm_sdk.domains.arc.tasks import read_tasks, task_of
from trm_sdk.grid import Grid
from trm_sdk.task import Task

FOLDER = Path(__file__).parents[4] / ".." / "shared" / "data" / "arc"
SUBSETS = ("training", "evaluation")


def shared(subset: str) -> list[Task]:
    """All tasks of ARC-AGI-1's training or evaluation set; the test is skipped without them."""
    path = FOLDER / f"arc-agi_{subset}_challenges.json"
    if not path.exists():
        pytest.skip("needs ../shared/data/arc beside the checkout")
    return read_tasks(path)


def grid(rows: int, columns: int, seed: int, colours: int = 10) -> list[list[int]]:
    """A grid of random colours."""
    cells: list[list[int]] = (
        np.random.default_rng(seed).integers(0, colours, (rows, columns)).tolist()
    )
    return cells


def _pair(before: list[list[int]], after: list[list[int]]) -> dict[str, Any]:
    return {"input": before, "output": after}


def _mirrored(rows: int, columns: int, seed: int) -> dict[str, Any]:
    cells = grid(rows, columns, seed)
    return _pair(cells, [row[::-1] for row in cells])


def _counted(rows: int, columns: int, seed: int) -> dict[str, Any]:
    cells = grid(rows, columns, seed, 3)
    return _pair(cells, [[sum(row.count(c) for row in cells) % 10 for c in (1, 2)]])


#: In the order of keys of Kaggle's files: test before train.
TRAINING: dict[str, Any] = {
    "aa000001": {
        "test": [_mirrored(3, 5, 1)],
        "train": [_mirrored(2, 2, 2), _mirrored(4, 3, 3), _mirrored(1, 6, 4)],
    },
    "aa000002": {
        "test": [_counted(7, 7, 5), _counted(30, 30, 6)],
        "train": [_counted(30, 12, 7), _counted(5, 30, 8)],
    },
    # One colour on squares of odd size: nine different augmentations, whatever is drawn.
    "aa000003": {
        "test": [_pair([[0, 0, 0], [0, 4, 0], [0, 0, 0]], [[4]])],
        "train": [_pair([[4, 4], [4, 4]], [[0]]), _pair([[4]], [[4, 4], [4, 4]])],
    },
}
EVALUATION: dict[str, Any] = {
    "ee000001": {
        "test": [_mirrored(6, 4, 11)],
        "train": [_mirrored(3, 3, 12), _mirrored(2, 7, 13)],
    },
    "ee000002": {
        "test": [_counted(9, 2, 14), _counted(2, 9, 15)],
        "train": [_counted(4, 4, 16), _counted(8, 3, 17), _counted(10, 10, 18)],
    },
}


def tasks(data: dict[str, Any]) -> list[Task]:
    """Tasks of a combined file."""
    return [task_of(one, name) for name, one in data.items()]


def write(path: Path, data: Any) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def grids_of(task: Task) -> list[Grid]:
    """Every grid of a task."""
    return [*task.inputs, *(task.answers or ()), *(g for pair in task.demonstrations for g in pair)]
