"""Boards as images and animations."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trm_sdk.domains import Domain, Token, Vocabulary, get_domain
from trm_sdk.domains.text import read_numbers
from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.render.image import draw_board, save_gif
from trm_sdk.solution import Step
from trm_sdk.solver import Solver
from trm_sdk.task import Task

ONE = "1.34341..14343.1"
WALL, GOAL = "#112233", "#d02020"


class Walls(Domain):
    """Boards of any size, painted but for one value."""

    name, shape, any_size, has_rules = "walls", (2, 3), True, False
    vocabulary = Vocabulary(
        (
            Token("pad", "_", ("pad",)),
            Token("wall", "#", ("given",), WALL),
            Token("open", " ", ("blank", "answer"), "#ffffff"),
            Token("goal", "G", ("given",), GOAL),
            Token("letter", "x", ("answer",)),
        )
    )

    def verify(self, task: Task, answer: Grid, index: int = 0) -> None:
        return None


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


def test_coloured_values_fill_their_cells_whatever_the_shape() -> None:
    domain = Walls()
    task = Task((Grid([[0, 1, 2], [1, 1, 0]]),))
    image = draw_board(domain, task, Grid([[0, 3, 2], [1, 1, 0]]))
    assert image.size == (3 * 48 + 6, 2 * 48 + 6)
    assert (patch(image, 0, 0) == (0x11, 0x22, 0x33)).all()
    assert (patch(image, 0, 2) == (0xD0, 0x20, 0x20)).all()
    assert len(np.unique(patch(image, 0, 1).reshape(-1, 3), axis=0)) > 1  # the letter is written
    certainty = np.array([[1, 1, 1], [0.5, 1, 1]])
    unsure = draw_board(domain, task, task.grid, certainty)
    assert len(np.unique(patch(unsure, 1, 0).reshape(-1, 3), axis=0)) > 1  # the dot
    assert (patch(unsure, 1, 1) == 255).all()


def test_large_boards_stay_of_a_size_that_can_be_looked_at() -> None:
    domain = Walls()
    for rows, columns in ((30, 30), (3, 300), (200, 40)):
        task = Task((Grid(np.zeros((rows, columns))),))
        width, height = draw_board(domain, task).size
        assert max(width, height) <= 1300
        assert (width > height) == (columns > rows)
    assert draw_board(domain, task, cell=8).size == (40 * 8 + 2, 200 * 8 + 2)


def test_what_changed_is_underlined_and_what_is_tried_stands_out() -> None:
    domain = get_domain("sudoku-4x4")
    task = Task((read_numbers("." * 16),))
    before, after = Grid(np.full((4, 4), 1)), Grid(np.full((4, 4), 2))
    plain = draw_board(domain, task, after)
    marked = draw_board(domain, task, after, before=before, tried=[(1, 2)])
    blue = (np.asarray(marked) == (43, 108, 196)).all(2)
    assert blue.any()
    assert not (np.asarray(plain) == (43, 108, 196)).all(2).any()
    assert (patch(marked, 1, 2)[0, 0] != patch(plain, 1, 2)[0, 0]).any()
    assert (patch(marked, 1, 1)[0, 0] == patch(plain, 1, 1)[0, 0]).all()


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


def test_an_animation_of_a_large_painted_board_is_small(tmp_path: Path) -> None:
    domain, rng = Walls(), np.random.default_rng(0)
    task = Task((Grid(rng.integers(0, 2, (30, 30))),))
    probabilities = rng.random((30, 30, 2)).astype(np.float32)
    steps = [Step(i, task.grid, 0.5, probabilities, None) for i in range(1, 17)]
    path = save_gif(tmp_path / "a.gif", domain, task, steps)
    assert path.stat().st_size < 200_000
    with Image.open(path) as gif:
        colours = {colour for _, colour in gif.convert("RGB").getcolors(10_000)}
    assert {(0x11, 0x22, 0x33), (255, 255, 255)} <= colours


def test_arguments_are_checked(solver: Solver, tmp_path: Path) -> None:
    solution = solver.solve(ONE)
    path, wrong = tmp_path / "a.gif", float("nan")
    for cell in (2, 48.5, wrong, "x", True, 10**6):
        with pytest.raises(InvalidInputError, match=f"cell must be 4 to 512 pixels.* got {cell!r}"):
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
