"""`trm solve`: one puzzle, or all of a file; answers as a board, a table or JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trm_sdk.cli.adapt import adapting_domain, solve_by_adapting
from trm_sdk.cli.arguments import (
    PuzzleArgument,
    count_in_background,
    load,
    model_option,
    model_options,
    read_argument,
    search_options,
    solve_options,
)
from trm_sdk.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from trm_sdk.progress import ProgressBar
    from trm_sdk.solution import Failure, Solution
    from trm_sdk.solver import Solver


@click.command()
@click.argument("puzzle", metavar="PUZZLE|FILE|-", type=PuzzleArgument())
@model_option
@search_options
@model_options
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Attempts in flight. Default: what suits the model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the answers to a .csv, .json, .jsonl or .parquet file; for arc, a submission.",
)
@click.option(
    "--cache", type=click.Path(file_okay=False), help="Folder that keeps finished tasks, for arc."
)
@click.option(
    "--processes", type=click.IntRange(1), help="Tasks solved in parallel, for arc. Default: 1."
)
def solve(
    puzzle: str,
    model: str,
    runtime: str,
    device: str,
    threads: int | None,
    batch_size: int | None,
    as_json: bool,
    output: Path | None,
    cache: str | None,
    processes: int | None,
    **search: Any,
) -> None:
    """Solve one puzzle, or all puzzles of a file or of standard input (-).

    A file holds one puzzle per line, possibly with other text beside it; boards separated by blank
    lines or titles; CSV with a column 'question' or 'puzzle', and optionally 'answer' or 'solution'
    to compare with; JSON; or a format of the puzzle's own, such as .sdk and OpenSudoku's XML. It
    may be compressed (.gz, .zip) and larger than memory.

    Tasks with demonstrations (-m arc) need no model: each is learned for --seconds, 30 by default.

    The output file appears once it is complete.

    Exit codes: 0 if all puzzles are solved, 1 if some are not or differ from the file's answers, 2
    if some can't be read.
    """
    adapting = adapting_domain(model)
    if adapting is not None:
        code = solve_by_adapting(
            puzzle,
            adapting,
            search,
            as_json=as_json,
            output=output,
            cache=cache,
            processes=processes or 1,
        )
        sys.exit(code)
    for name, value in (("--cache", cache), ("--processes", processes)):
        if value is not None:
            raise InvalidInputError(f"{name} is for tasks that are learned while solving (-m arc)")
    options = solve_options(search)
    if output is not None:
        _check_output(output, puzzle)
    solver = load(model, runtime, device, threads)
    tasks, many = read_argument(puzzle, solver.domain)
    if not many:
        (task,) = list(tasks)
        solution = solver.solve(task, options)
        for _ in _written(iter([solution]), output):
            pass
        if as_json:
            click.echo(_json(0, solution))
        else:
            # rich takes longer to import than a puzzle to solve: only for a terminal's colours.
            coloured = sys.stdout.isatty() or "FORCE_COLOR" in os.environ
            _print_board(_console() if coloured else None, solution)
        sys.exit(_code(solution))
    # What can't be read takes its place among the results, so that the others are solved.
    results: Iterator[Solution | Failure] = solver.solve_many(
        tasks, options, batch_size, on_error="yield"
    )
    bar = _progress(puzzle, solver, as_json)
    if bar is not None:
        results = bar.track(results)
    results = _written(results, output)
    sys.exit(_print_json(results) if as_json else _print_table(results, bar))


def _check_output(output: Path, puzzle: str) -> None:
    from trm_sdk.results import check_results_path

    check_results_path(output)
    source = Path(puzzle)
    try:
        same = output.exists() and source.exists() and output.samefile(source)
    except (OSError, ValueError):  # longer than a file name may be: a puzzle
        same = False
    if same:
        raise InvalidInputError(f"--output {output} is the file that the puzzles are read from")


def _written(
    results: Iterator[Solution | Failure], output: Path | None
) -> Iterator[Solution | Failure]:
    """Yield results once they are in the file of answers, if there is to be one."""
    if output is None:
        yield from results
        return
    from trm_sdk.results import open_results

    with open_results(output) as write:
        for result in results:
            write(result)
            yield result


def _progress(puzzle: str, solver: Solver, as_json: bool) -> ProgressBar | None:
    """A bar, where someone sees it and nothing else is written in its place."""
    if not sys.stderr.isatty() or (as_json and sys.stdout.isatty()):
        return None
    from trm_sdk.progress import ProgressBar

    return ProgressBar(count_in_background(puzzle, solver.domain), keep=False)


# --- verdicts -------------------------------------------------------------------------------


def _is_solved(solution: Solution) -> bool:
    """By the rules, or where there are none, by the known answer, if any."""
    if solution.verified is None:
        return solution.correct is not False
    return solution.verified


def _is_refuted(solution: Solution) -> bool:
    return solution.stopped_by == "refuted"


def _code(result: Solution | Failure) -> int:
    """Exit code that a result asks for; says what is wrong with one that could not be read."""
    from trm_sdk.solution import Failure

    if isinstance(result, Failure):
        click.echo(f"Error: {result.error}", err=True)
        return 2
    return 0 if _is_solved(result) and result.correct is not False else 1


def _verdict(solution: Solution) -> str:
    verdict = {True: "verified", False: "NOT solved", None: "not verifiable"}[solution.verified]
    if _is_refuted(solution):
        verdict = "no solution, proven by the rules"
    elif solution.unique is False:
        verdict += ", one of several solutions" if solution.verified else ", has several solutions"
    if solution.correct is not None:
        verdict += ", the file's answer" if solution.correct else ", NOT the file's answer"
    return (
        f"{verdict}: {_count(solution.steps, 'step')}, "
        f"{_count(solution.attempts, 'attempt')}, {solution.seconds * 1000:.1f} ms, "
        f"confidence {solution.confidence:.2f}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# --- JSON -----------------------------------------------------------------------------------


def _print_json(results: Iterator[Solution | Failure]) -> int:
    code = 0
    for index, result in enumerate(results):
        click.echo(_json(index, result))
        code = max(code, _code(result))
    return code


def _json(index: int, result: Solution | Failure) -> str:
    from trm_sdk.results import result_to_dict

    return json.dumps(result_to_dict(index, result))


# --- boards and tables ----------------------------------------------------------------------


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # A pipe has no width to fit into.
    return console if console.is_terminal else Console(highlight=False, width=1_000_000)


def _print_board(console: Console | None, solution: Solution) -> None:
    """Draw an answer: in colours on a terminal; in a pipe as text that can be read again."""
    for index, answer in enumerate(solution.answers):
        if index:
            click.echo()
        if console is not None and console.is_terminal:
            from trm_sdk.render.terminal import Board

            picture = solution.domain.picture(solution.task, answer, index)
            console.print(Board(picture), crop=False)
        else:
            click.echo(solution.domain.format(answer))
    click.echo(f"\n{_verdict(solution)}")


_YES_NO = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}
_NO_SOLUTION = "[red]no solution[/]"
#: Columns of the table, those that a narrow terminal does without last.
_COLUMNS: dict[str, Callable[[Solution], str]] = {
    "answer": lambda one: one.domain.to_line(one.grid),
    "verified": lambda one: _NO_SOLUTION if _is_refuted(one) else _YES_NO[one.verified],
    "correct": lambda one: _YES_NO[one.correct],
    "unique": lambda one: _YES_NO[one.unique],
    "steps": lambda one: str(one.steps),
    "attempts": lambda one: str(one.attempts),
    "ms": lambda one: f"{one.seconds * 1000:.1f}",
    "confidence": lambda one: f"{one.confidence:.2f}",
}
#: The first so many always stand in the table.
_ALWAYS = 3
_GAP = 2


#: Rows that are aligned, and held, together.
_ROWS_TOGETHER = 1000


def _print_table(results: Iterator[Solution | Failure], bar: ProgressBar | None) -> int:
    from contextlib import nullcontext
    from time import perf_counter

    from trm_sdk.solution import Failure

    started, code, total, failed = perf_counter(), 0, 0, 0
    solved = differing = several = refuted = 0
    console, heading = _console(), None
    while block := list(islice(results, _ROWS_TOGETHER)):
        with nullcontext() if bar is None else bar.paused():
            for result in block:
                code = max(code, _code(result))
                if isinstance(result, Failure):
                    failed += 1
                else:
                    solved += _is_solved(result)
                    differing += result.correct is False
                    several += result.unique is False
                    refuted += _is_refuted(result)
            heading = _print_block(console, block, total, heading)
        total += len(block)
    seconds = perf_counter() - started
    console.print(
        f"{solved} of {total} solved"
        + (f", {differing} differ from the file's answer" if differing else "")
        + (f", {several} with several solutions" if several else "")
        + (f", {refuted} without a solution" if refuted else "")
        + (f", {failed} could not be read" if failed else "")
        + f", {seconds:.2f} s, {total / seconds:.1f} puzzles/s"
    )
    return code


def _print_block(
    console: Console,
    block: list[Solution | Failure],
    before: int,
    heading: list[str] | None,
) -> list[str] | None:
    """Print results as rows, or as boards where rows don't fit; return the columns, if any.

    Parameters
    ----------
    before : int
        Results that were printed earlier.
    heading : list of str or None
        The columns of the rows above, whose headings need not be repeated.
    """
    from rich.markup import escape

    from trm_sdk.solution import Solution

    found = [one if isinstance(one, Solution) else None for one in block]
    solutions = [one for one in found if one is not None]
    columns = [
        name
        for name in _COLUMNS
        if name not in ("correct", "unique")
        or (name == "correct" and any(one.correct is not None for one in solutions))
        or (name == "unique" and any(one.unique is False for one in solutions))
    ]
    rows = [
        None if one is None else {name: _COLUMNS[name](one) for name in columns} for one in found
    ]
    for row in rows:
        if row is not None:
            row["answer"] = escape(row["answer"])
    widths = {
        name: max([len(name), *(_width(row[name]) for row in rows if row is not None)])
        for name in columns
    }
    number = len(str(before + len(rows)))
    kept = _fitting(widths, console.width - number)
    # A line of cells says no other shape than the usual one, and there is room for one line.
    plain = all([grid.shape for grid in one.answers] == [one.domain.shape] for one in solutions)
    if kept and plain:
        _print_rows(console, rows, kept, before, show_header=kept != heading)
        return kept
    _print_boards(console, found, before)
    return None


def _width(cell: str) -> int:
    from rich.text import Text

    return Text.from_markup(cell).cell_len


def _fitting(widths: dict[str, int], room: int) -> list[str]:
    """As many columns as fit; none where not even the first ones do."""
    kept: list[str] = []
    always = sum(name in widths for name in list(_COLUMNS)[:_ALWAYS])
    for name, width in widths.items():
        room -= width + _GAP
        if room < 0:
            break
        kept.append(name)
    return kept if len(kept) >= always else []


def _print_rows(
    console: Console,
    rows: list[dict[str, str] | None],
    columns: list[str],
    before: int,
    show_header: bool,
) -> None:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0),
        show_header=show_header,
    )  # fmt: skip
    for name in ("#", *columns):
        # As wide as its name without a heading, too: the blocks of a table are aligned.
        table.add_column(
            name,
            justify="left" if name == "answer" else "right",
            no_wrap=True,
            min_width=len(name),
        )
    for number, row in enumerate(rows, before + 1):
        if row is None:
            table.add_row(str(number), "[red]not a puzzle[/]")
        else:
            table.add_row(str(number), *(row[name] for name in columns))
    console.print(table)


def _print_boards(console: Console, found: list[Solution | None], before: int) -> None:
    for number, solution in enumerate(found, before + 1):
        click.echo(f"# {number}")
        if solution is None:
            click.echo("not a puzzle")
        else:
            _print_board(console, solution)
        click.echo()


__all__ = ["solve"]
