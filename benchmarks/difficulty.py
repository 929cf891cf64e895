"""How hard the puzzles trained on are, beside real ones: ``python -m benchmarks.difficulty``.

Givens and ratings (`training.data.generator.rate`: failed guesses of a plain search) of random
minimal puzzles, of the hard pool that the `sudoku` recipe draws from, and of each CSV of
``--data``. The real puzzles are looked at here and trained on nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import RESULTS
from training.config import SudokuGenerated, load_recipe
from training.data import generator
from training.data.sudoku import HELD_OUT_SEED, examples, read_csv
from trm_sdk.console import ErrorHandlingCommand
from trm_sdk.domains import Sudoku

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURE = Path(__file__).parents[1] / "docs" / "models" / "sudoku-difficulty.png"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def boards(data: Path | None, n: int) -> dict[str, npt.NDArray[np.uint8]]:
    """At most n puzzles of each kind, (n, 81), 0 for a blank."""
    domain = Sudoku()
    sets = {"random minimal": generator.generate(n, domain.box, seed=HELD_OUT_SEED)[0]}
    for source in load_recipe("sudoku").data:
        if isinstance(source, SudokuGenerated) and source.hard:
            pool = generator.HardPool(
                source.pool, domain.box, seed=HELD_OUT_SEED, lifetime=source.lifetime
            )
            # Two lifetimes: as it is for all but the start of a run.
            pool.advance(2 * (source.lifetime or 50))
            sets["hard pool"] = pool.puzzles[:n]
    for path in sorted(data.glob("*.csv")) if data else ():
        tokens, _ = examples(read_csv(path, domain), domain)
        chosen = np.random.default_rng(0).permutation(len(tokens))[:n]
        sets[path.stem] = (tokens[chosen] - 1).astype(np.uint8)
    return sets


def draw(ratings: dict[str, npt.NDArray[np.float64]], path: Path) -> None:
    """Share of each set that is rated at most so."""
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for name, values in ratings.items():
        ordered = np.sort(np.maximum(values, 0.1))
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        real = name not in ("random minimal", "hard pool")
        axes.step(ordered, 100 * share, where="post", label=name, ls="-" if real else "--")
    axes.set(
        xscale="log", xlabel="rating (mean failed guesses)", ylabel="puzzles rated so or less, %"
    )
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


@click.command(cls=ErrorHandlingCommand)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--puzzles", default=500, show_default=True, help="At most so many of each set.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "difficulty.json")
@click.option("--figure", type=click.Path(path_type=Path), default=FIGURE)
def main(data: Path | None, puzzles: int, out: Path, figure: Path) -> None:
    """Print the distributions as a table, and write them and a figure."""
    sets = boards(data, puzzles)
    ratings = {name: generator.rate(rows) for name, rows in sets.items()}
    result = {}
    click.echo(
        "| puzzles | number | givens | rating: " + " | ".join(f"{q:.0%}" for q in QUANTILES) + " |"
    )
    click.echo("| --- | ---: | ---: |" + " ---: |" * len(QUANTILES))
    for name, rows in sets.items():
        givens = (rows > 0).sum(1)
        at = np.quantile(ratings[name], QUANTILES)
        result[name] = {
            "puzzles": len(rows),
            "givens": {str(value): int((givens == value).sum()) for value in np.unique(givens)},
            "rating": dict(zip(map(str, QUANTILES), at.round(2).tolist(), strict=True)),
        }
        click.echo(
            f"| {name} | {len(rows)} | {givens.mean():.1f} ({givens.min()} to {givens.max()}) | "
            + " | ".join(f"{value:.1f}" for value in at)
            + " |"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(ratings, figure)
    click.echo(f"written to {out} and {figure}")


if __name__ == "__main__":
    main()
