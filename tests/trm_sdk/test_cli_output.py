"""`trm solve -o FILE`, tables of many puzzles, the progress bar, and shell completion."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trm_sdk import list_pretrained
from trm_sdk.cli import main

ONE, ANSWER = "1.34341..14343.1", "1234341221434321"
Trm = Callable[..., Result]


@pytest.fixture
def trm(model_folder: Path) -> Trm:
    def run(*arguments: str | Path, stdin: str | None = None) -> Result:
        command = ["solve", *map(str, arguments), "-m", str(model_folder)]
        return CliRunner().invoke(main, command, input=stdin)

    return run


def test_answers_go_to_a_file_beside_the_table(trm: Trm, tmp_path: Path) -> None:
    output = tmp_path / "answers.csv"
    result = trm("-", "-o", output, stdin=f"{ONE}\nnot one\n{ONE}\n")
    assert result.exit_code == 2  # of the line that is not a puzzle
    assert "2 of 3 solved, 1 could not be read" in result.stdout
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == [ANSWER, "", ANSWER]
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    again = trm(output, "--json")
    assert [json.loads(line).get("correct") for line in again.stdout.splitlines()] == [
        True, None, True,
    ]  # fmt: skip


def test_one_puzzle_goes_to_a_file_too(trm: Trm, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    result = trm(ONE, "-o", output, "--json")
    assert result.exit_code == 0, result.output
    assert output.read_text() == result.stdout
    assert json.loads(result.stdout)["answer"] == ANSWER


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.xls", r"must end with .*; got .*a\.xls"), ("none/a.csv", "there is no folder")],
)
def test_a_file_that_can_not_be_is_refused_before_the_model_is_loaded(
    tmp_path: Path, name: str, message: str
) -> None:
    command = ["solve", ONE, "-o", str(tmp_path / name), "-m", "no such model"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
    assert "no such model" not in result.stderr


def test_the_file_of_puzzles_is_not_written_over(trm: Trm, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_text(f"puzzle\n{ONE}\n")
    result = trm(file, "-o", file)
    assert result.exit_code == 2
    assert "is the file that the puzzles are read from" in result.stderr
    assert file.read_text() == f"puzzle\n{ONE}\n"


def test_a_file_without_puzzles_leaves_no_answers(trm: Trm, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    result = trm(tmp_path / "empty.txt", "-o", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_a_long_table_is_one_table(trm: Trm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["trm_sdk.cli.solve"], "_ROWS_TOGETHER", 4)
    lines = trm("-", stdin=f"{ONE}\n" * 10).stdout.splitlines()
    assert len(lines) == 12
    assert [line.split()[0] for line in lines[:-1]] == ["#", *map(str, range(1, 11))]
    assert lines[-1].startswith("10 of 10 solved, ")
    assert {line.index(ANSWER) for line in lines[1:9]} == {3}


# --- on a terminal --------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("as_json", [True, False])
def test_a_bar_shows_rate_and_time_left_and_output_stays_clean(
    model_folder: Path, tmp_path: Path, as_json: bool
) -> None:
    import pty

    file = tmp_path / "p.txt"
    file.write_text(f"{ONE}\n" * 200, encoding="utf-8")
    command = [sys.executable, "-m", "trm_sdk.cli", "solve", str(file), "-m", str(model_folder)]
    here, there = pty.openpty()
    size = {"COLUMNS": "120", "LINES": "40", "TERM": "xterm", "NO_COLOR": "1"}
    with (tmp_path / "out").open("w") as output:
        process = subprocess.Popen(
            [*command, *(["--json"] if as_json else [])],
            stdout=output,
            stderr=there,
            env={**os.environ, **size},
        )
        os.close(there)
        text = b""
        with contextlib.suppress(OSError):  # what a pseudo-terminal ends with
            while part := os.read(here, 4096):
                text += part
        assert process.wait() == 0
    assert re.search(rb"200/200 [\d.]+/s \d:\d\d:\d\d left 00:00 200 verified", text)
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == (200 if as_json else 202)
    assert "\x1b" not in "".join(lines)


# --- completion -----------------------------------------------------------------------------


def completed(*words: str, program: str = "trm", module: str = "trm_sdk.cli") -> list[str]:
    """What a shell is told of the last word: kind and text of every proposal."""
    call = f"from {module} import main; main(prog_name={program!r})"
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    asked = {
        variable: "bash_complete",
        "COMP_WORDS": " ".join((program, *words)),
        "COMP_CWORD": str(len(words)),
    }
    return subprocess.run(
        [sys.executable, "-c", call], env=os.environ | asked, capture_output=True, text=True
    ).stdout.split()


def test_shells_complete_commands_options_and_models() -> None:
    assert "plain,solve" in completed("so")
    assert "plain,--output" in completed("solve", "--ou")
    assert completed("solve", "-m", "sudoku-") == [
        f"plain,{name}"
        for name in sorted([*list_pretrained(), "sudoku-x"])
        if name.startswith("sudoku-")
    ]
    assert completed("info", "jig") == ["plain,jigsaw"]
    assert completed("info", "ma") == ["plain,maze"]
    assert completed("solve", "-m", "runs/mine") == ["file,runs/mine"]
    assert completed("solve", "puzz") == ["file,puzz"]


def test_shells_complete_what_is_exported_and_trained() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("yaml")
    exported = completed("onnx", "ma", program="trm-export", module="export.cli")
    assert exported == ["plain,maze"]
    trained = completed("sudoku-ex", program="trm-fit", module="training.fit")
    assert "plain,sudoku-extreme-1k" in trained
