"""Text of one kind without end: answered in time that grows with its length, not with its cube."""

from __future__ import annotations

from contextlib import suppress

import pytest

from trm_sdk import InvalidInputError, get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import TRMError
from trm_sdk.files import read_tasks

#: 20,000 of them: a search that looks from every letter to every other takes minutes or hours.
LENGTH = 20_000
UNITS = ("a", "1", " ", "-", "a ", "a-", "|-", ":", "ab:", "[ ", "\\n", "\u2500", "&a", "'a")
STARTS = ("", "ab: ", "question,answer\n", "x = [", "<game data='", "1")


@pytest.fixture(scope="module", params=["sudoku", "jigsaw", "maze", "arc"])
def domain(request: pytest.FixtureRequest) -> Domain:
    return get_domain(request.param)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("unit", UNITS)
def test_a_line_without_end_is_answered(domain: Domain, unit: str, start: str) -> None:
    text = start + unit * (LENGTH // len(unit))
    with suppress(TRMError):
        domain.parse(text)
    with suppress(TRMError):
        list(read_tasks(text.splitlines(keepends=True), domain, "long.txt"))


def test_a_long_word_is_named_in_short() -> None:
    with pytest.raises(InvalidInputError, match=r"got 20000 in 'aaaaa.*\.\.\."):
        get_domain("sudoku").parse("a" * LENGTH)
