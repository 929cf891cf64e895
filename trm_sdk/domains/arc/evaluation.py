"""The reference's evaluation of a checkpoint: every augmentation votes, and pass@k is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.arc.data import evaluation_examples
from trm_sdk.domains.arc.score import PASS_AT, Votes
from trm_sdk.domains.arc.submission import make_submission, write_submission
from trm_sdk.domains.data import Examples
from trm_sdk.errors import InvalidInputError
from trm_sdk.task import Task


class ArcEvaluation:
    """Has all augmentations of a task that a model knows vote on its test inputs.

    Predictions are cropped, turned back, their colours restored, and ranked by votes, then by mean
    halting probability. One object a checkpoint: votes never pile up.

    Parameters
    ----------
    tasks : sequence of Task
        Where one has no answers, no score is given.
    names : sequence of str
        Of the rows of the model's puzzle embedding.
    augmentations : int, optional
        At most this many beside each task itself; default all.
    pass_at : sequence of int
        Default 1, 2, 5, 10, 100, 1000.

    Raises
    ------
    InvalidInputError
        If there are no tasks, or one is not among the names: a blank identifier solves nothing.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        names: Sequence[str],
        augmentations: int | None = None,
        pass_at: Sequence[int] = PASS_AT,
    ) -> None:
        self.tasks, self.names = tasks, names
        self.augmentations, self.pass_at = augmentations, pass_at
        self.votes = Votes(tasks, names)
        self.inputs = 0
        self.batches(1)  # refuses unknown tasks now, not after hours

    def batches(self, batch_size: int) -> Iterator[Examples]:
        """Yield all test inputs under all augmentations."""
        return evaluation_examples(self.tasks, self.names, batch_size, self.augmentations)

    def add(
        self,
        examples: Examples,
        answers: npt.NDArray[np.integer[Any]],
        halt_logits: npt.NDArray[np.floating[Any]],
    ) -> None:
        """Count the votes of a batch; see `Votes.add` for what is refused."""
        self.votes.add(examples.identifiers, examples.tokens, answers, halt_logits)
        self.inputs += len(examples.tokens)

    def figures(self) -> dict[str, float]:
        """Return pass@k in three ways, where all answers are known, and the number of votes.

        ``per_input/pass@k`` is the reference's (mean over tasks of the share of test inputs
        solved), ``all_inputs/pass@k`` asks for every test input of a task, ``per_output/pass@k`` is
        Kaggle's.

        Raises
        ------
        InvalidInputError
            If a test input has no votes.
        """
        numbers: dict[str, float] = {"tasks": len(self.tasks), "votes": self.inputs}
        if any(task.answers is None for task in self.tasks):
            for task in self.tasks:
                for index in range(len(task.inputs)):
                    if not self.votes.ranking(str(task.name), index):
                        raise InvalidInputError(
                            f"task {task.name}, test input {index + 1} has no votes"
                        )
            return numbers
        scores = self.votes.scores(self.pass_at)
        for kind in ("per_input", "all_inputs", "per_output"):
            for k, share in getattr(scores, kind).items():
                numbers[f"{kind}/pass@{k}"] = share
        return numbers

    def save(self, folder: Path) -> list[Path]:
        """Write ``submission.json`` as Kaggle takes it: the two best answers to each test input."""
        attempts = {
            str(task.name): [
                self.votes.attempts(str(task.name), index) for index in range(len(task.inputs))
            ]
            for task in self.tasks
        }
        path = folder / "submission.json"
        write_submission(path, make_submission(self.tasks, attempts), self.tasks)
        return [path]


__all__ = ["ArcEvaluation"]
