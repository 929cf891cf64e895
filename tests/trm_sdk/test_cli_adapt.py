"""`trm solve -m arc`: a task is learned, drawn, and handed in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("numba")
from trm_sdk.cli import main
from trm_sdk.domains.arc.submission import check_submission
from trm_sdk.domains.arc.tasks import read_tasks

TASK = {
    "train": [
        {"input": [[1, 0], [0, 1]], "output": [[2, 0], [0, 2]]},
        {"input": [[0, 1], [1, 1]], "output": [[0, 2], [2, 2]]},
    ],
    "test": [{"input": [[1, 1], [0, 1]]}, {"input": [[0, 0], [0, 1]]}],
}
UNEVEN = {
    "train": [{"input": [[1, 0]], "output": [[1]]}, {"input": [[1, 0]], "output": [[1], [0]]}],
    "test": [{"input": [[1, 0]]}],
}


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["solve", *arguments])
    return result.exit_code, result.output


def test_a_task_is_drawn_with_its_attempts(tmp_path: Path) -> None:
    path = tmp_path / "0a.json"
    path.write_text(json.dumps(TASK), encoding="utf-8")
    code, output = run(str(path), "-m", "arc", "--seconds", "0.5")
    assert code == 0
    assert "input 1" in output
    assert "input 2" in output
    assert "attempt 1: " in output
    assert "demonstrations" in output
    assert "confidence" in output
    assert "verified" not in output


def test_a_combined_file_is_handed_in_and_resumed(tmp_path: Path) -> None:
    path, out = tmp_path / "tasks.json", tmp_path / "submission.json"
    path.write_text(json.dumps({"a": TASK, "b": UNEVEN}), encoding="utf-8")
    given = [str(path), "-m", "arc", "--seconds", "0.3", "-o", str(out)]
    code, output = run(*given, "--cache", str(tmp_path / "done"))
    assert code == 2
    assert "b: the sizes of the demonstrations follow no rule" in output
    assert "1 not learned" in output
    attempts = check_submission(json.loads(out.read_text(encoding="utf-8")), read_tasks(path))
    assert len(attempts["a"]) == 2
    assert attempts["b"][0][0].tolist() == [[0]]
    before = out.read_bytes()
    run(*given, "--cache", str(tmp_path / "done"))
    assert out.read_bytes() == before


def test_json_has_candidates_and_whether_it_was_fitted(tmp_path: Path) -> None:
    path = tmp_path / "0a.json"
    answered = TASK | {"test": [{"input": [[1, 1], [0, 1]], "output": [[2, 2], [0, 2]]}]}
    path.write_text(json.dumps(answered), encoding="utf-8")
    _, output = run(str(path), "-m", "arc", "--seconds", "0.3", "--json")
    facts = json.loads(output)
    assert facts["fitted"] in (True, False)
    assert facts["candidates"][0][0]["answer"] == facts["answer"]
    assert "verified" not in facts
    right = [one["answer"] == "22/02" for one in facts["candidates"][0][:2]]
    assert facts["solved"] is any(right)


def test_options_of_trained_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "0a.json"
    path.write_text(json.dumps(TASK), encoding="utf-8")
    code, output = run(str(path), "-m", "arc", "--attempts", "3")
    assert code == 2
    assert "--attempts is for trained models" in output
    code, output = run("1...  ..3.  .4..  ...2", "-m", "sudoku-4x4", "--cache", str(tmp_path))
    assert code == 2
    assert "--cache is for tasks that are learned while solving" in output
