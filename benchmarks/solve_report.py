"""What `benchmarks.solve` measured, as tables and a figure: ``python -m benchmarks.solve_report``.

Writes the figure, and replaces what stands between ``<!-- solve -->`` and ``<!-- end solve -->`` in
docs/benchmarks.md.
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
from benchmarks.pages import PAGE, fill
from trm_sdk.cli.console import ErrorHandlingCommand

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "solve.png"
#: Sets that the page's table shows; all are in results/solve.md and in the figure.
SHOWN = ("34+ givens", "minimal", "clue17")
#: Load average from which a machine was not quiet.
BUSY = 0.7

Rows = dict[str, dict[str, float]]


def markdown(result: dict[str, Any]) -> str:
    """Return everything as Markdown: a table for each set, and what else was measured."""
    parts = [sentence(result["machine"])]
    for name, rows in result.get("sets", {}).items():
        if rows:
            parts.append(_table(name, rows))
    parts += sentences(result)
    for name, points in result.get("curve", {}).items():
        lines = [
            f"| {name} | steps an attempt | attempts | exact | mean steps | mean ms |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {'plain' if point['explore'] == 'none' else point['explore']} | "
            f"{point['max_steps']} | "
            f"{point['attempts']} | {point['exact']:.1%} | {point['mean_steps']:.1f} | "
            f"{point['ms']:.1f} |"
            for point in points
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _table(name: str, rows: Rows) -> str:
    """Return the table of one set, with ratios to the first row."""
    first = next(iter(rows.values()))
    lines = [
        f"| {name}, {first['puzzles']} puzzles | exact | p50 ms | p95 ms | p99 ms | "
        "faster at p50 | puzzles/s | at batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {label} | {row['exact']:.1%} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | "
        f"{row['p99_ms']:.1f} | {first['p50_ms'] / row['p50_ms']:.1f}x | "
        f"{row['puzzles_per_second']:.1f} | "
        f"{row['puzzles_per_second'] / first['puzzles_per_second']:.1f}x |"
        for label, row in rows.items()
    ]
    return "\n".join(lines)


def sentences(result: dict[str, Any]) -> list[str]:
    """Return what goes into no table, a sentence for each fact."""
    found = []
    busy = {part: load for part, load in result.get("load", {}).items() if load >= BUSY}
    if busy:
        found.append(
            f"The machine did other work during {', '.join(busy)} (load average "
            f"{max(busy.values()):.1f} at the start): times, and ratios of times, do not hold."
        )
    if failed := result.get("failures"):
        one, many = failed["one attempt"], failed["16 attempts"]
        share = many["solved"] / max(failed["failures"], 1)
        found.append(
            f"Of {failed['puzzles']:,} freshly generated minimal puzzles the reference evaluation "
            f"fails {failed['failures']}; with 16 attempts {many['solved']} of those are solved "
            f"({share:.0%}), with one attempt of up to {one['max_steps']} steps {one['solved']}."
        )
    if overhead := result.get("overhead"):
        found.append(
            f"Of a single solve's step, {overhead['step_us'] / 1000:.2f} ms are spent in "
            f"onnxruntime and {overhead['python_us']:.0f} µs in Python: {overhead['share']:.1%}."
        )
    if starts := result.get("cold"):
        onnx, torch = starts["onnx"], starts["torch"]
        found.append(
            f"From import to the first answer a fresh process takes {onnx['cold_seconds']:.2f} s "
            f"and {onnx['peak_mb']:.0f} MB with onnxruntime, {torch['cold_seconds']:.2f} s and "
            f"{torch['peak_mb']:.0f} MB with PyTorch."
        )
    return found


def fragment(result: dict[str, Any]) -> str:
    """Return the page's part: a table of the common sets side by side, sentences, the figure."""
    sets: dict[str, Rows] = result.get("sets", {})
    shown = [name for name in SHOWN if sets.get(name)]
    parts = []
    if shown:
        labels = list(sets[shown[0]])
        size = result.get("bytes", {})
        lines = [
            f"| | {' | '.join(shown)} | file |",
            f"| --- |{' --- |' * len(shown)} ---: |",
        ]
        for label in labels:
            cells = [_cell(sets[name], label) for name in shown]
            kilobytes = f"{size[label] / 1000:.0f} KB" if label in size else ""
            lines.append(f"| {label} | {' | '.join(cells)} | {kilobytes} |")
        parts.append("\n".join(lines))
        counts = ", ".join(f"{sets[name][labels[0]]['puzzles']} of {name}" for name in shown)
        parts.append(
            f"{sentence(result['machine'])}; puzzles: {counts}. The Solver's defaults spend more "
            f"steps on what {result['steps']} do not solve: they trade time for accuracy."
        )
    parts += sentences(result)
    if result.get("curve"):
        parts.append(
            "Accuracy against compute, for longer plain attempts and for more attempts of every "
            "kind, which the rules stop at the first right answer:"
        )
        parts.append("![accuracy against milliseconds a puzzle, by set](solve.png)")
    return "\n\n".join(parts)


def _cell(rows: Rows, label: str) -> str:
    row, first = rows.get(label), next(iter(rows.values()))
    if row is None:  # the run was cut short
        return ""
    faster = first["p50_ms"] / row["p50_ms"]
    more = row["puzzles_per_second"] / first["puzzles_per_second"]
    return (
        f"{row['exact']:.0%}, {row['p50_ms']:.1f} ms ({faster:.1f}x), "
        f"{row['puzzles_per_second']:.0f}/s ({more:.1f}x)"
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw accuracy against milliseconds, a panel for each set."""
    curves: dict[str, list[dict[str, Any]]] = result["curve"]
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 2.9 * rows), layout="constrained", squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    for panel, (name, points) in zip(panels.flat, curves.items(), strict=False):
        for way in WAYS:
            line = [point for point in points if point["explore"] == way.explore]
            if not line:
                continue
            panel.plot(
                [point["ms"] for point in line],
                [100 * point["exact"] for point in line],
                way.style, ms=4, lw=1.5, label=way.label,
            )  # fmt: skip
        for label, row in result.get("sets", {}).get(name, {}).items():
            if label.startswith("reference"):
                ms = 1000 / row["puzzles_per_second"]
                label = f"reference evaluation, {result['steps']} steps"
                panel.plot(ms, 100 * row["exact"], "kx", ms=7, mew=2, label=label)
        panel.set(xscale="log", title=name, ylim=(-3, 103))
        panel.xaxis.set_major_formatter("{x:,g}")
        panel.tick_params(labelbottom=True)
        panel.grid(alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel("solved exactly, %")
    for panel in panels.flat[max(len(curves) - columns, 0) : len(curves)]:
        panel.set_xlabel("mean milliseconds a puzzle")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


@click.command(cls=ErrorHandlingCommand)
@click.argument(
    "file", type=click.Path(exists=True, path_type=Path), default=RESULTS / "solve.json"
)
@click.option("--page", type=click.Path(exists=True, path_type=Path), default=PAGE)
@click.option("--figure", type=click.Path(path_type=Path), default=FIGURE)
def main(file: Path, page: Path, figure: Path) -> None:
    """Write the page's part and the figure from a FILE of `benchmarks.solve`'s results."""
    result = json.loads(file.read_text("utf-8"))
    if result.get("curve"):
        draw(result, figure)
    fill(page, "solve", fragment(result))


if __name__ == "__main__":
    main()
