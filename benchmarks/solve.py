"""Ways to solve the same puzzles with the same weights, in one run: ``python -m benchmarks.solve``.

The yardstick is the reference implementation's evaluation: eager PyTorch, a fixed number of
supervision steps for every puzzle, one look at the last answer. Beside it stand this package's
runtimes with halting by the rules, at the same number of steps and one attempt; and the defaults of
`Solver.solve`, which may spend more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from rich.console import Console

from benchmarks.accuracy import RESULTS, read_sets, sample
from benchmarks.machine import describe, sentence
from export import export_onnx
from export.exporter import load_source
from trm_sdk import SolveOptions, Solver, Task
from trm_sdk.console import ErrorHandlingCommand
from trm_sdk.domains import Domain, Sudoku
from trm_sdk.model.recursion import TRM

#: Gives, for encoded puzzles (n, N), the answers (n, N), solved `batch` at a time.
Way = Callable[[Sequence[Task], int], list[bool]]


def reference(model: TRM, domain: Domain, steps: int) -> Way:
    """The reference's evaluation: every puzzle takes every step."""

    @torch.inference_mode()
    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        right: list[bool] = []
        for start in range(0, len(tasks), batch):
            part = tasks[start : start + batch]
            tokens = torch.from_numpy(np.stack([domain.encode(task) for task in part]))
            state = model.initial_state(len(part))
            for _ in range(steps):
                state, logits, _ = model(tokens, state)
            answers = model.answer(tokens, logits).numpy()
            right += [
                domain.decode(answer) == task.answer
                for answer, task in zip(answers, part, strict=True)
            ]
        return right

    return solve


def solver(runtime: Solver, options: SolveOptions | None) -> Way:
    """This package's Solver; batches are refilled as puzzles finish."""

    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        if batch == 1:
            return [bool(runtime.solve(task, options).correct) for task in tasks]
        return [
            bool(one.correct) for one in runtime.solve_many(iter(tasks), options, batch_size=batch)
        ]

    return solve


def loop_graph(path: Path, domain: Domain, steps: int, threads: int) -> Way:
    """The `loop` graph: one call a batch, halting inside by the halting head alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        right: list[bool] = []
        for start in range(0, len(tasks), batch):
            part = tasks[start : start + batch]
            feed = {
                "tokens": np.stack([domain.encode(task) for task in part]),
                "max_steps": np.array(steps, np.int64),
                "halt_threshold": np.array(0.9, np.float32),
            }
            (answers,) = session.run(["answer"], feed)
            right += [
                domain.decode(answer) == task.answer
                for answer, task in zip(answers, part, strict=True)
            ]
        return right

    return solve


def time_way(way: Way, tasks: Sequence[Task], batch: int) -> dict[str, float]:
    """Latency of single solves, and throughput and accuracy at a batch size."""
    way(tasks[:2], 1)
    singles = []
    for task in tasks[: max(len(tasks) // 2, 1)]:
        start = time.perf_counter()
        way([task], 1)
        singles.append((time.perf_counter() - start) * 1000)
    start = time.perf_counter()
    right = way(tasks, batch)
    seconds = time.perf_counter() - start
    p50, p95, p99 = np.percentile(singles, [50, 95, 99])
    return {
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "puzzles_per_second": len(tasks) / seconds,
        "exact": float(np.mean(right)),
    }


_COLD = """
import sys, time
start = time.perf_counter()
from trm_sdk import Solver
solution = Solver.from_pretrained(sys.argv[1], runtime=sys.argv[2], threads=int(sys.argv[3])).solve(
    sys.argv[4])
seconds = time.perf_counter() - start
# Not getrusage: its peak is inherited from the process that forked this one.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(peak.split()[1]) / 1024)
"""


def cold(model: str, runtime: str, threads: int, puzzle: str) -> dict[str, float]:
    """A fresh process from import to the first answer: seconds, and its peak memory."""
    command = [sys.executable, "-c", _COLD, model, runtime, str(threads), puzzle]
    seconds, megabytes = subprocess.check_output(command, text=True).split()
    return {"cold_seconds": float(seconds), "peak_mb": float(megabytes)}


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--puzzles", default=100, show_default=True, help="Of each set.")
@click.option("--steps", default=16, show_default=True)
@click.option("--batch", default=64, show_default=True, help="Of the throughput column.")
@click.option("--threads", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "solve.json")
def main(
    model: str, data: Path | None, puzzles: int, steps: int, batch: int, threads: int, out: Path
) -> None:
    """Compare the ways on MODEL, a name or path as in Solver.from_pretrained."""
    torch.set_num_threads(threads)
    console = Console()
    spec, network = load_source(model)
    once = SolveOptions(max_steps=steps, attempts=1)
    result: dict[str, Any] = {
        "model": Path(model).name,
        "steps": steps,
        "batch": batch,
        "machine": describe(threads),
        "defaults": spec.solve.model_dump(),
        "sets": {},
    }
    lines = [sentence(result["machine"]), ""]
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "loop.onnx"
        export_onnx((spec, network), graph, mode="loop")
        onnx = Solver.from_pretrained(model, runtime="onnx", threads=threads)
        eager = Solver.from_pretrained(model, runtime="torch", threads=threads)
        domain = onnx.domain
        assert isinstance(domain, Sudoku)
        ways: dict[str, Way] = {
            f"reference evaluation (PyTorch eager, {steps} steps)": reference(
                network, domain, steps
            ),
            "PyTorch runtime": solver(eager, once),
            "ONNX step": solver(onnx, once),
            "ONNX loop (halting head)": loop_graph(graph, domain, steps, threads),
            "Solver defaults (ONNX)": solver(onnx, None),
        }
        for name, tasks in read_sets(domain, data, puzzles).items():
            rows = {
                label: time_way(way, sample(tasks, puzzles), batch) for label, way in ways.items()
            }
            result["sets"][name] = rows
            lines += _markdown(name, rows)
            console.print("\n".join(_markdown(name, rows)), highlight=False)
    puzzle = sample(read_sets(domain, None, 1)["minimal"], 1)[0].grid.to_line()
    result["cold"] = {way: cold(model, way, threads, puzzle) for way in ("onnx", "torch")}
    lines += ["| fresh process | to the first answer | peak memory |", "| --- | --- | --- |"] + [
        f"| {way} | {row['cold_seconds']:.2f} s | {row['peak_mb']:.0f} MB |"
        for way, row in result["cold"].items()
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + os.linesep, encoding="utf-8")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"written to {out} and {out.with_suffix('.md')}", highlight=False)


def _markdown(name: str, rows: dict[str, dict[str, float]]) -> list[str]:
    """A table with ratios to the first row."""
    first = next(iter(rows.values()))
    lines = [
        f"| {name} | exact | p50 ms | p95 ms | faster at p50 | puzzles/s | at batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for label, row in rows.items():
        lines.append(
            f"| {label} | {row['exact']:.1%} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | "
            f"{first['p50_ms'] / row['p50_ms']:.1f}x | {row['puzzles_per_second']:.1f} | "
            f"{row['puzzles_per_second'] / first['puzzles_per_second']:.1f}x |"
        )
    return [*lines, ""]


if __name__ == "__main__":
    main()
