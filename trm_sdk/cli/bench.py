"""`trm bench` and `trm calibrate`: how fast a model is, and how far it can be trusted."""

from __future__ import annotations

from typing import Any

import click

from trm_sdk.cli.arguments import (
    ModelName,
    load,
    model_options,
    read_argument,
    search_options,
    solve_options,
)


@click.command(short_help="Time a model on this machine.")
@click.argument("model", type=ModelName())
@click.option(
    "--puzzles",
    type=click.Path(exists=True, dir_okay=False),
    help="Also solve the puzzles of this file.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Maximum puzzles."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Attempts in flight. Default: what suits the model.",
)
@search_options
@model_options
def bench(
    model: str,
    puzzles: str | None,
    limit: int,
    batch_size: int | None,
    runtime: str,
    device: str,
    threads: int | None,
    **search: Any,
) -> None:
    """Time a model on this machine: loading, single steps, and whole puzzles of a file."""
    import warnings
    from time import perf_counter

    from trm_sdk.timing import time_puzzles, time_steps

    options = solve_options(search)
    started = perf_counter()
    solver = load(model, runtime, device, threads)
    click.echo(f"{solver!r}: loaded in {(perf_counter() - started) * 1000:.0f} ms")
    for rows in (1, 8, 64):
        ms = time_steps(solver.runtime, rows) * 1000
        click.echo(
            f"batch {rows:>3}: {ms:8.2f} ms per step, {ms / rows:7.3f} ms per step and puzzle"
        )
    if puzzles is None:
        return
    tasks, _ = read_argument(puzzles, solver.domain)
    batch_size = batch_size or solver.runtime.batch_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said below, in this program's own way
        report = time_puzzles(solver, tasks, limit, options, batch_size)
    for reason in report.unreadable:
        click.echo(f"left out: {reason}", err=True)
    click.echo(
        f"{report.solved} of {report.puzzles} solved; one at a time: median {report.p50:.2f} ms, "
        f"p95 {report.p95:.2f} ms, p99 {report.p99:.2f} ms; "
        f"in batches of {batch_size}: {report.per_second:.1f} puzzles/s"
    )


@click.command(short_help="Measure how far a halting head can be trusted.")
@click.argument("model", type=ModelName())
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Maximum puzzles."
)
@click.option(
    "--steps", type=click.IntRange(1), default=16, show_default=True, help="Steps per puzzle."
)
@model_options
def calibrate(
    model: str,
    file: str,
    limit: int,
    steps: int,
    runtime: str,
    device: str,
    threads: int | None,
) -> None:
    """Measure how far a model's halting head can be trusted, on the puzzles of a file."""
    from itertools import islice

    from trm_sdk.calibration import reliability
    from trm_sdk.task import Task

    solver = load(model, runtime, device, threads)
    tasks, _ = read_argument(file, solver.domain)
    found = reliability(solver, (t for t in islice(tasks, limit) if isinstance(t, Task)), steps)
    click.echo("confidence   right  answers")
    for mean, share, count in found.curve():
        click.echo(f"{mean:10.3f}  {share:6.3f}  {count:7d}")
    click.echo(f"expected calibration error {found.error:.3f}")
    for loss in (0.0, 0.005):
        threshold = found.threshold(loss)
        accuracy, taken = found.halted(threshold)
        click.echo(
            f"halting above {threshold:.4f}: {accuracy:.1%} right after {taken:.1f} steps "
            f"(without: {found.correct[:, -1].mean():.1%} after {steps})"
        )


__all__ = ["bench", "calibrate"]
