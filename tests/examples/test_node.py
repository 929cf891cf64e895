"""trm.js and the Node example compute what the SDK computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import EXAMPLES, PUZZLES, ROOT, run

from export.exporter import export_onnx
from export.web import export_web
from trm_sdk import InvalidInputError, SolveOptions, Solver
from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.text import line_of, read_numbers

#: Twenty-three givens, and nothing to go by at first: takes more than a step or two.
HARD = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3.."


def ask(node: str, question: str, *arguments: str | Path) -> Any:
    """What trm.mjs answers."""
    result = run(node, Path(__file__).with_name("trm.mjs"), question, *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def spec_of(name: str) -> str:
    domain = get_domain(name)
    return json.dumps({"domain": name, "vocabulary": domain.vocabulary, "grid_shape": domain.shape})


# --- the model --------------------------------------------------------------------------------


@pytest.mark.parametrize("puzzle", [*PUZZLES, HARD])
def test_every_step_is_python_s(node: str, model: Path, solver: Solver, puzzle: str) -> None:
    limit = {"maxSteps": 8, "attempts": 1}
    steps = ask(node, "steps", model / "model.onnx", puzzle, json.dumps(limit))["steps"]
    expected = list(solver.stream(puzzle, SolveOptions(max_steps=8, attempts=1)))
    assert len(steps) == len(expected)
    for ours, step in zip(steps, expected, strict=True):
        assert (ours["index"], ours["attempt"]) == (step.index, 1)
        probabilities = np.reshape(ours["probabilities"], step.probabilities.shape)
        # Rounding differs from build to build of onnxruntime, and grows from step to step.
        np.testing.assert_allclose(probabilities, step.probabilities, atol=5e-3)
        assert ours["confidence"] == pytest.approx(step.confidence, abs=5e-3)
        certain = step.probabilities.max(-1) > 0.51
        text = np.reshape(list(ours["text"]), certain.shape)
        assert (text[certain] == np.array(step.grid.cells, str)[certain]).all()
        assert ours["verified"] == step.verified
    assert any(step["verified"] for step in steps) == any(step.verified for step in expected)


def test_later_attempts_differ_and_can_be_repeated(node: str, model: Path) -> None:
    options = {"maxSteps": 2, "attempts": 3, "explore": "noise", "noise": 0.5}
    first, again, other = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({**options, "seed": seed}))
        for seed in (5, 5, 6)
    )
    assert first == again
    assert [step["attempt"] for step in first["steps"]] == [1, 1, 2, 2, 3, 3]
    assert [step["total"] for step in first["steps"]] == [1, 2, 3, 4, 5, 6]
    plain, second, third = (first["steps"][i]["probabilities"] for i in (1, 3, 5))
    assert plain != second != third
    assert first["steps"][1] == other["steps"][1], "the first attempt is the plain one"
    assert first["steps"][3] != other["steps"][3]


def test_later_attempts_fill_in_what_the_first_was_unsure_of(node: str, model: Path) -> None:
    options = {"maxSteps": 3, "attempts": 40, "explore": "guess"}
    first, again, other = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({**options, "seed": seed}))
        for seed in (5, 5, 6)
    )
    assert first == again
    steps = first["steps"]
    assert len(steps) == 120
    assert [step["guess"] for step in steps[:3]] == [None] * 3
    guesses = [(step["guess"]["cell"], step["guess"]["value"]) for step in steps[3::3]]
    assert len(set(guesses)) == 39
    assert all(HARD[cell] == "." for cell, _ in guesses)
    for step in steps[3:]:
        cell, value = step["guess"]["cell"], step["guess"]["value"]
        assert step["values"][cell] == value
        assert step["probabilities"][9 * cell + value - 1] == 1
    # They are what the first attempt thought likely: much likelier than chance.
    believed = [steps[2]["probabilities"][9 * cell + value - 1] for cell, value in guesses]
    assert sum(believed) / len(believed) > 0.2
    assert [step["guess"] for step in other["steps"]] != [step["guess"] for step in steps]


def test_guesses_solve_what_one_attempt_does_not(node: str, model: Path, solver: Solver) -> None:
    plain, more = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({"maxSteps": 16, **options}))
        for options in ({"attempts": 1}, {"attempts": 100, "explore": "guess"})
    )
    assert not plain["steps"][-1]["verified"]
    assert more["steps"][-1]["verified"]
    assert more["steps"][-1]["text"] == line_of(
        solver.solve(HARD, SolveOptions(max_steps=16, attempts=100, explore="guess")).grid
    )


def test_options_come_from_the_model(node: str, model: Path, solver: Solver) -> None:
    options = ask(node, "steps", model / "model.onnx", PUZZLES[0])["options"]
    ours = solver.options
    assert options["maxSteps"] == ours.max_steps
    assert options["attempts"] == ours.attempts
    assert options["noise"] == ours.noise
    assert options["explore"] == ours.explore
    assert options["haltThreshold"] == ours.halt_threshold


def test_the_description_stands_for_the_metadata(node: str, model: Path, tmp_path: Path) -> None:
    export_web(model, tmp_path)
    by_description = ask(node, "steps", tmp_path / "model.json", PUZZLES[0])
    by_metadata = ask(node, "steps", tmp_path / "model.onnx", PUZZLES[0])
    assert by_description["steps"] == by_metadata["steps"]
    for name in ("maxSteps", "attempts", "noise", "haltThreshold", "seed"):
        assert by_description["options"][name] == by_metadata["options"][name]


def test_solves_at_the_same_time_do_not_mix(node: str, model: Path, solver: Solver) -> None:
    answers = ask(node, "together", model / "model.onnx", *PUZZLES, *PUZZLES)
    assert answers == [line_of(solver.solve(puzzle).grid) for puzzle in PUZZLES * 2]


def test_a_solve_can_be_called_off(node: str, model: Path) -> None:
    assert ask(node, "abort", model / "model.onnx", HARD) == {"steps": 2, "error": "AbortError"}


def test_what_is_no_model_is_named(node: str, model: Path, tmp_path: Path) -> None:
    broken, loop, cut = (tmp_path / name for name in ("broken.onnx", "loop.onnx", "cut.onnx"))
    broken.write_bytes(b"not a graph at all")
    export_onnx(model, loop, "loop")
    whole = (model / "model.onnx").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    missing = tmp_path / "missing.onnx"
    for path, message in (
        (broken, "no ONNX file"),
        (cut, "no ONNX file"),
        (loop, 'mode "loop"'),
        (missing, "ENOENT"),
    ):
        answer = ask(node, "load", path)
        assert answer["error"] == "ModelError"
        assert str(path) in answer["message"]
        assert message in answer["message"]


# --- the rules --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sudoku-4x4", "sudoku-6x6", "sudoku", "sudoku-16x16"])
def test_groups_are_python_s(node: str, name: str) -> None:
    domain = get_domain(name)
    assert isinstance(domain, Sudoku)
    assert ask(node, "groups", spec_of(name)) == domain.groups.tolist()


@pytest.mark.parametrize(
    "text",
    [
        PUZZLES[0],
        PUZZLES[0].replace(".", "0"),
        "\n".join(PUZZLES[0][i : i + 9] for i in range(0, 81, 9)),
        "# comment\n" + " ".join(PUZZLES[0]),
        get_domain("sudoku").format(read_numbers(PUZZLES[0])),
    ],
)
def test_reads_what_python_reads(node: str, text: str) -> None:
    expected = read_numbers(text, (9, 9)).cells.reshape(-1).tolist()
    assert ask(node, "parse", spec_of("sudoku"), text) == {"result": expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PUZZLES[0][1:], "81 cells; got 80"),
        ("x" + PUZZLES[0][1:], '"x" in place 1'),
        ("55" + "." * 79, "contradicting givens: 5 stands 2 times in row 1"),
        ("5........5" + "." * 71, "contradicting givens: 5 stands 2 times in column 1"),
        ("5.........5" + "." * 70, "contradicting givens: 5 stands 2 times in box 1"),
    ],
)
def test_refuses_what_python_refuses(node: str, text: str, message: str) -> None:
    answer = ask(node, "parse", spec_of("sudoku"), text)
    assert answer["error"] == "PuzzleError"
    assert message in answer["message"]
    with pytest.raises(InvalidInputError):
        get_domain("sudoku").parse(text)


def test_verifies_as_python_does(node: str) -> None:
    puzzle = "1..." + "." * 12
    answers = ["1234341221434321", "1234341221434312", "2143341212344321", "123434122143432."]
    assert ask(node, "verify", spec_of("sudoku-4x4"), puzzle, *answers) == [
        True,
        False,
        False,
        False,
    ]


# --- the example ------------------------------------------------------------------------------


def test_the_example_solves(node: str, model: Path, solver: Solver) -> None:
    result = run(node, EXAMPLES / "node" / "solve.mjs", model / "model.onnx", *PUZZLES)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["answer"] for line in lines] == [
        line_of(solver.solve(puzzle).grid) for puzzle in PUZZLES
    ]
    assert all(line["verified"] for line in lines)


@pytest.mark.parametrize("puzzle", ["123", "55" + "." * 79])
def test_the_example_names_a_bad_puzzle(node: str, model: Path, puzzle: str) -> None:
    result = run(node, EXAMPLES / "node" / "solve.mjs", model / "model.onnx", puzzle)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert "81 cells; got 3" in result.stderr or "5 stands 2 times in row 1" in result.stderr


def test_both_package_files_want_the_same_onnxruntime() -> None:
    ours = json.loads((EXAMPLES / "package.json").read_text())["dependencies"]
    shipped = json.loads((ROOT / "export" / "web_assets" / "package.json").read_text())
    assert shipped["dependencies"]["onnxruntime-web"] == ours["onnxruntime-web"]


def test_no_download_address_is_locked() -> None:
    lock = json.loads((EXAMPLES / "package-lock.json").read_text())
    assert len(lock["packages"]) > 3
    assert not any("resolved" in package for package in lock["packages"].values())
