"""What the training loop asks of data: encoded puzzles, any number, forever, and resumable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from training.recipe import PuzzleFile, Recipe, Source
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


def weights_at(sources: Sequence[Source], progress: float) -> npt.NDArray[np.float64]:
    """Probabilities of the sources at this point of the run.

    Raises
    ------
    ConfigError
        If none is in use there.
    """
    weights: npt.NDArray[np.float64] = np.array(
        [source.weight * (source.start <= progress <= source.end) for source in sources]
    )
    if not weights.any():
        raise ConfigError(f"no data source covers {progress:.0%} of the run")
    weights /= weights.sum()
    return weights


def make_stream(recipe: Recipe, domain: Domain, held_out: dict[str, Examples], seed: int) -> Stream:
    """The stream that a recipe describes, without anything that is in `held_out`.

    Raises
    ------
    ConfigError
        If it asks for generated puzzles of a domain that has no generator.
    """
    if isinstance(domain, Sudoku):
        from trm_sdk.domains.sudoku.data import SudokuStream

        return SudokuStream(recipe.data, domain, seed, held_out.values())
    from training.data.files import FileStream

    files = [source for source in recipe.data if isinstance(source, PuzzleFile)]
    if len(files) < len(recipe.data):
        raise ConfigError(
            f"data: puzzles of {domain.name!r} can't be generated, only Sudoku's; give files "
            "({kind: file, path: PUZZLES.csv})"
        )
    return FileStream(files, domain, seed, held_out.values())


def make_held_out(recipe: Recipe, domain: Domain) -> dict[str, Examples]:
    """The recipe's evaluation sets, as they are measured at the end of the run.

    Raises
    ------
    ConfigError
        If there is nothing to evaluate on.
    """
    from training.data.files import examples, read_csv

    evaluation = recipe.evaluation
    sets: dict[str, Examples] = {}
    if isinstance(domain, Sudoku):
        from trm_sdk.domains.sudoku.data import held_out_set

        puzzles = 10 * evaluation.puzzles
        sets = {
            name: held_out_set(domain, clues, puzzles) for name, clues in evaluation.sets.items()
        }
    elif not evaluation.files:
        raise ConfigError(
            f"evaluation.files: puzzles of {domain.name!r} can't be generated, only Sudoku's; name "
            "a file to evaluate on ({SET: PUZZLES.csv})"
        )
    for name, path in evaluation.files.items():
        sets[name] = examples(read_csv(path, domain), domain)
    return sets


def during_the_run(recipe: Recipe, sets: dict[str, Examples]) -> dict[str, Examples]:
    """The first puzzles of the generated sets, or of the files where none is generated."""
    files, most = recipe.evaluation.files, recipe.evaluation.puzzles
    chosen = {name: one for name, one in sets.items() if name not in files} or sets
    return {name: Examples(*(part[:most] for part in one)) for name, one in chosen.items()}
