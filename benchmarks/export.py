"""What an export costs and gains, for docs/benchmarks.md: ``python -m benchmarks.export``.

Parts, each optional, kept together in one file of results:

- ``precisions``: solved held-out puzzles of a bundled model, in every precision;
- ``speed``: its supervision step at batch 1, in every precision and in PyTorch eager;
- ``sizes``: the files of the paper's 5M MLP-T (random weights), in every mode and precision;
- ``paper``: its supervision step against PyTorch eager and the peak of a square matrix product;
- ``loop``: ``loop`` against ``unroll`` for equal steps;
- ``memory``: peak resident memory of a fresh process that solves with a ``loop`` graph.

Times are medians of calls taken in turn. ``--page`` alone writes the page's table from what was
measured before. Give each timed part a machine with nothing else to do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.machine import describe, sentence
from benchmarks.pages import PAGE, fill
from export.bench import feeds, in_turn
from export.exporter import load_source, state_arrays
from export.puzzles import calibration, held_out
from export.quantize import FEW_INPUTS, alike
from export.report import Graphs, losses
from export.sessions import session
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.cost import step_flops
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec

RESULTS = Path(__file__).parent / "results"
PARTS = ("precisions", "speed", "sizes", "paper", "loop", "memory")
#: Largest file of the paper's model, of its parameters in float32, by precision.
SIZE_BARS = {"fp32": 1.02, "int8": 0.27, "int8s": 0.27, "int4": 0.16}
#: Precisions of the paper's model that are timed.
TIMED = ("fp32", "int8", "int8s")
#: Side of the square product that shows the peak.
SIDE = 1536


def paper_model() -> tuple[ModelSpec, TRM]:
    """Return the paper's Sudoku model, 5M parameters, with random weights."""
    torch.manual_seed(0)
    domain = Sudoku()
    config = ModelConfig(
        vocab_size=len(domain.vocabulary),
        seq_len=domain.seq_len,
        puzzle_emb_ndim=512,
        puzzle_emb_len=16,
    )
    return ModelSpec.for_domain(domain, config), TRM(config).eval()


def paper_graphs() -> tuple[Graphs, TRM]:
    """Return the paper's model, and its graphs calibrated by one step of one puzzle.

    That is enough for sizes and times.
    """
    from export.calibrate import calibrate

    spec, model = paper_model()
    weights = state_arrays(model)
    ranges = calibrate(spec, weights, calibration(spec, 1), steps=1)
    return Graphs(spec, weights, ranges), model


def judge(name: str, puzzles: int, steps: int) -> dict[str, Any]:
    """Measure the share of held-out minimal puzzles that each precision solves."""
    spec, model = load_source(name)
    graphs = Graphs.of(spec, model)
    examples = held_out(spec, puzzles)
    sizes = graphs.sizes(16)
    rows: dict[str, dict[str, Any]] = {}
    for group in alike(graphs.weights):
        first = group[0]
        solved = graphs.solved(first, examples, steps)
        rows[first] = {"bytes": sizes[first], "solved": solved, "as": group}
    return {
        "model": name,
        "puzzles": puzzles,
        "steps": steps,
        "parameter_bytes": graphs.parameter_bytes,
        "rows": rows,
    }


def time_steps(name: str, threads: int, seconds: float) -> dict[str, Any]:
    """Measure the median milliseconds of a bundled model's step, in each precision."""
    spec, model = load_source(name)
    times = Graphs.of(spec, model).times(model, threads, seconds)
    return {"model": name, "threads": threads, "ms": times}


def measure_sizes() -> dict[str, Any]:
    """Return the bytes of the paper's model in every precision and mode; ``unroll`` of 16 steps."""
    graphs, _ = paper_graphs()
    return {"parameter_bytes": graphs.parameter_bytes, "bytes": graphs.sizes(16)}


def time_paper(threads: int, seconds: float) -> dict[str, Any]:
    """Time the paper's step beside PyTorch eager, without and with spinning threads; and the peak.

    Each half is a run of its own, because threads that spin disturb whatever runs beside them.
    """
    graphs, model = paper_graphs()
    torch.set_num_threads(threads)
    tokens = torch.ones((1, graphs.spec.model.seq_len), dtype=torch.int32)
    state, square = model.initial_state(1), torch.randn(SIDE, SIDE)

    @torch.inference_mode()
    def eager() -> object:
        return model(tokens, state)

    found: dict[str, Any] = {
        "threads": threads,
        "gflop": step_flops(graphs.spec.model) / 1e9,
        "ms": {},
        "peak_gflops": 0.0,
    }
    for spin in (False, True):
        calls: dict[str, Callable[[], object]] = {}
        for precision in TIMED:
            graph = graphs.build(precision, "step")
            run = session(graph, threads=threads, spin=spin)
            calls[precision] = partial(run.run, None, feeds(graph, 1, 1))
        calls["PyTorch eager"] = eager
        calls["peak"] = partial(torch.matmul, square, square)
        times = {name: float(np.median(v)) for name, v in in_turn(calls, seconds=seconds).items()}
        gflops = 2 * SIDE**3 / times.pop("peak") / 1e6
        found["peak_gflops"] = max(found["peak_gflops"], gflops)
        found["ms"]["spinning" if spin else "sleeping"] = times
    return found


def time_loop(name: str, threads: int, seconds: float, steps: int = 16) -> dict[str, Any]:
    """Time ``loop`` against ``unroll`` at batch 1, for a bundled and the paper's model."""
    result: dict[str, Any] = {"threads": threads, "models": {}}
    spec, model = load_source(name)
    bundled = Graphs(spec, state_arrays(model), None)
    paper = Graphs(*_described(paper_model()), None)
    for label, graphs, count in ((name, bundled, steps), ("paper", paper, 4)):
        calls: dict[str, Callable[[], object]] = {}
        for mode in ("loop", "unroll"):
            graph = graphs.build("fp32", mode, count)
            run = session(graph, threads=threads)
            calls[mode] = partial(run.run, None, feeds(graph, 1, count))
        times = in_turn(calls, seconds=seconds)
        result["models"][label] = {
            "steps": count,
            "ms": {mode: float(np.median(values)) for mode, values in times.items()},
        }
    return result


def _described(source: tuple[ModelSpec, TRM]) -> tuple[ModelSpec, dict[str, Any]]:
    spec, model = source
    return spec, state_arrays(model)


#: A program that solves with nothing but numpy and onnxruntime, and prints its peak memory.
_SOLVE = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tokens = np.array([[int(digit) + 1 for digit in sys.argv[3]]], np.int32)
answer, steps = session.run(["answer", "steps"], {
    "tokens": tokens, "max_steps": np.array(64, np.int64),
    "halt_threshold": np.array(0.9, np.float32)})
assert "torch" not in sys.modules
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024 / 1e6, int(steps[0]), "".join(str(v - 1) for v in answer[0]))
"""


def measure_memory(name: str, threads: int) -> dict[str, Any]:
    """Measure the peak resident memory of a process that solves a puzzle with a ``loop`` graph.

    Raises
    ------
    InvalidInputError
        If it did not solve the puzzle: its memory would mean nothing.
    """
    spec, model = load_source(name)
    examples = held_out(spec, 1)
    tokens, answers = examples.tokens, examples.answers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop.onnx"
        path.write_bytes(
            Graphs(spec, state_arrays(model), None).build("fp32", "loop").SerializeToString()
        )
        line = "".join(str(token - 1) for token in tokens[0])
        command = [sys.executable, "-c", _SOLVE, os.fspath(path), str(threads), line]
        megabytes, steps, answer = subprocess.check_output(command, text=True).split()
    if answer != "".join(str(token - 1) for token in answers[0]):
        raise InvalidInputError(f"{name} did not solve {line}")
    return {"model": name, "threads": threads, "peak_mb": float(megabytes), "steps": int(steps)}


def fragment(result: dict[str, Any]) -> str:
    """Return the page's part of what was measured: two tables, and sentences."""
    parts = []
    if judged := result.get("precisions"):
        parts.append(_bundled_table(judged, result.get("speed", {}).get("ms", {})))
        solved = {precision: row["solved"] for precision, row in judged["rows"].items()}
        parts.append(
            "Held-out minimal puzzles, one attempt, no halting; one puzzle is "
            f"{100 / judged['puzzles']:.1f} points. {losses(solved)} Layers over fewer than "
            f"{FEW_INPUTS} inputs are stored as in `int8w` in every integer form. A graph this "
            "small runs its operators on one thread, as in `Solver`; PyTorch takes all."
        )
    if sizes := result.get("sizes"):
        parts.append(_paper_table(sizes, result.get("paper")))
    if paper := result.get("paper"):
        parts.append(_limits(paper))
    for label, pair in result.get("loop", {}).get("models", {}).items():
        ms, steps = pair["ms"], pair["steps"]
        name = "the paper's model" if label == "paper" else f"`{label}`"
        parts.append(
            f"{steps} steps of {name} take {ms['loop']:.1f} ms as `loop` and {ms['unroll']:.1f} ms "
            f"as `unroll`: {ms['loop'] / ms['unroll'] - 1:+.1%}."
        )
    if memory := result.get("memory"):
        parts.append(
            f"A process that solves with the `loop` graph of `{memory['model']}` and nothing but "
            f"numpy and onnxruntime takes {memory['peak_mb']:.0f} MB at its peak."
        )
    parts.append(f"{sentence(result['machine'])}; `python -m benchmarks.export`.")
    return "\n\n".join(parts)


def _bundled_table(judged: dict[str, Any], times: dict[str, float]) -> str:
    lines = [
        f"| `{judged['model']}` | bytes (`step`) | of fp32 parameters | solved of "
        f"{judged['puzzles']} ({judged['steps']} steps) | ms a step | against fp32 | against "
        "PyTorch eager |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for precision, row in judged["rows"].items():
        size = row["bytes"]["step"]
        line = (
            f"| {', '.join(row['as'])} | {size:,} | {size / judged['parameter_bytes']:.3f}x | "
            f"{row['solved']:.1%} | "
        )
        if ms := times.get(precision):
            eager = times["PyTorch eager"] / ms
            line += f"{ms:.2f} | {times['fp32'] / ms:.2f}x | {eager:.2f}x |"
        else:
            line += "| | |"
        lines.append(line)
    return "\n".join(lines)


def _paper_table(sizes: dict[str, Any], paper: dict[str, Any] | None) -> str:
    times = paper["ms"] if paper else {}
    lines = [
        "| paper's 5M MLP-T | step / loop / unroll, of fp32 parameters | at most | ms a step | "
        "against PyTorch eager | with spinning threads |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for precision, files in sizes["bytes"].items():
        ratios = " / ".join(
            f"{files[mode] / sizes['parameter_bytes']:.3f}" for mode in ("step", "loop", "unroll")
        )
        bar = f"{SIZE_BARS[precision]:.2f}" if precision in SIZE_BARS else ""
        cells = ["", "", ""]
        if precision in times.get("sleeping", {}):
            cells[0] = f"{times['sleeping'][precision]:.1f}"
            for place, kind in ((1, "sleeping"), (2, "spinning")):
                ms = times[kind]
                cells[place] = f"{ms['PyTorch eager'] / ms[precision]:.2f}x"
        lines.append(f"| {precision} | {ratios} | {bar} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _limits(paper: dict[str, Any]) -> str:
    peak, gflop = paper["peak_gflops"], paper["gflop"]
    asleep, awake = paper["ms"]["sleeping"], paper["ms"]["spinning"]

    def share(ms: float) -> str:
        return f"{gflop / ms * 1000 / peak:.0%}"

    eager = gflop / asleep["PyTorch eager"] * 1000
    return (
        f"Batch 1, {paper['threads']} threads, {gflop:.1f} GFLOP a step; a square float32 product "
        f"reaches {peak:.0f} GFLOP/s, the fp32 graph {share(asleep['fp32'])} of that "
        f"({share(awake['fp32'])} with threads that spin between operators, which pays on an idle "
        f"machine alone and is off) and PyTorch eager {share(asleep['PyTorch eager'])}. So 1.8 "
        f"times PyTorch would take {1.8 * eager:.0f} GFLOP/s: in float32 the products themselves "
        "are the limit, and int8 is the way past it."
    )


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="[all]")
@click.option("--puzzles", default=500, show_default=True, help="Held-out ones.")
@click.option("--steps", default=32, show_default=True, help="Supervision steps of each.")
@click.option("--threads", default=2, show_default=True)
@click.option("--seconds", default=40.0, show_default=True, help="Of each timed comparison.")
@click.option("--page", is_flag=True, help="Write docs/benchmarks.md's part from the results.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=RESULTS / "export.json",
    show_default=True,
)  # fmt: skip
def main(
    model: str,
    parts: tuple[str, ...],
    puzzles: int,
    steps: int,
    threads: int,
    seconds: float,
    page: bool,
    output: Path,
) -> None:
    """Measure what an export costs and gains."""
    result: dict[str, Any] = json.loads(output.read_text("utf-8")) if output.is_file() else {}
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "precisions": lambda: judge(model, puzzles, steps),
        "speed": lambda: time_steps(model, threads, seconds),
        "sizes": measure_sizes,
        "paper": lambda: time_paper(threads, seconds),
        "loop": lambda: time_loop(model, threads, seconds),
        "memory": lambda: measure_memory(model, threads),
    }
    for part in parts or (() if page else PARTS):
        load = os.getloadavg()[0]
        result[part] = measure[part]() | {"load": load}
        result["machine"] = describe(threads)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        click.echo(f"{part}: {json.dumps(result[part])}")
    if "machine" in result:
        output.with_suffix(".md").write_text(fragment(result) + "\n", encoding="utf-8")
    if page:
        fill(PAGE, "export", fragment(result))


if __name__ == "__main__":
    main()
