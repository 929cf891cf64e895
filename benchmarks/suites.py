"""What `benchmarks.accuracy` measures a model on: a suite of sets for the puzzles that it solves.

A domain without a suite of its own is measured on puzzles that it generates, and on the files of a
folder; `SUITES` names the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.curve import WAYS, Way, curve
from training.data.files import read_csv
from trm_sdk import Solution, SolveOptions, Solver, Task
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.render.image import draw_board

#: Family of a domain -> module and class.
SUITES = {
    "maze": "benchmarks.maze_sets:MazeSuite",
    "sudoku": "benchmarks.sudoku_sets:SudokuSuite",
}
#: Steps of an attempt without search after which its answers are counted.
ONE_ATTEMPT = (16, 64)


def sample(tasks: Sequence[Task], n: int | None) -> list[Task]:
    """Return at most n tasks, the same ones every time."""
    if n is None or n >= len(tasks):
        return list(tasks)
    return [tasks[i] for i in np.random.default_rng(0).choice(len(tasks), n, replace=False)]


def one_attempt(solver: Solver, tasks: Sequence[Task]) -> dict[str, float]:
    """Return the share that one attempt solves within each of `ONE_ATTEMPT` steps.

    An attempt stops at the first answer that the rules confirm, so the longest one tells of all.
    """
    options = SolveOptions(max_steps=ONE_ATTEMPT[-1], attempts=1)
    solutions = list(solver.solve_many(tasks, options, batch_size=16))
    steps = np.array([one.steps if one.correct else np.inf for one in solutions])
    return {str(most): float((steps <= most).mean()) for most in ONE_ATTEMPT}


class Suite:
    """Sets of one family of puzzles, and what is measured on them.

    Attributes
    ----------
    beside : set of str
        Sets that are left out of the percentiles over all.
    pooled : bool
        Whether percentiles over all sets together mean something.
    parts : tuple of str
        What `benchmarks.accuracy` measures unless told.
    ways : tuple of Way
        Lines of the figure, and points of the curve.
    panels : bool
        Whether each way has a panel of its own, against steps allowed instead of mean steps.
    ylabel : str
        What the figure shows.
    """

    beside: ClassVar[frozenset[str]] = frozenset()
    pooled: bool = True
    parts: ClassVar[tuple[str, ...]] = ("sets", "latency", "curve", "halting")
    ways: ClassVar[tuple[Way, ...]] = WAYS
    panels: ClassVar[bool] = False
    ylabel: ClassVar[str] = "exact grids, %"

    def __init__(self, solver: Solver) -> None:
        self.solver = solver

    def sets(
        self, data: Path | None, share: float, only: tuple[str, ...] = ()
    ) -> dict[str, list[Task]]:
        """Return the named sets: generated ones, held out, and each CSV of the folder.

        Parameters
        ----------
        data : Path or None
        share : float
            Of each generated set.
        only : tuple of str
            Beginnings of the names that are wanted, default all; others may be there too.
        """
        domain = self.solver.domain
        count = max(1, round(200 * share))
        sets = {"generated": tasks_of(self.solver, domain.examples(count, HELD_OUT_SEED))}
        for path in sorted(data.glob("*.csv")) if data else ():
            sets[path.stem] = read_csv(path, domain)
        return sets

    def right(self, solution: Solution) -> bool:
        """Return whether an answer is right, whatever the domain's own rules say of it."""
        return bool(solution.correct)

    def details(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return figures of a set that only this family of puzzles has."""
        return {}

    def by_givens(self) -> dict[str, list[Task]]:
        """Return generated puzzles by number of givens; none where that says nothing."""
        return {}

    def curve(self, tasks: Sequence[Task], batch_size: int) -> list[dict[str, Any]]:
        """Return points of accuracy against compute."""
        return curve(self.solver, tasks, batch_size, self.ways)

    # --- for the card -----------------------------------------------------------------------------

    def table(self, result: dict[str, Any]) -> list[str]:
        """Return the sets as a table, lines of Markdown."""
        rows = [self._row(result, name) for name in result.get("sets", {})]
        headings = list(dict.fromkeys(heading for row in rows for heading in row))
        lines = [
            "| " + " | ".join(headings) + " |",
            "| --- |" + " ---: |" * (len(headings) - 1),
        ]
        return lines + [
            "| " + " | ".join(row.get(heading, "") for heading in headings) + " |" for row in rows
        ]

    def _row(self, result: dict[str, Any], name: str) -> dict[str, str]:
        row, times = result["sets"][name], result.get("latency", {}).get(name)
        cells = {
            "set": name,
            "puzzles": f"{row['puzzles']:,}",
            **self.extra_columns(result, name),
            "exact": f"{row['exact']:.2%}",
            "verified": f"{row['verified']:.2%}",
            "falsely verified": f"{row['false_verified']}",
            "mean steps": f"{row['mean_steps']:.1f}",
        }
        if times:
            cells |= {"p50 ms": f"{times['p50_ms']:.1f}", "p95 ms": f"{times['p95_ms']:,.0f}"}
        return cells

    def extra_columns(self, result: dict[str, Any], name: str) -> dict[str, str]:
        """Return what the table says of a set beside its accuracy, by heading: here nothing."""
        return {}

    def curve_table(self, points: list[dict[str, Any]]) -> list[str]:
        """Return the curve as a table, lines of Markdown: a row per setting, a column per set."""
        sets = list(dict.fromkeys(point["set"] for point in points))
        size = max(point["puzzles"] for point in points)
        lines = [
            f"Accuracy against compute (up to {size} puzzles of each set; exact, mean steps):",
            "",
            "| attempts x steps | " + " | ".join(sets) + " |",
            "| --- |" + " ---: |" * len(sets),
        ]
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for point in points:
            rows.setdefault(_setting(point), {})[point["set"]] = point
        for label, row in rows.items():
            cells = [f"{row[name]['exact']:.1%}, {row[name]['mean_steps']:.0f}" for name in sets]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        return lines

    def failures(self, result: dict[str, Any]) -> list[tuple[Any, str]]:
        """Return up to three puzzles that were not solved, as pictures with a title each.

        Drawn is the last answer of a plain attempt, uncertain cells in red.
        """
        domain, pictures = self.solver.domain, []
        rows = result.get("sets", {}).values()
        puzzles = [puzzle for row in rows for puzzle in row.get("failures", ())]
        for puzzle in puzzles[:3]:
            *_, last = self.solver.stream(puzzle, SolveOptions(max_steps=64, attempts=1))
            certainty = last.probabilities.max(-1)
            image = draw_board(domain, domain.parse(puzzle), last.grid, certainty)
            pictures.append((image, f"after {last.index} steps: {last.confidence:.2f} sure"))
        return pictures


def _setting(point: dict[str, Any]) -> str:
    how = {
        "none": "",
        "noise": f", noise {point['noise']:g}",
        "symmetry": ", symmetries",
        "guess": ", guesses",
        "tree": ", a tree of guesses",
    }
    later = point.get("later_steps")
    first, more = point["max_steps"], point["attempts"] - 1
    spent = f"{more + 1} x {first}" if later is None or not more else f"{first} + {more} x {later}"
    return f"{spent}{how[point['explore']]}"


def suite_of(solver: Solver) -> Suite:
    """Return the suite for a model."""
    name = SUITES.get(solver.domain.family)
    if name is None:
        return Suite(solver)
    module, _, wanted = name.partition(":")
    suite: Suite = getattr(import_module(module), wanted)(solver)
    return suite


def tasks_of(solver: Solver, examples: Examples) -> list[Task]:
    """Return examples as tasks with answers."""
    decode = solver.domain.decode
    return [
        Task((decode(puzzle, examples.shape),), answers=(decode(answer, examples.shape),))
        for puzzle, answer in zip(examples.tokens, examples.answers, strict=True)
    ]
