"""Errors name what they were given, whatever its size, and stay one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trm_sdk import SolveOptions, Solver, get_domain
from trm_sdk.errors import ConfigError, InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import clipped, shown
from trm_sdk.validation import checked_threads

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(), inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_a_short_value_is_shown_as_it_is(value: object) -> None:
    whole = repr(value)
    if len(whole) <= 60:
        assert shown(value) == whole
    else:
        assert shown(value) == whole[:57] + "..."


def nested(depth: int, width: int) -> list[Any]:
    value: list[Any] = ["lol"] * width
    for _ in range(depth):
        value = [value] * width
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append({"me": value})
    return value


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        (nested(30, 10), "[[[[["),  # 10 ** 31 leaves
        (nested(100_000, 1), "[[[[["),
        (circle(), "[{'me': [{'me'"),
        (10**5000, "0xc78820040d9443cf"),
        (-(10**5000), "-0xc7882"),
        ("a" * 10**7, "'aaaa"),
        ({"k": [10**5000]}, "{'k': [0xc78"),
        (Unspeakable(), "<Unspeakable>"),
        ([Unspeakable()], "[<Unspeakable>]"),
        (np.int64(3), "np.int64(3)"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_no_value_is_too_large_to_be_named(value: object, begins: str) -> None:
    text = shown(value)
    assert text.startswith(begins)
    assert len(text) <= 60


def test_large_numbers_are_refused_as_small_ones_are() -> None:
    with pytest.raises(InvalidInputError, match="got 0xc788"):
        checked_threads(10**5000)
    with pytest.raises(ConfigError, match=r"max_steps.*got 0xc788"):
        SolveOptions(max_steps=10**5000)
    for name in ("seed", "patience", "width"):
        with pytest.raises(ConfigError, match=rf"{name}.*got 0xc788"):
            SolveOptions(**{name: 10**5000})
    with pytest.raises(InvalidInputError):
        Grid([[10**5000]])
    with pytest.raises(InvalidInputError):
        Grid(nested(5000, 1))


def test_text_from_elsewhere_moves_no_cursor() -> None:
    assert clipped("HTTP \x1b[31mred\x07\nnext", 100) == "HTTP ?[31mred? next"
    assert clipped("x" * 100, 10) == "xxxxxxx..."


def test_a_thousand_complaints_are_not_all_told() -> None:
    with pytest.raises(ConfigError) as caught:
        SolveOptions(**{f"unknown{number}" * 100: 1 for number in range(1000)})
    assert str(caught.value).endswith("and more of the kind")
    assert len(str(caught.value)) < 3000


_LONG = "x" * 100_000


@pytest.mark.parametrize(
    "call",
    [
        lambda: get_domain(_LONG),
        lambda: get_domain("sudoku").parse(_LONG),
        lambda: Solver.from_pretrained(_LONG),
        lambda: Solver.from_pretrained("sudoku", device=_LONG),
        lambda: Solver.from_pretrained("sudoku", runtime=_LONG),
        lambda: Solver.from_pretrained("sudoku", domain=_LONG),
        lambda: Solver.from_pretrained("owner/name", revision=_LONG),
        lambda: Solver.from_pretrained("owner/name", subfolder=_LONG),
        lambda: Solver.from_pretrained("sudoku").solve_many([], on_error=_LONG),
        lambda: SolveOptions(explore=_LONG),
    ],
)
def test_whatever_is_given_is_named_in_short(call: Callable[[], object]) -> None:
    with pytest.raises(TRMError) as caught:
        call()
    assert len(str(caught.value)) < 1000
