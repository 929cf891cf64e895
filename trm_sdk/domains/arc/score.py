"""Votes over augmentations, and how many tasks they solve: pass@k.

Ranking and the score of each test input are those of the reference implementation's evaluator. It
has three traps that are closed here: votes that pile up from one checkpoint to the next, tasks
without a vote that are printed and passed over, and rows with the blank identifier that are dropped
unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.arc.augment import Augmentation, split_name
from trm_sdk.domains.arc.canvas import decode_batch
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import is_int

#: The reference's.
PASS_AT = (1, 2, 5, 10, 100, 1000)


class Candidate(NamedTuple):
    """One of the answers that got votes.

    Attributes
    ----------
    grid : Grid or None
        None: a canvas without a grid. It takes its rank, as in the reference.
    votes : int
    confidence : float
        Mean halting probability of its votes.
    """

    grid: Grid | None
    votes: int
    confidence: float


@dataclass(frozen=True)
class Scores:
    """What share is solved within the first k candidates, by each k.

    Attributes
    ----------
    per_input : dict from int to float
        Mean over tasks of the share of a task's test inputs that are solved: the reference's
        ``ARC/pass@k``.
    all_inputs : dict from int to float
        Share of tasks with every test input solved: ARC's rules.
    per_output : dict from int to float
        Share of all test inputs: Kaggle's score, at k = 2.
    tasks, inputs : int
        Numbers of each.
    missing : int
        Test inputs without a vote; they count as not solved.
    """

    per_input: dict[int, float]
    all_inputs: dict[int, float]
    per_output: dict[int, float]
    tasks: int
    inputs: int
    missing: int


class Votes:
    """Collects predictions for the test inputs of some tasks. One object a checkpoint.

    Parameters
    ----------
    tasks : sequence of Task
        With names, all different.
    names : sequence of str, optional
        Name of each identifier, for `add`: `Build.names`, or the list in ``identifiers.json``.
    votes_each : int
        How often one augmentation may vote on one test input. Default 1; more where each is
        sampled several times.

    Raises
    ------
    InvalidInputError
        If a task has no name, or two have the same.
    """

    def __init__(
        self, tasks: Sequence[Task], names: Sequence[str] = (), votes_each: int = 1
    ) -> None:
        if not is_int(votes_each) or votes_each < 1:
            raise InvalidInputError(
                f"votes_each must be a whole number from 1; got {shown(votes_each)}"
            )
        self.tasks: dict[str, Task] = {}
        for task in tasks:
            if not task.name or task.name in self.tasks:
                raise InvalidInputError(
                    f"tasks must have names, all different; got {shown(task.name)}"
                )
            self.tasks[task.name] = task
        if not self.tasks:
            raise InvalidInputError("there are no tasks to vote on")
        self.names, self.votes_each = names, votes_each
        #: Of each test input of each task: votes and sum of confidence of each answer, in the order
        #: in which answers came up.
        self._counts: dict[tuple[str, Grid], dict[Grid | None, list[float]]] = {
            (name, grid): {} for name, task in self.tasks.items() for grid in task.inputs
        }
        self._voted: Counter[tuple[int, Grid]] = Counter()

    def vote(self, name: str, grid: Grid, answer: Grid | None, confidence: float) -> None:
        """Count one vote.

        Parameters
        ----------
        name : str
            Of the task.
        grid : Grid
            Its test input. Equal inputs of one task share their votes.
        answer : Grid or None
            None: a canvas without a grid.
        confidence : float
            Halting probability, 0..1.

        Raises
        ------
        InvalidInputError
            If the task is unknown or has no such test input, or the confidence is not in 0..1.
        """
        self._check(name, grid)
        if not 0 <= confidence <= 1:
            raise InvalidInputError(
                f"task {name}: confidence must be in 0..1; got {shown(confidence)}"
            )
        entry = self._counts[name, grid].setdefault(answer, [0, 0.0])
        entry[0] += 1
        entry[1] += float(confidence)

    def add(
        self,
        identifiers: npt.NDArray[np.integer[Any]],
        tokens: npt.NDArray[np.integer[Any]],
        answers: npt.NDArray[np.integer[Any]],
        halt_logits: npt.NDArray[np.floating[Any]],
    ) -> None:
        """Count the votes of a batch of canvases, as the network took and gave them.

        Parameters
        ----------
        identifiers : int array of shape (n,)
        tokens, answers : int arrays of shape (n, 900)
            Inputs and predictions of `evaluation_examples`.
        halt_logits : float array of shape (n,)

        Raises
        ------
        InvalidInputError
            If an identifier is blank or unknown, an input is not a test input of its task, an
            augmentation has voted on it already, or a logit is not a number.
        """
        logits = np.asarray(halt_logits, np.float64)
        if not len(identifiers) == len(tokens) == len(answers) == len(logits):
            raise InvalidInputError(
                "identifiers, tokens, answers and halt_logits must have as many rows; got "
                f"{len(identifiers)}, {len(tokens)}, {len(answers)}, {len(logits)}"
            )
        if np.isnan(logits).any():
            raise InvalidInputError("halt_logits must be numbers; got nan")
        # A sigmoid without overflow: exp of what is not positive.
        small = np.exp(-np.abs(logits))
        confidences = np.where(logits >= 0, 1, small) / (1 + small)
        inputs, predictions = decode_batch(tokens), decode_batch(answers)
        votes, voted = [], Counter(self._voted)
        for row, identifier in enumerate(np.asarray(identifiers).tolist()):
            name, augmentation = self._named(identifier, row)
            back = augmentation.inverse()
            seen, predicted = inputs[row], predictions[row]
            if seen is None:
                raise InvalidInputError(f"row {row}: there is no grid on the input's canvas")
            grid = back.apply(seen)
            self._check(name, grid)
            voted[identifier, grid] += 1
            if voted[identifier, grid] > self._allowed(name, grid):
                raise InvalidInputError(
                    f"{self.names[identifier]} has voted on this test input already; make new "
                    "Votes for each checkpoint, or set votes_each"
                )
            answer = None if predicted is None else back.apply(predicted)
            votes.append((name, grid, answer, float(confidences[row])))
        # Only now, so that a batch counts as a whole or not at all.
        self._voted = voted
        for one in votes:
            self.vote(*one)

    def _named(self, identifier: int, row: int) -> tuple[str, Augmentation]:
        if identifier == 0:
            raise InvalidInputError(
                f"row {row}: the identifier 0 is blank: leave padding rows out; a task that was "
                "not trained on can't be evaluated"
            )
        if not 0 < identifier < len(self.names):
            raise InvalidInputError(
                f"row {row}: an identifier must be one of the {len(self.names)} names; "
                f"got {identifier}"
            )
        return split_name(self.names[identifier])

    def _allowed(self, name: str, grid: Grid) -> int:
        """Votes of one augmentation on a test input; equal inputs of a task get one each."""
        return self.votes_each * self.tasks[name].inputs.count(grid)

    def _check(self, name: str, grid: Grid) -> None:
        if name not in self.tasks:
            raise InvalidInputError(
                f"task {shown(name)} is not among the {len(self.tasks)} to vote on"
            )
        if (name, grid) not in self._counts:
            raise InvalidInputError(f"task {name} has no such test input: {shown(grid.tolist())}")

    def merge(self, other: Votes) -> None:
        """Count the votes of another process, too.

        Raises
        ------
        InvalidInputError
            If the other's tasks differ, or an augmentation has voted in both.
        """
        if self.tasks != other.tasks or list(self.names) != list(other.names):
            raise InvalidInputError("votes on other tasks, or by other names, can't be merged")
        voted = self._voted + other._voted
        for (identifier, grid), times in voted.items():
            name = self.names[identifier]
            if times > self._allowed(split_name(name)[0], grid):
                raise InvalidInputError(f"{name} has voted in both already")
        self._voted = voted
        for key, counts in other._counts.items():
            for answer, (votes, total) in counts.items():
                entry = self._counts[key].setdefault(answer, [0, 0.0])
                entry[0] += votes
                entry[1] += total

    def ranking(self, name: str, index: int = 0) -> list[Candidate]:
        """Return the answers to a test input by votes, then by mean confidence, the best first.

        Where both are equal, what came up first comes first.
        """
        grid = self.tasks[name].inputs[index]
        candidates = [
            Candidate(answer, int(votes), total / votes)
            for answer, (votes, total) in self._counts[name, grid].items()
        ]
        return sorted(candidates, key=lambda one: (one.votes, one.confidence), reverse=True)

    def attempts(self, name: str, index: int = 0, number: int = 2) -> list[Grid]:
        """Return the first answers to a test input that are grids; none where there are no votes.

        Canvases without a grid are passed over: they can't be handed in.
        """
        grids = (candidate.grid for candidate in self.ranking(name, index))
        return [grid for grid in grids if grid is not None][:number]

    def scores(self, pass_at: Sequence[int] = PASS_AT, allow_missing: bool = False) -> Scores:
        """Return the shares solved.

        Parameters
        ----------
        pass_at : sequence of int
            Default 1, 2, 5, 10, 100, 1000.
        allow_missing : bool
            Whether test inputs may be without votes; they count as not solved. Default False.

        Raises
        ------
        InvalidInputError
            If a task has no answers, or a test input no votes.
        """
        if not pass_at or not all(is_int(k) and k >= 1 for k in pass_at):
            raise InvalidInputError(f"pass_at must be whole numbers from 1; got {shown(pass_at)}")
        missing: list[str] = []
        ranks: list[list[float]] = []
        for name, task in self.tasks.items():
            if task.answers is None:
                raise InvalidInputError(f"task {name} has no answers to score by")
            of_task = []
            for index, right in enumerate(task.answers):
                ranked = [candidate.grid for candidate in self.ranking(name, index)]
                if not ranked:
                    missing.append(f"{name}, test input {index + 1}")
                of_task.append(ranked.index(right) if right in ranked else float("inf"))
            ranks.append(of_task)
        if missing and not allow_missing:
            raise InvalidInputError(
                f"{len(missing)} test inputs have no votes: {', '.join(missing[:3])}"
                f"{' ...' if len(missing) > 3 else ''}; allow_missing=True counts them as wrong"
            )
        solved = {k: [[rank < k for rank in of_task] for of_task in ranks] for k in pass_at}
        inputs = sum(map(len, ranks))
        return Scores(
            {
                k: sum(sum(one) / len(one) for one in all_) / len(ranks)
                for k, all_ in solved.items()
            },
            {k: sum(map(all, all_)) / len(ranks) for k, all_ in solved.items()},
            {k: sum(map(sum, all_)) / inputs for k, all_ in solved.items()},
            len(ranks),
            inputs,
            len(missing),
        )


__all__ = ["PASS_AT", "Candidate", "Scores", "Votes"]
