"""How much faster an algorithm made for the puzzle is: ``python -m benchmarks.classical``.

The project's own backtracking solver for Sudoku (`trm_sdk.domains.sudoku.engine.solve_count`, which
also proves that there is one solution) and its breadth-first search for mazes, in processor time of
one thread, and the bundled Sudoku model on the same puzzles. Writes ``results/classical.json`` and
the table in ``docs/limits.md``.
"""

from __future__ import annotations

import json
from typing import Any

import click

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, microseconds, sentence
from benchmarks.pages import LIMITS, fill
from trm_sdk import Grid, Solver
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.maze.engine.distances import shortest_path
from trm_sdk.domains.maze.engine.generate import maze_hard_like
from trm_sdk.domains.sudoku import engine


def measure(puzzles: int, mazes: int) -> dict[str, Any]:
    """Time all of them on freshly generated minimal puzzles and Maze-Hard-like mazes."""
    boards, answers = engine.generate(puzzles, seed=20_260_101)
    solver = Solver.from_pretrained("sudoku", threads=1)
    tasks = [Grid(board.reshape(9, 9)) for board in boards]
    grids = [solution.grid for solution in solver.solve_many(tasks)]
    right = sum(
        bool((grid.cells.reshape(-1) == answer).all())
        for grid, answer in zip(grids, answers, strict=True)
    )
    walls = maze_hard_like(mazes, seed=20_260_101).puzzles
    return {
        "puzzles": puzzles,
        "mazes": mazes,
        "right": right,
        "us": {
            "backtracking": microseconds(lambda: engine.solve_count(boards), puzzles),
            "model": microseconds(lambda: list(solver.solve_many(tasks)), puzzles, 1),
            "search": microseconds(lambda: shortest_path(walls), mazes),
        },
        "machine": describe(1),
    }


def fragment(result: dict[str, Any]) -> str:
    """Return the page's part: a table and how it was measured."""
    times, solved = result["us"], result["right"] / result["puzzles"]
    ratio = times["model"] / times["backtracking"]
    rows = [
        "| processor time of one thread | µs a puzzle |",
        "| --- | ---: |",
        "| Sudoku by backtracking, with proof that the solution is unique "
        f"| {times['backtracking']:,.0f} |",
        f"| the same puzzles by `sudoku`, its defaults, in batches ({solved:.1%} right) "
        f"| {times['model']:,.0f} |",
        "| a maze of 30x30 like those of Maze-Hard, by breadth-first search "
        f"| {times['search']:,.0f} |",
    ]
    text = (
        f"{result['puzzles']:,} generated minimal puzzles and {result['mazes']:,} generated mazes: "
        f"the model takes {ratio:,.0f} times as long as backtracking. "
        f"{sentence(result['machine'])}; `python -m benchmarks.classical`."
    )
    return "\n".join(rows) + f"\n\n{text}"


@click.command(cls=ErrorHandlingCommand)
@click.option("--puzzles", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--mazes", type=click.IntRange(1), default=200, show_default=True)
@click.option("--page", is_flag=True, help="Write the table into docs/limits.md.")
def main(puzzles: int, mazes: int, page: bool) -> None:
    """Time algorithms made for the puzzles, and the bundled model."""
    result = measure(puzzles, mazes)
    (RESULTS / "classical.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if page:
        fill(LIMITS, "classical", fragment(result))
    click.echo(fragment(result))


if __name__ == "__main__":
    main()
