"""What singles show about a puzzle, and how many solutions it has, compared with the engines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_sdk import Solver
from trm_sdk.domains import deduction, get_domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.maze import Maze
from trm_sdk.domains.sudoku import Sudoku, engine
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.structure import columns, rows
from trm_sdk.task import Task

#: No solution, which singles show; of an audit.
UNSOLVABLE = "5168497323.76.5...8.97...65135.6.9.7472591..696837..5.253186.746842.75..791.5.6.8"
#: No solution. Guesses at cells alone give up; at the places of values too, they prove it.
HARD_JIGSAW = (
    "...............3...4...............93...6.2.1.....76.......2.....2.8...6..6...... "
    "111111112133334222333554226335544276555542276584444776888888766989998766999997776"
)


@pytest.fixture(params=[deduction.PLAIN_GUESSES, 0], ids=["plain first", "places at once"])
def guesses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count with and without guesses at cells alone before the others."""
    monkeypatch.setattr(deduction, "PLAIN_GUESSES", request.param)


def task_of(cells: np.ndarray, domain: BoardDomain) -> Task:
    return Task((Grid(cells.reshape(domain.shape)),))


def is_refused(board: np.ndarray, domain: BoardDomain) -> bool:
    with suppress(InvalidInputError):
        domain.check(task_of(board, domain))
        return False
    return True


def changed(box: tuple[int, int], n: int) -> np.ndarray:
    """Generated puzzles, of which some lack a clue and some have a wrong one."""
    puzzles, _ = engine.generate(n, box, seed=5)
    rng = np.random.default_rng(5)
    for number, board in enumerate(puzzles):
        if number % 3 == 1:
            board[rng.choice(np.flatnonzero(board))] = 0
        elif number % 3 == 2:
            board[rng.choice(np.flatnonzero(board == 0))] = rng.integers(1, box[0] * box[1] + 1)
    return puzzles


@pytest.mark.usefixtures("guesses")
@pytest.mark.parametrize(("box", "n"), [((2, 2), 300), ((2, 3), 150), ((3, 3), 150)])
def test_solutions_are_counted_as_the_engine_counts_them(box: tuple[int, int], n: int) -> None:
    domain = Sudoku(*box)
    puzzles = changed(box, n)
    expected, _, _ = engine.solve_count(puzzles, box)
    found = [domain.count_solutions(task_of(board, domain)) for board in puzzles]
    assert found == expected.tolist()
    assert set(found) == {0, 1, 2}


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (3, 3)])
def test_only_puzzles_without_solution_are_refused_and_most_of_them_at_once(
    box: tuple[int, int],
) -> None:
    domain = Sudoku(*box)
    puzzles = changed(box, 300)
    expected, _, _ = engine.solve_count(puzzles, box)
    refused = 0
    for board, count in zip(puzzles, expected.tolist(), strict=True):
        if count:
            domain.check(task_of(board, domain))
        else:
            refused += is_refused(board, domain)
    assert refused > 0.85 * (expected == 0).sum()


def filled(names: Sequence[str]) -> list[np.ndarray]:
    """All 4x4 boards that obey the rules of a domain, found by trying all rows."""
    lines = np.array(list(permutations((1, 2, 3, 4))))
    squares = np.array(list(product(lines, repeat=4)))
    squares = squares[(np.sort(squares, axis=1) == np.arange(1, 5)[:, None]).all((1, 2))]
    boxes = squares.reshape(-1, 2, 2, 2, 2).swapaxes(2, 3).reshape(-1, 4, 4)
    fits = (np.sort(boxes, axis=2) == np.arange(1, 5)).all((1, 2))
    if "x" in names:
        for diagonal in (squares, squares[:, :, ::-1]):
            values = np.sort(np.diagonal(diagonal, axis1=1, axis2=2), axis=1)
            fits &= (values == np.arange(1, 5)).all(1)
    return squares[fits].reshape(-1, 16)


@pytest.mark.usefixtures("guesses")
@pytest.mark.parametrize(("name", "number"), [("sudoku-4x4", 288), ("sudoku-x-4x4", 48)])
def test_counts_are_those_of_all_filled_boards(name: str, number: int) -> None:
    """No puzzle with a solution is refuted, and every one without: compared with a list of all."""
    domain, boards = get_domain(name), filled(name.split("-"))
    assert isinstance(domain, BoardDomain)
    assert len(boards) == number
    seen = set()

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(
        st.sampled_from(range(number)),
        st.lists(st.booleans(), min_size=16, max_size=16),
        st.lists(st.tuples(st.integers(0, 15), st.integers(1, 4)), max_size=3),
    )
    def check(which: int, kept: list[bool], changes: list[tuple[int, int]]) -> None:
        puzzle = np.where(kept, boards[which], 0)
        for cell, value in changes:
            puzzle[cell] = value
        count = int(((boards == puzzle) | (puzzle == 0)).all(1).sum())
        task = task_of(puzzle, domain)
        for limit in (1, 2, 300):
            assert domain.count_solutions(task, limit=limit) == min(count, limit)
        if count:
            domain.check(task)
        seen.add(min(count, 2))

    check()
    assert seen == {0, 1, 2}


@pytest.mark.usefixtures("guesses")
@pytest.mark.parametrize("name", ["sudoku", "sudoku-x", "windoku", "jigsaw"])
def test_puzzles_that_are_made_with_an_answer_are_never_refuted(name: str) -> None:
    domain = get_domain(name)
    rng = np.random.default_rng(8)
    options = domain.generator_options({})
    for _ in range(60):
        task = domain.parse(domain.generate(rng, **options))
        assert domain.count_solutions(task, limit=1) in (1, None)


def test_a_contradiction_is_named_by_cell_or_by_value() -> None:
    domain = get_domain("sudoku")
    with pytest.raises(InvalidInputError, match="no value is left for row 1, column 9"):
        domain.parse("12345678." + "........9" + "." * 63)
    # 1 has no place in the first row, nor in the first box.
    line = "234......" + "...1....." + "......1.." + "." * 54
    with pytest.raises(InvalidInputError, match=r"no place is left for 1 in (row|box) 1"):
        domain.parse(line)
    with pytest.raises(InvalidInputError, match="has no solution"):
        domain.parse(UNSOLVABLE)


def test_nothing_is_deduced_where_the_rules_say_nothing() -> None:
    class Free(BoardDomain):
        name, shape, vocabulary = "free", (2, 2), Vocabulary.numbers(2)

    class Half(BoardDomain):
        """Rules beyond `distinct`: solutions can't be counted, that there are none still shows."""

        name, shape, vocabulary = "half", (2, 2), Vocabulary.numbers(2)
        distinct = (rows(), columns())

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
            return super().verify(task, answer, index) and answer[0, 0] == 1

    assert Free().count_solutions(Free().parse("1.1.")) is None
    assert Half().count_solutions(Half().parse("....")) is None
    assert Half().count_solutions(Half().parse("2...")) is None  # which verify alone would say
    assert Half().count_solutions(Task((Grid([[1, 0], [0, 2]]),))) == 0
    with pytest.raises(InvalidInputError, match="no value is left for row"):
        Half().parse("1..2")


def test_places_of_values_prove_what_cells_alone_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    jigsaw = get_domain("jigsaw")
    task = jigsaw.parse(HARD_JIGSAW)
    assert jigsaw.count_solutions(task) == 0
    monkeypatch.setattr(deduction, "PLAIN_GUESSES", deduction.MAX_WORK)
    assert jigsaw.count_solutions(task) is None


def test_a_count_that_takes_too_long_is_given_up() -> None:
    domain = Sudoku(5, 5)
    assert domain.count_solutions(domain.parse([[0] * 25] * 25)) in (2, None)


def test_shortest_paths_are_counted_as_the_engine_counts_them() -> None:
    from trm_sdk.domains.maze.engine.distances import count_shortest_paths

    domain = Maze(12)
    made = domain.examples(60, 3)
    tasks = [domain.decode_task(tokens) for tokens in made.tokens]
    counts = count_shortest_paths(np.stack([task.grid.cells for task in tasks]))
    found = [domain.count_solutions(task, limit=9) for task in tasks]
    assert found == np.minimum(counts, 9).tolist()
    assert 1 in found
    assert 9 in found


def test_a_solution_says_whether_it_is_the_only_one() -> None:
    solver = Solver.from_pretrained("sudoku-4x4")
    (one,) = solver.solve_many(["1.34341..14343.1"])
    assert (one.verified, one.unique) == (True, True)
    several = solver.solve("..34 3412 ..43 4321", SolveOptions(attempts=9, explore="guess"))
    assert (several.verified, several.unique) == (True, False)
    assert several.to_dict()["unique"] is False
