"""What a run tells on its way: a progress bar, a line an evaluation, ``log.jsonl``, TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import report
from .meter import Meter
from .run import Run

#: A line of JSON an evaluation, in the folder of a run.
LOG = "log.jsonl"


class Journal:
    """The log of a run; in a distributed one only the first process keeps it.

    Parameters
    ----------
    run : Run
        A killed run may have logged more than it saved: the log begins anew from its history.
    out : Path
    console : rich Console
    """

    def __init__(self, run: Run, out: Path, console: Console) -> None:
        self.run, self.path = run, out / LOG
        if run.world.first:
            lines = [json.dumps(line) + "\n" for line in run.history]
            self.path.write_text("".join(lines), encoding="utf-8")
        self.progress = _progress(console)
        self.scalars = report.Scalars(out if run.world.first else None, run.step)
        self.task = self.progress.add_task(
            run.recipe.name, total=run.recipe.steps, completed=run.step, note=""
        )

    def __enter__(self) -> Journal:
        self.progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        self.scalars.__exit__(kind, error, trace)

    def tick(self, meter: Meter) -> None:
        """Move the progress bar on, every tenth step."""
        run = self.run
        if run.step % 10 == 0 and run.averages is not None:
            loss, cells, _ = run.averages
            note = (
                f"loss {loss:.3f}  cells {cells:.0%}  solved {run.carry.solved_share:.0%}  "
                f"{meter.rate:.0f}/s  {meter.utilisation:.0%} of peak"
            )
            self.progress.update(self.task, completed=run.step, note=note)

    def add(self, accuracy: dict[str, float], meter: Meter) -> None:
        """Log an evaluation, beside what training has come to."""
        run = self.run
        assert run.averages is not None  # a step came before
        loss, cells, norm = run.averages
        judged = run.carry.judged_share
        line = {
            "step": run.step,
            "seconds": round(run.seconds, 1),
            "loss": round(loss, 4),
            "cells": round(cells, 4),
            "solved_in_training": round(run.carry.solved_share, 4),
            **({} if judged is None else {"dead_ends_in_training": round(judged, 4)}),
            "grad_norm": round(norm, 3),
            "learning_rate": run.optimizers[0].param_groups[0]["lr"],
            **meter.figures(),
            **accuracy,
        }
        run.carry.forget_finished()
        run.history.append(line)
        if run.world.first:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.scalars.add(line)
        self.progress.console.print(_sentence(line), highlight=False, soft_wrap=True)


def _sentence(line: dict[str, Any]) -> str:
    parts = [f"step {line['step']:>7,}  {line['seconds'] / 60:6.1f} min  loss {line['loss']:.4f}"]
    for key, value in line.items():
        if key.endswith("/last"):
            name = key.removesuffix("/last")
            on_the_way = line[name + "/verified"]
            lost = "" if on_the_way == value else f" ({on_the_way:.1%} on the way)"
            parts.append(f"{name} {value:.1%}{lost}")
    if "dead_ends_in_training" in line:
        parts.append(f"dead ends {line['dead_ends_in_training']:.1%}")
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
