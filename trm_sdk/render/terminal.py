"""Boards in the terminal, coloured by how sure the model is of each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trm_sdk.render.picture import Picture, certainty_colour, is_light, rgb

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.console import Console, ConsoleOptions, Group, RenderResult
    from rich.text import Text

    from trm_sdk.domains.base import Domain
    from trm_sdk.grid import Grid
    from trm_sdk.solution import Step
    from trm_sdk.task import Task

    Edges = npt.NDArray[np.bool_]

_BAR = 24  # characters
#: Below this certainty a painted cell, which has no ink to be coloured, gets a mark.
_SURE = 0.95
#: Ground of shaded cells, on which black and the inks of certainty are legible.
_SHADE = "grey78"
#: Lines by which of (up, down, left, right) they reach: 1, 2, 4 and 8 added up.
_BOX = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"
_ASCII = " |||-+++-+++-+++"


class Board:
    """A picture of a board, as rich prints it.

    Cells with a colour are painted blocks, two characters wide so that they are square; where that
    does not fit the terminal, two rows share a line of half blocks. Other cells show their symbol:
    givens in bold, the model's from red to green by certainty, underlined where they have changed,
    in reverse where an attempt tries them out. A painted cell has a dot where the model is not
    sure of it, brackets where it is tried out. Without colours there are symbols alone. Where the
    picture has regions, their borders are drawn, in ASCII where the console's encoding has no
    lines. Shaded cells stand on grey.

    Parameters
    ----------
    picture : Picture
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colour = console.color_system is not None and not console.no_color
        yield self.text(colour, options.encoding, options.max_width, options.size.height)

    def text(
        self,
        colour: bool = True,
        encoding: str = "utf-8",
        width: int = 10_000,
        height: int = 10_000,
    ) -> Text:
        """Return the board as text.

        Parameters
        ----------
        colour : bool
            Whether the terminal has colours. Default True.
        encoding : str
            Of the terminal. Default UTF-8.
        width, height : int
            Of the terminal, in characters. Default: as much as the board needs.
        """
        picture, drawable = self.picture, _can_encode(_BOX + "▀•", encoding)
        rows, columns = picture.shape
        if picture.has_regions:
            return _with_borders(picture, colour, _BOX if drawable else _ASCII)
        if not picture.is_painted:
            return _rows(picture, colour, " " if 2 * columns - 1 <= width else "")
        if not colour:
            return _rows(picture, False, "")
        if 2 * columns <= width and rows < height:
            return _painted(picture, 2, "•" if drawable else ".")
        if drawable and all(one is not None for row in picture.colours for one in row):
            return _half_blocks(picture)
        return _painted(picture, 1, "•" if drawable else ".")


def _can_encode(characters: str, encoding: str) -> bool:
    try:
        characters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _style(picture: Picture, row: int, column: int) -> str:
    """How the symbol of a cell is written."""
    shaded = picture.shaded is not None and bool(picture.shaded[row, column])
    if picture.given[row, column]:
        style = "bold black" if shaded else "bold"
    elif picture.blank[row, column]:
        style = "black" if shaded else "dim"
    else:
        style = _ink(float(picture.certainty[row, column]))
    if picture.changed[row, column]:
        style += " underline"
    if picture.tried[row, column]:
        style += " reverse"
    elif shaded:
        style += f" on {_SHADE}"
    return style


def _rows(picture: Picture, colour: bool, between: str) -> Text:
    """Symbols, a line a row."""
    from rich.text import Text

    lines = []
    for row, symbols in enumerate(picture.symbols):
        line = Text(no_wrap=True, overflow="ignore")
        for column, symbol in enumerate(symbols):
            line.append(between if column else "")
            line.append(symbol, _style(picture, row, column) if colour else "")
        lines.append(line)
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def _painted(picture: Picture, wide: int, dot: str) -> Text:
    """Blocks of colour, and symbols in cells without."""
    from rich.text import Text

    text = Text(no_wrap=True, overflow="ignore")
    for row, symbols in enumerate(picture.symbols):
        text.append("\n" if row else "")
        for column, symbol in enumerate(symbols):
            fill = picture.colours[row][column]
            if fill is None:
                text.append(symbol, _style(picture, row, column))
                text.append(" " * (wide - 1))
                continue
            ink = "black" if is_light(rgb(fill)) else "white"
            mark = ""
            if picture.tried[row, column]:
                mark = "[]"[:wide]
            elif picture.certainty[row, column] < _SURE:
                mark = dot
            text.append(f"{mark:<{wide}}", f"{ink} on {fill}")
    return text


def _half_blocks(picture: Picture) -> Text:
    """Two rows of colours a line: the upper one in the ink, the lower one in the ground."""
    from rich.text import Text

    text, rows = Text(no_wrap=True, overflow="ignore"), len(picture.colours)
    for row in range(0, rows, 2):
        text.append("\n" if row else "")
        for column, upper in enumerate(picture.colours[row]):
            lower = f" on {picture.colours[row + 1][column]}" if row + 1 < rows else ""
            text.append("▀", f"{upper}{lower}")
    return text


def _with_borders(picture: Picture, colour: bool, lines: str) -> Text:
    """Symbols, with lines around the regions."""
    from rich.text import Text

    across, down = picture.edges()
    columns = picture.shape[1]
    has_line: list[bool] = [bool(line.any()) for line in down.T]
    text = Text(no_wrap=True, overflow="ignore")

    def rule(row: int) -> None:
        for column in range(columns + 1):
            along = lines[12] if column < columns and across[row, column] else " "
            if has_line[column]:
                text.append(_corner(across, down, row, column, lines), "dim")
                text.append(along if column < columns else "", "dim")
            if column < columns:
                text.append(2 * along, "dim")

    for row, symbols in enumerate(picture.symbols):
        if across[row].any():
            rule(row)
            text.append("\n")
        for column, symbol in enumerate((*symbols, "")):
            if has_line[column]:
                text.append(lines[3] if down[row, column] else " ", "dim")
                text.append(" " if symbol else "")
            if symbol:
                text.append(symbol, _style(picture, row, column) if colour else "")
                text.append(" ")
        text.append("\n")
    rule(len(picture.symbols))
    return text


def _corner(across: Edges, down: Edges, row: int, column: int, lines: str) -> str:
    """The character where the lines around a corner of cells meet."""
    rows, columns = len(across) - 1, across.shape[1]
    up = row > 0 and down[row - 1, column]
    below = row < rows and down[row, column]
    left = column > 0 and across[row, column - 1]
    right = column < columns and across[row, column]
    return lines[int(up) + 2 * int(below) + 4 * int(left) + 8 * int(right)]


def step_board(domain: Domain, task: Task, step: Step, before: Grid | None = None) -> Board:
    """Return what is drawn of a step.

    Parameters
    ----------
    domain : Domain
    task : Task
    step : Step
    before : Grid, optional
        The answer of the step before.
    """
    tried = {(row, column) for row, column, _ in step.guesses}
    certainty = step.probabilities.max(-1)
    return Board(domain.picture(task, step.grid, certainty=certainty, before=before, tried=tried))


def puzzle_frame(domain: Domain, task: Task) -> Group:
    """Return what `trm watch` shows before the first step."""
    from rich.console import Group

    return Group(Board(domain.picture(task)), "\n\n")  # as many lines as `step_frame` has


def step_frame(
    domain: Domain, task: Task, step: Step, before: Grid | None, max_steps: int, total: int
) -> Group:
    """Return what `trm watch` shows after a step: board, confidence, and where it stands.

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
    from rich.console import Group
    from rich.text import Text

    filled = round(step.confidence * _BAR)
    number = f"attempt {step.attempt}, " if step.attempt > 1 else ""
    confidence = Text.assemble(
        f"{number}step {step.index} of {max_steps}  confidence {step.confidence:4.0%} ",
        ("=" * filled, _ink(step.confidence)),
        ("-" * (_BAR - filled), "dim"),
    )
    return Group(
        step_board(domain, task, step, before),
        Text(),
        confidence,
        _verdict(domain, step, before, total),
    )


def _verdict(domain: Domain, step: Step, before: Grid | None, total: int) -> Text:
    from rich.text import Text

    if step.verified:
        steps = "1 step" if total == 1 else f"{total} steps"
        return Text(f"verified: the rules confirm it after {steps}", "bold green")
    if step.refuted:
        return Text("no solution: proven by the rules", "bold red")
    if step.verified is None:
        return Text("no rules to check it by", "dim")
    if step.guesses:
        tried = " and ".join(
            f"row {row + 1}, column {column + 1} is {domain.vocabulary.value_names()[value]}"
            for row, column, value in step.guesses
        )
        return Text(f"what if {tried}?", "dim")
    verdict = Text("not right yet", "dim")
    if before is not None:
        count = int((before.cells != step.grid.cells).sum())
        verdict.append(f": {count} cell{'' if count == 1 else 's'} changed")
    return verdict


def legend(domain: Domain) -> Text:
    """Return what the colours of `step_frame` mean."""
    from rich.text import Text

    if any(colour is not None for colour in domain.vocabulary.colours):
        return Text("dot: not sure  []: tried out", "dim")
    return Text.assemble(
        ("givens", "bold"), "  ",
        ("guessed", _ink(0.4)), " to ", ("certain", _ink(1.0)), "  ",
        ("changed in this step", "underline"), "  ",
        ("tried out", "reverse"),
    )  # fmt: skip


def _ink(certainty: float) -> str:
    return "rgb({},{},{})".format(*certainty_colour(certainty))


__all__ = ["Board", "legend", "puzzle_frame", "step_board", "step_frame"]
