"""The canvas, the augmentations and the domain."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from arc_tasks import EVALUATION, SUBSETS, TRAINING, grid, grids_of, shared, tasks

from trm_sdk.domains import get_domain
from trm_sdk.domains.arc import Arc, canvas
from trm_sdk.domains.arc.augment import Augmentation, grid_hash, pairs_hash, split_name
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

OWN = [g for task in tasks(TRAINING | EVALUATION) for g in grids_of(task)]


def test_the_canvas_is_laid_out_as_in_the_reference() -> None:
    tokens = canvas.encode(np.array([[0, 9, 3], [1, 2, 4]]), (1, 2)).reshape(30, 30)
    expected = np.zeros((5, 7), int)
    expected[1:3, 2:5] = [[2, 11, 5], [3, 4, 6]]
    expected[3, 2:5] = 1
    expected[1:3, 5] = 1
    assert tokens[:5, :7].tolist() == expected.tolist()
    assert np.count_nonzero(tokens) == 11


def test_the_edge_of_the_canvas_has_no_end_token() -> None:
    tokens = canvas.encode(np.zeros((30, 4), int)).reshape(30, 30)
    assert np.count_nonzero(tokens == canvas.EOS) == 30
    assert not (canvas.encode(np.zeros((30, 30), int)) != canvas.FIRST).any()
    with pytest.raises(InvalidInputError, match="4x5 at row 27"):
        canvas.encode(np.zeros((4, 5), int), (27, 0))
    with pytest.raises(InvalidInputError, match="column -1"):
        canvas.encode(np.zeros((4, 5), int), (0, -1))


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        # A hole in the second row: 2x2 and 1x4 have equal areas, and the fewer rows win.
        (["2222", "2202", "0000"], (1, 4)),
        (["2222", "2220", "0000"], (2, 3)),
        (["2100", "2100", "2100"], (3, 1)),
        (["0222", "2222"], (0, 0)),
        (["1222"], (0, 0)),
        # What stands apart from the corner is not looked at.
        (["2012", "0012", "2222"], (1, 1)),
    ],
)
def test_the_largest_rectangle_in_the_corner_is_read(
    rows: list[str], size: tuple[int, int]
) -> None:
    tokens = np.zeros((30, 30), int)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = list(map(int, row))
    found = canvas.decode(tokens.reshape(-1))
    assert (None if found is None else found.shape) == (size if size[0] else None)
    if found is not None:
        assert not found.cells.any()


def test_the_crop_equals_a_search_of_all_rectangles() -> None:
    rng = np.random.default_rng(0)
    tokens = np.where(rng.random((200, 900)) < rng.random((200, 1)) ** 3, 12, 5)
    tokens = np.where(rng.random(tokens.shape) < 0.01, -3, tokens)
    for one, found in zip(tokens.reshape(-1, 30, 30), canvas.crop_sizes(tokens), strict=True):
        good = (one >= 2) & (one <= 11)
        sizes = [
            (rows, columns)
            for rows in range(1, 31)
            for columns in range(1, 31)
            if good[:rows, :columns].all()
        ]
        best = max(sizes, key=lambda size: (size[0] * size[1], -size[0]), default=(0, 0))
        assert tuple(found.tolist()) == best


def _comes_back(grids: list[Grid]) -> None:
    tokens = np.stack([canvas.encode(one.cells) for one in grids])
    assert canvas.decode_batch(tokens) == grids


def test_own_grids_come_back_from_the_canvas() -> None:
    _comes_back(OWN)
    domain = Arc()
    for one in OWN:
        assert domain.decode(domain.encode_grid(one)) == one


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_grid_of_arc_agi_1_comes_back_from_the_canvas(subset: str) -> None:
    _comes_back([one for task in shared(subset) for one in grids_of(task)])


# --- augmentations -------------------------------------------------------------------------------


def test_dihedral_numbers_are_the_references() -> None:
    cells = np.arange(6, dtype=np.int8).reshape(2, 3)
    expected = [
        cells,
        np.rot90(cells, 1),
        np.rot90(cells, 2),
        np.rot90(cells, 3),
        np.fliplr(cells),
        np.flipud(cells),
        cells.T,
        np.fliplr(np.rot90(cells, 1)),
    ]
    for number, wanted in enumerate(expected):
        assert Augmentation(number).move(cells).tolist() == wanted.tolist()


def _inverts(some: list[Task], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number, task in enumerate(some):
        drawn = Augmentation.random(rng)
        made = Augmentation(number % 8, drawn.colours)
        there = made.apply_task(task)
        assert there.name == made.name_of(str(task.name))
        back = made.inverse().apply_task(there)
        assert back == task
        assert split_name(str(there.name)) == (task.name, made)


def test_augmentations_invert_on_own_tasks() -> None:
    for seed in range(8):
        _inverts(tasks(TRAINING | EVALUATION), seed)


@pytest.mark.parametrize("subset", SUBSETS)
def test_augmentations_invert_on_all_tasks_of_arc_agi_1(subset: str) -> None:
    _inverts(shared(subset), 0)


def test_one_augmentation_after_another_is_an_augmentation() -> None:
    rng = np.random.default_rng(3)
    one = Grid(grid(4, 7, 1))
    for a in range(8):
        for b in range(8):
            first = Augmentation(a, Augmentation.random(rng).colours)
            second = Augmentation(b, Augmentation.random(rng).colours)
            both = first.then(second)
            assert isinstance(both, Augmentation)
            assert both.apply(one) == second.apply(first.apply(one))


def test_names_tell_of_the_augmentation() -> None:
    made = Augmentation(7, [0, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    assert made.name_of("x") == "x|||t7|||0987654321"
    assert split_name("x|||t7|||0987654321") == ("x", made)
    assert split_name("x") == ("x", Augmentation())
    assert Augmentation().name_of("x") == "x"
    for no_name in ("x|||t8|||0123456789", "x|||t1|||012345678"):
        assert split_name(no_name) == (no_name, Augmentation())
    with pytest.raises(InvalidInputError, match="permutation of 0 to 9"):
        split_name("x|||t1|||0023456789")
    with pytest.raises(InvalidInputError, match="dihedral must be 0 to 7; got 8"):
        Augmentation(8)


def test_drawn_augmentations_leave_black_alone_and_reach_all_turns() -> None:
    rng = np.random.default_rng(0)
    drawn = [Augmentation.random(rng) for _ in range(200)]
    assert {one.colours[0] for one in drawn} == {0}
    assert {one.dihedral for one in drawn} == set(range(8))
    assert len({one.colours for one in drawn}) == 200


def test_hashes_are_of_shape_and_colours() -> None:
    # sha256 of the bytes 1 2 3 4, and of 2 1 3 4.
    wide = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a"
    assert grid_hash(Grid([[3, 4]])) == wide
    assert grid_hash(Grid([[3], [4]])) != wide
    a, b = Grid([[1]]), Grid([[2]])
    assert pairs_hash([(a, b), (b, a)]) == pairs_hash([(b, a), (a, b)])
    assert pairs_hash([(a, b)]) != pairs_hash([(b, a)])


# --- the domain ----------------------------------------------------------------------------------


def test_the_registry_knows_arc() -> None:
    domain = get_domain("arc")
    assert isinstance(domain, Arc)
    assert (domain.shape, domain.seq_len, len(domain.vocabulary)) == ((30, 30), 900, 12)
    assert domain.verify(tasks(TRAINING)[0], Grid([[1]])) is None


FORMS: list[Any] = [
    Grid([[1, 2, 3], [4, 5, 6]]),
    [[1, 2, 3], [4, 5, 6]],
    np.array([[1, 2, 3], [4, 5, 6]]),
    "123\n456\n",
    "1 2 3\n4 5 6",
    "123/456",
    "[[1, 2, 3], [4, 5, 6]]",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_grid_is_read_in_many_forms(form: Any) -> None:
    domain = get_domain("arc")
    assert domain.parse(form).grid == FORMS[0]
    assert domain.parse_answer(form) == FORMS[0]


def test_a_task_is_read_from_json_and_dict() -> None:
    domain, data = get_domain("arc"), TRAINING["aa000001"]
    (wanted,) = tasks({"aa000001": data})
    assert domain.parse(wanted) is wanted
    assert domain.parse(json.dumps({"aa000001": data})) == wanted
    for form in (data, json.dumps(data)):
        assert domain.parse(form) == tasks({"": data})[0].__class__(
            wanted.inputs, wanted.demonstrations, wanted.answers
        )
    with pytest.raises(InvalidInputError, match="one task is needed; got 3"):
        domain.parse(json.dumps(TRAINING))


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (Grid([[1, 10]]), "test pair 1, input, row 1, column 2: .*got 10"),
        (Grid(np.zeros((31, 2), int)), "at most 30x30; got 31x2"),
        (
            Task((Grid([[1]]),), ((Grid([[1]]), Grid([[1], [-1]])),)),
            "train pair 1, output, row 2, column 1: .*got -1",
        ),
        ("12x", "unexpected character 'x'"),
        ("12\n123", "rows must be of equal length"),
        ("", "no cells"),
        ("{", "not valid JSON"),
        ('{"train": [1]}', "a task: missing key 'test'"),
        ("[[1], [2, 3]]", "a grid, row 2: must have 1 cells"),
        (None, "a puzzle must be"),
    ],
)
def test_what_is_no_task_is_refused(form: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        get_domain("arc").parse(form)


def test_text_comes_back() -> None:
    domain = get_domain("arc")
    for one in OWN:
        assert domain.parse(domain.to_line(one)).grid == one
        assert domain.parse(domain.format(one)).grid == one
    assert domain.format(Grid([[0, 1], [2, 3]])) == "01\n23"


def test_inputs_are_encoded_with_their_identifier() -> None:
    (task, *_) = tasks(EVALUATION)
    turned = Augmentation(1).apply_task(task)
    domain = Arc(["<blank>", "other", "ee000001", str(turned.name)])
    assert domain.identifiers == 4
    assert domain.encode(task).identifier == 2
    encoded = domain.encode(turned)
    assert (encoded.identifier, encoded.shape) == (3, (30, 30))
    assert not encoded.given.any()
    assert canvas.decode(encoded.tokens) == Grid(np.rot90(task.grid.cells))
    assert domain.augmentations(task) == [Augmentation(), Augmentation(1)]


def test_a_task_that_a_model_does_not_know_is_not_given_the_blank_identifier() -> None:
    domain = Arc().with_names(["<blank>", "other"])
    for name in ("ee000001", "<blank>", None):
        task = Task((Grid([[1]]),), name=name)
        with pytest.raises(InvalidInputError, match="not among the 2 names"):
            domain.encode(task)
        with pytest.raises(InvalidInputError, match="not among the 2 names"):
            domain.augmentations(task)
    turned = Augmentation(1).apply_task(Task((Grid([[1]]),), name="other"))
    with pytest.raises(InvalidInputError, match="on other under 1 augmentations, and this is not"):
        domain.encode(turned)
    assert Arc().encode(Task((Grid([[1]]),))).identifier == 0


def test_names_must_be_different_but_for_blanks() -> None:
    assert Arc(["<blank>", "<blank>", "a"]).identifiers == 3
    for bad in (["<blank>", "a", "a"], [], "abc", [1]):
        with pytest.raises(InvalidInputError, match="names must be"):
            Arc(bad)  # type: ignore[arg-type]


def test_examples_mask_what_is_outside_the_answer() -> None:
    made = Arc().encode_examples(tasks(EVALUATION)[:1])
    cells = made.mask[0].reshape(30, 30)
    # The answer of 6x4, and the end tokens below it and right of it.
    assert cells.sum() == 6 * 4 + 6 + 4
    assert cells[6, :4].all()
    assert cells[:6, 4].all()
    assert not cells[6, 4]


def test_an_empty_canvas_reads_as_one_black_cell() -> None:
    assert Arc().decode(np.zeros(900, int)) == Grid([[0]])
    with pytest.raises(InvalidInputError, match="canvas of ARC is 30x30"):
        Arc().decode(np.zeros(4, int), (2, 2))


def test_pictures_are_in_the_usual_palette() -> None:
    domain, (task, *_) = Arc(), tasks(TRAINING)
    picture = domain.picture(task)
    assert picture.shape == task.grid.shape
    assert not picture.given.any()
    drawn = domain.picture(Task((Grid([[0, 1, 8]]),)))
    assert drawn.colours == (("#000000", "#0074d9", "#7fdbff"),)
    shown = domain.demonstrations(task)
    assert [(a.shape, b.shape) for a, b in shown] == [
        (a.shape, b.shape) for a, b in task.demonstrations
    ]
