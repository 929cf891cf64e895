"""What a model's answers to a set of tasks are worth, as each domain measures it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Examples
from trm_sdk.errors import InvalidInputError
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain

Answers = npt.NDArray[np.integer[Any]]


class Evaluation(Protocol):
    """Deals out inputs, takes in a model's answers, and says what they are worth.

    Made by `Domain.evaluation`, anew for each checkpoint: nothing is carried over to the next.
    """

    def batches(self, batch_size: int) -> Iterator[Examples]:
        """Yield what the model is to answer, at most `batch_size` rows at a time."""
        ...

    def add(
        self, examples: Examples, answers: Answers, halt_logits: npt.NDArray[np.floating[Any]]
    ) -> None:
        """Take in the answers to a batch.

        Parameters
        ----------
        examples : Examples
            As `batches` gave it.
        answers : int array of shape (n, N)
            Tokens.
        halt_logits : float array of shape (n,)
        """
        ...

    def figures(self) -> dict[str, float]:
        """Return what was measured, by name: shares in 0..1, and numbers of things."""
        ...

    def save(self, folder: Path) -> list[Path]:
        """Write what others can use, such as a submission, and return the files."""
        ...


class ExactEvaluation:
    """Counts answers that are right in every cell that counts, and those that the rules confirm.

    Parameters
    ----------
    domain : Domain
    tasks : sequence of Task

    Raises
    ------
    InvalidInputError
        If there are no tasks, or one has no answer.
    """

    def __init__(self, domain: Domain, tasks: Sequence[Task]) -> None:
        if not tasks:
            raise InvalidInputError("there are no tasks to evaluate on")
        self.domain = domain
        by_shape: dict[tuple[tuple[int, int], ...], list[Task]] = {}
        for task in tasks:
            by_shape.setdefault(tuple(grid.shape for grid in task.inputs), []).append(task)
        self.sets = [domain.encode_examples(some) for some in by_shape.values()]
        self.count = self.exact = self.verified = self.cells = self.halting = 0
        self._cells_asked = 0

    def batches(self, batch_size: int) -> Iterator[Examples]:
        """Yield the tasks' inputs, boards of one shape at a time."""
        for examples in self.sets:
            for start in range(0, len(examples.tokens), batch_size):
                yield examples.rows(slice(start, start + batch_size))

    def add(
        self, examples: Examples, answers: Answers, halt_logits: npt.NDArray[np.floating[Any]]
    ) -> None:
        """Take in the answers to a batch."""
        right = (answers == examples.answers) | ~examples.mask
        exact = right.all(1)
        self.count += len(exact)
        self.exact += int(exact.sum())
        self.cells += int((right & examples.mask).sum())
        self._cells_asked += int(examples.mask.sum())
        self.halting += int(((np.asarray(halt_logits) > 0) == exact).sum())
        if self.domain.has_rules:
            tokens = examples.tokens
            self.verified += int(self.domain.verify_tokens(tokens, answers, examples.shape).sum())

    def figures(self) -> dict[str, float]:
        """Return shares of exact and of confirmed answers, of right cells, and of right verdicts
        of the halting head; and the number of inputs."""
        count = max(self.count, 1)
        verified = {"verified": self.verified / count} if self.domain.has_rules else {}
        return {
            "exact": self.exact / count,
            **verified,
            "cells": self.cells / max(self._cells_asked, 1),
            "halting": self.halting / count,
            "inputs": self.count,
        }

    def save(self, folder: Path) -> list[Path]:
        """Write nothing: the figures are all there is."""
        return []


__all__ = ["Evaluation", "ExactEvaluation"]
