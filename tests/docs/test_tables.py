"""Tables that a benchmark writes are those of its results."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "name", "module"),
    [
        ("docs/benchmarks.md", "export", "benchmarks.export"),
        ("docs/benchmarks.md", "solve", "benchmarks.solve_report"),
        ("docs/limits.md", "classical", "benchmarks.classical"),
    ],
)
def test_a_page_shows_what_was_measured(page: str, name: str, module: str) -> None:
    for package in ("torch", "onnx", "numba", "matplotlib"):
        pytest.importorskip(package)
    fragment = pytest.importorskip(module).fragment
    results = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))
    text = (ROOT / page).read_text(encoding="utf-8")
    (shown,) = re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- end {name} -->", text, re.DOTALL)
    assert shown == fragment(results)


def test_the_readmes_table_of_models_has_the_bundled_ones() -> None:
    from trm_sdk import list_pretrained

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- models -->\n(.*?)\n<!-- end models -->", text, re.DOTALL)
    assert re.findall(r"^\| \[`([^`]+)`\]", table, re.MULTILINE) == list(list_pretrained())
