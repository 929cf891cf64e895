"""Train a model: ``python -m training.fit RECIPE [key=value ...]``."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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

from training import state
from training.config import Recipe, load_recipe, parse_recipe
from training.data.base import Examples, make_held_out, make_stream
from training.evaluate import evaluate
from training.objective import Carry, Outcome, Supervision
from training.optim import EMA, make_optimizers, rate, set_rate
from trm_sdk.checkpoint import build, save_model
from trm_sdk.console import ErrorHandlingCommand
from trm_sdk.domains import get_domain
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM

Step = Callable[..., Outcome]


@dataclass
class Run:
    """A training run in memory: everything that a checkpoint holds."""

    recipe: Recipe
    model: TRM
    supervision: Supervision
    optimizers: list[torch.optim.Optimizer]
    ema: EMA
    carry: Carry
    held_out: dict[str, Examples]
    noise: torch.Generator
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe, device: torch.device) -> Run:
        """A run at its first step."""
        torch.manual_seed(recipe.seed)
        domain = get_domain(recipe.domain)
        model = TRM(recipe.spec(domain).model).to(device)
        held_out = make_held_out(recipe, domain)
        stream = make_stream(recipe, domain, make_held_out(recipe, domain, whole=True))
        noise = torch.Generator(device)
        noise.manual_seed(recipe.seed)
        return cls(
            recipe=recipe,
            model=model,
            supervision=Supervision(model, recipe.objective),
            optimizers=make_optimizers(model, recipe.optimizer),
            ema=EMA(model, recipe.optimizer.ema),
            carry=Carry(model, recipe.objective, stream, recipe.batch_size, recipe.seed),
            held_out=held_out,
            noise=noise,
        )

    def state_dict(self) -> dict[str, Any]:
        """All of it, for `state.save`."""
        return {
            "spec": self.recipe.spec().to_json(),
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "ema": self.ema.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "carry": self.carry.state_dict(),
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.history = saved["history"]
        self.model.load_state_dict(saved["model"])
        self.ema.load(saved["ema"])
        for optimizer, one in zip(self.optimizers, saved["optimizers"], strict=True):
            # The recipe's peaks win over the file's, so that a rate can be changed on the way.
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(one)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak"] = peak
        self.carry.load_state_dict(saved["carry"])
        self.noise.set_state(saved["noise"])

    def averaged_model(self) -> TRM:
        """The model with its averaged weights, on the device of training."""
        spec = self.recipe.spec()
        return build(spec, self.ema.weights, "the run").to(next(self.model.parameters()).device)


def train_step(run: Run, step: Step) -> tuple[float, float, float]:
    """One optimiser step: every slot moves on by `grad_steps` supervision steps.

    Returns
    -------
    loss : float
        Mean over the slots.
    cells : float
        Share of supervised cells that are right.
    norm : float
        Gradient norm before clipping.
    """
    recipe, carry = run.recipe, run.carry
    size = recipe.micro_batch or recipe.batch_size
    set_rate(run.optimizers, rate(recipe.optimizer, run.step, recipe.steps))
    device = carry.y.device
    outcomes: list[Outcome] = []
    for start in range(0, recipe.batch_size, size):
        rows = slice(start, start + size)
        noise = torch.empty(0, device=device)
        if recipe.objective.noise:
            shape = (recipe.objective.grad_steps, *carry.z[rows].shape)
            noise = torch.randn(shape, generator=run.noise, device=device) * recipe.objective.noise
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outcome = step(
                carry.tokens[rows],
                carry.answers[rows],
                carry.y[rows],
                carry.z[rows],
                carry.fresh[rows],
                noise,
            )
        torch.autograd.backward(outcome.loss / recipe.batch_size)
        outcomes.append(outcome._replace(loss=outcome.loss.detach()))
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.optimizer.clip)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.ema.update(run.model, run.step)
    whole = _join(outcomes)
    carry.advance(whole, run.step / recipe.steps)
    run.step += 1
    return float(whole.loss) / recipe.batch_size, float(whole.cells_right.mean()), float(norm)


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
        Folder for ``latest.pt`` and ``log.jsonl``; at the end also ``model/``, a model folder.
    console : rich Console
    time_budget : float, optional
        Seconds after which to stop cleanly, with a checkpoint.

    Returns
    -------
    bool
        True where the run is complete.
    """
    recipe = run.recipe
    started = last_saved = last_evaluated = time.monotonic()
    before = run.seconds
    step: Step = (
        torch.compile(run.supervision, fullgraph=True, dynamic=False)
        if recipe.compile
        else run.supervision
    )
    # Averages for the log, over about a hundred steps.
    loss = cells = norm = rate_seen = math.nan
    first_step, first_time = run.step + 3, math.nan  # the first steps compile
    with _stopping() as stopped, _progress(console) as progress:
        task = progress.add_task(recipe.name, total=recipe.steps, completed=run.step, note="")
        while run.step < recipe.steps and not stopped():
            new = train_step(run, step)
            now = time.monotonic()
            loss, cells, norm = (
                value if math.isnan(old) else old + 0.02 * (value - old)
                for old, value in zip((loss, cells, norm), new, strict=True)
            )
            if not math.isfinite(new[0]):
                raise ConfigError(
                    f"the loss is {new[0]} at step {run.step}: lower optimizer.lr "
                    f"(now {recipe.optimizer.lr})"
                )
            if run.step == first_step:
                first_time = now
            elif run.step > first_step:
                stretch = recipe.batch_size * recipe.objective.grad_steps
                rate_seen = (run.step - first_step) * stretch / (now - first_time)
            run.seconds = before + now - started
            if run.step % 10 == 0:
                solved = run.carry.finished_solved / max(run.carry.finished, 1)
                progress.update(
                    task,
                    completed=run.step,
                    note=f"loss {loss:.3f}  cells {cells:.1%}  solved {solved:.1%}  "
                    f"{rate_seen:.0f} puzzle-steps/s",
                )
            over = time_budget is not None and now - started > time_budget
            ending = over or run.step == recipe.steps
            if ending or now - last_evaluated > recipe.evaluation.every:
                solved = run.carry.finished_solved / max(run.carry.finished, 1)
                run.carry.finished = run.carry.finished_solved = 0
                line = {
                    "step": run.step,
                    "seconds": round(run.seconds, 1),
                    "loss": round(loss, 4),
                    "cells": round(cells, 4),
                    "solved_in_training": round(solved, 4),
                    "grad_norm": round(norm, 3),
                    "puzzle_steps_per_second": round(rate_seen, 1),
                    **measure(run, run.held_out),
                }
                run.history.append(line)
                with (out / "log.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                progress.console.print(_sentence(line), highlight=False)
                last_evaluated = time.monotonic()
                # Evaluation is no training: keep it out of the throughput.
                first_step, first_time = run.step, last_evaluated
            if ending or now - last_saved > recipe.checkpoint_every:
                state.save(out / state.LATEST, run.state_dict())
                last_saved = time.monotonic()
            if over:
                break
    state.save(out / state.LATEST, run.state_dict())
    return run.step >= recipe.steps


def measure(run: Run, sets: dict[str, Examples]) -> dict[str, float]:
    """Accuracy of the averaged weights: after the last step, and by the rules along the way."""
    model, domain = run.averaged_model(), get_domain(run.recipe.domain)
    result: dict[str, float] = {}
    for name, examples in sets.items():
        accuracy = evaluate(model, examples, domain, run.recipe.evaluation.steps)
        result[f"{name}/last"] = round(float(accuracy.last[-1]), 4)
        result[f"{name}/verified"] = round(float(accuracy.verified[-1]), 4)
        result[f"{name}/halting"] = round(accuracy.halting, 4)
    return result


def _sentence(line: dict[str, Any]) -> str:
    parts = [f"step {line['step']:>7,}  {line['seconds'] / 60:6.1f} min  loss {line['loss']:.4f}"]
    for key, value in line.items():
        if key.endswith("/last"):
            name = key.removesuffix("/last")
            parts.append(f"{name} {value:.1%} (verified {line[name + '/verified']:.1%})")
    parts.append(f"{line['puzzle_steps_per_second']:.0f} puzzle-steps/s")
    return "  ".join(parts)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        refresh_per_second=2,
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


def open_run(recipe: Recipe, out: Path, device: torch.device, *, fresh: bool) -> Run:
    """Start a run, or go on from its checkpoint in `out`.

    Raises
    ------
    ConfigError
        If the checkpoint there is of another model or domain.
    """
    run = Run.start(recipe, device)
    path = out / state.LATEST
    if fresh or not path.is_file():
        return run
    saved = state.load(path)
    there = parse_recipe(json.loads(saved["recipe"]), str(path))
    for name in ("domain", "model", "batch_size", "data"):
        if getattr(there, name) != getattr(recipe, name):
            raise ConfigError(
                f"{path} was trained with {name}={getattr(there, name)!r}, the recipe says "
                f"{getattr(recipe, name)!r}; use --fresh to start over or another --out"
            )
    run.load_state_dict(saved)
    return run


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
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and its size, and stop.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [all].")
def main(
    recipe_name: str,
    overrides: tuple[str, ...],
    out: Path | None,
    time_budget: str | None,
    fresh: bool,
    dry_run: bool,
    device: str,
    threads: int | None,
) -> None:
    """Train RECIPE, a name in training/recipes or the path of a YAML file.

    A run that stopped goes on where it was: call the same command again.
    """
    console = Console()
    recipe = load_recipe(recipe_name, overrides)
    budget = None if time_budget is None else seconds(time_budget)
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dry_run:
        console.print_json(recipe.model_dump_json())
        parameters = sum(p.numel() for p in TRM(recipe.spec().model).parameters())
        console.print(f"{parameters:,} parameters", highlight=False)
        return
    out = out or Path("runs") / recipe.name
    out.mkdir(parents=True, exist_ok=True)
    run = open_run(recipe, out, torch.device(device), fresh=fresh)
    if run.step:
        console.print(f"going on from step {run.step:,} in {out}", highlight=False)
    complete = fit(run, out, console, budget)
    if not complete:
        console.print(
            f"stopped at step {run.step:,} of {recipe.steps:,}; the same command goes on from here",
            highlight=False,
        )
        return
    domain = get_domain(recipe.domain)
    final = measure(run, make_held_out(recipe, domain, whole=True))
    spec = recipe.spec(domain)
    notes = {**spec.notes, "steps": run.step, "seconds": round(run.seconds), "accuracy": final}
    folder = save_model(out / "model", spec.model_copy(update={"notes": notes}), run.ema.weights)
    for name, value in final.items():
        console.print(f"{name:<24}{value:7.2%}", highlight=False)
    console.print(f"model in {folder}", highlight=False)


if __name__ == "__main__":
    main()
