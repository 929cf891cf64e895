"""X-Sudoku, Windoku and jigsaws, checked against a slow solver over groups of cells."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sudoku_oracles import count_by_groups

from trm_sdk import Grid, InvalidInputError, Task, get_domain
from trm_sdk.domains.sudoku import engine
from trm_sdk.domains.sudoku.variants import SudokuX, Windoku, draw_order
from trm_sdk.domains.sudoku.variants.jigsaw import REGIONS, Jigsaw
from trm_sdk.files import read_tasks
from trm_sdk.render.terminal import Board

Groups = tuple[tuple[int, ...], ...]


def groups_of(domain: Any) -> Groups:
    return tuple(one for kind in domain.distinct for one in kind.groups_on(domain.shape))


def jigsaw_groups(regions: npt.NDArray[Any]) -> Groups:
    size = round(regions.size**0.5)
    cells = np.arange(size * size).reshape(size, size)
    sets = [*cells, *cells.T, *(np.flatnonzero(regions == one) for one in range(size))]
    return tuple(tuple(map(int, one)) for one in sets)


def check_puzzle(
    puzzle: npt.NDArray[Any], solution: npt.NDArray[Any], groups: Groups, *, minimal: bool
) -> None:
    n = len(groups[0])
    for group in groups:
        assert sorted(solution[list(group)].tolist()) == list(range(1, n + 1))
    given = puzzle > 0
    assert (puzzle[given] == solution[given]).all()
    # The slow one vouches for the quick one on small boards.
    count = count_by_groups if n < 9 else quick_count
    assert count(puzzle, groups) == 1
    for cell in np.flatnonzero(given) if minimal else ():
        fewer = puzzle.copy()
        fewer[cell] = 0
        assert count(fewer, groups) == 2


def quick_count(board: npt.NDArray[Any], groups: Groups) -> int:
    return int(engine.solve_count(board[None], groups=groups)[0][0])


# --- the engine ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sudoku-x-4x4", "sudoku-x-6x6", "sudoku-x", "windoku"])
def test_puzzles_of_other_groups_are_unique_and_minimal(name: str) -> None:
    groups = groups_of(get_domain(name))
    puzzles, solutions = engine.generate(3, seed=4, groups=groups)
    for number, pair in enumerate(zip(puzzles, solutions, strict=True)):
        check_puzzle(*pair, groups, minimal=number == 0)
    counts, _, found = engine.solve_count(puzzles, groups=groups)
    assert (counts == 1).all()
    assert (found == solutions).all()


def test_boxes_are_one_case_of_groups() -> None:
    groups = groups_of(get_domain("sudoku-6x6"))
    puzzles, solutions = engine.generate(5, (2, 3), seed=1)
    for one, other in zip(
        engine.solve_count(puzzles, (2, 3)), engine.solve_count(puzzles, groups=groups), strict=True
    ):
        assert (one == other).all()
    assert (engine.solve_count(puzzles, groups=groups)[2] == solutions).all()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("rows", "must be sets of cell numbers"),
        ([], "1 to 62 sets"),
        ([[0, 1], [2, 2]], "must have 2 different cells"),
        ([[0, 1], [1, 2]], "must hold the cells 0 to 3"),
        ([[0, 1, 2], [3, 4]], "must have 3 different cells"),
    ],
)
def test_groups_that_make_no_board_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        engine.generate(1, seed=0, groups=groups)


def test_groups_that_no_grid_fills_are_named() -> None:
    rows = [[0, 1], [2, 3]]
    crossed = [[0, 3], [1, 2]]  # with the columns: three cells that all differ
    with pytest.raises(InvalidInputError, match="no full grid found"):
        engine.generate(1, seed=0, groups=(*rows, [0, 2], [1, 3], *crossed))


@pytest.mark.parametrize("size", [4, 5, 6, 7, 9])
def test_jigsaws_have_connected_regions_and_one_solution(size: int) -> None:
    made = get_domain(f"jigsaw-{size}x{size}").examples(3, 7)
    assert made.groups is not None
    for number in range(3):
        regions = made.groups["box"][number].argmax(0)
        assert (made.groups["box"][number].sum(0) == 1).all()
        assert np.bincount(regions).tolist() == [size] * size
        assert list(dict.fromkeys(regions.tolist())) == list(range(size))
        for one in range(size):
            assert is_connected(regions.reshape(size, size) == one)
        puzzle, solution = made.tokens[number] - 1, made.answers[number] - 1
        check_puzzle(puzzle, solution, jigsaw_groups(regions), minimal=number == 0)
    assert len(np.unique(made.groups["box"].reshape(3, -1), axis=0)) > 1


def is_connected(region: npt.NDArray[np.bool_]) -> bool:
    reached = np.zeros_like(region)
    reached[tuple(np.argwhere(region)[0])] = True
    for _ in range(region.size):
        near = np.pad(reached, 1)
        near = near[1:-1, :-2] | near[1:-1, 2:] | near[:-2, 1:-1] | near[2:, 1:-1] | reached
        reached = near & region
    return bool((reached == region).all())


def test_a_seed_gives_the_same_jigsaws() -> None:
    first = np.arange(9).reshape(3, 3)[np.indices((9, 9))[0] // 3, np.indices((9, 9))[1] // 3]
    made = engine.generate_jigsaws(4, first, seed=3)
    fewer = engine.generate_jigsaws(2, first, seed=3)
    for one, other in zip(made, fewer, strict=True):
        assert (one[:2] == other).all()
    more, _, _ = engine.generate_jigsaws(4, first, seed=3, clues_added=(3, 3))
    assert ((more > 0).sum(1) - (made[0] > 0).sum(1) == 3).all()
    still, _, same = engine.generate_jigsaws(1, first, seed=3, swaps=0)
    assert still.shape == same.shape
    with pytest.raises(InvalidInputError, match="must have 9 regions of 9 cells"):
        engine.generate_jigsaws(1, np.zeros((9, 9), int), seed=0)


# --- X-Sudoku and Windoku -----------------------------------------------------------------------


@pytest.mark.parametrize("domain", [SudokuX(2, 2), SudokuX(2, 3), SudokuX(), Windoku()])
def test_symmetries_keep_every_group(domain: Any) -> None:
    groups = {frozenset(group) for group in groups_of(domain)}
    moves = set()
    for seed in range(60):
        symmetry = domain.random_symmetry(np.random.default_rng(seed))
        moves.add(tuple(symmetry.cells))
        assert {frozenset(symmetry.cells[list(group)].tolist()) for group in groups} == groups
    assert len(moves) > (20 if domain.size == 9 else 3)


def test_an_order_keeps_relations_and_opposites() -> None:
    bands = np.arange(9) // 3
    together = bands[:, None] == bands
    for seed in range(20):
        order = draw_order(np.random.default_rng(seed), 9, [together])
        assert sorted(order) == list(range(9))
        assert (together[np.ix_(order, order)] == together).all()
        assert (order[::-1] == 8 - order).all()


def test_a_diagonal_or_window_that_repeats_a_value_is_named() -> None:
    with pytest.raises(InvalidInputError, match="5 appears 2 times in diagonal 1"):
        get_domain("sudoku-x").parse("5" + "." * 79 + "5")
    board = np.zeros((9, 9), int)
    board[1, 1] = board[3, 2] = 7
    with pytest.raises(InvalidInputError, match="7 appears 2 times in window 1"):
        get_domain("windoku").parse(board)
    get_domain("sudoku").parse(board)


def test_groups_that_don_t_tile_the_board_are_shaded() -> None:
    x, plain = get_domain("sudoku-x"), get_domain("sudoku")
    empty = Task((Grid(np.zeros((9, 9), int)),))
    shaded = x.picture(empty).shaded
    assert shaded is not None
    assert (shaded == (np.eye(9) + np.eye(9)[::-1] > 0)).all()
    assert plain.picture(empty).shaded is None
    assert x.describe()["shaded"] == np.flatnonzero(shaded).tolist()
    assert "shaded" not in plain.describe()
    styles = {str(span.style) for span in Board(x.picture(empty)).text().spans}
    assert any("on grey" in style for style in styles)
    assert not any("on grey" in str(s.style) for s in Board(plain.picture(empty)).text().spans)


def test_an_image_has_shaded_cells_on_another_ground() -> None:
    pytest.importorskip("PIL")
    from trm_sdk.render.image import draw_board

    domain = get_domain("windoku")
    image = draw_board(domain, Task((Grid(np.zeros((9, 9), int)),)), cell=20)
    inside, outside = (image.getpixel((20 * one + 10, 20 * one + 10)) for one in (1, 0))
    assert inside != outside


def test_there_is_one_windoku() -> None:
    with pytest.raises(InvalidInputError, match="takes boards of 9x9"):
        Windoku().resized((6, 6))
    assert SudokuX().resized((6, 6)).name == "sudoku-x-6x6"


# --- jigsaws ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task() -> Task:
    return get_domain("jigsaw").generate(np.random.default_rng(0), clues_added=(0, 0))


def same(one: Task, other: Task) -> bool:
    return one.inputs == other.inputs and one.metadata[REGIONS] == other.metadata[REGIONS]


def lines_of(task: Task) -> tuple[list[str], list[str]]:
    boards = task.grid.tolist(), task.metadata[REGIONS].tolist()
    puzzle, regions = (["".join(map(str, row)) for row in board] for board in boards)
    return puzzle, regions


def test_jigsaws_are_read_in_every_form(task: Task) -> None:
    domain = Jigsaw()
    puzzle, regions = lines_of(task)
    letters = "".join(regions).translate(str.maketrans("123456789", "QWERTYUIO"))
    forms = [
        domain.to_text(task),
        f"{''.join(puzzle)},{letters}",
        "\n".join([*puzzle, *regions]),
        "\n".join([*puzzle, "", *regions]),
        f"{''.join(puzzle)}\n{letters}\n",
        " ".join([*puzzle, *regions]),
        domain.draw(task),
        domain.draw(task).replace("-", "\u2500").replace("|", "\u2502"),
        (task.grid, task.metadata[REGIONS]),
        (task.grid.tolist(), regions),
        ("".join(puzzle), np.array(task.metadata[REGIONS].cells) + 10),
        Task(task.inputs, metadata={REGIONS: letters}),
    ]
    for form in forms:
        assert same(domain.parse(form), task), form
    assert domain.read(domain.to_text(task)) == task.grid


def test_files_of_jigsaws_are_read(task: Task) -> None:
    domain = Jigsaw()
    other = domain.generate(np.random.default_rng(1), clues_added=(3, 3))
    pairs = [lines_of(one) for one in (task, other)]
    texts = {
        "lines": "".join(f"{domain.to_text(one)}\n" for one in (task, other)),
        "drawings": "\n\n".join(map(domain.draw, (task, other))),
        "boards": "\n\n".join("\n".join([*p, "", *r]) for p, r in pairs),
        "tall boards": "# two\n" + "\n\n".join("\n".join([*p, *r]) for p, r in pairs),
        "CSV": "question,rating\n" + "".join(f"{domain.to_text(o)},3\n" for o in (task, other)),
    }
    for kind, text in texts.items():
        found = list(read_tasks(io.StringIO(text), domain, "f"))
        assert len(found) == 2, (kind, found)
        for one, expected in zip(found, (task, other), strict=True):
            assert isinstance(one, Task), (kind, one)
            assert same(one, expected), kind


def test_mistakes_in_regions_are_named(task: Task) -> None:
    domain = Jigsaw()
    text = domain.to_text(task)
    with pytest.raises(InvalidInputError, match="needs its regions"):
        domain.parse(domain.to_line(task.grid))
    with pytest.raises(InvalidInputError, match="needs its regions"):
        domain.parse(task.grid)
    with pytest.raises(InvalidInputError, match="must be 81 symbols, one a cell; got 80"):
        domain.parse(text[:-1])
    with pytest.raises(InvalidInputError, match=r"got 9 of 8, 9, .*, 10 cells"):
        domain.parse(text[:-1] + text[82])
    with pytest.raises(InvalidInputError, match="got 10 of 1, 8, "):
        domain.parse(text[:-1] + "X")
    with pytest.raises(InvalidInputError, match="symbols or whole numbers"):
        domain.parse((task.grid, [[0.5] * 9] * 9))
    drawn = domain.draw(task).splitlines()
    emptied = "\n".join([drawn[0], *("|" + " " * 35 + "|" for _ in range(17)), drawn[18]])
    with pytest.raises(InvalidInputError, match="the walls of this drawing make 1"):
        domain.parse(emptied)


def test_regions_need_not_hang_together() -> None:
    # A toroidal one: the first region lies in all four corners.
    task = Jigsaw(4).parse(("." * 16, "1221 3223 3443 1441"))
    assert task.metadata[REGIONS].tolist()[3] == [1, 4, 4, 1]


def test_a_value_twice_in_a_region_is_refused_and_never_verified(task: Task) -> None:
    domain = Jigsaw()
    assert task.answer is not None
    assert domain.verify(task, task.answer) is True
    other = domain.generate(np.random.default_rng(5), clues_added=(0, 0))
    foreign = dataclasses.replace(task, metadata=other.metadata)
    assert domain.verify(foreign, task.answer) is False
    board = np.zeros((4, 4), int)
    board[0, 0] = board[1, 1] = 4
    with pytest.raises(InvalidInputError, match="4 appears 2 times in region 1"):
        Jigsaw(4).parse((board, "1122 1122 3344 3344"))
    tokens = domain.encode(task).tokens[None]
    assert not domain.verify_tokens(tokens, domain.encode_answer(task, task.answer)[None]).any()


def test_the_solutions_of_a_jigsaw_are_counted_with_its_own_regions(task: Task) -> None:
    domain = Jigsaw()
    assert domain.count_solutions(task) == 1
    assert task.answer is not None
    empty = Grid(np.zeros(domain.shape, int))
    assert domain.count_solutions(dataclasses.replace(task, inputs=(empty,))) == 2
    # By trying all boards: 6 solutions each, and one.
    for puzzle, count in (
        ("1234 34.. .... .... 1122 1122 3344 3344", 6),
        ("1... .... .... .... 1112 1322 3324 3444", 6),
        ("1.3. ..2. .... .... 1112 1322 3324 3444", 1),
    ):
        assert Jigsaw(4).count_solutions(Jigsaw(4).parse(puzzle), limit=99) == count


def test_a_jigsaw_whose_region_has_no_place_for_a_value_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="has no solution"):
        Jigsaw(4).parse("12.. ...3 ...4 .... 1122 1122 3344 3344")


def test_regions_move_with_the_cells(task: Task) -> None:
    domain = Jigsaw()
    for seed in range(16):
        symmetry = domain.random_symmetry(np.random.default_rng(seed))
        moved = symmetry.apply_task(task)
        assert moved.answer is not None
        assert domain.verify(moved, moved.answer) is True
        assert same(symmetry.inverse().apply_task(moved), task)
        again = symmetry.then(domain.random_symmetry(np.random.default_rng(seed + 99)))
        twice = again.apply_task(task)
        assert twice.answer is not None
        assert domain.verify(twice, twice.answer) is True


def test_pictures_have_the_puzzle_s_own_borders(task: Task) -> None:
    domain = Jigsaw()
    regions = np.asarray(task.metadata[REGIONS].cells)
    across, down = domain.picture(task).edges()
    assert (across[1:-1] == (regions[1:] != regions[:-1])).all()
    assert (down[:, 1:-1] == (regions[:, 1:] != regions[:, :-1])).all()
    assert (domain.picture(task, task.answer).edges()[0] == across).all()


@pytest.mark.parametrize("size", [2, 17, 9.0, True])
def test_a_jigsaw_of_no_such_size_is_refused(size: Any) -> None:
    with pytest.raises(InvalidInputError, match="must have 3 to 16 rows"):
        Jigsaw(size)
    with pytest.raises(InvalidInputError, match="must be square"):
        get_domain("jigsaw-4x5")


@pytest.mark.parametrize("name", ["sudoku-x", "windoku", "jigsaw"])
def test_clues_added_is_checked(name: str) -> None:
    domain = get_domain(name)
    assert domain.generator_options([1, 2])["clues_added"] == (1, 2)
    with pytest.raises(Exception, match="low <= high"):
        domain.generator_options({"clues_added": (3, 1)})
    with pytest.raises(InvalidInputError, match="on a board of 81 cells"):
        domain.generator_options({"clues_added": (0, 82)})
