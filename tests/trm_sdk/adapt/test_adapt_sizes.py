"""The size of an answer follows from the demonstrations, or is not known."""

from __future__ import annotations

import pytest

from trm_sdk.adapt.sizes import find_rule


@pytest.mark.parametrize(
    ("pairs", "kind", "asked", "answer"),
    [
        ([((2, 3), (2, 3)), ((4, 4), (4, 4))], "same", (7, 1), (7, 1)),
        ([((3, 3), (3, 3))], "same", (5, 6), (5, 6)),
        ([((2, 3), (1, 1)), ((4, 4), (1, 1))], "constant", (9, 9), (1, 1)),
        ([((3, 3), (6, 6))], "constant", (3, 3), (6, 6)),
        ([((3, 3), (6, 6)), ((2, 4), (4, 8))], "ratio", (5, 4), (10, 8)),
        ([((4, 6), (4, 3)), ((2, 4), (2, 2))], "ratio", (3, 8), (3, 4)),
        ([((4, 6), (4, 3)), ((2, 4), (2, 2))], "ratio", (3, 7), None),
    ],
)
def test_a_rule_is_found_and_applied(
    pairs: list[tuple[tuple[int, int], tuple[int, int]]],
    kind: str,
    asked: tuple[int, int],
    answer: tuple[int, int] | None,
) -> None:
    rule = find_rule(pairs)
    assert rule is not None
    assert rule.kind == kind
    assert rule.output_shape(asked) == answer


def test_sizes_without_a_rule_have_none() -> None:
    assert find_rule([((3, 3), (3, 4)), ((3, 3), (2, 2))]) is None
    assert find_rule([((3, 3), (3, 6)), ((4, 4), (8, 4))]) is None
