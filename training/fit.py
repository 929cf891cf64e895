"""Train a model: ``python -m training.fit RECIPE [key=value ...]``."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from training import cost, machine, report, state
from training.distributed import World
from training.evaluate import Accuracy, evaluate
from training.optim import rate, set_rate
from training.recipe import Recipe, load_recipe
from training.run import Run, open_run
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError
from trm_sdk.model.cost import work
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Outcome
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.runtimes.torch import choose_device

#: A line of JSON an evaluation, in the folder of a run.
LOG = "log.jsonl"

__all__ = ["Run", "fit", "main", "measure", "open_run", "seconds", "train_step"]


def train_step(run: Run) -> tuple[float, float, float]:
    """One optimiser step.

    ``deep``: every slot moves on by `grad_steps` supervision steps. ``last-step``: every slot runs
    its new puzzle from the first state on, and only the last `grad_steps` are differentiated.

    Returns
    -------
    loss : float
        Mean over the slots.
    cells : float
        Share of supervised cells that are right.
    norm : float
        Gradient norm before clipping.
    """
    recipe, carry, world, supervision = run.recipe, run.carry, run.world, run.supervision
    objective = recipe.objective
    run.set_depth()
    set_rate(run.optimizers, rate(recipe.optimizer, run.step, recipe.steps))
    history = carry.history()
    supervision.grad_cycles = objective.grad_cycles + carry.extra_cycle()
    noise, start = _noises(run)
    puzzles, fresh = carry.puzzles.rows(carry.mine), carry.fresh[carry.mine]
    passes = carry.passes_before(history)
    size = min(recipe.micro_batch or recipe.batch_size, len(fresh))
    outcomes: list[Outcome] = []
    for first in range(0, len(fresh), size):
        rows = slice(first, first + size)
        some, started, at = puzzles.rows(rows), fresh[rows], State(carry.y[rows], carry.z[rows])
        moved = None if start is None else start[:, rows]
        with torch.autocast(
            carry.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"
        ):
            for _ in range(history):
                at = supervision.settle(some, at, started, moved)
                started = torch.zeros_like(started)
            outcome: Outcome = supervision(
                some, at, started, passes[rows], None if noise is None else noise[:, rows], moved
            )
        torch.autograd.backward(outcome.loss / recipe.batch_size)
        outcomes.append(outcome._replace(loss=outcome.loss.detach()))
    parameters = list(run.model.parameters())
    world.sum_gradients(parameters)
    # Without a bound the norm is still worth knowing.
    clip = math.inf if recipe.optimizer.clip is None else recipe.optimizer.clip
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.ema.update(run.model, run.step)
    whole = _join(outcomes)
    carry.advance(whole, run.step / recipe.steps)
    run.step += 1
    sums = world.sum(torch.stack((whole.loss.float(), whole.cells_right.sum()))).tolist()
    return sums[0] / recipe.batch_size, sums[1] / recipe.batch_size, float(norm)


def _noises(run: Run) -> tuple[Tensor | None, Tensor | None]:
    """Noise on z before each step, and on the initial state, of this process's rows."""
    objective, carry = run.recipe.objective, run.carry
    rows = (run.recipe.batch_size, *carry.y.shape[1:])  # all processes draw all of it

    def normal(copies: int, std: float) -> Tensor:
        return torch.randn((copies, *rows), generator=run.noise, device=carry.device) * std

    noise = start = None
    if objective.noise:
        noise = normal(objective.grad_steps, objective.noise)
        if objective.noise_share < 1:
            drawn = torch.rand(len(carry.fresh), generator=run.noise, device=carry.device)
            chosen = drawn < objective.noise_share
            noise = noise * chosen.view(-1, *[1] * (noise.ndim - 2))
        noise = noise[:, carry.mine]
    if objective.random_start:
        start = normal(2, objective.random_start)[:, carry.mine]
    return noise, start


def _join(outcomes: list[Outcome]) -> Outcome:
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        torch.stack([one.loss for one in outcomes]).sum(),
        type(outcomes[0].state)(
            torch.cat([one.state.y for one in outcomes]),
            torch.cat([one.state.z for one in outcomes]),
        ),
        torch.cat([one.solved for one in outcomes]),
        torch.cat([one.halt_logit for one in outcomes]),
        torch.cat([one.cells_right for one in outcomes]),
    )


def fit(run: Run, out: Path, console: Console, time_budget: float | None = None) -> bool:
    """Train until the recipe's last step, or until time is up or someone interrupts.

    Parameters
    ----------
    run : Run
    out : Path
        Folder for ``latest.pt``, ``log.jsonl`` and TensorBoard's scalars.
    console : rich Console
    time_budget : float, optional
        Seconds after which to stop cleanly, with a checkpoint.

    Returns
    -------
    bool
        True where the run is complete.
    """
    recipe, world = run.recipe, run.world
    meter = Meter(run)
    if recipe.compile:
        machine.check_compiler(next(run.model.parameters()).device)
        run.supervision.compiled()
    started = time.monotonic()
    last_saved = last_evaluated = 0.0
    before = run.seconds
    if world.first:  # a killed run may have logged more than it saved
        lines = [json.dumps(line) + "\n" for line in run.history]
        (out / LOG).write_text("".join(lines), encoding="utf-8")
    with (
        _stopping() as stopped,
        _progress(console) as progress,
        report.Scalars(out if world.first else None, run.step) as scalars,
    ):
        task = progress.add_task(recipe.name, total=recipe.steps, completed=run.step, note="")
        while run.step < recipe.steps:
            new = train_step(run)
            # One clock for all processes, so that all evaluate, save and stop at the same step.
            elapsed, stop = world.agree(time.monotonic() - started, stopped())
            # The weights are what this step's gradient has made of them: before they are saved.
            if not all(map(math.isfinite, new)):
                raise ConfigError(
                    f"loss {new[0]}, gradient norm {new[2]} at step {run.step}: the run diverges; "
                    f"lower optimizer.lr (now {recipe.optimizer.lr})"
                )
            run.averages = loss, cells, norm = _averaged(run.averages, new)
            meter.count(elapsed)
            run.seconds = before + elapsed
            if run.step % 10 == 0:
                solved = run.carry.finished_solved / max(run.carry.finished, 1)
                progress.update(
                    task,
                    completed=run.step,
                    note=f"loss {loss:.3f}  cells {cells:.0%}  solved {solved:.0%}  "
                    f"{meter.rate:.0f}/s  {meter.utilisation:.0%} of peak",
                )
            over = stop or (time_budget is not None and elapsed > time_budget)
            ending = over or run.step == recipe.steps
            if ending or elapsed - last_evaluated > recipe.evaluation.every:
                solved = run.carry.finished_solved / max(run.carry.finished, 1)
                run.carry.finished = run.carry.finished_solved = 0
                line = {
                    "step": run.step,
                    "seconds": round(run.seconds, 1),
                    "loss": round(loss, 4),
                    "cells": round(cells, 4),
                    "solved_in_training": round(solved, 4),
                    "grad_norm": round(norm, 3),
                    "learning_rate": run.optimizers[0].param_groups[0]["lr"],
                    **meter.figures(),
                    **measure(run, run.held_out),
                }
                run.history.append(line)
                if world.first:
                    with (out / LOG).open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")
                    scalars.add(line)
                progress.console.print(_sentence(line), highlight=False, soft_wrap=True)
                # Evaluation is no training: keep it out of the throughput.
                last_evaluated, _ = world.agree(time.monotonic() - started, False)
                meter.pause(last_evaluated)
            if ending or elapsed - last_saved > recipe.checkpoint_every:
                run.save(out / state.LATEST)
                last_saved = elapsed
            if over:
                break
    return run.step >= recipe.steps


def _averaged(
    old: tuple[float, float, float] | None, new: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Running averages over about fifty steps."""
    if old is None:
        return new
    loss, cells, norm = (was + 0.02 * (value - was) for was, value in zip(old, new, strict=True))
    return loss, cells, norm


class Meter:
    """Throughput, and the share of the machine's matrix-product peak that it stands for.

    The peak is measured when made, on the device and in the precision of the run, with the number
    of threads that it has; work is counted by `cost`. Steps that compile are left out.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        device = next(run.model.parameters()).device
        self.peak = machine.matmul_peak(device, run.supervision.dtype, 0.1) * run.world.size
        self.one = work(run.model.config)
        self.skip = 3
        self.puzzle_steps = self.work = 0.0
        self.since = self.elapsed = 0.0

    def count(self, elapsed: float) -> None:
        """A step has ended at this time."""
        self.elapsed = elapsed
        if self.skip:
            self.skip -= 1
            self.since = elapsed
            return
        recipe, supervision = self.run.recipe, self.run.supervision
        objective = recipe.objective
        history = 0.0
        if objective.scheme == "last-step":  # on average: the draws are not kept
            history = (objective.min_steps + self.run.carry.max_steps) / 2 - objective.grad_steps
        depth = (supervision.H_cycles, supervision.L_cycles)
        carry = self.run.carry
        cells = math.prod(carry.shape) / carry.config.seq_len
        self.work += cells * cost.optimiser_step(recipe, self.one, depth, history)
        self.puzzle_steps += recipe.batch_size * (objective.grad_steps + history)

    def pause(self, elapsed: float) -> None:
        """Begin anew: what was done up to this time was no training."""
        self.since = self.elapsed = elapsed
        self.puzzle_steps = self.work = 0.0

    @property
    def rate(self) -> float:
        """Supervision steps a second, counted a puzzle."""
        return self.puzzle_steps / (self.elapsed - self.since) if self.puzzle_steps else math.nan

    @property
    def utilisation(self) -> float:
        """Model FLOPs over the measured peak, 0..1."""
        return self.work / (self.elapsed - self.since) / self.peak if self.work else math.nan

    def figures(self) -> dict[str, float]:
        """Both for the log; nothing before a step has been timed."""
        if not self.puzzle_steps:
            return {}
        return {
            "puzzle_steps_per_second": round(self.rate, 1),
            "utilisation": round(self.utilisation, 4),
        }


def measure(run: Run, sets: dict[str, Examples]) -> dict[str, float]:
    """Accuracy of the averaged weights: after the last step, and by the rules along the way."""
    return summary(measure_sets(run, sets))


def measure_sets(run: Run, sets: dict[str, Examples]) -> dict[str, Accuracy]:
    """The same in full, a set at a time; the processes of a run share the work."""
    model, domain = run.averaged_model(), run.domain
    steps = run.recipe.evaluation.steps
    return {
        name: evaluate(model, examples, domain, steps, run.world) for name, examples in sets.items()
    }


def summary(accuracies: dict[str, Accuracy]) -> dict[str, float]:
    """Three figures a set."""
    result: dict[str, float] = {}
    for name, accuracy in accuracies.items():
        result[f"{name}/last"] = round(float(accuracy.last[-1]), 4)
        result[f"{name}/verified"] = round(float(accuracy.verified[-1]), 4)
        result[f"{name}/halting"] = round(accuracy.halting, 4)
    return result


def _sentence(line: dict[str, Any]) -> str:
    parts = [f"step {line['step']:>7,}  {line['seconds'] / 60:6.1f} min  loss {line['loss']:.4f}"]
    for key, value in line.items():
        if key.endswith("/last"):
            name = key.removesuffix("/last")
            on_the_way = line[name + "/verified"]
            lost = "" if on_the_way == value else f" ({on_the_way:.1%} on the way)"
            parts.append(f"{name} {value:.1%}{lost}")
    if "puzzle_steps_per_second" in line:  # not after the first step, which compiles
        parts.append(f"{line['puzzle_steps_per_second']:.0f} puzzle-steps/s")
    return "  ".join(parts)


def _progress(console: Console) -> Progress:
    """A line that fits into 80 columns; a log that is no terminal gets the evaluations alone."""
    wide = console.width >= 110
    columns = (
        TextColumn("[bold]{task.description}"),
        *((BarColumn(bar_width=20),) if wide else ()),
        TaskProgressColumn(),
        *((TimeElapsedColumn(),) if wide else ()),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(
        *columns, console=console, refresh_per_second=2, disable=not console.is_terminal
    )


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM end the run after the step at hand, with a checkpoint."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:  # the second time, at once
            raise KeyboardInterrupt
        asked = True

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def seconds(text: str) -> float:
    """Read ``90s``, ``9m`` or ``1.5h`` (or plain seconds)."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = math.nan
    if not value > 0:
        raise ConfigError(f"a time is a number with s, m or h (9m); got {text!r}")
    return value


@click.command(cls=ErrorHandlingCommand)
@click.argument("recipe_name", metavar="RECIPE")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [runs/NAME].")
@click.option("--time-budget", metavar="TIME", help="Stop cleanly after this long (9m, 1.5h).")
@click.option("--fresh", is_flag=True, help="Start over, even where a checkpoint is.")
@click.option(
    "--new-data",
    is_flag=True,
    help="Go on from the checkpoint in --out though its data sources were others than RECIPE's.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and its size, and stop.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads a process [all].")
def main(
    recipe_name: str,
    overrides: tuple[str, ...],
    out: Path | None,
    time_budget: str | None,
    fresh: bool,
    new_data: bool,
    dry_run: bool,
    device: str,
    threads: int | None,
) -> None:
    """Train RECIPE, a name in training/recipes or the path of a YAML file.

    A run that stopped goes on where it was: call the same command again. Several processes, on one
    machine or more, train one model under torchrun.
    """
    if fresh and new_data:
        raise ConfigError("--fresh starts over, --new-data goes on: give one of them")
    recipe = load_recipe(recipe_name, overrides)
    budget = None if time_budget is None else seconds(time_budget)
    if dry_run:
        _describe(recipe, Console())
        return
    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    if place.type == "cuda" and place.index is None and "LOCAL_RANK" in os.environ:
        place = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
    machine.prepare(place)
    world = World.join(place)
    try:
        out = out or Path("runs") / recipe.name
        _make_folder(out, fresh=fresh)
        _train(recipe, out, place, world, budget, fresh=fresh, new_data=new_data)
    finally:
        world.leave()


def _make_folder(out: Path, *, fresh: bool) -> None:
    """Make the folder of a run; `fresh`: without what an earlier one has left there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if fresh:
            shutil.rmtree(out / report.SCALARS, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"--out {out} is no folder to write to: {error.strerror}") from None


def _train(
    recipe: Recipe,
    out: Path,
    device: torch.device,
    world: World,
    budget: float | None,
    *,
    fresh: bool,
    new_data: bool,
) -> None:
    console = Console(quiet=not world.first)
    run = open_run(recipe, out, device, fresh=fresh, new_data=new_data, world=world)
    if run.step:
        console.print(f"going on from step {run.step:,} in {out}", highlight=False)
    if not fit(run, out, console, budget):
        console.print(
            f"stopped at step {run.step:,} of {recipe.steps:,}; the same command goes on from here",
            highlight=False,
        )
        return
    accuracies = measure_sets(run, run.final_sets)
    if not world.first:
        return
    final = summary(accuracies)
    spec = recipe.spec(run.domain)
    notes = {**spec.notes, "steps": run.step, "seconds": round(run.seconds), "accuracy": final}
    folder = save_model(out / "model", spec.model_copy(update={"notes": notes}), run.ema.weights)
    for name, value in final.items():
        console.print(f"{name:<24}{value:7.2%}", highlight=False)
    console.print(f"model in {folder}", highlight=False)
    page = report.write(out, recipe, run.history, run.final_sets, accuracies, run.domain)
    console.print(f"report in {page}", highlight=False)


def _describe(recipe: Recipe, console: Console) -> None:
    """The resolved recipe, parameters, work and memory."""
    config = recipe.spec().model
    with torch.device("meta"):
        parameters = sum(p.numel() for p in TRM(config).parameters())
    console.print_json(recipe.model_dump_json())
    one, operations = work(config), cost.mean_step(recipe)
    forward = config.passes * one.update + one.readout
    lines = [
        f"{parameters:,} parameters",
        f"{forward / 1e9:.2f} GFLOP a supervision step of one puzzle, forward",
        f"{operations / 1e12:.3f} TFLOP an optimiser step, "
        f"{operations * recipe.steps / 1e15:.3f} PFLOP in all (at full depth)",
        *(f"{size / 2**20:,.1f} MiB {what}" for what, size in cost.memory(recipe).items()),
    ]
    for text in lines:
        console.print(text, highlight=False)


if __name__ == "__main__":
    main()
