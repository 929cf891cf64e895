"""Is the halting head right as often as it says? A reliability curve, and thresholds from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Float32
from trm_sdk.search.answers import Answers, confidence_of
from trm_sdk.search.requests import Request
from trm_sdk.search.rules import read_answer, verdict
from trm_sdk.search.slots import Slot
from trm_sdk.search.tasks import Search
from trm_sdk.solver import Solver
from trm_sdk.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What the halting head predicted after each step of each puzzle, and whether it was right.

    Attributes
    ----------
    confidence : float64 array of shape (puzzles, steps)
        Probability in 0..1 that the halting head gave the answer of being right.
    correct : bool array of shape (puzzles, steps)
        Whether the answer was right.
    """

    confidence: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]

    def curve(self, bins: int = 10) -> list[tuple[float, float, int]]:
        """Return mean confidence, share of right answers and count of each bin with answers."""
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
        """Return what halting at a threshold would do.

        Returns
        -------
        accuracy : float
            Share of puzzles whose answer is right where they halt (or at the last step).
        steps : float
            Mean steps per puzzle.
        """
        over = self.confidence > threshold
        last = self.confidence.shape[1] - 1
        at = np.where(over.any(1), over.argmax(1), last)
        right = self.correct[np.arange(len(at)), at]
        return float(right.mean()), float(at.mean() + 1)

    def threshold(self, loss: float = 0.0) -> float:
        """Return the lowest threshold that costs at most `loss` of the last step's accuracy.

        1, which never halts, where there is none.
        """
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
        With answers, or of a domain with rules. Each input counts as a puzzle.
    steps : int
        Default 16.

    Raises
    ------
    InvalidInputError
        If there are no tasks, or one has no answer to compare with and its domain no rules.
    """
    runtime, domain = solver.runtime, solver.domain
    todo = [solver.parse(task) for task in tasks]
    if not todo:
        raise InvalidInputError("calibrating needs at least one puzzle")
    reading = Answers(runtime.spec.model, domain.vocabulary)

    def observe(slot: Slot, step: int, logits: Float32, halt_logit: float) -> None:
        place, attempt = (row[slot.request], step - 1), slot.attempt
        answer = reading.tokens(attempt.tokens[None], attempt.given[None], logits[None])[0]
        confidence[place] = confidence_of(halt_logit)
        correct[place] = _is_right(domain, slot.request, read_answer(domain, slot.request, answer))

    options = SolveOptions(max_steps=steps, attempts=1, verify=False, halt_threshold=1.0)
    search = Search(domain, runtime, runtime.batch_size, observe)
    added = [search.add(task, options) for task in todo]
    row = {request: i for i, request in enumerate(one for each in added for one in each.requests)}
    confidence = np.zeros((len(row), steps))
    correct = np.zeros((len(row), steps), bool)
    while not search.idle:
        for submission in search.step():
            if submission.error is not None:
                raise submission.error
    return Reliability(confidence, correct)


def _is_right(domain: Domain, request: Request, grid: Grid) -> bool:
    answers = request.task.answers
    if answers is not None:
        return grid == answers[request.index]
    found = verdict(domain, request, grid)
    if found is None:
        raise InvalidInputError(
            f"{request.task.name or 'a puzzle'} has no answer to compare with, and {domain.name} "
            "has no rules to check by"
        )
    return found
