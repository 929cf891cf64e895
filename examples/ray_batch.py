"""Solve a CSV or Parquet file with Ray Data, on the cores of one machine or of many.

    pip install '.[ray]'
    python examples/ray_batch.py puzzles.csv answers/ [--workers 2] [--model sudoku]
    python examples/ray_batch.py s3://bucket/puzzles.parquet s3://bucket/answers --address auto

A column `puzzle` or `question` holds the puzzles; the others are kept. Each worker is a process
with one thread and a model of its own. Answers are written as Parquet, a file a block. On a
cluster, give the address of its head; trm-sdk must be installed on every node.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone

import pyarrow as pa
import pyarrow.csv
import ray

from trm_sdk import Failure, Solution, Solver

COLUMNS = ("puzzle", "question")


class Worker:
    """A model in a process of its own."""

    def __init__(self, model: str, column: str) -> None:
        self.solver = Solver.from_pretrained(model, threads=1)
        self.column = column

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Add to a table of puzzles what the solver found."""
        puzzles = batch[self.column].to_pylist()
        results = list(self.solver.solve_many(puzzles, on_error="yield"))
        line = self.solver.domain.to_line
        for name, kind, value in (
            ("solution", pa.string(), lambda one: line(one.grid)),
            ("verified", pa.bool_(), lambda one: one.verified),
            ("confidence", pa.float64(), lambda one: one.confidence),
            ("steps", pa.int64(), lambda one: one.steps),
        ):
            found = [value(one) if isinstance(one, Solution) else None for one in results]
            batch = batch.append_column(name, pa.array(found, kind))
        errors = [str(one.error) if isinstance(one, Failure) else None for one in results]
        return batch.append_column("error", pa.array(errors, pa.string()))


def solve(source: str, model: str, workers: int, batch_size: int) -> ray.data.Dataset:
    """Return the rows of a file with their solutions, which are found when they are asked for."""
    if source.endswith(".parquet"):
        rows = ray.data.read_parquet(source)
    else:
        # A puzzle of digits alone is text, not a number of 81 digits.
        as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
        rows = ray.data.read_csv(source, convert_options=as_text)
    column = next((name for name in COLUMNS if name in rows.columns()), None)
    if column is None:
        raise SystemExit(f"{source} has no column {' or '.join(COLUMNS)}; it has {rows.columns()}")
    # Blocks that are small enough for every worker to have some.
    return rows.repartition(target_num_rows_per_block=batch_size).map_batches(
        Worker,
        fn_constructor_args=(model, column),
        compute=ray.data.ActorPoolStrategy(size=workers),
        batch_size=batch_size,
        batch_format="pyarrow",
        num_cpus=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="File or address of CSV or Parquet.")
    parser.add_argument("answers", help="Folder.")
    parser.add_argument("--model", default="sudoku", help="Name or path.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--address", help="Of a cluster. Default: one on this machine.")
    chosen = parser.parse_args()
    ray.init(chosen.address, num_cpus=None if chosen.address else chosen.workers + 1)
    solve(chosen.source, chosen.model, chosen.workers, chosen.batch_size).write_parquet(
        chosen.answers
    )
    rows = ray.data.read_parquet(chosen.answers)
    print(f"{rows.filter(expr='verified').count()} of {rows.count()} verified")


if __name__ == "__main__":
    main()
