"""The precisions of one model side by side: size, solved puzzles, speed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from export.bench import bench_graph, feeds
from export.builder import Array
from export.errors import ExportError
from export.exporter import Source, load_source, state_arrays
from export.graph import build_graph
from export.quantize import PRECISIONS, Precision
from export.verify import session
from trm_sdk.domains import Domain, get_domain
from trm_sdk.files import read_tasks

_BATCH = 8  # small batches stay in the cache


@dataclass(frozen=True)
class Row:
    """One precision of a model.

    Attributes
    ----------
    precision : str
    bytes : int
        Size of the ``loop`` graph's file.
    size_ratio : float
        To the bytes of the parameters in float32.
    solved : float
        Share of the puzzles answered exactly as their answer says, after the last step.
    puzzles, steps : int
    milliseconds : float
        Fastest of the timed calls of one supervision step, batch 1, one thread.
    speed_ratio : float
        To float32 in the same run; above 1 is faster.
    """

    precision: str
    bytes: int
    size_ratio: float
    solved: float
    puzzles: int
    steps: int
    milliseconds: float
    speed_ratio: float


def compare(
    source: Source,
    puzzles: str | os.PathLike[str],
    *,
    limit: int = 200,
    max_steps: int | None = None,
    seconds: float = 2.0,
) -> list[Row]:
    """Export a model in every precision and judge each by the puzzles it solves.

    Parameters
    ----------
    puzzles : path
        A CSV file with the columns ``question`` and ``answer``.
    limit : int
        Only the first so many.
    max_steps : int, optional
        Supervision steps; default the model's own.

    Raises
    ------
    ExportError
        If the file can't be read, or has no answers.
    """
    spec, model = load_source(source)
    domain = get_domain(spec.domain)
    tokens, answers = read_answered(puzzles, domain, limit)
    steps = max_steps or spec.solve.max_steps
    weights = state_arrays(model)
    parameters = 4 * sum(array.size for array in weights.values())
    rows: list[Row] = []
    for precision in PRECISIONS:
        kind: Precision = precision  # type: ignore[assignment]
        graph = build_graph(spec, weights, "loop", precision=kind)
        run = session(graph, threads=1)
        solved = 0
        for start in range(0, len(tokens), _BATCH):
            part = tokens[start : start + _BATCH]
            (found,) = run.run(["answer"], feeds(graph, len(part), steps, part))
            solved += int((found == answers[start : start + _BATCH]).all(1).sum())
        step = build_graph(spec, weights, "step", precision=kind)
        fastest = bench_graph(step, seconds=seconds).fastest
        rows.append(
            Row(
                precision=precision,
                bytes=graph.ByteSize(),
                size_ratio=graph.ByteSize() / parameters,
                solved=solved / len(tokens),
                puzzles=len(tokens),
                steps=steps,
                milliseconds=fastest,
                speed_ratio=(rows[0].milliseconds if rows else fastest) / fastest,
            )
        )
    return rows


def read_answered(path: str | os.PathLike[str], domain: Domain, limit: int) -> tuple[Array, Array]:
    """Encoded puzzles and their answers, each int32 of shape (puzzles, N).

    Raises
    ------
    ExportError
        If the file can't be read, or has no puzzle with an answer.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{os.fspath(path)} can't be read: {error}") from None
    tokens, answers = [], []
    for task in read_tasks(lines, domain, os.fspath(path)):
        if isinstance(task, Exception):
            raise task
        if task.answers is None:
            continue
        tokens.append(domain.encode(task))
        answers.append(domain.encode_grid(task.answers[0]))
        if len(tokens) == limit:
            break
    if not tokens:
        raise ExportError(f"{os.fspath(path)} has no puzzle with an answer")
    return np.stack(tokens).astype(np.int32), np.stack(answers).astype(np.int32)


def markdown(rows: list[Row]) -> str:
    """The comparison as a Markdown table."""
    lines = [
        f"| precision | bytes | of fp32 parameters | solved of {rows[0].puzzles} "
        f"({rows[0].steps} steps) | ms a step | speed against fp32 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.precision} | {row.bytes:,} | {row.size_ratio:.3f}x | {row.solved:.1%} "
        f"| {row.milliseconds:.3f} | {row.speed_ratio:.2f}x |"
        for row in rows
    ]
    return "\n".join(lines)


def write_report(rows: list[Row], output: str | os.PathLike[str]) -> None:
    """Write ``OUTPUT.md`` and ``OUTPUT.json``.

    Raises
    ------
    ExportError
        If they can't be written.
    """
    path = Path(output)
    try:
        path.with_suffix(".md").write_text(markdown(rows) + "\n", encoding="utf-8")
        data = json.dumps([asdict(row) for row in rows], indent=2)
        path.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"{path} can't be written: {error.strerror}") from None
