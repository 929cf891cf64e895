"""The sets on which a model that solves mazes is measured, and what is measured beside.

Three figures, from one plain attempt to what `Solver.solve` does:

- ``label``: the stored answer cell by cell, one attempt of a fixed number of steps, no rules asked:
  the metric of the public benchmark Maze-Hard;
- ``one_attempt``: any shortest path by the marked cells, where the rules stop the attempt at the
  first one;
- ``exact``: any shortest path, with the model's own options (attempts, symmetries, rules).

The first two are details of a set, the third is what every set has.

Maze-Hard's test mazes come from a folder with ``maze-hard-test.csv``; the other sets are generated,
from a seed that training leaves out. On larger boards news has further to travel: an attempt may
take ``steps_per_cell`` steps a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from benchmarks.curve import Way
from benchmarks.machine import microseconds
from benchmarks.suites import Suite, tasks_of
from training.data.files import read_csv
from trm_sdk import Grid, Solution, SolveOptions, Solver, Task
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.maze.engine.distances import shortest_path
from trm_sdk.render.image import draw_board
from trm_sdk.search.answers import Answers

#: Steps after which labels are compared, without any rule; of the curve, and of every set.
CURVE = (8, 16, 32, 48, 64, 96, 128, 192, 256)
FIXED = tuple(steps for steps in CURVE if steps <= 128)
_PERFECT = {"dfs": 1, "wilson": 1, "prim": 1}
#: Name, mazes, generator options.
SETS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("perfect 15", 200, {"rows": 15, "kinds": _PERFECT}),
    ("perfect 30", 200, {"rows": 30, "kinds": _PERFECT}),
    ("braided 30", 100, {"rows": 30, "kinds": {"braided": 1}}),
    ("walls 30", 100, {"rows": 30, "kinds": {"walls": 1}, "farthest": 1.0}),
    ("open 30", 100, {"rows": 30, "kinds": {"open": 1}, "farthest": 1.0}),
    ("perfect 59", 100, {"rows": 59, "kinds": _PERFECT}),
    ("braided 59", 100, {"rows": 59, "kinds": {"braided": 1}}),
    ("walls 59", 100, {"rows": 59, "kinds": {"walls": 1}, "farthest": 1.0}),
    ("perfect 101", 20, {"rows": 101, "kinds": _PERFECT}),
    ("walls 101", 20, {"rows": 101, "kinds": {"walls": 1}, "farthest": 1.0}),
)


class Attempt(NamedTuple):
    """One plain attempt at each maze of a set.

    Attributes
    ----------
    labels : bool array of shape (mazes, len(fixed))
        The stored answer stands after so many steps.
    first : int array of shape (mazes,)
        Step of the first shortest path; 0 where there was none.
    """

    labels: np.ndarray
    first: np.ndarray


def attempt(
    solver: Solver, tasks: Sequence[Task], steps: int, fixed: Sequence[int] = FIXED
) -> Attempt:
    """Run one plain attempt of `steps` steps at each maze, some at a time.

    It ends early once each has had a shortest path and labels were compared at all `fixed` steps.
    """
    domain, runtime = solver.domain, solver.runtime
    reading = Answers(runtime.spec.model, domain.vocabulary)
    examples = domain.encode_examples(tasks)
    rows = max(1, min(16, 8 * 900 // math.prod(examples.shape)))
    labels, first = np.zeros((len(tasks), len(fixed)), bool), np.zeros(len(tasks), int)
    for start in range(0, len(tasks), rows):
        part = examples.rows(slice(start, start + rows))
        given = domain.vocabulary.is_given[part.tokens]
        state = runtime.start(part.tokens.reshape(-1, *part.shape))
        here = slice(start, start + len(part.tokens))
        for step in range(1, steps + 1):
            out = runtime.step(state)
            state = out.state
            answers = reading.tokens(part.tokens, given, out.logits)
            if step in fixed:
                labels[here, fixed.index(step)] = (answers == part.answers).all(1)
            open_ = first[here] == 0
            if open_.any():
                right = domain.verify_tokens(part.tokens, answers, part.shape)
                first[here] = np.where(open_ & right, step, first[here])
            elif step >= max(fixed):
                break
    return Attempt(labels, first)


def marks(solver: Solver, task: Task, steps: int) -> tuple[Grid, np.ndarray]:
    """Return the path that the marks of one plain attempt show after `steps` steps.

    And how certain each is, float of the board's shape. The walk along the direction head is not
    consulted.
    """
    domain, runtime = solver.domain, solver.runtime
    reading = Answers(runtime.spec.model, domain.vocabulary)
    puzzle = domain.encode(task)
    state = runtime.start(puzzle.tokens.reshape(1, *puzzle.shape))
    for _ in range(steps):
        out = runtime.step(state)
        state = out.state
    (answer,) = reading.tokens(puzzle.tokens[None], puzzle.given[None], out.logits)
    shares = reading.probabilities(puzzle, out.logits[0])
    return domain.decode(answer, puzzle.shape), shares.max(-1)


def shortest(task: Task, grid: Any) -> bool:
    """Return whether an answer is a shortest path, by another way than the domain's rules.

    A plain queue over sets of cells, written for this check.
    """
    cells, marked = task.grid.tolist(), grid.tolist()
    free = {(r, c) for r, row in enumerate(cells) for c, value in enumerate(row) if value != 0}
    (start,) = [place for place in free if cells[place[0]][place[1]] == 2]
    (goal,) = [place for place in free if cells[place[0]][place[1]] == 3]

    def moves(inside: set[tuple[int, int]]) -> int:
        seen, layer, count = {start}, {start}, 0
        while layer and goal not in seen:
            layer = {
                near
                for r, c in layer
                for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1))
                if near in inside and near not in seen
            }
            seen |= layer
            count += 1
        return count if goal in seen else -1

    path = {(r, c) for r, row in enumerate(marked) for c, value in enumerate(row) if value == 4}
    return path <= free and moves(path | {start, goal}) == moves(free) == len(path) + 1


class MazeSuite(Suite):
    """Maze-Hard and generated mazes of several kinds and sizes."""

    pooled = False
    parts: ClassVar[tuple[str, ...]] = ("sets", "details", "latency", "curve")
    ways: ClassVar[tuple[Way, ...]] = (
        Way("none", "a shortest path, by the rules", "o-", CURVE[-1], CURVE),
        Way("label", "the stored path, no rules", "s--", CURVE[-1], CURVE),
    )
    panels: ClassVar[bool] = True
    ylabel: ClassVar[str] = "mazes, %"

    def sets(
        self, data: Path | None, share: float, only: tuple[str, ...] = ()
    ) -> dict[str, list[Task]]:
        """Return the named sets; see `Suite.sets`."""
        domain, sets = self.solver.domain, {}
        if data is not None:
            sets["Maze-Hard test"] = read_csv(data / "maze-hard-test.csv", domain)
        for name, count, options in SETS:
            if only and not name.startswith(only):
                continue
            made = domain.examples(max(1, round(share * count)), HELD_OUT_SEED, options)
            sets[name] = tasks_of(self.solver, made)
        return sets

    def right(self, solution: Solution) -> bool:
        """Return whether an answer is a shortest path: any, not only the stored one."""
        return shortest(solution.task, solution.grid)

    def details(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return what one plain attempt does, and what breadth-first search takes."""
        shape = tasks[0].grid.shape
        allowed = self.solver.options.on_board(math.prod(shape)).max_steps
        one = attempt(self.solver, tasks, max(allowed, *FIXED))
        solved = one.first > 0
        boards = np.stack([task.grid.cells for task in tasks])
        return {
            "board": list(shape),
            "label": {str(step): float(one.labels[:, i].mean()) for i, step in enumerate(FIXED)},
            "one_attempt": float(solved.mean()),
            "steps_allowed": max(allowed, *FIXED),
            "steps_p50": float(np.median(one.first[solved])) if solved.any() else None,
            "steps_max": int(one.first.max()),
            "search_us": microseconds(lambda: shortest_path(boards), len(tasks)),
            # Of the marks in one attempt; the walk along the directions may solve them.
            "failures": [
                self.solver.domain.to_line(task.grid)
                for task, found in zip(tasks, solved, strict=True)
                if not found
            ],
        }

    def curve(self, tasks: Sequence[Task], batch_size: int) -> list[dict[str, Any]]:
        """Return points of one attempt: any shortest path so far, and the stored one right then."""
        one = attempt(self.solver, tasks, CURVE[-1], CURVE)
        points = []
        for way in self.ways:
            for i, size in enumerate(way.sizes):
                solved = (one.first > 0) & (one.first <= size)
                exact = one.labels[:, i] if way.explore == "label" else solved
                spent = np.where(solved, one.first, size)
                points.append(
                    {
                        "explore": way.explore,
                        "noise": 0.0,
                        "max_steps": size,
                        "attempts": 1,
                        "puzzles": len(tasks),
                        "exact": float(exact.mean()),
                        "mean_steps": float(size if way.explore == "label" else spent.mean()),
                    }
                )
        return points

    # --- for the card -----------------------------------------------------------------------------

    def table(self, result: dict[str, Any]) -> list[str]:
        """Return the sets as a table, lines of Markdown."""
        times, details = result.get("latency", {}), result.get("details", {})
        lines = [
            "| set | mazes | defaults | falsely verified | ms p50 / p95 | breadth-first search, ms "
            "| one attempt: mazes | by the rules | steps p50 / max | label, 48 / 64 / 96 steps |",
            "| --- |" + " ---: |" * 9,
        ]
        for name, row in result["sets"].items():
            one, time = details.get(name), times.get(name)
            took = f"{time['p50_ms']:,.0f} / {time['p95_ms']:,.0f}" if time else "-"
            cells = [name, f"{row['puzzles']}", f"{row['exact']:.1%}", f"{row['false_verified']}"]
            if one is None:
                cells += [took, "-", "-", "-", "-", "-"]
            else:
                median = one["steps_p50"]
                cells += [
                    took,
                    f"{one['search_us'] / 1000:.3f}",
                    f"{one['puzzles']}",
                    f"{one['one_attempt']:.1%}",
                    "-" if median is None else f"{median:.0f} / {one['steps_max']}",
                    " / ".join(f"{100 * one['label'][step]:.1f}" for step in ("48", "64", "96")),
                ]
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def curve_table(self, points: list[dict[str, Any]]) -> list[str]:
        """Return the curve as a table, lines of Markdown: a row a set, a column so many steps."""
        rows: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
        for point in points:
            rows.setdefault(point["set"], {})[point["explore"], point["max_steps"]] = point
        columns = sorted({point["max_steps"] for point in points})
        size = max(point["puzzles"] for point in points)
        lines = [
            f"One attempt of so many steps (up to {size} mazes of each set), in percent: a "
            "shortest path at some step, found by the rules / the stored path at the last step, "
            "no rules asked:",
            "",
            "| set | " + " | ".join(str(steps) for steps in columns) + " |",
            "| --- |" + " ---: |" * len(columns),
        ]
        for name, row in rows.items():
            cells = [
                " / ".join(
                    f"{100 * row[way, steps]['exact']:.0f}" if (way, steps) in row else "-"
                    for way in ("none", "label")
                )
                for steps in columns
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return lines

    def failures(self, result: dict[str, Any]) -> list[tuple[Any, str]]:
        """Return up to three mazes in which the marks of one attempt never were a shortest path.

        Drawn are the marks where they stood after all steps, each with a dot where unsure.
        """
        domain, pictures = self.solver.domain, []
        failed = [
            (name, row, text)
            for name, row in result.get("details", {}).items()
            for text in row.get("failures", ())
        ]
        for name, row, text in failed[:3]:
            task = domain.parse(text)
            grid, certainty = marks(self.solver, task, row["steps_allowed"])
            solution = self.solver.solve(task, SolveOptions(attempts=1))
            walk = f"solved after {solution.steps}" if solution.verified else "no better"
            title = f"{name}: marks after {row['steps_allowed']} steps\n(with the walk: {walk})"
            pictures.append((draw_board(domain, task, grid, certainty), title))
        return pictures
