"""What a solve returns (`Solution`, `Failure`) and what a stream yields (`Step`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.errors import TRMError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

if TYPE_CHECKING:
    from PIL.Image import Image

#: Why a solve ended: the rules confirmed the answer; the halting head crossed its threshold; the
#: steps and attempts allowed were used up; the time allowed was.
StoppedBy = Literal["verified", "halted", "max_steps", "seconds"]


@dataclass(frozen=True, slots=True)
class Solution:
    """The answer to one task.

    Attributes
    ----------
    grid : Grid
        The answer; the best one where none was confirmed.
    verified : bool or None
        Whether it obeys the domain's rules and the givens; None where the domain has no rules.
    confidence : float
        Probability in 0..1 that the halting head gives this answer of being right.
    steps : int
        Supervision steps taken, over all attempts.
    attempts : int
        Attempts begun.
    seconds : float
        Wall-clock time from the first step on this puzzle to its answer. In a batch that time is
        shared with the batch's other puzzles.
    stopped_by : {"verified", "halted", "max_steps", "seconds"}
    task : Task
        What was solved.
    domain : Domain
        By whose rules.
    """

    grid: Grid
    verified: bool | None
    confidence: float
    steps: int
    attempts: int
    seconds: float
    stopped_by: StoppedBy
    task: Task
    domain: Domain = field(repr=False, compare=False)

    @property
    def correct(self) -> bool | None:
        """Whether the grid is the known answer; None where the task came without one."""
        return None if self.task.answer is None else self.grid == self.task.answer

    def to_image(self, cell: int | None = None) -> Image:
        """The board as a Pillow image; see `trm_sdk.render.image.draw_board`.

        Parameters
        ----------
        cell : int, optional
            Pixels a cell, 4 to 512. Default 48, and fewer on boards of more than 25 cells a side.

        Raises
        ------
        MissingDependencyError
            Without Pillow (``pip install 'trm-sdk[image]'``).
        InvalidInputError
            If `cell` is out of range.
        """
        from trm_sdk.render.image import draw_board

        return draw_board(self.domain, self.task, self.grid, cell=cell)

    def to_gif(
        self,
        path: str | os.PathLike[str],
        steps: Iterable[Step],
        cell: int | None = None,
        milliseconds: int = 250,
    ) -> Path:
        """Write an animation of how the model came to it.

        Parameters
        ----------
        path : path
        steps : iterable of Step
            ``solver.stream(solution.task)``.
        cell : int, optional
            Pixels a cell, 4 to 512. Default 48, and fewer on boards of more than 25 cells a side.
        milliseconds : int
            Between steps, 10 to 60,000.

        Raises
        ------
        MissingDependencyError
            Without Pillow (``pip install 'trm-sdk[image]'``).
        InvalidInputError
            If a number is out of range, the file can't be written, or `steps` are something else.
        """
        from trm_sdk.render.image import save_gif

        return save_gif(path, self.domain, self.task, steps, cell, milliseconds)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One refinement of one puzzle.

    Attributes
    ----------
    index : int
        Supervision step of its attempt, from 1.
    grid : Grid
        The answer after this step.
    confidence : float
        Probability in 0..1 of the halting head.
    probabilities : float32 array of shape (rows, columns, values)
        Softmax over the values that an answer may hold, in the order of
        `Vocabulary.answer_values`. A given cell has probability 1 for its value.
    verified : bool or None
        As in `Solution`.
    attempt : int
        From 1, the plain one.
    guesses : tuple of (row, column, value)
        What this attempt fills in (``explore="guess"``); rows and columns from 0.
    """

    index: int
    grid: Grid
    confidence: float
    probabilities: npt.NDArray[np.float32]
    verified: bool | None
    attempt: int = 1
    guesses: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in the place of a `Solution` for a puzzle that could not be taken on.

    Attributes
    ----------
    index : int
        Place of the puzzle among those given, from 0.
    error : TRMError
        What was wrong with it.
    """

    index: int
    error: TRMError
