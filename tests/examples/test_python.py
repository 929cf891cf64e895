"""The Python examples do what they say."""

from __future__ import annotations

import csv
from pathlib import Path

from programs import PUZZLES, run_example

from trm_sdk import Solver
from trm_sdk.domains.text import line_of


def test_batch_solves_a_file(model: Path, solver: Solver, tmp_path: Path) -> None:
    source, target = tmp_path / "puzzles.csv", tmp_path / "answers.csv"
    source.write_text("id,puzzle\n" + "".join(f"{i},{p}\n" for i, p in enumerate(PUZZLES)))
    result = run_example("batch.py", source, target, "--model", model)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(PUZZLES)} of {len(PUZZLES)} solved\n"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["puzzle"] for row in rows] == list(PUZZLES)
    assert [row["answer"] for row in rows] == [line_of(solver.solve(p).grid) for p in PUZZLES]
    assert {row["verified"] for row in rows} == {"True"}


def test_batch_goes_on_after_a_bad_line(model: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "puzzles.txt", tmp_path / "answers.csv"
    source.write_text(f"{PUZZLES[0]}\n55{PUZZLES[0][2:]}\n{PUZZLES[1]}\n")
    result = run_example("batch.py", source, target, "--model", model)
    assert result.returncode == 1
    assert result.stdout == "2 of 3 solved\n"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "contradicting givens: 5" in rows[1]["error"]
    assert rows[2]["verified"] == "True"


def test_batch_names_what_is_missing(tmp_path: Path) -> None:
    result = run_example("batch.py", "nowhere.csv", tmp_path / "out.csv", "--model", "sudokku")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: no model named 'sudokku'")


def test_batch_does_not_write_over_what_it_reads(tmp_path: Path) -> None:
    source = tmp_path / "puzzles.txt"
    source.write_text(PUZZLES[0])
    result = run_example("batch.py", source, source)
    assert result.returncode == 2
    assert result.stderr == f"Error: {source} is the file that is read from\n"
    assert source.read_text() == PUZZLES[0]
