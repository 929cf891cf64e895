"""Task: one problem to solve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown


@dataclass(frozen=True, slots=True)
class Task:
    """One problem: the input grids to answer and, for ARC, the demonstrations that explain them.

    Attributes
    ----------
    inputs : tuple of Grid
        The grids that want an answer. Sudoku and mazes have one; an ARC task may have several.
    demonstrations : tuple of (Grid, Grid)
        Solved examples (input, output); empty where a domain needs none.
    answers : tuple of Grid or None
        The known answers, one an input, for training and evaluation; never read while solving.
    name : str or None
        Where the task comes from (a line number, an ARC identifier), kept for reports.
    metadata : mapping
        Whatever else came with the task (e.g. the ``rating`` column of a Sudoku-Extreme file).

    Raises
    ------
    InvalidInputError
        If there is no input, something is no Grid, or there are not as many answers as inputs.
        Other iterables of grids are taken, and kept as tuples.
    """

    inputs: tuple[Grid, ...]
    demonstrations: tuple[tuple[Grid, Grid], ...] = ()
    answers: tuple[Grid, ...] | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        inputs = _grids(self.inputs)
        if not inputs:
            raise InvalidInputError(
                f"a task needs at least one input Grid; got inputs={shown(self.inputs)}"
            )
        pairs = _tuple(self.demonstrations)
        examples = None if pairs is None else tuple(map(_grids, pairs))
        if examples is None or any(pair is None or len(pair) != 2 for pair in examples):
            raise InvalidInputError(
                "demonstrations are pairs of Grids (input, output); "
                f"got {shown(self.demonstrations)}"
            )
        answers = None if self.answers is None else _grids(self.answers)
        if answers is None and self.answers is not None:
            raise InvalidInputError(f"answers are Grids, one an input; got {shown(self.answers)}")
        if answers is not None and len(answers) != len(inputs):
            raise InvalidInputError(
                f"a task with {len(inputs)} inputs needs as many answers; got {len(answers)}"
            )
        if not (self.name is None or isinstance(self.name, str)):
            raise InvalidInputError(f"a task's name is a str or None; got {shown(self.name)}")
        if not isinstance(self.metadata, Mapping):
            raise InvalidInputError(f"metadata is a mapping; got {shown(self.metadata)}")
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "demonstrations", examples)
        object.__setattr__(self, "answers", answers)

    @property
    def grid(self) -> Grid:
        """The only input of a task that has one.

        Raises
        ------
        InvalidInputError
            If the task has several inputs.
        """
        if len(self.inputs) != 1:
            raise InvalidInputError(f"this task has {len(self.inputs)} inputs; name one of them")
        return self.inputs[0]

    @property
    def answer(self) -> Grid | None:
        """The known answer to the first input, if any."""
        return None if self.answers is None else self.answers[0]


def _tuple(values: Any) -> tuple[Any, ...] | None:
    """Several values; None where these are one, or nothing to iterate over."""
    if not isinstance(values, Iterable) or isinstance(values, (Grid, str, bytes)):
        return None
    try:
        return tuple(values)
    except Exception:  # an array without dimensions, or whatever iterating over it raises
        return None


def _grids(values: Any) -> tuple[Grid, ...] | None:
    """Several grids; None where something is none."""
    several = _tuple(values)
    if several is None or not all(isinstance(grid, Grid) for grid in several):
        return None
    return several
