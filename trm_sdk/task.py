"""Task: one problem to solve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid


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
    """

    inputs: tuple[Grid, ...]
    demonstrations: tuple[tuple[Grid, Grid], ...] = ()
    answers: tuple[Grid, ...] | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.inputs or not all(isinstance(grid, Grid) for grid in self.inputs):
            raise InvalidInputError(
                f"a task needs at least one input Grid; got inputs={self.inputs!r}"
            )
        if self.answers is not None and len(self.answers) != len(self.inputs):
            raise InvalidInputError(
                f"a task with {len(self.inputs)} inputs needs as many answers; "
                f"got {len(self.answers)}"
            )

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
