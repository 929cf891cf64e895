"""Files of answers: every form holds what was solved, and appears whole or not at all."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trm_sdk import Failure, Grid, InvalidInputError, MissingDependencyError, Solution, Task
from trm_sdk.domains import get_domain
from trm_sdk.results import COLUMNS, open_results, write_results

ANSWER = np.array([[1, 2, 3, 4], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]])


def solution(name: str = "sudoku-4x4", answer: Any = ANSWER, inputs: int = 1) -> Solution:
    grid = Grid(answer)
    return Solution(
        answers=(grid,) * inputs,
        candidates=((),) * inputs,
        verified=True,
        confidence=0.75,
        steps=3,
        attempts=1,
        seconds=0.5,
        stopped_by="verified",
        task=Task(inputs=(grid,) * inputs, name="é, a name"),
        domain=get_domain(name),
    )


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, without what does not apply to them."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
        assert all(list(row) == list(COLUMNS) for row in rows)
        return [{key: value for key, value in row.items() if value} for row in rows]
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path).to_pylist()
        return [{k: v for k, v in row.items() if v is not None} for row in rows]
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else list(map(json.loads, text.splitlines()))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".CSV"])
def test_every_form_holds_solutions_and_failures(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"answers{suffix}"
    failure = Failure(1, InvalidInputError('no, "puzzle"\nthis'))
    assert write_results(path, [solution(), failure]) == 2
    first, second = read(path.rename(path.with_suffix(suffix.lower())))
    line = "1234341221434321"
    assert (first["puzzle"], first["answer"], first["name"]) == (line, line, "é, a name")
    assert [str(first[key]) for key in ("index", "steps", "verified", "confidence")] == [
        "0", "3", "True", "0.75",
    ]  # fmt: skip
    assert "correct" not in first
    assert str(second.pop("index")) == "1"
    assert second == {"error": 'no, "puzzle"\nthis'}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_no_results_make_an_empty_file_of_that_form(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"answers{suffix}"
    assert write_results(path, []) == 0
    assert read(path) == []


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
def test_boards_of_several_inputs_and_of_any_shape(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"answers{suffix}"
    board = np.array([[2, 1, 3], [1, 1, 1]])  # from start to goal
    write_results(path, [solution("maze-2x3", board, inputs=2)])
    (row,) = read(path)
    if suffix == ".json":
        assert row["shapes"] == [[2, 3], [2, 3]]
        assert len(row["answers"]) == 2
    else:
        assert row["shape"] == "2x3 2x3"
        assert len(json.loads(row["answer"])) == 2


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"answers{suffix}"
    path.write_text("what was there")

    def broken() -> Iterator[Solution]:
        yield solution()
        assert path.read_text() == "what was there"
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write_results(path, broken())
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_written_as_they_come(tmp_path: Path) -> None:
    sizes = []
    with open_results(tmp_path / "answers.jsonl") as write:
        (part,) = tmp_path.iterdir()
        for _ in range(300):
            write(solution())
            sizes.append(part.stat().st_size)
    assert len(set(sizes)) > 3, "nothing was written before the end"


def test_parquet_holds_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("trm_sdk.results._ROWS_HELD", 10)
    path = tmp_path / "answers.parquet"
    assert write_results(path, (solution() for _ in range(25))) == 25
    assert parquet.ParquetFile(path).metadata.num_row_groups == 3
    assert [row["index"] for row in read(path)] == list(range(25))


def _no_folder(folder: Path) -> Path:
    return folder / "none" / "a.csv"


def _folder(folder: Path) -> Path:
    (folder / "a.csv").mkdir()
    return folder / "a.csv"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda folder: folder / "a.xlsx", r"must end with \.csv, .*\.parquet; got .*a\.xlsx"),
        (lambda folder: folder / "a", "must end with"),
        (_no_folder, "there is no folder"),
        (_folder, "it is a folder"),
        (lambda folder: "", "a path is needed"),
    ],
)
def test_a_file_that_can_not_be_is_refused_before_anything_is_solved(
    tmp_path: Path, place: Callable[[Path], Any], message: str
) -> None:
    def unasked() -> Iterator[Solution]:
        raise AssertionError("a result was asked for")
        yield

    with pytest.raises(InvalidInputError, match=message):
        write_results(place(tmp_path), unasked())


def test_parquet_without_pyarrow_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trm-sdk\[parquet\]'"):
        write_results(tmp_path / "answers.parquet", [])
    assert list(tmp_path.iterdir()) == []
