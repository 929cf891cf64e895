"""How hard the puzzles trained on are, beside real ones: ``python -m benchmarks.difficulty``.

Givens and ratings (`trm_sdk.domains.sudoku.engine`: failed guesses of a plain search by `rate`,
what a lookahead of one guess leaves by `probe`) of random minimal puzzles, of the hard pools that
the `sudoku-wide` recipe draws from, and of each CSV of ``--data``. The real puzzles are looked at
here and trained on nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import RESULTS
from training.data.files import read_csv
from training.recipe import load_recipe
from training.settings import Generated
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku, engine

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURE = Path(__file__).parents[1] / "docs" / "models" / "sudoku-difficulty.png"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_HEADS = [f"{kind} {q:.0%}" for kind in ("guesses", "probing") for q in QUANTILES]


def boards(data: Path | None, n: int) -> dict[str, npt.NDArray[np.uint8]]:
    """Return at most n puzzles of each kind, uint8 of shape (n, 81), 0 for a blank."""
    domain = Sudoku()
    sets = {"random minimal": engine.generate(n, domain.box, seed=HELD_OUT_SEED)[0]}
    for source in load_recipe("sudoku-wide").data:
        if not isinstance(source, Generated):
            continue
        options = domain.generator_options(source.options)
        if options["hard"]:
            pool = engine.HardPool(
                min(options["pool"], n),
                domain.box,
                seed=HELD_OUT_SEED,
                lifetime=options["lifetime"],
                rating=options["rating"],
            )
            # As it is when the run has begun, or for all but the start of it.
            pool.advance(max(options["first_rounds"], 200))
            sets[f"pool by {options['rating']}"] = pool.puzzles
    for path in sorted(data.glob("*.csv")) if data else ():
        tokens = domain.encode_examples(read_csv(path, domain)).tokens
        chosen = np.random.default_rng(0).permutation(len(tokens))[:n]
        sets[path.stem] = (tokens[chosen] - domain.vocabulary.first).astype(np.uint8)
    return sets


def rate(rows: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
    """Return both ratings of puzzles."""
    return {"guesses": engine.rate(rows), "probing": engine.probe(rows)}


def draw(ratings: dict[str, dict[str, npt.NDArray[np.float64]]], path: Path) -> None:
    """Draw the share of each set that is rated no higher, for both ratings."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), layout="constrained")
    for name, both in ratings.items():
        generated = name == "random minimal" or name.startswith("pool")
        share = 100 * np.arange(1, len(both["guesses"]) + 1) / len(both["guesses"])
        style = {"where": "post", "label": name, "ls": "--" if generated else "-"}
        left.step(np.sort(np.maximum(both["guesses"], 0.1)), share, **style)
        # Nothing is rated between a few rounds and 95: that part of the scale is left out.
        rounds = np.sort(both["probing"])
        right.step(np.where(rounds < 81, np.minimum(rounds, 6), rounds - 87), share, **style)
    left.set(xscale="log", xlabel="failed guesses of a plain search (mean)")
    ticks = {0: "0", 1: "1", 2: "2", 4: "4", 6: "6+", 9: "96", 11: "98", 13: "100", 15: "102"}
    right.set(xlabel="rounds of lookahead, or 81 + a tenth of the digits that none strikes out")
    right.set_xticks(list(ticks), list(ticks.values()))
    left.set_ylabel("puzzles rated so or less, %")
    for axes in (left, right):
        axes.set_ylim(0, 100)
        axes.grid(alpha=0.3)
    left.legend(frameon=False, loc="upper left")
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
    ratings = {name: rate(rows) for name, rows in sets.items()}
    result = {}
    click.echo("| puzzles | number | givens | " + " | ".join(_HEADS) + " |")
    click.echo("| --- | ---: | ---: |" + " ---: |" * len(_HEADS))
    for name, rows in sets.items():
        givens = (rows > 0).sum(1)
        at = {kind: np.quantile(values, QUANTILES) for kind, values in ratings[name].items()}
        result[name] = {
            "puzzles": len(rows),
            "givens": {str(value): int((givens == value).sum()) for value in np.unique(givens)},
            "rating": {
                kind: dict(zip(map(str, QUANTILES), values.round(2).tolist(), strict=True))
                for kind, values in at.items()
            },
        }
        click.echo(
            f"| {name} | {len(rows)} | {givens.mean():.1f} ({givens.min()} to {givens.max()}) | "
            + " | ".join(f"{value:.1f}" for values in at.values() for value in values)
            + " |"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(ratings, figure)
    click.echo(f"written to {out} and {figure}")


if __name__ == "__main__":
    main()
