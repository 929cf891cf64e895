"""Draw puzzles ahead of training: ``python -m training.prepare RECIPE --puzzles N --out FILE``.

A source that climbs to hard puzzles takes several milliseconds of a core for each: no matter to a
CPU that trains on it, and most of the time of a GPU. The file takes the place of the recipe's
sources::

    trm-fit RECIPE 'data=[{kind: prepared, path: FILE}]'
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from trm_sdk.atomic import check_writable
from trm_sdk.cli.arguments import NameOrFile
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError
from trm_sdk.runtimes.threads import available_threads

from .data.mixture import make_held_out, make_stream
from .data.prepared import PreparedPuzzles
from .recipe import Recipe, load_recipe, recipe_names
from .settings import DataSet, Prepared

#: Puzzles of one draw.
_AT_ONCE = 1024
#: Between the seeds of two processes.
_APART = 1_000_003


def draw(
    recipe: Recipe, puzzles: int, at: float = 1.0, seed: int = 0
) -> Iterator[tuple[str, Examples]]:
    """Yield examples of a recipe's sources with the name of the domain that made them.

    What the recipe holds out for evaluation is left out.

    Parameters
    ----------
    recipe : Recipe
    puzzles : int
        How many in all.
    at : float
        In 0..1: at which part of the run. Default 1: the sources that are in use at its end.
    seed : int

    Raises
    ------
    ConfigError
        If a source is a data set, whose examples belong to the rows of a puzzle embedding, or if
        it was prepared itself.
    """
    for number, source in enumerate(recipe.data):
        if isinstance(source, DataSet | Prepared):
            raise ConfigError(
                f"data.{number}: sources of kind {source.kind!r} can't be prepared; "
                "'generated' and 'file' can"
            )
    domain = recipe.trained_domain()
    held_out = make_held_out(recipe, domain)
    mixture = make_stream(recipe, domain, held_out, np.random.SeedSequence((recipe.seed, seed)))
    while puzzles > 0:
        n = min(puzzles, _AT_ONCE)
        yield from mixture.draw_by_domain(n, at)
        puzzles -= n


def _drawn(recipe: str, puzzles: int, at: float, seed: int) -> list[tuple[str, Examples]]:
    """Return what one process draws; a recipe travels as JSON."""
    return list(draw(Recipe.model_validate_json(recipe), puzzles, at, seed))


@click.command(cls=ErrorHandlingCommand)
@click.argument("recipe_name", metavar="RECIPE", type=NameOrFile(recipe_names))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--puzzles", type=click.IntRange(min=1), required=True, help="How many in all.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The .npz file to write."
)
@click.option(
    "--at",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Part of the run whose sources are drawn from: 0 its beginning, 1 its end.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Processes [one a core that may be used]."
)
def main(
    recipe_name: str,
    overrides: tuple[str, ...],
    puzzles: int,
    out: Path,
    at: float,
    seed: int,
    processes: int | None,
) -> None:
    """Draw puzzles from the data sources of RECIPE into a file to train from.

    Each process has pools of its own, so another number of them draws other puzzles.
    """
    recipe = load_recipe(recipe_name, overrides)
    if out.suffix != ".npz":
        raise ConfigError(f"--out must end in .npz; got {out}")
    check_writable(out)
    count = min(processes or available_threads(), puzzles)
    share = [puzzles // count + (number < puzzles % count) for number in range(count)]
    console, started = Console(stderr=True), time.monotonic()
    drawn: list[tuple[str, Examples]] = []
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        parts = [
            pool.submit(_drawn, recipe.model_dump_json(), own, at, seed + number * _APART)
            for number, own in enumerate(share)
        ]
        for number, part in enumerate(parts, 1):
            drawn += part.result()
            console.print(f"{number} of {count} processes are done", highlight=False)
    prepared = PreparedPuzzles.of(drawn, recipe.domain)
    prepared.write(out)
    size, took = out.stat().st_size / 2**20, time.monotonic() - started
    console.print(
        f"{len(prepared.tokens):,} puzzles in {out} ({size:.1f} MiB, {took:.0f} s)", highlight=False
    )


if __name__ == "__main__":
    main()
