"""``python -m benchmarks.accuracy`` measures any bundled model on the sets of its own puzzles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("numba")
from benchmarks import accuracy, card, maze_sets, suites
from trm_sdk import Grid, Solver, Task, list_pretrained
from trm_sdk.domains import get_domain


@pytest.fixture(scope="module")
def solver() -> Solver:
    return bundled("maze")


def bundled(name: str) -> Solver:
    if name not in list_pretrained():
        pytest.skip(f"the bundled model {name!r} is not in this tree")
    return Solver.from_pretrained(name, runtime="onnx", threads=1)


def run(model: str, out: Path, *arguments: str) -> dict[str, Any]:
    common = ["--threads", "1", "--timed", "1", "--curve-puzzles", "2", "--out", str(out)]
    done = CliRunner().invoke(accuracy.main, [model, *common, *arguments])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return result


def test_mazes_are_measured_kept_and_put_on_a_card(
    solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (
        ("perfect 9", 4, {"rows": 9, "kinds": {"dfs": 1}}),
        ("walls 11", 3, {"rows": 11, "kinds": {"walls": 1}}),
    )
    monkeypatch.setattr(maze_sets, "SETS", small)
    out = tmp_path / "accuracy.json"
    first = run("maze", out, "--only", "perfect")
    assert list(first["sets"]) == ["perfect 9"]
    row, details = first["sets"]["perfect 9"], first["details"]["perfect 9"]
    assert (row["puzzles"], row["exact"], row["verified"], row["false_verified"]) == (4, 1, 1, 0)
    assert details["one_attempt"] == 1
    assert details["label"]["128"] == 1, "a perfect maze has one path"
    assert 0 < details["steps_p50"] <= details["steps_max"] <= details["steps_allowed"]
    assert details["search_us"] > 0
    assert details["failures"] == []

    marked = json.loads(out.read_text("utf-8"))
    marked["sets"]["perfect 9"]["mean_steps"] = -1.0
    out.write_text(json.dumps(marked), "utf-8")
    both = run("maze", out, "--resume")
    assert both["sets"]["perfect 9"]["mean_steps"] == -1, "measured again"
    assert set(both["sets"]) == set(both["details"]) == set(both["latency"])
    again = run("maze", out, "--part", "sets")
    assert again["sets"]["perfect 9"]["mean_steps"] > 0
    assert again["details"] == both["details"]

    points = {(p["set"], p["explore"], p["max_steps"]): p["exact"] for p in both["curve"]}
    assert len(points) == 2 * 2 * len(maze_sets.CURVE)
    found = [points["perfect 9", "none", steps] for steps in maze_sets.CURVE]
    assert found == sorted(found)
    assert found[-1] == 1
    suite = suites.suite_of(solver)
    text = card.tables(both, suite)
    assert "| perfect 9 | 4 | 100.0% | 0 |" in text
    assert "(or 0.25 a cell, where that is more)" in text
    card.draw_curve(both["curve"], suite, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_attempts_are_those_of_the_solver(solver: Solver) -> None:
    """Steps to the first path by the marks: never fewer than with the walk, mostly as many."""
    tasks = suites.tasks_of(solver, solver.domain.examples(12, 3, {"rows": 13}))
    one = maze_sets.attempt(solver, tasks, 64)
    steps = np.array([solver.solve(task).steps for task in tasks])
    assert (one.first >= steps).all()
    assert (one.first == steps).any()
    single = [maze_sets.attempt(solver, [task], 64).first[0] for task in tasks]
    assert (one.first == single).all()
    grid, certainty = maze_sets.marks(solver, tasks[0], int(one.first[0]))
    assert solver.domain.verify(tasks[0], grid)
    assert certainty.shape == (13, 13)
    grid, _ = maze_sets.marks(solver, tasks[0], 1)
    assert not solver.domain.verify(tasks[0], grid)


def test_a_maze_that_the_marks_do_not_solve_is_drawn(solver: Solver) -> None:
    suite = suites.suite_of(solver)
    line = solver.domain.to_line(solver.domain.parse("S #\n#  \n##G").grid)
    result = {"details": {"open 3": {"failures": [line] * 4, "steps_allowed": 2}}}
    pictures = suite.failures(result)
    assert len(pictures) == 3
    image, title = pictures[0]
    assert image.size[0] > 50
    assert title.startswith("open 3: marks after 2 steps")
    assert suite.failures({"details": {}}) == []


def test_shortest_is_checked_without_the_rules_of_the_domain() -> None:
    domain, rng = get_domain("maze"), np.random.default_rng(0)
    made = domain.examples(30, 11, {"rows": 9})
    verdicts = []
    for tokens, answer in zip(made.tokens, made.answers, strict=True):
        task = Task((domain.decode(tokens, made.shape),))
        right = domain.decode(answer, made.shape)
        other = right.cells.copy()
        cells = rng.choice(np.flatnonzero(np.isin(other, (1, 4))), 2)
        other.flat[cells] = np.where(other.flat[cells] == 4, 1, 4)
        for grid in (right, Grid(other), task.grid):
            verdict = maze_sets.shortest(task, grid)
            assert verdict == domain.verify(task, grid)
            verdicts.append(verdict)
    assert 30 <= sum(verdicts) < 60


def test_sudoku_and_puzzles_without_a_suite_are_measured_too(tmp_path: Path) -> None:
    bundled("sudoku-4x4")
    found = run("sudoku-4x4", tmp_path / "a.json", "--share", "0.01", "--part", "sets")
    assert list(found["sets"]) == ["minimal"]
    assert found["sets"]["minimal"]["puzzles"] == 20
    general = suites.Suite(bundled("sudoku-4x4"))
    sets = general.sets(None, 0.05)
    assert {name: len(tasks) for name, tasks in sets.items()} == {"generated": 10}
    row = accuracy.measure(general, sets["generated"], None, 4)
    assert row["exact"] == row["verified"] == 1
