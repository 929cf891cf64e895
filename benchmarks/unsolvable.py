"""What is said of Sudokus without a solution: ``python -m benchmarks.unsolvable``.

Minimal puzzles of a seed that training does not draw from, each spoilt in one place: in every other
one a given is changed, in the rest an empty cell is filled in with a wrong value. No value stands
twice in a group afterwards, which anyone would see. Those that have a solution all the same, by the
generator's own search (`trm_sdk.domains.sudoku.engine.solve_count`, which shares no code with what
is measured), are left out.

Each is given to `Solver.solve` with the model's defaults, alone, and is *refused*
(`InvalidInputError`: plain deduction shows that there is no solution), *refuted* (``stopped_by``:
the rules prove it once the first attempt has failed), or neither, after all attempts. Times are
processor time on one thread: what it takes on a machine that has nothing else to do.

The puzzles that they were made from are given to the solver with a single step, so that it asks for
a proof about most of them; what it refuses or refutes there is *false*. Writes
``results/unsolvable.json`` and a table in ``docs/limits.md``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe, sentence
from benchmarks.pages import LIMITS, fill
from trm_sdk import Grid, SolveOptions, Solver, Task
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import engine
from trm_sdk.errors import InvalidInputError

#: Minimal puzzles that have climbed in rating, in place of those of random removal.
HARD = {"hard": True, "first_rounds": 100}
#: Model, domain, and options of the generator.
CASES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "sudoku": ("sudoku", "sudoku", {}),
    "sudoku, hard": ("sudoku", "sudoku", HARD),
    "sudoku-x": ("sudoku", "sudoku-x", {}),
    "windoku": ("sudoku", "windoku", {}),
    "jigsaw": ("sudoku", "jigsaw", {}),
}
#: One step, and no second attempt.
ONE_STEP = SolveOptions(max_steps=1, attempts=1)
_TOGETHER = 2000

Groups = tuple[tuple[int, ...], ...]


def solvable(domain: BoardDomain, options: Mapping[str, Any]) -> Iterator[Task]:
    """Generate held-out puzzles with their answers, without end."""
    if domain.own_groups:  # they come with the task alone
        rng, complete = np.random.default_rng(HELD_OUT_SEED), domain.generator_options(options)
        while True:
            yield domain.generate(rng, **complete)
    for number in itertools.count(HELD_OUT_SEED):
        made = domain.examples(_TOGETHER, number, options)
        for tokens, answer in zip(made.tokens, made.answers, strict=True):
            yield Task(domain.decode_task(tokens).inputs, answers=(domain.decode(answer),))


def groups_of(domain: BoardDomain, task: Task) -> Groups:
    """Return the groups of cells in which no value may stand twice."""
    own = domain.for_puzzle(task)
    return tuple(
        tuple(map(int, group)) for one in own.distinct for group in one.groups_on(own.shape)
    )


def spoilt(
    task: Task, groups: Groups, change: bool, rng: np.random.Generator
) -> npt.NDArray[np.int8] | None:
    """Return a puzzle's cells with a given changed, or an empty cell filled in, to a wrong value.

    None where every wrong value would repeat one that is given.
    """
    assert task.answers is not None
    cells, answer = task.grid.cells.reshape(-1), task.answers[0].cells.reshape(-1)
    values = np.unique(answer)
    for cell in rng.permutation(np.flatnonzero((cells > 0) == change)):
        board: npt.NDArray[np.int8] = cells.copy()
        board[cell] = 0
        seen = {int(board[other]) for group in groups if cell in group for other in group}
        wrong = [value for value in values if value not in seen and value != answer[cell]]
        if wrong:
            board[cell] = rng.choice(wrong)
            return board
    return None


def unsolvable(
    domain: BoardDomain, options: Mapping[str, Any], n: int
) -> tuple[list[Task], list[Task]]:
    """Return n puzzles without a solution, and those that they were made from."""
    rng = np.random.default_rng(HELD_OUT_SEED)
    found: list[Task] = []
    made_from: list[Task] = []
    for number, task in enumerate(solvable(domain, options)):
        if len(found) == n:
            break
        groups = groups_of(domain, task)
        board = spoilt(task, groups, number % 2 == 0, rng)
        if board is None or engine.solve_count(board[None], groups=groups)[0][0]:
            continue
        inputs = (Grid(board.reshape(task.grid.shape)),)
        found.append(dataclasses.replace(task, inputs=inputs, answers=None))
        made_from.append(task)
    return found, made_from


def measure(solver: Solver, tasks: list[Task], originals: list[Task]) -> dict[str, Any]:
    """Return what a solver says of puzzles without a solution and of those with one."""
    solver.solve(originals[0])  # a warm-up
    said: dict[str, list[float]] = {"refused": [], "refuted": [], "neither": []}
    steps = []
    for task in tasks:
        begun, word = time.process_time(), "refused"
        try:
            solution = solver.solve(task)
        except InvalidInputError:
            pass
        else:
            word = "refuted" if solution.stopped_by == "refuted" else "neither"
            steps.append(solution.steps)
        said[word].append(1e3 * (time.process_time() - begun))
    solutions = list(solver.solve_many(originals, ONE_STEP, on_error="yield"))
    return {
        "puzzles": len(tasks),
        **{word: _milliseconds(times) for word, times in said.items()},
        "all": _milliseconds(list(itertools.chain(*said.values()))),
        "mean_steps": round(float(np.mean(steps)), 1) if steps else 0.0,
        "solvable": len(originals),
        "false": sum(getattr(one, "stopped_by", "refuted") == "refuted" for one in solutions),
    }


def _milliseconds(times: list[float]) -> dict[str, float]:
    if not times:
        return {"puzzles": 0}
    p50, p95, p100 = (round(float(np.percentile(times, part)), 2) for part in (50, 95, 100))
    return {"puzzles": len(times), "p50_ms": p50, "p95_ms": p95, "max_ms": p100}


def fragment(result: dict[str, Any]) -> str:
    """Return the page's part: a table and how it was measured."""
    lines = [
        "| without a solution | number | refused at once | ms: p50 / p95 / max | refuted | "
        "ms: p50 / p95 / max | neither | all, p50 ms | false |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, row in result["cases"].items():
        refused, refuted = row["refused"], row["refuted"]
        lines.append(
            f"| {name} | {row['puzzles']:,} | {refused['puzzles']:,} | {_times(refused)} | "
            f"{refuted['puzzles']:,} | {_times(refuted)} | {row['neither']['puzzles']:,} | "
            f"{row['all']['p50_ms']:.1f} | {row['false']} of {row['solvable']:,} |"
        )
    text = (
        "Minimal puzzles with one given changed or one wrong value more, no value twice in a "
        "group, one at a time with the model's defaults, in processor time; *false*: solvable ones "
        f"that were refused or refuted. {sentence(result['machine'])}; "
        "`python -m benchmarks.unsolvable`."
    )
    return "\n".join([*lines, "", text])


def _times(row: dict[str, float]) -> str:
    if not row["puzzles"]:
        return "-"
    return " / ".join(f"{row[name]:.1f}" for name in ("p50_ms", "p95_ms", "max_ms"))


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.option("--puzzles", default=1000, show_default=True, type=click.IntRange(1))
@click.option(
    "--only", multiple=True, type=click.Choice(list(CASES)), help="Of these; others keep theirs."
)
@click.option("--page", is_flag=True, help="Write the table into docs/limits.md.")
def main(puzzles: int, only: tuple[str, ...], page: bool) -> None:
    out = RESULTS / "unsolvable.json"
    sets: dict[tuple[str, bool], tuple[list[Task], list[Task]]] = {}  # two models solve the same
    result: dict[str, Any] = {"machine": describe(1), "cases": {}}
    if only and out.is_file():
        result["cases"] = json.loads(out.read_text(encoding="utf-8"))["cases"]
    for name in only or CASES:
        model, puzzle, options = CASES[name]
        with Solver.from_pretrained(model, threads=1) as opened:
            solver = opened.for_domain(puzzle) if puzzle != opened.domain.name else opened
            domain = solver.domain
            assert isinstance(domain, BoardDomain)
            key = puzzle, bool(options)
            if key not in sets:
                sets[key] = unsolvable(domain, options, puzzles)
            result["cases"][name] = measure(solver, *sets[key])
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        click.echo(f"{fragment(result)}\n")
    if page:
        fill(LIMITS, "unsolvable", fragment(result))


if __name__ == "__main__":
    main()
