"""Put what `benchmarks.accuracy` measured into a card: ``python -m benchmarks.card sudoku``.

The prose of a card is written by hand; what stands between the markers ``<!-- measured -->`` and
``<!-- end -->`` is replaced. Figures go to ``docs/models``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl

from benchmarks.accuracy import RESULTS
from benchmarks.machine import sentence
from benchmarks.suites import Suite, suite_of
from trm_sdk import Solver
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.errors import InvalidInputError
from trm_sdk.persistence.hub import BUNDLED

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURES = Path(__file__).parents[1] / "docs" / "models"
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def tables(result: dict[str, Any], suite: Suite) -> str:
    """Return the measured part of a card, as Markdown."""
    options = result["defaults"]
    times = result.get("latency", {})
    how = {
        "none": "",
        "noise": f" (noise {options['noise']:g})",
        "guess": " (a guess in each after the first)",
        "tree": " (guesses on guesses, guided by the dead-end head)",
        "symmetry": " (each after the first turned or mirrored)",
    }[options["explore"]]
    larger = options.get("steps_per_cell")
    each = f" (or {larger:g} a cell, where that is more)" if larger else ""
    fewer = options.get("later_steps")
    later = f" ({fewer} in those after the first)" if fewer else ""
    lines = [
        f"Defaults: up to {options['max_steps']} steps{each} an attempt{later}, "
        f"{options['attempts']} attempts{how}. {sentence(result['machine'])}"
        + ("; time of single solves with onnxruntime." if times else "."),
        "",
        *suite.table(result),
    ]
    if "all" in times:
        lines += [
            "",
            f"Over minimal and real puzzles together: p50 {times['all']['p50_ms']:.0f} ms, "
            f"p95 {times['all']['p95_ms']:.0f} ms.",
        ]
    if result.get("givens"):
        lines += ["", "| givens | exact | mean steps |", "| --- | ---: | ---: |"]
        lines += [
            f"| {givens} | {row['exact']:.1%} | {row['mean_steps']:.1f} |"
            for givens, row in result["givens"].items()
        ]
    if result.get("curve"):
        lines += ["", *suite.curve_table(result["curve"])]
    if result.get("halting"):
        lines += [
            "",
            "The halting head at every step of plain runs over all sets: what it said (mean of a "
            "tenth), and how often the answer was right.",
            "",
            "| said | right | steps |",
            "| ---: | ---: | ---: |",
        ]
        lines += [
            f"| {row['said']:.2f} | {row['right']:.2f} | {row['steps']:,} |"
            for row in result["halting"]
        ]
    return "\n".join(lines)


def draw_failures(result: dict[str, Any], suite: Suite, path: Path) -> None:
    """Draw a few puzzles that were not solved, as the suite shows them."""
    pictures = suite.failures(result)
    if not pictures:
        return
    figure, axes = plt.subplots(
        1, len(pictures), figsize=(4 * len(pictures), 4.4), squeeze=False, layout="constrained"
    )
    for plot, (image, title) in zip(axes[0], pictures, strict=True):
        plot.imshow(image)
        plot.set_title(title, fontsize=10)
        plot.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def draw_curve(points: list[dict[str, Any]], suite: Suite, path: Path) -> None:
    """Draw accuracy against supervision steps: all ways in one panel, or each in its own."""
    sets = list(dict.fromkeys(point["set"] for point in points))
    measured = {point["explore"] for point in points}
    ways = [way for way in suite.ways if way.explore in measured]
    panels = [[way] for way in ways] if suite.panels else [ways]
    size = (4.2 * len(panels) + 2.4 if suite.panels else 8.4, 4.4)
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    for plot, shown in zip(axes[0], panels, strict=True):
        for i, name in enumerate(sets):
            for way in shown:
                chosen = [p for p in points if p["set"] == name and p["explore"] == way.explore]
                plot.plot(
                    [p["max_steps" if suite.panels else "mean_steps"] for p in chosen],
                    [100 * p["exact"] for p in chosen],
                    way.style,
                    color=plt.colormaps["tab20"](i * 2 % 20 + i // 10),
                    label=name if way == shown[0] else None,
                    markersize=5,
                )
        spent = "supervision steps of one attempt" if suite.panels else "supervision steps a puzzle"
        plot.set(xscale="log", xlabel=spent if suite.panels else f"{spent} (mean)")
        plot.set_ylim(0, 102)
        plot.grid(alpha=0.3)
        if suite.panels:
            steps = sorted({point["max_steps"] for point in points})
            plot.set_title(shown[0].label, fontsize=10)
            plot.set_xticks(steps, [str(one) for one in steps], fontsize=8)
            plot.minorticks_off()
    last = axes[0][-1]
    if not suite.panels:
        for way in ways:
            last.plot([], [], way.style, color="grey", label=way.label)
    axes[0][0].set_ylabel(suite.ylabel)
    last.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


@click.command(cls=ErrorHandlingCommand)
@click.argument("model", default="sudoku")
def main(model: str) -> None:
    """Refresh the card of bundled MODEL from benchmarks/results."""
    source, card = RESULTS / f"accuracy-{model}.json", BUNDLED / model / "README.md"
    for path in (source, card):
        if not path.is_file():
            raise InvalidInputError(f"{path} is missing")
    result = json.loads(source.read_text(encoding="utf-8"))
    text = card.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InvalidInputError(f"{card} has no part between {BEGIN!r} and {END!r}")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    suite = suite_of(Solver.from_pretrained(model))
    card.write_text(f"{before}{BEGIN}\n{tables(result, suite)}\n{END}{after}", encoding="utf-8")
    if result.get("curve"):
        draw_curve(result["curve"], suite, FIGURES / f"{model}-compute.png")
    draw_failures(result, suite, FIGURES / f"{model}-failures.png")


if __name__ == "__main__":
    main()
