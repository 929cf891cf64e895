"""Short runs of a recipe, one thing changed in each: ``python -m benchmarks.trials``.

Every trial is `training.fit` on `sudoku-quick` with a few hundred steps, the same number for all.
Two groups of them: ``work`` ends with the exact accuracy on held-out puzzles after 16 supervision
steps; ``plateau`` asks whether more steps go on helping, on puzzles hard to search too. What a
trial costs is given in operations of its matrix products, which no other load of the machine
changes. A trial that has been run is not run again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, sentence
from training import cost
from training.evaluate import evaluate
from training.recipe import load_recipe
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import get_domain
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.persistence.checkpoint import load_model, read_spec

RECIPE = "sudoku-quick"
SLOTS = 16
#: What the trials of ``work`` share beside the recipe: what it had before Muon won them.
BASE = (f"batch_size={SLOTS}", "optimizer.name=adamw", "optimizer.lr=3e-3")
#: What is changed, and how that is called.
TRIALS = {
    "AdamW, 3e-3: nothing changed": (),
    "32 channels": ("model.hidden_size=32", "model.ffn_size=64"),
    "16 channels": ("model.hidden_size=16", "model.ffn_size=32"),
    "two layers": ("model.L_layers=2",),
    "n = 1": ("model.L_cycles=1",),
    "n = 3": ("model.L_cycles=3",),
    "T = 2, both cycles in the gradient": ("model.H_cycles=2", "objective.grad_cycles=2"),
    "gradient through 1 step": ("objective.grad_steps=1",),
    "gradient through 2 steps": ("objective.grad_steps=2",),
    "gradient through 8 steps": ("objective.grad_steps=8",),
    "at most 20 steps a puzzle": ("objective.max_steps=20",),
    "no hard puzzles": (
        "data=[{kind: generated, clues_added: [0, 14], end: 0.06}, "
        "{kind: generated, clues_added: [0, 6], start: 0.06}]",
    ),
    "Muon, 0.02": ("optimizer.name=muon", "optimizer.muon_lr=0.02"),
    "Muon, 0.005": ("optimizer.name=muon", "optimizer.muon_lr=0.005"),
    "learning rate 6e-3": ("optimizer.lr=6e-3",),
    "learning rate 1.5e-3": ("optimizer.lr=1.5e-3",),
    "noise 0.05 in the latent": ("objective.noise=0.05",),
    "halting weight 0": ("objective.halting_weight=0",),
    "halting weight 1": ("objective.halting_weight=1",),
    "the paper's MLP-T, 64 channels, two layers": (
        "model.mixer=mlp_t", "model.hidden_size=64", "model.ffn_size=256", "model.L_layers=2",
    ),
}  # fmt: skip
#: What teaches a network to come to rest (EqR), alone and together.
_START = "objective.random_start=1"
_NOISE = ("objective.noise=0.1", "objective.noise_share=0.5")
PLATEAU = {
    "the recipe: n = 2, pooling": (),
    "random start, noise": (_START, *_NOISE),
    "messages": ("model.block=message",),
    "messages, random start, noise": ("model.block=message", _START, *_NOISE),
    "messages, random start, noise, n = 3": (
        "model.block=message", "model.L_cycles=3", _START, *_NOISE,
    ),
}  # fmt: skip
#: Supervision steps after which ``plateau`` looks.
LOOKS = (16, 64)
#: Its second set: minimal puzzles that clue swaps made hard to search.
HARD = {"hard": True, "pool": 400, "first_rounds": 25}
GROUPS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "work": (BASE, TRIALS),
    "plateau": ((), PLATEAU),
}


def run(name: str, changes: tuple[str, ...], steps: int, puzzles: int, folder: Path) -> None:
    """Run one trial, in a process of its own."""
    # The same number of puzzles' supervision steps for all, however many a gradient spans.
    grad = next((int(c.split("=")[1]) for c in changes if c.startswith("objective.grad_s")), 4)
    command = [
        sys.executable, "-m", "training.fit", RECIPE, "--threads", "1", "--out", str(folder),
        f"steps={steps * 4 // grad}", f"evaluation.puzzles={puzzles // 10}",
        "evaluation.every=1e9", *changes,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1:]}")


def read(folder: Path, changes: tuple[str, ...]) -> dict[str, Any]:
    """Return what a trial that has ended left behind, and the operations that it took."""
    notes = read_spec(folder / "model").notes
    recipe = load_recipe(RECIPE, changes)
    operations = notes["steps"] * cost.mean_step(recipe)
    return {"steps": notes["steps"], "operations": operations, "accuracy": notes["accuracy"]}


def plateau(folder: Path, puzzles: int) -> dict[str, list[float]]:
    """Measure a trial's exact accuracy on two held-out sets, after each of `LOOKS` steps."""
    spec, model = load_model(folder / "model")
    domain = get_domain(spec.domain)
    sets = {"minimal": {"clues_added": (0, 0)}, "hard": HARD}
    found = {}
    for name, options in sets.items():
        examples = domain.examples(puzzles, HELD_OUT_SEED, domain.generator_options(options))
        last = evaluate(model.eval(), examples, domain, LOOKS[-1]).last
        found[name] = [round(float(last[look - 1]), 4) for look in LOOKS]
    return found


def plateau_table(result: dict[str, Any]) -> str:
    """Return the figures of ``plateau`` as Markdown."""
    heads = [f"{name}, {look} steps" for name in ("minimal", "hard") for look in LOOKS]
    lines = [
        f"| changed | work | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (1 + len(heads))}",
    ]
    first = next(iter(result["trials"].values()))
    for name, row in result["trials"].items():
        cells = [f"{one:.1%}" for values in row["plateau"].values() for one in values]
        work = row["operations"] / first["operations"]
        lines.append(f"| {name} | {work:.2f}x | {' | '.join(cells)} |")
    return "\n".join([*lines, "", sentence(result["machine"])])


def table(result: dict[str, Any]) -> str:
    """Return the figures of ``work`` as Markdown."""
    lines = [
        "| changed | optimiser steps | work | minimal | 10 clues added |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    first = next(iter(result["trials"].values()))
    for name, row in result["trials"].items():
        accuracy = row["accuracy"]
        lines.append(
            f"| {name} | {row['steps']:,} | {row['operations'] / first['operations']:.2f}x | "
            f"{accuracy['minimal/last']:.1%} | {accuracy['plus-10/last']:.1%} |"
        )
    return "\n".join([*lines, "", sentence(result["machine"])])


@click.command(cls=ErrorHandlingCommand)
@click.option("--group", default="work", show_default=True, type=click.Choice(list(GROUPS)))
@click.option("--steps", default=700, show_default=True, help="With four steps in the gradient.")
@click.option("--puzzles", default=400, show_default=True, help="Held-out puzzles of a set.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/trials"))
@click.option("--out", type=click.Path(path_type=Path), help="Default: among the results.")
def main(group: str, steps: int, puzzles: int, folder: Path, out: Path | None) -> None:
    """Run every trial of a group that has not been run, and write the table."""
    console = Console()
    base, trials = GROUPS[group]
    as_table = plateau_table if group == "plateau" else table
    out = out or RESULTS / ("trials.json" if group == "work" else f"trials-{group}.json")
    result: dict[str, Any] = {"recipe": RECIPE, "machine": describe(1), "trials": {}}
    for name, changes in trials.items():
        own = folder / re.sub(r"[^\w.]+", "-", name)
        if not (own / "model").is_dir():
            run(name, (*base, *changes), steps, puzzles, own)
        row = read(own, (*base, *changes))
        if group == "plateau":
            row["plateau"] = plateau(own, puzzles)
        result["trials"][name] = row
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        console.print(as_table(result).splitlines()[-3], highlight=False)
    out.with_suffix(".md").write_text(as_table(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
