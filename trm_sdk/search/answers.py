"""Answers: what a model's logits say, as tokens, probabilities and a confidence."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Encoded, Tokens
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.model.config import ModelConfig

Float32 = npt.NDArray[np.float32]


class Answers:
    """Reads the logits of one model for puzzles of one vocabulary.

    Parameters
    ----------
    model : ModelConfig
    vocabulary : Vocabulary

    Attributes
    ----------
    output_tokens : intp array of shape (outputs,)
        The token that each logit column stands for.
    keeps_givens : bool
        Whether given cells stand in the answer whatever the logits say.
    """

    def __init__(self, model: ModelConfig, vocabulary: Vocabulary) -> None:
        self.output_tokens: npt.NDArray[np.intp] = np.array(model.output_tokens, np.intp)
        self.keeps_givens = bool(model.given_tokens)
        columns = {token: column for column, token in enumerate(model.output_tokens)}
        # Of each token that may stand in an answer: its logit column, -1 if the model has none.
        self._columns = np.array([columns.get(token, -1) for token in vocabulary.answer_tokens])
        self._positions = {token: i for i, token in enumerate(vocabulary.answer_tokens)}

    def tokens(
        self, tokens: Tokens, given: npt.NDArray[np.bool_], logits: Float32
    ) -> npt.NDArray[np.intp]:
        """Return the best token of each cell, with givens kept.

        Parameters
        ----------
        tokens : int32 array of shape (batch, N)
        given : bool array of shape (batch, N)
        logits : float32 array of shape (batch, N, outputs)

        Returns
        -------
        integer array of shape (batch, N)
        """
        answers: npt.NDArray[np.intp] = self.output_tokens.take(logits.argmax(-1))
        if self.keeps_givens:
            np.copyto(answers, tokens, where=given)
        return answers

    def choices(self, tokens: Tokens, given: npt.NDArray[np.bool_]) -> list[tuple[int, ...]]:
        """Return, for each cell of one puzzle, the token that each logit column stands for.

        A given cell has one token whatever the column, so that indexing does what `tokens` does,
        in Python: for one row that is faster.

        Parameters
        ----------
        tokens : int32 array of shape (N,)
        given : bool array of shape (N,)
        """
        free = tuple(self.output_tokens.tolist())
        if not self.keeps_givens:
            return [free] * len(tokens)
        cells = zip(given.tolist(), tokens.tolist(), strict=True)
        return [(token,) * len(free) if is_given else free for is_given, token in cells]

    def probabilities(self, puzzle: Encoded, logits: Float32) -> Float32:
        """Return the softmax over the values that an answer may hold.

        A given cell has probability 1 for its value; 0 for all values if its token stands in
        answers only as a given.

        Parameters
        ----------
        puzzle : Encoded
        logits : float32 array of shape (N, outputs)

        Returns
        -------
        float32 array of shape (rows, columns, answers), in the order of `Vocabulary.answer_values`
        """
        wide = np.full((len(logits), len(self._columns)), -np.inf, np.float32)
        known = self._columns >= 0
        wide[:, known] = logits[:, self._columns[known]]
        exp = np.exp(wide - wide.max(1, keepdims=True))
        shares: Float32 = exp / exp.sum(1, keepdims=True)
        if self.keeps_givens:
            shares[puzzle.given] = 0
            for cell in np.flatnonzero(puzzle.given).tolist():
                position = self._positions.get(int(puzzle.tokens[cell]))
                if position is not None:
                    shares[cell, position] = 1
        return shares.reshape(*puzzle.shape, -1)


def confidence_of(halt_logit: float) -> float:
    """Return the halting head's probability in 0..1 that an answer is right."""
    # Beyond 80 the probability is 0 or 1 to the last bit of a float32, and exp would overflow.
    return 1 / (1 + float(np.exp(-min(max(halt_logit, -80.0), 80.0))))


def logit_of(probability: float) -> float:
    """Return the halting logit of a probability: the inverse of `confidence_of`."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


__all__ = ["Answers", "confidence_of", "logit_of"]
