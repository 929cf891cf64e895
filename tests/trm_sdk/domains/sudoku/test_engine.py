"""The Sudoku engine, checked against a slow solver that shares no code with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sudoku_oracles import (
    BOXES,
    HARD,
    HARDEST,
    canonical,
    check_minimal,
    check_pairs,
    is_solved,
    parse,
    random_image,
    slow_count,
    slow_probe,
)

from trm_sdk.domains.sudoku import engine
from trm_sdk.errors import InvalidInputError


@pytest.mark.parametrize("box", BOXES)
def test_generated_puzzles_are_unique_and_minimal(box: tuple[int, int]) -> None:
    puzzles, solutions = engine.generate(8, box, seed=3)
    assert puzzles.dtype == solutions.dtype == np.uint8
    check_pairs(puzzles, solutions, box)
    check_minimal(puzzles[:2], box)


def test_a_seed_gives_the_same_puzzles() -> None:
    puzzles, solutions = engine.generate(20, seed=5)
    again, _ = engine.generate(20, seed=5)
    fewer, fewer_solutions = engine.generate(7, seed=5)
    other, _ = engine.generate(20, seed=6)
    assert (puzzles == again).all()
    assert (puzzles[:7] == fewer).all()
    assert (solutions[:7] == fewer_solutions).all()
    assert (puzzles != other).any(axis=1).all()
    assert len(np.unique(solutions, axis=0)) == 20


def test_a_seed_means_the_same_on_every_machine() -> None:
    puzzles, _ = engine.generate(1, (2, 2), seed=0)
    assert puzzles[0].tolist() == [0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0]


def test_clues_are_added() -> None:
    minimal, solutions = engine.generate(200, (2, 3), seed=1)
    more, same = engine.generate(200, (2, 3), seed=1, clues_added=(2, 5))
    assert more.shape == minimal.shape
    assert ((more == 0) | (more == same)).all()
    assert ((more > 0).sum(1).mean() - (minimal > 0).sum(1).mean()) == pytest.approx(3.5, abs=0.4)
    assert is_solved(solutions[0], (2, 3))


def test_givens_are_hit() -> None:
    puzzles, solutions = engine.generate(100, seed=2, givens=(23, 30))
    clues = (puzzles > 0).sum(1)
    assert set(clues) == set(range(23, 31))
    check_pairs(puzzles[:3], solutions[:3], (3, 3))
    with pytest.raises(InvalidInputError, match="ask for more givens"):
        engine.generate(1, seed=2, givens=(10, 12), attempts=3)


def test_larger_boards() -> None:
    box = (4, 4)
    puzzles, solutions = engine.generate(2, box, seed=1, clues_added=(30, 30))
    assert all(is_solved(grid, box) for grid in solutions)
    counts, _, found = engine.solve_count(puzzles, box)
    assert (counts == 1).all()
    assert (found == solutions).all()


@pytest.mark.parametrize("box", [*BOXES, (3, 2), (2, 4)])
def test_solutions_are_full_grids(box: tuple[int, int]) -> None:
    puzzles, solutions = engine.generate(20, box, seed=4, effort=5)
    assert all(is_solved(grid, box) for grid in solutions)
    assert ((puzzles == 0) | (puzzles == solutions)).all()


def test_solve_count_agrees_with_the_slow_solver() -> None:
    box = (2, 3)
    puzzles, _ = engine.generate(60, box, seed=8)
    rng = np.random.default_rng(0)
    puzzles[rng.random(puzzles.shape) < 0.08] = 0  # opens some
    puzzles[40:, 0] = 1 + puzzles[40:, 0] % 6  # spoils some
    for limit in (1, 2, 5):
        counts, backtracks, solutions = engine.solve_count(puzzles, box, limit)
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
    assert engine.solve_count(np.zeros((1, 16), int), (2, 2), 1000)[0][0] == 288
    top = np.zeros((1, 36), int)
    top[0, :6] = range(1, 7)
    # 28,200,960 grids of 6x6 share 720 first rows
    assert engine.solve_count(top, (2, 3), 50000)[0][0] == 28_200_960 // 720


def test_augment_keeps_pairs_valid() -> None:
    for box in BOXES:
        puzzles, solutions = engine.generate(30, box, seed=9)
        images, answers = engine.augment(puzzles, solutions, box=box, seed=1)
        again, _ = engine.augment(puzzles, solutions, box=box, seed=1)
        other, _ = engine.augment(puzzles, solutions, box=box, seed=2)
        assert (images == again).all()
        assert (images != other).any()
        assert ((images > 0).sum(1) == (puzzles > 0).sum(1)).all()
        counts, _, found = engine.solve_count(images, box)
        assert (counts == 1).all()
        assert (found == answers).all()
        for image, puzzle in zip(images[:5], puzzles[:5], strict=True):
            assert canonical(image, box) == canonical(puzzle, box)


@pytest.mark.parametrize("box", [*BOXES, (3, 2)])
def test_symmetric_images_have_equal_fingerprints(box: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    puzzles, solutions = engine.generate(40, box, seed=10)
    for boards in (puzzles, solutions[:20]):
        images = np.stack([random_image(board, box, rng) for board in boards])
        assert (images != boards).any()
        prints = engine.fingerprint(boards, box)
        assert (engine.fingerprint(images, box) == prints).all()
        for board, image, mark in zip(boards[:5], images[:5], prints[:5], strict=True):
            form = canonical(board, box)
            assert canonical(image, box) == form
            assert engine.fingerprint([form], box)[0] == mark
            # The least board comes no later than any image, and is one.
            assert form <= tuple(image)


def test_there_are_as_many_fingerprints_as_classes() -> None:
    _, grids = engine.generate(500, (2, 2), seed=1)
    assert len(np.unique(engine.fingerprint(grids, (2, 2)))) == 2
    puzzles, _ = engine.generate(4000, (2, 2), seed=1)
    marks, first = np.unique(engine.fingerprint(puzzles, (2, 2)), return_index=True)
    classes = {canonical(puzzle, (2, 2)) for puzzle in puzzles[first]}
    assert len(marks) == len(classes) == 36  # 13 with 4 clues, 22 with 5 and 1 with 6
    clues = [sum(digit > 0 for digit in form) for form in classes]
    assert np.bincount(clues).tolist() == [0, 0, 0, 0, 13, 22, 1]


def test_of_the_classes_of_full_6x6_grids_only_three_share_a_fingerprint() -> None:
    _, grids = engine.generate(2500, (2, 3), seed=1)
    marks, first, sizes = np.unique(
        engine.fingerprint(grids, (2, 3)), return_index=True, return_counts=True
    )
    assert len(marks) == 47
    rare = np.isin(engine.fingerprint(grids, (2, 3)), marks[sizes < 12])
    some = np.concatenate([grids[first], grids[rare]])
    assert len({canonical(grid, (2, 3)) for grid in some}) == 49  # as is known


def test_different_puzzles_have_different_fingerprints() -> None:
    puzzles, solutions = engine.generate(300, seed=11)
    assert len(np.unique(engine.fingerprint(puzzles))) == 300
    assert len(np.unique(engine.fingerprint(solutions))) == 300
    assert len({canonical(puzzle, (3, 3)) for puzzle in puzzles[:10]}) == 10


@pytest.mark.parametrize(("box", "boards"), [((2, 2), 300), ((2, 3), 60), ((3, 3), 10)])
def test_fingerprints_differ_where_classes_do(box: tuple[int, int], boards: int) -> None:
    """Two clues that trade places mostly, though not always, give another class."""
    puzzles, _ = engine.generate(boards, box, seed=11)
    changed = puzzles.copy()
    for board in changed:
        cells = np.flatnonzero(board)
        board[cells[0]], board[cells[-1]] = board[cells[-1]], board[cells[0]]
    moved = (changed != puzzles).any(axis=1)
    differ = engine.fingerprint(changed, box) != engine.fingerprint(puzzles, box)
    forms = [
        canonical(board, box) != canonical(puzzle, box)
        for board, puzzle in zip(changed, puzzles, strict=True)
    ]
    assert differ.tolist() == forms
    assert differ[moved].any()
    if box == (3, 3):
        assert differ[moved].mean() > 0.9
    if box == (2, 2):
        assert not differ[moved].all()


def test_nearly_empty_boards_have_fingerprints() -> None:
    boards = np.zeros((3, 81), np.uint8)
    boards[1, 40] = 7
    boards[2, ::10] = range(1, 10)
    rng = np.random.default_rng(2)
    images = np.stack([random_image(board, (3, 3), rng) for board in boards])
    prints = engine.fingerprint(boards)
    assert (engine.fingerprint(images) == prints).all()
    assert len(set(prints.tolist())) == 3


def test_rate_tells_hard_from_easy() -> None:
    puzzles, solutions = engine.generate(50, seed=12)
    easy = puzzles.copy()
    easy[:, :40] = solutions[:, :40]
    assert (engine.rate(easy) <= engine.rate(puzzles)).all()
    hard = engine.rate(parse(HARD), repeats=4)
    assert hard.dtype == np.float64
    assert hard[0] > np.quantile(engine.rate(puzzles), 0.95)
    assert (engine.rate(parse(HARD), repeats=4) == hard).all()
    twice = engine.rate(np.concatenate([puzzles[:1], parse(HARD)]), repeats=4)
    assert twice[1] == hard[0]  # the place in the batch does not matter


def test_probe_agrees_with_the_slow_one() -> None:
    puzzles, solutions = engine.generate(20, seed=15)
    some = np.concatenate([puzzles, parse(HARD), parse(HARDEST)])
    ratings = engine.probe(some)
    assert ratings == pytest.approx([slow_probe(board) for board in some])
    assert (ratings[:20] < 1).all()  # a random puzzle falls in the first round
    assert ratings[-1] > 81
    images, _ = engine.augment(puzzles, solutions, seed=3)
    assert (engine.probe(images) == ratings[:20]).all()
    assert (engine.rate(puzzles)[ratings[:20] == 0] == 0).all()  # singles solve these
    assert (engine.probe(solutions) == 0).all()


BOARD = np.zeros((1, 81), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: engine.generate(-1, seed=0), "n must be an integer of at least 0 .*; got -1"),
        (lambda: engine.generate(2.0, seed=0), r"n must be an integer .*; got 2\.0"),
        (lambda: engine.generate(2**63, seed=0), r"n must be .* below 2\*\*63"),
        (lambda: engine.generate(1, seed=-1), r"seed must be an integer from 0 to 2\*\*64 - 1"),
        (lambda: engine.generate(1, seed=2**64), "seed must be"),
        (lambda: engine.generate(1, seed=True), "seed must be"),
        (lambda: engine.generate(1, (3, 7), seed=0), r"box must have .*; got \(3, 7\)"),
        (lambda: engine.generate(1, (1, 9), seed=0), r"box must have .*; got \(1, 9\)"),
        (lambda: engine.generate(1, 9, seed=0), "box must be a pair"),
        (lambda: engine.generate(1, (3, 3.5), seed=0), "box must be a pair"),
        (lambda: engine.generate(1, "33", seed=0), "box must be a pair .*; got '33'"),
        (lambda: engine.generate(1, seed=0, attempts=0), "attempts must be"),
        (lambda: engine.generate(1, seed=0, effort=-1), "effort must be"),
        (
            lambda: engine.generate(1, seed=0, clues_added=(3, 1)),
            r"clues_added must be a pair with 0 <= low <= high <= 81; got \(3, 1\)",
        ),
        (lambda: engine.generate(1, seed=0, givens=(3,)), "givens must be a pair"),
        (lambda: engine.generate(1, seed=0, clues_added=(1, 1), givens=(30, 30)), "only one of"),
        (lambda: engine.solve_count(BOARD[0]), r"shape \(N, 81\)"),
        (lambda: engine.solve_count(BOARD, (2, 3)), r"shape \(N, 36\)"),
        (lambda: engine.solve_count([[1], [1, 2]]), r"shape \(N, 81\)"),
        (lambda: engine.solve_count(BOARD.astype(float)), "integers; got dtype float64"),
        (lambda: engine.solve_count(BOARD + 10), r"values from 0 to 9; got 10 to 10"),
        (lambda: engine.solve_count(BOARD, limit=0), "limit must be"),
        (lambda: engine.augment(BOARD, BOARD[:0], seed=0), "must be equal in shape"),
        (lambda: engine.fingerprint(BOARD, (4, 4)), r"shape \(N, 256\)"),
        (lambda: engine.rate(BOARD, repeats=0), "repeats must be"),
        (lambda: engine.probe(BOARD - np.int64(1)), "values from 0 to 9; got -1 to -1"),
    ],
)
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        call()
