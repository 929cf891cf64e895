"""Check verified answers a second way: ``python -m benchmarks.recheck --puzzles 100000``.

What `Solution.verified` means is decided by a domain's rules. Here generated puzzles are solved by
the bundled models, and every answer that was called verified is judged again by rules that share
no code, no library and no data structure with those: Sudoku by sets of characters, mazes by a
search from the goal with a priority queue, over text alone. (The domains count values by bits of
numpy arrays, and let a wave of bits run over the board.)

Models are seldom wrong in a way that tempts a rule. So for each puzzle, candidates are judged both
ways as well: its known answer, that with one to three cells changed, with two cells exchanged, with
two rows exchanged, and another puzzle's answer. The two must agree on each.

Counts are added to a file as they come: stopped at any time, the same command goes on where it was.
"""

from __future__ import annotations

import heapq
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe
from trm_sdk import Grid, SolveOptions, Solver
from trm_sdk.atomic import write_whole
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import HELD_OUT_SEED, Examples, Tokens

Place = tuple[int, int]
Checker = Callable[[str, str], str | None]


# --- rules, over text alone ----------------------------------------------------------------------


def wrong_sudoku(puzzle: str, answer: str) -> str | None:
    """Return what is wrong with an answer of a puzzle, each one line of characters; or None.

    A blank of the puzzle is ``.``. The board is the square one, with square boxes.
    """
    side = round(len(puzzle) ** 0.5)
    box = round(side**0.5)
    if box**4 != len(puzzle) or len(answer) != len(puzzle):
        return f"{len(answer)} cells for {len(puzzle)}"
    for place, (given, found) in enumerate(zip(puzzle, answer, strict=True)):
        if given not in (".", found):
            return f"cell {place} was {given} and is {found}"
    wanted = set("123456789ABCDEFG"[:side])
    rows = [answer[start : start + side] for start in range(0, len(answer), side)]
    columns = ["".join(row[place] for row in rows) for place in range(side)]
    boxes = [
        "".join(row[left : left + box] for row in rows[top : top + box])
        for top in range(0, side, box)
        for left in range(0, side, box)
    ]
    for kind, groups in (("row", rows), ("column", columns), ("box", boxes)):
        for number, group in enumerate(groups, start=1):
            if set(group) != wanted:
                return f"{kind} {number} is {group}"
    return None


def wrong_maze(puzzle: str, answer: str) -> str | None:
    """Return what is wrong with an answer of a maze, each lines of ``# SGo``; or None."""
    before, after = _cells(puzzle), _cells(answer)
    if before.keys() != after.keys():
        return "another shape"
    path = {place for place, cell in after.items() if cell == "o"}
    for place, cell in before.items():
        if after[place] != cell and not (cell == " " and place in path):
            return f"{place} was {cell!r} and is {after[place]!r}"
    start, goal = (next(p for p, c in before.items() if c == end) for end in "SG")
    free = {place for place, cell in before.items() if cell != "#"}
    # One line: following marks from the start, there is one way on at each, and none is left over.
    here, left = start, path | {goal}
    while here != goal:
        on = [place for place in _beside(here) if place in left]
        if len(on) != 1:
            return f"{len(on)} ways on from {here}"
        left.remove(here := on[0])
    if left:
        return f"{len(left)} marks beside the path"
    fewest = _dijkstra(free, goal)[start]
    if len(path) + 1 != fewest:
        return f"{len(path) + 1} moves, where {fewest} do"
    return None


def _cells(text: str) -> dict[Place, str]:
    lines = text.split("\n")
    return {(x, y): cell for y, line in enumerate(lines) for x, cell in enumerate(line)}


def _beside(place: Place) -> Iterator[Place]:
    x, y = place
    yield from ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1))


def _dijkstra(free: set[Place], origin: Place) -> dict[Place, int]:
    """Return the fewest moves from a place to every place that can be reached."""
    final: dict[Place, int] = {}
    queue = [(0, origin)]
    while queue:
        moves, place = heapq.heappop(queue)
        if place in final:
            continue
        final[place] = moves
        for other in _beside(place):
            if other in free and other not in final:
                heapq.heappush(queue, (moves + 1, other))
    return final


# --- solving -------------------------------------------------------------------------------------


class Kind:
    """Puzzles of one kind.

    Parameters
    ----------
    model : str
        A bundled model.
    check : callable
        Takes puzzle and answer as text, and returns what is wrong, or None.
    options : mapping
        Of the generator.
    share : float
        Of all puzzles.
    """

    def __init__(self, model: str, check: Checker, options: dict[str, Any], share: float) -> None:
        self.model, self.check, self.options, self.share = model, check, options, share


#: Easy ones: the count of answers matters here, not how hard they were to find.
KINDS = {
    "sudoku": Kind("sudoku", wrong_sudoku, {"clues_added": (24, 40)}, 0.2),
    "sudoku-4x4": Kind("sudoku-4x4", wrong_sudoku, {}, 0.6),
    "maze": Kind("maze", wrong_maze, {"rows": 8}, 0.2),
}
#: One attempt, and few steps: what is not verified by then is not looked at.
OPTIONS = SolveOptions(max_steps=32, attempts=1)
BATCH = 500


def recheck(
    name: str,
    puzzles: int,
    seed: int,
    counts: dict[str, Any] | None = None,
    report: Callable[[dict[str, Any]], None] = lambda counts: None,
) -> dict[str, Any]:
    """Solve puzzles of a kind and check the verified answers again; return counts and findings.

    Parameters
    ----------
    name : str
        Of the kind.
    puzzles : int
        How many, with those that `counts` has already.
    seed : int
    counts : dict, optional
        Of an earlier call with the same seed, to which those of the puzzles after it are added.
    report : callable
        Given the counts so far, after every batch.
    """
    kind = KINDS[name]
    keys = ("puzzles", "verified", "false", "candidates", "right_candidates", "disagreements")
    if counts is None:
        counts = {**dict.fromkeys(keys, 0), "batches": 0, "seconds": 0.0, "findings": []}
    with Solver.from_pretrained(kind.model) as solver:
        while counts["puzzles"] < puzzles:
            begun = time.monotonic()
            number = counts["batches"]
            rng = np.random.default_rng((seed, number))
            size = min(BATCH, puzzles - counts["puzzles"])
            first = HELD_OUT_SEED + 1_000_000 * (seed + 1) + number
            made = solver.domain.examples(size, first, kind.options)
            _check_solutions(solver, kind.check, made, counts)
            for answers in _candidates(made, rng):
                _compare(solver.domain, kind.check, made, answers, counts)
            counts["batches"] += 1
            counts["seconds"] = round(counts["seconds"] + time.monotonic() - begun, 1)
            report(counts)
    return counts


def _check_solutions(
    solver: Solver, check: Checker, made: Examples, counts: dict[str, Any]
) -> None:
    """Solve puzzles, and check again what was called verified."""
    domain = solver.domain
    grids = [domain.decode(row, made.shape) for row in made.tokens]
    for grid, solution in zip(grids, solver.solve_many(grids, OPTIONS), strict=True):
        counts["puzzles"] += 1
        if not solution.verified:
            continue
        counts["verified"] += 1
        puzzle, answer = _text(domain, grid), _text(domain, solution.grid)
        if wrong := check(puzzle, answer):
            counts["false"] += 1
            counts["findings"].append({"puzzle": puzzle, "answer": answer, "wrong": wrong})


def _compare(
    domain: Domain, check: Checker, made: Examples, answers: Tokens, counts: dict[str, Any]
) -> None:
    """Let the domain and the checker judge the same answers."""
    verdicts = domain.verify_tokens(made.tokens, answers, made.shape)
    for tokens, row, verdict in zip(made.tokens, answers, verdicts, strict=True):
        puzzle, answer = (_text(domain, domain.decode(one, made.shape)) for one in (tokens, row))
        wrong = check(puzzle, answer)
        counts["candidates"] += 1
        counts["right_candidates"] += wrong is None
        if (wrong is None) != bool(verdict):
            counts["disagreements"] += 1
            counts["findings"].append({"puzzle": puzzle, "answer": answer, "wrong": wrong})


def _candidates(made: Examples, rng: np.random.Generator) -> Iterator[Tokens]:
    """Yield the known answers, and what a few kinds of mistakes make of them."""
    right = made.answers
    n, cells = right.shape
    every = np.arange(n)
    yield right
    changed = right.copy()
    for _ in range(int(rng.integers(1, 4))):
        # By a value that stands elsewhere on the board, so that it is one an answer may have.
        changed[every, rng.integers(cells, size=n)] = right[every, rng.integers(cells, size=n)]
    yield changed
    exchanged = right.copy()
    one, other = rng.integers(cells, size=(2, n))
    exchanged[every, one], exchanged[every, other] = right[every, other], right[every, one]
    yield exchanged
    boards = right.reshape(n, *made.shape)
    rows = rng.permutation(made.shape[0])
    boards = boards.copy()
    boards[:, rows[:2]] = boards[:, rows[1::-1]]
    yield boards.reshape(n, cells)
    yield np.roll(right, 1, axis=0)


def _text(domain: Domain, grid: Grid) -> str:
    """Return a board as text: Sudoku on one line, a maze as lines, since it may have any shape."""
    return domain.format(grid) if domain.any_size else domain.to_line(grid)


def shares(puzzles: int) -> dict[str, int]:
    """Return how many puzzles of each kind make up so many."""
    counts = {name: int(puzzles * kind.share) for name, kind in KINDS.items()}
    counts[next(iter(counts))] += puzzles - sum(counts.values())
    return counts


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.option(
    "--puzzles", default=10_000, show_default=True, type=click.IntRange(1),
    help="In all, with those of earlier runs.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 999))
@click.option(
    "--out", default=RESULTS / "recheck.json", show_default=True, type=click.Path(path_type=Path),
    help="Counts so far. Where it exists, the puzzles after those that it counts are added.",
)  # fmt: skip
def main(puzzles: int, seed: int, out: Path) -> None:
    rows: dict[str, dict[str, Any]] = {}
    if out.exists():
        before = json.loads(out.read_text("utf-8"))
        if before["seed"] != seed:
            raise click.UsageError(f"{out} holds puzzles of seed {before['seed']}; set --out")
        rows = before["kinds"]
    total: dict[str, int] = {}

    def report(name: str, counts: dict[str, Any]) -> None:
        rows[name] = counts
        total.update(summed(rows))
        minutes = round(sum(row["seconds"] for row in rows.values()) / 60, 1)
        result = {"machine": describe(), "seed": seed, "minutes": minutes, **total, "kinds": rows}
        write_whole(out, json.dumps(result, indent=1).encode() + b"\n")

    for name, count in shares(puzzles).items():
        row = recheck(name, count, seed, rows.get(name), partial(report, name))
        report(name, row)
        click.echo(
            f"{name:12} {row['puzzles']:9,} puzzles, {row['verified']:9,} verified, "
            f"{row['false']} of them false; {row['candidates']:,} candidates, "
            f"{row['disagreements']} disagreements; {row['seconds']:.0f} s"
        )
    click.echo(
        f"{total['verified']:,} verified answers checked again, {total['false']} false; "
        f"{total['candidates']:,} candidates, {total['disagreements']} disagreements"
    )
    if total["false"] or total["disagreements"]:
        sys.exit(1)


def summed(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the counts of all kinds together."""
    keys = ("puzzles", "verified", "false", "candidates", "disagreements")
    return {key: sum(row[key] for row in rows.values()) for key in keys}


if __name__ == "__main__":
    main()
