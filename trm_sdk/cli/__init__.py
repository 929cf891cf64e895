"""``trm``: solve puzzles, watch one being solved, and look at models, from the command line.

Exit codes: 0, all well; 1, some puzzle was not solved; 2, bad input.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trm_sdk.cli.console import ErrorHandlingGroup
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.limits import MAX_THREADS

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain
    from trm_sdk.options import SolveOptions
    from trm_sdk.solution import Failure, Solution, Step
    from trm_sdk.solver import Solver
    from trm_sdk.task import Task

_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(cls=ErrorHandlingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trm-sdk", prog_name="trm")
def main() -> None:
    """Solve puzzles with Tiny Recursion Models."""


def _model_options(command: _F) -> _F:
    """Options of every command that runs a model."""
    for option in (
        click.option("--threads", type=click.IntRange(1, MAX_THREADS), help="Default: all cores."),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda or tensorrt."
        ),
        click.option(
            "--runtime",
            type=click.Choice(["auto", "onnx", "torch"]),
            default="auto",
            show_default=True,
        ),
    ):
        command = option(command)
    return command


def _search_options(command: _F) -> _F:
    """Options of every command that solves; left out, the model's own defaults hold."""
    for option in (
        click.option("--seed", type=int, help="Of noise, symmetries and guesses."),
        click.option("--seconds", type=float, help="Time a puzzle may take."),
        click.option("--patience", type=int, help="Steps before further attempts join the first."),
        click.option("--width", type=int, help="Attempts under way at a time."),
        click.option("--noise", type=float, help="Standard deviation, for --explore noise."),
        click.option("--explore", type=click.Choice(["none", "noise", "symmetry", "guess"])),
        click.option("--attempts", type=int, help="Attempts a puzzle may take."),
        click.option("--steps", "max_steps", type=int, help="Steps an attempt may take."),
    ):
        command = option(command)
    return command


def _solve_options(given: dict[str, Any]) -> SolveOptions:
    from trm_sdk.options import SolveOptions

    return SolveOptions(**{name: value for name, value in given.items() if value is not None})


def _load(model: str, runtime: Any, device: str, threads: int | None) -> Solver:
    from trm_sdk.solver import Solver

    return Solver.from_pretrained(model, runtime=runtime, device=device, threads=threads)


# --- solve ----------------------------------------------------------------------------------


@main.command()
@click.argument("puzzle", metavar="PUZZLE|FILE|-")
@click.option("-m", "--model", default="sudoku", show_default=True, help="Name or path.")
@_search_options
@_model_options
@click.option("--batch-size", type=click.IntRange(1), help="Default: what suits the model.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a puzzle and line.")
def solve(
    puzzle: str,
    model: str,
    runtime: str,
    device: str,
    threads: int | None,
    batch_size: int | None,
    as_json: bool,
    **search: Any,
) -> None:
    """Solve one puzzle, or all of a file or of standard input (-).

    A file holds one puzzle a line, boards with blank lines between them, or CSV with a column
    'question' or 'puzzle'.
    """
    options = _solve_options(search)
    solver = _load(model, runtime, device, threads)
    tasks, many = _read_argument(puzzle, solver.domain)
    if not many:
        (task,) = list(tasks)
        solution = solver.solve(task, options)
        click.echo(_json(0, solution) if as_json else _board(solver.domain, solution))
        sys.exit(0 if _solved(solution) else 1)
    # What can't be read takes its place among the results, so that the others are solved.
    results = solver.solve_many(
        tasks, options, batch_size, progress=sys.stderr.isatty(), on_error="yield"
    )
    sys.exit(_print_json(results) if as_json else _print_table(results))


def _read_argument(argument: str, domain: Domain) -> tuple[Iterator[Task | TRMError], bool]:
    """The puzzles that the command line names, and whether they may be many."""
    from trm_sdk.files import read_tasks

    if not argument:
        raise InvalidInputError("a puzzle, a file or - for standard input is needed; got ''")
    if argument == "-":
        if sys.stdin is None:
            raise InvalidInputError("standard input is closed; there is nothing to read from it")
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")
        return read_tasks(sys.stdin, domain, "standard input"), True
    path = Path(argument)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # longer than a file name may be: a puzzle
        is_file = is_folder = False
    if is_folder:
        raise InvalidInputError(f"{argument} is a folder; a file of puzzles is needed")
    if is_file:
        return read_tasks(_lines(path), domain, path.name), True
    try:
        return iter([domain.parse(argument)]), False
    except InvalidInputError as error:
        if path.suffix[1:].isalpha() or "/" in argument:
            raise InvalidInputError(
                f"no file {argument!r}, and no puzzle either: {error}"
            ) from None
        raise


def _lines(path: Path) -> Iterator[str]:
    # A line that is no UTF-8 is to spoil itself alone; see `read_tasks`.
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        yield from file


def _solved(solution: Solution) -> bool:
    """By the rules, or where there are none, by the known answer, if any."""
    if solution.verified is None:
        return solution.correct is not False
    return solution.verified


def _board(domain: Domain, solution: Solution) -> str:
    verdict = {True: "verified", False: "NOT solved", None: "not verifiable"}[solution.verified]
    return (
        f"{domain.format(solution.grid)}\n\n{verdict}: {_count(solution.steps, 'step')}, "
        f"{_count(solution.attempts, 'attempt')}, {solution.seconds * 1000:.1f} ms, "
        f"confidence {solution.confidence:.2f}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(index: int, result: Solution | Failure) -> str:
    from trm_sdk.solution import Failure

    if isinstance(result, Failure):
        return json.dumps({"index": index, "error": str(result.error)})
    facts = {
        "index": index,
        "name": result.task.name,
        "puzzle": result.domain.to_line(result.task.grid),
        "answer": result.domain.to_line(result.grid),
        "verified": result.verified,
        "correct": result.correct,
        "confidence": round(result.confidence, 6),
        "steps": result.steps,
        "attempts": result.attempts,
        "seconds": round(result.seconds, 6),
        "stopped_by": result.stopped_by,
    }
    return json.dumps({key: value for key, value in facts.items() if value is not None})


def _print_json(results: Iterator[Solution | Failure]) -> int:
    code = 0
    for index, result in enumerate(results):
        click.echo(_json(index, result))
        code = max(code, _code(result))
    return code


def _code(result: Solution | Failure) -> int:
    from trm_sdk.solution import Failure

    if isinstance(result, Failure):
        click.echo(f"Error: {result.error}", err=True)
        return 2
    return 0 if _solved(result) else 1


def _print_table(results: Iterator[Solution | Failure]) -> int:
    from time import perf_counter

    from rich.console import Console
    from rich.table import Table

    from trm_sdk.solution import Failure

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("#", "answer", "verified", "steps", "attempts", "ms", "confidence"):
        table.add_column(heading, justify="left" if heading == "answer" else "right", no_wrap=True)
    started, code, solved, failed = perf_counter(), 0, 0, 0
    for index, result in enumerate(results):
        code = max(code, _code(result))
        if isinstance(result, Failure):
            failed += 1
            table.add_row(str(index + 1), "[red]no puzzle[/]")
            continue
        solved += _solved(result)
        table.add_row(
            str(index + 1),
            result.domain.to_line(result.grid),
            {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[result.verified],
            str(result.steps),
            str(result.attempts),
            f"{result.seconds * 1000:.1f}",
            f"{result.confidence:.2f}",
        )
    seconds = perf_counter() - started
    console = Console()
    if not console.is_terminal:  # a pipe has no width to fit into
        console = Console(width=1000)
    console.print(table)
    total = table.row_count
    console.print(
        f"{solved} of {total} solved"
        + (f", {failed} could not be read" if failed else "")
        + f", {seconds:.2f} s, {total / seconds:.1f} puzzles/s"
    )
    return code


# --- watch ----------------------------------------------------------------------------------


@main.command()
@click.argument("puzzle", metavar="PUZZLE|FILE")
@click.option("-m", "--model", default="sudoku", show_default=True, help="Name or path.")
@_search_options
@click.option("--gif", type=click.Path(dir_okay=False), help="Write the animation to a file too.")
@click.option("--delay", type=float, default=0.2, show_default=True, help="Seconds, 0 to 60.")
@_model_options
def watch(
    puzzle: str,
    model: str,
    gif: str | None,
    delay: float,
    runtime: str,
    device: str,
    threads: int | None,
    **search: Any,
) -> None:
    """Watch the model think: the board after every step, coloured by confidence."""
    from time import sleep

    from rich.console import Console
    from rich.live import Live

    from trm_sdk.render.terminal import legend, puzzle_frame, step_frame

    if not 0 <= delay <= 60:
        raise InvalidInputError(f"--delay must be 0 to 60 seconds; got {delay}")
    if gif is not None:
        from trm_sdk.render.image import check_target

        check_target(gif)
    solver = _load(model, runtime, device, threads)
    tasks, _ = _read_argument(puzzle, solver.domain)
    task = next(tasks)
    if isinstance(task, TRMError):
        raise task
    if next(tasks, None) is not None:
        click.echo(f"{puzzle} has more puzzles; this is the first", err=True)
    options = _solve_options(search)
    most = solver.complete(options).max_steps
    steps: list[Step] = []
    console = Console(highlight=False)
    console.print(legend(), end="\n\n")
    with Live(puzzle_frame(solver.domain, task), console=console, auto_refresh=False) as live:
        if console.is_terminal:
            sleep(delay)
        for step in solver.stream(task, options):
            before = steps[-1].grid if steps else None
            steps.append(step)
            frame = step_frame(solver.domain, task, step, before, most, len(steps))
            live.update(frame, refresh=True)
            sleep(delay)
    if gif is not None:
        from trm_sdk.render.image import save_gif

        save_gif(gif, solver.domain, task, steps, milliseconds=max(10, round(1000 * delay)))
    sys.exit(1 if steps[-1].verified is False else 0)


# --- models ---------------------------------------------------------------------------------


@main.command()
def models() -> None:
    """List the models that come with the package."""
    from rich.console import Console
    from rich.table import Table

    from trm_sdk.persistence.checkpoint import read_spec
    from trm_sdk.persistence.hub import BUNDLED, list_pretrained

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "domain", "board", "mixer", "graph KB"):
        table.add_column(heading, justify="right" if heading == "graph KB" else "left")
    for name in list_pretrained():
        spec, graph = read_spec(BUNDLED / name), BUNDLED / name / "model.onnx"
        table.add_row(
            name,
            spec.domain,
            "x".join(map(str, spec.grid_shape)),
            spec.model.mixer,
            f"{graph.stat().st_size / 1000:.0f}" if graph.is_file() else "-",
        )
    Console().print(table)


@main.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True)
def info(model: str, as_json: bool) -> None:
    """What a model is, what it was made for, and how it is run by default."""
    from trm_sdk.info import describe

    facts = describe(model)
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name}={item}" for name, item in value.items())
        click.echo(f"{key:<{width}}  {value}")


@main.command()
@click.argument("model")
@click.option("--puzzles", type=click.Path(exists=True, dir_okay=False), help="Solve these too.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), help="Default: what suits the model.")
@_search_options
@_model_options
def bench(
    model: str,
    puzzles: str | None,
    limit: int,
    batch_size: int | None,
    runtime: str,
    device: str,
    threads: int | None,
    **search: Any,
) -> None:
    """Time a model on this machine: loading, single steps, and whole puzzles of a file."""
    import warnings
    from time import perf_counter

    from trm_sdk.timing import time_puzzles, time_steps

    options = _solve_options(search)
    started = perf_counter()
    solver = _load(model, runtime, device, threads)
    click.echo(f"{solver!r}: loaded in {(perf_counter() - started) * 1000:.0f} ms")
    for rows in (1, 8, 64):
        ms = time_steps(solver.runtime, rows) * 1000
        click.echo(f"batch {rows:>3}: {ms:8.2f} ms a step, {ms / rows:7.3f} ms a step and puzzle")
    if puzzles is None:
        return
    tasks, _ = _read_argument(puzzles, solver.domain)
    batch_size = batch_size or solver.runtime.batch_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # said below, in this program's own way
        report = time_puzzles(solver, tasks, limit, options, batch_size)
    for reason in report.unreadable:
        click.echo(f"left out: {reason}", err=True)
    click.echo(
        f"{report.solved} of {report.puzzles} solved; one at a time: median {report.p50:.2f} ms, "
        f"p95 {report.p95:.2f} ms, p99 {report.p99:.2f} ms; "
        f"in batches of {batch_size}: {report.per_second:.1f} puzzles/s"
    )


@main.command()
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=16, show_default=True)
@_model_options
def calibrate(
    model: str,
    file: str,
    limit: int,
    steps: int,
    runtime: str,
    device: str,
    threads: int | None,
) -> None:
    """How far the halting head of a model can be trusted, on the puzzles of a file."""
    from itertools import islice

    from trm_sdk.calibration import reliability
    from trm_sdk.task import Task

    solver = _load(model, runtime, device, threads)
    tasks, _ = _read_argument(file, solver.domain)
    found = reliability(solver, (t for t in islice(tasks, limit) if isinstance(t, Task)), steps)
    click.echo("confidence   right  answers")
    for mean, share, count in found.curve():
        click.echo(f"{mean:10.3f}  {share:6.3f}  {count:7d}")
    click.echo(f"expected calibration error {found.error:.3f}")
    for loss in (0.0, 0.005):
        threshold = found.threshold(loss)
        accuracy, taken = found.halted(threshold)
        click.echo(
            f"halting above {threshold:.4f}: {accuracy:.1%} right after {taken:.1f} steps "
            f"(without: {found.correct[:, -1].mean():.1%} after {steps})"
        )
