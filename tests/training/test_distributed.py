"""Two processes train as one does, and go on from each other's checkpoints."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from reference_runs import SMALL

from training import state
from training.distributed import World, common_name
from training.recipe import load_recipe
from training.run import Run
from training.step import train_step
from trm_sdk.errors import ConfigError

ARGUMENTS = (
    "compile=false",
    "batch_size=8",
    # One process adds up two halves as two processes do. Without it the gradient's last bits
    # differ, and Adam makes of them a difference in the loss of up to 2e-5 within 20 steps.
    "micro_batch=4",
    "steps=20",
    "evaluation.puzzles=3",
    "objective.noise=0.1",
    "evaluation.every=1000",
)

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from training.recipe import load_recipe
from training.distributed import World, common_name
from training.evaluate import evaluate
from training.fit import measure
from training.step import train_step
from training.run import Run
from training import state

torch.set_num_threads(1)
world = World.join(torch.device("cpu"))
run = Run.start(load_recipe(sys.argv[2], tuple(sys.argv[3:])), torch.device("cpu"), world)
losses = [train_step(run)[0] for _ in range(run.recipe.steps)]
accuracy = measure(run, run.held_out)
run.save(Path(sys.argv[1]) / state.LATEST)
if world.first:
    (Path(sys.argv[1]) / "losses.json").write_text(json.dumps([losses, accuracy]))
world.leave()
"""


#: Targets in time, and boards that change their shape after half of the run.
MAZE = (
    "data=[{rows: 7, end: 0.5}, {rows: 9, start: 0.5}]",
    "evaluation.sets={small: {rows: 7}}",
    "model.L_cycles=2",
    "objective.random_start=0.1",
    "objective.long_stay=0.5",
)


#: A puzzle embedding with sparse gradients: a row for each augmentation of each task.
ARC = (*SMALL, "steps=5")


def test_two_processes_have_the_losses_of_one_with_a_puzzle_embedding(tmp_path):
    path = tmp_path / "arc-agi_some_challenges.json"
    grids = [[[[n % 3, 1]], [[2], [n % 3]]] for n in range(3)]
    pairs = [{"input": one, "output": other} for one, other in grids]
    task = {"train": pairs[:2], "test": pairs[2:]}
    path.write_text(json.dumps({"aa000001": task, "aa000002": {**task, "train": pairs[1:]}}))
    source = f"{{kind: dataset, subsets: [{{path: {path}}}], augmentations: 2}}"
    _compare(tmp_path, "arc-1", (*ARC, f"data=[{source}]"))


@pytest.mark.parametrize(("name", "more"), [("sudoku-4x4", ()), ("maze", MAZE)])
def test_two_processes_have_the_losses_of_one(tmp_path, name, more):
    _compare(tmp_path, name, more)


def _compare(tmp_path, name, more):
    arguments = (*ARGUMENTS, *more)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder = os.fspath(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, os.fspath(program), folder, name, *arguments],
            env={
                **os.environ,
                **{"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"},
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=100) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    losses, accuracy = json.loads((tmp_path / "losses.json").read_text())

    from training.fit import measure
    from training.run import open_run

    recipe = load_recipe(name, arguments)
    torch.set_num_threads(1)  # as they: sums over another number of threads are rounded otherwise
    alone = Run.start(recipe, torch.device("cpu"))
    assert losses == pytest.approx([train_step(alone)[0] for _ in range(recipe.steps)], abs=1e-5)
    assert losses[0] != losses[-1]
    assert accuracy == pytest.approx(measure(alone, alone.held_out))

    # One process goes on from what two have written.
    resumed = open_run(recipe, tmp_path, torch.device("cpu"), fresh=False)
    assert resumed.step == recipe.steps
    assert torch.allclose(resumed.carry.z, alone.carry.z, atol=1e-4)
    assert resumed.carry.age.tolist() == alone.carry.age.tolist()


def test_a_batch_that_can_not_be_shared_is_named():
    with pytest.raises(ConfigError, match="batch_size 7 is not a multiple of 2"):
        World(0, 2).rows(7)
    assert [World(rank, 2).rows(8) for rank in range(2)] == [slice(0, 4), slice(4, 8)]


def test_processes_started_again_do_not_meet_those_before_them():
    """In one store, with what killed processes left there."""
    store, names = dist.HashStore(), set()
    for _ in range(3):
        # One that was killed before anyone answered it, and one that nobody waits for any more.
        store.set("here/1", "gone")
        store.set("here/2", "gone too")
        with ThreadPoolExecutor(3) as pool:
            joined = list(pool.map(lambda rank: common_name(store, rank, 3), (0, 1, 2)))
        assert len(set(joined)) == 1
        names.update(joined)
    assert len(names) == 3


def _torchrun(out, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["--max-restarts=1", "-m", "trm_sdk.training.fit", "sudoku-4x4", "--threads=1"]
    changes = ("steps=60", "checkpoint_every=0.3", "evaluation.puzzles=3", "compile=false")
    settings = ("batch_size=8", "evaluation.every=1000")
    return subprocess.Popen(
        [*command, f"--out={out}", *changes, *settings, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _workers(launcher):
    """Processes that a torchrun has started, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == launcher.pid:
            ranks = [int(item[5:]) for item in environment if item.startswith(b"RANK=")]
            found.update({rank: int(entry.name) for rank in ranks})
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_torchrun_starts_a_killed_process_again_from_the_last_checkpoint(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launcher = _torchrun(broken)
    deadline = time.monotonic() + 120
    while not (broken / state.LATEST).exists():
        assert launcher.poll() is None, launcher.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(_workers(launcher)[1], signal.SIGKILL)
    said, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, said
    assert "going on from step" in said
    launcher = _torchrun(whole)
    said, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, said
    one, other = (
        torch.load(folder / state.LATEST, weights_only=True) for folder in (whole, broken)
    )
    assert one["step"] == other["step"] == 60
    for name, weight in one["model"].items():
        assert torch.equal(weight, other["model"][name]), name
    assert (broken / "report.md").is_file()
