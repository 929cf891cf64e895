"""A domain of one's own trains on files, as Sudoku does on what it makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rich.console import Console

from training import state
from training.data.files import read_csv
from training.data.mixture import Mixture, make_held_out, make_stream
from training.fit import fit
from training.recipe import Recipe, parse_recipe
from training.run import Run, open_run
from training.settings import PuzzleFile
from training.step import train_step
from trm_sdk.domains import available_domains, register_domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.data import Examples
from trm_sdk.domains.symmetry import Rearrangement, Symmetry
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import ConfigError
from trm_sdk.structure import columns, rows

SIZE = 3


class Latin(BoardDomain):
    """Every row and column holds 1, 2 and 3; and no structure is stated."""

    name = "test-latin"
    shape = (SIZE, SIZE)
    vocabulary = Vocabulary.numbers(SIZE)
    distinct = (rows(), columns())
    has_symmetries = True

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        cells = np.arange(SIZE * SIZE).reshape(self.shape)[rng.permutation(SIZE)]
        return Rearrangement(cells.reshape(-1), np.arange(SIZE + 1, dtype=np.int8), self.shape)


DOMAIN = Latin()
if DOMAIN.name not in available_domains():
    register_domain(DOMAIN.name, Latin)


def write(path, n: int, seed: int):
    rng = np.random.default_rng(seed)
    lines = ["question,answer"]
    for _ in range(n):
        first = rng.permutation(SIZE) + 1
        square = np.stack([np.roll(first, shift) for shift in rng.permutation(SIZE)]).reshape(-1)
        given = np.where(rng.random(square.size) < 0.6, square, 0)
        lines.append(",".join("".join(map(str, row)) for row in (given, square)))
    path.write_text("\n".join(lines) + "\n")
    return path


def recipe_of(folder, **changes: object) -> Recipe:
    train, test = write(folder / "train.csv", 60, 1), write(folder / "test.csv", 12, 2)
    recipe = {
        "name": "latin",
        "domain": DOMAIN.name,
        "model": {"mixer": "attention", "hidden_size": 16, "ffn_size": 16, "num_heads": 2},
        "data": [{"kind": "file", "path": str(train)}],
        "evaluation": {"files": {"test": str(test)}, "puzzles": 4, "steps": 2},
        "steps": 4,
        "batch_size": 8,
        "compile": False,
    }
    return parse_recipe(recipe | changes, "latin")


def test_examples_are_drawn_under_symmetries_and_none_that_is_held_out(tmp_path):
    tasks = read_csv(write(tmp_path / "a.csv", 30, 3), DOMAIN)
    every, held = DOMAIN.encode_examples(tasks), DOMAIN.encode_examples(tasks[:5])
    source = PuzzleFile(kind="file", path=str(tmp_path / "a.csv"))
    stream = Mixture((source,), DOMAIN, 0, (held,))
    known = {row.tobytes() for row in every.tokens}
    drawn = stream.draw(100, 0.5)
    assert all(DOMAIN.verify_tokens(drawn.tokens, drawn.answers))
    assert not all(row.tobytes() in known for row in drawn.tokens)
    plain = Mixture((source.model_copy(update={"augment": False}),), DOMAIN, 0, (held,))
    drawn = plain.draw(100, 0.5)
    assert {row.tobytes() for row in drawn.tokens} <= known - {r.tobytes() for r in held.tokens}
    plain.load_state_dict(stream.state_dict())
    assert plain.parts[0].source.state_dict() == stream.parts[0].source.state_dict()
    with pytest.raises(ConfigError, match="all of its puzzles are held out"):
        Mixture((source,), DOMAIN, 0, (every,))


def test_a_run_trains_evaluates_and_goes_on_to_the_bit(tmp_path):
    recipe = recipe_of(tmp_path)
    whole = Run.start(recipe, torch.device("cpu"))
    assert fit(whole, tmp_path, Console(quiet=True))
    assert {name: len(one.tokens) for name, one in whole.held_out.items()} == {"test": 4}
    assert 0 <= whole.history[-1]["test/last"] <= 1
    half = Run.start(recipe, torch.device("cpu"))
    for _ in range(2):
        train_step(half)
    half.save(tmp_path / "half" / state.LATEST)
    resumed = open_run(recipe, tmp_path / "half", torch.device("cpu"), fresh=False)
    for _ in range(2):
        train_step(resumed)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_all_of_the_files_are_evaluated_at_the_end(tmp_path):
    held = make_held_out(recipe_of(tmp_path), DOMAIN)
    assert isinstance(held["test"], Examples)
    assert len(held["test"].tokens) == 12


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": [{"kind": "generated"}]}, "can't be generated; give files"),
        ({"evaluation": {"puzzles": 3}}, "name a file to evaluate on"),
    ],
)
def test_what_a_domain_without_a_generator_lacks_is_named(tmp_path, changes, named):
    recipe = recipe_of(tmp_path, **changes)
    with pytest.raises(ConfigError, match=named):
        make_stream(recipe, DOMAIN, make_held_out(recipe, DOMAIN), 0)
