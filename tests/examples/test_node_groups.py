"""trm.js gives a graph its groups of cells: the puzzle's own, else the model's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from programs import run


def test_groups_are_made_of_lists_of_cells() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    result = run(node, Path(__file__).with_name("groups.mjs"))
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["groups"] == ["line", "box"]
    line, box = found["made"]["groups.line"], found["made"]["groups.box"]
    assert line == {"type": "float32", "data": [1, 1, 0, 0, 0, 0, 1, 1], "dims": [1, 2, 4]}
    assert box == {"type": "float32", "data": [0, 1, 0, 0, 0, 0, 1, 1], "dims": [1, 2, 4]}
    assert "groups hold cells 0 to 3; got 4" in found["wrong"]
    assert "takes groups of line, box; got cage" in found["unknown"]
    assert "takes no groups; got box" in found["none"]
