"""What a solve returns (`Solution`, `Candidate`, `Failure`) and what a stream yields (`Step`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.grid import Grid
from trm_sdk.task import Task

if TYPE_CHECKING:
    from PIL.Image import Image

#: Why a solve ended: the rules confirmed the answer; the halting head crossed its threshold; the
#: steps and attempts allowed were used up; the time allowed was; no solution: proven by the rules.
StoppedBy = Literal["verified", "halted", "max_steps", "seconds", "refuted"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the answers that the attempts at an input ended with.

    Attributes
    ----------
    grid : Grid
    votes : int
        Attempts that ended with it.
    confidence : float
        Highest probability in 0..1 that the halting head gave it.
    verified : bool or None
        Whether it obeys the domain's rules and the givens; None where the domain has no rules.
    """

    grid: Grid
    votes: int
    confidence: float
    verified: bool | None


@dataclass(frozen=True, slots=True)
class Solution:
    """The answers to one task, one per input.

    Attributes
    ----------
    answers : tuple of Grid
        The answer to each input; the best one where none was confirmed.
    candidates : tuple of tuple of Candidate
        For each input the distinct grids that its attempts ended with, best first: the answer, then
        the others by votes where a majority decides, by confidence elsewhere. At most
        ``SolveOptions.candidates`` of them.
    verified : bool or None
        Whether all answers obey the domain's rules and the givens; None where the domain has no
        rules.
    confidence : float
        Probability in 0..1 that the halting head gives the answer of being right; with several
        inputs, the lowest.
    steps : int
        Supervision steps taken, over all inputs and attempts.
    attempts : int
        Attempts begun, over all inputs.
    seconds : float
        Wall-clock time from the first step on this task to its last answer. In a batch that time is
        shared with the batch's other puzzles.
    stopped_by : {"verified", "halted", "max_steps", "seconds", "refuted"}
        ``refuted``: there is no solution, proven by the domain's rules (`Domain.count_solutions`),
        never by a network. With several inputs, the last of these that holds for any of them.
    task : Task
        What was solved.
    domain : Domain
        By whose rules.
    fitted : bool or None
        Of an `AdaptedSolver`: whether the answers are of networks that reproduce all demonstrations
        of the task. That is its confidence, and no proof. None for other solvers.
    """

    answers: tuple[Grid, ...]
    candidates: tuple[tuple[Candidate, ...], ...] = field(repr=False)
    verified: bool | None
    confidence: float
    steps: int
    attempts: int
    seconds: float
    stopped_by: StoppedBy
    task: Task
    domain: Domain = field(repr=False, compare=False)
    fitted: bool | None = None

    @property
    def grid(self) -> Grid:
        """The answer to the first input, and so to a task that has one."""
        return self.answers[0]

    @property
    def correct(self) -> bool | None:
        """Whether all answers are the known ones; None where the task came without."""
        return None if self.task.answers is None else self.answers == self.task.answers

    def within(self, attempts: int) -> bool | None:
        """Return whether each known answer is among the first so many candidates of its input.

        None where the task came without answers.
        """
        if self.task.answers is None:
            return None
        return all(
            answer in [one.grid for one in several[:attempts]]
            for answer, several in zip(self.task.answers, self.candidates, strict=True)
        )

    @property
    def unique(self) -> bool | None:
        """Whether each input has one solution and no other; None where the domain can't tell.

        Counted at every call, in about a millisecond for a 9x9 Sudoku.
        """
        counts = [self.domain.count_solutions(self.task, i) for i in range(len(self.task.inputs))]
        if any(count is not None and count > 1 for count in counts):
            return False
        return True if all(count == 1 for count in counts) else None

    def __str__(self) -> str:
        """Return the answers as the domain draws them, with an empty line between several."""
        return "\n\n".join(self.domain.format(grid) for grid in self.answers)

    def to_dict(self, candidates: bool = False) -> dict[str, Any]:
        """Return the solution as plain values, for JSON.

        Parameters
        ----------
        candidates : bool
            Include the candidates of each input. Default False.

        Returns
        -------
        dict
            ``name`` of the task; ``puzzle`` and ``answer``, or ``puzzles`` and ``answers`` (lists)
            of a task with several inputs, as `Domain.to_text` and `Domain.to_line` write them;
            ``verified``, ``correct``, ``unique``, ``confidence``, ``steps``, ``attempts``,
            ``seconds``, ``stopped_by``; ``fitted``, where it is not None; and ``candidates``, for
            each input a list of dicts with ``answer``, ``votes``, ``confidence`` and ``verified``.
        """
        line, inputs = self.domain.to_line, range(len(self.task.inputs))
        puzzles = [self.domain.to_text(self.task, index) for index in inputs]
        answers = list(map(line, self.answers))
        boards: dict[str, Any] = {"puzzle": puzzles[0], "answer": answers[0]}
        if len(answers) > 1:
            boards = {"puzzles": puzzles, "answers": answers}
        facts = {
            "name": self.task.name,
            **boards,
            "verified": self.verified,
            "correct": self.correct,
            "unique": self.unique,
            "confidence": round(self.confidence, 6),
            "steps": self.steps,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 6),
            "stopped_by": self.stopped_by,
        }
        if self.fitted is not None:
            facts["fitted"] = self.fitted
        if candidates:
            facts["candidates"] = [
                [
                    {
                        "answer": line(one.grid),
                        "votes": one.votes,
                        "confidence": round(one.confidence, 6),
                        "verified": one.verified,
                    }
                    for one in several
                ]
                for several in self.candidates
            ]
        return facts

    def to_json(self, candidates: bool = False) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(candidates))

    def to_image(self, cell: int | None = None) -> Image:
        """Return the first answer as a Pillow image; see `trm_sdk.render.image.draw_board`.

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
        """Write an animation of how the model came to the first answer.

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
        `Vocabulary.answer_values`. A given cell has probability 1 for its value. `grid` is the
        likeliest of them cell by cell, except in a last step whose answer was read from further
        heads of the model (`Domain.alternatives`).
    verified : bool or None
        As in `Solution`.
    attempt : int
        From 1, the plain one.
    guesses : tuple of (row, column, value)
        What this attempt filled in (``explore="guess"`` or ``"tree"``); rows and columns from 0.
    refuted : bool
        Whether the puzzle has no solution, proven by the rules: then this step is the last.
    """

    index: int
    grid: Grid
    confidence: float
    probabilities: npt.NDArray[np.float32]
    verified: bool | None
    attempt: int = 1
    guesses: tuple[tuple[int, int, int], ...] = ()
    refuted: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in the place of a `Solution` for a puzzle that could not be solved.

    Attributes
    ----------
    index : int
        Place of the puzzle among those given, from 0.
    error : Exception
        What was wrong with it: a `TRMError`, or whatever its domain raised.
    """

    index: int
    error: Exception
