"""Pictures of boards: a solution as an image, a solve as an animation. Needs Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trm_sdk.atomic import check_writable
from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.messages import shown
from trm_sdk.render.picture import RAMP, Colour, Picture, certainty_colour, is_light, rgb
from trm_sdk.validation import as_path, is_int

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from trm_sdk.domains.base import Domain
    from trm_sdk.grid import Grid
    from trm_sdk.solution import Step
    from trm_sdk.task import Task

_PAPER, _INK, _LINE, _GIVEN = (255, 255, 255), (20, 20, 24), (176, 178, 186), (238, 239, 243)
_CHANGED, _TRIED, _RING = (43, 108, 196), (255, 243, 205), (240, 140, 0)
#: Grounds of shaded cells: empty or the model's, and given.
_SHADED, _SHADED_GIVEN = (222, 230, 246), (202, 212, 234)
#: Below this certainty a painted cell, which has no ink to be coloured, gets a dot.
_SURE = 0.95
#: Pixels that a side of a board has at most unless the caller chooses the size of a cell.
_LARGEST_SIDE = 1200
_CELL = 48


def draw_board(
    domain: Domain,
    task: Task,
    grid: Grid | None = None,
    certainty: npt.NDArray[np.floating[Any]] | None = None,
    cell: int | None = None,
    *,
    before: Grid | None = None,
    tried: Iterable[tuple[int, int]] = (),
) -> Image:
    """Draw an answer: givens on grey, other values in red to green by how certain they are.

    Shaded cells, such as the diagonals of an X-Sudoku, stand on blue.

    Values to which the domain's vocabulary gives a colour fill their cells instead, with a dot in
    red to green where the model is not sure.

    Parameters
    ----------
    domain : Domain
        Says what is drawn; see `Domain.picture`.
    task : Task
    grid : Grid, optional
        Default: the puzzle itself.
    certainty : array of shape (rows, columns), optional
        0..1 a cell; default: certain everywhere.
    cell : int, optional
        Pixels a cell, 4 to 512. Default 48, and fewer where the board would exceed 1200 pixels.
    before : Grid, optional
        The answer a step before: written cells that differ are underlined.
    tried : iterable of (row, column)
        Cells that an attempt fills in; on yellow, or in an orange ring where they are filled.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If `cell` is out of range.
    """
    _pillow()
    shape = task.grid.shape if grid is None else grid.shape
    size = _cell_size(cell, shape)
    picture = domain.picture(task, grid, certainty=certainty, before=before, tried=list(tried))
    return draw_picture(picture, size)


def draw_picture(picture: Picture, cell: int = _CELL) -> Image:
    """Draw a picture of a board.

    Parameters
    ----------
    picture : Picture
    cell : int
        Pixels a cell, 4 to 512. Default 48.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If `cell` is out of range.
    """
    drawing, font_of, new = _pillow()
    _check_number("cell", cell, 4, 512, "pixels")
    rows, columns = picture.shape
    margin = _margin(cell)
    image: Image = new("RGB", (columns * cell + 2 * margin, rows * cell + 2 * margin), _PAPER)
    draw, font = drawing(image), font_of(max(round(cell * 0.6), 4))
    for row in range(rows):
        for column in range(columns):
            _draw_cell(draw, picture, row, column, cell, font)
    for line in picture.borders:
        draw.line([margin + cell * place for place in line], fill=_INK, width=margin)
    return image


def _margin(cell: int) -> int:
    """Width of a border, in pixels."""
    return max(1 if cell < 12 else 2, cell // 16)


def _draw_cell(
    draw: ImageDraw, picture: Picture, row: int, column: int, cell: int, font: Any
) -> None:
    left, top = (_margin(cell) + place * cell for place in (column, row))
    box = (left, top, left + cell, top + cell)
    fill, given = picture.colours[row][column], bool(picture.given[row, column])
    sure = float(picture.certainty[row, column])
    # Thin lines between the cells of a small board would be most of it.
    outline = _LINE if cell >= 12 else None
    middle = (left + cell / 2, top + cell / 2)
    if fill is not None:
        ground = rgb(fill)
        draw.rectangle(box, fill=ground, outline=outline)
        if not given and sure < _SURE:
            reach = cell * (0.12 + 0.2 * (1 - sure))
            corners = (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach)
            ring = _INK if is_light(ground) else _PAPER
            draw.ellipse(corners, fill=certainty_colour(sure), outline=ring)
    else:
        ground = _ground(picture, row, column)
        draw.rectangle(box, fill=ground, outline=outline)
        if not picture.blank[row, column]:
            ink = _INK if given else certainty_colour(sure)
            draw.text(middle, picture.symbols[row][column], fill=ink, font=font, anchor="mm")
    if fill is not None and picture.tried[row, column]:
        inset = max(cell // 8, 1)
        inner = (left + inset, top + inset, left + cell - inset, top + cell - inset)
        draw.rectangle(inner, outline=_RING, width=max(cell // 16, 1))
    if fill is None and picture.changed[row, column]:
        y = top + cell - max(cell // 8, 1)
        draw.line(
            (left + cell * 0.25, y, left + cell * 0.75, y), fill=_CHANGED, width=max(cell // 24, 1)
        )


def _ground(picture: Picture, row: int, column: int) -> Colour:
    """Colour below the symbol of a cell."""
    given = bool(picture.given[row, column])
    if picture.tried[row, column]:
        return _TRIED
    if picture.shaded is not None and picture.shaded[row, column]:
        return _SHADED_GIVEN if given else _SHADED
    return _GIVEN if given else _PAPER


def save_gif(
    path: str | os.PathLike[str],
    domain: Domain,
    task: Task,
    steps: Iterable[Step],
    cell: int | None = None,
    milliseconds: int = 250,
) -> Path:
    """Write the model's steps as an animated GIF that begins with the puzzle and rests at the end.

    Parameters
    ----------
    path : path
    domain, task, cell : as in `draw_board`
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
    size = _cell_size(cell, task.grid.shape)
    palette = _palette(domain)
    frames = [_indexed(draw_board(domain, task, cell=size), palette)]
    before: Grid | None = None
    for step in steps:
        if not (hasattr(step, "probabilities") and hasattr(step, "guesses")):
            raise InvalidInputError(f"steps are what Solver.stream yields; got {shown(step)}")
        image = draw_board(
            domain,
            task,
            step.grid,
            step.probabilities.max(-1),
            size,
            before=before,
            tried=[(row, column) for row, column, _ in step.guesses],
        )
        frames.append(_indexed(image, palette))
        before = step.grid
    waits = [3 * milliseconds, *[milliseconds] * (len(frames) - 1)]
    waits[-1] = 8 * milliseconds
    more: dict[str, Any] = {"append_images": frames[1:], "duration": waits, "loop": 0}
    try:
        frames[0].save(path, "GIF", save_all=True, optimize=False, **more)
    except OSError as error:
        raise InvalidInputError(f"{path} can't be written: {error.strerror or error}") from None
    return path


def _palette(domain: Domain) -> Image:
    """One palette for all frames: what is drawn, and inks blended with paper at their edges.

    A palette a frame would cost 768 bytes each, and frames could not be stored as what changes.
    """
    new = _pillow()[2]
    grounds: list[Colour] = [_PAPER, _GIVEN, _TRIED, _SHADED, _SHADED_GIVEN]
    inks: list[Colour] = [_INK, _LINE, _CHANGED, _RING]
    low, high = RAMP[0][0], RAMP[-1][0]
    inks += [certainty_colour(low + (high - low) * part / 12) for part in range(13)]
    colours = dict.fromkeys(grounds)
    colours.update(dict.fromkeys(rgb(one) for one in domain.vocabulary.colours if one is not None))
    for strength in (1, 0.67, 0.33):
        for ink in inks:
            for ground in grounds[:2]:
                mixed = (round(g + strength * (i - g)) for i, g in zip(ink, ground, strict=True))
                colours[tuple(mixed)] = None  # type: ignore[index]
    flat = [part for colour in list(colours)[:256] for part in colour]
    image: Image = new("P", (1, 1))
    image.putpalette(flat + flat[:3] * (256 - len(flat) // 3))
    return image


def _indexed(image: Image, palette: Image) -> Image:
    """An image in the colours of a palette, without dithering."""
    return image.quantize(palette=palette, dither=0)  # type: ignore[arg-type]


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a picture to be written, checked before anything is solved for its sake.

    Raises
    ------
    MissingDependencyError
        Without Pillow (``pip install 'trm-sdk[image]'``).
    InvalidInputError
        If `path` is not a path, a folder, or in a folder that does not exist or can't be written.
    """
    _pillow()
    path = as_path(path)
    check_writable(path)
    return path


def _cell_size(cell: int | None, shape: tuple[int, int]) -> int:
    """Pixels a cell: the caller's choice, or as many as keep the board on a screen."""
    if cell is None:
        return min(_CELL, max(_LARGEST_SIDE // max(shape), 4))
    _check_number("cell", cell, 4, 512, "pixels")
    return cell


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


__all__ = ["check_target", "draw_board", "draw_picture", "save_gif"]
