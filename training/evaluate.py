"""Exact accuracy on held-out sets: at every supervision step, and by the rules along the way.

``python -m training.evaluate MODEL FILE...`` measures a finished model, or a checkpoint, on puzzles
of files, as the model's domain does: exact and verified answers, or ARC's votes and pass@k.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import numpy as np
import numpy.typing as npt
import torch

from trm_sdk.atomic import write_whole
from trm_sdk.choices import Precision
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.domains.evaluation import Evaluation
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.files import read_file
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Puzzles
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.yaml import load_yaml
from trm_sdk.runtimes.torch import choose_device
from trm_sdk.task import Task

from .distributed import World

#: Rows evaluated at once: small batches stay in a CPU's cache and are several times faster.
CPU_BATCH = 8
GPU_BATCH = 2048


class Accuracy(NamedTuple):
    """Exact accuracies in 0..1, one a supervision step.

    Attributes
    ----------
    last : float array (steps,)
        The whole answer is right at this step, but for cells that are padding.
    verified : float array (steps,)
        The rules confirmed an answer at this step or before: what a `Solver` gets in one attempt.
    halting : float
        Share of puzzles whose halting head is right (at 0.5) about the last answer.
    answers : int32 array (n, N)
        Each puzzle's first answer that the rules confirmed, else its last.
    confirmed : bool array (n,)
        The rules confirmed an answer.
    """

    last: npt.NDArray[np.float64]
    verified: npt.NDArray[np.float64]
    halting: float
    answers: npt.NDArray[np.int32]
    confirmed: npt.NDArray[np.bool_]


@torch.inference_mode()
def answers_by_step(
    model: TRM, examples: Examples, steps: int, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Yield a model's answers (n, N) and halting logits (n,) after each supervision step.

    `dtype` is what the recursion computes in: bfloat16 as in training with that precision.
    """
    device = next(model.parameters()).device
    puzzles = Puzzles.of(examples, model.config, device=device)
    board = examples.shape if model.config.any_size else None
    rounded = dtype is torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=rounded):
        x = model.network.embed(puzzles.tokens, puzzles.identifiers).to(dtype)
        start = model.initial_state(len(examples.tokens), board)
        state = State(start.y.to(dtype), start.z.to(dtype))
    for _ in range(steps):
        # Entered anew each step: inference mode is left at a yield, and takes autocast along.
        with torch.autocast(device.type, torch.bfloat16, enabled=rounded):
            state = model.recurse(x, state, groups=puzzles.groups)
            logits, halt_logit = model.network.readout(state.y)
            answers = model.answer(puzzles.tokens, logits).flatten(1).cpu().numpy()
        yield answers, halt_logit.float().cpu().numpy()


def judge(
    model: TRM,
    evaluation: Evaluation,
    steps: int,
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int], None] = lambda rows: None,
) -> dict[str, float]:
    """Have a domain's evaluation judge a model's answers after a number of steps.

    Parameters
    ----------
    model : TRM
        On the device to use.
    evaluation : Evaluation
        A fresh one, of `Domain.evaluation`.
    steps : int
    batch_size : int, optional
        Default 8 on a CPU, 2048 on a GPU.
    dtype : torch.dtype
        Of the recursion. Default float32.
    progress : callable, optional
        Told how many rows have been answered, after each batch.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    answered = 0
    for examples in evaluation.batches(batch_size or (CPU_BATCH if on_cpu else GPU_BATCH)):
        *_, (answers, halt_logits) = answers_by_step(model, examples, steps, dtype)
        evaluation.add(examples, answers, halt_logits)
        answered += len(examples.tokens)
        progress(answered)
    return evaluation.figures()


@torch.inference_mode()
def evaluate(
    model: TRM, examples: Examples, domain: Domain, steps: int, world: World | None = None
) -> Accuracy:
    """Return the exact accuracy of a model over a set.

    Parameters
    ----------
    model : TRM
        On the device to use.
    examples : Examples
    domain : Domain
    steps : int
        Supervision steps.
    world : World, optional
        Processes that share the work; each gets the whole result.
    """
    world = world or World()
    device = next(model.parameters()).device
    size = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    exact = np.zeros((steps, len(examples.tokens)), dtype=bool)
    verified = np.zeros_like(exact)
    halting = np.zeros(len(examples.tokens), dtype=bool)
    kept = np.zeros(examples.tokens.shape, dtype=np.int32)
    # Batches are dealt out in turn; a process's result is zero where another one works.
    for start in range(world.rank * size, len(examples.tokens), size * world.size):
        rows = slice(start, start + size)
        some = examples.rows(rows)
        for step, (answers, halt_logits) in enumerate(answers_by_step(model, some, steps)):
            exact[step, rows] = ((answers == some.answers) | ~some.mask).all(1)
            verdict = exact[step, rows]
            # Where the tokens say all that counts, which groups of their own are no part of.
            if domain.has_rules and domain.clues_in_cells and some.groups is None:
                verdict = domain.verify_tokens(some.tokens, answers, examples.shape)
            verified[step, rows] = verdict | verified[max(step - 1, 0), rows]
            settled = verified[step - 1, rows] if step else np.zeros(len(some.tokens), dtype=bool)
            halting[rows] = (halt_logits > 0) == exact[step, rows]
            kept[rows] = np.where(settled[:, None], kept[rows], answers)
    exact, verified, halting, kept = (
        world.sum(torch.from_numpy(part.astype(np.int32)).to(device)).cpu().numpy()
        for part in (exact, verified, halting, kept)
    )
    return Accuracy(
        exact.mean(1), verified.mean(1), float(halting.mean()), kept, verified[-1].astype(bool)
    )


def summary(accuracies: dict[str, Accuracy]) -> dict[str, float]:
    """Return three figures for each set: last step, by the rules, halting."""
    result: dict[str, float] = {}
    for name, accuracy in accuracies.items():
        result[f"{name}/last"] = round(float(accuracy.last[-1]), 4)
        result[f"{name}/verified"] = round(float(accuracy.verified[-1]), 4)
        result[f"{name}/halting"] = round(accuracy.halting, 4)
    return result


def read_tasks_of(files: Sequence[Path], domain: Domain) -> list[Task]:
    """Read all tasks of some files.

    Raises
    ------
    InvalidInputError
        Naming what can't be read.
    """
    tasks: list[Task] = []
    for path in files:
        try:
            for task in read_file(path, domain, str(path)):
                if isinstance(task, Exception):
                    raise task
                tasks.append(task)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{path} can't be read: {error}") from None
    return tasks


def _options(settings: Sequence[str]) -> dict[str, Any]:
    options = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set must be KEY=VALUE (augmentations=100); got {setting!r}")
        options[key] = load_yaml(text)
    return options


@click.command(cls=ErrorHandlingCommand)
@click.argument("model")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--steps", type=click.IntRange(min=1), help="Supervision steps [the model's own].")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Rows per batch [8 on a CPU, 2048 on a GPU]."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Evaluation options of the domain.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for figures.json and submissions."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [all].")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    default="float32",
    show_default=True,
    help="Precision of the recursion; the reference evaluates in bfloat16.",
)
def main(
    model: str,
    files: tuple[Path, ...],
    steps: int | None,
    batch_size: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    device: str,
    threads: int | None,
    precision: str,
) -> None:
    """Measure MODEL on the puzzles of FILES, by the metrics of its domain.

    MODEL is a name, a folder, or a checkpoint of trm-fit or of the reference (step_N). Each row
    gets one attempt, without search. --out writes figures.json and the domain's own files (ARC: a
    Kaggle submission).
    """
    if threads:
        torch.set_num_threads(threads)
    spec, network = load_model(resolve(model))
    domain = spec.made_for()
    evaluation = domain.evaluation(read_tasks_of(files, domain), _options(settings))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    chosen = steps or spec.model.halt_max_steps
    figures = judge(
        network.to(choose_device(device)),
        evaluation,
        chosen,
        batch_size,
        getattr(torch, precision),
        _Progress(),
    )
    for name, value in figures.items():
        whole = isinstance(value, int)
        click.echo(f"{name:<24}{value:>10,}" if whole else f"{name:<24}{value:>10.2%}")
    if out is not None:
        about = {"model": model, "files": [str(path) for path in files], "steps": chosen}
        text = json.dumps({**about, "precision": precision, "figures": figures}, indent=2)
        write_whole(out / "figures.json", (text + "\n").encode())
        for path in (out / "figures.json", *evaluation.save(out)):
            click.echo(f"written: {path}")


class _Progress:
    """Says once a minute, on standard error, how many rows have been answered."""

    def __init__(self) -> None:
        self.started = self.last = time.monotonic()

    def __call__(self, rows: int) -> None:
        now = time.monotonic()
        if now - self.last > 60:
            self.last = now
            rate = rows / (now - self.started)
            click.echo(f"{rows:,} rows answered, {rate:,.1f} a second", err=True)


if __name__ == "__main__":
    main()
