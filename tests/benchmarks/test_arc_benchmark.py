"""``python -m benchmarks.arc`` counts what it should, and goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("numba")
from benchmarks.arc import (
    REVISIONS,
    in_order,
    is_current,
    is_like,
    is_solved,
    main,
    read_lines,
    summary,
)
from trm_sdk.domains import get_domain
from trm_sdk.domains.arc import read_tasks
from trm_sdk.task import Task

PAIRS = [
    {"input": [[1, 0], [0, 1]], "output": [[2, 0], [0, 2]]},
    {"input": [[0, 1], [1, 1]], "output": [[0, 2], [2, 2]]},
]
UNEVEN = [{"input": [[1, 0]], "output": [[1]]}, {"input": [[1, 0]], "output": [[1], [0]]}]
TASKS = {name: {"train": PAIRS, "test": [{"input": [[1, 1]]}]} for name in "abc"}
TASKS["d"] = {"train": UNEVEN, "test": [{"input": [[1, 1]]}]}
ANSWERS = {name: [[[2, 2]]] for name in TASKS}


def line(name: str, solved: list[list[bool]], fitted: bool, nodes: int = 300) -> dict[str, Any]:
    return {
        "task": name,
        "inputs": len(solved),
        "kind": "same",
        "view": "same",
        "expressible": True,
        "nodes": nodes,
        "solved": {str(share): solved for share in (0.125, 0.25, 0.5, 1.0)},
        "ever": True,
        "fitted": fitted,
        "steps": 10,
        "wall": 2.0,
        "cpu": 1.0,
    }


def test_a_task_is_solved_when_all_of_its_inputs_are() -> None:
    half = line("a", [[True, True], [False, True]], True)
    none = {"task": "d", "inputs": 1, "kind": "none", "expressible": False}
    assert not is_solved(half, 1)
    assert is_solved(half, 2)
    found = summary([half, line("b", [[False, False]], False, 9000), none], 8)
    assert (found["tasks"], found["expressible"]) == (3, 2)
    assert found["pass@1"] == 0
    assert found["pass@2"] == pytest.approx(1 / 3)
    assert found["fitted"] == {
        "True": {"tasks": 1, "pass@2": 1},
        "False": {"tasks": 1, "pass@2": 0},
    }
    assert {name: one["tasks"] for name, one in found["by nodes"].items()} == {
        "none": 1,
        "over 8000": 1,
        "up to  500": 1,
    }
    assert list(found["curve"]) == ["1", "2", "4", "8"]


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    (tmp_path / "arc-agi_training_challenges.json").write_text(json.dumps(TASKS))
    (tmp_path / "arc-agi_training_solutions.json").write_text(json.dumps(ANSWERS))
    lines = tmp_path / "lines.jsonl"
    given = ["--data", str(tmp_path), "--seconds", "0.3", "--lines", str(lines)]
    stopped = CliRunner().invoke(main, [*given, "--tasks", "2"])
    assert stopped.exit_code == 0, stopped.output
    assert len(lines.read_text().splitlines()) == 2
    again = CliRunner().invoke(main, given)
    assert again.exit_code == 2
    assert "--resume" in again.output
    with lines.open("a") as file:
        file.write('{"task": "cut o')
    kept = lines.read_text().splitlines()[:2]
    done = CliRunner().invoke(main, [*given, "--resume"])
    assert done.exit_code == 0, done.output
    assert "4 tasks, 3 with a size rule" in done.output
    assert lines.read_text().splitlines()[:2] == kept
    read = read_tasks(tmp_path / "arc-agi_training_challenges.json")
    order = [task.name for task in in_order(read)]
    assert {json.loads(one)["task"] for one in kept} == set(order[:2])
    assert sorted(one["task"] for one in read_lines(lines)) == sorted(TASKS)
    for one in read_lines(lines):
        if one["expressible"]:
            right = [
                number == 0 for *_, given in one["votes"] for depth in given for number in depth
            ]
            assert len(right) == 2 * len(one["votes"])
            assert any(right) == one["ever"]


def test_lines_of_before_a_view_changed_are_not_taken() -> None:
    assert is_current({"view": "same"})
    assert is_current({"view": "same", "revision": 1})
    assert not is_current({"view": "zoom"})
    assert is_current({"view": "zoom", "revision": REVISIONS["zoom"]})
    assert is_current({"kind": "none"})  # without a size rule


def test_tasks_of_one_view_and_size_can_be_asked_for() -> None:
    def task(pairs: list[dict[str, Any]]) -> Task:
        return get_domain("arc").parse({"train": pairs, "test": [{"input": [[1, 1]]}]})

    same = task(PAIRS)  # twice four cells of three colours
    assert is_like(same, "same", 24)
    assert is_like(same, None, 24)
    assert not is_like(same, "same", 23)
    assert not is_like(same, "zoom", None)
    assert is_like(task([{"input": [[1]], "output": [[1, 1]]}]), "zoom", None)
    assert not is_like(task(UNEVEN), None, 10_000)
