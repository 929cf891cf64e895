"""Verdicts on answers, and the answers that direction fields draw: `rules`, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.kernels.compilation import kernel
from trm_sdk.domains.maze.engine.distances import flood, offsets, pad
from trm_sdk.domains.maze.rules import (
    FREE,
    GOAL,
    INVALID,
    LONGER,
    NO_MOVE,
    OPTIMAL,
    PATH,
    START,
    Boards,
    checked_directions,
    checked_lengths,
    checked_pairs,
)

__all__ = ["judge", "walk"]


@kernel
def _trace(cells: Any, steps: Any, first: Any, marked: Any) -> Any:
    """Return the moves of the line of marked cells, start and goal from `first`; -1 if it is none.

    `marked` is their number without start and goal.
    """
    cell = first
    before = first
    moves = 0
    while True:
        near = np.int64(-1)
        touching = 0
        for step in steps:
            if cells[cell + step] >= START:
                touching += 1
                if cell + step != before:
                    near = cell + step
        end = cells[cell] != PATH
        if touching != (1 if end else 2):
            return -1
        if cells[cell] == GOAL:
            return moves if moves == marked + 1 else -1
        before = cell
        cell = near
        moves += 1


@kernel
def _judge_all(puzzles: Any, answers: Any, lengths: Any, known: Any, verdicts: Any) -> None:
    n, rows, columns = puzzles.shape
    width = columns + 2
    cells = np.empty((rows + 2) * width, np.uint8)
    field = np.empty(cells.size, np.int32)
    queue = np.empty(cells.size, np.int64)
    steps = offsets(width)
    for i in range(n):
        verdicts[i] = INVALID
        first, _ = pad(puzzles[i], cells)
        marked = 0
        kept = True
        for row in range(rows):
            for column in range(columns):
                value = answers[i, row, column]
                if value == puzzles[i, row, column]:
                    continue
                if value != PATH or puzzles[i, row, column] != FREE:
                    kept = False
                    break
                cells[(row + 1) * width + column + 1] = PATH
                marked += 1
            if not kept:
                break
        if not kept:
            continue
        moves = _trace(cells, steps, first, marked)
        if moves < 0:
            continue
        if known:
            shortest = lengths[i]
        else:
            _, last = pad(puzzles[i], cells)
            flood(cells, steps, last, field, queue)
            shortest = field[first]
        verdicts[i] = OPTIMAL if moves == shortest else LONGER


@kernel
def _walk_all(answers: Any, directions: Any, reached: Any) -> None:
    n, rows, columns = answers.shape
    width = columns + 2
    cells = np.empty((rows + 2) * width, np.uint8)
    steps = offsets(width)
    for i in range(n):
        cell, _ = pad(answers[i], cells)
        while True:
            move = directions[i, cell // width - 1, cell % width - 1]
            if move == NO_MOVE:
                break
            cell += steps[move]
            if cells[cell] != FREE:
                reached[i] = cells[cell] == GOAL
                break
            cells[cell] = PATH
            answers[i, cell // width - 1, cell % width - 1] = PATH


def judge(
    puzzles: npt.ArrayLike, answers: npt.ArrayLike, lengths: npt.ArrayLike | None = None
) -> npt.NDArray[np.int8]:
    """Return a verdict on each answer: 0 invalid, 1 a longer path, 2 optimal; see `rules.judge`."""
    boards, drawn = checked_pairs(puzzles, answers)
    known = lengths is not None
    shortest = np.empty(0, np.int32) if lengths is None else checked_lengths(lengths, len(boards))
    verdicts = np.empty(len(boards), np.int8)
    _judge_all(boards, drawn.astype(np.int64), shortest, known, verdicts)
    return verdicts


def walk(puzzles: npt.ArrayLike, directions: npt.ArrayLike) -> tuple[Boards, npt.NDArray[np.bool_]]:
    """Follow a direction field from the start of each board; see `rules.walk`."""
    boards, field = checked_directions(puzzles, directions)
    answers = boards.copy()
    reached = np.zeros(len(boards), np.bool_)
    _walk_all(answers, field, reached)
    return answers, reached
