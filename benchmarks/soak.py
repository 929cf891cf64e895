"""Many threads on one Solver for minutes: ``python -m benchmarks.soak --minutes 5``.

Each thread solves puzzles one by one, in batches and as streams, plainly and with noisy attempts.
Every answer is compared with the known one: a row handed to the wrong caller would show at once.
Memory is read twice a second; what is compared is its mean over the second and the last fifth.
What was found so far is written every ten seconds, so that a run cut short is not lost.
"""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, sentence
from benchmarks.sudoku_sets import generated, sudoku_of
from trm_sdk import Grid, SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand


def resident_mb() -> float:
    """Memory that this process holds now."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work(
    solver: Solver, tasks: list[Task], deadline: float, seed: int, counts: dict[str, int]
) -> None:
    """Solve puzzles in every way there is, in an order of this thread's own."""
    rng = np.random.default_rng(seed)
    plain = SolveOptions(max_steps=32, attempts=1)
    noisy = SolveOptions(max_steps=16, attempts=4, explore="noise", patience=8)
    guessing = SolveOptions(max_steps=16, attempts=8, explore="guess", patience=8)
    while time.monotonic() < deadline:
        chosen = [tasks[i] for i in rng.integers(len(tasks), size=20)]
        options = (plain, noisy, guessing)[int(rng.integers(3))]
        answers: list[tuple[Grid, bool | None]] = []
        try:
            solutions = [solver.solve(task, options) for task in chosen[:8]]
            solutions += solver.solve_many(chosen[8:16], options, batch_size=8)
            answers += [(solution.grid, solution.verified) for solution in solutions]
            for task in chosen[16:]:
                *_, last = solver.stream(task, plain)
                answers.append((last.grid, last.verified))
        except Exception as error:
            counts["errors"] += 1
            print(f"error: {error!r}", flush=True)
            continue
        for task, (grid, verified) in zip(chosen, answers, strict=True):
            counts["puzzles"] += 1
            counts["verified"] += verified is True
            # An answer to someone else's puzzle would not keep this one's givens.
            given = task.grid.cells > 0
            foreign = (grid.cells != task.grid.cells)[given].any()
            counts["wrong"] += bool(foreign or (verified and grid != task.answer))


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--workers", default=8, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "soak.json")
def main(model: str, minutes: float, workers: int, threads: int, out: Path) -> None:
    """Let WORKERS threads share one Solver of MODEL."""
    solver = Solver.from_pretrained(model, threads=threads)
    tasks = generated(sudoku_of(solver), 500)
    deadline = time.monotonic() + 60 * minutes
    counts: list[dict[str, int]] = [
        dict.fromkeys(("puzzles", "verified", "wrong", "errors"), 0) for _ in range(workers)
    ]
    crew = [
        threading.Thread(target=work, args=(solver, tasks, deadline, number, counts[number]))
        for number in range(workers)
    ]
    for thread in crew:
        thread.start()
    started = written = time.monotonic()
    memory: list[float] = []
    result: dict[str, Any] = {}

    def report() -> None:
        fifth = max(len(memory) // 5, 1)
        before, after = float(np.mean(memory[fifth : 2 * fifth])), float(np.mean(memory[-fifth:]))
        result.update(
            {
                "machine": describe(threads),
                "workers": workers,
                "minutes": (time.monotonic() - started) / 60,
                **{key: sum(one[key] for one in counts) for key in counts[0]},
                "memory_mb": [before, after],
                "growth": after / before - 1,
            }
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    while any(thread.is_alive() for thread in crew):
        memory.append(resident_mb())
        if len(memory) >= 5 and time.monotonic() - written >= 10:
            written = time.monotonic()
            report()
        time.sleep(0.5)
    report()
    before, after = result["memory_mb"]
    click.echo(sentence(result["machine"]))
    click.echo(
        f"{workers} threads, {result['minutes']:.1f} min: {result['puzzles']:,} puzzles, "
        f"{result['errors']} errors, {result['wrong']} wrong rows, "
        f"memory {before:.1f} -> {after:.1f} MB ({result['growth']:+.1%})"
    )


if __name__ == "__main__":
    main()
