"""Pictures of boards: a solution as an image, a solve as an animation. Needs Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.solution import Step
from trm_sdk.task import Task
from trm_sdk.validation import as_path, is_int

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]
_PAPER, _INK, _LINE, _GIVEN = (255, 255, 255), (20, 20, 24), (176, 178, 186), (238, 239, 243)
_SURE, _MIDDLE, _UNSURE = (18, 120, 66), (206, 132, 10), (208, 48, 40)


def draw_board(
    domain: Domain,
    task: Task,
    grid: Grid,
    certainty: npt.NDArray[np.floating[Any]] | None = None,
    cell: int = 48,
    colours: Mapping[int, Colour] | None = None,
) -> Image:
    """Draw an answer: givens on grey, other values in red to green by how certain they are.

    Parameters
    ----------
    domain : Domain
        Its regions (groups of `structure` that are neither rows nor columns) get thick borders.
    task : Task
    grid : Grid
    certainty : array of shape (rows, columns), optional
        0..1 a cell; default: certain everywhere.
    cell : int
        Pixels a cell, 8 to 512.
    colours : mapping from value to (red, green, blue), optional
        Values with a colour fill their cell instead of being written into it.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If `cell` is out of range.
    """
    drawing, font_of, new = _pillow()
    _check_number("cell", cell, 8, 512, "pixels")
    rows, columns = grid.shape
    margin, picture = max(2, cell // 16), domain.picture(task, grid, certainty=certainty)
    image: Image = new("RGB", (columns * cell + 2 * margin, rows * cell + 2 * margin), _PAPER)
    draw, font = drawing(image), font_of(round(cell * 0.6))
    given = picture.given
    for row in range(rows):
        for column in range(columns):
            left, top = margin + column * cell, margin + row * cell
            box = (left, top, left + cell, top + cell)
            value = grid[row, column]
            if colours is not None and value in colours:
                draw.rectangle(box, fill=colours[value], outline=_LINE)
                continue
            draw.rectangle(box, fill=_GIVEN if given[row, column] else _PAPER, outline=_LINE)
            if value:
                sure = float(picture.certainty[row, column])
                ink = _INK if given[row, column] else _blend(sure)
                middle = (left + cell / 2, top + cell / 2)
                draw.text(middle, picture.symbols[row][column], fill=ink, font=font, anchor="mm")
    for line in picture.borders:
        draw.line([margin + cell * place for place in line], fill=_INK, width=margin)
    return image


def save_gif(
    path: str | os.PathLike[str],
    domain: Domain,
    task: Task,
    steps: Iterable[Step],
    cell: int = 48,
    milliseconds: int = 250,
    colours: Mapping[int, Colour] | None = None,
) -> Path:
    """Write the model's steps as an animated GIF that begins with the puzzle and rests at the end.

    Parameters
    ----------
    path : path
    domain, task, cell, colours : as in `draw_board`
    steps : iterable of Step
        What `Solver.stream` yields.
    milliseconds : int
        Between steps, 10 to 60,000; a GIF has no room for more where it rests.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If a number is out of range, the file can't be written, or `steps` are something else.
    """
    _check_number("milliseconds", milliseconds, 10, 60_000)
    path = check_target(path)
    if not isinstance(steps, Iterable):
        raise InvalidInputError(f"steps are what Solver.stream yields; got {shown(steps)}")
    frames = [draw_board(domain, task, task.grid, None, cell, colours)]
    for step in steps:
        if not isinstance(step, Step):
            raise InvalidInputError(f"steps are what Solver.stream yields; got {shown(step)}")
        certainty = step.probabilities.max(-1)
        frames.append(draw_board(domain, task, step.grid, certainty, cell, colours))
    waits = [3 * milliseconds, *[milliseconds] * (len(frames) - 1)]
    waits[-1] = 8 * milliseconds
    more: dict[str, Any] = {"append_images": frames[1:], "duration": waits, "loop": 0}
    try:
        frames[0].save(path, "GIF", save_all=True, optimize=True, **more)
    except OSError as error:
        raise InvalidInputError(f"{path} can't be written: {error.strerror or error}") from None
    return path


def check_target(path: str | os.PathLike[str]) -> Path:
    """Where a picture is to be written, looked at before anything is solved for its sake.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If `path` is no path, a folder, or in a folder that does not exist or can't be written.
    """
    _pillow()
    path = as_path(path)
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path} can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        what = "it is a folder" if path.is_dir() else "that is not permitted"
        raise InvalidInputError(f"{path} can't be written: {what}")
    return path


def _check_number(name: str, value: object, low: int, high: int, unit: str = "") -> None:
    if not is_int(value) or not low <= value <= high:
        of = f" {unit}" if unit else ""
        raise InvalidInputError(f"{name} must be {low} to {high}{of}, whole; got {shown(value)}")


def _pillow() -> tuple[Any, Any, Any]:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise MissingDependencyError(
            "drawing boards needs Pillow: pip install 'trm-sdk[image]'"
        ) from None
    return ImageDraw.Draw, ImageFont.load_default, Image.new


def _blend(certainty: float) -> Colour:
    """Red at 0.5 and below, through amber, to green at 1."""
    share = min(max(2 * certainty - 1, 0.0), 1.0)
    low, high = (_UNSURE, _MIDDLE) if share < 0.5 else (_MIDDLE, _SURE)
    part = 2 * share if share < 0.5 else 2 * share - 1
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue
