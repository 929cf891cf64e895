"""Votes, pass@k and submissions, by hand."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arc_tasks import EVALUATION, tasks

from trm_sdk.domains.arc import canvas
from trm_sdk.domains.arc.augment import Augmentation
from trm_sdk.domains.arc.score import Candidate, Votes
from trm_sdk.domains.arc.submission import (
    check_submission,
    make_submission,
    score_submission,
    write_submission,
)
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

IN, IN2 = Grid([[1, 2]]), Grid([[3], [4]])
RIGHT, RIGHT2 = Grid([[5, 6, 7]]), Grid([[8]])
A, B, C = Grid([[1]]), Grid([[2, 2]]), Grid([[3], [3]])
ONE = Task((IN,), ((A, B),), (RIGHT,), "one")
TWO = Task((IN, IN2), ((B, C),), (RIGHT, RIGHT2), "two")


def votes(*some: tuple[Grid | None, float], task: Task = ONE, index: int = 0) -> Votes:
    made = Votes([task])
    for answer, confidence in some:
        made.vote(str(task.name), task.inputs[index], answer, confidence)
    return made


def test_more_votes_win_over_confidence() -> None:
    ranking = votes((A, 0.1), (B, 0.9), (A, 0.3)).ranking("one")
    assert ranking == [Candidate(A, 2, pytest.approx(0.2)), Candidate(B, 1, 0.9)]


def test_equal_votes_are_ranked_by_mean_confidence() -> None:
    ranking = votes((A, 0.9), (A, 0.1), (B, 0.6), (B, 0.5), (C, 0.99)).ranking("one")
    assert [one.grid for one in ranking] == [B, A, C]


def test_full_ties_keep_the_order_in_which_they_came_up() -> None:
    assert [one.grid for one in votes((B, 0.5), (A, 0.5), (C, 0.5)).ranking("one")] == [B, A, C]
    # Equal counts and means, reached in other ways.
    made = votes((A, 0.25), (B, 0.5), (B, 0.5), (A, 0.75))
    assert [one.grid for one in made.ranking("one")] == [A, B]


def test_a_grid_is_told_apart_by_its_shape() -> None:
    flat, tall = Grid([[3, 3]]), Grid([[3], [3]])
    assert len(votes((flat, 0.5), (tall, 0.5)).ranking("one")) == 2


def test_an_empty_canvas_takes_a_rank_but_is_no_attempt() -> None:
    made = votes((None, 0.9), (None, 0.9), (A, 0.5), (RIGHT, 0.4))
    assert [one.grid for one in made.ranking("one")] == [None, A, RIGHT]
    assert made.attempts("one") == [A, RIGHT]
    assert made.scores((2, 3)).per_input == {2: 0, 3: 1}


def test_pass_at_k_by_hand() -> None:
    made = Votes([ONE, TWO])
    # one: right in third place.
    for answer, times in ((A, 3), (B, 2), (RIGHT, 1)):
        for _ in range(times):
            made.vote("one", IN, answer, 0.5)
    # two: first input right at once, second in second place.
    made.vote("two", IN, RIGHT, 0.5)
    made.vote("two", IN2, A, 0.6)
    made.vote("two", IN2, RIGHT2, 0.5)
    scores = made.scores()
    assert scores.per_input == {1: 0.25, 2: 0.5, 5: 1, 10: 1, 100: 1, 1000: 1}
    assert scores.all_inputs == {1: 0, 2: 0.5, 5: 1, 10: 1, 100: 1, 1000: 1}
    assert scores.per_output == {
        1: pytest.approx(1 / 3),
        2: pytest.approx(2 / 3),
        5: 1,
        10: 1,
        100: 1,
        1000: 1,
    }
    assert (scores.tasks, scores.inputs, scores.missing) == (2, 3, 0)


def test_a_test_input_without_votes_is_not_passed_over() -> None:
    made = votes((RIGHT, 0.5), task=TWO)
    with pytest.raises(InvalidInputError, match="1 test inputs have no votes: two, test input 2"):
        made.scores()
    scores = made.scores(allow_missing=True)
    assert (scores.per_input[1], scores.all_inputs[1], scores.missing) == (0.5, 0, 1)


def test_equal_test_inputs_of_a_task_share_their_votes() -> None:
    twice = Task((IN, IN), ((A, B),), (RIGHT, RIGHT), "twice")
    made = votes((RIGHT, 0.5), task=twice)
    assert made.ranking("twice", 0) == made.ranking("twice", 1)
    assert made.scores().per_input[1] == 1
    made = Votes([twice], ["<blank>", "twice"])
    batch = canvases(IN, RIGHT, Augmentation())
    made.add(np.array([1, 1]), *(np.repeat(part, 2, 0) for part in batch), np.zeros(2))
    with pytest.raises(InvalidInputError, match="voted on this test input already"):
        made.add(np.array([1]), *batch, np.zeros(1))


@pytest.mark.parametrize(
    ("vote", "named"),
    [
        (("other", IN, A, 0.5), "task 'other' is not among the 1"),
        (("one", IN2, A, 0.5), "task one has no such test input"),
        (("one", IN, A, 1.5), "confidence must be in 0..1; got 1.5"),
        (("one", IN, A, math.nan), "confidence must be in 0..1; got nan"),
    ],
)
def test_a_vote_on_something_else_is_refused(vote: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        Votes([ONE]).vote(*vote)


def test_votes_need_tasks_with_names_and_answers() -> None:
    for some in ([], [ONE, ONE], [Task((IN,))]):
        with pytest.raises(InvalidInputError, match="tasks"):
            Votes(some)
    unknown = Task((IN,), ((A, B),), None, "one")
    with pytest.raises(InvalidInputError, match="one has no answers"):
        votes((A, 0.5), task=unknown).scores()
    with pytest.raises(InvalidInputError, match="pass_at must be"):
        votes((A, 0.5)).scores((0,))
    with pytest.raises(InvalidInputError, match="votes_each must be"):
        Votes([ONE], votes_each=0)


# --- canvases ------------------------------------------------------------------------------------

TURNS = [Augmentation(), *(Augmentation(i, (0, *range(2, 10), 1)) for i in range(8))]
NAMES = ["<blank>", *(one.name_of("one") for one in TURNS)]


def canvases(grid: Grid, answer: Grid, one: Augmentation) -> tuple[Any, Any]:
    """Input and prediction as a network has them."""
    made = (canvas.encode(one.apply_cells(side))[None] for side in (grid, answer))
    tokens, prediction = made
    return tokens, prediction


def cast(made: Votes, identifier: int, answer: Grid, logit: float = 0.0) -> None:
    batch = canvases(made.tasks["one"].inputs[0], answer, TURNS[identifier - 1])
    made.add(np.array([identifier]), *batch, np.array([logit]))


def test_canvases_are_turned_back_before_they_vote() -> None:
    made = Votes([ONE], NAMES)
    for identifier in range(1, 10):
        cast(made, identifier, RIGHT if identifier % 3 else A)
    assert made.ranking("one") == [Candidate(RIGHT, 6, 0.5), Candidate(A, 3, 0.5)]


def test_confidence_is_the_sigmoid_of_the_halting_logit() -> None:
    made = Votes([ONE], NAMES)
    logits = [2.0, -1000.0, 1000.0]
    for identifier, logit in enumerate(logits, start=1):
        cast(made, identifier, A, logit)
    expected = (1 / (1 + math.exp(-2)) + 0 + 1) / 3
    assert made.ranking("one")[0].confidence == pytest.approx(expected)


def test_a_canvas_without_a_grid_votes_for_none() -> None:
    made = Votes([ONE], NAMES)
    tokens, _ = canvases(IN, A, TURNS[0])
    made.add(np.array([1]), tokens, np.zeros((1, 900), int), np.zeros(1))
    assert made.ranking("one") == [Candidate(None, 1, 0.5)]


def test_votes_of_another_checkpoint_do_not_pile_up() -> None:
    made = Votes([ONE], NAMES)
    cast(made, 2, A)
    with pytest.raises(InvalidInputError, match="make new Votes for each checkpoint"):
        cast(made, 2, B)
    assert made.ranking("one") == [Candidate(A, 1, 0.5)]
    several = Votes([ONE], NAMES, votes_each=2)
    cast(several, 2, A)
    cast(several, 2, B)
    with pytest.raises(InvalidInputError, match="has voted on this test input already"):
        cast(several, 2, B)


def test_a_batch_counts_as_a_whole_or_not_at_all() -> None:
    made = Votes([ONE], NAMES)
    tokens, answers = canvases(IN, A, TURNS[0])
    both = (np.repeat(tokens, 2, 0), np.repeat(answers, 2, 0), np.zeros(2))
    for bad in (0, 1, 99, -1):
        with pytest.raises(InvalidInputError):
            made.add(np.array([1, bad]), *both)
    assert made.ranking("one") == []
    cast(made, 1, A)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"identifiers": [0]}, "identifier 0 is blank"),
        ({"identifiers": [10]}, "one of the 10 names; got 10"),
        ({"identifiers": [1, 2]}, "as many rows; got 2, 1, 1, 1"),
        ({"halt_logits": [math.nan]}, "got nan"),
        ({"tokens": np.zeros((1, 900), int)}, "no grid on the input's canvas"),
        ({"tokens": canvas.encode(RIGHT.cells)[None]}, "task one has no such test input"),
        # The right input under the identifier of another augmentation.
        ({"identifiers": [4]}, "task one has no such test input"),
    ],
)
def test_rows_that_can_not_be_votes_are_refused(change: dict[str, Any], named: str) -> None:
    tokens, answers = canvases(IN, A, TURNS[0])
    row = {"identifiers": [1], "tokens": tokens, "answers": answers, "halt_logits": [0.0]}
    with pytest.raises(InvalidInputError, match=named):
        Votes([ONE], NAMES).add(**row | change)


def test_an_augmentation_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="task 'other' is not among"):
        Votes([ONE], ["<blank>", "other"]).add(
            np.array([1]), *canvases(IN, A, Augmentation()), np.zeros(1)
        )


def test_votes_of_two_processes_are_those_of_one() -> None:
    whole, left, right = (Votes([ONE], NAMES) for _ in range(3))
    answers = [A, B, B, RIGHT, A, B, RIGHT, RIGHT, RIGHT]
    for identifier, answer in enumerate(answers, start=1):
        logit = float(identifier)
        cast(whole, identifier, answer, logit)
        cast(left if identifier < 5 else right, identifier, answer, logit)
    left.merge(right)
    assert left.ranking("one") == [
        Candidate(grid, count, pytest.approx(confidence))
        for grid, count, confidence in whole.ranking("one")
    ]
    with pytest.raises(InvalidInputError, match="has voted in both already"):
        left.merge(right)
    with pytest.raises(InvalidInputError, match="can't be merged"):
        left.merge(Votes([TWO], NAMES))
    assert sum(one.votes for one in left.ranking("one")) == 9


# --- submissions ---------------------------------------------------------------------------------


def test_a_submission_by_hand(tmp_path: Path) -> None:
    attempts = {"one": [[A, RIGHT]], "two": [[RIGHT], []]}
    made = make_submission([ONE, TWO], attempts)
    assert made == {
        "one": [{"attempt_1": [[1]], "attempt_2": [[5, 6, 7]]}],
        "two": [
            {"attempt_1": [[5, 6, 7]], "attempt_2": [[5, 6, 7]]},
            {"attempt_1": [[0]], "attempt_2": [[0]]},
        ],
    }
    path = tmp_path / "submission.json"
    write_submission(path, made, [ONE, TWO])
    assert json.loads(path.read_text()) == made
    for form in (path, made):
        assert score_submission(form, [ONE, TWO]) == {"one": [True], "two": [True, False]}


def test_votes_make_a_submission() -> None:
    made = votes((A, 0.1), (B, 0.2), (B, 0.2), (C, 0.9))
    rows = {"one": [made.attempts("one")]}
    assert make_submission([ONE, TWO], rows) == {
        "one": [{"attempt_1": B.tolist(), "attempt_2": C.tolist()}],
        "two": [{"attempt_1": [[0]], "attempt_2": [[0]]}] * 2,
    }


def test_attempts_at_something_else_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="'other', which is not among"):
        make_submission([ONE], {"other": [[A]]})
    with pytest.raises(InvalidInputError, match="task two has 2 test inputs; got attempts at 1"):
        make_submission([TWO], {"two": [[A]]})


SUBMISSION: Any = make_submission(tasks(EVALUATION), {})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data.pop("ee000002"), "task ee000002: missing"),
        (lambda data: data.update(x=[]), "unknown task 'x'"),
        (lambda data: data["ee000002"].pop(), "task ee000002: must be a list of 2 .*got 1"),
        (lambda data: data.update(ee000001=5), "task ee000001: must be a list of 1 .*got 5"),
        (
            lambda data: data["ee000002"][1].pop("attempt_2"),
            r"task ee000002, test input 2: must be an object .*\['attempt_1'\]",
        ),
        (lambda data: data["ee000001"][0].update(a=1), "test input 1: must be an object with"),
        (
            lambda data: data["ee000001"][0].update(attempt_2=[[1], [11]]),
            "test input 1, attempt_2, row 2, column 1: .*got 11",
        ),
        (
            lambda data: data["ee000001"][0].update(attempt_1=[]),
            "attempt_1: a grid must have 1 to 30 rows; got 0",
        ),
    ],
)
def test_a_bad_submission_is_refused(tmp_path: Path, change: Any, named: str) -> None:
    data = copy.deepcopy(SUBMISSION)
    check_submission(data, tasks(EVALUATION))
    change(data)
    with pytest.raises(InvalidInputError, match=f"submission: .*{named}"):
        check_submission(data, tasks(EVALUATION))
    path = tmp_path / "submission.json"
    with pytest.raises(InvalidInputError, match=named):
        write_submission(path, data, tasks(EVALUATION))
    assert not path.exists()


def test_a_submission_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="can't be read"):
        score_submission(tmp_path / "nowhere.json", [ONE])
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(InvalidInputError, match="must be an object of tasks"):
        score_submission(tmp_path / "bad.json", [ONE])
    unknown = Task((IN,), name="one")
    with pytest.raises(InvalidInputError, match="one has no answers"):
        score_submission(make_submission([unknown], {}), [unknown])
