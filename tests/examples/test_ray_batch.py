"""The Ray Data example solves CSV and Parquet files with two local workers."""

from __future__ import annotations

import csv
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from programs import PUZZLES, load_example

from trm_sdk import Solver

ray = pytest.importorskip("ray", reason="needs the ray extra")
pytest.importorskip("ray.data", reason="needs the ray extra")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The example as a module, with a cluster of this machine alone."""
    module = load_example("ray_batch.py")
    # Workers don't find a module that was loaded by its path: it goes to them by value.
    importlib.import_module("ray.cloudpickle").register_pickle_by_value(module)
    # A loaded machine may need long to start it.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": ":".join(filter(None, sys.path))}},
    )
    yield module
    ray.shutdown()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_keep_their_columns_and_get_solutions(
    example: ModuleType, model: Path, solver: Solver, tmp_path: Path, form: str
) -> None:
    # Digits alone, which CSV readers take for numbers; and one that is not a puzzle.
    puzzles = [puzzle.replace(".", "0") for puzzle in PUZZLES] * 2 + ["12"]
    source, target = tmp_path / f"puzzles.{form}", tmp_path / "answers"
    if form == "csv":
        with source.open("w", newline="") as file:
            csv.writer(file).writerows([("id", "question"), *enumerate(puzzles)])
    else:
        columns = {"id": range(len(puzzles)), "question": puzzles}
        parquet.write_table(importlib.import_module("pyarrow").table(columns), source)
    example.solve(str(source), str(model), workers=2, batch_size=2).write_parquet(str(target))
    assert len(list(target.iterdir())) > 1, "one block, for one worker"
    rows = sorted(parquet.read_table(target).to_pylist(), key=lambda row: row["id"])
    assert [row["question"] for row in rows] == puzzles
    line = solver.domain.to_line
    expected = [line(solver.solve(puzzle).grid) for puzzle in PUZZLES] * 2
    assert [row["solution"] for row in rows] == [*expected, None]
    assert [row["verified"] for row in rows] == [True] * len(expected) + [None]
    assert "expected 81 cells" in rows[-1]["error"]


def test_a_file_without_puzzles_says_which_columns_it_has(
    example: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("id,board\n1,2\n")
    with pytest.raises(SystemExit, match=r"has no column puzzle or question; it has .*board"):
        example.solve(str(tmp_path / "p.csv"), "sudoku", workers=1, batch_size=1)
