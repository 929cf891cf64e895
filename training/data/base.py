"""What the training loop asks of data: encoded puzzles, any number, forever, and resumable."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from training.config import Recipe
from trm_sdk.domains import Domain, Sudoku
from trm_sdk.errors import ConfigError

Tokens = npt.NDArray[np.int32]


class Examples(NamedTuple):
    """Puzzles and their answers, both int32 tokens of shape (n, N)."""

    tokens: Tokens
    answers: Tokens


class Stream(Protocol):
    """An endless source of training examples."""

    def draw(self, n: int, progress: float) -> Examples:
        """The next n examples; `progress` in 0..1 is how much of the run is done."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that the next draws depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        ...


def make_stream(recipe: Recipe, domain: Domain, held_out: dict[str, Examples]) -> Stream:
    """The stream that a recipe describes, without anything that is in `held_out`.

    Raises
    ------
    ConfigError
        If there is no data for that domain.
    """
    if isinstance(domain, Sudoku):
        from training.data.sudoku import SudokuStream

        return SudokuStream(recipe.data, domain, recipe.seed, held_out.values())
    raise ConfigError(f"there is no training data for the domain {domain.name!r}")


def make_held_out(recipe: Recipe, domain: Domain, *, whole: bool = False) -> dict[str, Examples]:
    """The recipe's generated evaluation sets; `whole`: ten times their size, and the files."""
    if isinstance(domain, Sudoku):
        from training.data.sudoku import examples, held_out_set, read_csv

        sets = {
            name: held_out_set(domain, clues, recipe.evaluation.puzzles * (10 if whole else 1))
            for name, clues in recipe.evaluation.sets.items()
        }
        if whole:
            for name, path in recipe.evaluation.files.items():
                sets[name] = examples(read_csv(path, domain), domain)
        return sets
    raise ConfigError(f"there is no evaluation data for the domain {domain.name!r}")
