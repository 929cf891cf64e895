"""``python -m benchmarks.arc_pictures`` draws the tasks of each outcome, unchosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("PIL")
from PIL import Image

from benchmarks.arc import in_order
from benchmarks.arc_pictures import main, outcome
from trm_sdk.domains.arc import read_tasks

PAIRS = [{"input": [[1, 0], [0, 1]], "output": [[2, 0], [0, 2]]}]
GREEN = (0x2E, 0xCC, 0x40)


def line(name: str, solved: bool, fitted: bool) -> dict[str, object]:
    right = {str(share): [[solved, solved]] for share in (0.125, 0.25, 0.5, 1.0)}
    return {"task": name, "expressible": True, "solved": right, "fitted": fitted}


def test_a_task_has_one_of_three_outcomes() -> None:
    assert outcome(line("a", True, True)) == outcome(line("a", True, False)) == 0
    assert outcome(line("a", False, True)) == 1
    assert outcome(line("a", False, False)) == 2


def test_the_first_tasks_of_each_outcome_are_drawn(tmp_path: Path) -> None:
    names = [f"{number:02}" for number in range(9)]
    tasks = {name: {"train": PAIRS, "test": [{"input": [[1, 1]]}]} for name in names}
    answers = {name: [[[2, 2]]] for name in names}
    path = tmp_path / "arc-agi_training_challenges.json"
    path.write_text(json.dumps(tasks))
    solutions = tmp_path / "arc-agi_training_solutions.json"
    solutions.write_text(json.dumps(answers))
    order = [task.name for task in in_order(read_tasks(path))]
    # The second task in order, and it alone, has a green answer.
    answers[order[1]] = [[[3, 3]]]
    solutions.write_text(json.dumps(answers))
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(line(name, True, True)) + "\n" for name in order))
    arguments = ["--data", tmp_path, "--split", "training", "--lines", lines]

    def greens(count: int) -> int:
        output = tmp_path / f"{count}.png"
        done = CliRunner().invoke(
            main, [str(one) for one in (*arguments, "--tasks", count, "-o", output)]
        )
        assert done.exit_code == 0, done.output
        assert "9 solved in two attempts, 0 demonstrations reproduced" in done.output
        return int((np.array(Image.open(output).convert("RGB")) == GREEN).all(-1).sum())

    assert greens(1) == 0
    assert greens(2) > 100
