"""Climb from puzzles to harder ones by moving clues."""

from __future__ import annotations

from typing import Any

import numpy as np

from trm_sdk.domains.kernels.compilation import ONE, ZERO, kernel
from trm_sdk.domains.kernels.splitmix import below, mix, shuffle, start_stream
from trm_sdk.domains.sudoku.engine.fingerprints import fingerprint_board
from trm_sdk.domains.sudoku.engine.generation import minimise
from trm_sdk.domains.sudoku.engine.rating import rate_board
from trm_sdk.domains.sudoku.engine.search import NO_CAP, NO_CELL, search, workspace

#: Solutions that a puzzle without some of its clues is searched for; with more, clues are added.
_MOST_SOLUTIONS = 64


@kernel
def _swap_clues(
    puzzle: Any,
    solution: Any,
    swaps: Any,
    found: Any,
    work: Any,
    geometry: Any,
    rng: Any,
) -> Any:
    """Take `swaps` clues out of `puzzle`, and put others in until it has one solution again.

    The new solution, which may be another one, goes to `solution`. Where the solutions are few
    enough to list in `found`, a clue that only one of them has makes the puzzle unique, and no
    further search is needed to know that. Where they are more, clues of a random one of them
    narrow them down first. Return False where the puzzle had no solution left to choose.
    """
    cells = puzzle.shape[0]
    n = geometry[1].shape[1]
    limit = found.shape[0]
    barred = np.zeros(cells, np.bool_)
    for _ in range(swaps):
        clues = 0
        for cell in range(cells):
            clues += puzzle[cell] > 0
        if clues == 0:
            return False
        pick = below(rng, clues)
        for cell in range(cells):
            if puzzle[cell] > 0:
                if pick == 0:
                    puzzle[cell] = 0
                    barred[cell] = True
                    break
                pick -= 1
    tally = np.empty((cells, n + 1), np.int64)
    while True:
        count, _ = search(puzzle, NO_CELL, ZERO, limit, NO_CAP, found, work, geometry, ONE, rng)
        if count == 0:
            return False
        if count == 1:
            solution[:] = found[0]
            return True
        few = count < limit
        tally[:] = 0
        for j in range(count):
            for cell in range(cells):
                tally[cell, found[j, cell]] += 1
        options = 0
        chosen = -1
        for cell in range(cells):
            if puzzle[cell] > 0 or barred[cell]:
                continue
            for digit in range(1, n + 1):
                size = tally[cell, digit]
                if size == 1 if few else 0 < size < count:
                    options += 1
                    if below(rng, options) == 0:
                        chosen = cell * (n + 1) + digit
        if chosen < 0:
            if not few:
                return False
            # No single clue will do: take any that rules some solution out.
            for cell in range(cells):
                if puzzle[cell] == 0 and tally[cell, found[0, cell]] < count:
                    options += 1
                    if below(rng, options) == 0:
                        chosen = cell * (n + 1) + found[0, cell]
        cell, digit = chosen // (n + 1), chosen % (n + 1)
        puzzle[cell] = digit
        if few:
            for j in range(count):
                if found[j, cell] == digit:
                    solution[:] = found[j]
            if tally[cell, digit] == 1:
                return True


@kernel
def climb_boards(
    puzzles: Any,
    solutions: Any,
    ratings: Any,
    prints: Any,
    first_round: Any,
    rounds: Any,
    seed: Any,
    temperature: Any,
    ceiling: Any,
    reach: Any,
    family: Any,
    repeats: Any,
    box_rows: Any,
    box_cols: Any,
    geometry: Any,
) -> None:
    """Try a move for every puzzle in each of `rounds` rounds, changing the arrays in place.

    A move takes one clue (sometimes two) out, puts others in that make the solution unique again,
    and takes out what became redundant. The child replaces its parent or, with `reach`, a random
    neighbour in the ring of its family (`family` puzzles), unless that one is rated higher or any
    puzzle is a symmetric image of the child. See `HardPool` for the options; a negative rating
    stands for an unknown one.
    """
    total, cells = puzzles.shape
    work = workspace(geometry)
    rng = np.zeros(1, np.uint64)
    order = np.empty(cells, np.uint8)
    puzzle = np.empty(cells, np.uint8)
    solution = np.empty(cells, np.uint8)
    image = np.empty(cells, np.uint8)
    fine = np.int64(1 << 30)
    found = np.empty((_MOST_SOLUTIONS, cells), np.uint8)
    base = np.empty(cells, np.uint64)
    colour = np.empty(cells, np.uint64)
    sums = np.empty(6 * geometry[1].shape[1] + 1, np.uint64)
    for i in range(total):
        if ratings[i] < 0:
            ratings[i] = rate_board(
                puzzles[i], image, repeats, seed, box_rows, box_cols, work, geometry, rng
            )
    # By probing, children are often harder: a parent two rounds below its victim is worth a try.
    slack = 0.0 if repeats else 2.0
    for k in range(first_round, first_round + rounds):
        for i in range(total):
            start_stream(rng, mix(mix(seed) + np.uint64(k)), i)
            victim = i
            if reach > 0:
                first = i - i % family
                victim = first + (i - first + below(rng, 2 * reach + 1) - reach + family) % family
            # Metropolis on the logarithm of the rating; the bar is drawn before the work is done.
            bar = min(ratings[victim], ceiling) + 1.0
            if temperature > 0:
                bar *= ((below(rng, fine) + 1) / fine) ** temperature
            if min(ratings[i], ceiling) + 1.0 < bar - slack:
                continue  # children are mostly easier than their parents
            puzzle[:] = puzzles[i]
            swaps = 1 + (below(rng, np.int64(4)) == 0)
            if not _swap_clues(puzzle, solution, swaps, found, work, geometry, rng):
                continue
            for cell in range(cells):
                order[cell] = cell
            shuffle(rng, order, cells)
            rate_seed = mix(rng[0])
            if repeats:
                rating = rate_board(
                    puzzle, image, ONE, rate_seed, box_rows, box_cols, work, geometry, rng
                )
                if rating + 1.0 < 0.5 * bar:
                    continue  # a hopeless one is not worth the cost of making it minimal
            minimise(puzzle, solution, order, NO_CAP, work, geometry, rng)
            rating = rate_board(
                puzzle, image, repeats, rate_seed, box_rows, box_cols, work, geometry, rng
            )
            if rating + 1.0 < bar:
                continue
            mark = fingerprint_board(puzzle, base, colour, sums, box_rows, box_cols)
            known = False
            for j in range(total if reach > 0 else 0):
                known = known or prints[j] == mark
            if known:
                continue  # a pool that let images of one puzzle in would fill up with them
            puzzles[victim] = puzzle
            solutions[victim] = solution
            ratings[victim] = rating
            prints[victim] = mark
