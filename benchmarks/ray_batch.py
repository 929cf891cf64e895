"""Rate of Ray Data with local workers against one single-threaded process.

``python -m benchmarks.ray_batch [--puzzles 4000] [--workers 2] [--rounds 3]``. Both read the same
Parquet file of generated puzzles and write Parquet; the time of a run begins when the process has
its packages imported (for Ray: when its cluster is up), so it has the loading of the models in it.
Ray's has the start of its processes in it, too, each of which imports Ray: seconds, whatever the
number of puzzles. So every round solves a quarter of the puzzles as well: what the others take
beside these is the rate of a long job. Rounds alternate; medians over the rounds are printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.machine import describe, sentence
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import get_domain

ROOT = Path(__file__).parents[1]
_ALONE = """
import sys, time
import pyarrow.parquet as parquet
from trm_sdk import Solver
from trm_sdk.results import write_results
source, target, model = sys.argv[1:4]
started = time.perf_counter()
solver = Solver.from_pretrained(model, threads=1)
puzzles = parquet.read_table(source)["puzzle"].to_pylist()
write_results(target + "/answers.parquet", solver.solve_many(puzzles))
print(time.perf_counter() - started)
"""
_RAY = """
import sys, time
import ray, ray_batch
source, target, model, workers = sys.argv[1:5]
ray.data.DataContext.get_current().enable_progress_bars = False
ray.init(num_cpus=int(workers) + 1, include_dashboard=False, _node_ip_address="127.0.0.1",
         log_to_driver=False)
started = time.perf_counter()
ray_batch.solve(source, model, int(workers), 256).write_parquet(target)
print(time.perf_counter() - started)
"""


def seconds(program: str, source: Path, *arguments: str) -> float:
    """Run a program, and return the seconds that it says it took."""
    with tempfile.TemporaryDirectory() as target:
        # Where Ray's workers find the example, too.
        places = (str(ROOT), str(ROOT / "examples"), os.environ.get("PYTHONPATH", ""))
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
        command = [sys.executable, "-c", program, str(source), target, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr)
    return float(done.stdout.splitlines()[-1])


@click.command(cls=ErrorHandlingCommand)
@click.option("--model", default="sudoku", show_default=True)
@click.option("--domain", default="sudoku", show_default=True, help="Of the model.")
@click.option("--puzzles", type=click.IntRange(4), default=4000, show_default=True)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(model: str, domain: str, puzzles: int, workers: int, rounds: int) -> None:
    """Measure how much faster Ray Data with local workers is than one single-threaded process."""
    import pyarrow
    import pyarrow.parquet

    made, rng = get_domain(domain), np.random.default_rng(0)
    lines = [made.to_line(made.generate(rng).grid) for _ in range(puzzles)]
    few = puzzles // 4
    taken = np.zeros((rounds, 2, 2))  # seconds of one process and of Ray, for few and for all
    with tempfile.TemporaryDirectory() as folder:
        for number, whole in np.ndindex(rounds, 2):
            source = Path(folder) / f"{whole}.parquet"
            some = lines if whole else lines[:few]
            pyarrow.parquet.write_table(pyarrow.table({"puzzle": some}), source)
            taken[number, whole] = (
                seconds(_ALONE, source, model),
                seconds(_RAY, source, model, str(workers)),
            )
    click.echo(f"| puzzles | one process | {workers} workers | ratio |")
    click.echo("| --- | ---: | ---: | ---: |")
    for label, times in (
        (f"{few}", taken[:, 0]),
        (f"{puzzles}", taken[:, 1]),
        (f"from {few} to {puzzles}", taken[:, 1] - taken[:, 0]),
    ):
        alone, ray = np.median(times, 0)
        ratio = np.median(times[:, 0] / times[:, 1])
        click.echo(f"| {label} | {alone:.1f} s | {ray:.1f} s | {ratio:.2f} |")
    click.echo(sentence(describe(1)))


if __name__ == "__main__":
    main()
