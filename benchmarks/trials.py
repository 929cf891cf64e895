"""Short runs of a recipe, one thing changed in each: ``python -m benchmarks.trials``.

Every trial is `training.fit` with a few hundred or thousand steps, the same work for all of a
group. Three groups of them: ``work`` (of `sudoku-quick`) ends with the exact accuracy on held-out
puzzles after 16 supervision steps; ``plateau`` asks whether more steps go on helping, on puzzles
hard to search too; ``maze`` what its targets are worth, and what turned and mirrored copies of
labelled mazes do (``--steps 8000``). What a trial costs is given in operations of its matrix
products, which no other load of the machine changes. A trial that has been run is not run again.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

SLOTS = 16
Changes = tuple[str, ...]
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
LOOKS = (16, 64, 256)
#: Its second set: minimal puzzles that clue swaps made hard to search.
HARD = {"hard": True, "pool": 400, "first_rounds": 25}
#: Mazes of a file, as the benchmark's are: a thousand, of another seed than those held out.
_FILE = ("domain=maze-15x15", "data=[{kind: file, path: {folder}/mazes.csv, augment: false}]")
MAZES = {
    "the recipe: each cell's targets when it can know them": (),
    "all targets at once (`objective.timing=final`)": ("objective.timing=final",),
    "the path alone (`objective.targets=off`)": ("objective.targets=off",),
    "1,000 mazes of 15x15 from a file": _FILE,
    "the same, turned and mirrored (`augment`)": (
        _FILE[0], _FILE[1].replace("false", "true"),
    ),
}  # fmt: skip


def run(name: str, recipe: str, changes: Changes, steps: int, puzzles: int, folder: Path) -> None:
    """Run one trial, in a process of its own."""
    # The same number of puzzles' supervision steps for all, however many a gradient spans.
    usual, grad = (load_recipe(recipe, one).objective.grad_steps for one in ((), changes))
    command = [
        sys.executable, "-m", "training.fit", recipe, "--threads", "1", "--out", str(folder),
        f"steps={steps * usual // grad}", f"evaluation.puzzles={puzzles // 10}",
        "evaluation.every=1e9", *changes,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1:]}")


def read(folder: Path, recipe_name: str, changes: Changes) -> dict[str, Any]:
    """Return what a trial that has ended left behind, and the operations that it took."""
    notes = read_spec(folder / "model").notes
    recipe = load_recipe(recipe_name, changes)
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


def table(result: dict[str, Any], sets: Mapping[str, str]) -> str:
    """Return the figures of some held-out sets, by the heads of their columns, as Markdown."""
    lines = [
        f"| changed | optimiser steps | work | {' | '.join(sets)} |",
        f"| --- | ---: | ---: |{' ---: |' * len(sets)}",
    ]
    first = next(iter(result["trials"].values()))
    for name, row in result["trials"].items():
        shares = " | ".join(f"{row['accuracy'][f'{one}/last']:.1%}" for one in sets.values())
        work = row["operations"] / first["operations"]
        lines.append(f"| {name} | {row['steps']:,} | {work:.2f}x | {shares} |")
    return "\n".join([*lines, "", sentence(result["machine"])])


def write_mazes(folder: Path) -> None:
    """Write the mazes of a trial's file, unless they are there."""
    path = folder / "mazes.csv"
    if path.is_file():
        return
    domain = get_domain("maze-15x15")
    options = domain.generator_options({"walls": (0.2, 0.46), "kinds": {"walls": 4, "climbed": 3}})
    made = domain.examples(1000, 0, options)
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("question", "answer"))
        for tokens, answer in zip(made.tokens, made.answers, strict=True):
            grids = domain.decode_task(tokens).grid, domain.decode(answer)
            rows.writerow([domain.to_line(grid) for grid in grids])


@dataclass(frozen=True)
class Group:
    """Trials that are compared with each other.

    Attributes
    ----------
    trials : mapping from name to changes
        ``{folder}`` in a change stands for the folder of the group's runs.
    recipe : str
    base : tuple of str
        What all of them change.
    sets : mapping from head to name
        Held-out sets of the table.
    looks : bool
        Whether accuracy is measured after several numbers of steps, by `plateau`.
    prepare : callable
        Writes what the trials need into the folder.
    """

    trials: Mapping[str, Changes]
    recipe: str = "sudoku-quick"
    base: Changes = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    looks: bool = False
    prepare: Callable[[Path], None] = lambda _: None

    def table(self, result: dict[str, Any]) -> str:
        """Return the figures as Markdown."""
        return plateau_table(result) if self.looks else table(result, self.sets)


GROUPS: Mapping[str, Group] = {
    "work": Group(TRIALS, base=BASE, sets={"minimal": "minimal", "10 clues added": "plus-10"}),
    "plateau": Group(PLATEAU, looks=True),
    "maze": Group(
        MAZES,
        recipe="maze",
        sets={"15x15, all kinds": "mixed-15", "30x30, hard": "hard-30"},
        prepare=write_mazes,
    ),
}


@click.command(cls=ErrorHandlingCommand)
@click.option("--group", "which", default="work", show_default=True, type=click.Choice([*GROUPS]))
@click.option("--steps", default=700, show_default=True, help="With the recipe's own gradient.")
@click.option("--puzzles", default=400, show_default=True, help="Held-out puzzles of a set.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/trials"))
@click.option("--out", type=click.Path(path_type=Path), help="Default: among the results.")
def main(which: str, steps: int, puzzles: int, folder: Path, out: Path | None) -> None:
    """Run every trial of a group that has not been run, and write the table."""
    console, group = Console(), GROUPS[which]
    out = out or RESULTS / ("trials.json" if which == "work" else f"trials-{which}.json")
    result: dict[str, Any] = {"recipe": group.recipe, "machine": describe(1), "trials": {}}
    group.prepare(folder)
    for name, stated in group.trials.items():
        changes = tuple(
            change.replace("{folder}", str(folder)) for change in (*group.base, *stated)
        )
        own = folder / re.sub(r"[^\w.]+", "-", name)
        if not (own / "model").is_dir():
            run(name, group.recipe, changes, steps, puzzles, own)
        row = read(own, group.recipe, changes)
        if group.looks:
            row["plateau"] = plateau(own, puzzles)
        result["trials"][name] = row
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        console.print(group.table(result).splitlines()[-3], highlight=False)
    out.with_suffix(".md").write_text(group.table(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
