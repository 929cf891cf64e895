"""Time of a step by the rows that one call of onnxruntime computes.

``python -m benchmarks.rows_a_call``. Small models only, whose batch is divided between calls; the
numbers of rows take turns, and the median of their processor times is shown, with what
`trm_sdk.runtimes.onnx.rows_a_call` chooses.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from benchmarks.machine import describe, sentence
from trm_sdk import Solver
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.runtimes import onnx
from trm_sdk.search.attempts import encode

ROWS = (1, 2, 3, 4, 6, 8, 16, 64)
CASES = (
    ("sudoku", (9, 9), 64),
    ("sudoku-4x4", (4, 4), 64),
    ("maze", (9, 9), 64),
    ("maze", (15, 15), 64),
    ("maze", (30, 30), 16),
)


def milliseconds(solver: Solver, shape: tuple[int, int], batch: int, rounds: int) -> dict[int, Any]:
    """Return milliseconds per row by the rows of a call; under 0, the number that is chosen."""
    domain, model, runtime = solver.domain, solver.spec.model, solver.runtime
    domain = domain.resized(shape) if shape != domain.shape else domain
    rng = np.random.default_rng(0)
    boards = [encode(domain, model, domain.generate(rng), 0).tokens for _ in range(batch)]
    tokens = np.stack(boards).reshape(batch, *model.token_shape_of(shape))
    state = runtime.start(tokens.astype(np.int32))
    positions = state.y[0].size // model.hidden_size
    times: dict[int, list[float]] = {rows: [] for rows in ROWS if rows <= batch}
    for _ in range(rounds):
        for rows, taken in times.items():
            with patch.object(onnx, "rows_a_call", lambda *_, rows=rows: rows):
                started = time.process_time()
                runtime.step(state)
                taken.append(time.process_time() - started)
    found = {rows: 1000 * median(taken) / batch for rows, taken in times.items()}
    return {0: onnx.rows_a_call(positions, model.swiglu_size), **found}


@click.command(cls=ErrorHandlingCommand)
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
def main(rounds: int) -> None:
    """Measure how long a row takes by the number of rows that a call computes."""
    click.echo(f"| model | board | chosen | {' | '.join(map(str, ROWS))} |")
    click.echo("| --- | --- |" + " ---: |" * (len(ROWS) + 1))
    for name, shape, batch in CASES:
        solver = Solver.from_pretrained(name, "onnx", "cpu", 1)
        found = milliseconds(solver, shape, batch, rounds)
        cells = " | ".join(f"{found[rows]:.3f}" if rows in found else "" for rows in ROWS)
        click.echo(f"| {name} | {shape[0]}x{shape[1]} | {found[0]} | {cells} |")
    click.echo(f"Milliseconds of processor time a row. {sentence(describe(1))}")


if __name__ == "__main__":
    main()
