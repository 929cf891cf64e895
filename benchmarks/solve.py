"""Ways to solve the same puzzles with the same weights, in one run: ``python -m benchmarks.solve``.

The yardstick is the reference implementation's evaluation: eager PyTorch, a fixed number of
supervision steps for every puzzle, one look at the last answer. Five parts, each optional, kept
together in one file of results that is written after every row:

- ``ways``: this package's runtimes and precisions with halting by the rules, at the reference's
  number of steps and one attempt, and the defaults of `Solver.solve`, which may spend more;
- ``failures``: of the reference evaluation's failures on fresh puzzles, how many attempts solve;
- ``overhead``: how much of a step at batch 1 is Python's;
- ``cold``: a fresh process from import to the first answer;
- ``curve``: accuracy against compute, by longer plain attempts and by more attempts of every kind.

``--page`` ends with ``python -m benchmarks.solve_report``, which puts what was measured, now or
before, into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from unittest import mock

import click
import numpy as np
import torch
from rich.console import Console

from benchmarks.accuracy import RESULTS
from benchmarks.curve import curve
from benchmarks.machine import describe
from benchmarks.pages import PAGE, fill
from benchmarks.solve_report import FIGURE, draw, fragment, markdown
from benchmarks.sudoku_sets import as_tasks, generated, read_sets, sudoku_of
from benchmarks.suites import sample
from export import export_onnx
from export.exporter import load_source, state_arrays
from export.quantize import Precision, alike
from trm_sdk import Grid, SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import Domain
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.model.recursion import TRM
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.ort import import_onnxruntime

PARTS = ("ways", "failures", "overhead", "cold", "curve")
#: Of a step graph with standard operators alone; see `export.quantize`.
ROUNDED: tuple[Precision, ...] = ("fp16", "int8w", "int8", "int4")
#: Sets whose puzzles one attempt mostly solves; of the others, fewer are taken.
COMMON = ("minimal", "34+ givens", "clue17")
#: Of the puzzles made for ``failures``: used nowhere else.
FRESH_SEED = 0xF4E5_4

#: Which of the tasks are solved exactly, `batch` of them at a time.
Way = Callable[[Sequence[Task], int], list[bool]]


def reference(model: TRM, domain: Domain, steps: int) -> Way:
    """Return the reference's evaluation: every puzzle takes every step."""

    @torch.inference_mode()
    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        right: list[bool] = []
        for start in range(0, len(tasks), batch):
            part = tasks[start : start + batch]
            tokens = torch.from_numpy(np.stack([domain.encode(task).tokens for task in part]))
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
    """Return this package's Solver as a way; batches are refilled as puzzles finish."""

    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        if batch == 1:
            return [bool(runtime.solve(task, options).correct) for task in tasks]
        return [
            bool(one.correct) for one in runtime.solve_many(iter(tasks), options, batch_size=batch)
        ]

    return solve


def loop_graph(path: Path, domain: Domain, steps: int, threads: int) -> Way:
    """Return the `loop` graph as a way: one call per batch, halted by the halting head alone."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def solve(tasks: Sequence[Task], batch: int) -> list[bool]:
        right: list[bool] = []
        for start in range(0, len(tasks), batch):
            part = tasks[start : start + batch]
            feed = {
                "tokens": np.stack([domain.encode(task).tokens for task in part]),
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
    """Measure the latency of single solves, and throughput and accuracy at a batch size."""
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
        "puzzles": len(tasks),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "puzzles_per_second": len(tasks) / seconds,
        "exact": float(np.mean(right)),
    }


def count_failures(
    yardstick: Way, onnx: Solver, least: int, most: int, batch: int
) -> dict[str, Any]:
    """Count how many of the reference evaluation's failures longer runs and 16 attempts solve.

    Fresh minimal puzzles are drawn until it has failed `least` of them, or `most` are drawn.
    """
    domain = cast(Sudoku, onnx.domain)
    puzzles, failures = 0, list[Task]()
    while len(failures) < least and puzzles < most:
        boards = engine.generate(
            min(4 * batch, most - puzzles), domain.box, seed=FRESH_SEED + puzzles
        )
        tasks = as_tasks(domain, *boards)
        right = yardstick(tasks, batch)
        failures += [task for task, one in zip(tasks, right, strict=True) if not one]
        puzzles += len(tasks)
    defaults = onnx.options
    result: dict[str, Any] = {"puzzles": puzzles, "failures": len(failures)}
    for label, attempts in (("one attempt", 1), ("16 attempts", 16)):
        explore = "noise" if defaults.explore == "none" else defaults.explore
        options = defaults.model_copy(update={"attempts": attempts, "explore": explore})
        solutions = list(onnx.solve_many(iter(failures), options))
        result[label] = {
            "max_steps": options.max_steps,
            "solved": sum(bool(one.correct) for one in solutions),
            "mean_steps": float(np.mean([one.steps for one in solutions])) if solutions else 0.0,
        }
    return result


class Timed:
    """An onnxruntime session that notes when it was entered and left."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.calls: list[tuple[float, float]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.session, name)
        if not name.startswith("run"):
            return value

        def call(*arguments: Any, **keywords: Any) -> Any:
            entered = time.perf_counter()
            result = value(*arguments, **keywords)
            self.calls.append((entered, time.perf_counter()))
            return result

        return call


def without_solution(domain: Sudoku) -> Task:
    """Return a board with no value left for the last cell of its first row; no givens collide."""
    board = np.zeros(domain.shape, np.int8)
    board[0, :-1] = np.arange(1, domain.size)
    board[-1, -1] = domain.size
    return Task((Grid(board),))


def step_overhead(onnx: Solver, task: Task, steps: int) -> dict[str, float]:
    """Measure the medians of a step inside onnxruntime and of what lies between two, at batch 1.

    The puzzle must be one that these steps don't solve, so it is kept from being refused before.
    What lies between is all of Python that a step of a single solve runs: the search, the rules,
    the runtime's own code.
    """
    runtime = cast(OnnxRuntime, onnx.runtime)
    timed = Timed(runtime._session)
    runtime._session = timed
    try:
        with mock.patch.object(onnx.domain, "check", return_value=None):
            solution = onnx.solve(task, SolveOptions(max_steps=steps, attempts=1))
    finally:
        runtime._session = timed.session
    assert solution.steps == steps
    entered, left = 1e6 * np.array(timed.calls).T
    between, inside = float(np.median(entered[1:] - left[:-1])), float(np.median(left - entered))
    return {"steps": steps, "step_us": inside, "python_us": between, "share": between / inside}


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
    """Measure a fresh process from import to the first answer: seconds, and its peak memory."""
    command = [sys.executable, "-c", _COLD, model, runtime, str(threads), puzzle]
    seconds, megabytes = subprocess.check_output(command, text=True).split()
    return {"cold_seconds": float(seconds), "peak_mb": float(megabytes)}


def make_ways(
    model: str, folder: Path, steps: int, threads: int
) -> Iterator[tuple[str, Way, int | None]]:
    """Yield label, way, and bytes of the graph where there is one; the yardstick comes first."""
    spec, network = load_source(model)
    once = SolveOptions(max_steps=steps, attempts=1)
    onnx = Solver.from_pretrained(model, runtime="onnx", threads=threads)
    domain = onnx.domain
    label = f"reference evaluation (PyTorch eager, {steps} steps)"
    yield label, reference(network, domain, steps), None
    eager = Solver.from_pretrained(model, runtime="torch", threads=threads)
    yield "PyTorch runtime", solver(eager, once), None
    exported = export_onnx((spec, network), folder / "fp32.onnx")
    yield "ONNX step", solver(onnx, once), exported.bytes
    for group in alike(state_arrays(network), ROUNDED):
        exported = export_onnx((spec, network), folder / "rounded.onnx", precision=group[0])
        rounded = Solver(OnnxRuntime(exported.path, "cpu", threads), domain)
        yield f"ONNX step, {', '.join(group)}", solver(rounded, once), exported.bytes
    exported = export_onnx((spec, network), folder / "loop.onnx", mode="loop")
    loop = loop_graph(exported.path, domain, steps, threads)
    yield "ONNX loop (halting head)", loop, exported.bytes
    yield "Solver defaults (ONNX)", solver(onnx, None), None


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--puzzles", default=100, show_default=True, help="Of each set that is not hard.")
@click.option("--hard", default=24, show_default=True, help="Of each other set.")
@click.option("--least", default=40, show_default=True, help="Failures to look for.")
@click.option("--most", default=3000, show_default=True, help="Puzzles to look for them in.")
@click.option("--steps", default=16, show_default=True, help="Of the reference evaluation.")
@click.option("--batch", default=64, show_default=True, help="Of the throughput column.")
@click.option("--threads", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "solve.json")
@click.option("--figure", type=click.Path(path_type=Path), default=FIGURE)
@click.option("--page", is_flag=True, help="Fill in docs/benchmarks.md.")
def main(
    model: str,
    parts: tuple[str, ...],
    data: Path | None,
    puzzles: int,
    hard: int,
    least: int,
    most: int,
    steps: int,
    batch: int,
    threads: int,
    out: Path,
    figure: Path,
    page: bool,
) -> None:
    """Compare the ways on MODEL, a name or path as in Solver.from_pretrained."""
    torch.set_num_threads(threads)
    console = Console()
    onnx = Solver.from_pretrained(model, runtime="onnx", threads=threads)
    domain = sudoku_of(onnx)
    result: dict[str, Any] = json.loads(out.read_text("utf-8")) if out.is_file() else {}
    result |= {"model": Path(model).name, "steps": steps, "batch": batch}
    result |= {"machine": describe(threads), "defaults": onnx.options.model_dump()}
    # Threads of PyTorch wait for each other by spinning: beside another program that keeps a core
    # busy, the reference evaluation was seen to take a hundred times as long. So the load is noted.
    load = os.getloadavg()[0]
    result["load"] = result.get("load", {}) | dict.fromkeys(parts, load)
    started = time.perf_counter()

    def save(what: str) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        out.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
        console.print(f"{time.perf_counter() - started:5.0f} s  {what}", highlight=False)

    sets: dict[str, list[Task]] = {}
    if "ways" in parts or "curve" in parts:  # making hard puzzles takes a while
        sets = {
            name: sample(tasks, puzzles if name in COMMON else hard)
            for name, tasks in read_sets(domain, data, puzzles).items()
        }
    with tempfile.TemporaryDirectory() as folder:
        if "ways" in parts:
            ways = list(make_ways(model, Path(folder), steps, threads))
            result["bytes"] = {label: size for label, _, size in ways if size is not None}
            for name, tasks in sets.items():
                rows = result.setdefault("sets", {})[name] = {}
                for label, way, _ in ways:
                    row = rows[label] = time_way(way, tasks, batch)
                    save(f"{name}: {label}: {row['exact']:.1%}, {row['p50_ms']:.1f} ms")
        if "failures" in parts:
            _, yardstick, _ = next(make_ways(model, Path(folder), steps, threads))
            found = result["failures"] = count_failures(yardstick, onnx, least, most, batch)
            save(f"{found['failures']} failures, {found['16 attempts']['solved']} solved")
    if "overhead" in parts:
        result["overhead"] = step_overhead(onnx, without_solution(domain), 400)
        save(f"overhead {result['overhead']['share']:.1%} of a step")
    if "cold" in parts:
        puzzle = domain.to_line(generated(domain, 1)[0].grid)
        result["cold"] = {way: cold(model, way, threads, puzzle) for way in ("onnx", "torch")}
        save("cold starts")
    if "curve" in parts:
        result["curve"] = {}
        for name, tasks in sets.items():
            result["curve"][name] = curve(onnx, tasks, onnx.runtime.batch_size)
            save(f"{name}: curve")
    if result.get("curve"):
        draw(result, figure)
        console.print(f"drawn to {figure}", highlight=False)
    if page:
        fill(PAGE, "solve", fragment(result))
    console.print(f"written to {out} and {out.with_suffix('.md')}", highlight=False)


if __name__ == "__main__":
    main()
