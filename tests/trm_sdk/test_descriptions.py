"""Tasks, structures, configs, options and specs: what they refuse, and how they say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import BaseModel, Field, ValidationError
from small_models import small_config

from trm_sdk.domains import get_domain
from trm_sdk.errors import CheckpointError, ConfigError, InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import explain
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import FORMAT, ModelSpec
from trm_sdk.structure import Structure, groups, neighbourhood
from trm_sdk.task import Task

GRID = Grid([[1, 2], [2, 1]])


def test_a_task_says_what_it_lacks() -> None:
    with pytest.raises(InvalidInputError, match="at least one input"):
        Task(())
    with pytest.raises(InvalidInputError, match="at least one input"):
        Task(([[1]],))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="1 inputs needs as many answers; got 2"):
        Task((GRID,), answers=(GRID, GRID))
    with pytest.raises(InvalidInputError, match="2 inputs"):
        _ = Task((GRID, GRID)).grid
    assert Task((GRID,)).answer is None
    assert Task((GRID,), answers=(GRID,)).answer == GRID


def test_a_task_keeps_tuples_of_whatever_holds_grids() -> None:
    plain = Task((GRID,), ((GRID, GRID),), (GRID,))
    made = Task(iter([GRID]), [[GRID, GRID]], [GRID])  # type: ignore[arg-type, list-item]
    assert made == plain
    assert hash(made) == hash(plain)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"inputs": GRID}, "at least one input"),
        ({"answers": ("x",)}, r"answers are Grids.*\('x',\)"),
        ({"answers": GRID}, "answers are Grids"),
        ({"answers": 5}, "answers are Grids.*got 5"),
        ({"demonstrations": 5}, "pairs of Grids.*got 5"),
        ({"demonstrations": (GRID,)}, "pairs of Grids"),
        ({"demonstrations": ((GRID,),)}, "pairs of Grids"),
        ({"name": 5}, "name is a str or None; got 5"),
        ({"metadata": 5}, "metadata is a mapping; got 5"),
    ],
)
def test_what_is_no_part_of_a_task_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        Task(**({"inputs": (GRID,)} | fields))


@pytest.mark.parametrize(
    ("relations", "named"),
    [
        ([groups("far", [(0, 4)])], "'far' names cell 4"),
        ([groups("twice", [(0, 0)])], "repeats"),
        ([groups("none", [()])], "empty group"),
        ([neighbourhood("near", [(1,)])], r"one set a cell \(4\)"),
    ],
)
def test_a_structure_of_other_cells_is_refused(relations: list[Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Structure(shape=(2, 2), relations=tuple(relations))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"answer_tokens": (5, 6)}, "answer_tokens must be ascending tokens below vocab_size 6"),
        ({"answer_tokens": (3, 2)}, "answer_tokens must be ascending"),
        ({"answer_tokens": ()}, "answer_tokens must name at least one token"),
        ({"output_offset": 7, "answer_tokens": None}, "output_offset must be at most"),
        ({"mixer": "attention", "hidden_size": 15}, "not a multiple of num_heads"),
        ({"positions": "rope"}, "needs mixer='attention'"),
        ({"mixer": "attention", "positions": "rope", "hidden_size": 6}, "even; got 6 / 2"),
        ({"positions": "learned"}, "is for mixer='mlp_t'"),
        ({"givens_from": 7}, "at most vocab_size 6; got 7"),
        ({"puzzle_emb_ndim": 40, "puzzle_emb_len": 1, "mixer": "mlp_t"}, "does not fit"),
        ({"structure": None}, "needs a structure"),
        ({"seq_len": 17}, "16 cells, seq_len is 17"),
        ({"puzzle_emb_len": 2}, "has no puzzle embedding"),
    ],
)
def test_a_contradictory_config_is_refused(changes: dict[str, object], named: str) -> None:
    fields = small_config().model_dump() | changes
    with pytest.raises(ValueError, match=named):
        ModelConfig(**fields)


def test_the_papers_sudoku_model_has_the_papers_sizes() -> None:
    config = ModelConfig(vocab_size=11, seq_len=81)
    assert config.swiglu_size == 1536
    assert config.passes == 21
    assert config.state_shape == (81, 512)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_steps": 0}, "max_steps.*got 0"),
        ({"max_steps": "many"}, "max_steps.*'many'"),
        ({"attempts": -1}, "attempts.*got -1"),
        ({"explore": "wander"}, "explore.*'wander'"),
        ({"halt_threshold": 1.5}, "halt_threshold.*1.5"),
        ({"noise": float("nan")}, "noise.*nan"),
        ({"seconds": 0}, "seconds.*got 0"),
        ({"patience": -1}, "patience.*-1"),
        ({"attempts": True}, "attempts.*integer; got True"),
        ({"max_steps": "3"}, "max_steps.*integer; got '3'"),
        ({"verify": "no"}, "verify.*got 'no'"),
        ({"seed": list(range(2000))}, r"seed.*got \[0, 1, .{40,60}\.\.\.$"),
        ({"maxsteps": 3}, "unknown key 'maxsteps'; did you mean 'max_steps'"),
    ],
)
def test_options_name_the_field_and_the_value(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SolveOptions(**fields)
    with pytest.raises(ConfigError, match=named):
        SolveOptions.model_validate(fields)


def test_numbers_of_numpy_are_options() -> None:
    options = SolveOptions(max_steps=np.int64(3), noise=1)
    assert options == SolveOptions(max_steps=3, noise=1.0)


def test_options_given_go_over_the_defaults() -> None:
    defaults = SolveOptions(max_steps=40, noise=0.3, explore="noise")
    merged = SolveOptions(attempts=4, noise=0.1).over(defaults)
    assert merged == SolveOptions(max_steps=40, noise=0.1, explore="noise", attempts=4)


def test_larger_boards_may_take_more_steps_unless_someone_says_how_many() -> None:
    defaults = SolveOptions(max_steps=40, steps_per_cell=0.25)
    assert defaults.on_board(81).max_steps == 40
    assert defaults.on_board(900).max_steps == 225
    assert SolveOptions(attempts=2).over(defaults).on_board(900).max_steps == 225
    assert SolveOptions(max_steps=8).over(defaults).on_board(900).max_steps == 8
    both = SolveOptions(max_steps=8, steps_per_cell=0.5).over(defaults)
    assert both.on_board(900).max_steps == 450


def test_a_spec_survives_json() -> None:
    domain = get_domain("sudoku-4x4")
    spec = ModelSpec.for_domain(domain, small_config(), SolveOptions(attempts=3), recipe="r")
    again = ModelSpec.from_json(spec.to_json(), "here")
    assert again == spec
    assert again.solve.attempts == 3
    assert again.notes == {"recipe": "r"}
    spec.check_domain(domain)


def test_what_is_no_spec_is_refused_with_its_file() -> None:
    domain = get_domain("sudoku-4x4")
    spec = ModelSpec.for_domain(domain, small_config())

    def changed(**fields: object) -> str:
        return spec.model_copy(update=fields).to_json()

    for text, named in (
        ("not json", "here holds no valid model description"),
        ("{}", "domain"),
        (json.dumps(json.loads(spec.to_json()) | {"format": FORMAT + 1}), "reads up to"),
        (spec.to_json().replace('"domain"', '"domian"'), "did you mean 'domain'"),
        (changed(vocabulary=("a",)), "vocabulary has 1 tokens, model.vocab_size is 6"),
        (changed(grid_shape=(4, 5)), "4x5 has 20 cells, model.seq_len is 16"),
        (changed(grid_shape=(-4, -4)), r"grid_shape\.0.*got -4"),
        (
            spec.to_json().replace("[4,4]", '["x"]', 1),
            r"grid_shape\.0: [^;]*; got 'x'; grid_shape\.1: [^;]*$",
        ),
        (json.dumps(json.loads(spec.to_json()) | {"solve": {"max_steps": 0}}), "1; got 0$"),
    ):
        with pytest.raises(CheckpointError, match=named):
            ModelSpec.from_json(text, Path("here"))


def test_a_model_of_another_domain_is_refused() -> None:
    spec = ModelSpec.for_domain(get_domain("sudoku-4x4"), small_config())
    with pytest.raises(
        CheckpointError, match=r"here is a model of 'sudoku-4x4' .* not of 'sudoku'"
    ):
        spec.check_domain(get_domain("sudoku"), "here")
    other = ModelSpec.for_domain(get_domain("sudoku-4x4"), small_config(answer_tokens=(1, 2, 3)))
    with pytest.raises(
        CheckpointError, match=r"answers with the tokens \(1, 2, 3\); .* made of \(2, 3, 4, 5\)"
    ):
        other.check_domain(get_domain("sudoku-4x4"), "here")


def test_a_container_is_not_too_short_for_want_of_a_wrong_item() -> None:
    class Pair(BaseModel):
        of: Annotated[tuple[int, ...], Field(min_length=2)]

    with pytest.raises(ValidationError) as caught:
        Pair.model_validate({"of": ["x"]})
    assert "too_short" not in explain(caught.value, "Pair", ())
    message = explain(caught.value, "Pair", ())
    assert message.startswith("Pair: of.0: ")
    assert message.endswith("; got 'x'")
    assert message.count("got") == 1
