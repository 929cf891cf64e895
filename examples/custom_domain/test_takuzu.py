"""Takuzu keeps the contract of domains, and its puzzles have one solution."""

import itertools

import numpy as np
import pytest
from takuzu import Takuzu

from trm_sdk import Grid, InvalidInputError
from trm_sdk.testing import check_domain

PUZZLE, ANSWER = "...0........1..00..0........0.0..0.1", "101010010110101001100110010101011001"


@pytest.mark.filterwarnings("ignore::trm_sdk.testing.ConformanceWarning")
@pytest.mark.parametrize("size", [4, 6, 8])
def test_the_domain_keeps_its_contract(size: int) -> None:
    check_domain(Takuzu(size, size))


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("0011 0101 1100 1010", True),
        ("0011 0101 1100 1110", False),  # three of a kind
        ("0011 0011 1100 1100", False),  # equal rows
        ("0110 1001 0110 1001", False),  # equal rows
        ("0011 0101 1100 101.", False),
    ],
)
def test_the_rules(answer: str, right: bool) -> None:
    domain = Takuzu(4, 4)
    empty = domain.parse("." * 16)
    assert domain.verify(empty, domain.read(answer)) is right


def test_verdicts_are_those_of_the_rules_said_slowly() -> None:
    boards = np.array(list(itertools.product((2, 3), repeat=16)), np.int32)

    def obeys(cells: str) -> bool:
        lines = [cells[i : i + 4] for i in range(0, 16, 4)]
        ways = (lines, ["".join(column) for column in zip(*lines, strict=True)])
        return all(
            len(set(way)) == 4
            and all(
                line.count("2") == 2 and "222" not in line and "333" not in line for line in way
            )
            for way in ways
        )

    expected = [obeys("".join(map(str, board))) for board in boards.tolist()]
    assert Takuzu(4, 4).verify_tokens(np.ones_like(boards), boards).tolist() == expected
    assert sum(expected) == 72


def test_puzzles_have_one_solution() -> None:
    domain = Takuzu(4, 4)
    every = np.array(list(itertools.product((2, 3), repeat=16)), np.int32)
    every = every[domain.verify_tokens(np.ones_like(every), every)]
    made = domain.examples(50, seed=3)
    for puzzle, answer in zip(made.tokens, made.answers, strict=True):
        (solution,) = every[(every == puzzle)[:, puzzle > 1].all(1)]
        assert (solution == answer).all()


@pytest.mark.parametrize("shape", [(6, 8), (5, 5), (2, 2), (12, 12)])
def test_other_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="4x4, 6x6, 8x8 or 10x10"):
        Takuzu(*shape)


def test_text_is_read_and_written() -> None:
    domain = Takuzu()
    task = domain.parse(PUZZLE)
    assert domain.to_line(task.grid) == PUZZLE
    assert domain.verify(task, Grid(np.array([int(c) + 1 for c in ANSWER]).reshape(6, 6)))
