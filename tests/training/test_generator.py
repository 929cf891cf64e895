"""The Sudoku engine, checked against a slow solver that shares no code with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trm_sdk.domains.sudoku.engine import generator
from trm_sdk.domains.sudoku.engine.generator import HardPool

BOXES = [(2, 2), (2, 3), (3, 3)]
HARD = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..41.....7..7...3.."
# No lookahead solves this one.
HARDEST = "4..38.........5..4........7..7..21......579..9.68........7...2........5.8.3.....6"


def parse(text: str) -> np.ndarray:
    return np.array([[0 if char == "." else int(char) for char in text]], np.uint8)


def slow_count(board: np.ndarray, box: tuple[int, int], limit: int = 2) -> int:
    """Solutions of a board up to a limit, by plain backtracking over sets."""
    n = box[0] * box[1]
    cells = [int(value) for value in board]

    def options(cell: int) -> set[int]:
        row, col = divmod(cell, n)
        top, left = row - row % box[0], col - col % box[1]
        seen = {cells[row * n + k] for k in range(n)} | {cells[k * n + col] for k in range(n)}
        seen |= {cells[(top + k // box[1]) * n + left + k % box[1]] for k in range(n)}
        return set(range(1, n + 1)) - seen

    def count() -> int:
        blanks = [(options(cell), cell) for cell in range(n * n) if cells[cell] == 0]
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


@pytest.mark.parametrize("box", BOXES)
def test_generated_puzzles_are_unique_and_minimal(box: tuple[int, int]) -> None:
    puzzles, solutions = generator.generate(8, box, seed=3)
    assert puzzles.dtype == solutions.dtype == np.uint8
    check_pairs(puzzles, solutions, box)
    check_minimal(puzzles[:2], box)


def test_a_seed_gives_the_same_puzzles() -> None:
    puzzles, solutions = generator.generate(20, seed=5)
    again, _ = generator.generate(20, seed=5)
    fewer, fewer_solutions = generator.generate(7, seed=5)
    other, _ = generator.generate(20, seed=6)
    assert (puzzles == again).all()
    assert (puzzles[:7] == fewer).all()
    assert (solutions[:7] == fewer_solutions).all()
    assert (puzzles != other).any(axis=1).all()
    assert len(np.unique(solutions, axis=0)) == 20


def test_a_seed_means_the_same_on_every_machine() -> None:
    puzzles, _ = generator.generate(1, (2, 2), seed=0)
    assert puzzles[0].tolist() == [0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0]


def test_clues_are_added() -> None:
    minimal, solutions = generator.generate(200, (2, 3), seed=1)
    more, same = generator.generate(200, (2, 3), seed=1, clues_added=(2, 5))
    assert more.shape == minimal.shape
    assert ((more == 0) | (more == same)).all()
    assert ((more > 0).sum(1).mean() - (minimal > 0).sum(1).mean()) == pytest.approx(3.5, abs=0.4)
    assert is_solved(solutions[0], (2, 3))


def test_givens_are_hit() -> None:
    puzzles, solutions = generator.generate(100, seed=2, givens=(23, 30))
    clues = (puzzles > 0).sum(1)
    assert set(clues) == set(range(23, 31))
    check_pairs(puzzles[:3], solutions[:3], (3, 3))
    with pytest.raises(ValueError, match="ask for more givens"):
        generator.generate(1, seed=2, givens=(10, 12), attempts=3)


def test_larger_boards() -> None:
    box = (4, 4)
    assert all(is_solved(grid, box) for grid in generator.filled_grids(3, box, seed=1))
    puzzles, solutions = generator.generate(2, box, seed=1, clues_added=(30, 30))
    counts, _, found = generator.solve_count(puzzles, box)
    assert (counts == 1).all()
    assert (found == solutions).all()


@pytest.mark.parametrize("box", [*BOXES, (3, 2), (2, 4)])
def test_filled_grids(box: tuple[int, int]) -> None:
    grids = generator.filled_grids(20, box, seed=4)
    assert all(is_solved(grid, box) for grid in grids)


def test_solve_count_agrees_with_the_slow_solver() -> None:
    box = (2, 3)
    puzzles, _ = generator.generate(60, box, seed=8)
    rng = np.random.default_rng(0)
    puzzles[rng.random(puzzles.shape) < 0.08] = 0  # opens some
    puzzles[40:, 0] = 1 + puzzles[40:, 0] % 6  # spoils some
    for limit in (1, 2, 5):
        counts, backtracks, solutions = generator.solve_count(puzzles, box, limit)
        assert (backtracks >= 0).all()
        for k, puzzle in enumerate(puzzles):
            conflict = (
                puzzle[0] in puzzle[1:6] or puzzle[0] in puzzle[6::6] or (puzzle[0] in puzzle[7:9])
            )
            want = 0 if puzzle[0] and conflict else slow_count(puzzle, box, limit)
            assert counts[k] == want
            if want:
                assert is_solved(solutions[k], box)
                assert ((puzzle == 0) | (puzzle == solutions[k])).all()
            else:
                assert not solutions[k].any()


def test_known_numbers_of_grids() -> None:
    assert generator.solve_count(np.zeros((1, 16), int), (2, 2), 1000)[0][0] == 288
    top = np.zeros((1, 36), int)
    top[0, :6] = range(1, 7)
    # 28,200,960 grids of 6x6 share 720 first rows
    assert generator.solve_count(top, (2, 3), 50000)[0][0] == 28_200_960 // 720


def test_augment_keeps_pairs_valid() -> None:
    for box in BOXES:
        puzzles, solutions = generator.generate(30, box, seed=9)
        images, answers = generator.augment(puzzles, solutions, box=box, seed=1)
        again, _ = generator.augment(puzzles, solutions, box=box, seed=1)
        other, _ = generator.augment(puzzles, solutions, box=box, seed=2)
        assert (images == again).all()
        assert (images != other).any()
        assert ((images > 0).sum(1) == (puzzles > 0).sum(1)).all()
        counts, _, found = generator.solve_count(images, box)
        assert (counts == 1).all()
        assert (found == answers).all()
        assert (generator.canonical(images, box) == generator.canonical(puzzles, box)).all()


@pytest.mark.parametrize("box", [*BOXES, (3, 2)])
def test_canonical_and_fingerprint_are_invariant(box: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    puzzles, solutions = generator.generate(40, box, seed=10)
    for boards in (puzzles, solutions[:20]):
        images = np.stack([random_image(board, box, rng) for board in boards])
        form = generator.canonical(boards, box)
        assert (generator.canonical(images, box) == form).all()
        assert (generator.canonical(form, box) == form).all()
        assert (generator.fingerprint(images, box) == generator.fingerprint(boards, box)).all()
        # The least board comes no later than any image, and is one.
        assert all(tuple(a) <= tuple(b) for a, b in zip(form, images, strict=True))
        assert (generator.fingerprint(form, box) == generator.fingerprint(boards, box)).all()


def test_canonical_knows_the_number_of_classes() -> None:
    grids = generator.filled_grids(500, (2, 2), seed=1)
    assert len(np.unique(generator.canonical(grids, (2, 2)), axis=0)) == 2
    puzzles, _ = generator.generate(4000, (2, 2), seed=1)
    classes = np.unique(generator.canonical(puzzles, (2, 2)), axis=0)
    assert len(classes) == 36  # 13 with 4 clues, 22 with 5 and 1 with 6
    assert np.bincount((classes > 0).sum(1)).tolist() == [0, 0, 0, 0, 13, 22, 1]
    assert len(np.unique(generator.fingerprint(classes, (2, 2)))) == 36
    grids = generator.filled_grids(4000, (2, 3), seed=1)
    assert len(np.unique(generator.canonical(grids, (2, 3)), axis=0)) == 49


def test_different_puzzles_stay_different() -> None:
    puzzles, solutions = generator.generate(300, seed=11)
    assert len(np.unique(generator.fingerprint(puzzles))) == 300
    assert len(np.unique(generator.fingerprint(solutions))) == 300
    assert len(np.unique(generator.canonical(puzzles), axis=0)) == 300
    # One digit moved within the pattern gives another class.
    changed = puzzles[:50].copy()
    for board in changed:
        cells = np.flatnonzero(board)
        board[cells[0]], board[cells[-1]] = board[cells[-1]], board[cells[0]]
    moved = (changed != puzzles[:50]).any(axis=1)
    differ = generator.fingerprint(changed) != generator.fingerprint(puzzles[:50])
    forms_differ = (generator.canonical(changed) != generator.canonical(puzzles[:50])).any(axis=1)
    assert (differ == forms_differ).all()
    assert forms_differ[moved].mean() > 0.9


def test_canonical_of_nearly_empty_boards_is_quick() -> None:
    boards = np.zeros((3, 81), np.uint8)
    boards[1, 40] = 7
    boards[2, ::10] = range(1, 10)
    form = generator.canonical(boards)
    assert not form[0].any()
    assert form[1].tolist() == [0] * 80 + [1]
    rng = np.random.default_rng(2)
    images = np.stack([random_image(board, (3, 3), rng) for board in boards])
    assert (generator.canonical(images) == form).all()


def test_rate_tells_hard_from_easy() -> None:
    puzzles, solutions = generator.generate(50, seed=12)
    easy = puzzles.copy()
    easy[:, :40] = solutions[:, :40]
    assert (generator.rate(easy) <= generator.rate(puzzles)).all()
    hard = generator.rate(parse(HARD), repeats=4)
    assert hard.dtype == np.float64
    assert hard[0] > np.quantile(generator.rate(puzzles), 0.95)
    assert (generator.rate(parse(HARD), repeats=4) == hard).all()
    twice = generator.rate(np.concatenate([puzzles[:1], parse(HARD)]), repeats=4)
    assert twice[1] == hard[0]  # the place in the batch does not matter


def slow_probe(board: np.ndarray) -> float:
    """`generator.probe` of a 9x9 board, with sets and without haste."""
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


def test_probe_agrees_with_the_slow_one() -> None:
    puzzles, solutions = generator.generate(20, seed=15)
    some = np.concatenate([puzzles, parse(HARD), parse(HARDEST)])
    ratings = generator.probe(some)
    assert ratings == pytest.approx([slow_probe(board) for board in some])
    assert (ratings[:20] < 1).all()  # a random puzzle falls in the first round
    assert ratings[-1] > 81
    images, _ = generator.augment(puzzles, solutions, seed=3)
    assert (generator.probe(images) == ratings[:20]).all()
    assert (generator.rate(puzzles)[ratings[:20] == 0] == 0).all()  # singles solve these
    assert (generator.probe(solutions) == 0).all()


def test_a_pool_climbs_by_probing_and_resumes() -> None:
    pool = HardPool(20, seed=4, rating="probing")
    start = pool.ratings.copy()
    resumed = HardPool.from_state(pool.state())
    pool.advance(60)
    assert np.median(pool.ratings) > 1 > np.median(start)
    assert pool.ratings == pytest.approx(generator.probe(pool.puzzles))
    counts, _, answers = generator.solve_count(pool.puzzles)
    assert (counts == 1).all()
    assert (answers == pool.solutions).all()
    resumed.advance(60)
    assert (resumed.puzzles == pool.puzzles).all()


def test_harden_climbs() -> None:
    puzzles, solutions = generator.generate(12, seed=13)
    start = puzzles.copy()
    harder, answers, ratings = generator.harden(puzzles, solutions, seed=1, rounds=60)
    assert (puzzles == start).all()
    assert ratings.shape == (12,)
    counts, _, found = generator.solve_count(harder)
    assert (counts == 1).all()
    assert (found == answers).all()
    assert all(is_solved(grid, (3, 3)) for grid in answers)
    for puzzle in harder:  # too hard for the slow solver
        clues = np.flatnonzero(puzzle)
        fewer = np.repeat(puzzle[None], len(clues), axis=0)
        fewer[np.arange(len(clues)), clues] = 0
        assert (generator.solve_count(fewer)[0] == 2).all()
    assert generator.rate(harder).mean() > 2 * generator.rate(puzzles).mean()
    alone, _, _ = generator.harden(puzzles[:5], solutions[:5], seed=1, rounds=60)
    assert (alone == harder[:5]).all()


@pytest.mark.parametrize("box", BOXES)
def test_hard_pool_streams_and_resumes(box: tuple[int, int]) -> None:
    pool = HardPool(30, box, seed=4, ceiling=20.0, temperature=0.1)
    pool.draw(30)
    state = pool.state()
    puzzles, solutions, ratings = pool.draw(50, patience=3)
    resumed, _, again = HardPool.from_state(state).draw(50, patience=3)
    assert (resumed == puzzles).all()
    assert (again == ratings).all()
    counts, _, found = generator.solve_count(puzzles, box)
    assert (counts == 1).all()
    assert (found == solutions).all()
    if box == (3, 3):
        assert len(np.unique(generator.fingerprint(pool.puzzles))) == len(pool)
        pool.advance(40)
        assert pool.ratings.mean() > state["ratings"].mean()
        least = float(np.quantile(pool.ratings, 0.8))
        _, _, drawn = pool.draw(5, least=least)
        assert (drawn >= least).all()


def test_hard_pool_renews_its_members() -> None:
    pool = HardPool(20, seed=4, lifetime=5)
    first = pool.puzzles.copy()
    pool.advance(3)
    # Ages are spread: some have gone, each for a new puzzle of its own, and not all at once.
    assert pool.renewed == 12
    assert len(np.unique(generator.fingerprint(pool.puzzles))) == 20
    counts, _, answers = generator.solve_count(pool.puzzles)
    assert (counts == 1).all()
    assert (answers == pool.solutions).all()
    assert (pool.ratings >= 0).all()
    resumed = HardPool.from_state(pool.state())
    pool.advance(4)
    for _ in range(4):
        resumed.advance(1)
    assert (resumed.puzzles == pool.puzzles).all()
    assert resumed.renewed == pool.renewed == 28
    assert not (pool.puzzles == first).all(1).any()


def test_harden_refuses_what_is_not_a_puzzle() -> None:
    puzzles, solutions = generator.generate(3, seed=14)
    puzzles[1, np.flatnonzero(puzzles[1])[0]] = 0
    with pytest.raises(ValueError, match="1 don't, the first at index 1"):
        generator.harden(puzzles, solutions, seed=0)


BOARD = np.zeros((1, 81), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generator.generate(-1, seed=0), "n must be an integer of at least 0, got -1"),
        (lambda: generator.generate(1, seed=-1), "seed must be in"),
        (lambda: generator.generate(1, (3, 7), seed=0), r"box must .* got \(3, 7\)"),
        (lambda: generator.generate(1, 9, seed=0), "box must be a pair"),  # type: ignore[arg-type]
        (lambda: generator.generate(1, seed=0, clues_added=(3, 1)), "clues_added must satisfy"),
        (lambda: generator.generate(1, seed=0, clues_added=(1, 1), givens=(30, 30)), "not both"),
        (lambda: generator.solve_count(BOARD[0]), r"shape \(N, 81\)"),
        (lambda: generator.solve_count(BOARD, (2, 3)), r"shape \(N, 36\)"),
        (lambda: generator.solve_count(BOARD.astype(float)), "integers, got dtype float64"),
        (lambda: generator.solve_count(BOARD + 10), r"values in 0\.\.9, got 10\.\.10"),
        (lambda: generator.solve_count(BOARD, limit=0), "limit must be"),
        (lambda: generator.augment(BOARD, BOARD[:0], seed=0), "differ in shape"),
        (lambda: generator.canonical(np.zeros((1, 256), int), (4, 4)), "use fingerprint"),
        (lambda: generator.rate(BOARD, repeats=0), "repeats must be"),
        (lambda: HardPool(0, seed=0), "size must be"),
        (lambda: HardPool(5, seed=0, temperature=-1), "temperature must be"),
        (lambda: HardPool(5, seed=0, lifetime=0), "lifetime must be"),
        (lambda: HardPool(5, seed=0, rating="luck"), "rating must be"),  # type: ignore[arg-type]
        (lambda: HardPool.from_state({}), "lacks"),
    ],
)
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
