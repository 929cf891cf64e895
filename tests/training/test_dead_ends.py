"""Dead ends: puzzles with a wrong value filled in, and the head that learns to tell them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.dead_ends import peers_of, with_dead_ends
from training.data.mixture import Mixture
from training.objective import Carry
from training.recipe import load_recipe
from training.run import Run
from training.settings import Generated, Objective
from training.step import train_step
from trm_sdk.domains import get_domain
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Outcome, Puzzles, Supervision, SupervisionSettings

FOUR = Sudoku(2, 2)
NINE = get_domain("sudoku")


def _config(recipe: str = "sudoku-4x4"):
    return load_recipe(recipe, ("objective.dead_ends=0.5",)).spec().model


def _filled(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).sum(1)


def test_no_puzzle_is_changed_where_none_is_chosen():
    examples = FOUR.examples(40, HELD_OUT_SEED)
    made, dead = with_dead_ends(examples, _config(), 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(made.tokens, examples.tokens)
    assert not dead.any()


def test_half_of_the_chosen_puzzles_are_dead_ends_of_one_wrong_value():
    examples = NINE.examples(400, HELD_OUT_SEED)
    before = examples.tokens.copy()
    made, dead = with_dead_ends(examples, _config("sudoku"), 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(examples.tokens, before)  # not changed in place
    assert 0.4 < dead.mean() < 0.6
    changed = made.tokens != examples.tokens
    assert (examples.tokens[changed] == NINE.vocabulary.first).all()
    wrong = changed & (made.tokens != examples.answers)
    np.testing.assert_array_equal(wrong.sum(1), dead)
    right = (changed & ~wrong).sum(1)
    assert right.min() == 0
    assert 1.5 < right.mean() < 3.5
    assert right[dead].mean() == pytest.approx(right[~dead].mean(), abs=0.6)


def test_a_wrong_value_stands_nowhere_else_in_its_groups():
    examples = NINE.examples(200, HELD_OUT_SEED)
    made, dead = with_dead_ends(examples, _config("sudoku"), 1.0, np.random.default_rng(1))
    groups = np.concatenate(list(NINE.structure.memberships().values())).astype(bool)
    for tokens, before in zip(made.tokens[dead], examples.tokens[dead], strict=True):
        for group in groups:
            values = tokens[group]
            values = values[values != NINE.vocabulary.first]
            assert len(set(values.tolist())) == len(values)
        assert _filled(before[None], tokens[None])[0] >= 1


def test_dead_ends_of_jigsaws_heed_each_puzzles_own_regions():
    jigsaw = get_domain("jigsaw")
    examples = jigsaw.examples(60, HELD_OUT_SEED)
    config = load_recipe("sudoku").spec(jigsaw).model
    made, dead = with_dead_ends(examples, config, 1.0, np.random.default_rng(0))
    assert dead.any()
    for row in np.flatnonzero(dead):
        for key in jigsaw.own_groups:
            for group in made.groups[key][row].astype(bool):
                values = made.tokens[row, group]
                values = values[values != jigsaw.vocabulary.first]
                assert len(set(values.tolist())) == len(values)


def test_a_dead_end_is_asked_for_no_answer_and_never_counts_as_solved():
    torch.manual_seed(0)
    model = TRM(_config())
    examples = FOUR.examples(4, HELD_OUT_SEED)
    dead = np.array([True, False, True, False])
    supervision = Supervision(model, SupervisionSettings(halting_weight=0, dead_end_weight=0))
    shape = (4, *model.config.state_shape)
    state, fresh = State(torch.zeros(shape), torch.zeros(shape)), torch.ones(4, dtype=torch.bool)

    def outcome(marked: np.ndarray | None, answers: np.ndarray):
        some = examples._replace(answers=answers)
        return supervision(Puzzles.of(some, model.config, dead=marked), state, fresh)

    other = examples.answers.copy()
    other[dead] = np.roll(other[dead], 1, axis=1)
    torch.testing.assert_close(
        outcome(dead, examples.answers).loss, outcome(dead, other).loss, rtol=0, atol=0
    )
    assert (
        outcome(np.zeros(4, bool), other).loss != outcome(np.zeros(4, bool), examples.answers).loss
    )
    # Everything is given, so that every cell is right.
    full = examples._replace(tokens=examples.answers)
    solved = supervision(Puzzles.of(full, model.config, dead=dead), state, fresh).solved
    assert solved.tolist() == [False, True, False, True]


def test_the_head_learns_to_tell_dead_ends_of_four_by_four():
    recipe = load_recipe(
        "sudoku-4x4",
        ("objective.dead_ends=0.8", "steps=400", "batch_size=32", "micro_batch=32"),
    )
    torch.set_num_threads(1)
    run = Run.start(recipe, torch.device("cpu"))
    assert run.model.config.dead_end_head
    for _ in range(300):
        train_step(run)
    run.carry.forget_finished()
    for _ in range(100):
        train_step(run)
    # Of the puzzles, 60% are none; all are judged.
    assert run.carry.judged > 100
    assert run.carry.judged_share > 0.8


def test_slots_with_dead_ends_are_saved_and_go_on():
    objective = Objective(dead_ends=1.0, min_steps=2, max_steps=4)
    model = TRM(_config())

    def carry() -> Carry:
        return Carry(model, objective, Mixture((Generated(),), FOUR, 1, ()), 8, seed=3)

    one = carry()
    one.begin(0.0)
    assert one.puzzles.dead.any()
    other = carry()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.puzzles.dead, one.puzzles.dead)
    assert torch.equal(other.puzzles.tokens, one.puzzles.tokens)


def test_dead_ends_need_answers_that_keep_givens():
    recipe = load_recipe("sudoku-4x4", ("objective.dead_ends=0.5", "objective.cells=all"))
    with pytest.raises(ConfigError, match="given_tokens is empty"):
        recipe.spec()


def _guessing(guesses: float) -> tuple[Carry, TRM]:
    torch.manual_seed(0)
    model = TRM(_config())
    objective = Objective(dead_ends=0.3, guesses=guesses, min_steps=2, max_steps=2)
    carry = Carry(model, objective, Mixture((Generated(),), FOUR, 1, ()), 200, 0)
    carry.begin(0.0)
    return carry, model


def _failed(carry: Carry, model: TRM, logits: torch.Tensor) -> Outcome:
    n, no = carry.slots, torch.zeros(carry.slots)
    shape = (n, *model.config.state_shape)
    state = State(torch.full(shape, 1.0), torch.full(shape, 2.0))
    return Outcome(torch.zeros(()), state, no.bool(), no, no, logits, no)


def test_a_puzzle_that_leaves_unsolved_goes_on_with_a_guess_from_its_state():
    carry, model = _guessing(1.0)
    # One cell of each puzzle is torn between two values, the one that has most to tell to others.
    full = model.is_given[carry.puzzles.tokens.long()].all(1)
    carry.puzzles.tokens[full, 0] = FOUR.vocabulary.first
    empty = (~model.is_given[carry.puzzles.tokens.long()]).float()
    peers = torch.from_numpy(FOUR.peers(FOUR.parse("." * 16))).float()
    cells = (empty * (1 + empty @ peers)).argmax(1)
    logits = torch.zeros(carry.slots, model.config.seq_len, model.config.outputs)
    logits[torch.arange(carry.slots), cells] = torch.tensor([5.0, 5.0, 0.0, 0.0])
    for _ in range(2):
        before, age = carry.puzzles, carry.age.copy()
        carry.advance(_failed(carry, model, logits), 0.0)
    assert not carry.fresh.any()
    assert (carry.y == 1).all()
    assert (carry.z == 2).all()
    assert (carry.age == age + 1).all()
    changed = carry.puzzles.tokens != before.tokens
    assert (changed.sum(1) == 1).all()
    assert (changed.float().argmax(1) == cells).all()
    assert set((carry.limit - carry.age).tolist()) == {2, 4}
    token = carry.puzzles.tokens[changed]
    right = token == before.answers[changed]
    assert torch.equal(carry.puzzles.dead, before.dead | ~right)
    alive = ~before.dead
    assert 0.4 < right[alive].float().mean() < 0.6
    # What is wrong is the likeliest that is.
    first, second = FOUR.vocabulary.first + 1, FOUR.vocabulary.first + 2
    assert ((token == first) | (token == second) | right).all()
    assert carry.finished == carry.judged == 0


def test_without_guesses_every_puzzle_leaves():
    carry, model = _guessing(0.0)
    logits = torch.randn(carry.slots, model.config.seq_len, model.config.outputs)
    for _ in range(2):
        carry.advance(_failed(carry, model, logits), 0.0)
    assert carry.fresh.all()
    assert carry.judged == carry.slots


def test_a_share_of_them_goes_on_and_one_without_an_empty_cell_does_not():
    carry, model = _guessing(0.5)
    logits = torch.randn(carry.slots, model.config.seq_len, model.config.outputs)
    tokens = carry.puzzles.tokens.clone()
    tokens[:100] = carry.puzzles.answers[:100]
    carry.puzzles = carry.puzzles._replace(tokens=tokens)
    for _ in range(2):
        carry.advance(_failed(carry, model, logits), 0.0)
    assert carry.fresh[:100].all()
    assert 0.35 < carry.fresh[100:].float().mean() < 0.65


def test_guesses_are_refused_where_nothing_learns_from_them():
    for wrong in ({"dead_ends": 0}, {"refill": "halting"}, {"scheme": "last-step"}):
        with pytest.raises(ValueError, match=r"guesses are for scheme 'deep'"):
            Objective(**{"dead_ends": 0.2, "guesses": 0.5, **wrong})


def test_a_model_learns_from_guesses():
    options = ("objective.dead_ends=0.3", "objective.guesses=0.5")
    run = Run.start(load_recipe("sudoku-4x4", options), torch.device("cpu"))
    losses = [train_step(run).loss for _ in range(30)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


@pytest.mark.parametrize("name", ["sudoku", "sudoku-x", "jigsaw"])
def test_examples_have_the_peers_that_the_domain_names(name: str):
    domain = get_domain(name)
    config = load_recipe("sudoku").spec().model
    tasks = [domain.generate(np.random.default_rng(seed)) for seed in range(2)]
    expected = np.stack([domain.peers(task) for task in tasks])
    examples = domain.examples(2, 0)
    if name == "jigsaw":  # each with its own regions
        groups = [domain.encode(task, 0).groups for task in tasks]
        merged = {key: np.stack([one[key] for one in groups]) for key in groups[0]}
        stated = domain.structure.memberships()
        both = {key: np.repeat(one[None], 2, 0) for key, one in stated.items()} | merged
        examples = examples._replace(groups=both)
    elif domain.structure != config.structure:
        stated = domain.structure.memberships()
        examples = examples._replace(groups={key: one[None] for key, one in stated.items()})
    found = peers_of(examples, config)
    np.testing.assert_array_equal(found, expected)
