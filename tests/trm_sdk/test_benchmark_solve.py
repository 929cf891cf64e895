"""The benchmark of ways to solve runs, keeps what it has, and fills in a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from PIL import Image

from benchmarks import solve, solve_report
from benchmarks.curve import WAYS, Way, curve
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.solver import Solver
from trm_sdk.task import Task


def run(model: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    out, figure = folder / "solve.json", folder / "solve.png"
    common = ["--puzzles", "6", "--hard", "4", "--steps", "4", "--threads", "1"]
    files = ["--out", str(out), "--figure", str(figure)]
    done = CliRunner().invoke(solve.main, [str(model), *common, *files, *arguments])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return result


def test_parts_are_measured_and_kept(model_folder: Path, tmp_path: Path) -> None:
    first = run(
        model_folder, tmp_path,
        "--part", "ways", "--part", "failures", "--least", "3", "--most", "100",
    )  # fmt: skip
    rows = first["sets"]["minimal"]
    yardstick, *others = rows.values()
    assert len(others) == 6
    for row in rows.values():
        assert row["puzzles"] == 6
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    # Checking the rules at every step loses nothing that the last step has.
    assert rows["ONNX step"]["exact"] >= yardstick["exact"]
    assert rows["Solver defaults (ONNX)"]["exact"] >= rows["ONNX step"]["exact"]
    assert first["bytes"]["ONNX step, int8w, int8, int4"] < first["bytes"]["ONNX step"]
    failed = first["failures"]
    assert failed["failures"] >= 3 or failed["puzzles"] == 100
    assert failed["one attempt"]["solved"] <= failed["16 attempts"]["solved"] <= failed["failures"]

    second = run(model_folder, tmp_path, "--part", "overhead", "--part", "curve")
    assert second["sets"] == first["sets"]
    assert second["overhead"]["steps"] == 400
    for explore in ("none", "noise", "symmetry", "guess"):
        points = [point for point in second["curve"]["minimal"] if point["explore"] == explore]
        assert np.all(np.diff([point["exact"] for point in points]) >= 0)
        assert np.all(np.diff([point["mean_steps"] for point in points]) >= 0)
    with Image.open(tmp_path / "solve.png") as figure:
        assert len(np.unique(np.asarray(figure).reshape(-1, 4), axis=0)) > 20
    table = (tmp_path / "solve.md").read_text("utf-8")
    assert "| ONNX step, int8w, int8, int4 |" in table
    assert "| plain | 256 |" in table

    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- solve -->\nof last year\n<!-- end solve -->\nafter\n", "utf-8")
    arguments = [str(tmp_path / "solve.json"), "--page", str(page)]
    arguments += ["--figure", str(tmp_path / "again.png")]
    for _ in range(2):  # and once more changes nothing
        done = CliRunner().invoke(solve_report.main, arguments)
        assert done.exit_code == 0, done.output
        text = page.read_text("utf-8")
        assert text.startswith("before\n<!-- solve -->\n| | minimal | file |")
        assert text.endswith("\n<!-- end solve -->\nafter\n")
        assert "of last year" not in text
        assert "](solve.png)" in text
    page.write_text("nothing", "utf-8")
    done = CliRunner().invoke(solve_report.main, arguments)
    assert done.exit_code == 2
    assert "to write between" in done.output


def test_a_curve_is_what_single_budgets_give(
    model_folder: Path, puzzles: tuple[list[str], list[str]]
) -> None:
    """Points of the curve come from one long run; shorter runs of their own agree."""
    runtime = OnnxRuntime(model_folder / "model.onnx", "cpu", 1)
    own = runtime.spec.solve.model_copy(update={"noise": 0.4})
    runtime.spec = runtime.spec.model_copy(update={"solve": own})
    solver = Solver(runtime)
    parse = solver.domain.parse
    tasks = [
        Task(parse(puzzle).inputs, answers=parse(answer).inputs)
        for puzzle, answer in zip(puzzles[0][:60], puzzles[1][:60], strict=True)
    ]
    # One step an attempt, so that some puzzles need several.
    ways = [Way(way.explore, "", "", 1, (1, 2, 5, 8)) for way in WAYS]
    points = curve(solver, tasks, 8, [ways[0]._replace(steps=16), *ways[1:]])
    assert len(points) == 16
    assert len({point["exact"] for point in points}) >= 4
    for point in points:
        update = {key: point[key] for key in ("explore", "max_steps", "attempts")}
        options = own.model_copy(update=update)
        if options.attempts == 1:
            options = options.model_copy(update={"explore": "none"})
        solutions = list(solver.solve_many(iter(tasks), options))
        assert np.mean([bool(one.correct) for one in solutions]) == point["exact"]
        if point["attempts"] == 1:
            assert np.mean([one.steps for one in solutions]) == point["mean_steps"]
