"""Checkpoints that travel, and what survives the worst."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from training import state
from training.optim import EMA, make_optimizers
from training.recipe import load_recipe
from training.run import Run, open_run
from training.step import train_step
from trm_sdk.errors import CheckpointError
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import load_model

CPU = torch.device("cpu")
SMALL = ("compile=false", "batch_size=8", "evaluation.puzzles=4", "steps=1000")


def test_five_million_parameters_travel_in_48_mib(tmp_path):
    recipe = load_recipe("sudoku-extreme-1k")
    model = TRM(recipe.spec().model)
    optimizers = make_optimizers(model, recipe.optimizer)
    ema = EMA(model, 0.9)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    for optimizer in optimizers:
        optimizer.step()
    saved = {
        "recipe": recipe.model_dump_json(),
        "step": 1,
        "model": model.state_dict(),
        "ema": ema.weights,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "carry": {"rng": {}, "stream": {}, "tensors": {"y": torch.zeros(768, 97, 16)}},
        "noise": torch.Generator().get_state(),
    }
    path = tmp_path / "run.travel"
    state.save(path, state.pack(saved))
    assert path.stat().st_size < 48 * 2**20
    back = state.unpack(state.load(path))
    for name, weight in saved["model"].items():
        assert torch.equal(weight, back["model"][name])
        assert torch.allclose(saved["ema"][name], back["ema"][name], rtol=0, atol=1e-5)
    for index, moments in saved["optimizers"][0]["state"].items():
        got = back["optimizers"][0]["state"][index]
        m, v = moments["exp_avg"], moments["exp_avg_sq"]
        assert torch.allclose(got["exp_avg"], m, rtol=0, atol=float(m.abs().max()) / 200)
        assert torch.allclose(got["exp_avg_sq"], v, rtol=0.01, atol=0)


def test_a_run_goes_on_from_where_it_has_travelled(tmp_path):
    recipe = load_recipe("sudoku-4x4", SMALL)
    run = Run.start(recipe, CPU)
    losses = [train_step(run)[0] for _ in range(150)]
    here, there = tmp_path / "here" / state.LATEST, tmp_path / "there" / state.LATEST
    run.save(here)
    for arguments in (["export", here, tmp_path / "t"], ["import", tmp_path / "t", there]):
        result = CliRunner().invoke(state.main, [str(one) for one in arguments])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "t").stat().st_size < 0.75 * here.stat().st_size
    resumed = open_run(recipe, there.parent, CPU, fresh=False)
    assert resumed.step == 150
    # Not the puzzles that the run began with.
    assert not torch.equal(
        resumed.carry.puzzles.tokens, Run.start(recipe, CPU).carry.puzzles.tokens
    )
    later = [train_step(resumed)[0] for _ in range(50)]
    early, before, after = (sum(part[:20]) / 20 for part in (losses, losses[130:], later[30:]))
    assert before < 0.8 * early
    assert after < 1.15 * before


def test_arrays_come_back_as_they_were(tmp_path):
    board = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = [
        *(np.array(7, dtype) for dtype in (np.int64, np.uint64, np.float64, bool)),
        *(np.arange(3).astype(dtype) for dtype in (np.uint8, np.int64, np.uint64, bool)),
        np.zeros((0, 3), np.uint64),
        board,
        board.T,
        board[:, ::2],
    ]
    parts = dict.fromkeys(("recipe", "step", "model", "ema", "optimizers", "noise"), 0)
    state.save(tmp_path / state.LATEST, {**parts, "carry": {"arrays": arrays}})
    back = state.load(tmp_path / state.LATEST)["carry"]["arrays"]
    for one, other in zip(arrays, back, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)


def test_a_run_with_families_of_puzzles_goes_on(tmp_path):
    hard = "{kind: generated, hard: true, rating: probing, pool: 8, families: 4, first_rounds: 1}"
    recipe = load_recipe("sudoku-quick", (*SMALL, "micro_batch=8", f"data=[{hard}]"))
    run = Run.start(recipe, CPU)
    train_step(run)
    run.save(tmp_path / state.LATEST)
    resumed = open_run(recipe, tmp_path, CPU, fresh=False)
    assert train_step(resumed) == train_step(run)


def test_a_model_is_read_from_a_checkpoint_in_travelling_form(tmp_path):
    run = Run.start(load_recipe("sudoku-4x4", SMALL), CPU)
    for _ in range(10):  # or the average would be the weights
        train_step(run)
    state.save(tmp_path / "run.travel.pt", state.pack(run.state_dict()))
    _, model = load_model(tmp_path / "run.travel.pt")
    for name, weight in model.state_dict().items():
        average = run.ema.weights[name]
        assert torch.allclose(
            weight, average, rtol=0, atol=2e-3 * float(average.abs().max() + 1e-6)
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda saved: saved["model"].popitem(), "not those of its model"),
        (lambda saved: saved["ema"].update({"network.lm_head.bias": torch.zeros(7)}), "not those"),
        (lambda saved: saved.update(ema=[1, 2]), "no weights by name"),
        (lambda saved: saved.update(model=None), "no weights by name"),
    ],
    ids=["a weight is missing", "another shape", "a list", "nothing"],
)
def test_a_travelling_checkpoint_with_other_averages_is_no_model(change, words, tmp_path):
    saved = state.pack(Run.start(load_recipe("sudoku-4x4", SMALL), CPU).state_dict())
    change(saved)
    torch.save(state._to_tensors(saved), tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "run.pt")


def test_what_is_not_to_be_packed_is_refused(tmp_path):
    run = Run.start(load_recipe("sudoku-4x4", SMALL), CPU)
    train_step(run)
    packed = state.pack(run.state_dict())
    with pytest.raises(CheckpointError, match="already"):
        state.pack(packed)
    with pytest.raises(CheckpointError, match="not in its compact form"):
        state.unpack(run.state_dict())


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_run_loses_no_more_than_the_interval(tmp_path):
    command = [sys.executable, "-m", "training.fit", "sudoku-4x4", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [*command, *SMALL, "steps=1000000", "checkpoint_every=0.2", "evaluation.every=1000"],
        stdout=subprocess.DEVNULL,
    )
    path = tmp_path / state.LATEST
    try:
        steps: list[int] = []
        for _ in range(600):
            if path.exists():
                steps.append(state.load(path)["step"])
                if steps[-1] > steps[0]:
                    break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    recipe = load_recipe("sudoku-4x4", (*SMALL, "steps=1000000"))
    resumed = open_run(recipe, tmp_path, CPU, fresh=False)
    assert resumed.step >= steps[-1] > steps[0]
    assert torch.isfinite(torch.tensor(train_step(resumed)[0]))


@pytest.mark.parametrize("part", ["ema", "carry", "noise"])
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path, part):
    recipe = load_recipe("sudoku-4x4", SMALL)
    saved = Run.start(recipe, CPU).state_dict()
    del saved[part]
    state.save(tmp_path / state.LATEST, saved)
    with pytest.raises(
        CheckpointError, match=f"not a checkpoint of a training run: it lacks {part}$"
    ):
        open_run(recipe, tmp_path, CPU, fresh=False)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("optimizers", []),
        ("ema", {}),
        ("carry", {"rng": 3}),
        ("recipe", "{"),
        ("step", "x"),
        ("step", -1),
        ("seconds", float("nan")),
        ("history", None),
        ("history", [{"step": 1}]),
        ("averages", [0.5, "x", 1.0]),
        ("model", {"x": 1}),
        ("model", {"x": None}),
        ("noise", {"__numpy__": 3}),
        ("noise", {"__numpy__": torch.tensor(0.5), "dtype": "uint64"}),
    ],
)
def test_a_checkpoint_with_a_spoilt_part_is_refused(tmp_path, part, value):
    recipe = load_recipe("sudoku-4x4", SMALL)
    state.save(tmp_path / state.LATEST, {**Run.start(recipe, CPU).state_dict(), part: value})
    with pytest.raises(CheckpointError, match=r"latest\.pt"):
        open_run(recipe, tmp_path, CPU, fresh=False)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / state.LATEST
    Run.start(load_recipe("sudoku-4x4", SMALL), CPU).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"latest\.pt"):
        state.load(path)


def test_a_run_does_not_resume_from_a_compact_checkpoint(tmp_path):
    recipe = load_recipe("sudoku-4x4", SMALL)
    state.save(tmp_path / state.LATEST, state.pack(Run.start(recipe, CPU).state_dict()))
    with pytest.raises(CheckpointError, match=r"`python -m training\.state import`"):
        open_run(recipe, tmp_path, CPU, fresh=False)


def test_a_checkpoint_from_another_kind_of_device_is_gone_on_from(tmp_path):
    """CUDA's generators have a state of 16 bytes."""
    recipe = load_recipe("sudoku-4x4", (*SMALL, "objective.noise=0.1"))
    saved = Run.start(recipe, CPU).state_dict() | {"noise": torch.zeros(16, dtype=torch.uint8)}
    state.save(tmp_path / state.LATEST, saved)
    train_step(open_run(recipe, tmp_path, CPU, fresh=False))


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_where_nothing_can_be_written_is_named(tmp_path, path):
    (tmp_path / "file").mkdir() if path == "file" else (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="can't be written"):
        state.save(tmp_path / path, {})
