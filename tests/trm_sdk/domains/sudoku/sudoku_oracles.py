"""Sudoku by plain Python and numpy: slow, and without any code of the engine that it checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np

BOXES = [(2, 2), (2, 3), (3, 3)]
HARD = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..41.....7..7...3.."
# No lookahead solves this one.
HARDEST = "4..38.........5..4........7..7..21......579..9.68........7...2........5.8.3.....6"


def parse(text: str) -> np.ndarray:
    return np.array([[0 if char == "." else int(char) for char in text]], np.uint8)


def slow_count(board: np.ndarray, box: tuple[int, int], limit: int = 2) -> int:
    """Solutions of a board up to a limit, by plain backtracking over sets."""
    n = box[0] * box[1]
    cells = np.arange(n * n).reshape(n, n)
    boxes = cells.reshape(n // box[0], box[0], n // box[1], box[1]).swapaxes(1, 2)
    groups = [*cells.tolist(), *cells.T.tolist(), *boxes.reshape(n, n).tolist()]
    return count_by_groups(board, groups, limit)


def count_by_groups(board: np.ndarray, groups: Sequence[Sequence[int]], limit: int = 2) -> int:
    """Solutions up to a limit, by plain backtracking over sets: no code of the engine's."""
    cells = [int(value) for value in board]
    n = len(groups[0])
    peers = [
        {other for group in groups if cell in group for other in group}
        for cell in range(len(cells))
    ]

    def count() -> int:
        blanks = [
            (set(range(1, n + 1)) - {cells[other] for other in peers[cell]}, cell)
            for cell in range(len(cells))
            if not cells[cell]
        ]
        if not blanks:
            return 1
        digits, cell = min(blanks, key=lambda pair: len(pair[0]))
        total = 0
        for digit in digits:
            cells[cell] = digit
            total += count()
            cells[cell] = 0
            if total >= limit:
                break
        return total

    return min(count(), limit)


def is_solved(grid: np.ndarray, box: tuple[int, int]) -> bool:
    n = box[0] * box[1]
    square = grid.reshape(n, n)
    boxes = square.reshape(n // box[0], box[0], n // box[1], box[1]).transpose(0, 2, 1, 3)
    want = np.arange(1, n + 1)
    return all(
        (np.sort(part.reshape(n, n), axis=1) == want).all() for part in (square, square.T, boxes)
    )


def random_image(board: np.ndarray, box: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random symmetric image, by numpy alone."""
    n = box[0] * box[1]

    def lines(group: int) -> np.ndarray:
        bands = rng.permutation(n // group)
        return np.concatenate([band * group + rng.permutation(group) for band in bands])

    square = board.reshape(n, n)[lines(box[0])][:, lines(box[1])]
    if box[0] == box[1] and rng.random() < 0.5:
        square = square.T
    names = np.concatenate([[0], 1 + rng.permutation(n)]).astype(np.uint8)
    return names[square].reshape(-1)


def canonical(board: np.ndarray, box: tuple[int, int]) -> tuple[int, ...]:
    """The least symmetric image, row by row, with digits named in order of appearance.

    Boards have equal forms if and only if a symmetry maps one to the other. Exact: every order of
    columns (of the transposed board too, where boxes are square) is followed with every row that
    may come next, as long as the rows so far are the least ones.
    """
    n = box[0] * box[1]
    square = board.reshape(n, n)
    columns = [
        [stack * box[1] + k for stack, inner in zip(stacks, inners, strict=True) for k in inner]
        for stacks in permutations(range(box[0]))
        for inners in product(permutations(range(box[1])), repeat=box[0])
    ]
    turns = [square, square.T] if box[0] == box[1] else [square]
    images = [turn[:, order].tolist() for turn in turns for order in columns]
    # An image, the order of its first rows, and the names of the digits there.
    followed: list[tuple[list[list[int]], tuple[int, ...], dict[int, int]]]
    followed = [(image, (), {0: 0}) for image in images]
    form: list[int] = []
    for depth in range(n):
        least: list[int] = []
        kept: list[tuple[list[list[int]], tuple[int, ...], dict[int, int]]] = []
        for image, order, names in followed:
            for row in set(range(n)) - set(order):
                if depth % box[0] and row // box[0] != order[-1] // box[0]:
                    continue  # a band is finished before another one begins
                named = dict(names)
                line = [named.setdefault(digit, len(named)) for digit in image[row]]
                if not kept or line < least:
                    least, kept = line, []
                if line == least:
                    kept.append((image, (*order, row), named))
        form += least
        followed = kept
    return tuple(form)


def check_pairs(puzzles: np.ndarray, solutions: np.ndarray, box: tuple[int, int]) -> None:
    for puzzle, solution in zip(puzzles, solutions, strict=True):
        assert is_solved(solution, box)
        assert ((puzzle == 0) | (puzzle == solution)).all()
        assert slow_count(puzzle, box) == 1


def check_minimal(puzzles: np.ndarray, box: tuple[int, int]) -> None:
    for puzzle in puzzles:
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert slow_count(fewer, box) == 2


def slow_probe(board: np.ndarray) -> float:
    """`engine.probe` of a 9x9 board, with sets and without haste."""
    lines = [[9 * i + j for j in range(9)] for i in range(9)]
    lines += [[9 * j + i for j in range(9)] for i in range(9)]
    lines += [
        [9 * (3 * band + r) + 3 * stack + c for r in range(3) for c in range(3)]
        for band in range(3)
        for stack in range(3)
    ]

    def singles(possible: list[set[int]]) -> bool:
        while True:
            before = [set(digits) for digits in possible]
            for line in lines:
                for cell in line:
                    if len(possible[cell]) == 1:
                        for other in line:
                            if other != cell:
                                possible[other] -= possible[cell]
                for digit in range(1, 10):
                    places = [cell for cell in line if digit in possible[cell]]
                    if not places:
                        return False
                    if len(places) == 1:
                        possible[places[0]] &= {digit}
            if not all(possible):
                return False
            if possible == before:
                return True

    possible = [{int(value)} if value else set(range(1, 10)) for value in board]
    assert singles(possible)
    rounds, first = 0, 0.0
    while surplus := sum(len(digits) - 1 for digits in possible):
        refuted = []
        for cell, digits in enumerate(possible):
            for digit in digits if len(digits) > 1 else ():
                trial = [set(other) for other in possible]
                trial[cell] = {digit}
                if not singles(trial):
                    refuted.append((cell, digit))
        if not refuted:
            return 81 + surplus / 10
        if not rounds:
            first = len(refuted) / (surplus + 1)
        for cell, digit in refuted:
            possible[cell].remove(digit)
        assert singles(possible)
        rounds += 1
    return rounds - first
