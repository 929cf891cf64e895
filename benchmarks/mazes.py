"""How many mazes a model solves, and after how many steps: ``python -m benchmarks.mazes MODEL``.

Three figures a set, from one plain attempt to what `Solver.solve` does:

- ``label``: the stored answer cell by cell, one attempt of a fixed number of steps, no rules asked:
  the metric of the public benchmark Maze-Hard;
- ``one attempt``: any shortest path, where the rules stop the attempt at the first one;
- ``defaults``: any shortest path, with the model's own options (attempts, symmetries, rules).

Maze-Hard's test mazes come from ``--data``, a folder with ``maze-hard-test.csv``; the other sets
are generated, from a seed that training leaves out. On larger boards news has further to travel:
an attempt may take ``steps_per_cell`` steps a cell.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import click
import numpy as np

from benchmarks.machine import describe
from training.data.files import read_csv
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.errors import InvalidInputError
from trm_sdk.search.answers import Answers
from trm_sdk.solver import Solver
from trm_sdk.task import Task

RESULTS = Path(__file__).parent / "results"
#: Steps after which labels are compared, without any rule.
FIXED = (16, 32, 48, 64, 96, 128)
_PERFECT = {"dfs": 1, "wilson": 1, "prim": 1}
#: Name, mazes, generator options.
SETS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("perfect 15", 200, {"rows": 15, "kinds": _PERFECT}),
    ("perfect 30", 200, {"rows": 30, "kinds": _PERFECT}),
    ("braided 30", 200, {"rows": 30, "kinds": {"braided": 1}}),
    ("walls 30", 200, {"rows": 30, "kinds": {"walls": 1}, "farthest": 1.0}),
    ("open 30", 200, {"rows": 30, "kinds": {"open": 1}, "farthest": 1.0}),
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
    labels : bool array of shape (mazes, len(FIXED))
        The stored answer stands after so many steps.
    first : int array of shape (mazes,)
        Step of the first shortest path; 0 where there was none.
    """

    labels: np.ndarray
    first: np.ndarray


def attempt(solver: Solver, examples: Examples, steps: int, rows: int = 8) -> Attempt:
    """Run one plain attempt of `steps` steps at each maze, some at a time."""
    domain, runtime = solver.domain, solver.runtime
    reading = Answers(runtime.spec.model, domain.vocabulary)
    n = len(examples.tokens)
    labels, first = np.zeros((n, len(FIXED)), bool), np.zeros(n, int)
    for start in range(0, n, rows):
        part = examples.rows(slice(start, start + rows))
        given = domain.vocabulary.is_given[part.tokens]
        state = runtime.start(part.tokens.reshape(-1, *part.shape))
        for step in range(1, steps + 1):
            out = runtime.step(state)
            state = out.state
            answers = reading.tokens(part.tokens, given, out.logits)
            here = slice(start, start + len(part.tokens))
            if step in FIXED:
                labels[here, FIXED.index(step)] = (answers == part.answers).all(1)
            right = domain.verify_tokens(part.tokens, answers, part.shape)
            first[here] = np.where((first[here] == 0) & right, step, first[here])
            if step > max(FIXED) and first[here].all():
                break
    return Attempt(labels, first)


def tasks_of(solver: Solver, examples: Examples) -> list[Task]:
    """Return examples as tasks with answers."""
    decode = solver.domain.decode
    return [
        Task((decode(puzzle, examples.shape),), answers=(decode(answer, examples.shape),))
        for puzzle, answer in zip(examples.tokens, examples.answers, strict=True)
    ]


def measure(solver: Solver, examples: Examples) -> dict[str, Any]:
    """Measure one set."""
    cells = math.prod(examples.shape)
    steps = max(solver.options.on_board(cells).max_steps, max(FIXED))
    one = attempt(solver, examples, steps, rows=8 if cells <= 900 else 2)
    solved = one.first > 0
    found: dict[str, Any] = {
        "mazes": len(examples.tokens),
        "board": list(examples.shape),
        "label": {str(step): float(one.labels[:, i].mean()) for i, step in enumerate(FIXED)},
        "one_attempt": float(solved.mean()),
        "steps_allowed": steps,
        "steps_p50": float(np.median(one.first[solved])) if solved.any() else None,
        "steps_max": int(one.first.max()),
    }
    seconds, verified, false, attempts = [], 0, 0, 0
    for task in tasks_of(solver, examples):
        begun = perf_counter()
        solution = solver.solve(task)
        seconds.append(perf_counter() - begun)
        verified += solution.verified is True
        attempts = max(attempts, solution.attempts)
        false += solution.verified is True and not shortest(task, solution.grid)
    p50, p95 = np.percentile(seconds, (50, 95))
    found |= {
        "defaults": verified / len(seconds),
        "attempts_max": attempts,
        "falsely_verified": int(false),
        "ms_p50": 1000 * float(p50),
        "ms_p95": 1000 * float(p95),
    }
    return found


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


def table(result: dict[str, Any]) -> str:
    """Return a result as Markdown."""
    lines = [
        "| set | mazes | label, 48 / 64 / 96 steps | one attempt, stopped by the rules "
        "| defaults | steps p50 / max | ms p50 / p95 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in result["sets"].items():
        label = " / ".join(f"{100 * one['label'][step]:.1f}" for step in ("48", "64", "96"))
        took = f"{one['steps_p50']:.0f} / {one['steps_max']}" if one["steps_p50"] else "-"
        lines.append(
            f"| {name} | {one['mazes']} | {label} | {100 * one['one_attempt']:.1f}% | "
            f"{100 * one['defaults']:.1f}% | {took} | {one['ms_p50']:.0f} / {one['ms_p95']:.0f} |"
        )
    return "\n".join(lines)


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="maze")
@click.option("--data", type=click.Path(path_type=Path), help="Folder with maze-hard-test.csv.")
@click.option("--share", default=1.0, show_default=True, help="Share of each generated set.")
@click.option("--only", multiple=True, help="Only sets whose name begins so.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--write/--no-write", default=False, help="Write results/accuracy-maze.json.")
def main(
    model: str, data: Path | None, share: float, only: tuple[str, ...], threads: int, write: bool
) -> None:
    """Measure MODEL on Maze-Hard and on generated mazes of several kinds and sizes."""
    solver = Solver.from_pretrained(model, threads=threads)
    if solver.domain.family != "maze":
        raise InvalidInputError(f"MODEL must solve mazes; this one solves {solver.domain.name!r}")
    sets: dict[str, Examples] = {}
    if data is not None:
        tasks = read_csv(data / "maze-hard-test.csv", solver.domain)
        sets["Maze-Hard test"] = solver.domain.encode_examples(tasks)
    for name, count, options in SETS:
        sets[name] = solver.domain.examples(max(1, round(share * count)), HELD_OUT_SEED, options)
    result: dict[str, Any] = {"machine": describe(threads), "model": model, "sets": {}}
    for name, examples in sets.items():
        if only and not any(name.startswith(start) for start in only):
            continue
        result["sets"][name] = measure(solver, examples)
        click.echo(f"{name}: {json.dumps(result['sets'][name])}", err=True)
    click.echo(table(result))
    click.echo(f"\n{result['machine']}, {threads} threads; `python -m benchmarks.mazes`.")
    if write:
        (RESULTS / "accuracy-maze.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
