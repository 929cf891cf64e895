"""Two processes train as one does, and go on from each other's checkpoints."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from training.config import load_recipe
from training.distributed import World
from training.fit import train_step
from training.run import Run
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
from training.config import load_recipe
from training.distributed import World
from training.evaluate import evaluate
from training.fit import measure, train_step
from training.run import Run
from training import state

torch.set_num_threads(1)
world = World.join(torch.device("cpu"))
run = Run.start(load_recipe("sudoku-4x4", tuple(sys.argv[2:])), torch.device("cpu"), world)
losses = [train_step(run)[0] for _ in range(20)]
accuracy = measure(run, run.held_out)
run.save(Path(sys.argv[1]) / state.LATEST)
if world.first:
    (Path(sys.argv[1]) / "losses.json").write_text(json.dumps([losses, accuracy]))
world.leave()
"""


def test_two_processes_have_the_losses_of_one(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder = os.fspath(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, os.fspath(program), folder, *ARGUMENTS],
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

    from training.fit import measure, open_run

    recipe = load_recipe("sudoku-4x4", ARGUMENTS)
    alone = Run.start(recipe, torch.device("cpu"))
    assert losses == pytest.approx([train_step(alone)[0] for _ in range(20)], abs=1e-5)
    assert losses[0] != losses[-1]
    assert accuracy == pytest.approx(measure(alone, alone.held_out))

    # One process goes on from what two have written.
    resumed = open_run(recipe, tmp_path, torch.device("cpu"), fresh=False)
    assert resumed.step == 20
    assert torch.allclose(resumed.carry.z, alone.carry.z, atol=1e-4)
    assert resumed.carry.age.tolist() == alone.carry.age.tolist()


def test_a_batch_that_can_not_be_shared_is_named():
    with pytest.raises(ConfigError, match="batch_size 7 is not a multiple of 2"):
        World(0, 2).rows(7)
    assert [World(rank, 2).rows(8) for rank in range(2)] == [slice(0, 4), slice(4, 8)]
