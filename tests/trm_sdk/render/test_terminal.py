"""Boards in the terminal, whatever it can show."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from rich.style import Style
from rich.text import Text

from trm_sdk.domains import BoardDomain, Domain, Token, Vocabulary, get_domain
from trm_sdk.domains.text import read_numbers
from trm_sdk.grid import Grid
from trm_sdk.render.picture import certainty_colour
from trm_sdk.render.terminal import Board, step_board, step_frame
from trm_sdk.solution import Step
from trm_sdk.structure import groups
from trm_sdk.task import Task

ONE, ANSWER = "1.34341..14343.1", "1234341221434321"
DRAWN = """\
┌─────┬─────┐
│ 1 . │ 3 4 │
│ 3 4 │ 1 . │
├─────┼─────┤
│ . 1 │ 4 3 │
│ 4 3 │ . 1 │
└─────┴─────┘"""


class Painted(Domain):
    name, shape, any_size, has_rules = "painted", (2, 3), True, False
    vocabulary = Vocabulary(
        (
            Token("pad", "_", ("pad",)),
            Token("wall", "#", ("given",), "#112233"),
            Token("open", " ", ("blank", "answer"), "#ffffff"),
        )
    )

    def verify(self, task: Task, answer: Grid, index: int = 0) -> None:
        return None


def step_of(grid: Grid, certainty: float) -> Step:
    probabilities = np.full((4, 4, 4), (1 - certainty) / 3, np.float32)
    np.put_along_axis(probabilities, grid.cells[..., None].astype(np.intp) - 1, certainty, 2)
    return Step(1, grid, 0.5, probabilities, None)


def styles_of(text: Text, character: str) -> set[str]:
    """Styles of a character wherever it stands."""
    return {str(s.style) for s in text.spans if text.plain[s.start : s.end] == character}


def printed(renderable: object, **settings: object) -> str:
    encoding = str(settings.pop("encoding", "utf-8"))
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, **{"width": 80, "height": 40, **settings})  # type: ignore[arg-type]
    console.print(renderable)
    file.flush()
    written = file.buffer.getvalue()  # type: ignore[attr-defined]
    return str(written.decode(encoding))


def test_regions_have_lines_around_them() -> None:
    domain = get_domain("sudoku-4x4")
    picture = domain.picture(domain.parse(ONE))
    assert Board(picture).text().plain == DRAWN
    assert read_numbers(DRAWN, (4, 4)) == read_numbers(ONE, (4, 4))
    ascii_lines = str.maketrans("┌┬┐├┼┤└┴┘─│", "+++++++++-|")
    assert Board(picture).text(encoding="ascii").plain == DRAWN.translate(ascii_lines)
    assert Board(picture).text(encoding="no such").plain == DRAWN.translate(ascii_lines)


def test_regions_of_any_form_have_lines_around_them() -> None:
    class Jigsaw(BoardDomain):
        name, shape, vocabulary = "jigsaw", (2, 3), Vocabulary.numbers(3)
        distinct = (groups("region", [(0, 1, 3), (2, 4, 5)]),)

    domain = Jigsaw()
    drawn = Board(domain.picture(domain.parse("123..."))).text().plain
    assert drawn == "┌───────┬───┐\n│ 1   2 │ 3 │\n│   ┌───┘   │\n│ . │ .   . │\n└───┴───────┘"


def test_boards_without_regions_are_plain() -> None:
    class Plain(BoardDomain):
        name, shape, vocabulary = "plain", (2, 3), Vocabulary.numbers(3)

    domain = Plain()
    picture = domain.picture(domain.parse("12.3.."))
    assert Board(picture).text().plain == "1 2 .\n3 . ."
    assert Board(picture).text(width=4).plain == "12.\n3.."


def test_certainty_is_green_and_doubt_red() -> None:
    domain = get_domain("sudoku-4x4")
    task = Task((read_numbers(ONE),))
    grid = read_numbers(ANSWER)

    def colour(certainty: float) -> tuple[int, int, int]:
        text = step_board(domain, task, step_of(grid, certainty)).text()
        styles = {str(s.style) for s in text.spans} - {"bold", "dim"}
        assert sum(str(s.style) == "bold" for s in text.spans) == 12
        (style,) = styles
        found = Style.parse(style).color
        assert found is not None
        assert found.triplet is not None
        return found.triplet

    sure, unsure = colour(1.0), colour(0.4)
    assert sure[1] > sure[0] + 100
    assert unsure[0] > unsure[1] + 100


@pytest.mark.parametrize("certainty", [-1, 0, 0.3, 0.5, 0.6, 0.75, 0.9, 1, 2, float("nan")])
def test_the_ramp_takes_every_number(certainty: float) -> None:
    assert all(0 <= part <= 255 for part in certainty_colour(certainty))


def test_what_changed_is_underlined_and_what_is_tried_is_in_reverse() -> None:
    domain = get_domain("sudoku-4x4")
    task = Task((read_numbers(ONE),))
    before, after = read_numbers(ANSWER), read_numbers("1234341221434312")

    def marked(how: str, earlier: Grid | None, step: Step) -> list[str]:
        text = step_board(domain, task, step, earlier).text()
        return [text.plain[s.start] for s in text.spans if how in str(s.style)]

    step = step_of(after, 0.9)
    assert marked("underline", None, step) == []
    # The last two cells differ; the very last is given, and so is not the model's doing.
    assert marked("underline", before, step) == ["1"]
    guess = Step(1, after, 0.5, step.probabilities, False, 2, ((0, 1, 2),))
    assert marked("reverse", None, guess) == ["2"]


def test_painted_cells_are_blocks_as_wide_as_high() -> None:
    domain = Painted()
    task = Task((Grid([[0, 1, 0], [1, 1, 1]]),))
    text = Board(domain.picture(task)).text()
    assert text.plain == "      \n      "
    assert {str(s.style) for s in text.spans} == {"white on #112233", "black on #ffffff"}
    certainty = np.array([[1, 1, 1], [0.5, 1, 1]])
    doubted = domain.picture(task, task.grid, certainty=certainty, tried=[(1, 2)])
    assert Board(doubted).text().plain == "      \n•   []"
    assert Board(doubted).text(encoding="ascii").plain == "      \n.   []"
    assert Board(doubted).text(colour=False).plain == "# #\n   "


def test_painted_boards_that_are_too_large_share_lines() -> None:
    domain = Painted()
    picture = domain.picture(Task((Grid(np.arange(15).reshape(3, 5) % 2),)))
    small = Board(picture).text(width=9)
    assert small.plain == "▀▀▀▀▀\n▀▀▀▀▀"
    assert str(small.spans[0].style) == "#112233 on #ffffff"
    assert Board(picture).text(height=3).plain == small.plain
    assert Board(picture).text(width=9, encoding="ascii").plain == "\n".join(["     "] * 3)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437"])
@pytest.mark.parametrize("colours", [None, "standard", "truecolor"])
def test_every_console_can_print_every_board(encoding: str, colours: str | None) -> None:
    sudoku, painted = get_domain("sudoku"), Painted()
    wide = Task((Grid(np.zeros((30, 90))),))
    for picture in (sudoku.picture(sudoku.parse("." * 81)), painted.picture(wide)):
        out = printed(
            Board(picture),
            encoding=encoding,
            color_system=colours,
            force_terminal=colours is not None,
        )
        assert len(out.splitlines()) >= 13


def test_a_step_says_where_it_stands() -> None:
    domain, grid = Painted(), Grid([[0, 1, 0], [1, 1, 1]])
    step = Step(3, grid, 0.5, np.full((2, 3, 1), 1, np.float32), None)
    frame = printed(step_frame(domain, Task((grid,)), step, None, 16, 3))
    assert "step 3 of 16  confidence  50% " in frame
    assert "no rules" in frame
