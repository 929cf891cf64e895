"""Is the halting head right as often as it says? A reliability curve, and thresholds from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.search.answers import Answers, confidence_of
from trm_sdk.solver import Solver
from trm_sdk.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What the halting head said after each step of each puzzle, and whether it was so.

    Attributes
    ----------
    confidence : float64 array of shape (puzzles, steps)
        Probability in 0..1 that the halting head gave the answer.
    correct : bool array of shape (puzzles, steps)
        Whether the answer was right.
    """

    confidence: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]

    def curve(self, bins: int = 10) -> list[tuple[float, float, int]]:
        """Mean confidence, share of right answers, and number of answers, a bin that has any."""
        places = np.minimum((self.confidence * bins).astype(int), bins - 1)
        found = []
        for number in range(bins):
            inside = places == number
            if inside.any():
                mean, share = self.confidence[inside].mean(), self.correct[inside].mean()
                found.append((float(mean), float(share), int(inside.sum())))
        return found

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap between confidence and share right, by bin."""
        curve = self.curve()
        total = sum(count for _, _, count in curve)
        return sum(abs(mean - share) * count for mean, share, count in curve) / total

    def halted(self, threshold: float) -> tuple[float, float]:
        """What halting at a threshold would do.

        Returns
        -------
        accuracy : float
            Share of puzzles whose answer is right where they halt (or at the last step).
        steps : float
            Mean steps a puzzle.
        """
        over = self.confidence > threshold
        last = self.confidence.shape[1] - 1
        at = np.where(over.any(1), over.argmax(1), last)
        right = self.correct[np.arange(len(at)), at]
        return float(right.mean()), float(at.mean() + 1)

    def threshold(self, loss: float = 0.0) -> float:
        """The lowest threshold that costs at most `loss` of the last step's accuracy; 1: none."""
        last = float(self.correct[:, -1].mean())
        candidates = np.unique(np.append(self.confidence, 0.0))
        if len(candidates) > 500:
            candidates = np.quantile(candidates, np.linspace(0, 1, 500))
        for candidate in candidates:
            if self.halted(float(candidate))[0] >= last - loss:
                return float(candidate)
        return 1.0


def reliability(solver: Solver, tasks: Iterable[Task], steps: int = 16) -> Reliability:
    """Run plain attempts for a fixed number of steps, without the rules.

    Parameters
    ----------
    solver : Solver
    tasks : iterable of Task
        With answers, or of a domain with rules.
    steps : int
        Default 16.

    Raises
    ------
    InvalidInputError
        If there are no tasks, or one has no answer to compare with and its domain no rules.
    """
    runtime, domain = solver.runtime, solver.domain
    reading = Answers(runtime.spec.model, domain.vocabulary)
    todo = [solver.parse(task) for task in tasks]
    if not todo:
        raise InvalidInputError("calibrating needs at least one puzzle")
    confidence = np.zeros((len(todo), steps))
    correct = np.zeros((len(todo), steps), bool)
    for first in range(0, len(todo), runtime.batch_size):
        batch = todo[first : first + runtime.batch_size]
        encoded = [domain.encode(task) for task in batch]
        tokens = np.stack([one.tokens for one in encoded])
        given = np.stack([one.given for one in encoded])
        state = runtime.start(tokens)
        for step in range(steps):
            state, logits, halt_logit = runtime.step(state)
            rows = slice(first, first + len(batch))
            confidence[rows, step] = confidence_of(halt_logit)
            answers = reading.tokens(tokens, given, logits)
            correct[rows, step] = [
                _is_right(solver, task, answer) for task, answer in zip(batch, answers, strict=True)
            ]
    return Reliability(confidence, correct)


def _is_right(solver: Solver, task: Task, answer: npt.NDArray[np.intp]) -> bool:
    grid = solver.domain.decode(answer)
    verdict = solver.domain.verify(task, grid) if task.answer is None else grid == task.answer
    if verdict is None:
        raise InvalidInputError(
            f"{task.name or 'a puzzle'} has no answer to compare with, and {solver.domain.name} "
            "has no rules to check by"
        )
    return verdict
