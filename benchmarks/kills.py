"""Kill training at random moments: ``python -m benchmarks.kills --kills 100``.

One run of a recipe, with a checkpoint every fraction of a second, is killed by SIGKILL again and
again: while Python imports, while the first step is taken, between steps, while a checkpoint is
being written. After each kill the command looks at what is left, as the next start would find it:

- the checkpoint, and the one before it, can be read, and neither is older than after the last kill;
- the run opens from it, its weights are finite, and it takes a step with a finite loss;
- the folder's lock is free.

At the end the run is resumed once more and stops by itself after a second of training. It must have
gone on, and have removed what killed processes left of files that they were writing.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe
from training import state
from training.lock import LOCK, locked
from training.recipe import load_recipe
from training.run import open_run
from training.step import train_step
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.errors import TRMError

#: Of the recipe: steps short enough that most kills hit something else than the first of them.
OVERRIDES = ("compile=false", "batch_size=8", "evaluation.puzzles=4", "evaluation.every=1000000")
#: Seconds of training between two checkpoints.
CHECKPOINT_EVERY = 0.2
_ROOT = Path(__file__).parents[1]


@dataclass
class Kills:
    """What was found.

    Attributes
    ----------
    kills : int
        Processes killed.
    before_training : int
        Of them, those that were killed before they had written a checkpoint of their own.
    parts : int
        Kills that left an unfinished file, which the next start had to remove.
    steps : int
        Of the run, after the last kill.
    problems : list of str
        What should not have been.
    """

    kills: int = 0
    before_training: int = 0
    parts: int = 0
    steps: int = 0
    problems: list[str] = field(default_factory=list)


def kill_often(
    kills: int,
    out: Path,
    seed: int = 0,
    longest: float = 8.0,
    recipe: str = "sudoku-4x4",
    report: Callable[[Kills], None] = lambda found: None,
) -> Kills:
    """Kill a run so many times, each a random while after its start, and look at what is left.

    Parameters
    ----------
    kills : int
    out : path
        Folder of the run; made if need be.
    seed : int
        Of the moments.
    longest : float
        Most seconds from the start of a process, or from the first checkpoint that it writes, to
        its end; drawn uniformly. Every second kill waits for that checkpoint, so that slow imports
        don't take all of them.
    recipe : str
    report : callable
        Given what was found so far, after every kill.
    """
    rng = np.random.default_rng(seed)
    found = Kills()
    path = out / state.LATEST
    seen: set[str] = set()
    for number in range(kills):
        before = _written(path)
        process = _start(recipe, out)
        try:
            if number % 2 or not path.exists():
                _wait_for_another(path, before, process)
            _sleep(float(rng.uniform(0, longest if number % 2 == 0 else 1.5)), process)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
        found.kills += 1
        found.before_training += _written(path) == before
        if process.returncode != -signal.SIGKILL:
            found.problems.append(f"kill {number}: the run had ended, with {process.returncode}")
        parts = _parts(out)
        found.parts += bool(parts - seen)
        seen |= parts
        try:
            steps = _goes_on(recipe, out)
            if steps < found.steps:
                found.problems.append(f"kill {number}: {found.steps} steps, then {steps}")
            found.steps = steps
        except (TRMError, OSError) as error:
            found.problems.append(f"kill {number}: {error}")
        report(found)
    last = _start(recipe, out, "--resume", "--time-budget", "1s")
    if last.wait(timeout=300):
        found.problems.append(f"after the last kill the run ended with {last.returncode}")
    found.problems += [f"{name} is left" for name in sorted(_parts(out))]
    try:
        if state.load(path)["step"] <= found.steps:
            found.problems.append("after the last kill the run did not go on")
    except TRMError as error:
        found.problems.append(f"at the end: {error}")
    report(found)
    return found


def _start(recipe: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "training.fit", recipe, "--out", str(out), "--threads", "1"]
    overrides = (*OVERRIDES, "steps=1000000000", f"checkpoint_every={CHECKPOINT_EVERY}")
    return subprocess.Popen(
        [*command, *more, *overrides], cwd=_ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _written(path: Path) -> int:
    """Return when a file was written, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _wait_for_another(path: Path, before: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while _written(path) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _sleep(seconds: float, process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return


def _parts(out: Path) -> set[str]:
    """Return the names of unfinished files in the run's folder: its hidden files but the lock."""
    return {path.name for path in out.rglob(".*")} - {LOCK}


def _goes_on(recipe: str, out: Path) -> int:
    """Open a run as its next start would, take a step, and return how many it had taken.

    Raises
    ------
    TRMError
        If its folder is held, a checkpoint can't be read, or the run can't go on from it.
    """
    with locked(out):  # held by a process that is gone, it would be refused
        previous = out / state.PREVIOUS
        if previous.exists():
            state.load(previous)
        wanted = load_recipe(recipe, (*OVERRIDES, "steps=1000000000"))
        run = open_run(wanted, out, torch.device("cpu"), fresh=False, resume=True)
        steps = run.step
        if not all(bool(value.isfinite().all()) for value in run.model.state_dict().values()):
            raise TRMError("the weights are not finite")
        if not math.isfinite(train_step(run).loss):
            raise TRMError("the loss is not finite")
    return steps


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.option("--kills", default=100, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option(
    "--out", default=RESULTS / "kills.json", show_default=True, type=click.Path(path_type=Path)
)
def main(kills: int, seed: int, out: Path) -> None:
    torch.set_num_threads(1)
    begun = time.monotonic()

    def report(found: Kills) -> None:
        minutes = round((time.monotonic() - begun) / 60, 1)
        result = {"machine": describe(1), "seed": seed, "minutes": minutes, **asdict(found)}
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        found = kill_often(kills, Path(folder), seed, report=report)
    minutes = (time.monotonic() - begun) / 60
    click.echo(
        f"{found.kills} kills in {minutes:.1f} minutes, {found.before_training} of them before a "
        f"checkpoint, {found.parts} with a file unfinished; {found.steps} steps, "
        f"{len(found.problems)} problems"
    )
    for problem in found.problems:
        click.echo(problem, err=True)
    if found.problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
