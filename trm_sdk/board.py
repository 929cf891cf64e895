"""Boards in the terminal, coloured by how sure the model is of each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trm_sdk.domains.base import Domain
from trm_sdk.solution import Step
from trm_sdk.task import Task

if TYPE_CHECKING:
    from rich.text import Text


def coloured(domain: Domain, task: Task, step: Step) -> Text:
    """The board as `Domain.format` draws it: givens bold, other cells from red to green.

    Green is a cell that the model is certain of, red one where it guesses. A domain whose `format`
    does not show its cells one after another in the characters of `Grid.to_line` stays uncoloured.
    """
    from rich.text import Text

    drawn = Text(domain.format(step.grid))
    symbols = step.grid.to_line()
    given = task.grid.cells.reshape(-1) > 0
    sure = step.probabilities.max(-1).reshape(-1)
    places: list[int] = []
    for place, character in enumerate(drawn.plain):
        if len(places) < len(symbols) and character == symbols[len(places)]:
            places.append(place)
    if len(places) == len(symbols):
        for cell, place in enumerate(places):
            style = "bold" if given[cell] else _colour(float(sure[cell]))
            drawn.stylize(style, place, place + 1)
    return drawn


def _colour(probability: float) -> str:
    """Red at 0.5 and below, through yellow, to green at 1."""
    share = float(np.clip(2 * probability - 1, 0, 1))
    red, green = min(1.0, 2 - 2 * share), min(1.0, 2 * share)
    return f"rgb({round(70 + 170 * red)},{round(70 + 150 * green)},70)"
