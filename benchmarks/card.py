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
from benchmarks.curve import WAYS
from benchmarks.machine import sentence
from trm_sdk import SolveOptions, Solver
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.errors import InvalidInputError
from trm_sdk.persistence.hub import BUNDLED
from trm_sdk.render.image import draw_board

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURES = Path(__file__).parents[1] / "docs" / "models"
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def tables(result: dict[str, Any]) -> str:
    """The measured part of a card, as Markdown."""
    options = result["defaults"]
    times = result.get("latency", {})
    noise = f" (noise {options['noise']:g})" if options["explore"] == "noise" else ""
    guess = " (a guess in each after the first)" if options["explore"] == "guess" else ""
    lines = [
        f"Defaults: up to {options['max_steps']} steps an attempt, {options['attempts']} attempts"
        f"{noise}{guess}. {sentence(result['machine'])}"
        + ("; time of single solves with onnxruntime." if times else "."),
        "",
        "| set | puzzles | exact | verified | falsely verified | mean steps |"
        + (" p50 ms | p95 ms |" if times else ""),
        "| --- | ---: | ---: | ---: | ---: | ---: |" + (" ---: | ---: |" if times else ""),
    ]
    for name, row in result.get("sets", {}).items():
        cells = (
            f"| {name} | {row['puzzles']:,} | {row['exact']:.2%} | {row['verified']:.2%} | "
            f"{row['false_verified']} | {row['mean_steps']:.1f} |"
        )
        if name in times:
            cells += f" {times[name]['p50_ms']:.1f} | {times[name]['p95_ms']:,.0f} |"
        lines.append(cells)
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
        lines += ["", *_curve_table(result["curve"])]
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


def draw_failures(result: dict[str, Any], model: str, path: Path) -> None:
    """Three puzzles that were not solved: the last answer, uncertain cells in red."""
    rows = result.get("sets", {}).values()
    puzzles = [puzzle for row in rows for puzzle in row.get("failures", ())][:3]
    if not puzzles:
        return
    solver = Solver.from_pretrained(model)
    figure, axes = plt.subplots(1, len(puzzles), figsize=(4 * len(puzzles), 4.2), squeeze=False)
    for plot, puzzle in zip(axes[0], puzzles, strict=True):
        *_, last = solver.stream(puzzle, SolveOptions(max_steps=64, attempts=1))
        certainty = last.probabilities.max(-1)
        image = draw_board(solver.domain, solver.domain.parse(puzzle), last.grid, certainty)
        plot.imshow(image)
        plot.set_title(f"after {last.index} steps: {last.confidence:.2f} sure", fontsize=10)
        plot.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def _curve_table(points: list[dict[str, Any]]) -> list[str]:
    sets = list(dict.fromkeys(point["set"] for point in points))
    size = max(point["puzzles"] for point in points)
    lines = [
        f"Accuracy against compute (up to {size} puzzles of each set; exact, mean steps):",
        "",
        "| attempts x steps | " + " | ".join(sets) + " |",
        "| --- |" + " ---: |" * len(sets),
    ]
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for point in points:
        rows.setdefault(_setting(point), {})[point["set"]] = point
    for label, row in rows.items():
        cells = [f"{row[name]['exact']:.1%}, {row[name]['mean_steps']:.0f}" for name in sets]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _setting(point: dict[str, Any]) -> str:
    how = {
        "none": "",
        "noise": f", noise {point['noise']:g}",
        "symmetry": ", symmetries",
        "guess": ", guesses",
    }
    return f"{point['attempts']} x {point['max_steps']}{how[point['explore']]}"


def draw_curve(points: list[dict[str, Any]], path: Path) -> None:
    """Exact accuracy against the mean number of supervision steps spent."""
    sets = list(dict.fromkeys(point["set"] for point in points))
    figure, axes = plt.subplots(figsize=(8.4, 4.4), layout="constrained")
    for color, name in zip(plt.rcParams["axes.prop_cycle"].by_key()["color"], sets, strict=False):
        for way in WAYS:
            chosen = [p for p in points if p["set"] == name and p["explore"] == way.explore]
            axes.plot(
                [p["mean_steps"] for p in chosen],
                [100 * p["exact"] for p in chosen],
                way.style,
                color=color,
                label=name if way.explore == "none" else None,
                markersize=5,
            )
    for way in WAYS:
        axes.plot([], [], way.style, color="grey", label=way.label)
    axes.set(xscale="log", xlabel="supervision steps a puzzle (mean)", ylabel="exact grids, %")
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
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
    card.write_text(f"{before}{BEGIN}\n{tables(result)}\n{END}{after}", encoding="utf-8")
    if result.get("curve"):
        draw_curve(result["curve"], FIGURES / f"{model}-compute.png")
    draw_failures(result, model, FIGURES / f"{model}-failures.png")


if __name__ == "__main__":
    main()
