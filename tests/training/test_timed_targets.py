"""Targets in time, masks, identifiers, and boards of several shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flood import FLOOD

from training import cost, state
from training.data.mixture import make_held_out
from training.evaluate import evaluate
from training.objective import Carry, last_due
from training.recipe import Recipe, load_recipe, parse_recipe
from training.run import Run, open_run
from training.settings import Objective
from training.step import draw_noise, train_step
from trm_sdk.domains import get_domain
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Outcome, Puzzles, Supervision, SupervisionSettings

CPU = torch.device("cpu")


def recipe_of(**changes: object) -> Recipe:
    recipe = {
        "name": "flood",
        "domain": FLOOD.name,
        "model": {"hidden_size": 8, "ffn_size": 8, "L_cycles": 3},
        "objective": {"min_steps": 2, "max_steps": 2},
        "data": [{"end": 0.5}, {"rows": 6, "columns": 5, "start": 0.5}],
        "evaluation": {
            "sets": {"usual": {}, "wide": {"rows": 3, "columns": 9}},
            "puzzles": 2,
            "steps": 3,
        },
        "steps": 8,
        "batch_size": 4,
        "compile": False,
    }
    for section, values in changes.items():
        before = recipe.get(section)
        both = isinstance(before, dict) and isinstance(values, dict)
        recipe[section] = {**before, **values} if both else values
    return parse_recipe(recipe, "flood")


def model_of(recipe: Recipe) -> TRM:
    torch.manual_seed(0)
    model = TRM(recipe.spec().model)
    torch.nn.init.normal_(model.network.q_head.weight)
    return model


def zeros(model: TRM, n: int, board=(4, 4)) -> State:
    shape = (n, *model.config.state_shape_of(board))
    return State(torch.zeros(shape), torch.zeros(shape))


def batch(model: TRM, n: int = 5) -> tuple[Examples, Puzzles]:
    examples = FLOOD.examples(n, 1)
    return examples, Puzzles.of(examples, model.config, FLOOD.targets(examples))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def normalised(losses: np.ndarray, weights: np.ndarray) -> float:
    return float((losses * weights / np.maximum(weights.sum(1, keepdims=True), 1)).sum())


@pytest.mark.parametrize("timing", ["due", "final"])
@pytest.mark.parametrize("before", [0, None])
def test_a_cell_is_asked_for_what_is_due(timing, before):
    model = model_of(recipe_of())
    examples, puzzles = batch(model)
    targets = FLOOD.targets(examples)
    head = targets.heads["wet"]._replace(before=before)
    targets = targets._replace(heads={"wet": head})
    puzzles = Puzzles.of(examples, model.config, targets)
    settings = SupervisionSettings(halting_weight=0, head_weights={"wet": 0.5}, timing=timing)
    passes = torch.tensor([0, 3, 0, 30, 1], dtype=torch.int32)
    outcome = Supervision(model, settings)(
        puzzles, zeros(model, 5), torch.ones(5, dtype=torch.bool), passes
    )

    state, logits, _ = model(puzzles.tokens, model.initial_state(5, (4, 4)))
    wet = model.network.auxiliary(state.y)["wet"].flatten(1, 2).detach().double().numpy()
    logits = log_softmax(logits.flatten(1, 2).detach().double().numpy())
    reached = passes.numpy()[:, None] + 3
    is_wet = (examples.answers == 3).astype(int)  # of the columns "dry" and "wet"
    cells = np.isin(examples.tokens, [1, 3]).astype(float)
    due = (targets.answer_due <= reached) | (timing == "final")
    losses = -np.take_along_axis(logits, is_wet[..., None], -1)[..., 0]
    expected = normalised(losses, cells * targets.answer_weight * due)
    come = (head.due <= reached) | (timing == "final")
    classes = np.where(come, head.classes, 0)
    losses = -np.take_along_axis(log_softmax(wet), classes[..., None], -1)[..., 0]
    asked = head.mask * (come if before is None else 1.0)
    expected += 0.5 * normalised(losses, asked)
    assert not come.all() or timing == "final"
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)


def test_every_step_of_a_stretch_asks_for_more():
    model = model_of(recipe_of())
    _, puzzles = batch(model)
    fresh, none = torch.ones(5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)
    one, two = (Supervision(model, SupervisionSettings(grad_steps=n)) for n in (1, 2))
    first = one(puzzles, zeros(model, 5), fresh)
    second = one(puzzles, first.state, none, torch.full((5,), 3, dtype=torch.int32))
    assert one.passes_per_step == 3
    both = two(puzzles, zeros(model, 5), fresh)
    assert torch.allclose(both.loss, (first.loss + second.loss) / 2, atol=1e-5)


def test_padding_is_neither_in_the_loss_nor_in_being_right():
    model = model_of(recipe_of())
    examples, _ = batch(model)
    with torch.inference_mode():
        tokens = torch.from_numpy(examples.tokens).view(-1, 4, 4)
        _, logits, _ = model(tokens, model.initial_state(5, (4, 4)))
        own = model.answer(tokens, logits).flatten(1).numpy()
    mask = np.ones(examples.tokens.shape, bool)
    mask[:, 3:6] = False
    padded = own.copy()  # right but for padding
    padded[:, 3:6] = np.where(own[:, 3:6] == 3, 1, 3)
    results = []
    for answers in (own, padded):
        puzzles = Puzzles.of(examples._replace(answers=answers, mask=mask), model.config)
        results.append(
            Supervision(model, SupervisionSettings())(
                puzzles, zeros(model, 5), torch.ones(5, dtype=torch.bool)
            )
        )
    assert torch.equal(results[0].loss, results[1].loss)
    assert results[1].solved.all()
    ruleless = type(FLOOD)()
    ruleless.has_rules = False
    whole = examples._replace(answers=padded)
    assert evaluate(model, whole._replace(mask=mask), ruleless, 1).last[0] == 1
    assert evaluate(model, whole, ruleless, 1).last[0] == 0


def test_a_puzzle_stays_until_its_last_target_is_due_and_a_while_longer():
    examples = FLOOD.examples(6, 2, {"rows": 6, "columns": 5})
    targets = FLOOD.targets(examples)
    due = last_due(examples, targets)
    assert due.tolist() == targets.heads["wet"].due.max(1).tolist()
    assert last_due(examples, None).tolist() == [0] * 6
    unasked = targets._replace(heads={}, answer_due=np.full_like(targets.answer_due, 99))
    assert last_due(examples._replace(mask=examples.mask & False), unasked).max() == 0

    run = Run.start(recipe_of(data=[{"rows": 6, "columns": 5}], batch_size=8), CPU)
    puzzles = run.carry.puzzles
    latest = puzzles.targets.heads["wet"].due.amax(1).numpy()
    assert run.carry.limit.tolist() == (np.ceil(latest / 3) + 2).tolist()
    assert len(set(latest)) > 1


class Boards:
    """A stream of one shape."""

    examples = FLOOD.examples(100, 3)

    def shape_at(self, progress):
        return (4, 4)

    def draw(self, n, progress):
        return self.examples.rows(slice(n))


def solved_stays(objective: Objective, n: int = 100) -> np.ndarray:
    """Steps that puzzles stay which are solved from the first step on."""
    model = model_of(recipe_of())
    carry = Carry(model, objective, Boards(), n, 0)
    carry.begin(0.0)
    stays = np.zeros(n, int)
    blank = zeros(model, n)
    for step in range(1, 60):
        always = torch.ones(n, dtype=torch.bool)
        carry.advance(
            Outcome(torch.zeros(()), blank, always, torch.zeros(n), always, torch.empty(0)), 0.0
        )
        stays[(carry.age == 0) & (stays == 0)] = step
    return stays


def test_a_few_solved_puzzles_stay_long():
    usual = solved_stays(Objective(linger=2))
    assert usual.max() <= 3
    some = solved_stays(Objective(linger=2, long_stay=0.25, long_stay_steps=40))
    assert 0.1 < (some > 5).mean() < 0.35
    assert some.max() > 30  # past max_steps, 24
    assert solved_stays(Objective(linger=2, long_stay=1.0, long_stay_steps=0)).max() == 1


def test_noise_and_random_starts_reach_the_share_asked_for():
    run = Run.start(
        recipe_of(
            batch_size=400,
            objective={"noise": 0.5, "noise_share": 0.3, "random_start": 2.0, "grad_steps": 2},
        ),
        CPU,
    )
    noise, start = draw_noise(run)
    assert noise.shape == (2, 400, 4, 4, 1, 8)
    touched = (noise != 0).flatten(2).any(2)
    assert torch.equal(touched[0], touched[1])
    assert 0.2 < touched.float().mean() < 0.4
    assert noise[:, touched[0]].std().item() == pytest.approx(0.5, rel=0.05)
    assert start.std().item() == pytest.approx(2.0, rel=0.05)


def test_a_random_start_moves_fresh_rows_alone():
    model = model_of(recipe_of())
    _, puzzles = batch(model)
    fresh = torch.tensor([True, False, False, False, True])
    supervision = Supervision(model, SupervisionSettings())
    start = torch.randn(2, 5, *model.config.state_shape_of((4, 4)))
    plain = supervision(puzzles, zeros(model, 5), fresh).state.y
    moved = supervision(puzzles, zeros(model, 5), fresh, start=start).state.y
    assert ((plain != moved).flatten(1).any(1) == fresh).all()


def test_shapes_change_along_the_schedule_and_a_run_goes_on_to_the_bit(tmp_path):
    recipe = recipe_of(objective={"noise": 0.1, "random_start": 0.1, "long_stay": 0.5})
    whole = Run.start(recipe, CPU)
    shapes, losses = [], []
    for _ in range(8):
        losses.append(train_step(whole)[0])
        shapes.append(whole.carry.shape)
    assert shapes == [(4, 4)] * 4 + [(6, 5)] * 4
    assert whole.carry.puzzles.tokens.shape == (4, 6, 5)
    for at in (3, 6):  # before and after the change
        half = Run.start(recipe, CPU)
        for _ in range(at):
            train_step(half)
        half.save(tmp_path / str(at) / state.LATEST)
        resumed = open_run(recipe, tmp_path / str(at), CPU, fresh=False)
        assert [train_step(resumed)[0] for _ in range(8 - at)] == losses[at:]
        for name, weight in whole.model.state_dict().items():
            assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_it_learns_what_spreads_and_is_measured_on_boards_of_other_shapes():
    recipe = recipe_of(
        steps=400,
        batch_size=16,
        model={"hidden_size": 16, "ffn_size": 32},
        objective={"max_steps": 4, "linger": 1, "grad_steps": 2},
        optimizer={
            "name": "muon",
            "muon_lr": 0.01,
            "lr": 3e-3,
            "warmup": 10,
            "schedule": "trapezoid",
            "cooldown": 0.6,
        },
    )
    run = Run.start(recipe, CPU)
    for _ in range(400):
        train_step(run)
    held = make_held_out(recipe, FLOOD)
    assert (held["usual"].shape, held["wide"].shape) == ((4, 4), (3, 9))
    model = run.averaged_model()
    accuracy = {name: evaluate(model, one, FLOOD, 4).last[-1] for name, one in held.items()}
    assert accuracy["usual"] > 0.7  # answering "all is wet": 0.4
    assert accuracy["wide"] > 0.5


def test_what_is_on_the_recipe_decides_the_heads():
    assert recipe_of().spec().model.heads == {"wet": 2}
    for section in ({"objective": {"targets": "off"}}, {"model": {"heads": False}}):
        assert recipe_of(**section).spec().model.heads == {}
    off = Run.start(recipe_of(objective={"targets": "off"}), CPU)
    assert off.carry.puzzles.targets is None
    alone = Run.start(recipe_of(model={"heads": False}), CPU)
    assert alone.carry.puzzles.targets.heads == {}
    train_step(off), train_step(alone)
    weighted = recipe_of(objective={"head_weight": {"wet": 3}}).objective
    assert weighted.supervision(["wet"]).head_weights == {"wet": 3}
    assert recipe_of(objective={"head_weight": 2}).objective.supervision(["wet"]).head_weights == {
        "wet": 2
    }


def test_a_head_without_targets_is_named():
    model = model_of(recipe_of())
    examples = FLOOD.examples(1, 1)
    with pytest.raises(InvalidInputError, match=r"the model has the head 'wet'"):
        Puzzles.of(examples, model.config, FLOOD.targets(examples)._replace(heads={}))


def test_sources_of_two_shapes_at_one_time_are_named():
    small, large = {"end": 0.6}, {"rows": 6, "columns": 5, "start": 0.5}
    with pytest.raises(
        ConfigError, match=r"data\.0 has boards of 4x4 and data\.1 of 6x5, both between 50% and 60%"
    ):
        recipe_of(data=[small, large])
    fixed = {"mixer": "attention", "num_heads": 2}
    with pytest.raises(ConfigError, match=r"data\.1 has boards of 6x5, .* takes only 4x4"):
        recipe_of(model=fixed)
    with pytest.raises(ConfigError, match=r"evaluation\.sets\.wide has boards of 3x9"):
        recipe_of(model=fixed, data=[{}])


def test_work_and_memory_grow_with_the_boards():
    small, large = (recipe_of(data=[{"rows": side, "columns": side}]) for side in (4, 8))
    assert cost.mean_step(large) == pytest.approx(4 * cost.mean_step(small))
    assert cost.mean_cells(recipe_of(), FLOOD) == (16 + 30) / 2
    kept = "activations, at most"
    assert cost.memory(large)[kept] > 3 * cost.memory(small)[kept]


def test_puzzle_embeddings_are_told_whose_puzzle_it_is():
    small = ("hidden_size=16", "puzzle_emb_ndim=16", "puzzle_emb_len=2", "H_cycles=1")
    overrides = ("domain=sudoku-4x4", *(f"model.{one}" for one in small))
    recipe = load_recipe("sudoku-extreme-1k", overrides)
    config = recipe.spec().model.model_copy(update={"num_puzzle_identifiers": 4})
    torch.manual_seed(0)
    model = TRM(config)
    torch.nn.init.normal_(model.network.puzzle_emb, std=3)
    four = get_domain("sudoku-4x4")
    examples = four.examples(3, 1)
    named = examples._replace(identifiers=np.array([0, 2, 3], np.int32))
    fresh = torch.ones(3, dtype=torch.bool)
    state = model.initial_state(3)
    supervision = Supervision(model, SupervisionSettings(cells="all"))
    supervision(Puzzles.of(named, config), state, fresh).loss.backward()
    used = model.network.puzzle_emb.grad.abs().sum(1) > 0
    assert used.tolist() == [True, False, True, True]
    blank, told = (evaluate(model, one, four, 1).answers for one in (examples, named))
    same = (blank == told).all(1)
    assert same[0]
    assert not same.all()


@pytest.mark.parametrize("name", ["sudoku-4x4", "flood"])
def test_a_supervision_step_is_one_graph_for_the_compiler(name):
    noises = {"noise": 0.1, "random_start": 0.1}
    plain = ("compile=false", "evaluation.puzzles=1", "batch_size=4", "objective.noise=0.1")
    recipe = recipe_of(objective=noises) if name == "flood" else load_recipe(name, plain)
    losses = []
    for traced in (False, True):
        run = Run.start(recipe, CPU)
        if traced:  # as `Supervision.compiled`, but for the code that is generated
            run.supervision.compile(fullgraph=True, dynamic=False, backend="eager")
        losses.append([train_step(run).loss for _ in range(6)])  # flood: two shapes
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
