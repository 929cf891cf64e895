"""The borders under broken inputs, in short; the long form is ``python -m benchmarks.fuzz``."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from trm_sdk.errors import InvalidInputError


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def test_every_border_answers_broken_inputs_with_a_result_or_an_error_of_its_own(
    tmp_path: Path,
) -> None:
    counts = fuzz.fuzz(1500, seed=7, part=0, parts=1, kept=tmp_path)
    assert sum(one["inputs"] for one in counts.values()) >= 1500
    assert all(one["inputs"] for one in counts.values())
    assert [path.read_text() for path in tmp_path.glob("*.txt")] == []


def test_a_border_that_does_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGALRM, fuzz._stop)

    def hang(value: object) -> None:
        while True:
            time.sleep(0.01)

    def refuse(value: object) -> None:
        raise InvalidInputError(f"not {value!r}")

    def say_nothing(value: object) -> None:
        raise InvalidInputError("")

    def wrong(accept: object) -> str | None:
        return fuzz.tried(fuzz.Border("one", ["x"], accept), "x")  # type: ignore[arg-type]

    assert wrong(refuse) is None
    assert wrong(lambda value: value) is None
    assert "ZeroDivisionError" in str(wrong(lambda value: 1 / 0))
    assert "SystemExit" in str(wrong(lambda value: exit()))
    assert "an error of 0 characters" in str(wrong(say_nothing))
    with monkeypatch.context() as patch:
        peaks = iter((0, 3 << 30))
        patch.setattr(fuzz, "_peak", lambda: next(peaks))
        assert wrong(refuse) == "3072 MB"
    monkeypatch.setattr(fuzz, "MOST_SECONDS", 0.1)
    assert "more than 0.2 s" in str(wrong(hang))


def test_an_input_depends_on_seed_and_number_alone() -> None:
    for sample in (b"abcdef", {"a": [1, 2, {"b": "text"}]}):
        first, second = (
            repr(fuzz.changed(sample, [sample], np.random.default_rng((1, 2)))) for _ in range(2)
        )
        assert first == second
