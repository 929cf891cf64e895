"""Tree: a best-first search over guesses, guided by what a model says of dead ends.

The plain attempt is the root. Where an attempt fails, one of its empty cells is chosen to branch
on, and each value of it is an attempt that fills in the parent's guesses and this one. Attempts
run in waves, the most promising first: what a model's dead-end head holds for wrong is left for
later, never thrown away, since the head may err.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.model.config import ModelConfig

#: (cell, token): that this token stands there.
Guess = tuple[int, int]
Path = tuple[Guess, ...]

#: Attempts of a wave, where nobody says how many. Not the batch size that suits a device: what an
#: attempt fills in depends on it.
WIDTH = 8
#: A child is worth its parent's promise and the logarithm of its probability. One that is this
#: much less promising than the best waits for a later wave.
_MARGIN = 3.0
#: What a guess that holds so far is worth, in units of the dead-end logit: of two attempts that are
#: equally likely to be right, the one with more filled in is nearer to an answer.
_DEEPER = 1.0


class Tree:
    """The guesses of one request, which have been made and which are still open.

    Attempts are known by their numbers; 0 is the root, whose path is empty. What comes next depends
    on the attempts that have failed alone, and not on when they did: a wave begins when all of the
    one before it have.

    Parameters
    ----------
    domain : Domain
    model : ModelConfig
    given : bool array of shape (N,)
        Cells that stand in the answer as they are.
    """

    def __init__(self, domain: Domain, model: ModelConfig, given: npt.NDArray[np.bool_]) -> None:
        self._given = given
        self._columns, self._tokens = answer_columns(domain, model)
        self._paths: list[Path] = [()]
        self._running = {0}
        self._open: list[tuple[float, int, Path]] = []  # a heap: cost, order, path
        self._made = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether every guess has been made."""
        return not (self._running or self._open)

    def path(self, number: int) -> Path:
        """Return what the attempt of this number fills in."""
        return self._paths[number]

    def grow(self, number: int, logits: npt.NDArray[np.float32], dead_end_logit: float) -> None:
        """Take note that an attempt has failed, and open its children. Once an attempt.

        Parameters
        ----------
        number : int
        logits : float32 array of shape (N, outputs)
            Of its last step.
        dead_end_logit : float
            At that step: positive where the model holds a value for wrong that is filled in.
        """
        if number not in self._running:
            return
        self._running.remove(number)
        path = self._paths[number]
        empty = ~self._given
        empty[[cell for cell, _ in path]] = False
        cells = np.flatnonzero(empty)
        if not len(cells):
            return
        log_p = log_probabilities(logits[cells], self._columns)
        at = branching_cell(np.exp(log_p))
        # At the root there is nothing yet that could be wrong, but the puzzle itself.
        cost = dead_end_logit - _DEEPER * len(path) if path else 0.0
        for token, chance in zip(self._tokens, log_p[at].tolist(), strict=True):
            child = (*path, (int(cells[at]), token))
            heapq.heappush(self._open, (cost - chance, self._made, child))
            self._made += 1

    def next_wave(self, width: int) -> range:
        """Return the numbers of the attempts that now may begin: none while a wave is running."""
        first = len(self._paths)
        if self._running or not self._open:
            return range(first, first)
        least = self._open[0][0]
        while self._open and len(self._paths) - first < width:
            if self._open[0][0] > least + _MARGIN:
                break
            self._paths.append(heapq.heappop(self._open)[2])
        wave = range(first, len(self._paths))
        self._running.update(wave)
        return wave


def branching_cell(p: npt.NDArray[np.float64]) -> int:
    """Return the row of probabilities (cells, values) with two likely values and few others.

    The one in which the product of the two largest, less half of the third, is largest: it is 1/4
    where a cell is torn between two values, and the two attempts halve what is left to search.
    """
    if p.shape[1] < 3:
        return int(np.argmin(p.max(1)))
    third, second, first = np.sort(p, axis=1)[:, -3:].T
    return int(np.argmax(first * second - third / 2))


def answer_columns(domain: Domain, model: ModelConfig) -> tuple[list[int], list[int]]:
    """Return the logit columns that stand for what may be in an answer, and their tokens."""
    answers = set(domain.vocabulary.answer_tokens)
    meant = [(k, token) for k, token in enumerate(model.output_tokens) if token in answers]
    return [column for column, _ in meant], [token for _, token in meant]


def log_probabilities(
    logits: npt.NDArray[np.float32], columns: list[int]
) -> npt.NDArray[np.float64]:
    """Return the logarithms of the probabilities of some columns, of shape (cells, columns)."""
    wide = logits[:, columns].astype(np.float64)
    found: npt.NDArray[np.float64] = wide - np.logaddexp.reduce(wide, 1, keepdims=True)
    return found


__all__ = ["Guess", "Path", "Tree", "answer_columns", "branching_cell", "log_probabilities"]
