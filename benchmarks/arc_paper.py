"""Does the paper's ARC recipe, made small, learn the demonstrations of a few tasks by heart?

``python -m benchmarks.arc_paper ../shared/data/arc/arc-agi_training_challenges.json`` trains recipe
``arc-1`` with fewer channels and cycles on three tasks, without augmentations, and says when the
averaged weights answer every demonstration exactly. Test pairs are held out.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.machine import describe
from training.data.mixture import Mixture
from training.evaluate import evaluate
from training.recipe import load_recipe
from training.run import Run
from training.step import train_step
from trm_sdk.domains.arc.data import ArcSource
from trm_sdk.domains.data import Examples

#: What is smaller than in the recipe; the rest is the recipe's.
SMALL = (
    "model.hidden_size=64",
    "model.num_heads=2",
    "model.L_layers=1",
    "model.H_cycles=1",
    "model.L_cycles=1",
    "model.puzzle_emb_ndim=64",
    "model.puzzle_emb_len=1",
    "optimizer.lr=1e-3",
    "optimizer.warmup=50",
    "optimizer.ema=0.98",
    "objective.max_steps=4",
    "precision=float32",
    "compile=false",
    "evaluation.steps=4",
)


def demonstrations(run: Run) -> Examples:
    """Return every example that the run's data set has, each once."""
    stream = run.carry.stream
    assert isinstance(stream, Mixture)
    source = stream.parts[0].source
    assert isinstance(source, ArcSource)
    made = source.build
    puzzles = np.repeat(np.arange(len(made.group_of)), made.sizes[made.group_of])
    members = np.concatenate([np.arange(size) for size in made.sizes[made.group_of]])
    return made.examples(puzzles, members)


@click.command()
@click.argument("challenges", type=click.Path(exists=True, path_type=Path))
@click.option("--tasks", default="25ff71a9,d037b0a7,44f52bb0", show_default=True)
@click.option("--steps", default=3000, show_default=True, help="Optimiser steps at most.")
@click.option("--batch", default=8, show_default=True)
@click.option("--every", default=50, show_default=True, help="Steps between evaluations.")
@click.option("--threads", default=1, show_default=True)
@click.argument("overrides", nargs=-1)
def main(
    challenges: Path,
    tasks: str,
    steps: int,
    batch: int,
    every: int,
    threads: int,
    overrides: tuple[str, ...],
) -> None:
    """Train until every demonstration of TASKS is answered exactly; OVERRIDES as training.fit."""
    torch.set_num_threads(threads)
    chosen = tasks.split(",")
    data = json.loads(challenges.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arc-agi_few_challenges.json"
        path.write_text(json.dumps({name: data[name] for name in chosen}), encoding="utf-8")
        source = (
            f"{{kind: dataset, subsets: [{{path: {path}, evaluation: true}}], augmentations: 0}}"
        )
        every_one = (
            *SMALL,
            f"steps={steps}",
            f"batch_size={batch}",
            f"data=[{source}]",
            *overrides,
        )
        recipe = load_recipe("arc-1", every_one)
        run = Run.start(recipe, torch.device("cpu"))
    known = demonstrations(run)
    parameters = sum(p.numel() for p in run.model.parameters())
    click.echo(json.dumps(describe(threads)))
    click.echo(
        f"{parameters:,} parameters, {len(known.tokens)} demonstrations of {len(chosen)} tasks"
    )
    began, loss = time.monotonic(), float("nan")
    while run.step < steps:
        loss = train_step(run).loss
        if run.step % every == 0 or run.step == steps:
            exact = evaluate(run.averaged_model(), known, run.domain, recipe.evaluation.steps)
            seconds = time.monotonic() - began
            click.echo(
                f"step {run.step:>5} {seconds:6.0f} s  loss {loss:.4f}  {exact.last[-1]:.0%}"
            )
            if exact.last[-1] == 1:
                click.echo(f"every demonstration is exact after {run.step} steps, {seconds:.0f} s")
                return
    raise click.ClickException(f"not every demonstration is exact after {steps} steps")


if __name__ == "__main__":
    main()
