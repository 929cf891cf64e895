"""Bundled weights on boards of sizes they were not trained on: ``python -m benchmarks.transfer``.

No weight depends on the size of the board, so ``sudoku`` runs on 6x6 and ``sudoku-16x16`` on 12x12
as they are; this says how well. Each name is written as a folder of its own, as ``trm-export
bundle NAME`` does, and measured on minimal puzzles as `benchmarks.variants` measures.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe
from benchmarks.pages import VARIANTS, fill
from benchmarks.variants import measure, table, tasks_of
from export import export_bundle
from trm_sdk import Solver
from trm_sdk.cli.console import ErrorHandlingCommand

NAMES = (
    "sudoku-6x6", "sudoku-8x8", "sudoku-10x10", "sudoku-12x12", "sudoku-15x15",
    "sudoku-x-6x6", "sudoku-x-8x8", "sudoku-x-10x10",
    "jigsaw-5x5", "jigsaw-6x6", "jigsaw-7x7", "jigsaw-8x8", "jigsaw-10x10",
)  # fmt: skip


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--puzzles", default=100, show_default=True, type=click.IntRange(1))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "transfer.json")
@click.option("--page", is_flag=True, help="Put the table into docs/variants.md.")
def main(names: tuple[str, ...], puzzles: int, threads: int, out: Path, page: bool) -> None:
    console = Console()
    result: dict[str, Any] = {"machine": describe(threads), "domains": {}}
    if names and out.is_file():  # others keep their figures
        result["domains"] = json.loads(out.read_text(encoding="utf-8"))["domains"]
    for name in names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            export_bundle(name, folder)
            with Solver.from_pretrained(folder, threads=threads) as solver:
                row = measure(solver, tasks_of(name, puzzles))
        result["domains"][name] = row
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        console.print(name, f"{row['exact']:.1%}", highlight=False)
    text = table(result)
    console.print(text, highlight=False)
    if page:
        fill(VARIANTS, "sizes", f"{text}; `python -m benchmarks.transfer`.")


if __name__ == "__main__":
    main()
