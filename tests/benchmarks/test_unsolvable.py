"""``python -m benchmarks.unsolvable`` spoils puzzles, and counts what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
from benchmarks.pages import LIMITS, fill
from benchmarks.unsolvable import CASES, fragment, groups_of, measure, spoilt, unsolvable
from trm_sdk import Solver, Task, get_domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.sudoku import Sudoku


@pytest.mark.parametrize("name", ["sudoku", "jigsaw"])
def test_spoilt_puzzles_differ_in_one_cell_and_have_no_solution(name: str) -> None:
    domain = get_domain(name)
    assert isinstance(domain, BoardDomain)
    found, made_from = unsolvable(domain, {}, 12)
    assert len(found) == len(made_from) == 12
    changed = []
    for task, original in zip(found, made_from, strict=True):
        (cell,) = np.flatnonzero(task.grid.cells != original.grid.cells)
        assert original.answer is not None
        assert task.grid.cells.reshape(-1)[cell] not in (0, original.answer.cells.reshape(-1)[cell])
        changed.append(bool(original.grid.cells.reshape(-1)[cell]))
        assert domain.count_solutions(task) == 0
        cells = task.grid.cells.reshape(-1)
        for group in groups_of(domain, task):
            values = [value for value in cells[list(group)].tolist() if value]
            assert len(set(values)) == len(values)
    assert set(changed) == {True, False}


def test_a_cell_in_which_every_wrong_value_repeats_is_left_alone() -> None:
    domain = Sudoku(2, 2)
    answer = domain.parse("1234341221434321").grid
    task = Task((domain.parse("123.341221434321").grid,), answers=(answer,))
    assert spoilt(task, groups_of(domain, task), False, np.random.default_rng(0)) is None


def test_what_is_said_of_them_is_counted_and_written_down(tmp_path: Path) -> None:
    with Solver.from_pretrained("sudoku", threads=1) as solver:
        domain = solver.domain
        assert isinstance(domain, BoardDomain)
        row = measure(solver, *unsolvable(domain, {}, 30))
    assert (row["puzzles"], row["false"]) == (30, 0)
    said = {word: row[word]["puzzles"] for word in ("refused", "refuted", "neither")}
    assert sum(said.values()) == 30
    assert said["refused"] > 15
    page = tmp_path / "limits.md"
    page.write_text("<!-- unsolvable -->\n<!-- end unsolvable -->\n", encoding="utf-8")
    text = fragment({"cases": {"sudoku": row}, "machine": {**_MACHINE}})
    fill(page, "unsolvable", text)
    assert f"| sudoku | 30 | {said['refused']} | " in page.read_text("utf-8")
    assert "| 0 of 30 |" in text


_MACHINE = {"cpu": "X", "simd": [], "cores": 1, "threads": 1, "python": "3", "versions": {}}


def test_the_page_has_a_place_for_every_case() -> None:
    text = LIMITS.read_text("utf-8")
    assert all(f"| {name} | " in text for name in CASES)
