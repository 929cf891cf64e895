"""Training on a GPU does what training on the CPU does. Skipped where there is no GPU."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from training import evaluate, machine, state
from training.distributed import World
from training.fit import fit, main, measure_sets
from training.recipe import Recipe, load_recipe
from training.run import Run, open_run
from training.step import StepFigures, train_step
from trm_sdk import Solver
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.runtimes.torch import TorchRuntime

TESTS = Path(__file__).parents[1]
for folder in ("training", "trm_sdk", "trm_sdk/domains/arc"):
    sys.path.insert(0, str(TESTS / folder))
import reference_runs  # noqa: E402
from arc_tasks import EVALUATION, TRAINING, write  # noqa: E402
from small_models import make_puzzles, text_of  # noqa: E402

DEVICE = "cuda"
GPU, CPU = torch.device(DEVICE), torch.device("cpu")
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.filterwarnings("error::RuntimeWarning"),
]

SMALL = ("compile=false", "batch_size=16", "evaluation.puzzles=4", "steps=100")


def four(*overrides: str) -> Recipe:
    return load_recipe("sudoku-4x4", (*SMALL, *overrides))


def sudoku(*overrides: str) -> Recipe:
    """Groups by messages, of Sudoku and of jigsaws; dead ends; no noise unless it is asked for."""
    data = [{"kind": "generated"}, {"kind": "generated", "domain": "jigsaw"}]
    quiet = ("objective.noise=0", "objective.random_start=0", "optimizer.name=adamw")
    cheap = (
        "batch_size=8",
        "micro_batch=4",
        "evaluation.sets={minimal: [0, 0]}",
        f"data={json.dumps(data)}",
    )
    return load_recipe("sudoku", (*SMALL, *cheap, *quiet, *overrides))


def maze(*overrides: str) -> Recipe:
    """Targets in time, a head, and boards that grow after the second step."""
    data = [
        {"kind": "generated", "rows": 7, "end": 0.02},
        {"kind": "generated", "rows": 9, "start": 0.02},
    ]
    cheap = ("batch_size=8", "evaluation.sets={small: {rows: 9}}", f"data={json.dumps(data)}")
    return load_recipe("maze", (*SMALL, *cheap, "evaluation.steps=4", *overrides))


def arc(folder: Path, *overrides: str) -> Recipe:
    """A puzzle embedding with sparse gradients, attention, adam_atan2 and stablemax."""
    paths = {
        subset: write(folder / f"arc-agi_{subset}_challenges.json", data)
        for subset, data in (("training", TRAINING), ("evaluation", EVALUATION))
    }
    subsets = [{"path": str(paths["training"])}]
    subsets.append({"path": str(paths["evaluation"]), "evaluation": True})  # type: ignore[dict-item]
    source = {"kind": "dataset", "subsets": subsets, "augmentations": 3}
    cheap = ("compile=false", "batch_size=4", "steps=6", "optimizer.warmup=1")
    data = f"data={json.dumps([source])}"
    return load_recipe("arc-1", (*reference_runs.SMALL, *cheap, data, *overrides))


def steps(run: Run, n: int) -> list[StepFigures]:
    return [train_step(run) for _ in range(n)]


def assert_same_start(recipe: Recipe, n: int = 4, tolerance: float = 2e-3) -> Run:
    """The first steps of a recipe have the CPU's losses, shares of right cells and gradient norms.

    Later ones need not: puzzles leave when they are solved, and rounding may turn that.
    """
    run = Run.start(recipe, GPU)
    found, expected = steps(run, n), steps(Run.start(recipe, CPU), n)
    print([one.loss for one in found], [one.loss for one in expected])
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=tolerance)
        assert one.norm == pytest.approx(other.norm, rel=20 * tolerance)
        assert one.cells == pytest.approx(other.cells, abs=0.05)
    assert {p.device.type for p in run.model.parameters()} == {DEVICE}
    return run


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optimizer.name=adam_atan2", "objective.loss=stablemax", "objective.cells=all"),
        ("optimizer.name=muon", "objective.refill=halting"),
        ("objective.dead_ends=0.5", "micro_batch=4"),
        (
            "objective.scheme=last-step",
            "objective.min_steps=2",
            "objective.max_steps=3",
            "optimizer.clip=null",
        ),
        ("model.mixer=mlp_t", "model.ffn_size=null", "model.hidden_size=32"),
        ("model.mixer=attention", "model.ffn_size=null", "model.num_heads=2"),
    ],
    ids=lambda overrides: " ".join(overrides) or "as it is",
)
def test_the_first_steps_are_those_of_the_cpu(overrides: tuple[str, ...]) -> None:
    muon = any("muon" in one for one in overrides)  # which rounds to bfloat16
    assert_same_start(four(*overrides), tolerance=2e-2 if muon else 2e-3)


def test_the_first_steps_of_sudoku_with_groups_and_dead_ends() -> None:
    run = assert_same_start(sudoku())
    assert run.carry.puzzles.groups is not None
    assert run.carry.puzzles.dead is not None


def test_the_first_steps_of_mazes_with_targets_in_time() -> None:
    run = assert_same_start(maze("optimizer.name=adamw"))
    assert run.carry.shape == (9, 9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_steps_of_arc_with_a_puzzle_embedding(tmp_path: Path, precision: str) -> None:
    recipe = arc(tmp_path, f"precision={precision}")
    run = assert_same_start(recipe, 3, tolerance=2e-3 if precision == "float32" else 5e-2)
    table = run.model.network.puzzle_emb
    assert table is not None
    assert table.any()
    # The average has the table itself, not a copy of it.
    (name,) = (one for one in run.ema.weights if one.endswith("puzzle_emb"))
    assert run.ema.weights[name].data_ptr() == table.data_ptr()


@pytest.mark.parametrize("recipe_of", [four, sudoku, maze])
def test_bfloat16_has_float32s_gradients(recipe_of: Any) -> None:
    whole, rounded = (
        train_step(Run.start(recipe_of(f"precision={one}"), GPU)) for one in ("float32", "bfloat16")
    )
    assert rounded.loss == pytest.approx(whole.loss, rel=0.05)
    assert rounded.norm == pytest.approx(whole.norm, rel=0.2)


@pytest.mark.parametrize("recipe_of", [four, sudoku])
def test_noise_and_random_starts_are_drawn_there(recipe_of: Any) -> None:
    recipe = recipe_of("objective.noise=0.1", "objective.random_start=1.0", "optimizer.name=muon")
    one, other = (steps(Run.start(recipe, GPU), 3) for _ in range(2))
    assert all(math.isfinite(value) for figures in one for value in figures)
    assert [a.loss for a in one] == pytest.approx([b.loss for b in other], rel=1e-3)


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from tensors_in(one)


RESUMED = {
    "adamw": lambda folder: four("objective.noise=0.1"),
    "muon": lambda folder: four("optimizer.name=muon"),
    "adam_atan2": lambda folder: four("optimizer.name=adam_atan2"),
    "sudoku": lambda folder: sudoku("optimizer.name=muon"),
    "maze": lambda folder: maze(),
    "arc": arc,
    "bfloat16": lambda folder: four("precision=bfloat16"),
}


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("way", [(GPU, CPU), (CPU, GPU), (GPU, GPU)], ids=str)
def test_a_run_goes_on_on_another_device(
    tmp_path: Path, name: str, way: tuple[torch.device, torch.device]
) -> None:
    recipe = RESUMED[name](tmp_path)
    run = Run.start(recipe, way[0])
    steps(run, 2)
    run.save(tmp_path / state.LATEST)
    # What a machine without a GPU finds in the file.
    assert {one.device.type for one in tensors_in(state.load(tmp_path / state.LATEST))} == {"cpu"}
    there = open_run(recipe, tmp_path, way[1], fresh=False)
    assert there.step == 2
    weights = there.model.state_dict()
    for key, value in run.model.state_dict().items():
        assert weights[key].device.type == way[1].type
        assert torch.equal(value.cpu(), weights[key].cpu()), key
        assert torch.equal(run.ema.weights[key].cpu(), there.ema.weights[key].cpu()), key
    for mine, theirs in zip(run.optimizers, there.optimizers, strict=True):
        before, after = (list(tensors_in(one.state_dict()["state"])) for one in (mine, theirs))
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one.cpu(), other.cpu())
    for one, other in zip(run.carry.puzzles[:4], there.carry.puzzles[:4], strict=True):
        assert torch.equal(one.cpu(), other.cpu())
    assert torch.equal(run.carry.y.cpu(), there.carry.y.cpu())
    if way[0] == way[1]:
        assert torch.equal(run.noise.get_state(), there.noise.get_state())
    found, expected = steps(there, 2), steps(run, 2)
    assert all(math.isfinite(value) for figures in found for value in figures)
    if way[0] == way[1] or not recipe.objective.noise:
        loose = recipe.precision == "bfloat16" or recipe.optimizer.name == "muon"
        assert [one.loss for one in found] == pytest.approx(
            [one.loss for one in expected], rel=5e-2 if loose else 5e-3
        )


WITHOUT = """
import sys
import torch
from pathlib import Path
from training.recipe import parse_recipe
from training.run import open_run
from training.step import train_step
from training import state
from trm_sdk.persistence.checkpoint import load_model

assert not torch.cuda.is_available()
folder = Path(sys.argv[1])
spec, model = load_model(folder / state.LATEST)
assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
import json
recipe = parse_recipe(json.loads(state.load(folder / state.LATEST)["recipe"]), "recipe")
print(train_step(open_run(recipe, folder, torch.device("cpu"), fresh=False)).loss)
"""


def test_a_checkpoint_is_read_where_there_is_no_gpu(tmp_path: Path) -> None:
    run = Run.start(four("objective.noise=0.1"), GPU)
    steps(run, 2)
    run.save(tmp_path / state.LATEST)
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path)],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert math.isfinite(float(done.stdout))


def test_a_run_travels_in_its_compact_form(tmp_path: Path) -> None:
    recipe = four("optimizer.name=muon", "model.hidden_size=64")
    run = Run.start(recipe, GPU)
    steps(run, 3)
    run.save(tmp_path / "here" / state.LATEST)
    there = tmp_path / "there" / state.LATEST
    for arguments in (
        ["export", tmp_path / "here" / state.LATEST, tmp_path / "t"],
        ["import", tmp_path / "t", there],
    ):
        result = CliRunner().invoke(state.main, [str(one) for one in arguments])
        assert result.exit_code == 0, result.output
    resumed = open_run(recipe, there.parent, GPU, fresh=False)
    assert all(math.isfinite(one.loss) for one in steps(resumed, 2))
    state.save(tmp_path / "direct", state.pack(run.state_dict()))  # packed on the GPU itself
    _, model = load_model(tmp_path / "direct")
    for name, value in model.state_dict().items():
        assert torch.allclose(value, run.ema.weights[name].cpu(), atol=1e-2)


def test_averaged_weights_are_judged_there_as_on_the_cpu() -> None:
    run = Run.start(four(), GPU)
    steps(run, 20)
    found = measure_sets(run, run.held_out)
    model = run.averaged_model()
    assert {p.device.type for p in model.parameters()} == {DEVICE}
    examples = run.held_out["minimal"]
    steps_of = run.recipe.evaluation.steps
    expected = evaluate.evaluate(model.to("cpu"), examples, run.domain, steps_of)
    assert (found["minimal"].answers == expected.answers).mean() > 0.95
    np.testing.assert_allclose(found["minimal"].last, expected.last, atol=0.26)


def test_trm_fit_trains_there_and_leaves_a_model_for_the_cpu(tmp_path: Path) -> None:
    arguments = ["sudoku-4x4", "--out", str(tmp_path), "--device", DEVICE]
    small = ["compile=false", "steps=250", "evaluation.puzzles=10", "batch_size=64"]
    # As torchrun sets it up for one process.
    alone = {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}
    result = CliRunner().invoke(main, [*arguments, *small], env=alone)
    assert result.exit_code == 0, result.output
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 250
    assert log[-1]["puzzle_steps_per_second"] > 0
    assert 0 < log[-1]["utilisation"] < 1
    spec, model = load_model(tmp_path / "model")
    assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
    assert spec.notes["accuracy"]["minimal/verified"] > 0.7

    unsolved, solutions = make_puzzles(100, seed=5)
    rows = [f"{text_of(a)},{text_of(b)}" for a, b in zip(unsolved, solutions, strict=True)]
    file = tmp_path / "puzzles.csv"
    file.write_text("\n".join(["question,answer", *rows]) + "\n", encoding="utf-8")
    figures = []
    for number, device in enumerate((DEVICE, "cpu")):
        out = tmp_path / str(number)
        command = [str(tmp_path / "model"), str(file), "--device", device, "--out", str(out)]
        judged = CliRunner().invoke(evaluate.main, command)
        assert judged.exit_code == 0, judged.output
        figures.append(json.loads((out / "figures.json").read_text())["figures"])
    assert figures[0] == pytest.approx(figures[1], abs=0.05)
    rounded = CliRunner().invoke(
        evaluate.main,
        [str(tmp_path / "model"), str(file), "--device", DEVICE, "--precision", "bfloat16"],
    )
    assert rounded.exit_code == 0, rounded.output
    solver = Solver.from_pretrained(tmp_path / "model", "torch", "cpu")
    solved = [one.verified for one in solver.solve_many([text_of(row) for row in unsolved])]
    assert sum(map(bool, solved)) > 70


def test_the_peak_of_a_gpu() -> None:
    single, half = (
        machine.matmul_peak(GPU, dtype, 0.05) for dtype in (torch.float32, torch.bfloat16)
    )
    machine.prepare(GPU)
    tf32 = machine.matmul_peak(GPU, torch.float32, 0.05)
    print(f"TFLOP/s: float32 {single / 1e12:.0f}, TF32 {tf32 / 1e12:.0f}, bf16 {half / 1e12:.0f}")
    assert 1e12 < single < half < 1e16
    assert tf32 > 0.9 * single


def test_the_process_alone_is_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    world = World.join(GPU)
    rows = torch.ones(4, device=GPU)
    assert world.gather(rows) is rows
    assert world.sum(rows) is rows
    assert world.agree(3.0, True) == (3.0, True)
    world.leave()


def test_compiled_steps_are_those_of_eager_ones(tmp_path: Path) -> None:
    recipe = four("objective.dead_ends=0.5")
    expected = steps(Run.start(recipe, GPU), 4)
    run = Run.start(four("objective.dead_ends=0.5", "compile=true", "steps=4"), GPU)
    said = io.StringIO()
    assert fit(run, tmp_path, Console(file=said))
    assert "not compiled" not in said.getvalue()
    assert (tmp_path / state.LATEST).is_file()
    run = Run.start(recipe, GPU)
    run.supervision.compiled()
    found = steps(run, 4)
    assert [one.loss for one in found] == pytest.approx([one.loss for one in expected], rel=5e-3)
    eager, fused = (
        TorchRuntime(run.averaged_model(), recipe.spec(run.domain), DEVICE, compile=compile)
        for compile in (False, True)
    )
    tokens = run.held_out["minimal"].tokens[:4]
    logits = []
    for runtime in (eager, fused):
        now = runtime.start(tokens)
        for _ in range(3):
            out = runtime.step(now)
            now = out.state
        logits.append(out.logits)
    np.testing.assert_allclose(logits[1], logits[0], atol=1e-2)
