"""Mazes as a domain: boards of any size, verdicts, symmetries, generators, targets in time."""

from __future__ import annotations

import numpy as np
import pytest

from trm_sdk.domains import get_domain
from trm_sdk.domains.maze import Maze, rules
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

SMALL = """
S  #
## #
   G
""".strip()


def test_names_carry_sizes_and_boards_of_every_size_are_taken() -> None:
    assert get_domain("maze").shape == (30, 30)
    assert get_domain("maze-9x12").shape == (9, 12)
    assert get_domain("maze").resized((9, 12)).name == "maze-9x12"
    task = get_domain("maze").parse(SMALL)
    assert task.grid.shape == (3, 4)
    with pytest.raises(InvalidInputError, match="must be 2 to 4096"):
        Maze(1, 5)


def test_a_line_is_read_in_the_shape_of_the_domain() -> None:
    domain = get_domain("maze-3x4")
    task = domain.parse(SMALL)
    assert domain.parse(domain.to_line(task.grid)) == task
    assert domain.parse(domain.format(task.grid)) == task


def test_any_shortest_path_is_verified_and_nothing_else() -> None:
    domain = get_domain("maze")
    task = domain.parse("S   \n    \n   G")
    marks = {
        "Soo \n  o \n  oG": False,  # one cell short of the goal's column: a gap at the corner
        "Sooo\n   o\n   G": True,
        "S   \no   \noooG": True,
        "Soo \n  oo\n   G": True,
        "Sooo\n   o\no  G": False,  # a mark beside the path
        "S   \n    \n   G": False,
    }
    for text, right in marks.items():
        if right:
            assert domain.verify(task, domain.parse_answer(text)), text
    answers = [domain.parse_answer(text) for text in marks]
    tokens = np.stack([domain.encode(task).tokens] * len(answers))
    verdicts = domain.verify_tokens(
        tokens, np.stack([domain.encode_grid(one) for one in answers]), task.grid.shape
    )
    single = [domain.verify(task, one) for one in answers]
    assert verdicts.tolist() == single
    assert not single[4]
    assert not single[5]
    assert not domain.verify(task, Grid([[2, 3]]))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("S#G\n###", "can't be reached"),
        ("S  \n  #", "goal"),
        ("SSG", "one start"),
        ("S G\n #", "same number"),
        ("S?G", "unknown character '\\?'"),
    ],
)
def test_plain_mistakes_are_named(text: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        get_domain("maze").parse(text)


def test_a_maze_that_is_given_as_an_array_is_checked_like_text() -> None:
    domain = get_domain("maze")
    assert domain.parse([[2, 1, 3]]).grid.shape == (1, 3)
    with pytest.raises(InvalidInputError, match="holds 0 \\(wall\\), 1 \\(free\\)"):
        domain.parse([[2, 4, 3]])
    with pytest.raises(InvalidInputError, match="can't be reached"):
        domain.parse([[2, 0, 3]])


def test_turned_mazes_are_solved_by_turned_answers_and_share_their_fingerprint() -> None:
    domain, rng = get_domain("maze"), np.random.default_rng(1)
    made = domain.examples(5, 2, {"rows": 9, "columns": 12})
    for row in range(5):
        task = Task(
            (domain.decode(made.tokens[row], made.shape),),
            answers=(domain.decode(made.answers[row], made.shape),),
        )
        print_of = domain.fingerprint(made.tokens[row : row + 1], made.shape)
        for _ in range(8):
            symmetry = domain.random_symmetry(rng)
            turned = symmetry.apply_task(task)
            assert turned.answer is not None
            assert domain.verify(turned, turned.answer)
            assert symmetry.inverse().apply_task(turned) == task
            tokens = domain.encode(turned).tokens[None]
            assert domain.fingerprint(tokens, turned.grid.shape) == print_of
    assert len(set(domain.fingerprint(made.tokens, made.shape).tolist())) == 5


def test_generator_options_are_checked_by_name() -> None:
    domain = get_domain("maze")
    assert domain.examples(2, 0, {"rows": 7}).shape == (7, 7)
    for options, named in (
        ({"row": 7}, "did you mean 'rows'"),
        ({"kinds": {"spiral": 1}}, "kinds.spiral"),
        ({"kinds": {"dfs": 0}}, "above 0"),
        ({"walls": [0.5, 0.2]}, "low <= high"),
    ):
        with pytest.raises(ConfigError, match=named):
            domain.examples(1, 0, options)


def test_targets_ask_for_breadth_first_search_step_by_step() -> None:
    domain = get_domain("maze")
    made = domain.examples(20, 3, {"rows": 11})
    targets = domain.targets(made)
    direction = targets.heads["direction"]
    boards = (made.tokens - 1).reshape(20, 11, 11)
    far = rules.distances(boards).reshape(20, -1)
    assert (direction.due == np.maximum(far, 0)).all()
    assert direction.before == rules.NO_MOVE
    assert (direction.mask == (boards.reshape(20, -1) != rules.WALL)).all()
    assert ((direction.classes == rules.NO_MOVE) == (far <= 0)).all()
    on = made.answers == domain.vocabulary.names.index("path")
    lengths = far[made.tokens == 3]
    assert (targets.answer_due[on] > 0).all()
    # The path is asked for after the wave has reached the start, from there on backwards.
    assert (targets.answer_due >= np.where(on, lengths[:, None], 0)).all()
    assert (targets.answer_weight[on] > targets.answer_weight[~on].max()).all()


def test_pictures_fill_cells_with_colours() -> None:
    domain = get_domain("maze")
    picture = domain.picture(domain.parse(SMALL))
    assert picture.shape == (3, 4)
    assert all(colour is not None for row in picture.colours for colour in row)
    assert picture.given.sum() == 6
