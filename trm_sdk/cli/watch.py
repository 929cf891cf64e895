"""`trm watch`: the board after every step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from trm_sdk.cli.arguments import (
    PuzzleArgument,
    load,
    model_option,
    model_options,
    read_argument,
    search_options,
    solve_options,
)
from trm_sdk.errors import InvalidInputError, TRMError

if TYPE_CHECKING:
    from trm_sdk.solution import Step


@click.command(short_help="Watch a model solve a puzzle, step by step.")
@click.argument("puzzle", metavar="PUZZLE|FILE|-", type=PuzzleArgument())
@model_option
@search_options
@click.option("--gif", type=click.Path(dir_okay=False), help="Write the animation to a file too.")
@click.option("--delay", type=float, default=0.2, show_default=True, help="Seconds, 0 to 60.")
@model_options
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
    solver = load(model, runtime, device, threads)
    domain = solver.domain
    tasks, _ = read_argument(puzzle, domain)
    task = next(tasks)
    if isinstance(task, TRMError):
        raise task
    if next(tasks, None) is not None:
        click.echo(f"{puzzle} has more puzzles; this is the first", err=True)
    options = solve_options(search)
    whole = solver.complete(options).on_board(task.inputs[0].cells.size)
    steps: list[Step] = []
    console = Console(highlight=False)
    console.print(legend(domain), end="\n\n")
    with Live(puzzle_frame(domain, task), console=console, auto_refresh=False) as live:
        if console.is_terminal:
            sleep(delay)
        for step in solver.stream(task, options):
            before = steps[-1].grid if steps else None
            steps.append(step)
            most = whole.steps_of(step.attempt - 1)
            frame = step_frame(domain, task, step, before, most, len(steps))
            live.update(frame, refresh=True)
            sleep(delay)
    if gif is not None:
        from trm_sdk.render.image import save_gif

        save_gif(gif, domain, task, steps, milliseconds=max(10, round(1000 * delay)))
    correct = None if task.answer is None else steps[-1].grid == task.answer
    if correct is False:
        console.print("not the answer that came with the puzzle")
    sys.exit(1 if steps[-1].verified is False or correct is False else 0)


__all__ = ["watch"]
