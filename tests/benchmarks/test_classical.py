"""``python -m benchmarks.classical`` times solvers that solve, and writes its table."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba")
from benchmarks.classical import fragment, measure
from benchmarks.pages import fill


def test_what_is_timed_solves_and_is_written_down(tmp_path: Path) -> None:
    result = measure(puzzles=3, mazes=2)
    assert result["right"] == 3
    assert all(microseconds > 0 for microseconds in result["us"].values())
    page = tmp_path / "limits.md"
    page.write_text("<!-- classical -->\n<!-- end classical -->\n", encoding="utf-8")
    fill(page, "classical", fragment(result))
    text = page.read_text("utf-8")
    ratio = result["us"]["model"] / result["us"]["backtracking"]
    assert f"the model takes {ratio:,.0f} times as long as backtracking" in text
    assert "(100.0% right)" in text
