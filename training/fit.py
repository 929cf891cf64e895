"""Train a model: ``trm-fit RECIPE [key=value ...]``; in a checkout ``python -m training.fit``."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import click
import torch
from rich.console import Console

from trm_sdk.atomic import remove_parts
from trm_sdk.cli.arguments import NameOrFile
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError
from trm_sdk.model.cost import work
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.runtimes.threads import available_threads
from trm_sdk.runtimes.torch import choose_device

from . import cost, machine, report, state
from .distributed import World
from .evaluate import Accuracy, evaluate, summary
from .journal import Journal
from .lock import locked
from .meter import Meter
from .recipe import Recipe, load_recipe, recipe_names
from .run import Run, open_run
from .step import StepFigures, train_step

__all__ = ["fit", "main", "measure", "measure_sets", "seconds"]


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
    recipe = run.recipe
    meter = Meter(run)
    if recipe.compile:
        problem = machine.why_not_compile(next(run.model.parameters()).device)
        if problem is None:
            run.supervision.compiled()
        else:
            console.print(f"not compiled, which is several times slower: {problem}")
    clock = _Clock(run)
    with _stopping() as stopped, Journal(run, out, console) as journal:
        while run.step < recipe.steps:
            figures = train_step(run)
            stop = clock.read(stopped())
            _take_in(run, figures)
            meter.count(clock.elapsed)
            journal.tick(meter)
            over = stop or (time_budget is not None and clock.elapsed > time_budget)
            ending = over or run.step == recipe.steps
            if ending or clock.evaluated.due(clock.elapsed, recipe.evaluation.every):
                journal.add(measure(run, run.held_out), meter)
                clock.read(False)  # evaluation is not training: keep it out of the throughput
                meter.pause(clock.elapsed)
                clock.evaluated.done(clock.elapsed)
            if ending or clock.saved.due(clock.elapsed, recipe.checkpoint_every):
                clock.saved.done(clock.elapsed)
                run.save(out / state.LATEST)
            if over:
                break
    return run.step >= recipe.steps


class _Clock:
    """The run's time, the same in all processes, so that all evaluate, save and stop at one step.

    Attributes
    ----------
    elapsed : float
        Seconds since this process began to train.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.started, self.before = time.monotonic(), run.seconds
        self.elapsed = 0.0
        self.evaluated, self.saved = _Interval(), _Interval()

    def read(self, stop: bool) -> bool:
        """Note the time, also in the run, and return whether any process was asked to stop."""
        now = time.monotonic() - self.started
        self.elapsed, stop = self.run.world.agree(now, stop)
        self.run.seconds = self.before + self.elapsed
        return stop


class _Interval:
    """Something that is done every so many seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def due(self, elapsed: float, every: float) -> bool:
        return elapsed - self.last > every

    def done(self, elapsed: float) -> None:
        self.last = elapsed


def _take_in(run: Run, new: StepFigures) -> None:
    """Update the running averages, over about fifty steps.

    Raises
    ------
    ConfigError
        If the run diverges: before what this step's gradient has made of the weights is saved.
    """
    if not all(map(math.isfinite, new)):
        raise ConfigError(
            f"loss {new.loss}, gradient norm {new.norm} at step {run.step}: the run diverges; "
            f"lower optimizer.lr (now {run.recipe.optimizer.lr})"
        )
    if run.averages is None:
        run.averages = (new.loss, new.cells, new.norm)
    else:
        loss, cells, norm = (
            was + 0.02 * (value - was) for was, value in zip(run.averages, new, strict=True)
        )
        run.averages = loss, cells, norm


def measure(run: Run, sets: dict[str, Examples]) -> dict[str, float]:
    """Return figures of the averaged weights: after the last step, and by the rules before."""
    return summary(measure_sets(run, sets))


def measure_sets(run: Run, sets: dict[str, Examples]) -> dict[str, Accuracy]:
    """Return the accuracy of the averaged weights on each set; a run's processes share it."""
    model, domain = run.averaged_model(), run.domain
    steps = run.recipe.evaluation.steps
    return {
        name: evaluate(model, examples, domain, steps, run.world) for name, examples in sets.items()
    }


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM end the run after the step at hand, with a checkpoint."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:  # the second time, at once
            raise KeyboardInterrupt
        asked = True

    main = threading.current_thread() is threading.main_thread()
    # Python lets no other thread handle signals: whoever trains in one stops it in another way.
    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    old = {number: signal.signal(number, ask) for number in numbers}
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
        raise ConfigError(f"a time must be a number followed by s, m or h (9m); got {text!r}")
    return value


@click.command(cls=ErrorHandlingCommand)
@click.argument("recipe_name", metavar="RECIPE", type=NameOrFile(recipe_names))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [runs/NAME].")
@click.option("--time-budget", metavar="TIME", help="Stop cleanly after this long (9m, 1.5h).")
@click.option(
    "--resume",
    is_flag=True,
    help="Resume from the checkpoint in --out, and fail if there is none [resume if there is one].",
)
@click.option("--fresh", is_flag=True, help="Start over, even if --out has a checkpoint.")
@click.option(
    "--new-data",
    is_flag=True,
    help="Resume from the checkpoint in --out although RECIPE has other data sources.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and its size, and stop.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads per process [all that it may use]."
)
def main(
    recipe_name: str,
    overrides: tuple[str, ...],
    out: Path | None,
    time_budget: str | None,
    resume: bool,
    fresh: bool,
    new_data: bool,
    dry_run: bool,
    device: str,
    threads: int | None,
) -> None:
    """Train RECIPE: the name of an included one (sudoku, maze) or the path of a YAML file.

    To resume a run that stopped, run the same command again. Under torchrun, several processes on
    one or more machines train one model.
    """
    if fresh and (new_data or resume):
        option = "--new-data" if new_data else "--resume"
        raise ConfigError(f"--fresh starts over and {option} resumes: give only one of them")
    recipe = load_recipe(recipe_name, overrides)
    budget = None if time_budget is None else seconds(time_budget)
    if dry_run:
        _describe(recipe, Console())
        return
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_threads()))
    place = choose_device(device)
    if place.type == "cuda" and place.index is None and "LOCAL_RANK" in os.environ:
        place = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
    machine.prepare(place)
    world = World.join(place)
    try:
        out = out or Path("runs") / recipe.name
        with _folder(out, world, fresh=fresh):
            run = open_run(
                recipe, out, place, fresh=fresh, new_data=new_data, resume=resume, world=world
            )
            _train(run, out, budget)
    finally:
        world.leave()
    world.end()


@contextmanager
def _folder(out: Path, world: World, *, fresh: bool) -> Iterator[None]:
    """Make and hold the folder of a run; `fresh`: without what an earlier one has left there."""
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            if world.first:
                held.enter_context(locked(out))
                for name in (state.LATEST, state.PREVIOUS):
                    remove_parts(out / name)
                if fresh:
                    shutil.rmtree(out / report.SCALARS, ignore_errors=True)
        except OSError as error:
            raise ConfigError(
                f"--out {out} is not a folder to write to: {error.strerror}"
            ) from None
        yield


def _train(run: Run, out: Path, budget: float | None) -> None:
    recipe, world = run.recipe, run.world
    console = Console(quiet=not world.first)
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
    per_puzzle = config.puzzle_emb_ndim if any(one.kind == "dataset" for one in recipe.data) else 0
    more = f", and {per_puzzle:,} for each puzzle of the data set" if per_puzzle else ""
    lines = [
        f"{parameters:,} parameters{more}",
        f"{forward / 1e9:.2f} GFLOP a supervision step of one puzzle, forward",
        f"{operations / 1e12:.3f} TFLOP an optimiser step, "
        f"{operations * recipe.steps / 1e15:.3f} PFLOP in all (at full depth)",
        *(f"{size / 2**20:,.1f} MiB {what}" for what, size in cost.memory(recipe).items()),
    ]
    for text in lines:
        console.print(text, highlight=False)


if __name__ == "__main__":
    main()
