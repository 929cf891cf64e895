"""Boards of numbers: rules stated by `distinct`, alone and with others, on boards of any size."""

from __future__ import annotations

import numpy as np
import pytest

from trm_sdk.domains import BoardDomain, Vocabulary
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.structure import columns, groups, rows
from trm_sdk.task import Task

DIAGONALS = groups("diagonal", [(0, 4, 8), (2, 4, 6)])


class Latin(BoardDomain):
    name, shape, vocabulary = "latin", (3, 3), Vocabulary.numbers(3)
    distinct = (rows(), columns())


class Ascending(Latin):
    """A rule beyond `distinct`, on top of it."""

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
        return bool(super().verify(task, answer, index) and answer[0, 0] < answer[0, 1])


def test_other_rules_go_on_top_of_distinct() -> None:
    domain = Ascending()
    task = domain.parse("." * 9)
    answers = [domain.parse_answer(text) for text in ("123231312", "213132321", "123123123")]
    assert [domain.verify(task, answer) for answer in answers] == [True, False, False]
    tokens = np.tile(domain.encode(task).tokens, (3, 1))
    verdicts = domain.verify_tokens(tokens, np.stack([domain.encode_grid(a) for a in answers]))
    assert verdicts.tolist() == [True, False, False]


def test_groups_of_any_kind_may_be_distinct() -> None:
    class Crossed(Latin):
        vocabulary = Vocabulary.numbers(5)
        distinct = (rows(), columns(), DIAGONALS)

    domain = Crossed()
    task = domain.parse("." * 9)
    assert domain.verify(task, domain.parse_answer("123 345 512")) is True
    assert domain.verify(task, domain.parse_answer("123 315 241")) is False  # 1, 1, 1
    with pytest.raises(InvalidInputError, match="1 appears 2 times in diagonal 1"):
        domain.parse("1...1....")


def test_boards_of_any_size_keep_the_rules() -> None:
    class Any(Latin):
        any_size = True

    domain = Any()
    assert domain.verify(domain.parse("." * 9), domain.parse_answer("123231312")) is True
    wide = domain.resized((2, 3))
    for board in (domain, wide):
        task = board.parse([[0, 0, 1], [0, 0, 0]])
        assert board.verify(task, Grid([[3, 2, 1], [1, 3, 2]])) is True
        assert board.verify(task, Grid([[3, 2, 1], [3, 1, 2]])) is False
        assert board.verify(task, Grid([[3, 2, 1]])) is False
    with pytest.raises(InvalidInputError, match="2 appears 2 times in column 1"):
        domain.parse([[2, 0, 0], [2, 0, 0]])
