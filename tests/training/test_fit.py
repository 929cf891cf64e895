"""The loop: it learns, it resumes to the bit, it stops cleanly, its command line is polite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from torch._inductor.exc import InvalidCxxCompiler

from training import machine, state
from training.fit import fit, main
from training.recipe import load_recipe
from training.run import Run, open_run
from training.step import train_step
from trm_sdk.errors import CheckpointError, ConfigError
from trm_sdk.persistence.checkpoint import load_model

SMALL = (
    "compile=false",
    "batch_size=8",
    "evaluation.puzzles=4",
    "model.hidden_size=8",
    "model.ffn_size=8",
)
CPU = torch.device("cpu")


def _recipe(*overrides: str, name: str = "sudoku-4x4"):
    return load_recipe(name, (*SMALL, *overrides))


def _run(recipe, steps: int, run: Run | None = None) -> tuple[Run, list[float]]:
    run = run or Run.start(recipe, CPU)
    return run, [train_step(run)[0] for _ in range(steps)]


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("objective.noise=0.1", "micro_batch=4", "objective.grad_steps=2"),
        ("optimizer.name=muon", "objective.refill=halting"),
        ("data=[{kind: generated, hard: true}]",),
        (
            "objective.scheme=last-step",
            "objective.grad_steps=1",
            "objective.min_steps=1",
            "objective.max_steps=3",
            "optimizer.name=adam_atan2",
            "optimizer.clip=null",
            "objective.depth=[{start: 0, H_cycles: 1, L_cycles: 1}, "
            "{start: 0.3, H_cycles: 1, L_cycles: 2}]",
        ),
    ],
)
def test_a_run_goes_on_to_the_bit(tmp_path, overrides):
    recipe = _recipe("steps=20", *overrides)
    whole, losses = _run(recipe, 20)
    half, first = _run(recipe, 10)
    state.save(tmp_path / state.LATEST, half.state_dict())
    resumed = open_run(recipe, tmp_path, CPU, fresh=False)
    resumed, second = _run(recipe, 10, resumed)
    assert first + second == losses
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
        assert torch.equal(whole.ema.weights[name], resumed.ema.weights[name]), name


def test_micro_batches_add_up_to_the_whole():
    losses = _run(_recipe("steps=5"), 5)[1]
    same = _run(_recipe("steps=5", "micro_batch=2"), 5)[1]
    assert same == pytest.approx(losses, rel=1e-4)


def test_it_learns_4x4_and_leaves_a_model_folder(tmp_path):
    recipe = load_recipe("sudoku-4x4", ("compile=false", "steps=200", "evaluation.puzzles=6"))
    result = CliRunner().invoke(
        main, [*_arguments(recipe, tmp_path), "steps=200", "compile=false", "evaluation.puzzles=6"]
    )
    assert result.exit_code == 0, result.output
    spec, _ = load_model(tmp_path / "model")
    assert spec.domain == "sudoku-4x4"
    assert spec.notes["accuracy"]["minimal/verified"] > 0.8
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 200
    assert 0 < log[-1]["utilisation"] < 1
    page = (tmp_path / "report.md").read_text()
    for picture in ("curves", "steps", "difficulty", "solved"):
        assert f"(report/{picture}.png)" in page
        assert (tmp_path / "report" / f"{picture}.png").stat().st_size > 5000
    assert list((tmp_path / "tensorboard").glob("events*"))


def _arguments(recipe, out) -> list[str]:
    return [recipe.name, "--out", str(out), "--device", "cpu"]


def test_a_time_budget_stops_with_a_checkpoint_that_goes_on(tmp_path):
    recipe = _recipe("steps=100000")
    run = Run.start(recipe, CPU)
    assert not fit(run, tmp_path, Console(quiet=True), time_budget=1.0)
    again = open_run(recipe, tmp_path, CPU, fresh=False)
    assert again.step == run.step > 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupt_stops_with_a_checkpoint(tmp_path):
    command = [sys.executable, "-m", "training.fit", *_arguments(_recipe(), tmp_path), *SMALL]
    process = subprocess.Popen(
        [*command, "steps=1000000", "evaluation.every=0.5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        log = tmp_path / "log.jsonl"
        for _ in range(600):
            if log.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert b"goes on from here" in output
    assert state.load(tmp_path / state.LATEST)["step"] > 0


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run, _ = _run(_recipe(), 1)
    state.save(tmp_path / state.LATEST, run.state_dict())
    for other, named in (
        ("model.hidden_size=16", r"model\.hidden_size=8, the recipe says 16;"),
        ("optimizer.name=muon", r"optimizer\.name='adamw', the recipe says 'muon'"),
        ("objective.scheme=last-step", r"objective\.scheme"),
        ("batch_size=4", "batch_size=8, the recipe says 4; use --new-data"),
    ):
        with pytest.raises(ConfigError, match=named):
            open_run(_recipe(other), tmp_path, CPU, fresh=False)
    assert open_run(_recipe("model.hidden_size=16"), tmp_path, CPU, fresh=True).step == 0


def test_settings_of_the_optimiser_may_change_on_the_way(tmp_path):
    run, _ = _run(_recipe(), 1)
    run.save(tmp_path / state.LATEST)
    other = _recipe("optimizer.weight_decay=0.5", "optimizer.betas=[0.8, 0.7]", "optimizer.lr=1e-5")
    resumed = open_run(other, tmp_path, CPU, fresh=False)
    for group in resumed.optimizers[0].param_groups:
        assert group["betas"] == (0.8, 0.7)
        assert group["peak"] == 1e-5
    assert {g["weight_decay"] for g in resumed.optimizers[0].param_groups} >= {0.5}


def test_a_run_goes_on_with_new_data(tmp_path):
    run, _ = _run(_recipe(), 3)
    state.save(tmp_path / state.LATEST, run.state_dict())
    other = "data=[{kind: generated, clues_added: [1, 2]}]"
    with pytest.raises(ConfigError, match="--new-data"):
        open_run(_recipe(other), tmp_path, CPU, fresh=False)
    resumed = open_run(_recipe(other), tmp_path, CPU, fresh=False, new_data=True)
    assert resumed.step == 3
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert resumed.carry.fresh.all()
    train_step(resumed)
    # The same sources, but not the puzzles that the run began with; and those of its time.
    again = open_run(_recipe(), tmp_path, CPU, fresh=False, new_data=True)
    assert not torch.equal(
        again.carry.puzzles.tokens, Run.start(_recipe(), CPU).carry.puzzles.tokens
    )
    early, late = (
        "{kind: generated, end: 0.3}",
        "{kind: generated, start: 0.3, clues_added: [9, 9]}",
    )
    timed = _recipe(f"data=[{early}, {late}]", "steps=6")
    givens = (
        open_run(timed, tmp_path, CPU, fresh=False, new_data=True).carry.puzzles.tokens > 1
    ).sum(1)
    assert givens.min() > 11
    with pytest.raises(ConfigError, match="there is none at"):
        open_run(_recipe(other), tmp_path / "empty", CPU, fresh=False, new_data=True)


def test_a_corrupt_checkpoint_is_named(tmp_path):
    (tmp_path / state.LATEST).write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"latest\.pt"):
        open_run(_recipe(), tmp_path, CPU, fresh=False)


def test_a_diverging_run_stops_with_advice(tmp_path):
    run = Run.start(_recipe("optimizer.clip=1e30", "optimizer.warmup=0"), CPU)
    with torch.no_grad():
        run.model.network.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"lower optimizer\.lr"):
        fit(run, tmp_path, Console(quiet=True))
    assert not (tmp_path / state.LATEST).exists()


def test_the_log_of_a_run_that_goes_on_is_its_own(tmp_path):
    """Without what a killed process logged and never saved; with averages that go on."""
    recipe = _recipe("steps=6", "evaluation.every=1e-9", "checkpoint_every=1e9")
    short = _recipe("steps=3", "evaluation.every=1e-9")
    log = tmp_path / "log.jsonl"
    run = Run.start(short, CPU)
    fit(run, tmp_path, Console(quiet=True))
    with log.open("a") as file:
        file.write('{"step": 99}\n')
    resumed = open_run(recipe, tmp_path, CPU, fresh=False)
    assert resumed.averages == run.averages
    fit(resumed, tmp_path, Console(quiet=True))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert "NaN" not in log.read_text()
    fit(Run.start(short, CPU), tmp_path, Console(quiet=True))
    assert len(log.read_text().splitlines()) == 3


def test_the_command_line_answers_bad_input_in_one_line():
    for arguments in (
        ["no-such"],
        ["sudoku", "steps=-1"],
        ["sudoku", "--time-budget", "soon"],
        ["sudoku", "--device", "gpu"],
        ["sudoku", "--fresh", "--new-data"],
        ["sudoku-4x4", "--out", "/dev/null/x"],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
        assert result.output.count("\n") == 1
    dry = CliRunner().invoke(main, ["sudoku", "--dry-run"])
    assert dry.exit_code == 0
    assert "parameters" in dry.output
    assert "GFLOP" in dry.output
    assert "MiB optimiser" in dry.output


def test_without_a_compiler_a_run_trains_uncompiled_and_says_so(monkeypatch, tmp_path):
    def missing() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    arguments = [*_arguments(_recipe(), tmp_path), *SMALL[1:], "steps=2", "compile=true"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "not compiled, which is several times slower: no C++ compiler is found; install g++" in (
        " ".join(done.output.split())
    )
    assert (tmp_path / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("x.cpp:3: fatal error: Python.h: No such file", "Python's headers are not found"),
        ("disk quota exceeded\nand more", "torch.compile fails here: disk quota exceeded"),
    ],
)
def test_whatever_keeps_a_run_from_being_compiled_is_one_sentence(monkeypatch, raised, said):
    def broken(*args, **kwargs):
        raise RuntimeError(raised)

    monkeypatch.setattr("torch.compile", broken)
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", lambda: "g++")
    problem = machine.why_not_compile(CPU)
    assert problem is not None
    assert problem.startswith(said)
    assert "\n" not in problem


def test_a_run_in_a_thread_trains(tmp_path):
    """Python lets no thread but the main one handle signals."""
    failed = []

    def train() -> None:
        try:
            fit(Run.start(_recipe("steps=2"), CPU), tmp_path, Console(quiet=True))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert not failed
    assert (tmp_path / "latest.pt").is_file()


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """A bad update after a good one: the checkpoint before it stays, and can be gone on from."""
    run = Run.start(_recipe("steps=100"), CPU)
    train_step(run)
    run.save(tmp_path / "latest.pt")
    before = (tmp_path / "latest.pt").read_bytes()
    with torch.no_grad():
        next(run.model.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(ConfigError, match=r"not finite at step 1: .* lower optimizer\.lr .* stays"):
        run.save(tmp_path / "latest.pt")
    assert (tmp_path / "latest.pt").read_bytes() == before
    assert open_run(run.recipe, tmp_path, CPU, fresh=False).step == 1


def test_a_damaged_checkpoint_has_one_before_it(tmp_path):
    run, path = Run.start(_recipe("steps=100"), CPU), tmp_path / "latest.pt"
    for _ in range(2):
        train_step(run)
        run.save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"before it is previous\.pt: copy it") as refused:
        open_run(run.recipe, tmp_path, CPU, fresh=False)
    assert "--fresh" not in str(refused.value)
    path.write_bytes((tmp_path / "previous.pt").read_bytes())
    assert open_run(run.recipe, tmp_path, CPU, fresh=False).step == 1


def test_resume_needs_something_to_resume(tmp_path):
    recipe, arguments = _recipe("steps=2"), _arguments(_recipe("steps=2"), tmp_path)
    refused = CliRunner().invoke(main, [*arguments, *SMALL, "steps=2", "--resume"])
    assert refused.exit_code == 2
    assert "--resume goes on from a checkpoint, and there is none at" in " ".join(
        refused.output.split()
    )
    run = Run.start(recipe, CPU)
    train_step(run)
    run.save(tmp_path / "latest.pt")
    went_on = CliRunner().invoke(main, [*arguments, *SMALL, "steps=2", "--resume"])
    assert went_on.exit_code == 0, went_on.output
    assert "going on from step 1" in went_on.output
    both = CliRunner().invoke(main, [*arguments, *SMALL, "--resume", "--fresh"])
    assert "--fresh starts over and --resume resumes" in both.output
