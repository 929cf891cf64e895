"""``trm``: what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trm_sdk.cli import main
from trm_sdk.domains import get_domain
from trm_sdk.domains.text import read_numbers
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.testing.training import tiny_model

Trm = Callable[..., Result]
Puzzles = tuple[list[str], list[str]]
ONE, ANSWER = "1.34341..14343.1", "1234341221434321"
#: A board of many solutions, on none of which a model settles by itself.
OPEN = "." * 16


@pytest.fixture
def trm(model_folder: Path) -> Trm:
    def run(command: str, *arguments: str, stdin: str | bytes | None = None) -> Result:
        model = ["-m", str(model_folder)] if command in ("solve", "watch") else []
        return CliRunner().invoke(main, [command, *arguments, *model], input=stdin)

    return run


def refused(result: Result, named: str) -> None:
    """One line on standard error that names the fault, exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert re.search(named, result.stderr), result.stderr
    assert "Traceback" not in result.output


def test_one_puzzle_is_drawn(trm: Trm) -> None:
    result = trm("solve", ONE)
    assert result.exit_code == 0
    board, verdict = result.stdout.split("\n\n")
    assert board == get_domain("sudoku-4x4").format(read_numbers(ANSWER))
    pattern = r"verified: \d+ steps?, 1 attempt, [\d.]+ ms, confidence [01]\.\d\d\n"
    assert re.fullmatch(pattern, verdict)
    assert result.stderr == ""


def test_a_puzzle_of_several_lines(trm: Trm) -> None:
    assert trm("solve", "1 . | 3 4\n3 4 | 1 .\n----+----\n. 1 | 4 3\n4 3 | . 1").exit_code == 0


def test_one_puzzle_as_json(trm: Trm) -> None:
    result = trm("solve", ONE, "--json")
    facts = json.loads(result.stdout)
    assert facts["answer"] == ANSWER
    assert facts["puzzle"] == ONE
    assert facts["verified"] is True
    assert facts["stopped_by"] == "verified"


def test_what_is_not_solved_ends_with_one(trm: Trm) -> None:
    result = trm("solve", OPEN, "--steps", "3")
    assert result.exit_code == 1
    assert "NOT solved, has several solutions: 3 steps" in result.stdout


def test_a_file_becomes_a_table(trm: Trm, tmp_path: Path, puzzles: Puzzles) -> None:
    file = tmp_path / "puzzles.txt"
    file.write_text("\n".join(puzzles[0][:20]), encoding="utf-8")
    result = trm("solve", str(file), "--steps", "64")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["#", "answer", "verified", "steps", "attempts", "ms", "confidence"]
    assert [line.split()[1] for line in lines[1:21]] == puzzles[1][:20]
    assert re.match(r"20 of 20 solved, [\d.]+ s, [\d.]+ puzzles/s", lines[21])


def test_csv_as_json_lines_compares_with_the_answers(
    trm: Trm, tmp_path: Path, puzzles: Puzzles
) -> None:
    file = tmp_path / "p.csv"
    rows = [f"x,{p},{a},1" for p, a in list(zip(*puzzles, strict=True))[:10]]
    file.write_text("\n".join(["source,question,answer,rating", *rows]), encoding="utf-8")
    result = trm("solve", str(file), "--json", "--steps", "64", "--batch-size", "3")
    facts = [json.loads(line) for line in result.stdout.splitlines()]
    assert [fact["index"] for fact in facts] == list(range(10))
    assert [fact["answer"] for fact in facts] == puzzles[1][:10]
    assert all(fact["correct"] for fact in facts)
    assert facts[3]["name"] == "p.csv:5"


def test_answers_that_differ_from_the_file_are_said_and_end_with_one(
    trm: Trm, tmp_path: Path
) -> None:
    file = tmp_path / "p.csv"
    other = "1" * 16
    file.write_text(f"puzzle,answer\n{ONE},{ANSWER}\n{ONE},{other}\n{ONE},\n", encoding="utf-8")
    result = trm("solve", str(file))
    assert result.exit_code == 1
    heading, *rows, total = result.stdout.splitlines()
    assert heading.split()[2:4] == ["verified", "correct"]
    assert [row.split()[2:4] for row in rows] == [["yes", "yes"], ["yes", "no"], ["yes", "-"]]
    assert total.startswith("3 of 3 solved, 1 differ from the file's answer, ")
    assert trm("solve", str(file), "--json").exit_code == 1
    watched = trm("watch", "-", "--delay", "0", stdin=f"puzzle,answer\n{ONE},{other}\n")
    assert watched.exit_code == 1
    assert "not the answer that came with the puzzle" in watched.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize(
    ("width", "columns"), [(80, "confidence"), (40, "steps"), (32, "verified"), (28, None)]
)
def test_a_narrow_terminal_never_cuts_an_answer(
    model_folder: Path, tmp_path: Path, width: int, columns: str | None
) -> None:
    import pty

    file = tmp_path / "p.txt"
    file.write_text(f"{ONE}\n{ONE}\n", encoding="utf-8")
    command = [sys.executable, "-m", "trm_sdk.cli", "solve", str(file), "-m", str(model_folder)]
    here, there = pty.openpty()
    size = {"COLUMNS": str(width), "LINES": "40", "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command, stdout=there, stderr=subprocess.DEVNULL, env={**os.environ, **size}
    )
    os.close(there)
    text = b""
    with contextlib.suppress(OSError):  # what a pseudo-terminal ends with
        while part := os.read(here, 4096):
            text += part
    assert process.wait() == 0
    shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", text.decode()).splitlines()
    if columns is None:
        assert shown.count("│ 1 2 │ 3 4 │") == 2
        assert shown[0] == "# 1"
    else:
        assert shown[0].split()[-1] == columns
        assert [line.split()[1] for line in shown[1:3]] == [ANSWER] * 2
    assert "…" not in "".join(shown)


def test_boards_of_any_size_are_read_and_written_as_their_domain_does(tmp_path: Path) -> None:
    domain = get_domain("maze-6x6")
    spec, model = tiny_model(domain)
    folder = save_model(tmp_path / "maze", spec, model.state_dict())
    mazes = ["S  #\n ## \n   G", "S#G\n   \n   \n###"]
    file = tmp_path / "mazes.txt"
    file.write_text("\n\n".join(mazes) + "\n", encoding="utf-8")
    command = ["solve", str(file), "-m", str(folder), "--steps", "2", "--runtime", "torch"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code in (0, 1), result.output
    first, second = re.findall(r"# \d\n(.*?)\n\n(?:verified|NOT)", result.stdout, re.DOTALL)
    for text, maze in ((first, mazes[0]), (second, mazes[1])):
        answer, puzzle = domain.read(text), domain.read(maze)
        assert answer.shape == puzzle.shape
        assert text.replace("o", " ").rstrip() == maze.rstrip()
    as_json = CliRunner().invoke(main, [*command, "--json"])
    facts = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [fact["shapes"] for fact in facts] == [[[3, 4]], [[4, 3]]]
    watched = CliRunner().invoke(main, ["watch", mazes[0], *command[2:], "--delay", "0"])
    assert watched.exit_code in (0, 1), watched.output
    assert "dot: not sure" in watched.stdout


def test_standard_input(trm: Trm) -> None:
    result = trm("solve", "-", "--json", stdin=f"{ONE}\n{ONE}\n")
    assert result.exit_code == 0
    assert [json.loads(line)["answer"] for line in result.stdout.splitlines()] == [ANSWER] * 2


def test_a_bad_line_does_not_stop_the_others(trm: Trm) -> None:
    stdin = f"{ONE}\n11..............\n{OPEN}\n{ONE}\n"
    result = trm("solve", "-", "--json", "--steps", "4", stdin=stdin)
    refused(result, "standard input:2: contradicting givens")
    facts = [json.loads(line) for line in result.stdout.splitlines()]
    assert [fact.get("verified") for fact in facts] == [True, None, False, True]
    assert "contradicting givens" in facts[1]["error"]
    table = trm("solve", "-", "--steps", "4", stdin=stdin)
    refused(table, "standard input:2")
    assert "2 of 4 solved, 1 with several solutions, 1 could not be read" in table.stdout


def test_options_reach_the_search(trm: Trm) -> None:
    arguments = "--steps 2 --attempts 5 --explore noise --noise 0.2 --patience 0 --seed 3"
    facts = json.loads(trm("solve", OPEN, "--json", *arguments.split()).stdout)
    assert (facts["steps"], facts["attempts"]) == (10, 5)
    endless = "--steps 100000 --seconds 0.05"
    facts = json.loads(trm("solve", OPEN, "--json", *endless.split()).stdout)
    assert facts["stopped_by"] == "seconds"


def test_bad_input_is_one_line(trm: Trm, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "raw.txt").write_bytes(b"\xff\xfe\x00\x01" * 30)
    for arguments, named in (
        (("solve", "123"), "expected 16 cells"),
        (("solve", ONE.replace("3", "!")), "unexpected character '!'"),
        (("solve", ONE.replace("3", "7")), "got 7 in row 1, column 3"),
        (("solve", "44" + "." * 14), "4 appears 2 times in row 1"),
        (("solve", "4" * 5000), "expected 16 cells"),
        (("solve", "none.csv"), "no file 'none.csv', and it is not a puzzle either"),
        (("solve", str(tmp_path)), "is a folder"),
        (("solve", str(tmp_path / "empty.txt")), "empty.txt holds no puzzle"),
        (("solve", str(tmp_path / "raw.txt")), "can't be read as text"),
        (("solve", ONE, "--steps", "0"), "max_steps.*got 0"),
        (("solve", ONE, "--attempts", "3"), "same attempt"),
        (("solve", ONE, "--device", "tpu"), "got 'tpu'"),
        (("watch", "123"), "expected 16 cells"),
        (("watch", ONE, "--delay", "nan"), "--delay must be 0 to 60 seconds; got nan"),
        (("watch", ONE, "--gif", str(tmp_path / "none" / "x.gif")), "there is no folder"),
        (("solve", ""), "a puzzle, a file or - .* got ''"),
        (("info", "sudko"), "no model named 'sudko'"),
        (("info", str(tmp_path)), "holds no model"),
        (("bench", "sudko"), "no model named 'sudko'"),
    ):
        refused(trm(*arguments), named)
    refused(CliRunner().invoke(main, ["solve", ONE, "-m", "sudko"]), "no model named 'sudko'")


def test_an_argument_may_have_other_things_beside_the_puzzle(trm: Trm) -> None:
    for argument in (
        f"{ONE} # easy",
        f"https://puzzles.example/?bd={ONE}",
        f'{{"puzzle": "{ONE}"}}',
    ):
        facts = json.loads(trm("solve", argument, "--json").stdout)
        assert facts["puzzle"] == ONE


def test_watching(trm: Trm) -> None:
    result = trm("watch", ONE, "--delay", "0")
    assert result.exit_code == 0
    assert "│ 1 2 │ 3 4 │\n│ 3 4 │ 1 2 │\n├─────┼─────┤\n│ 2 1 │ 4 3 │" in result.stdout
    assert re.search(r"step \d+ of 8  confidence +\d+% [=-]{24}", result.stdout)
    assert re.search(r"verified: the rules confirm it after \d+ step", result.stdout)
    assert "attempt" not in result.stdout
    failed = trm("watch", OPEN, "--delay", "0", "--steps", "2")
    assert failed.exit_code == 1
    assert re.search(r"not right yet: \d+ cells? changed", failed.stdout)
    search = ("--steps", "2", "--attempts", "3", "--explore", "guess")
    searched = trm("watch", OPEN, "--delay", "0", *search)
    assert searched.exit_code == 1
    assert re.search(r"attempt 3, step 2 of 2  confidence", searched.stdout)
    assert re.search(r"what if row [1-4], column [1-4] is [1-4]\?", searched.stdout)
    shorter = trm("watch", OPEN, "--delay", "0", *search, "--later-steps", "1")
    assert re.search(r"attempt 3, step 1 of 1  confidence", shorter.stdout)


def test_watching_a_file_shows_its_first_puzzle_and_says_so(trm: Trm, tmp_path: Path) -> None:
    file = tmp_path / "two.txt"
    file.write_text(f"{ONE}\n{ONE}\n", encoding="utf-8")
    result = trm("watch", str(file), "--delay", "0")
    assert result.exit_code == 0
    assert result.stderr == f"{file} has more puzzles; this is the first\n"


def test_a_line_that_is_no_text_does_not_stop_the_others(trm: Trm, tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_bytes(f"{ONE}\n".encode() * 2 + b"\xff\n" + ONE.encode())
    for argument, stdin in ((str(file), None), ("-", file.read_bytes())):
        result = trm("solve", argument, "--json", stdin=stdin)
        refused(result, ":3 can't be read as text: it is not UTF-8")
        assert sum("verified" in line for line in result.stdout.splitlines()) == 3


def test_models_are_described(trm: Trm, model_folder: Path) -> None:
    text = trm("info", str(model_folder)).stdout
    assert re.search(r"^domain +sudoku-4x4$", text, re.MULTILINE)
    assert re.search(r"^graph +step, \d+ bytes$", text, re.MULTILINE)
    facts = json.loads(trm("info", str(model_folder), "--json").stdout)
    assert facts["grid_shape"] == [4, 4]
    assert facts["solve"]["max_steps"] == 8
    listed = trm("models")
    assert listed.exit_code == 0
    assert re.search(r"^sudoku +sudoku +9x9 +20,099 +\d+$", listed.stdout, re.MULTILINE)
    assert "jigsaw, sudoku, sudoku-x open the same weights" in listed.stdout


def test_the_name_of_a_variant_stands_for_the_model_that_solves_it(trm: Trm) -> None:
    listed = trm("models").stdout
    for name in ("jigsaw", "sudoku-x", "windoku"):
        assert re.search(rf"^{name} +{name} +sudoku +9x9 +20,099", listed, re.MULTILINE)
        facts = json.loads(trm("info", name, "--json").stdout)
        assert facts["domain"] == name
        assert facts["weights"] == "sudoku, made for sudoku"
    assert "jigsaw, sudoku-x, windoku" in trm("info", "sudoku").stdout


def test_bench(trm: Trm, model_folder: Path, tmp_path: Path, puzzles: Puzzles) -> None:
    file = tmp_path / "p.txt"
    file.write_text("\n".join(puzzles[0][:8]), encoding="utf-8")
    arguments = ("--puzzles", str(file), "--limit", "5", "--steps", "64", "--threads", "1")
    result = trm("bench", str(model_folder), *arguments)
    assert result.exit_code == 0, result.output
    assert re.search(r"batch +64: +[\d.]+ ms per step", result.stdout)
    assert re.search(r"5 of 5 solved; .*median [\d.]+ ms, .* puzzles/s", result.stdout)


def test_a_real_process_ends_as_said(model_folder: Path) -> None:
    command = [sys.executable, "-m", "trm_sdk.cli", "solve", "-m", str(model_folder)]
    for argument, code in ((ONE, 0), (OPEN, 1), ("12", 2)):
        result = subprocess.run([*command, argument], capture_output=True, text=True, check=False)
        assert result.returncode == code
        assert (result.stderr == "") == (code != 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_can_not_be_written_and_input_that_is_closed_are_one_line(
    model_folder: Path,
) -> None:
    command = f"{sys.executable} -m trm_sdk.cli solve -m {model_folder}"
    for rest, named in ((f"{ONE} >/dev/full", "No space left"), ("- <&-", "is closed")):
        line = f"{command} {rest}"
        result = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert result.returncode == 2
        assert re.fullmatch(f"Error: .*{named}.*\n", result.stderr), result.stderr


@pytest.mark.parametrize(("script", "missing"), [("fit", "torch"), ("export", "onnx")])
def test_without_their_extra_the_other_scripts_say_so_in_one_sentence(
    script: str, missing: str
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from trm_sdk.cli.tools import {script}\n{script}()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"Error: \w+ needs {missing}: pip install 'trm-sdk\[\w+\]'\n", done.stderr
    ), done.stderr


def test_a_puzzle_without_solution_is_said_to_have_none(tmp_path: Path) -> None:
    none = ".8.5.....1..3.2.943.....7..25..4......8....6....91.5.7...4..3....3..9..86.......1"

    def trm(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(main, [command, *arguments, "-m", "sudoku", "--steps", "2"])

    drawn = trm("solve", none)
    assert drawn.exit_code == 1
    assert "no solution, proven by the rules: 2 steps, 1 attempt, " in drawn.stdout
    facts = json.loads(trm("solve", none, "--json").stdout)
    assert (facts["stopped_by"], facts["verified"]) == ("refuted", False)
    file = tmp_path / "some.txt"
    easy = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    file.write_text(f"{none}\n{easy}\n", encoding="utf-8")
    table = trm("solve", str(file))
    assert table.exit_code == 1
    assert re.search(r"^1 +\d{81} +no solution +2 +1 ", table.stdout, re.MULTILINE)
    assert re.search(r"^2 +\d{81} +yes ", table.stdout, re.MULTILINE)
    assert "1 of 2 solved, 1 without a solution, " in table.stdout
    watched = trm("watch", none, "--delay", "0")
    assert watched.exit_code == 1
    assert "no solution: proven by the rules" in watched.stdout


def test_puzzles_with_several_solutions_are_said_to_have_them(trm: Trm, tmp_path: Path) -> None:
    two = "..343412..434321"
    search = ("--attempts", "9", "--explore", "guess")
    assert "one of several solutions" in trm("solve", two, *search).stdout
    assert "several" not in trm("solve", ONE).stdout
    file = tmp_path / "some.txt"
    file.write_text(f"{ONE}\n{two}\n")
    table = trm("solve", str(file), *search).stdout
    assert re.search(r"#\s+answer\s+verified\s+unique\s+steps", table)
    assert "1 with several solutions" in table
    file.write_text(f"{ONE}\n{ONE}\n")
    assert "unique" not in trm("solve", str(file)).stdout
    facts = [json.loads(trm("solve", one, "--json", *search).stdout) for one in (ONE, two)]
    assert [one["unique"] for one in facts] == [True, False]
