"""Checks of the arguments that all solvers take."""

from __future__ import annotations

from collections.abc import Iterable

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import is_int


def check_puzzles(puzzles: object, kinds: tuple[type, ...] = (Iterable,)) -> None:
    """Refuse what is not a collection of puzzles, such as a single puzzle.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(puzzles, (str, bytes, Task, Grid)) or not isinstance(puzzles, kinds):
        raise InvalidInputError(
            f"solve_many takes an iterable of puzzles; got {type(puzzles).__name__} (solve takes "
            "one puzzle)"
        )


def check_on_error(on_error: str) -> None:
    """Refuse an unknown way of treating puzzles that fail; see `Solver.solve_many`.

    Raises
    ------
    InvalidInputError
        If it is neither "raise" nor "yield".
    """
    if on_error not in ("raise", "yield"):
        raise InvalidInputError(f"on_error must be 'raise' or 'yield'; got {shown(on_error)}")


def checked_input(task: Task, index: object) -> int:
    """Return the index of one of a task's inputs, from 0.

    Raises
    ------
    InvalidInputError
        If it is not a whole number, or the task has no such input.
    """
    count = len(task.inputs)
    if not is_int(index) or not 0 <= index < count:
        raise InvalidInputError(
            f"index must be a whole number from 0 to {count - 1}, an input of the task; "
            f"got {shown(index)}"
        )
    return int(index)


__all__ = ["check_on_error", "check_puzzles", "checked_input"]
