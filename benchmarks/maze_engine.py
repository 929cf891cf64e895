"""How fast mazes are generated, labelled and judged: ``python -m benchmarks.maze_engine``.

Processor time of one core, the best of a few rounds after compiling. The rules are timed as they
run where numba is not installed, and compiled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.machine import describe, sentence
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.maze import rules
from trm_sdk.domains.maze.engine import distances, judge
from trm_sdk.domains.maze.engine.generate import KINDS, generate, maze_hard_like

#: Batches that the rules are timed with.
BATCHES = (1, 64)
#: Of a Maze-Hard-like board.
LEAST = 109


def seconds(call: Callable[[], Any], rounds: int) -> float:
    """Return the least processor time of a call after one that compiles."""
    call()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def generators(n: int, rounds: int) -> dict[str, float]:
    """Return mazes of 30x30 per second by kind, with random and farthest ends, and hard ones."""
    calls: dict[str, tuple[int, Callable[[], Any]]] = {}
    for kind in KINDS:
        for name, share in (("random ends", 0), ("farthest ends", 1)):
            calls[f"{kind}, {name}"] = n, partial(generate, n, 1, kinds={kind: 1}, farthest=share)
    few = max(n // 10, 1)
    calls[f"walls, {LEAST} moves (Maze-Hard-like)"] = few, partial(maze_hard_like, few, 1)
    calls[f"climbed, {LEAST} moves"] = (
        few,
        partial(generate, few, 1, kinds={"climbed": 1}, min_length=LEAST),
    )
    return {name: count / seconds(call, rounds) for name, (count, call) in calls.items()}


def checks(rounds: int) -> dict[str, dict[str, float]]:
    """Return milliseconds per batch of Maze-Hard-like boards, in numpy and compiled."""
    puzzles = maze_hard_like(max(BATCHES), 2).puzzles
    answers, lengths = distances.shortest_path(puzzles)
    fields = distances.targets(puzzles).directions
    found: dict[str, dict[str, float]] = {}
    for n in BATCHES:
        puzzle, answer, length, field = puzzles[:n], answers[:n], lengths[:n], fields[:n]
        calls: dict[str, list[Callable[[], Any] | None]] = {
            "distances": [partial(rules.distances, puzzle), partial(distances.distances, puzzle)],
            "shortest_path": [
                partial(rules.shortest_path, puzzle),
                partial(distances.shortest_path, puzzle),
            ],
            "targets": [None, partial(distances.targets, puzzle)],
            "judge, optimal answers": [
                partial(module.judge, puzzle, answer) for module in (rules, judge)
            ],
            "judge, lengths known": [
                partial(module.judge, puzzle, answer, length) for module in (rules, judge)
            ],
            "judge, nothing marked": [
                partial(module.judge, puzzle, puzzle) for module in (rules, judge)
            ],
            "walk": [partial(module.walk, puzzle, field) for module in (rules, judge)],
        }
        for name, pair in calls.items():
            found[f"{name}, batch {n}"] = {
                way: 1e3 * seconds(call, 5 * rounds)
                for way, call in zip(("numpy", "numba"), pair, strict=True)
                if call is not None
            }
    return found


@click.command(cls=ErrorHandlingCommand)
@click.option("--mazes", default=2000, show_default=True, help="Per kind; a tenth of hard ones.")
@click.option("--rounds", default=3, show_default=True, help="The fastest counts.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the figures there as JSON, too."
)
def main(mazes: int, rounds: int, out: Path | None) -> None:
    """Time the maze engine and the rules on one core."""
    machine = describe(threads=1)
    speeds, times = generators(mazes, rounds), checks(rounds)
    click.echo("| 30x30 | mazes a second |\n| --- | ---: |")
    for name, speed in speeds.items():
        click.echo(f"| {name} | {speed:,.0f} |")
    click.echo("\n| 30x30, Maze-Hard-like | numpy, ms | numba, ms |\n| --- | ---: | ---: |")
    for name, row in times.items():
        cells = (f"{row[way]:.3f}" if way in row else "" for way in ("numpy", "numba"))
        click.echo(f"| {name} | {' | '.join(cells)} |")
    click.echo(f"\n{sentence(machine)}, numpy {np.__version__}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine, "mazes_per_second": speeds, "ms": times}
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
