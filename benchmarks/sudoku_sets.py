"""The sets on which a model that solves Sudoku is measured: generated ones, and files of real ones.

Real puzzles come from a folder of CSV files in Sudoku-Extreme's form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.suites import Suite, one_attempt, sample
from training.data.files import read_csv
from trm_sdk import Grid, Solver, Task
from trm_sdk.domains.data import HELD_OUT_SEED
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.errors import InvalidInputError

#: (fewest, most) givens of the generated sets by givens; random minimal puzzles have 24 or so.
GIVENS = ((22, 23), (24, 25), (26, 28), (29, 33), (34, 40), (41, 55))
#: The same as shares of the cells, for boards larger than 9x9. Random minimal puzzles of 16x16 have
#: 37% or so; of 45%, nearly all are solved by looking at one cell or group at a time.
SHARES = (0.40, 0.42, 0.45, 0.50)


def sudoku_of(solver: Solver) -> Sudoku:
    """Return the domain of a model that solves Sudoku.

    Raises
    ------
    InvalidInputError
        If it solves something else.
    """
    if not isinstance(solver.domain, Sudoku):
        raise InvalidInputError(f"MODEL must solve Sudoku; this one solves {solver.domain.name!r}")
    return solver.domain


def as_tasks(domain: Sudoku, puzzles: np.ndarray, solutions: np.ndarray) -> list[Task]:
    """Return boards of shape (n, cells), 0 for a blank, as tasks that know their answers."""
    return [
        Task((Grid(puzzle.reshape(domain.shape)),), answers=(Grid(solution.reshape(domain.shape)),))
        for puzzle, solution in zip(puzzles, solutions, strict=True)
    ]


def generated(
    domain: Sudoku, n: int, givens: tuple[int, int] | None = None, clues_added: int = 0
) -> list[Task]:
    """Generate held-out puzzles: minimal ones with clues added, or with givens from a range."""
    if givens is None:
        made = domain.examples(n, HELD_OUT_SEED, {"clues_added": (clues_added, clues_added)})
        first = domain.vocabulary.first
        return as_tasks(domain, made.tokens - first, made.answers - first)
    boards = engine.generate(n, domain.box, seed=HELD_OUT_SEED + givens[0], givens=givens)
    return as_tasks(domain, *boards)


def generated_by_share(domain: Sudoku, n: int, share: float) -> list[Task]:
    """Generate held-out puzzles in which a share of the cells is given."""
    givens = round(share * domain.size**2)
    return generated(domain, n, (givens, givens))


def generated_hard(domain: Sudoku, n: int) -> list[Task]:
    """Generate held-out minimal puzzles, made harder by a hundred rounds of clue swaps."""
    pool = engine.HardPool(n, domain.box, seed=HELD_OUT_SEED)
    pool.advance(100)
    return as_tasks(domain, pool.puzzles, pool.solutions)


def generated_hardest(domain: Sudoku, n: int) -> list[Task]:
    """Generate held-out minimal puzzles that no single lookahead solves; see `engine.probe`."""
    pool = engine.HardPool(n, domain.box, seed=HELD_OUT_SEED, rating="probing")
    pool.advance(1200)
    return as_tasks(domain, pool.puzzles, pool.solutions)


def read_sets(domain: Sudoku, data: Path | None, minimal: int) -> dict[str, list[Task]]:
    """Return the named sets: generated minimal puzzles, and each CSV of the folder."""
    if domain.size > 9:
        few = max(1, minimal // 10)
        return {
            "minimal": generated(domain, few),
            **{f"{share:.0%} givens": generated_by_share(domain, few, share) for share in SHARES},
        }
    sets = {"minimal": generated(domain, minimal)}
    if domain.size < 9:
        return sets
    sets["34+ givens"] = generated(domain, 1000, (34, 55))
    # What defaults are chosen on: the real sets are for the last look alone.
    sets["hard, generated"] = generated_hard(domain, 200)
    sets["hardest, generated"] = generated_hardest(domain, 60)
    for path in sorted(data.glob("*.csv")) if data else ():
        sets[path.stem] = read_csv(path, domain)
    return sets


class SudokuSuite(Suite):
    """Minimal, easy and hard generated puzzles, those by number of givens, and real ones."""

    beside: ClassVar[frozenset[str]] = frozenset(
        ("34+ givens", "hard, generated", "hardest, generated")
    )

    parts: ClassVar[tuple[str, ...]] = ("sets", "details", "latency", "givens", "curve", "halting")

    def __init__(self, solver: Solver) -> None:
        super().__init__(solver)
        self.pooled = sudoku_of(solver).size == 9  # other sizes have no real puzzles

    def sets(
        self, data: Path | None, share: float, only: tuple[str, ...] = ()
    ) -> dict[str, list[Task]]:
        """Return the named sets; see `Suite.sets`."""
        sets = read_sets(sudoku_of(self.solver), data, max(1, round(2000 * share)))
        return {
            name: sample(tasks, max(1, round(share * len(tasks)))) if name in self.beside else tasks
            for name, tasks in sets.items()
        }

    def details(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """Return what one attempt solves, without search."""
        return {"one_attempt": one_attempt(self.solver, tasks)}

    def extra_columns(self, result: dict[str, Any], name: str) -> dict[str, str]:
        """Return what one attempt solves, by the heading of its column."""
        shares = result.get("details", {}).get(name, {}).get("one_attempt", {})
        return {f"one attempt, {most} steps": f"{share:.1%}" for most, share in shares.items()}

    def by_givens(self) -> dict[str, list[Task]]:
        """Return 300 puzzles for each range of givens, of 9x9."""
        domain = sudoku_of(self.solver)
        ranges = GIVENS if domain.size == 9 else ()
        return {f"{low}-{high}": generated(domain, 300, (low, high)) for low, high in ranges}
