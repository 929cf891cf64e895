"""What the labels of Maze-Hard are: ``python -m benchmarks.maze_hard --data ../shared/data/maze``.

Maze-Hard is scored by the share of mazes whose answer equals a stored shortest path cell by cell.
This counts how many shortest paths there are, and tests one rule for which of them is stored:

    Walk from the start down the distances to the goal, preferring down, left, right, up.

Three formulations that share no code must pick the same path; and each label is turned and
mirrored with its maze into the eight copies that training with ``--aug`` sees, to count in how many
the rule still holds.

Reads ``maze-hard-train.csv`` and ``maze-hard-test.csv`` with the columns ``question`` and
``answer``, 900 characters each: ``#`` wall, space free, ``S``, ``G``, ``o`` the path.
"""

from __future__ import annotations

import csv
import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.maze import rules
from trm_sdk.domains.maze.engine import distances
from trm_sdk.domains.maze.text import SYMBOLS
from trm_sdk.errors import InvalidInputError

FILES = ("maze-hard-train.csv", "maze-hard-test.csv")
#: Letters of `rules.MOVES`; in this alphabet their order is the order of preference.
LETTERS = "DLRU"
#: The eight symmetries of a square as (quarter turns anticlockwise, then mirrored left to right).
COPIES = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))

Boards = npt.NDArray[np.uint8]


def read(path: Path) -> tuple[Boards, Boards]:
    """Return the mazes and labels of a file, each uint8 of shape (n, side, side).

    Raises
    ------
    InvalidInputError
        If the file has other columns or characters, or lines that are not square boards.
    OSError
        If it can't be read.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = []
    for column in ("question", "answer"):
        texts = [row.get(column) or "" for row in rows]
        side = math.isqrt(len(texts[0])) if texts else 0
        if not side or {len(text) for text in texts} != {side * side}:
            raise InvalidInputError(f"{path}: column {column!r} must hold square boards on a line")
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        known = np.frombuffer(SYMBOLS.encode("utf-32-le"), np.uint32)
        if not np.isin(codes, known).all():
            raise InvalidInputError(f"{path}: column {column!r} must hold only {SYMBOLS!r}")
        values = (codes[:, None] == known).argmax(1).astype(np.uint8)
        parts.append(values.reshape(-1, side, side))
    return parts[0], parts[1]


def first_discoverer(board: Boards) -> set[tuple[int, int]]:
    """Return the cells of the path that a breadth-first search from the start leads to.

    Neighbours are scanned down, left, right, up; the first to discover a cell is its parent; the
    path goes from the goal back along parents.
    """
    start, goal = (
        (int(rows[0]), int(columns[0]))
        for rows, columns in (np.nonzero(board == value) for value in (rules.START, rules.GOAL))
    )
    parents = {start: start}
    queue = deque([start])
    while queue:
        row, column = queue.popleft()
        for down, right in rules.MOVES:
            near = row + down, column + right
            inside = 0 <= near[0] < board.shape[0] and 0 <= near[1] < board.shape[1]
            if inside and board[near] != rules.WALL and near not in parents:
                parents[near] = row, column
                queue.append(near)
    cell, cells = parents[goal], set()
    while cell != start:
        cells.add(cell)
        cell = parents[cell]
    return cells


def least_path(board: Boards) -> set[tuple[int, int]]:
    """Return the cells of the shortest path that is first in the alphabet, written in `LETTERS`.

    Of all shortest ways from a cell, the least is the least of a letter and the least way from
    where it leads; so words grow from the goal outwards.
    """
    (goal,) = np.argwhere(board == rules.GOAL).tolist()
    words = {(goal[0], goal[1]): ""}
    ring = dict(words)
    while ring:
        wider: dict[tuple[int, int], str] = {}
        for (row, column), word in ring.items():
            for letter, (down, right) in zip(LETTERS, rules.MOVES, strict=True):
                near = row - down, column - right  # the move leads from there to here
                if not (0 <= near[0] < board.shape[0] and 0 <= near[1] < board.shape[1]):
                    continue
                if board[near] == rules.WALL or near in words:
                    continue
                wider[near] = min(letter + word, wider.get(near, letter + word))
        words.update(wider)
        ring = wider
    row, column = np.argwhere(board == rules.START)[0].tolist()
    cells = set()
    for letter in words[row, column][:-1]:
        down, right = rules.MOVES[LETTERS.index(letter)]
        row, column = row + down, column + right
        cells.add((row, column))
    return cells


def copied(boards: Boards, turns: int, mirrored: bool) -> Boards:
    """Return boards turned by quarter turns, then mirrored."""
    turned = np.rot90(boards, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def inspect(puzzles: Boards, labels: Boards) -> dict[str, Any]:
    """Return the counts for mazes and their stored labels, uint8 of shape (n, rows, columns)."""
    answers, lengths = distances.shortest_path(puzzles)
    numbers = distances.count_shortest_paths_exactly(puzzles)
    on = [set(map(tuple, np.argwhere(label == rules.PATH).tolist())) for label in labels]
    pairs = list(zip(puzzles, on, strict=True))
    border = np.ones(puzzles.shape[1:], np.bool_)
    border[1:-1, 1:-1] = False
    walls = (puzzles == rules.WALL).mean(axis=(1, 2))
    holds = {
        f"turned by {90 * turns}{', then mirrored' if mirrored else ''}": (
            distances.shortest_path(copied(puzzles, turns, mirrored))[0]
            == copied(labels, turns, mirrored)
        ).all(axis=(1, 2))
        for turns, mirrored in COPIES
    }
    return {
        "mazes": len(puzzles),
        "optimal": int((rules.judge(puzzles, labels) == rules.OPTIMAL).sum()),
        "unique": sum(number == 1 for number in numbers),
        "paths": _spread(numbers),
        "rule": {
            "walk": int((answers == labels).all(axis=(1, 2)).sum()),
            "first_discoverer": sum(first_discoverer(puzzle) == label for puzzle, label in pairs),
            "least": sum(least_path(puzzle) == label for puzzle, label in pairs),
        },
        "copies": {name: int(one.sum()) for name, one in holds.items()},
        "copies_per_maze": round(float(np.sum(list(holds.values()), axis=0).mean()), 4),
        "length": _spread(lengths.tolist()),
        "walls": {
            "least": round(float(walls.min()), 4),
            "mean": round(float(walls.mean()), 4),
            "most": round(float(walls.max()), 4),
            "border": round(float((puzzles[:, border] == rules.WALL).mean()), 4),
        },
    }


def _spread(values: list[int]) -> dict[str, int]:
    ordered = sorted(values)
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the counts as Markdown, a column a file."""

    def line(name: str, cells: list[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    columns = list(results.values())
    rule = {
        "walk": "label = walk down the distances: down, left, right, up",
        "first_discoverer": "label = first discoverer, breadth-first from the start",
        "least": "label = least shortest path by D < L < R < U",
    }
    ends = ("least", "median", "most")
    shares = {"least": "least", "mean": "mean", "most": "most", "border": "on the border"}
    return "\n".join(
        [
            line("", list(results)),
            line("---", ["---:"] * len(columns)),
            line("mazes", [f"{one['mazes']:,}" for one in columns]),
            line("label is a shortest path", [f"{one['optimal']:,}" for one in columns]),
            line("with a unique shortest path", [f"{one['unique']:,}" for one in columns]),
            *(
                line(f"shortest paths, {end}", [_number(one["paths"][end]) for one in columns])
                for end in ends
            ),
            *(
                line(name, [f"{one['rule'][key]:,}" for one in columns])
                for key, name in rule.items()
            ),
            *(
                line(f"rule holds {name}", [f"{one['copies'][name]:,}" for one in columns])
                for name in columns[0]["copies"]
            ),
            line(
                "copies of 8 that keep the rule", [f"{c['copies_per_maze']:.2f}" for c in columns]
            ),
            *(line(f"moves, {end}", [str(one["length"][end]) for one in columns]) for end in ends),
            *(
                line(f"share of walls, {where}", [f"{one['walls'][end]:.3f}" for one in columns])
                for end, where in shares.items()
            ),
        ]
    )


def _number(value: int) -> str:
    return f"{value:,}" if value < 10**9 else f"{value:.2e}"


@click.command(cls=ErrorHandlingCommand)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder with maze-hard-train.csv and maze-hard-test.csv.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the counts there as JSON, too.")
def main(data: Path, out: Path | None) -> None:
    """Count the shortest paths of Maze-Hard, and test the rule behind its labels."""
    results = {path.stem: inspect(*read(path)) for path in (data / name for name in FILES)}
    click.echo(table(results))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
