"""Draw which ARC tasks were solved and which not: ``python -m benchmarks.arc_pictures``.

From the lines that `benchmarks.arc` has written: of each outcome the first tasks in the order in
which they were drawn, so that nobody has chosen them. A task is shown by its first demonstration
and by its first test input with the right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image, ImageDraw, ImageFont

from benchmarks.arc import LOOKED_AT, in_order, is_solved, read_lines
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import get_domain
from trm_sdk.domains.arc import read_tasks
from trm_sdk.grid import Grid
from trm_sdk.render.image import draw_picture
from trm_sdk.task import Task

#: Pixels: a grid at most, between grids, a line of text.
_GRID, _GAP, _TEXT = 112, 10, 22
_INK, _SOFT = "#23272b", "#62686c"
OUTCOMES = (
    "solved in two attempts",
    "demonstrations reproduced, test input not solved",
    "demonstrations not reproduced",
)


def outcome(line: dict[str, Any]) -> int:
    """Return which of `OUTCOMES` a task had."""
    if is_solved(line, 2):
        return 0
    return 1 if line["fitted"] else 2


def draw_grid(grid: Grid) -> Image.Image:
    """Return a grid as large as fits."""
    picture = get_domain("arc").picture(Task((grid,)))
    return draw_picture(picture, max(4, min(20, (_GRID - 4) // max(grid.shape))))


def draw_task(task: Task) -> Image.Image:
    """Return a demonstration over a test input with its answer, and the task's name."""
    assert task.answers is not None
    pairs = [task.demonstrations[0], (task.inputs[0], task.answers[0])]
    width, height = 2 * _GRID + 3 * _GAP, 2 * (_GRID + 8) + _GAP + _TEXT
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((0, 2), task.name or "", fill=_SOFT, font=font)
    for row, pair in enumerate(pairs):
        top = _TEXT + row * (_GRID + 8 + _GAP)
        for column, grid in enumerate(pair):
            board = draw_grid(grid)
            left = column * (_GRID + 2 * _GAP + 8)
            sheet.paste(board, (left, top + (_GRID + 4 - board.height) // 2))
        _draw_arrow(draw, _GRID + 7, top + _GRID // 2 + 2)
    return sheet


def _draw_arrow(draw: ImageDraw.ImageDraw, left: int, middle: int) -> None:
    tip = left + 14
    head = [(tip - 5, middle - 5), (tip, middle), (tip - 5, middle + 5)]
    draw.line([(left, middle), (tip, middle)], fill=_SOFT, width=2)
    draw.line(head, fill=_SOFT, width=2)


def draw_outcomes(groups: Sequence[Sequence[Task]], counts: Sequence[int]) -> Image.Image:
    """Return one band a group: a title with the group's size, and the tasks side by side."""
    tiles = [[draw_task(task) for task in group] for group in groups]
    wide, high = 2 * _GRID + 3 * _GAP + 24, 2 * (_GRID + 8) + _GAP + _TEXT
    columns = max(map(len, tiles))
    band = high + _TEXT + 3 * _GAP
    sheet = Image.new("RGB", (columns * wide + _GAP, len(groups) * band + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for row, (title, row_tiles, count) in enumerate(zip(OUTCOMES, tiles, counts, strict=True)):
        top = row * band + _GAP
        draw.text((_GAP, top), f"{title}: {count} tasks", fill=_INK, font=font)
        for column, tile in enumerate(row_tiles):
            sheet.paste(tile, (_GAP + column * wide, top + _TEXT + _GAP))
    return sheet.quantize(64)


@click.command(cls=ErrorHandlingCommand)
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option("--split", type=click.Choice(["training", "evaluation"]), default="evaluation")
@click.option(
    "--lines", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True
)
@click.option("--tasks", type=click.IntRange(1), default=4, show_default=True, help="A band.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True)
def main(data: Path, split: str, lines: Path, tasks: int, output: Path) -> None:
    """Draw solved and unsolved tasks as one PNG; those that planning looked at are left out."""
    ordered = in_order(read_tasks(data / f"arc-agi_{split}_challenges.json"))
    if split == "evaluation":
        ordered = ordered[LOOKED_AT:]
    done = {one["task"]: one for one in read_lines(lines) if one["expressible"]}
    groups: list[list[Task]] = [[] for _ in OUTCOMES]
    for task in ordered:
        if task.name in done:
            groups[outcome(done[task.name])].append(task)
    sheet = draw_outcomes([group[:tasks] for group in groups], [len(group) for group in groups])
    sheet.save(output, optimize=True)
    counts = zip(OUTCOMES, map(len, groups), strict=True)
    click.echo(f"{output}: " + ", ".join(f"{count} {title}" for title, count in counts))


if __name__ == "__main__":
    main()
