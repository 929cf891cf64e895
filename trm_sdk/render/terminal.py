"""Boards in the terminal, coloured by how sure the model is of each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trm_sdk.domains.base import Domain
from trm_sdk.grid import Grid
from trm_sdk.solution import Step
from trm_sdk.task import Task

if TYPE_CHECKING:
    from rich.text import Text

_BAR = 24  # characters
_UNSURE, _MIDDLE, _SURE = (240, 88, 70), (236, 190, 70), (74, 200, 110)


def coloured(domain: Domain, task: Task, step: Step, before: Grid | None = None) -> Text:
    """The board as `Domain.format` draws it: givens bold, other cells from red to green.

    Green is a cell that the model is certain of, red one where it guesses. Cells that differ from
    those of the grid `before` are underlined, and what an attempt tries out is in reverse. A domain
    whose `format` does not show its cells one after another in the characters of `Grid.to_line`
    stays uncoloured.
    """
    from rich.text import Text

    drawn = Text(domain.format(step.grid))
    symbols = domain.to_line(step.grid)
    given = domain.vocabulary.given_values[task.grid.cells].reshape(-1)
    sure = step.probabilities.max(-1).reshape(-1)
    changed = np.zeros(len(symbols), bool)
    if before is not None:
        changed = (before.cells != step.grid.cells).reshape(-1)
    columns = step.grid.shape[1]
    tried = {row * columns + column for row, column, _ in step.guesses}
    places: list[int] = []
    for place, character in enumerate(drawn.plain):
        if len(places) < len(symbols) and character == symbols[len(places)]:
            places.append(place)
    if len(places) == len(symbols):
        cells = set(places)
        for place, character in enumerate(drawn.plain):
            if place not in cells and not character.isspace():  # lines between boxes
                drawn.stylize("dim", place, place + 1)
        for cell, place in enumerate(places):
            style = "bold" if given[cell] else _colour(float(sure[cell]))
            if changed[cell] and not given[cell]:
                style += " underline"
            if cell in tried:
                style += " reverse"
            drawn.stylize(style, place, place + 1)
    return drawn


def puzzle_frame(domain: Domain, task: Task) -> Text:
    """What `trm watch` shows before the first step."""
    from rich.text import Text

    return Text(f"{domain.format(task.grid)}\n\n\n")  # as many lines as `step_frame` has


def step_frame(
    domain: Domain, task: Task, step: Step, before: Grid | None, max_steps: int, total: int
) -> Text:
    """What `trm watch` shows after a step: the board, the model's confidence, where it stands.

    Parameters
    ----------
    domain : Domain
    task : Task
    step : Step
    before : Grid or None
        The board of the step before.
    max_steps : int
        Of an attempt.
    total : int
        Steps taken, over all attempts.
    """
    from rich.text import Text

    filled = round(step.confidence * _BAR)
    number = f"attempt {step.attempt}, " if step.attempt > 1 else ""
    confidence = Text.assemble(
        f"{number}step {step.index} of {max_steps}  confidence {step.confidence:4.0%} ",
        ("=" * filled, _colour(step.confidence)),
        ("-" * (_BAR - filled), "dim"),
    )
    if step.verified:
        verdict = Text(f"verified: the rules confirm it after {_steps(total)}", "bold green")
    elif step.verified is None:
        verdict = Text("no rules to check it by", "dim")
    elif step.guesses:
        tried = " and ".join(
            f"row {row + 1}, column {column + 1} is {domain.vocabulary.value_names()[value]}"
            for row, column, value in step.guesses
        )
        verdict = Text(f"what if {tried}?", "dim")
    else:
        verdict = Text("not right yet", "dim")
        if before is not None:
            count = int((before.cells != step.grid.cells).sum())
            verdict.append(f": {count} cell{'' if count == 1 else 's'} changed")
    return Text("\n").join([coloured(domain, task, step, before), Text(), confidence, verdict])


def legend() -> Text:
    """What the colours of `step_frame` mean."""
    from rich.text import Text

    return Text.assemble(
        ("givens", "bold"), "  ",
        ("guessed", _colour(0.4)), " to ", ("certain", _colour(1.0)), "  ",
        ("changed in this step", "underline"), "  ",
        ("tried out", "reverse"),
    )  # fmt: skip


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"


def _colour(probability: float) -> str:
    """Red at 0.5 and below, through yellow, to green at 1."""
    share = float(np.clip(2 * probability - 1, 0, 1))
    low, high = (_UNSURE, _MIDDLE) if share < 0.5 else (_MIDDLE, _SURE)
    part = 2 * share if share < 0.5 else 2 * share - 1
    mixed = (round(a + part * (b - a)) for a, b in zip(low, high, strict=True))
    return f"rgb({','.join(map(str, mixed))})"
