"""Many threads on one Solver for minutes: ``python -m benchmarks.soak --minutes 5``.

Each thread solves puzzles one by one, in batches and as streams, plainly and with noisy attempts.
Every answer is compared with the known one: a row handed to the wrong caller would show at once.
Memory is read twice a second, and single solves are timed; what is compared is the second and the
last fifth: mean memory, 50th and 99th percentile. An hour: ``--minutes 60``; two minutes as a test:
``nox -s soak``.
What was found so far is written every ten seconds, so that a run cut short is not lost.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, sentence
from benchmarks.sudoku_sets import generated, sudoku_of
from trm_sdk import Grid, Solution, SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand


def resident_mb() -> float:
    """Return the memory that this process holds now, in MiB."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Worker(threading.Thread):
    """Solves puzzles in every way there is, in an order of this thread's own.

    Attributes
    ----------
    counts : dict of str to int
        Puzzles, those verified, wrong rows, errors.
    latencies : list of (float, float)
        When each single solve with plain options began, and the seconds that it took.
    """

    def __init__(self, solver: Solver, tasks: list[Task], deadline: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.solver, self.tasks, self.deadline, self.seed = solver, tasks, deadline, seed
        self.counts = dict.fromkeys(("puzzles", "verified", "wrong", "errors"), 0)
        self.latencies: list[tuple[float, float]] = []

    def run(self) -> None:
        """Solve until the time is up."""
        rng = np.random.default_rng(self.seed)
        plain = SolveOptions(max_steps=32, attempts=1)
        noisy = SolveOptions(max_steps=16, attempts=4, explore="noise", patience=8)
        guessing = SolveOptions(max_steps=16, attempts=8, explore="guess", patience=8)
        solver = self.solver
        while time.monotonic() < self.deadline:
            chosen = [self.tasks[i] for i in rng.integers(len(self.tasks), size=20)]
            options = (plain, noisy, guessing)[int(rng.integers(3))]
            answers: list[tuple[Grid, bool | None]] = []
            try:
                solutions = [self._timed(task, options, plain) for task in chosen[:8]]
                solutions += solver.solve_many(chosen[8:16], options, batch_size=8)
                answers += [(solution.grid, solution.verified) for solution in solutions]
                for task in chosen[16:]:
                    *_, last = solver.stream(task, plain)
                    answers.append((last.grid, last.verified))
            except Exception as error:
                self.counts["errors"] += 1
                print(f"error: {error!r}", flush=True)
                continue
            for task, (grid, verified) in zip(chosen, answers, strict=True):
                self._count(task, grid, verified)

    def _timed(self, task: Task, options: SolveOptions, plain: SolveOptions) -> Solution:
        begun = time.monotonic()
        solution = self.solver.solve(task, options)
        if options is plain:
            self.latencies.append((begun, time.monotonic() - begun))
        return solution

    def _count(self, task: Task, grid: Grid, verified: bool | None) -> None:
        self.counts["puzzles"] += 1
        self.counts["verified"] += verified is True
        # An answer to someone else's puzzle would not keep this one's givens.
        given = task.grid.cells > 0
        foreign = (grid.cells != task.grid.cells)[given].any()
        self.counts["wrong"] += bool(foreign or (verified and grid != task.answer))


def soak(
    solver: Solver,
    tasks: list[Task],
    seconds: float,
    workers: int,
    report: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Let threads share a solver for a while; return counts, memory and latencies.

    What is compared is the second and the last fifth of the time: the mean memory, and the 50th and
    99th percentile of a single solve.

    Parameters
    ----------
    solver : Solver
    tasks : list of Task
        With their answers.
    seconds : float
    workers : int
    report : callable
        Given the result so far, every ten seconds.
    """
    started = written = time.monotonic()
    crew = [Worker(solver, tasks, started + seconds, seed) for seed in range(workers)]
    for thread in crew:
        thread.start()
    memory: list[float] = []
    while any(thread.is_alive() for thread in crew):
        memory.append(resident_mb())
        if len(memory) >= 5 and time.monotonic() - written >= 10:
            written = time.monotonic()
            report(_result(crew, memory, started))
        time.sleep(min(0.5, seconds / 50))
    return _result(crew, memory, started)


def _result(crew: list[Worker], memory: list[float], started: float) -> dict[str, Any]:
    passed = time.monotonic() - started
    fifth = max(len(memory) // 5, 1)
    before = float(np.mean(memory[fifth : 2 * fifth] or memory))
    after = float(np.mean(memory[-fifth:]))
    latencies = [one for worker in crew for one in tuple(worker.latencies)]
    early, late = [
        [1000 * took for begun, took in latencies if low <= (begun - started) / passed < high]
        for low, high in ((0.2, 0.4), (0.8, 1.0))
    ]
    counts = {key: sum(worker.counts[key] for worker in crew) for key in crew[0].counts}
    return {
        "workers": len(crew),
        "minutes": passed / 60,
        **counts,
        "memory_mb": [before, after],
        "growth": after / before - 1,
        "solves_timed": len(latencies),
        "p50_ms": [_percentile(early, 50), _percentile(late, 50)],
        "p99_ms": [_percentile(early, 99), _percentile(late, 99)],
    }


def _percentile(milliseconds: list[float], q: int) -> float | None:
    return round(float(np.percentile(milliseconds, q)), 2) if milliseconds else None


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.argument("model", default="sudoku")
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--workers", default=8, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "soak.json")
def main(model: str, minutes: float, workers: int, threads: int, out: Path) -> None:
    solver = Solver.from_pretrained(model, threads=threads)
    tasks = generated(sudoku_of(solver), 500)

    def report(result: dict[str, Any]) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        facts = {"machine": describe(threads), **result}
        out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    result = soak(solver, tasks, 60 * minutes, workers, report)
    report(result)
    before, after = result["memory_mb"]
    click.echo(sentence(describe(threads)))
    click.echo(
        f"{workers} threads, {result['minutes']:.1f} min: {result['puzzles']:,} puzzles, "
        f"{result['errors']} errors, {result['wrong']} wrong rows, "
        f"memory {before:.1f} -> {after:.1f} MB ({result['growth']:+.1%}), "
        f"p50 {result['p50_ms'][0]} -> {result['p50_ms'][1]} ms, "
        f"p99 {result['p99_ms'][0]} -> {result['p99_ms'][1]} ms"
    )
    if result["errors"] or result["wrong"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
