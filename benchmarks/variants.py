"""Sudoku and its variants by one model's weights: ``python -m benchmarks.variants``.

Of each domain, minimal puzzles (no clue to spare) of a seed that training does not draw from: exact
answers in one attempt of 16 and of 64 steps, and with the model's defaults, whose single solves are
timed. A puzzle has one answer, so that verified answers are the exact ones; each is compared all
the same.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, sentence
from benchmarks.suites import ONE_ATTEMPT, one_attempt
from trm_sdk import Solver, Task, get_domain
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED

DOMAINS = ("sudoku", "sudoku-x", "windoku", "jigsaw")


def tasks_of(name: str, n: int) -> list[Task]:
    """Return the first n held-out minimal puzzles of a domain, with their answers."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    domain = get_domain(name)
    options = domain.generator_options({})
    return [domain.generate(rng, **options) for _ in range(n)]


def measure(solver: Solver, tasks: list[Task]) -> dict[str, Any]:
    """Measure accuracy in one attempt and with the defaults, and the time of single solves."""
    row: dict[str, Any] = {"puzzles": len(tasks), "one_attempt": one_attempt(solver, tasks)}
    seconds, steps_taken, exact, false = [], [], 0, 0
    for task in tasks:
        begun = time.perf_counter()
        solution = solver.solve(task)
        seconds.append(time.perf_counter() - begun)
        steps_taken.append(solution.steps)
        exact += solution.correct is True
        false += solution.verified is True and solution.correct is False
    row |= {
        "exact": exact / len(tasks),
        "false_verified": false,
        "mean_steps": round(float(np.mean(steps_taken)), 1),
        "p50_ms": round(1e3 * float(np.percentile(seconds, 50)), 1),
        "p95_ms": round(1e3 * float(np.percentile(seconds, 95)), 1),
    }
    return row


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| minimal puzzles | number | one attempt, 16 steps | 64 steps | defaults | false "
        "| mean steps | p50 ms | p95 ms |",
        "| --- |" + " ---: |" * 8,
    ]
    for name, row in result["domains"].items():
        short, long = (row["one_attempt"][str(steps)] for steps in ONE_ATTEMPT)
        lines.append(
            f"| {name} | {row['puzzles']:,} | {short:.1%} | {long:.1%} | {row['exact']:.1%} | "
            f"{row['false_verified']} | {row['mean_steps']:.1f} | {row['p50_ms']:.1f} | "
            f"{row['p95_ms']:,.0f} |"
        )
    return "\n".join([*lines, "", sentence(result["machine"])])


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.argument("model", default="sudoku")
@click.option("--puzzles", default=300, show_default=True, type=click.IntRange(1))
@click.option(
    "--only", multiple=True, type=click.Choice(DOMAINS), help="Of these; others keep their figures."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "variants.json")
def main(model: str, puzzles: int, only: tuple[str, ...], threads: int, out: Path) -> None:
    console = Console()
    result: dict[str, Any] = {"model": model, "machine": describe(threads), "domains": {}}
    if only and out.is_file():
        result["domains"] = json.loads(out.read_text(encoding="utf-8"))["domains"]
    with Solver.from_pretrained(model, threads=threads) as solver:
        result["defaults"] = solver.options.model_dump()
        for name in only or DOMAINS:
            own = solver if name == solver.domain.name else solver.for_domain(name)
            result["domains"][name] = measure(own, tasks_of(name, puzzles))
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            console.print(table(result), highlight=False)


if __name__ == "__main__":
    main()
