"""Throughput on a GPU against the CPU of the same machine: ``python -m benchmarks.cuda``.

Three parts: supervision steps of the bundled models by batch size and runtime, puzzles that
`Solver.solve_many` solves, and optimiser steps of training. Every figure is the best of a few short
rounds after a warm-up; a GPU is waited for, since logits come back to the CPU. Puzzles are made
before anything is timed. Without a GPU only the rows of the CPU are measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console

from benchmarks.machine import describe, sentence
from training import machine
from training.recipe import load_recipe
from training.run import Run
from training.step import train_step
from trm_sdk import SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.runtimes.torch import choose_device

RESULTS = Path(__file__).parent / "results"
PARTS = ("steps", "solve", "train")
MODELS = {"sudoku": {}, "maze": {"rows": 17}}
#: Name of a row, runtime, and its options. Rows of the CPU come first: others are compared to them.
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "onnxruntime, CPU": ("onnx", "cpu", {}),
    "PyTorch, CPU": ("torch", "cpu", {}),
    "PyTorch, CUDA": ("torch", "cuda", {}),
    "PyTorch, CUDA, bfloat16": ("torch", "cuda", {"precision": "bfloat16"}),
}
COMPILED = {
    "PyTorch, CUDA, compiled": ("torch", "cuda", {"compile": True}),
    "PyTorch, CUDA, bfloat16, compiled": (
        "torch",
        "cuda",
        {"precision": "bfloat16", "compile": True},
    ),
}
#: Rows of a batch beyond which the CPU is not asked: its rate no longer changes.
MOST_ON_CPU = 1024
#: Recipes, with one source of data at one size of board instead of a schedule that changes both.
TRAINED = {
    "sudoku": (
        "data=[{kind: generated, clues_added: [0, 6]}]",
        "evaluation.sets={minimal: [0, 0]}",
    ),
    "maze": ("data=[{kind: generated, rows: 15}]", "evaluation.sets={small: {rows: 15}}"),
}
#: Puzzles of an optimiser step.
BATCHES = (16, 256)


def best(call: Callable[[], Any], seconds: float, rounds: int = 3) -> float:
    """Return the seconds of the fastest call in so much time, of at least `rounds` calls."""
    fastest, made, end = float("inf"), 0, time.perf_counter() + seconds
    while made < rounds or (time.perf_counter() < end and made < 1000):
        started = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - started)
        made += 1
    return fastest


def step_rates(
    name: str, ways: dict[str, Any], batches: Sequence[int], seconds: float, console: Console
) -> list[dict[str, Any]]:
    """Measure the supervision steps per second, counted per puzzle, of a bundled model."""
    rows: list[dict[str, Any]] = []
    for way, (runtime, device, options) in ways.items():
        solver = Solver.from_pretrained(name, runtime, device, **options)
        config = solver.runtime.spec.model
        made = solver.domain.examples(64, HELD_OUT_SEED, MODELS[name])
        tokens = made.tokens.reshape(64, *config.token_shape_of(made.shape))
        for batch in batches:
            if device == "cpu" and batch > MOST_ON_CPU:
                continue
            state = solver.runtime.start(np.resize(tokens, (batch, *tokens.shape[1:])))
            holder = [state]

            def step(solver: Solver = solver, holder: list[Any] = holder) -> None:
                holder[0] = solver.runtime.step(holder[0]).state

            step()  # compiles, records, sets libraries up
            rate = batch / best(step, seconds)
            rows.append({"model": name, "way": way, "batch": batch, "puzzle_steps_a_second": rate})
            console.print(f"{name}, {way}, batch {batch}: {rate:,.0f} puzzle-steps/s")
        solver.close()
    return rows


def solve_rates(
    tasks: Sequence[Task], ways: dict[str, Any], seconds: float, console: Console
) -> list[dict[str, Any]]:
    """Measure the puzzles per second of `Solver.solve_many`, with `SolveOptions()`.

    Each row ends after so many seconds, or when all tasks are solved.
    """
    rows = []
    for way, (runtime, device, options) in ways.items():
        solver = Solver.from_pretrained("sudoku", runtime, device, **options)
        list(solver.solve_many(tasks[:16]))
        sizes = (None,) if device == "cpu" else (None, 2048)
        for size in sizes:
            list(islice(solver.solve_many(tasks, batch_size=size), 1))  # records the batch size
            started, solved, done = time.perf_counter(), 0, 0
            for solution in solver.solve_many(tasks, SolveOptions(), batch_size=size):
                done += 1
                solved += bool(solution.verified)
                if time.perf_counter() - started > seconds:
                    break
            rate = done / (time.perf_counter() - started)
            rows.append(
                {
                    "way": way,
                    "batch_size": size or solver.runtime.batch_size,
                    "puzzles": done,
                    "verified": solved,
                    "puzzles_a_second": rate,
                }
            )
            console.print(f"solve_many, {way}, {rows[-1]['batch_size']}: {rate:,.0f} puzzles/s")
        solver.close()
    return rows


def training_rates(
    devices: Sequence[str], compiled: bool, seconds: float, console: Console
) -> list[dict[str, Any]]:
    """Measure optimiser steps per second, which include drawing the puzzles that they need."""
    rows = []
    for name, overrides in TRAINED.items():
        for batch in BATCHES:
            for device in devices:
                for precision in ("float32",) if device == "cpu" else ("float32", "bfloat16"):
                    place = choose_device(device)
                    machine.prepare(place)
                    settings = (f"batch_size={batch}", f"micro_batch={batch}", "steps=100000")
                    other = (f"precision={precision}", "evaluation.puzzles=4", "compile=false")
                    recipe = load_recipe(name, (*overrides, *settings, *other))
                    run = Run.start(recipe, place)
                    if compiled and device != "cpu":
                        run.supervision.compiled()
                    for _ in range(3):
                        train_step(run)
                    started, steps = time.perf_counter(), 0
                    while steps < 3 or time.perf_counter() - started < seconds:
                        train_step(run)  # gives a Python number, and so waits for a GPU
                        steps += 1
                    rate = steps / (time.perf_counter() - started)
                    rows.append(
                        {
                            "recipe": name,
                            "batch": batch,
                            "device": place.type,
                            "precision": precision,
                            "compiled": compiled and device != "cpu",
                            "steps_a_second": rate,
                            "puzzle_steps_a_second": rate * batch * recipe.objective.grad_steps,
                        }
                    )
                    console.print(
                        f"{name}, batch {batch}, {device}, {precision}: {rate:.2f} steps/s"
                    )
    torch.set_float32_matmul_precision("highest")  # which `machine.prepare` lowers
    return rows


def with_ratios(
    rows: list[dict[str, Any]], rate: str, alike: Sequence[str]
) -> list[dict[str, Any]]:
    """Add to each row its rate over the CPU's fastest among the rows that agree in `alike`."""

    def on_cpu(row: dict[str, Any]) -> bool:
        return "CPU" in row.get("way", "") or row.get("device") == "cpu"

    for row in rows:
        base = [
            other[rate]
            for other in rows
            if on_cpu(other) and all(other[key] == row[key] for key in alike)
        ]
        row["ratio_to_cpu"] = row[rate] / max(base) if base else None
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table of rows that have the same keys."""
    if not rows:
        return ""
    keys = list(rows[0])
    lines = [f"| {' | '.join(keys)} |", f"|{' --- |' * len(keys)}"]
    for row in rows:
        cells = [
            f"{row[key]:,.2f}" if isinstance(row[key], float) else str(row[key]) for key in keys
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@click.command(cls=ErrorHandlingCommand)
@click.option("--parts", default=",".join(PARTS), show_default=True, help="Comma-separated.")
@click.option("--batches", default="1,64,1024,8192", show_default=True)
@click.option("--puzzles", default=2000, show_default=True, help="Minimal Sudokus for solve_many.")
@click.option("--seconds", default=0.3, show_default=True, help="Time on each row of steps.")
@click.option("--solve-seconds", default=4.0, show_default=True, help="Most on each solve_many.")
@click.option("--train-seconds", default=2.0, show_default=True, help="Time on each training.")
@click.option("--compile", "compiled", is_flag=True, help="Measure torch.compile as well.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS / "cuda.json",
    show_default=True,
)  # fmt: skip
def main(
    parts: str,
    batches: str,
    puzzles: int,
    seconds: float,
    solve_seconds: float,
    train_seconds: float,
    compiled: bool,
    out: Path,
) -> None:
    """Measure a GPU against the CPU of the same machine; writes JSON and prints tables."""
    chosen = parts.split(",")
    if unknown := sorted(set(chosen) - set(PARTS)):
        raise click.UsageError(f"--parts must be among {', '.join(PARTS)}; got {unknown[0]!r}")
    console = Console(highlight=False)
    gpu = torch.cuda.is_available()
    ways = {name: way for name, way in WAYS.items() if gpu or way[1] == "cpu"}
    result: dict[str, Any] = {
        "machine": describe(torch.get_num_threads()),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
    }
    sizes = [int(one) for one in batches.split(",")]
    all_ways = ways | (COMPILED if gpu and compiled else {})
    if "steps" in chosen:
        rows = []
        for name in MODELS:
            rows += step_rates(name, all_ways, sizes, seconds, console)
        result["steps"] = with_ratios(rows, "puzzle_steps_a_second", ("model", "batch"))
    if "solve" in chosen:
        with Solver.from_pretrained("sudoku", "onnx") as solver:
            made = solver.domain.examples(puzzles, HELD_OUT_SEED)
            tasks = [Task((solver.domain.decode(tokens),)) for tokens in made.tokens]
        found = solve_rates(tasks, ways, solve_seconds, console)
        result["solve"] = with_ratios(found, "puzzles_a_second", ())
    if "train" in chosen:
        devices = ("cpu", "cuda") if gpu else ("cpu",)
        trained = training_rates(devices, compiled, train_seconds, console)
        result["train"] = with_ratios(trained, "steps_a_second", ("recipe", "batch"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for part in chosen:
        console.print(f"\n{part}\n\n{table(result[part])}", markup=False, soft_wrap=True)
    console.print(f"{result['device']}; {sentence(result['machine'])}")


if __name__ == "__main__":
    main()
