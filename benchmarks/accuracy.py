"""Accuracy of a model on named sets, and what it costs: ``python -m benchmarks.accuracy MODEL``.

Six parts, each optional, kept together in one file of results:

- ``sets``: every set with the model's own defaults: right answers, share verified, steps;
- ``details``: what the suite measures on a set beside, such as the labels of mazes;
- ``latency``: single solves with the defaults, on a sample of each set (on a quiet machine);
- ``givens``: generated puzzles by number of givens, where puzzles differ in that;
- ``curve``: accuracy against compute, for more steps and for more attempts of every kind;
- ``halting``: how far the halting head's probability can be believed, at every step of plain runs.

Which sets there are, and what is measured on them beside, is the suite of the puzzles that MODEL
solves: see `benchmarks.suites`. Real puzzles come from a folder of CSV files (``--data``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe, sentence
from benchmarks.suites import Suite, sample, suite_of
from trm_sdk import SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand

RESULTS = Path(__file__).parent / "results"
PARTS = ("sets", "details", "latency", "givens", "curve", "halting")


def measure(
    suite: Suite, tasks: Sequence[Task], options: SolveOptions | None, batch_size: int
) -> dict[str, Any]:
    """Solve a set in batches; return shares that are right and verified, steps, and attempts."""
    solver, start = suite.solver, time.perf_counter()
    solutions = list(solver.solve_many(iter(tasks), options, batch_size=batch_size))
    seconds = time.perf_counter() - start
    exact = [suite.right(solution) for solution in solutions]
    verified = [solution.verified is True for solution in solutions]
    return {
        "puzzles": len(tasks),
        "exact": sum(exact) / len(exact),
        "verified": sum(verified) / len(verified),
        # Verified by the rules yet not right: in Sudoku only a puzzle with two solutions can be.
        "false_verified": sum(v and not e for v, e in zip(verified, exact, strict=True)),
        "mean_steps": float(np.mean([solution.steps for solution in solutions])),
        "mean_attempts": float(np.mean([solution.attempts for solution in solutions])),
        "puzzles_per_second": len(tasks) / seconds,
        # A few to look at in the model card.
        "failures": [
            solver.domain.to_line(task.grid)
            for task, right in zip(tasks, exact, strict=True)
            if not right
        ][:3],
    }


def latency(solver: Solver, tasks: Sequence[Task]) -> list[float]:
    """Return the seconds of single solves with the model's defaults, after a warm-up."""
    solver.solve(tasks[0])
    times = []
    for task in tasks:
        start = time.perf_counter()
        solver.solve(task)
        times.append(time.perf_counter() - start)
    return times


def reliability(suite: Suite, tasks: Sequence[Task], steps: int) -> list[dict[str, float]]:
    """Return how often answers were right, by tenths of the halting probability.

    Every step of a plain run counts, up to `steps` of them.
    """
    said: list[float] = []
    right: list[bool] = []
    for task in tasks:
        for step in suite.solver.stream(task, SolveOptions(max_steps=steps, attempts=1)):
            said.append(step.confidence)
            right.append(step.verified is True or step.grid == task.answer)
    tenth = np.minimum((np.array(said) * 10).astype(int), 9)
    return [
        {
            "low": number / 10,
            "steps": int((tenth == number).sum()),
            "said": float(np.array(said)[tenth == number].mean()),
            "right": float(np.array(right)[tenth == number].mean()),
        }
        for number in range(10)
        if (tenth == number).any()
    ]


def _percentiles(
    times: Sequence[float], weights: Sequence[float] | None = None
) -> dict[str, float]:
    """Return p50, p95 and p99 in ms; `weights` are the puzzles that each time stands for."""
    order = np.argsort(times)
    share = np.cumsum(np.ones(len(times)) if weights is None else np.array(weights)[order])
    at = [order[np.searchsorted(share, part * share[-1])] for part in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (1000 * times[index] for index in at)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


class Run:
    """One run of the parts: what it measures goes to `out` after each set.

    Parameters
    ----------
    suite : Suite
    sets : dict
        Name -> tasks.
    out : Path
        A file of results, which a run begins from.
    resume : bool
        Whether sets that `out` has with as many puzzles are left as they are.
    others : bool
        Whether what `out` has of sets that are not among these is kept.
    """

    def __init__(
        self, suite: Suite, sets: dict[str, list[Task]], out: Path, *, resume: bool, others: bool
    ) -> None:
        self.suite, self.sets, self.out = suite, sets, out
        self.resume, self.others = resume, others
        self.result: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
        self.console = Console()

    def save(self) -> None:
        """Write what has been measured so far."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")

    def _begin(self, part: str, puzzles: dict[str, int]) -> dict[str, Any]:
        """Return what is kept of a part, and drop the rest."""
        self.result[part] = {
            name: row
            for name, row in self.result.get(part, {}).items()
            if (self.resume and row.get("puzzles") == puzzles.get(name))
            or (self.others and name not in puzzles)
        }
        found: dict[str, Any] = self.result[part]
        return found

    def measure_sets(self, most: int | None, batch_size: int) -> None:
        """Measure every set with the defaults."""
        chosen = {name: sample(tasks, most) for name, tasks in self.sets.items()}
        rows = self._begin("sets", {name: len(tasks) for name, tasks in chosen.items()})
        table = _table("set", "puzzles", "right", "verified", "falsely", "steps")
        for name, tasks in chosen.items():
            if name in rows:
                continue
            row = rows[name] = measure(self.suite, tasks, None, batch_size)
            self.console.print(name, f"{row['exact']:.2%}", highlight=False)
            self.save()
            table.add_row(
                name, str(row["puzzles"]), f"{row['exact']:.2%}", f"{row['verified']:.2%}",
                str(row["false_verified"]), f"{row['mean_steps']:.1f}",
            )  # fmt: skip
        self.console.print(table)

    def measure_details(self, most: int | None) -> None:
        """Measure what the suite has of its own."""
        chosen = {name: sample(tasks, most) for name, tasks in self.sets.items()}
        rows = self._begin("details", {name: len(tasks) for name, tasks in chosen.items()})
        for name, tasks in chosen.items():
            if name in rows:
                continue
            rows[name] = {"puzzles": len(tasks), **self.suite.details(tasks)}
            self.console.print(name, "details measured", highlight=False)
            self.save()

    def measure_latency(self, timed: int) -> None:
        """Time single solves; over all sets each weighs as many as it has puzzles."""
        chosen = {name: sample(tasks, timed) for name, tasks in self.sets.items()}
        rows = self._begin("latency", {name: len(tasks) for name, tasks in chosen.items()})
        every: list[float] = []
        weights: list[float] = []
        for name, tasks in chosen.items():
            if name in rows and not self.suite.pooled:
                continue
            times = latency(self.suite.solver, tasks)
            rows[name] = {**_percentiles(times), "puzzles": len(times)}
            if name not in self.suite.beside:
                every += times
                weights += [len(self.sets[name]) / len(times)] * len(times)
            self.save()
        if self.suite.pooled and every:
            rows["all"] = _percentiles(every, weights)
        table = _table("set", "p50 ms", "p95 ms")
        for name, row in rows.items():
            table.add_row(name, *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms")))
        self.console.print(table)
        self.save()

    def measure_givens(self, batch_size: int) -> None:
        """Measure generated puzzles by number of givens."""
        rows = self.result["givens"] = {}
        table = _table("givens", "puzzles", "right", "steps")
        for name, tasks in self.suite.by_givens().items():
            row = rows[name] = measure(self.suite, tasks, None, batch_size)
            steps = f"{row['mean_steps']:.1f}"
            table.add_row(name, str(len(tasks)), f"{row['exact']:.2%}", steps)
        if rows:
            self.console.print(table)
        self.save()

    def measure_curve(self, puzzles: int, batch_size: int) -> None:
        """Measure accuracy against compute on some of each set."""
        points = self.result["curve"] = [
            point
            for point in self.result.get("curve", ())
            if (self.resume if point["set"] in self.sets else self.others)
        ]
        for name, tasks in self.sets.items():
            if any(point["set"] == name for point in points):
                continue
            found = self.suite.curve(sample(tasks, puzzles), batch_size)
            points += [{"set": name, **point} for point in found]
            self.console.print(name, "curve measured", highlight=False)
            self.save()
        table = _table("set", "explore", "noise", "steps", "attempts", "right", "steps taken")
        for point in points:
            table.add_row(
                point["set"], point["explore"], f"{point['noise']:g}", str(point["max_steps"]),
                str(point["attempts"]), f"{point['exact']:.1%}", f"{point['mean_steps']:.1f}",
            )  # fmt: skip
        self.console.print(table)

    def measure_halting(self) -> None:
        """Measure how far the halting head can be believed."""
        mixed = [task for tasks in self.sets.values() for task in sample(tasks, 60)]
        self.result["halting"] = reliability(self.suite, mixed, 32)
        table = _table("said", "right", "steps")
        for row in self.result["halting"]:
            table.add_row(f"{row['said']:.2f}", f"{row['right']:.2f}", str(row["steps"]))
        self.console.print(table)
        self.save()


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="[every part]")
@click.option("--only", multiple=True, help="Only sets whose name begins so.")
@click.option("--share", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Share of each generated set.")  # fmt: skip
@click.option("--most", type=int, help="Use at most so many puzzles of each set.")
@click.option("--detailed", type=int, help="Measure details on at most so many of each set.")
@click.option("--timed", default=100, show_default=True, help="Single solves timed a set.")
@click.option("--curve-puzzles", default=50, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--runtime", default="auto", show_default=True)
@click.option("--resume", is_flag=True, help="Keep sets that the file has with as many puzzles.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON [results/accuracy-MODEL.json].")
def main(
    model: str,
    data: Path | None,
    parts: tuple[str, ...],
    only: tuple[str, ...],
    share: float,
    most: int | None,
    detailed: int | None,
    timed: int,
    curve_puzzles: int,
    batch_size: int,
    threads: int,
    runtime: Any,
    resume: bool,
    out: Path | None,
) -> None:
    """Measure MODEL, a name or path as in Solver.from_pretrained."""
    solver = Solver.from_pretrained(model, runtime=runtime, threads=threads)
    suite = suite_of(solver)
    parts = parts or suite.parts
    # Minutes of generating that the givens' own part has no use for.
    sets = {} if set(parts) == {"givens"} else suite.sets(data, share, only)
    if only:
        sets = {name: tasks for name, tasks in sets.items() if name.startswith(only)}
    out = out or RESULTS / f"accuracy-{Path(model).name}.json"
    run = Run(suite, sets, out, resume=resume, others=bool(only))
    run.result |= {"model": Path(model).name, "machine": describe(threads)}
    run.result["defaults"] = solver.options.model_dump()
    run.console.print(sentence(run.result["machine"]), highlight=False)
    if "sets" in parts:
        run.measure_sets(most, batch_size)
    if "details" in parts:
        run.measure_details(detailed)
    if "latency" in parts:
        run.measure_latency(timed)
    if "givens" in parts:
        run.measure_givens(batch_size)
    if "curve" in parts:
        run.measure_curve(curve_puzzles, batch_size)
    if "halting" in parts:
        run.measure_halting()
    run.console.print(f"written to {run.out}", highlight=False)


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


if __name__ == "__main__":
    main()
