"""Boards as pictures and in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.style import Style

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.text import read_numbers
from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.render.image import draw_board, save_gif
from trm_sdk.render.terminal import coloured, step_frame
from trm_sdk.solution import Step
from trm_sdk.solver import Solver
from trm_sdk.task import Task

ONE = "1.34341..14343.1"


def patch(image: Image.Image, row: int, column: int, cell: int = 48) -> np.ndarray:
    """The pixels of a cell, without its borders."""
    margin, inset = max(2, cell // 16), 5
    top, left = margin + row * cell + inset, margin + column * cell + inset
    return np.asarray(image)[top : top + cell - 2 * inset, left : left + cell - 2 * inset]


def test_a_solution_is_drawn(solver: Solver) -> None:
    solution = solver.solve(ONE)
    image = solution.to_image()
    assert image.size == (4 * 48 + 6, 4 * 48 + 6)
    given, found = patch(image, 0, 0), patch(image, 0, 1)
    assert given[0, 0].tolist() != found[0, 0].tolist()  # givens stand on another ground
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 1  # something is written
    empty = draw_board(solution.domain, solution.task, solution.task.grid)
    assert len(np.unique(patch(empty, 0, 1).reshape(-1, 3), axis=0)) == 1


def test_certainty_is_green_and_doubt_red() -> None:
    domain = get_domain("sudoku-4x4")
    task = Task((read_numbers("." * 16),))
    certainty = np.ones((4, 4))
    certainty[0, 0] = 0.3
    image = draw_board(domain, task, Grid(np.full((4, 4), 4)), certainty)

    def ink(row: int, column: int) -> list[int]:
        pixels = patch(image, row, column).reshape(-1, 3)
        return [int(value) for value in pixels[pixels.sum(1).argmin()]]

    assert ink(0, 0)[0] > ink(0, 0)[1] + 100
    assert ink(1, 1)[1] > ink(1, 1)[0] + 50


def test_regions_have_thick_borders() -> None:
    domain = get_domain("sudoku-6x6")
    image = np.asarray(draw_board(domain, Task((Grid(np.zeros((6, 6))),)), Grid(np.zeros((6, 6)))))
    dark = (image.sum(2) < 120)[:, 3 + 24]  # down the middle of the first column
    runs = np.flatnonzero(np.diff(dark.astype(int)) == 1) + 1
    assert [round((start - 3) / 48) for start in runs if start > 10] == [2, 4, 6]


def test_coloured_values_fill_their_cells() -> None:
    grid = Grid([[1, 2]])
    domain = get_domain("sudoku-4x4")
    image = draw_board(domain, Task((grid,)), grid, colours={1: (9, 99, 199)})
    assert (patch(image, 0, 0) == (9, 99, 199)).all()
    assert not (patch(image, 0, 1) == (9, 99, 199)).any()


def test_values_without_a_character_are_written_as_numbers() -> None:
    grid = Grid([[40, 41]])
    image = draw_board(get_domain("sudoku-4x4"), Task((grid,)), grid)
    assert (patch(image, 0, 0) != patch(image, 0, 1)).any()


def test_a_solve_becomes_an_animation(solver: Solver, tmp_path: Path) -> None:
    options = SolveOptions(max_steps=4, verify=False, halt_threshold=1)
    solution = solver.solve(ONE)
    path = solution.to_gif(tmp_path / "a.gif", solver.stream(ONE, options), cell=16)
    with Image.open(path) as gif:
        # The puzzle, then the steps; equal neighbours may be joined into one longer frame.
        assert 2 <= gif.n_frames <= 5
        assert gif.size == (4 * 16 + 4, 4 * 16 + 4)
        waits = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            waits.append(gif.info["duration"])
    assert waits[0] == 750
    assert waits[-1] >= 2000


def test_arguments_are_checked(solver: Solver, tmp_path: Path) -> None:
    solution = solver.solve(ONE)
    path, wrong = tmp_path / "a.gif", float("nan")
    for cell in (2, 48.5, wrong, "x", True, 10**6):
        with pytest.raises(InvalidInputError, match=f"cell must be 8 to 512 pixels.* got {cell!r}"):
            solution.to_image(cell=cell)  # type: ignore[arg-type]
    for wait in (0, 2.5, wrong, "x", 10**9):
        with pytest.raises(InvalidInputError, match=r"milliseconds must be 10 to 60000.* got "):
            solution.to_gif(path, [], milliseconds=wait)  # type: ignore[arg-type]
    for steps in (None, [1]):
        with pytest.raises(InvalidInputError, match=r"what Solver\.stream yields; got"):
            solution.to_gif(path, steps)  # type: ignore[arg-type]
    save_gif(path, solution.domain, solution.task, [], milliseconds=60_000)
    for target, named in (
        (tmp_path / "no" / "a.gif", "there is no folder"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(InvalidInputError, match=f"can't be written: .*{named}"):
            solution.to_gif(target, solver.stream(ONE))


def test_without_pillow_the_error_says_what_to_install(
    solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"trm-sdk\[image\]"):
        solver.solve(ONE).to_image()


def step_of(grid: Grid, certainty: float) -> Step:
    probabilities = np.full((4, 4, 4), (1 - certainty) / 3, np.float32)
    np.put_along_axis(probabilities, grid.cells[..., None].astype(np.intp) - 1, certainty, 2)
    return Step(1, grid, 0.5, probabilities, None)


def test_the_terminal_shows_certainty_in_colour() -> None:
    domain = get_domain("sudoku-4x4")
    grid = read_numbers("1234341221434321")
    task = Task((read_numbers(ONE),))

    def styles(certainty: float) -> dict[str, int]:
        text = coloured(domain, task, step_of(grid, certainty))
        assert text.plain == domain.format(grid)
        counts: dict[str, int] = {}
        for span in text.spans:
            assert span.end == span.start + 1
            counts[str(span.style)] = counts.get(str(span.style), 0) + 1
        return counts

    sure, unsure = styles(1.0), styles(0.4)
    assert sure["bold"] == unsure["bold"] == 12
    (green,) = set(sure) - {"bold", "dim"}
    (red,) = set(unsure) - {"bold", "dim"}
    for name, larger, smaller in ((green, 1, 0), (red, 0, 1)):
        colour = Style.parse(name).color
        assert colour is not None
        assert colour.triplet is not None
        assert colour.triplet[larger] > colour.triplet[smaller] + 100


def test_the_terminal_underlines_what_changed() -> None:
    domain = get_domain("sudoku-4x4")
    task = Task((read_numbers(ONE),))
    before, after = read_numbers("1234341221434321"), read_numbers("1234341221434312")

    def underlined(earlier: Grid | None) -> list[str]:
        text = coloured(domain, task, step_of(after, 0.9), earlier)
        return [text.plain[s.start] for s in text.spans if "underline" in str(s.style)]

    assert underlined(None) == []
    # The last two cells differ; the very last is given, and so is not the model's doing.
    assert underlined(before) == ["1"]


def test_values_without_a_character_stay_uncoloured() -> None:
    class Numbers(Domain):
        name, shape = "numbers", (1, 2)
        vocabulary = ("pad", "empty", *map(str, range(1, 51)))

        def check(self, task: Task) -> None:
            pass

        def verify(self, task: Task, answer: Grid) -> None:
            return None

    domain, grid = Numbers(), Grid([[40, 41]])
    step = Step(3, grid, 0.5, np.full((1, 2, 50), 0.02, np.float32), None)
    frame = step_frame(domain, Task((Grid([[0, 0]]),)), step, None, 16, 3)
    assert domain.format(grid) in frame.plain
    assert "step 3 of 16  confidence  50% " in frame.plain
    assert "no rules" in frame.plain
