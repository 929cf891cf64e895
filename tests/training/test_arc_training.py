"""ARC in the reference's way: recipe, data, objective, resuming, evaluation, import, export."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_runs
import torch
from click.testing import CliRunner
from reference_runs import reference_run
from rich.console import Console
from torch import Tensor

from training.data.mixture import make_stream
from training.evaluate import judge, main
from training.fit import fit
from training.optim import EMA, SparseSignSGD
from training.recipe import Recipe, load_recipe
from training.run import Run, open_run
from training.state import LATEST
from training.step import train_step
from trm_sdk import Solver
from trm_sdk.domains.arc import Arc
from trm_sdk.domains.arc.augment import split_name
from trm_sdk.domains.arc.canvas import PAD, decode
from trm_sdk.domains.arc.score import Votes
from trm_sdk.domains.arc.tasks import read_tasks
from trm_sdk.errors import CheckpointError, ConfigError, InvalidInputError
from trm_sdk.model.recursion import TRM
from trm_sdk.model.supervision import Puzzles, Supervision
from trm_sdk.persistence.checkpoint import load_model, save_model

sys.path.insert(0, str(Path(__file__).parents[1] / "trm_sdk" / "domains" / "arc"))
from arc_tasks import EVALUATION, TRAINING, shared, tasks, write

CPU = torch.device("cpu")
SMALL = (
    *reference_runs.SMALL,
    "compile=false",
    "batch_size=4",
    "steps=6",
    "optimizer.warmup=1",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Kaggle's files of a few tasks."""
    for subset, data in (("training", TRAINING), ("evaluation", EVALUATION)):
        write(tmp_path / f"arc-agi_{subset}_challenges.json", data)
    return tmp_path


def data_of(tasks_in: Path, **options: Any) -> str:
    subsets = [
        {"path": str(tasks_in / "arc-agi_training_challenges.json")},
        {"path": str(tasks_in / "arc-agi_evaluation_challenges.json"), "evaluation": True},
    ]
    source = {"kind": "dataset", "subsets": subsets, "augmentations": 3, **options}
    return f"data={json.dumps([source])}"


def recipe_of(tasks_in: Path, *overrides: str, **options: Any) -> Recipe:
    return load_recipe("arc-1", (*SMALL, data_of(tasks_in, **options), *overrides))


def weights_of(run: Run) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


@pytest.mark.parametrize(("name", "steps"), [("arc-1", 518_071), ("arc-2", 723_914)])
def test_the_recipes_state_the_references_numbers(name: str, steps: int) -> None:
    recipe = load_recipe(name)
    model, optimizer, objective = recipe.model, recipe.optimizer, recipe.objective
    assert (model.mixer, model.positions, model.hidden_size, model.num_heads) == (
        "attention", "rope", 512, 8,
    )  # fmt: skip
    assert (model.L_layers, model.H_cycles, model.L_cycles, model.expansion) == (2, 3, 4, 4)
    assert (model.puzzle_emb_ndim, model.puzzle_emb_len) == (512, 16)
    assert (optimizer.name, optimizer.lr, optimizer.betas) == ("adam_atan2", 1e-4, (0.9, 0.95))
    assert (optimizer.weight_decay, optimizer.puzzle_weight_decay) == (0.1, 0.1)
    assert (optimizer.puzzle_lr, optimizer.warmup, optimizer.clip) == (1e-2, 2000, None)
    assert (optimizer.schedule, optimizer.ema, optimizer.ema_warmup) == ("constant", 0.999, False)
    assert (objective.loss, objective.cells, objective.halting_weight) == ("stablemax", "all", 0.5)
    assert (objective.refill, objective.exploration, objective.max_steps) == ("halting", 0.1, 16)
    assert (recipe.batch_size, recipe.steps, recipe.seed) == (768, steps, 0)
    (data,) = recipe.data
    assert (data.options["augmentations"], data.options["build_seed"]) == (1000, 42)
    assert [one.get("evaluation", False) for one in data.options["subsets"]] == [False, True, False]
    parameters = sum(p.numel() for p in TRM(recipe.spec().model).parameters())
    assert 6_800_000 < parameters < 6_900_000  # and 512 for each augmentation


def test_the_model_has_a_row_for_each_augmentation_and_the_blank_one(folder: Path) -> None:
    run = Run.start(recipe_of(folder), CPU)
    names = run.domain.names
    assert names[0] == "<blank>"
    assert {*TRAINING, *EVALUATION} <= set(names)
    assert run.model.network.puzzle_emb.shape == (len(names), 8)
    assert not run.model.network.puzzle_emb.any()
    assert len(set(names)) == len(names) == 1 + 5 * 4


def pairs_drawn(recipe: Recipe, draws: int) -> tuple[set[Any], set[Any]]:
    """Pairs that training has seen, turned back, as (name, input, output); and by identifier."""
    domain = recipe.trained_domain()
    stream = make_stream(recipe, domain, {}, 0)
    seen = set()
    identifiers = set()
    for _ in range(draws):
        examples = stream.draw(16, 0.0)
        for tokens, answers, identifier in zip(
            examples.tokens, examples.answers, examples.identifiers.tolist(), strict=True
        ):
            base, augmentation = split_name(domain.names[identifier])
            back = augmentation.inverse()
            pair = [back.apply(_moved_back(one, tokens, answers)) for one in (tokens, answers)]
            seen.add((base, *pair))
            identifiers.add(identifier)
    return seen, identifiers


def _moved_back(canvas: Any, *both: Any) -> Any:
    """The grid on a canvas, wherever input and output were placed together."""
    board = canvas.reshape(30, 30)
    rows = [np.flatnonzero((one.reshape(30, 30) != PAD).any(1))[0] for one in both]
    columns = [np.flatnonzero((one.reshape(30, 30) != PAD).any(0))[0] for one in both]
    rolled = np.roll(board, (-min(rows), -min(columns)), (0, 1))
    grid = decode(rolled.reshape(-1))
    assert grid is not None
    return grid


def test_test_pairs_of_evaluation_tasks_are_never_trained_on(folder: Path) -> None:
    seen, identifiers = pairs_drawn(recipe_of(folder), 60)
    held = {
        (task.name, grid, answer)
        for task in tasks(EVALUATION)
        for grid, answer in zip(task.inputs, task.answers or (), strict=True)
    }
    assert not held & seen
    assert not {answer for _, _, answer in held if answer.cells.size > 1} & {
        out for _, _, out in seen
    }
    # Everything else is: demonstrations of both, and the test pairs of training tasks.
    wanted = {
        (t.name, *pair) for t in tasks({**TRAINING, **EVALUATION}) for pair in t.demonstrations
    }
    wanted |= {
        (task.name, grid, answer)
        for task in tasks(TRAINING)
        for grid, answer in zip(task.inputs, task.answers or (), strict=True)
    }
    assert seen == wanted
    assert 0 not in identifiers


def test_real_test_pairs_are_never_trained_on(tmp_path: Path) -> None:
    chosen = {"training": shared("training")[:10], "evaluation": shared("evaluation")[:10]}
    for subset, some in chosen.items():
        write(
            tmp_path / f"arc-agi_{subset}_challenges.json",
            {
                task.name: {
                    "test": _json(zip(task.inputs, task.answers or (), strict=True)),
                    "train": _json(task.demonstrations),
                }
                for task in some
            },
        )
    seen, _ = pairs_drawn(recipe_of(tmp_path, augmentations=2), 60)
    answers = {(task.name, one) for task in chosen["evaluation"] for one in task.answers or ()}
    demonstrated = {(t.name, after) for t in chosen["evaluation"] for _, after in t.demonstrations}
    assert not (answers - demonstrated) & {(name, out) for name, _, out in seen}
    assert len({name for name, _, _ in seen}) == 20


def _json(pairs: Any) -> list[dict[str, Any]]:
    return [{"input": one.tolist(), "output": other.tolist()} for one, other in pairs]


def test_the_loss_is_the_references_and_padding_has_no_part_in_it(folder: Path) -> None:
    recipe = recipe_of(folder)
    run = Run.start(recipe, CPU)
    torch.nn.init.normal_(run.model.network.q_head.weight)
    torch.nn.init.normal_(run.model.network.puzzle_emb)
    examples = run.carry.stream.draw(6, 0.0)
    puzzles = Puzzles.of(examples, run.model.config)
    start = run.model.initial_state(6)
    with torch.no_grad():
        _, logits, halt = run.model(puzzles.tokens, start, puzzles.identifiers)
    # So that one answer is right wherever it is asked, and wrong where it is padding.
    best = logits[2].argmax(-1).int()
    puzzles.answers[2] = torch.where(puzzles.mask[2], best.clamp(min=1), 0)
    logits = logits.double().numpy()
    labels = puzzles.answers.numpy()
    s = np.where(logits < 0, 1 / (1 - logits), logits + 1)
    log_p = np.take_along_axis(np.log(s / s.sum(-1, keepdims=True)), labels[..., None], -1)[..., 0]
    asked = labels != PAD
    lm_loss = sum((-log_p[row][asked[row]]).mean() for row in range(6))
    right = ((logits.argmax(-1) == labels) | ~asked).all(1)
    p = 1 / (1 + np.exp(-halt.double().numpy()))
    q_loss = -np.where(right, np.log(p), np.log(1 - p)).sum()
    supervision = Supervision(run.model, recipe.objective.supervision())
    outcome = supervision(puzzles, start, torch.ones(6, dtype=torch.bool))
    assert outcome.loss.item() == pytest.approx(lm_loss + 0.5 * q_loss, rel=1e-5)
    assert outcome.solved.numpy().tolist() == right.tolist()
    assert not asked.all()


def test_only_rows_of_puzzles_at_hand_move_by_the_rate_and_are_not_averaged(folder: Path) -> None:
    recipe = recipe_of(folder, "optimizer.puzzle_lr=0.01", "optimizer.warmup=0")
    run = Run.start(recipe, CPU)
    table = run.model.network.puzzle_emb
    at_hand = run.carry.puzzles.identifiers.unique()
    train_step(run)
    moved = (table != 0).any(1).nonzero().flatten()
    assert set(moved.tolist()) <= set(at_hand.tolist())
    assert len(moved)
    steps = table[moved].abs()
    assert torch.all((steps - 0.01).abs().lt(1e-7) | (steps == 0))
    # The reference evaluates with averaged weights, and with the embedding as it is.
    assert torch.equal(run.ema.weights["network.puzzle_emb"], table)
    assert not torch.equal(
        run.ema.weights["network.lm_head.weight"], run.model.network.lm_head.weight
    )
    assert isinstance(run.optimizers[1], SparseSignSGD)
    assert isinstance(run.ema, EMA)


def test_sparse_gradients_train_as_dense_ones_do(folder: Path) -> None:
    weights = []
    for sparse in (True, False):
        run = Run.start(recipe_of(folder, "micro_batch=2"), CPU)
        run.model.network.sparse_gradient = sparse
        for _ in range(3):
            train_step(run)
        weights.append(weights_of(run))
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-6), name


@pytest.mark.parametrize("options", [{}, {"folder": "build"}])
def test_a_run_that_stopped_goes_on_exactly(folder: Path, options: dict[str, str]) -> None:
    options = {name: str(folder / value) for name, value in options.items()}
    recipe = recipe_of(folder, **options)
    whole = Run.start(recipe, CPU)
    losses = [train_step(whole).loss for _ in range(6)]
    first = Run.start(recipe, CPU)
    begun = [train_step(first).loss for _ in range(3)]
    first.save(folder / LATEST)
    second = open_run(recipe, folder, CPU, fresh=False)
    assert begun + [train_step(second).loss for _ in range(3)] == losses
    for name, value in weights_of(whole).items():
        assert torch.equal(value, second.model.state_dict()[name]), name
        assert torch.equal(whole.ema.weights[name], second.ema.weights[name]), name


def test_other_tasks_under_the_same_rows_are_refused(folder: Path) -> None:
    run = Run.start(recipe_of(folder), CPU)
    run.save(folder / LATEST)
    other = recipe_of(folder, build_seed=7)
    assert len(other.trained_domain().names) == len(run.domain.names)
    with pytest.raises(ConfigError, match="other data"):
        open_run(other, folder, CPU, fresh=False)
    with pytest.raises(CheckpointError, match="knows 21 puzzles by other names"):
        open_run(other, folder, CPU, fresh=False, new_data=True)


def test_data_sets_are_for_domains_that_have_them(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no data set format of its own"):
        Run.start(load_recipe("sudoku-4x4", ("data=[{kind: dataset}]", "compile=false")), CPU)
    generated = data_of(folder).replace("dataset", "generated")
    recipe = load_recipe("arc-1", (*SMALL, generated, "evaluation.files={some: some.csv}"))
    with pytest.raises(ConfigError, match="can't be generated; give a data set"):
        make_stream(recipe, Arc(), {}, 0)
    with pytest.raises(ConfigError, match=r"data\.0: unknown key 'subset'; did you mean 'subsets'"):
        load_recipe("arc-1", ("data=[{kind: dataset, subset: []}]",))
    with pytest.raises(InvalidInputError, match="can't be read"):
        Run.start(load_recipe("arc-1", SMALL), CPU)


def test_what_is_held_out_is_measured_and_may_be_nothing(folder: Path, capsys: Any) -> None:
    run = Run.start(recipe_of(folder), CPU)
    assert list(run.final_sets) == ["held-out"]
    assert len(run.final_sets["held-out"].tokens) == 3  # test inputs of two tasks
    assert run.final_sets["held-out"].identifiers.all()
    unanswered = json.loads(json.dumps(EVALUATION))
    for task in unanswered.values():
        for pair in task["test"]:
            del pair["output"]
    write(folder / "arc-agi_evaluation_challenges.json", unanswered)
    run = Run.start(recipe_of(folder, "steps=1"), CPU)
    assert run.final_sets == {}
    (folder / "out").mkdir()
    assert fit(run, folder / "out", Console(quiet=True))


# --- evaluation -----------------------------------------------------------------------------------


@pytest.fixture
def trained(folder: Path) -> Run:
    run = Run.start(recipe_of(folder), CPU)
    train_step(run)
    return run


def test_a_checkpoint_is_evaluated_by_votes_that_do_not_pile_up(folder: Path, trained: Run) -> None:
    held = read_tasks(folder / "arc-agi_evaluation_challenges.json")
    model = trained.averaged_model().eval()
    figures = []
    for _ in range(2):  # two checkpoints
        evaluation = trained.domain.evaluation(held)
        figures.append(judge(model, evaluation, 2, 5))
        counts = [
            sum(one.votes for one in evaluation.votes.ranking(task.name, index))
            for task in held
            for index in range(len(task.inputs))
        ]
        assert counts == [4, 4, 4]  # one a test input for the task itself and each augmentation
    assert figures[0] == figures[1]
    assert figures[0]["votes"] == 12
    with pytest.raises(InvalidInputError, match="has voted on this test input already"):
        judge(model, evaluation, 2, 5)


def test_figures_are_those_of_the_votes_by_hand(folder: Path, trained: Run) -> None:
    held = read_tasks(folder / "arc-agi_evaluation_challenges.json")
    domain = trained.domain
    evaluation = domain.evaluation(held, {"pass_at": [1, 2]})
    votes = Votes(held, domain.names)
    for number, examples in enumerate(evaluation.batches(4)):
        answers = examples.answers.copy()
        if number:  # later rows copy their input
            answers = examples.tokens.copy()
        halt = np.linspace(-2, 2, len(answers))
        evaluation.add(examples, answers, halt)
        votes.add(examples.identifiers, examples.tokens, answers, halt)
    figures, scores = evaluation.figures(), votes.scores((1, 2))
    assert figures["per_input/pass@1"] == scores.per_input[1]
    assert figures["all_inputs/pass@2"] == scores.all_inputs[2]
    assert figures["per_output/pass@2"] == scores.per_output[2]
    assert 0 < figures["per_input/pass@1"] < 1


def test_errors_of_the_evaluation_reach_the_caller(folder: Path, trained: Run) -> None:
    held = read_tasks(folder / "arc-agi_evaluation_challenges.json")
    stranger = tasks({"ff000009": EVALUATION["ee000001"]})
    with pytest.raises(InvalidInputError, match="ff000009 is not among the 21 names"):
        trained.domain.evaluation(stranger)
    with pytest.raises(ConfigError, match="did you mean 'augmentations'"):
        trained.domain.evaluation(held, {"augmentation": 1})
    with pytest.raises(InvalidInputError, match="test inputs have no votes"):
        trained.domain.evaluation(held).figures()


def test_the_command_writes_figures_and_a_submission(folder: Path, trained: Run) -> None:
    trained.save(folder / LATEST)
    files = [str(folder / f"arc-agi_{name}_challenges.json") for name in ("evaluation", "training")]
    arguments = ["--steps", "1", "--out", str(folder / "out"), "--device", "cpu"]
    done = CliRunner().invoke(
        main, [str(folder / LATEST), *files, *arguments, "--set", "augmentations=1"]
    )
    assert done.exit_code == 0, done.output
    figures = json.loads((folder / "out" / "figures.json").read_text())["figures"]
    assert figures["tasks"] == 5
    assert figures["votes"] == 2 * (3 + 4)
    submission = json.loads((folder / "out" / "submission.json").read_text())
    assert list(submission) == [*EVALUATION, *TRAINING]
    assert set(submission["ee000002"][1]) == {"attempt_1", "attempt_2"}
    wrong = CliRunner().invoke(main, [str(folder / LATEST), *files, "--set", "augmentations=x"])
    assert wrong.exit_code == 2
    assert "augmentations" in wrong.output


# --- models: names, import, export ----------------------------------------------------------------


def test_names_travel_with_the_model_in_all_its_forms(folder: Path, trained: Run) -> None:
    names = trained.domain.names
    spec = trained.recipe.spec(trained.domain)
    place = save_model(folder / "model", spec, trained.ema.weights)
    assert tuple(json.loads((place / "identifiers.json").read_text())) == names
    assert "identifiers" not in json.loads((place / "config.json").read_text())
    trained.save(folder / LATEST)
    for path in (place, folder / LATEST):
        found, _ = load_model(path)
        assert found.identifiers == names
        assert found.made_for().names == names
    solver = Solver.from_pretrained(place)
    task = tasks(EVALUATION)[0]
    assert solver.solve(task).steps
    assert (
        solver.solve(
            task, solver.options.model_copy(update={"attempts": 3, "explore": "symmetry"})
        ).grid
        is not None
    )
    with pytest.raises(InvalidInputError, match="a new task needs training"):
        solver.solve([[1, 2]])
    (place / "identifiers.json").write_text(json.dumps(names[:-1]))
    with pytest.raises(CheckpointError, match="has 20 names, and the model's puzzle embedding 21"):
        load_model(place)
    (place / "identifiers.json").write_text("{}")
    with pytest.raises(CheckpointError, match="must hold a JSON list of names"):
        load_model(place)


def randomised(run: Run) -> TRM:
    torch.manual_seed(3)
    torch.nn.init.normal_(run.model.network.puzzle_emb, std=0.5)
    return run.model.eval()


def test_a_reference_checkpoint_imports_evaluates_and_exports(folder: Path, trained: Run) -> None:
    names = list(trained.domain.names)
    path = reference_run(folder / "run", randomised(trained), identifiers=names)
    spec, model = load_model(path)
    assert (spec.domain, spec.identifiers) == ("arc", tuple(names))
    assert spec.model.num_puzzle_identifiers == 21
    assert spec.solve.max_steps == 3
    assert torch.equal(model.network.puzzle_emb, trained.model.network.puzzle_emb)

    held = folder / "arc-agi_evaluation_challenges.json"
    done = CliRunner().invoke(main, [str(path), str(held), "--steps", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "per_input/pass@2" in done.output

    from export.exporter import export_onnx

    for mode in ("step", "loop", "unroll"):
        report = export_onnx(path, folder / f"{mode}.onnx", mode=mode, puzzles=held)
        assert report.puzzles is not None
        assert report.puzzles.answers == report.puzzles.puzzles == 2
    solver = Solver.from_pretrained(folder / "step.onnx")
    assert solver.domain.names == tuple(names)
    # The graph votes as the weights do.
    task = tasks(EVALUATION)[1]
    assert solver.solve(task).answers == Solver.from_pretrained(path).solve(task).answers


def test_a_reference_checkpoint_without_names_says_what_it_lacks(
    folder: Path, trained: Run
) -> None:
    path = reference_run(folder / "run", trained.model)
    spec, _ = load_model(path)
    assert spec.identifiers == ()
    with pytest.raises(InvalidInputError, match="not among the 1 names"):
        spec.made_for().evaluation(tasks(EVALUATION))
    write(folder / "run" / "identifiers.json", ["<blank>", "aa000001"])
    with pytest.raises(CheckpointError, match="has 2 names, and the model's puzzle embedding 21"):
        load_model(path)


def test_a_domain_keeps_its_data_set_for_the_next_question(folder: Path, monkeypatch: Any) -> None:
    from trm_sdk.domains.arc import builder

    built = []
    real = builder.build
    monkeypatch.setattr(builder, "build", lambda *a, **k: built.append(1) or real(*a, **k))
    Run.start(recipe_of(folder), CPU)
    assert len(built) == 1
    assert Arc().names == ("<blank>",)
