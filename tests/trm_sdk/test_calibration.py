"""The reliability curve of a halting head, and what is read off it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from search_doubles import Lawless

from trm_sdk.calibration import Reliability, reliability
from trm_sdk.cli import main
from trm_sdk.domains.text import read_numbers
from trm_sdk.errors import InvalidInputError
from trm_sdk.options import SolveOptions
from trm_sdk.solver import Solver
from trm_sdk.task import Task

Puzzles = tuple[list[str], list[str]]


def test_a_head_that_tells_the_truth_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random((5000, 8))
    found = Reliability(confidence, rng.random((5000, 8)) < confidence)
    assert found.error < 0.02
    for mean, share, count in found.curve():
        assert share == pytest.approx(mean, abs=0.03)
        assert count > 3000
    boast = Reliability(np.full((100, 2), 0.95), np.zeros((100, 2), bool))
    assert boast.curve() == [(pytest.approx(0.95), 0.0, 200)]
    assert boast.error == pytest.approx(0.95)


def test_thresholds_trade_steps_for_accuracy() -> None:
    # Puzzle 0 is right from step 2 on, puzzle 1 from step 1 on, puzzle 2 only at step 3.
    correct = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 1]], bool)
    confidence = np.array([[0.2, 0.8, 0.9], [0.7, 0.9, 0.9], [0.1, 0.5, 0.6]])
    found = Reliability(confidence, correct)
    assert found.halted(1.0) == (1.0, 3.0)
    assert found.halted(0.0) == (pytest.approx(1 / 3), 1.0)
    assert found.halted(0.65) == (1.0, pytest.approx((2 + 1 + 3) / 3))
    assert found.threshold() == 0.5
    assert found.threshold(loss=0.34) == 0.2
    never = Reliability(np.array([[0.9, 0.8]]), np.array([[False, True]]))
    assert never.halted(never.threshold()) == (1.0, 2.0)


def test_a_trained_head_is_measured_as_the_solver_runs_it(solver: Solver, puzzles: Puzzles) -> None:
    tasks = [
        Task((read_numbers(p),), answers=(read_numbers(a),)) for p, a in zip(*puzzles, strict=True)
    ]
    found = reliability(solver, tasks, steps=8)
    assert found.confidence.shape == found.correct.shape == (200, 8)
    assert found.correct[:, -1].mean() > 0.8
    for threshold in (0.5, 0.9):
        accuracy, steps = found.halted(threshold)
        options = SolveOptions(max_steps=8, verify=False, halt_threshold=threshold)
        solutions = list(solver.solve_many(tasks, options))
        assert np.mean([s.correct for s in solutions]) == pytest.approx(accuracy, abs=0.01)
        assert np.mean([s.steps for s in solutions]) == pytest.approx(steps, abs=0.02)
    by_rules = reliability(solver, [Task(task.inputs) for task in tasks[:50]], steps=8)
    assert (by_rules.correct == found.correct[:50]).mean() > 0.99


def test_what_can_not_be_judged_is_refused(solver: Solver) -> None:
    with pytest.raises(InvalidInputError, match="at least one puzzle"):
        reliability(solver, [])
    lawless = Solver(solver.runtime, Lawless(2, 2))
    with pytest.raises(InvalidInputError, match="no answer to compare with"):
        reliability(lawless, [Task((read_numbers("." * 16),))])


def test_the_command(model_folder: Path, tmp_path: Path, puzzles: Puzzles) -> None:
    (tmp_path / "p.txt").write_text("\n".join(puzzles[0]), encoding="utf-8")
    arguments = ["calibrate", str(model_folder), str(tmp_path / "p.txt"), "--limit", "50"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "expected calibration error" in result.stdout
