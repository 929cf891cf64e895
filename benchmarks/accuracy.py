"""Exact accuracy of a model on named sets, and what it costs: ``python -m benchmarks.accuracy``.

Five parts, each optional, kept together in one file of results:

- ``sets``: every set with the model's own defaults: exact grids, share verified, steps;
- ``latency``: single solves with the defaults, on a sample of each set (on a quiet machine);
- ``givens``: generated puzzles by number of givens;
- ``curve``: accuracy against compute, for more steps and for more attempts of every kind;
- ``halting``: how far the halting head's probability can be believed, at every step of plain runs.

Real puzzles come from a folder of CSV files in Sudoku-Extreme's form (``--data``).
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

from benchmarks.curve import curve
from benchmarks.machine import describe, sentence
from training.data.files import read_csv
from trm_sdk import Grid, SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.errors import InvalidInputError

RESULTS = Path(__file__).parent / "results"
PARTS = ("sets", "latency", "givens", "curve", "halting")
#: Generated sets that are left out of the percentiles over all.
BESIDE = ("34+ givens", "hard, generated", "hardest, generated")
#: (fewest, most) givens of the generated sets by givens; random minimal puzzles have 24 or so.
GIVENS = ((22, 23), (24, 25), (26, 28), (29, 33), (34, 40), (41, 55))


def sudoku_of(solver: Solver) -> Sudoku:
    """The domain of a model that solves Sudoku.

    Raises
    ------
    InvalidInputError
        If it solves something else.
    """
    if not isinstance(solver.domain, Sudoku):
        raise InvalidInputError(f"MODEL must solve Sudoku; this one solves {solver.domain.name!r}")
    return solver.domain


def as_tasks(domain: Sudoku, puzzles: np.ndarray, solutions: np.ndarray) -> list[Task]:
    """Boards of shape (n, cells), 0 for a blank, as tasks that know their answers."""
    return [
        Task((Grid(puzzle.reshape(domain.shape)),), answers=(Grid(solution.reshape(domain.shape)),))
        for puzzle, solution in zip(puzzles, solutions, strict=True)
    ]


def generated(
    domain: Sudoku, n: int, givens: tuple[int, int] | None = None, clues_added: int = 0
) -> list[Task]:
    """Held-out puzzles: minimal ones with clues added, or a number of givens from a range."""
    if givens is None:
        made = domain.examples(n, HELD_OUT_SEED, {"clues_added": (clues_added, clues_added)})
        first = domain.vocabulary.first
        return as_tasks(domain, made.tokens - first, made.answers - first)
    boards = engine.generate(n, domain.box, seed=HELD_OUT_SEED + givens[0], givens=givens)
    return as_tasks(domain, *boards)


def generated_hard(domain: Sudoku, n: int) -> list[Task]:
    """Held-out minimal puzzles after a hundred rounds of clue swaps towards a higher rating."""
    pool = engine.HardPool(n, domain.box, seed=HELD_OUT_SEED)
    pool.advance(100)
    return as_tasks(domain, pool.puzzles, pool.solutions)


def generated_hardest(domain: Sudoku, n: int) -> list[Task]:
    """Held-out minimal puzzles that no single lookahead solves; see `engine.probe`."""
    pool = engine.HardPool(n, domain.box, seed=HELD_OUT_SEED, rating="probing")
    pool.advance(1200)
    return as_tasks(domain, pool.puzzles, pool.solutions)


def read_sets(domain: Sudoku, data: Path | None, minimal: int) -> dict[str, list[Task]]:
    """The named sets: generated minimal puzzles, and each CSV of the folder."""
    sets = {"minimal": generated(domain, minimal)}
    if domain.size != 9:
        return sets
    sets["34+ givens"] = generated(domain, 1000, (34, 55))
    # What defaults are chosen on: the real sets are for the last look alone.
    sets["hard, generated"] = generated_hard(domain, 200)
    sets["hardest, generated"] = generated_hardest(domain, 60)
    for path in sorted(data.glob("*.csv")) if data else ():
        sets[path.stem] = read_csv(path, domain)
    return sets


def sample(tasks: Sequence[Task], n: int | None) -> list[Task]:
    """At most n tasks, the same ones every time."""
    if n is None or n >= len(tasks):
        return list(tasks)
    return [tasks[i] for i in np.random.default_rng(0).choice(len(tasks), n, replace=False)]


def measure(
    solver: Solver, tasks: Sequence[Task], options: SolveOptions | None, batch_size: int
) -> dict[str, Any]:
    """Solve a set in batches: exact grids, verified ones, false claims, steps and attempts."""
    start = time.perf_counter()
    solutions = list(solver.solve_many(iter(tasks), options, batch_size=batch_size))
    seconds = time.perf_counter() - start
    exact = [bool(solution.correct) for solution in solutions]
    verified = [solution.verified is True for solution in solutions]
    return {
        "puzzles": len(tasks),
        "exact": sum(exact) / len(exact),
        "verified": sum(verified) / len(verified),
        # Verified by the rules yet not the known answer: only a puzzle with two solutions can be.
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
    """Seconds of single solves with the model's defaults, after a warm-up."""
    solver.solve(tasks[0])
    times = []
    for task in tasks:
        start = time.perf_counter()
        solver.solve(task)
        times.append(time.perf_counter() - start)
    return times


def reliability(solver: Solver, tasks: Sequence[Task], steps: int) -> list[dict[str, float]]:
    """Of all steps of plain runs whose halting probability is in a tenth, how many were right."""
    said: list[float] = []
    right: list[bool] = []
    for task in tasks:
        for step in solver.stream(task, SolveOptions(max_steps=steps, attempts=1)):
            said.append(step.confidence)
            right.append(step.grid == task.answer)
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
    """Median and tails in milliseconds; `weights` where a time stands for several puzzles."""
    order = np.argsort(times)
    share = np.cumsum(np.ones(len(times)) if weights is None else np.array(weights)[order])
    at = [order[np.searchsorted(share, part * share[-1])] for part in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (1000 * times[index] for index in at)
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS)
@click.option("--minimal", default=2000, show_default=True, help="Generated minimal puzzles.")
@click.option("--most", type=int, help="Use at most so many puzzles of each set.")
@click.option("--timed", default=100, show_default=True, help="Single solves timed a set.")
@click.option("--curve-puzzles", default=50, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--runtime", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON [results/accuracy-MODEL.json].")
def main(
    model: str,
    data: Path | None,
    parts: tuple[str, ...],
    minimal: int,
    most: int | None,
    timed: int,
    curve_puzzles: int,
    batch_size: int,
    threads: int,
    runtime: Any,
    out: Path | None,
) -> None:
    """Measure MODEL, a name or path as in Solver.from_pretrained."""
    console = Console()
    solver = Solver.from_pretrained(model, runtime=runtime, threads=threads)
    domain = sudoku_of(solver)
    out = out or RESULTS / f"accuracy-{Path(model).name}.json"
    result: dict[str, Any] = json.loads(out.read_text()) if out.is_file() else {}
    result |= {"model": Path(model).name, "machine": describe(threads)}
    console.print(sentence(result["machine"]), highlight=False)
    result["defaults"] = solver.options.model_dump()
    # Minutes of generating that the givens' own part has no use for.
    sets = {} if set(parts) == {"givens"} else read_sets(domain, data, minimal)

    def save() -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    if "sets" in parts:
        result["sets"] = {}
        table = _table("set", "puzzles", "exact", "verified", "falsely", "steps")
        for name, tasks in sets.items():
            row = measure(solver, sample(tasks, most), None, batch_size)
            result["sets"][name] = row
            console.print(name, f"{row['exact']:.2%}", highlight=False)
            save()
            table.add_row(
                name, str(row["puzzles"]), f"{row['exact']:.2%}", f"{row['verified']:.2%}",
                str(row["false_verified"]), f"{row['mean_steps']:.1f}",
            )  # fmt: skip
        console.print(table)
    if "latency" in parts:
        result["latency"] = {}
        every: list[float] = []
        weights: list[float] = []
        for name, tasks in sets.items():
            times = latency(solver, sample(tasks, timed))
            result["latency"][name] = _percentiles(times)
            if name not in BESIDE:  # minimal and real, by their sizes
                every += times
                weights += [len(tasks) / len(times)] * len(times)
        result["latency"]["all"] = _percentiles(every, weights)
        table = _table("set", "p50 ms", "p95 ms", "p99 ms")
        for name, row in result["latency"].items():
            table.add_row(name, *(f"{value:.1f}" for value in row.values()))
        console.print(table)
        save()
    if "givens" in parts:
        result["givens"] = {}
        table = _table("givens", "puzzles", "exact", "steps")
        ranges = GIVENS if domain.size == 9 else ()
        for low, high in ranges:
            row = measure(solver, generated(domain, 300, (low, high)), None, batch_size)
            result["givens"][f"{low}-{high}"] = row
            table.add_row(f"{low}-{high}", "300", f"{row['exact']:.2%}", f"{row['mean_steps']:.1f}")
        console.print(table)
        save()
    if "curve" in parts:
        result["curve"] = []
        table = _table("set", "explore", "noise", "steps", "attempts", "exact", "steps taken")
        for name, tasks in sets.items():
            for point in curve(solver, sample(tasks, curve_puzzles), batch_size):
                result["curve"].append({"set": name, **point})
                table.add_row(
                    name, point["explore"], f"{point['noise']:g}", str(point["max_steps"]),
                    str(point["attempts"]), f"{point['exact']:.1%}", f"{point['mean_steps']:.1f}",
                )  # fmt: skip
            console.print(name, "curve measured", highlight=False)
            save()
        console.print(table)
    if "halting" in parts:
        mixed = [task for tasks in sets.values() for task in sample(tasks, 60)]
        result["halting"] = reliability(solver, mixed, 32)
        table = _table("said", "right", "steps")
        for row in result["halting"]:
            table.add_row(f"{row['said']:.2f}", f"{row['right']:.2f}", str(row["steps"]))
        console.print(table)
    save()
    console.print(f"written to {out}", highlight=False)


def _table(*columns: str) -> Table:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


if __name__ == "__main__":
    main()
