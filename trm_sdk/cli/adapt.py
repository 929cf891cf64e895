"""`trm solve` for puzzles whose demonstrations are learned while solving; see `Solver.adapt`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trm_sdk.atomic import write_whole
from trm_sdk.cli.arguments import read_argument
from trm_sdk.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from trm_sdk.domains.base import Domain
    from trm_sdk.grid import Grid
    from trm_sdk.render.terminal import Board
    from trm_sdk.solution import Failure, Solution

#: Options of `trm solve` that learning has a use for.
_USED = ("seconds", "seed")


def adapting_domain(model: str) -> Domain | None:
    """Return the domain of that name, where it has no model and learns from demonstrations."""
    from trm_sdk.domains import available_domains, get_domain
    from trm_sdk.persistence.hub import list_pretrained

    if model not in available_domains() or model in list_pretrained():
        return None
    domain = get_domain(model)
    return domain if domain.adapts else None


def solve_by_adapting(
    puzzle: str,
    domain: Domain,
    search: dict[str, Any],
    *,
    as_json: bool,
    output: Path | None,
    cache: str | None,
    processes: int,
) -> int:
    """Learn and answer the tasks that the command line names; return the exit code."""
    from trm_sdk.adapt.many import solve_tasks
    from trm_sdk.solution import Failure

    given = {name: value for name, value in search.items() if value is not None}
    unused = sorted(set(given) - set(_USED))
    if unused:
        raise InvalidInputError(
            f"--{unused[0].replace('max_', '')} is for trained models; {domain.name} is learned "
            "while solving, which takes --seconds, --seed, --processes and --cache"
        )
    tasks = list(read_argument(puzzle, domain)[0])
    results: dict[int, Solution | Failure] = {}
    solving = solve_tasks(
        tasks,
        domain,
        processes=processes,
        cache=cache,
        progress=sys.stderr.isatty() and len(tasks) == 1,
        **given,
    )
    for index, result in solving:
        results[index] = result
        if as_json:
            click.echo(_json(index, result))
        elif len(tasks) > 1:
            click.echo(_line(tasks[index], result))
        elif not isinstance(result, Failure):
            _print(result)
        if isinstance(result, Failure):
            click.echo(f"Error: {_named(tasks[index])}{result.error}", err=True)
    if output is not None:
        _write(output, domain, tasks, results)
    if len(tasks) > 1 and not as_json:
        click.echo(_summary(results))
    return max(_code(result) for result in results.values())


def _named(task: object) -> str:
    name = getattr(task, "name", None)
    return "" if name is None else f"{name}: "


def _code(result: Solution | Failure) -> int:
    from trm_sdk.solution import Failure

    if isinstance(result, Failure):
        return 2
    return 1 if result.within(result.domain.tries) is False else 0


def _verdict(solution: Solution) -> str:
    """Say what learning came to, in words that promise nothing."""
    fitted = "reproduced" if solution.fitted else "NOT reproduced"
    verdict = f"demonstrations {fitted}, confidence {solution.confidence:.2f}"
    right = solution.within(solution.domain.tries)
    if right is not None:
        verdict += ", the file's answer" if right else ", NOT the file's answer"
    runs = "1 run" if solution.attempts == 1 else f"{solution.attempts} runs"
    return f"{verdict}: {runs} of {solution.steps} steps in all, {solution.seconds:.1f} s"


def _line(task: object, result: Solution | Failure) -> str:
    from trm_sdk.solution import Failure

    name = getattr(task, "name", None) or "task"
    return f"{name}: not learned" if isinstance(result, Failure) else f"{name}: {_verdict(result)}"


def _summary(results: dict[int, Solution | Failure]) -> str:
    from trm_sdk.solution import Failure

    solutions = [one for one in results.values() if not isinstance(one, Failure)]
    right = [one.within(one.domain.tries) for one in solutions]
    parts = [
        f"{sum(one.fitted is True for one in solutions)} of {len(results)} fitted",
        f"{right.count(True)} solved" if right.count(None) < len(right) else "",
        f"{len(results) - len(solutions)} not learned" if len(results) > len(solutions) else "",
    ]
    return ", ".join(part for part in parts if part)


def _json(index: int, result: Solution | Failure) -> str:
    from trm_sdk.solution import Failure

    if isinstance(result, Failure):
        return json.dumps({"index": index, "error": str(result.error)})
    facts = {"index": index, **result.to_dict(candidates=True)}
    if result.domain.tries > 1:
        facts["solved"] = result.within(result.domain.tries)
    return json.dumps({name: value for name, value in facts.items() if value is not None})


def _write(
    path: Path,
    domain: Domain,
    tasks: list[Any],
    results: dict[int, Solution | Failure],
) -> None:
    """Write what the domain hands in; tasks that failed are handed in without an answer."""
    from trm_sdk.solution import Failure
    from trm_sdk.task import Task

    read = [task for task in tasks if isinstance(task, Task)]
    attempts = {
        str(tasks[index].name): [
            [one.grid for one in several[: domain.tries]] for several in result.candidates
        ]
        for index, result in results.items()
        if not isinstance(result, Failure)
    }
    write_whole(path, json.dumps(domain.submission(read, attempts)).encode())


# --- one task, drawn ------------------------------------------------------------------------


def _print(solution: Solution) -> None:
    """Draw inputs and attempts: in colours on a terminal, in a pipe as text."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=1_000_000, no_color=True)
    for index, grid in enumerate(solution.task.inputs):
        titles, boards = _boards(solution, index, grid)
        _print_beside(console, titles, boards)
        console.print()
    console.print(_verdict(solution))


def _boards(solution: Solution, index: int, grid: Grid) -> tuple[list[str], list[Board]]:
    from trm_sdk.render.terminal import Board
    from trm_sdk.task import Task

    domain = solution.domain
    several = len(solution.task.inputs) > 1
    titles = [f"input {index + 1}" if several else "input"]
    boards = [Board(domain.picture(Task((grid,))))]
    for number, one in enumerate(solution.candidates[index][: domain.tries], start=1):
        titles.append(f"attempt {number}: {one.confidence:.2f}")
        boards.append(Board(domain.picture(Task((one.grid,)))))
    return titles, boards


def _print_beside(console: Console, titles: list[str], boards: list[Board]) -> None:
    """Print boards side by side where they fit, under each other elsewhere."""
    from rich.measure import Measurement
    from rich.table import Table

    texts = [console.render_str(title) for title in titles]
    colour = console.color_system is not None and not console.no_color
    drawn = [board.text(colour, console.encoding) for board in boards]
    widths = [
        max(Measurement.get(console, console.options, part).maximum for part in pair)
        for pair in zip(texts, drawn, strict=True)
    ]
    if sum(widths) + 3 * len(widths) > console.width:
        for title, board in zip(texts, boards, strict=True):
            console.print(title)
            console.print(board, crop=False)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    for width in widths:
        table.add_column(no_wrap=True, min_width=width)
    table.add_row(*texts)
    table.add_row(*drawn)
    console.print(table)


__all__ = ["adapting_domain", "solve_by_adapting"]
