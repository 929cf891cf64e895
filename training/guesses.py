"""Collect guesses: ``python -m training.guesses MODEL PUZZLES --out FILE``.

A dead-end head that has only seen random wrong values is right about nearly all of them, and about
less than half of those that a search comes to: there the model itself took them for likely. This
runs a model's tree of guesses (`trm_sdk.search.tree`) over prepared puzzles (`training.prepare`)
and writes what it filled in where it did not solve them at once, for the model to learn from::

    trm-fit RECIPE start_from=MODEL \\
        'data=[{kind: prepared, path: PUZZLES}, {kind: prepared, path: FILE}]'

A puzzle in which a guess is wrong is a dead end (`training.data.dead_ends`).
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console

from trm_sdk import Solver
from trm_sdk.atomic import check_writable
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.errors import ConfigError
from trm_sdk.model.config import DEAD_END
from trm_sdk.runtimes.base import Runtime
from trm_sdk.runtimes.threads import available_threads
from trm_sdk.search.answers import Answers
from trm_sdk.search.tree import WIDTH, Tree

from .data.dead_ends import peers_of
from .data.prepared import PreparedPuzzles

#: Puzzles that are searched side by side.
_AT_ONCE = 256
#: Wrong guesses to a right one that are kept: a search makes more of them.
_WRONG = 1.2

Ints = npt.NDArray[np.int64]


def tree_guesses(
    runtime: Runtime, domain: Domain, examples: Examples, attempts: int, steps: int
) -> tuple[npt.NDArray[np.int32], Ints]:
    """Return the puzzles with guesses filled in that a tree of guesses came to.

    Puzzles that the plain attempt solves give none, and a search ends where an attempt gives the
    known answer.

    Parameters
    ----------
    runtime : Runtime
        Of a model with a dead-end head.
    domain : Domain
        That the model was trained on.
    examples : Examples
    attempts : int
        At most, for each puzzle.
    steps : int
        Of each attempt.

    Returns
    -------
    tokens : int32 array of shape (guesses, N)
    rows : int64 array of shape (guesses,)
        The example that each began as.
    """
    model = runtime.spec.model
    givens = np.isin(examples.tokens, model.given_tokens)
    peers = peers_of(examples, model)
    trees = {
        row: Tree(domain, model, given, peers=None if peers is None else peers[row])
        for row, given in enumerate(givens)
    }
    made = dict.fromkeys(trees, 1)
    wave = [(row, 0, examples.tokens[row]) for row in trees]
    tokens: list[npt.NDArray[np.int32]] = []
    rows: list[int] = []
    while wave:
        of_rows = np.array([row for row, _, _ in wave])
        filled = np.stack([one for _, _, one in wave])
        solved, logits, dead_ends = _attempted(runtime, domain, examples, of_rows, filled, steps)
        for (row, number, one), right, seen, dead_end in zip(
            wave, solved, logits, dead_ends, strict=True
        ):
            if number:
                tokens.append(one)
                rows.append(row)
            if right:
                trees.pop(row, None)
            elif row in trees:
                trees[row].grow(number, seen, float(dead_end))
        wave = []
        for row, tree in trees.items():
            for number in tree.next_wave(min(WIDTH, attempts - made[row])):
                one = examples.tokens[row].copy()
                for cell, token in tree.path(number):
                    one[cell] = token
                wave.append((row, number, one))
                made[row] += 1
    empty = np.zeros((0, examples.tokens.shape[1]), np.int32)
    return np.stack(tokens) if tokens else empty, np.array(rows, np.int64)


def _attempted(
    runtime: Runtime,
    domain: Domain,
    examples: Examples,
    rows: Ints,
    tokens: npt.NDArray[np.int32],
    steps: int,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Whether an attempt each gives the known answer, and its last logits and dead-end logits.

    Those that do are not run on once all of their batch do: nothing grows from them.
    """
    model, size = runtime.spec.model, runtime.batch_size
    reader = Answers(model, domain.vocabulary)
    solved = np.zeros(len(rows), bool)
    logits = np.zeros((len(rows), tokens.shape[1], model.outputs), np.float32)
    dead_ends = np.zeros(len(rows), np.float32)
    for first in range(0, len(rows), size):
        some = slice(first, first + size)
        groups = examples.groups and {key: one[rows[some]] for key, one in examples.groups.items()}
        given = np.isin(tokens[some], model.given_tokens)
        boards = tokens[some].reshape(-1, *model.token_shape_of(examples.shape))
        state = runtime.start(boards, groups=groups)
        for _ in range(steps):
            output = runtime.step(state)
            state = output.state
            answers = reader.tokens(tokens[some], given, output.logits)
            solved[some] |= (answers == examples.answers[rows[some]]).all(1)
            if solved[some].all():
                break
        logits[some], dead_ends[some] = output.logits, output.heads[DEAD_END]
    return solved, logits, dead_ends


def _collected(
    model: str, path: str, chosen: Ints, attempts: int, seconds: float
) -> tuple[npt.NDArray[np.int32], Ints, int]:
    """What one process does: guesses, the puzzles they began as, and how many it searched."""
    ends = time.monotonic() + seconds
    solver = Solver.from_pretrained(model, threads=1)
    puzzles = PreparedPuzzles.read(path, solver.domain)
    tokens, rows, searched = [np.zeros((0, puzzles.tokens.shape[1]), np.int32)], [chosen[:0]], 0
    for first in range(0, len(chosen), _AT_ONCE):
        if time.monotonic() > ends:
            break
        index = chosen[first : first + _AT_ONCE]
        found, of = tree_guesses(
            solver.runtime,
            solver.domain,
            puzzles.examples(index),
            attempts,
            solver.options.max_steps,
        )
        tokens.append(found)
        rows.append(index[of])
        searched += len(index)
    return np.concatenate(tokens), np.concatenate(rows), searched


@click.command(cls=ErrorHandlingCommand)
@click.argument("model")
@click.argument("puzzles", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The .npz file to write."
)
@click.option(
    "--attempts",
    type=click.IntRange(min=2),
    default=40,
    show_default=True,
    help="At most, for each puzzle.",
)
@click.option("--seconds", type=click.FloatRange(min=1), help="Stop searching after so long.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Processes [one a core that may be used]."
)
def main(
    model: str,
    puzzles: Path,
    out: Path,
    attempts: int,
    seconds: float | None,
    seed: int,
    processes: int | None,
) -> None:
    """Search PUZZLES, a file of training.prepare, with MODEL, and keep the guesses that it made.

    Of wrong ones at most 1.2 times as many are kept as of right ones.
    """
    solver = Solver.from_pretrained(model)
    if DEAD_END not in solver.runtime.heads:
        raise ConfigError(f"{model} has no dead-end head, which a tree of guesses follows")
    if out.suffix != ".npz":
        raise ConfigError(f"--out must end in .npz; got {out}")
    check_writable(out)
    prepared = PreparedPuzzles.read(puzzles, solver.domain)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(prepared.tokens))
    count = processes or available_threads()
    limit = float("inf") if seconds is None else seconds
    console, started = Console(stderr=True), time.monotonic()
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        parts = [
            pool.submit(_collected, model, str(puzzles), order[first::count], attempts, limit)
            for first in range(count)
        ]
        found = [part.result() for part in parts]
    tokens = np.concatenate([one for one, _, _ in found])
    rows = np.concatenate([of for _, of, _ in found])
    searched = sum(one for _, _, one in found)
    if not len(tokens):
        raise ConfigError(f"{model} solves all of {searched:,} puzzles without a guess")
    filled = prepared.filled(tokens, rows)
    wrong = filled.dead_ends(solver.domain)
    most = int(_WRONG * (~wrong).sum())
    kept = np.flatnonzero(~wrong).tolist() + rng.permutation(np.flatnonzero(wrong))[:most].tolist()
    kept.sort()
    prepared.filled(tokens[kept], rows[kept]).write(out)
    console.print(
        f"{len(kept):,} guesses in {out}, {wrong[kept].mean():.0%} of them wrong "
        f"({searched:,} puzzles, {time.monotonic() - started:.0f} s)",
        highlight=False,
    )


if __name__ == "__main__":
    main()
