"""Row arrays that grow, are filled and compacted together."""

from __future__ import annotations

import numpy as np
import pytest

from trm_sdk.search.slots import _ARRAYS, Slots

NAMES = tuple(name for name, _, _ in _ARRAYS)


def fill(slots: Slots, slot: int, number: int) -> None:
    slots.write(
        slot,
        tokens=number,
        puzzle=number,
        given=number % 2,
        answer=number,
        identifier=number,
        halt_logit=number,
        threshold=number,
        noise=number,
        check=number % 2,
    )


def test_all_arrays_keep_their_rows_when_they_grow_and_are_compacted() -> None:
    slots = Slots(5)
    assert len(slots) == 0
    for number in range(1, 8):
        slots.resize(number)
        fill(slots, number - 1, number)
    slots.compact([0, 2, 5])
    slots.resize(4)
    fill(slots, 3, 9)
    assert len(slots) == 4
    for name in NAMES:
        array = getattr(slots, name)
        expected = np.array([1, 3, 6, 9]) % (2 if array.dtype == bool else 100)
        assert (array == (expected[:, None] if array.ndim == 2 else expected)).all(), name
        assert array.shape == ((4, 5) if array.ndim == 2 else (4,))


def test_every_array_must_be_filled() -> None:
    slots = Slots(2)
    slots.resize(1)
    with pytest.raises(KeyError):
        slots.write(0, tokens=1)
