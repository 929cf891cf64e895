"""The precisions of one model side by side: size, solved puzzles, speed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
import onnx
import torch

from trm_sdk.atomic import write_whole
from trm_sdk.domains.data import Examples
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.onnx import SMALL_GRAPH

from .bench import check_seconds, feeds, in_turn
from .builder import Array
from .errors import ExportError
from .exporter import (
    Source,
    load_source,
    output_file,
    output_path,
    ranges_for,
    state_arrays,
)
from .graph import build_graph
from .options import Mode
from .puzzles import as_graph_takes, held_out, read_answered
from .quantize import PRECISIONS, Precision
from .sessions import run_session, session

_BATCH = 8  # small batches stay in the cache
#: Share of the puzzles from which a precision's loss is called one.
NOTABLE_LOSS = 0.005


@dataclass(frozen=True)
class Row:
    """One precision of a model.

    Attributes
    ----------
    precision : str
    bytes : dict from mode to int
        Sizes of the files; ``unroll`` of `steps` steps.
    size_ratio : dict from mode to float
        The same, to the bytes of the parameters in float32.
    solved : float
        Share of the puzzles answered exactly as their answer says, after the last step.
    puzzles, steps : int
    milliseconds : float
        Median of one supervision step (``step``, batch 1).
    threads : int
        That the step was timed with; a small graph takes one, as in `OnnxRuntime`.
    speed_ratio, eager_ratio : float
        To the float32 graph and to PyTorch eager in the same run; above 1 is faster.
    """

    precision: str
    bytes: dict[str, int]
    size_ratio: dict[str, float]
    solved: float
    puzzles: int
    steps: int
    milliseconds: float
    threads: int
    speed_ratio: float
    eager_ratio: float


def compare(
    source: Source,
    puzzles: str | os.PathLike[str] | None = None,
    *,
    limit: int = 500,
    max_steps: int | None = None,
    threads: int = 2,
    seconds: float = 10.0,
    calibration: str | os.PathLike[str] | None = None,
) -> list[Row]:
    """Export a model in every precision and judge each by the puzzles it solves.

    Parameters
    ----------
    puzzles : path, optional
        A CSV file with the columns ``question`` and ``answer``; default generated puzzles that no
        training run draws, where the domain can make any.
    limit : int
        So many puzzles, at most.
    max_steps : int, optional
        Supervision steps; default the model's own. No puzzle halts early.
    threads : int
        To time with.
    seconds : float
        To time for, all precisions together.
    calibration : path, optional
        See `export_onnx`.

    Raises
    ------
    ExportError
        If the file can't be read, has no answers, or puzzles can't be generated; or if `seconds`
        is out of range.
    """
    check_seconds(seconds)
    spec, model = load_source(source)
    if puzzles is None:
        examples = held_out(spec, limit)
    else:
        examples = read_answered(puzzles, spec.made_for(), limit)
    steps = max_steps or spec.solve.max_steps
    graphs = Graphs.of(spec, model, calibration)
    sizes = graphs.sizes(steps)
    times = graphs.times(model, threads, seconds)
    return [
        Row(
            precision=precision,
            bytes=sizes[precision],
            size_ratio={
                mode: size / graphs.parameter_bytes for mode, size in sizes[precision].items()
            },
            solved=graphs.solved(precision, examples, steps),
            puzzles=len(examples.tokens),
            steps=steps,
            milliseconds=times[precision],
            threads=threads,
            speed_ratio=times["fp32"] / times[precision],
            eager_ratio=times["PyTorch eager"] / times[precision],
        )
        for precision in PRECISIONS
    ]


@dataclass(frozen=True)
class Graphs:
    """A model's graphs in every precision, and what can be measured of them.

    Attributes
    ----------
    spec : ModelSpec
    weights : mapping from name to float32 array
    ranges : mapping or None
        For ``int8s``; see `export.calibrate`.
    """

    spec: ModelSpec
    weights: Mapping[str, Array]
    ranges: Mapping[str, tuple[float, float]] | None

    @classmethod
    def of(
        cls, spec: ModelSpec, model: TRM, calibration: str | os.PathLike[str] | None = None
    ) -> Graphs:
        """Return the graphs of a model, calibrated as `export_onnx` does.

        Raises
        ------
        ExportError
            If there are no puzzles to calibrate on.
        """
        weights = state_arrays(model)
        return cls(spec, weights, ranges_for("int8s", spec, weights, calibration))

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters in float32."""
        return 4 * sum(array.size for array in self.weights.values())

    def build(self, precision: str, mode: Mode, max_steps: int | None = None) -> onnx.ModelProto:
        """Build one of the graphs; `max_steps` applies only to ``unroll``."""
        return build_graph(
            self.spec,
            self.weights,
            mode,
            max_steps=max_steps if mode == "unroll" else None,
            precision=cast("Precision", precision),
            ranges=self.ranges,
        )

    def sizes(self, steps: int) -> dict[str, dict[str, int]]:
        """Return the bytes of each precision's file in each mode; ``unroll`` takes `steps`."""
        return {
            precision: {
                mode: self.build(precision, mode, steps).ByteSize() for mode in get_args(Mode)
            }
            for precision in PRECISIONS
        }

    def solved(self, precision: str, examples: Examples, steps: int) -> float:
        """Return the share that a precision's ``loop`` graph answers exactly after `steps`."""
        graph = self.build(precision, "loop")
        run = session(graph)
        right = 0
        for start in range(0, len(examples.tokens), _BATCH):
            part = examples.rows(slice(start, start + _BATCH))
            tokens, identifiers = as_graph_takes(self.spec, part)
            inputs = feeds(graph, len(tokens), steps, tokens, identifiers=identifiers)
            (found,) = run_session(run, inputs, ["answer"])
            same = found.reshape(part.answers.shape) == part.answers
            right += int((same | ~part.mask).all(1).sum())
        return right / len(examples.tokens)

    def times(
        self,
        model: TRM,
        threads: int,
        seconds: float,
        precisions: Sequence[str] = PRECISIONS,
    ) -> dict[str, float]:
        """Return median milliseconds of a supervision step at batch 1, taken in turn.

        Operators of a small graph run on one thread, as `OnnxRuntime` runs them.

        Returns
        -------
        dict from precision to milliseconds, and ``PyTorch eager`` among them
        """
        calls: dict[str, Callable[[], object]] = {}
        inputs: dict[str, Array] = {}
        for precision in precisions:
            graph = self.build(precision, "step")
            inputs = feeds(graph, 1, 1)
            small = graph.ByteSize() < SMALL_GRAPH
            run = session(graph, threads=1 if small else threads)
            calls[precision] = partial(run_session, run, inputs)
        tokens, state = torch.from_numpy(inputs["tokens"]), model.initial_state(1)

        @torch.inference_mode()
        def eager() -> object:
            return model(tokens, state)

        calls["PyTorch eager"] = eager
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            taken = in_turn(calls, seconds=seconds)
        finally:
            torch.set_num_threads(before)
        return {name: float(np.median(values)) for name, values in taken.items()}


def markdown(rows: Sequence[Row]) -> str:
    """Return the comparison as a Markdown table, and what it shows."""
    first = rows[0]
    lines = [
        f"| precision | bytes (step) | {' / '.join(first.size_ratio)}, of fp32 parameters "
        f"| solved of {first.puzzles} ({first.steps} steps) | ms a step | against fp32 "
        "| against PyTorch eager |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.precision} | {row.bytes['step']:,} | "
        f"{' / '.join(f'{ratio:.3f}x' for ratio in row.size_ratio.values())} | {row.solved:.1%} "
        f"| {row.milliseconds:.3f} | {row.speed_ratio:.2f}x | {row.eager_ratio:.2f}x |"
        for row in rows
    ]
    return "\n".join(lines) + "\n\n" + losses({row.precision: row.solved for row in rows})


def losses(solved: Mapping[str, float]) -> str:
    """Return in a sentence which precisions lose more than half a point against ``fp32``.

    Parameters
    ----------
    solved : mapping from precision to the share of puzzles that it solves
    """
    lost = [
        f"{precision} ({100 * (solved['fp32'] - share):.1f} points)"
        for precision, share in solved.items()
        if solved["fp32"] - share > NOTABLE_LOSS
    ]
    if not lost:
        return "No precision loses more than 0.5 points of the solved puzzles."
    return f"More than 0.5 points of the solved puzzles are lost by {', '.join(lost)}."


def report_files(output: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the files of a report, ``OUTPUT.md`` and ``OUTPUT.json``.

    Raises
    ------
    ExportError
        If they can't be: ask before measuring.
    """
    path = output_path(output)
    if not path.name:
        raise ExportError(f"{output} is a folder; the name of a report is needed")
    return output_file(f"{path}.md"), output_file(f"{path}.json")


def write_report(rows: Sequence[Row], output: str | os.PathLike[str]) -> None:
    """Write ``OUTPUT.md`` and ``OUTPUT.json``.

    Raises
    ------
    ExportError
        If they can't be written.
    """
    text, data = report_files(output)
    try:
        write_whole(text, (markdown(rows) + "\n").encode())
        rows_as_json = json.dumps([asdict(row) for row in rows], indent=2)
        write_whole(data, (rows_as_json + "\n").encode())
    except OSError as error:
        raise ExportError(f"{output} can't be written: {error.strerror}") from None
