"""Files of answers: CSV, JSON, JSON lines or Parquet, written as the answers come."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from trm_sdk.atomic import check_writable, whole_file
from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.solution import Failure, Solution
from trm_sdk.validation import as_path

Result = Solution | Failure
Row = dict[str, Any]
Format = Literal["csv", "json", "jsonl", "parquet"]

#: Columns of tables; in JSON, keys whose value would be null are left out.
COLUMNS = {
    "index": "int64",
    "name": "string",
    "puzzle": "string",
    "answer": "string",
    "shape": "string",
    "verified": "bool",
    "correct": "bool",
    "unique": "bool",
    "fitted": "bool",
    "confidence": "double",
    "steps": "int64",
    "attempts": "int64",
    "seconds": "double",
    "stopped_by": "string",
    "error": "string",
}
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
#: Rows of Parquet that are held until they are written together.
_ROWS_HELD = 10_000


def write_results(path: str | os.PathLike[str], results: Iterable[Result]) -> int:
    """Write solutions and failures to a file as they come, and return how many there were.

    The file appears under its name when all are written: half of it is never found there.

    Parameters
    ----------
    path : path
        Its ending says the form. ``.csv`` and ``.parquet`` have the columns of `COLUMNS`, with
        nothing or null where something does not apply; ``.jsonl`` (or ``.ndjson``) has an object a
        line, ``.json`` a list of such objects, as `result_to_dict` gives them. Parquet needs
        pyarrow.
    results : iterable of Solution or Failure
        As `Solver.solve_many` yields them.

    Raises
    ------
    InvalidInputError
        If the ending is another one, or the file can't be written. At once, before the first
        result is asked for.
    MissingDependencyError
        For Parquet without pyarrow (``pip install 'trm-sdk[parquet]'``). At once as well.
    OSError
        If writing fails; what stood under that name stays.
    Exception
        Whatever `results` raises; nothing is written then.

    Examples
    --------
    >>> results = solver.solve_many(puzzles, on_error="yield")        # doctest: +SKIP
    >>> write_results("answers.csv", results)                         # doctest: +SKIP
    """
    count = 0
    with open_results(path) as write:
        for count, result in enumerate(results, 1):  # noqa: B007
            write(result)
    return count


@contextmanager
def open_results(path: str | os.PathLike[str]) -> Iterator[Callable[[Result], None]]:
    """Give a function that writes one result more; parameters and errors as in `write_results`."""
    path = as_path(path)
    kind = check_results_path(path)
    with whole_file(path) as part, _WRITERS[kind](part) as write_row:
        count = 0

        def write(result: Result) -> None:
            nonlocal count
            write_row(result_to_dict(count, result))
            count += 1

        yield write


def check_results_path(path: Path) -> Format:
    """Return the form of a file of answers, checked before anything is solved for its sake.

    Raises
    ------
    InvalidInputError, MissingDependencyError
        As in `write_results`.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InvalidInputError(
            f"the name of a file of answers must end with {', '.join(_FORMATS)}; got {str(path)!r}"
        )
    check_writable(path)
    if kind == "parquet":
        _pyarrow()
    return kind


def result_to_dict(index: int, result: Result) -> Row:
    """Return a result as plain values, without those that are None.

    ``index`` and ``error`` of a failure; of a solution ``index``, the fields of
    `Solution.to_dict`, and ``shapes``, a list of ``[rows, columns]``, where boards may have any.
    """
    if isinstance(result, Failure):
        return {"index": index, "error": str(result.error)}
    facts = {"index": index, **result.to_dict()}
    if result.domain.any_size:  # a line does not say where its rows end
        facts["shapes"] = [list(grid.shape) for grid in result.answers]
    return {key: value for key, value in facts.items() if value is not None}


# --- forms ----------------------------------------------------------------------------------


def _flat(row: Row) -> Row:
    """A row for a table: several boards are a JSON list in one field."""
    row = dict(row)
    for one, several in (("puzzle", "puzzles"), ("answer", "answers")):
        if several in row:
            row[one] = json.dumps(row.pop(several))
    if "shapes" in row:
        row["shape"] = " ".join(f"{rows}x{columns}" for rows, columns in row.pop("shapes"))
    return row


def _text(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


@contextmanager
def _csv(path: Path) -> Iterator[Callable[[Row], None]]:
    with _text(path) as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        yield lambda row: writer.writerow(_flat(row))


@contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[Row], None]]:
    with _text(path) as file:
        yield lambda row: print(json.dumps(row), file=file)


@contextmanager
def _json(path: Path) -> Iterator[Callable[[Row], None]]:
    with _text(path) as file:
        before = "[\n"

        def write(row: Row) -> None:
            nonlocal before
            file.write(before + json.dumps(row))
            before = ",\n"

        yield write
        file.write("\n]\n" if before != "[\n" else "[]\n")


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Row], None]]:
    pyarrow, parquet = _pyarrow()
    types = {"string": pyarrow.string(), "bool": pyarrow.bool_(), "int64": pyarrow.int64()}
    types["double"] = pyarrow.float64()
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    held: list[Row] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(held, schema))
            held.clear()

        def write(row: Row) -> None:
            held.append(_flat(row))
            if len(held) == _ROWS_HELD:
                flush()

        yield write
        flush()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(
            "writing Parquet needs pyarrow: pip install 'trm-sdk[parquet]'"
        ) from None
    return pyarrow, pyarrow.parquet


_WRITERS = {"csv": _csv, "json": _json, "jsonl": _jsonl, "parquet": _parquet}

__all__ = ["COLUMNS", "check_results_path", "open_results", "result_to_dict", "write_results"]
