"""A model on boards it has never seen: ``python -m benchmarks.transfer sudoku``.

The structured network is equivariant, so the weights of the 9x9 model run on 4x4, 6x6 and 16x16
boards as they are; this says how well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy import RESULTS, measure
from benchmarks.machine import describe, sentence
from benchmarks.sudoku_sets import generated
from benchmarks.suites import suite_of
from export.exporter import load_source
from trm_sdk import SolveOptions, Solver
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.persistence.checkpoint import build
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.transfer import transfer

#: Box shape, and the clues put back into minimal puzzles, from easy to minimal.
BOARDS = (
    ((2, 2), (0,)),
    ((2, 3), (6, 0)),
    ((3, 3), (10, 0)),
    ((4, 4), (80, 60, 40, 20)),
)


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
@click.option("--puzzles", default=50, show_default=True)
@click.option("--steps", default=32, show_default=True)
@click.option("--attempts", default=16, show_default=True, help="With a guess in all but one.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "transfer.json")
def main(model: str, puzzles: int, steps: int, attempts: int, out: Path) -> None:
    """Run MODEL on Sudoku of other sizes: one attempt a puzzle, and with guesses."""
    spec, network = load_source(model)
    plain = SolveOptions(max_steps=steps, attempts=1)
    guessing = SolveOptions(max_steps=steps, attempts=attempts, explore="guess")
    rows: list[dict[str, Any]] = []
    click.echo(f"| board | clues added | givens | one attempt | mean steps | {attempts} attempts |")
    click.echo("| --- | ---: | ---: | ---: | ---: | ---: |")
    for box, added in BOARDS:
        domain = Sudoku(*box)
        moved, weights = transfer(spec, network.state_dict(), domain)
        solver = Solver(TorchRuntime(build(moved, weights, model), moved))
        suite = suite_of(solver)
        for clues in added:
            tasks = generated(domain, puzzles, clues_added=clues)
            row = measure(suite, tasks, plain, solver.runtime.batch_size)
            more = measure(suite, tasks, guessing, solver.runtime.batch_size)
            givens = float(np.mean([(task.grid.cells > 0).sum() for task in tasks]))
            rows.append({"board": domain.name, "clues_added": clues, "givens": givens, **row})
            rows[-1]["guesses"] = {"attempts": attempts, **more}
            click.echo(
                f"| {domain.size}x{domain.size} | {clues} | {givens:.0f} | {row['exact']:.1%} | "
                f"{row['mean_steps']:.1f} | {more['exact']:.1%} |"
            )
    machine = describe()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    click.echo(sentence(machine))


if __name__ == "__main__":
    main()
