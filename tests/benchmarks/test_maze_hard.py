"""The labels of Maze-Hard follow one tie-break rule; no maze has a unique shortest path.

Five of its mazes are kept here; all are counted where the data is at hand.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.maze_hard import (
    FILES,
    copied,
    first_discoverer,
    inspect,
    least_path,
    main,
    read,
    table,
)
from trm_sdk.errors import InvalidInputError

FIVE = Path(__file__).parent / "maze-hard-five.csv"
DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[3] / "shared" / "data" / "maze"


def test_labels_of_the_sample_follow_the_rule() -> None:
    puzzles, labels = read(FIVE)
    assert puzzles.shape == labels.shape == (5, 30, 30)
    found = inspect(puzzles, labels)
    assert found["optimal"] == 5
    assert found["unique"] == 0
    assert found["paths"]["least"] > 1000
    assert found["rule"] == {"walk": 5, "first_discoverer": 5, "least": 5}


def test_turned_copies_of_the_sample_break_the_rule() -> None:
    copies = inspect(*read(FIVE))["copies"]
    assert copies.pop("turned by 0") == 5
    assert len(copies) == 7
    copies.pop("turned by 0, then mirrored")  # left for right alone: most ties are not between them
    assert set(copies.values()) == {0}


def test_labels_that_break_the_rule_are_counted_as_such() -> None:
    puzzles, labels = read(FIVE)
    turned = inspect(copied(puzzles, 2, False), copied(labels, 2, False))
    assert turned["optimal"] == 5
    assert turned["rule"] == {"walk": 0, "first_discoverer": 0, "least": 0}
    spoilt = labels.copy()
    spoilt[0][tuple(np.argwhere(labels[0] == 4)[3])] = 1
    found = inspect(puzzles, spoilt)
    assert found["optimal"] == 4
    assert found["rule"] == {"walk": 4, "first_discoverer": 4, "least": 4}


def test_unique_shortest_paths_are_counted() -> None:
    corridor = np.array([[[2, 1, 1], [0, 0, 1], [3, 1, 1]]], np.uint8)
    label = np.array([[[2, 4, 4], [0, 0, 4], [3, 4, 4]]], np.uint8)
    found = inspect(corridor, label)
    assert found["unique"] == found["optimal"] == 1
    assert set(found["copies"].values()) == {1}
    assert found["copies_per_maze"] == 8


def test_formulations_of_the_rule_prefer_down_left_right_up() -> None:
    maze = np.ones((3, 3), np.uint8)
    maze[0, 0], maze[2, 2] = 2, 3
    assert first_discoverer(maze) == least_path(maze) == {(1, 0), (2, 0), (2, 1)}
    maze = maze[::-1]
    assert first_discoverer(maze) == least_path(maze) == {(2, 1), (2, 2), (1, 2)}


@pytest.mark.skipif(not all((DATA / name).is_file() for name in FILES), reason="no Maze-Hard here")
def test_all_labels_follow_the_rule_and_no_shortest_path_is_unique(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "maze-hard.json"
    result = CliRunner().invoke(main, ["--data", str(DATA), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "| with a unique shortest path | 0 | 0 |" in result.output
    found = json.loads(out.read_text())
    for one in found.values():
        assert one["optimal"] == one["mazes"]
        assert one["unique"] == 0
        assert set(one["rule"].values()) == {one["mazes"]}
        assert one["length"]["least"] == 109
    assert sum(one["mazes"] for one in found.values()) >= 1500
    assert json.loads((DOCS / "models" / "maze-hard.json").read_text()) == found


def test_the_page_shows_the_counts_that_were_made() -> None:
    counts = json.loads((DOCS / "models" / "maze-hard.json").read_text())
    assert table(counts) in (DOCS / "maze-hard.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,answer\n", "'question' must hold square boards"),
        ("puzzle,label\nS G#,SoG#\n", "'question' must hold square boards"),
        ("question,answer\nS G,SoG\n", "'question' must hold square boards"),
        ("question,answer\nS G#,SxG#\n", "'answer' must hold only"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / FILES[0]
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        read(path)


def test_the_command_names_a_missing_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path)])
    assert result.exit_code == 2
    assert FILES[0] in result.output
