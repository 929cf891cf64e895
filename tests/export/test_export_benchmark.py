"""``python -m benchmarks.export``: what it measures is real, and the page's part comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.export import (
    SIZE_BARS,
    fragment,
    judge,
    measure_memory,
    paper_graphs,
    time_steps,
)
from benchmarks.machine import describe
from benchmarks.pages import fill
from trm_sdk.errors import InvalidInputError


def test_a_loop_solve_without_torch_stays_small() -> None:
    memory = measure_memory("sudoku", threads=2)
    assert memory["steps"] > 1
    assert 20 < memory["peak_mb"] <= 110


def test_the_papers_files_are_small_enough() -> None:
    graphs, _ = paper_graphs()
    assert graphs.parameter_bytes == 4 * 5_030_402
    for precision, bar in SIZE_BARS.items():
        assert graphs.build(precision, "loop").ByteSize() <= bar * graphs.parameter_bytes, precision


def test_the_pages_part() -> None:
    result = {
        "precisions": judge("sudoku-4x4", puzzles=4, steps=4),
        "speed": time_steps("sudoku-4x4", threads=1, seconds=0.01),
        "loop": {"models": {"sudoku-4x4": {"steps": 2, "ms": {"loop": 2.1, "unroll": 2.0}}}},
        "machine": describe(1),
    }
    text = fragment(result)
    rows = [line for line in text.splitlines() if line.startswith("| fp32 ")]
    assert len(rows) == 1
    assert "| 1.00x |" in rows[0]
    assert "2 steps of `sudoku-4x4` take 2.1 ms as `loop` and 2.0 ms as `unroll`: +5.0%." in text
    assert "one puzzle is 25.0 points" in text


def test_a_part_of_the_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("a\n<!-- export -->\nold\n<!-- end export -->\nb\n", encoding="utf-8")
    for text in ("new", "newer"):
        fill(page, "export", text)
    assert page.read_text(encoding="utf-8") == (
        "a\n<!-- export -->\nnewer\n<!-- end export -->\nb\n"
    )
    with pytest.raises(InvalidInputError, match="<!-- solve -->"):
        fill(page, "solve", "text")
