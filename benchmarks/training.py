"""Training speed against the reference algorithm: ``python -m benchmarks.training``.

The paper's 5M MLP-T on 9x9 Sudoku, trained by `training.fit`'s step under each objective, and by a
plain eager loop of the reference algorithm (`benchmarks.reference`). Every variant is a process of
its own, set up as it would be on its own, and they take optimiser steps in turn, so that whatever
else the machine does falls on all of them alike; each round also measures the matrix-product peak.
Utilisation is model FLOPs (`training.cost`) over the best peak seen in that precision.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from rich.console import Console

from benchmarks.machine import describe, sentence
from benchmarks.reference import Loop
from training import cost, machine
from training.recipe import load_recipe
from training.run import Run
from training.step import train_step
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.runtimes.torch import choose_device

RESULTS = Path(__file__).parent / "results"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Processor time leaves out what other programs take; it counts one thread alone.
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
#: Puzzles to train on; their number does not matter for speed.
PUZZLES = 500


class Variant(NamedTuple):
    """One row of the table."""

    name: str
    kind: str
    precision: str


VARIANTS = tuple(
    Variant(f"{label}, {precision}", kind, precision)
    for precision in DTYPES
    for label, kind in (
        ("reference loop, eager", "reference"),
        ("training.fit, deep", "deep"),
        ("training.fit, last-step", "last-step"),
    )
)


def stepper(
    variant: Variant, folder: Path, batch: int, micro: int, place: torch.device
) -> Callable[[], float]:
    """Set a variant up; return a function that takes one optimiser step and returns its loss."""
    if variant.kind == "reference":
        torch.manual_seed(0)
        tokens, answers = (torch.from_numpy(part).long().to(place) for part in puzzles()[:2])
        return Loop(tokens, answers, batch, DTYPES[variant.precision]).step
    machine.prepare(place)
    overrides = [
        f"data=[{{kind: file, path: {folder / 'puzzles.csv'}}}]",
        f"batch_size={batch}",
        f"micro_batch={micro}",
        f"precision={variant.precision}",
        f"objective.scheme={variant.kind}",
        "evaluation.puzzles=1",
    ]
    if variant.kind == "last-step":  # at the same depth, so that the rows compare
        overrides += ["objective.min_steps=1", "objective.max_steps=1"]
    run = Run.start(load_recipe("sudoku-extreme-1k", tuple(overrides)), place)
    run.supervision.compiled()
    return lambda: train_step(run)[0]


def puzzles() -> Examples:
    """Return the puzzles that every variant trains on."""
    return Sudoku().examples(PUZZLES, HELD_OUT_SEED, {"clues_added": (4, 4)})


def write_puzzles(folder: Path) -> None:
    """Write a file of puzzles for the runs to read."""
    domain, made = Sudoku(), puzzles()
    lines = ["source,question,answer,rating"]
    for pair in zip(made.tokens, made.answers, strict=True):
        question, answer = (domain.to_line(domain.decode(tokens)) for tokens in pair)
        lines.append(f"generated,{question},{answer},0")
    (folder / "puzzles.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Worker:
    """A variant in a process of its own, which takes a step whenever it is told to."""

    def __init__(self, index: int, arguments: list[str]) -> None:
        self.variant = VARIANTS[index]
        command = [sys.executable, "-m", "benchmarks.training", "--worker", str(index), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self) -> float:
        """Have a step taken; return the seconds that it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("step", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.variant.name} has died")
        return float(line)

    def end(self) -> None:
        """Stop the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def _work(
    index: int, folder: Path, batch: int, micro: int, place: torch.device, clock: str
) -> None:
    step = stepper(VARIANTS[index], folder, batch, micro, place)
    for _ in sys.stdin:
        started = CLOCKS[clock]()
        step()  # gives a Python number, and so waits for a GPU
        print(CLOCKS[clock]() - started, flush=True)


@click.command(cls=ErrorHandlingCommand)
@click.option("--batch", default=32, show_default=True)
@click.option("--micro", type=int, help="Puzzles at once in training.fit [all].")
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu: processor time of one thread, for a machine that does other work too.",
)
@click.option("--rounds", default=3, show_default=True, help="Timed steps of each variant.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--only", default="", help="Only variants whose name this pattern finds.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--note", default="", help="Written beside the table: what else the machine did.")
@click.option("--worker", type=int, hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(
    batch: int,
    micro: int | None,
    threads: int,
    clock: str,
    rounds: int,
    device: str,
    only: str,
    out: Path,
    note: str,
    worker: int | None,
    folder: Path | None,
) -> None:
    """Measure training speed; writes training-DEVICE.json and .md."""
    place = choose_device(device)
    if clock == "cpu" and (threads > 1 or place.type != "cpu"):
        raise click.UsageError("--clock cpu needs --threads 1 and --device cpu")
    torch.set_num_threads(threads)
    if worker is not None and folder is not None:
        _work(worker, folder, batch, micro or batch, place, clock)
        return
    console = Console()
    with tempfile.TemporaryDirectory() as made:
        write_puzzles(Path(made))
        common = ["--batch", str(batch), "--threads", str(threads), "--device", str(place)]
        common += ["--clock", clock]
        common += ["--micro", str(micro or batch), "--folder", made]
        chosen = [index for index, one in enumerate(VARIANTS) if re.search(only, one.name)]
        workers = [Worker(index, common) for index in chosen]
        try:
            for one in workers:
                console.print(f"{one.variant.name}: first step {one.ask():.1f} s", highlight=False)
                if one.variant.kind != "reference":
                    one.ask()  # the second step may compile for the carried state
            times: dict[str, list[float]] = {one.variant.name: [] for one in workers}
            peaks = dict.fromkeys(DTYPES, 0.0)
            for _ in range(rounds):
                for name, dtype in DTYPES.items():
                    peaks[name] = max(
                        peaks[name], machine.matmul_peak(place, dtype, 0.2, CLOCKS[clock])
                    )
                for one in workers:
                    times[one.variant.name].append(one.ask())
                    console.print(f"{one.variant.name}: {times[one.variant.name][-1]:.2f} s")
        finally:
            for one in workers:
                one.end()
    recipe = load_recipe("sudoku-extreme-1k", (f"batch_size={batch}",))
    operations = cost.mean_step(recipe)
    result = {
        "machine": describe(threads),
        "device": torch.cuda.get_device_name() if place.type == "cuda" else "cpu",
        "batch": batch,
        "micro_batch": micro or batch,
        "clock": clock,
        "rounds": rounds,
        "note": note,
        "tflop_a_step": operations / 1e12,
        "matmul_peak_gflops": {name: peak / 1e9 for name, peak in peaks.items()},
        "rows": _rows([one.variant for one in workers], times, peaks, batch, operations),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"training-{place.type}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = table(result)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    console.print(text, highlight=False)


def _rows(
    variants: list[Variant],
    times: dict[str, list[float]],
    peaks: dict[str, float],
    batch: int,
    operations: float,
) -> list[dict[str, Any]]:
    """Return each variant's figures; ratios are to the reference loop in the same precision."""
    rates = {one.name: batch / min(times[one.name]) for one in variants}
    base = {one.precision: rates[one.name] for one in variants if one.kind == "reference"}
    return [
        {
            "variant": one.name,
            "precision": one.precision,
            "seconds_best": min(times[one.name]),
            "seconds_median": statistics.median(times[one.name]),
            "examples_per_second": rates[one.name],
            "ratio": rates[one.name] / base[one.precision] if one.precision in base else None,
            "ratio_to_float32": rates[one.name] / base["float32"] if "float32" in base else None,
            "gflops": operations / min(times[one.name]) / 1e9,
            "utilisation": operations / min(times[one.name]) / peaks[one.precision],
        }
        for one in variants
    ]


def table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    peaks = result["matmul_peak_gflops"]
    lines = [
        f"# Training, batch {result['batch']}, {result['device']}",
        "",
        f"The paper's 5M MLP-T, {result['tflop_a_step']:.2f} TFLOP an optimiser step; best of "
        f"{result['rounds']} steps, taken in turn. Peak of a square matrix product in the same "
        + "run: "
        + ", ".join(f"{peak:,.0f} GFLOP/s in {name}" for name, peak in peaks.items())
        + ".",
        "",
        "| variant | examples/s | median s a step | against the reference, same precision | "
        "against it in float32 | GFLOP/s | of the peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        same, single = (
            "-" if row[key] is None else f"{row[key]:.2f}x" for key in ("ratio", "ratio_to_float32")
        )
        lines.append(
            f"| {row['variant']} | {row['examples_per_second']:.2f} | {row['seconds_median']:.2f} "
            f"| {same} | {single} | {row['gflops']:,.0f} | {row['utilisation']:.0%} |"
        )
    if result["clock"] == "cpu":
        lines += ["", "Seconds are processor time of one thread, not time on the wall."]
    lines += ["", sentence(result["machine"]) + "."]
    if result["note"]:
        lines += ["", result["note"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
