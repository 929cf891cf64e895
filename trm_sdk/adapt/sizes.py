"""Which size an answer has: a rule that the sizes of the demonstrations follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Shape = tuple[int, int]
Kind = Literal["same", "constant", "ratio"]


@dataclass(frozen=True)
class SizeRule:
    """How large the output for an input is.

    Attributes
    ----------
    kind : {"same", "constant", "ratio"}
        The input's size; one size for all; or the input's times something.
    shape : (rows, columns) or None
        Of all outputs, where it is constant.
    ratio : (Fraction, Fraction) or None
        Output rows to input rows, and columns to columns.

    Examples
    --------
    >>> find_rule([((3, 3), (6, 6)), ((2, 2), (4, 4))]).output_shape((5, 4))
    (10, 8)
    """

    kind: Kind
    shape: Shape | None = None
    ratio: tuple[Fraction, Fraction] | None = None

    def output_shape(self, shape: Shape) -> Shape | None:
        """Return the size of the output for an input; None where the rule gives no whole one."""
        if self.kind == "same":
            return shape
        if self.kind == "constant":
            return self.shape
        assert self.ratio is not None
        rows, columns = (size * by for size, by in zip(shape, self.ratio, strict=True))
        if rows.denominator != 1 or columns.denominator != 1:
            return None
        return int(rows), int(columns)


def find_rule(pairs: Sequence[tuple[Shape, Shape]]) -> SizeRule | None:
    """Return the rule that all (input, output) shapes follow, or None.

    Where several do, the first of same, constant and ratio.
    """
    if all(before == after for before, after in pairs):
        return SizeRule("same")
    ratios = {
        (Fraction(after[0], before[0]), Fraction(after[1], before[1])) for before, after in pairs
    }
    ratio = SizeRule("ratio", ratio=next(iter(ratios))) if len(ratios) == 1 else None
    outputs = {after for _, after in pairs}
    if len(outputs) == 1:
        return SizeRule("constant", shape=next(iter(outputs)))
    return ratio


__all__ = ["Kind", "SizeRule", "find_rule"]
