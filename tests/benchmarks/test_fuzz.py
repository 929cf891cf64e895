"""The borders under broken inputs, in short; the long form is ``python -m benchmarks.fuzz``."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.fuzz_borders import borders
from trm_sdk.errors import InvalidInputError


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


def test_every_border_answers_broken_inputs_with_a_result_or_an_error_of_its_own(
    tmp_path: Path,
) -> None:
    counts = fuzz.fuzz(borders(tmp_path), seed=7, first=0, last=1500, kept=tmp_path / "kept")
    assert sum(one["inputs"] for one in counts.values()) >= 1500
    assert all(one["inputs"] for one in counts.values())
    assert [path.read_text() for path in (tmp_path / "kept").glob("*.txt")] == []


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
    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "GIVEN_UP", 0.2)
        assert "more than 0.2 s" in str(wrong(hang))
    monkeypatch.setattr(fuzz, "MOST_SECONDS", -1)
    assert str(wrong(refuse)).endswith(" s")


def test_an_input_depends_on_seed_and_number_alone() -> None:
    for sample in (b"abcdef", {"a": [1, 2, {"b": "text"}]}):
        first, second = (
            repr(fuzz.changed(sample, [sample], np.random.default_rng((1, 2)))) for _ in range(2)
        )
        assert first == second


def _three_borders(accept: object) -> list[fuzz.Border]:
    return [
        fuzz.Border("one", [b"abcdef"], accept, 3),  # type: ignore[arg-type]
        fuzz.Border("two", [{"a": 1}], accept, 1),  # type: ignore[arg-type]
        fuzz.Border("three", ["x"], accept, 0.3),  # type: ignore[arg-type]
    ]


def test_ranges_side_by_side_add_up_to_the_whole(tmp_path: Path) -> None:
    def seen(*bounds: int) -> list[str]:
        values: list[str] = []
        every = _three_borders(lambda value: values.append(repr(value)))
        for first, last in pairwise(bounds):
            fuzz.fuzz(every, 0, first, last, tmp_path)
        return sorted(values)

    assert 100 <= len(seen(0, 100)) <= 102
    assert seen(0, 37, 38, 100) == seen(0, 100)


def test_shorter_runs_add_up_and_what_was_mended_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = tmp_path / "fuzz.json", tmp_path / "kept"
    faulty = _three_borders(lambda value: 1 / 0 if value == {} else value)
    tally = fuzz.Tally(path, seed=3)
    for first, last in ((0, 150), (150, 300)):
        tally.add(last, fuzz.fuzz(faulty, 3, first, last, kept), minutes=1)
    found = tally.findings
    assert found > 0
    assert len(list(kept.glob("*.txt"))) == found

    tally = fuzz.Tally(path, seed=3)
    assert (tally.done, tally.minutes, tally.findings) == (300, 2, found)
    monkeypatch.setattr(fuzz, "borders", lambda folder: faulty)
    tally.again(kept)
    assert tally.findings == found
    monkeypatch.setattr(fuzz, "borders", lambda folder: _three_borders(repr))
    tally.again(kept)
    facts = json.loads(path.read_text())
    assert facts["findings"] == 0
    assert sum(len(row["mended"]) for row in facts["borders"].values()) == found
    # Each border's share is rounded up.
    assert 0 <= sum(row["inputs"] for row in facts["borders"].values()) - facts["inputs"] <= 2


def test_counts_of_another_seed_are_not_added(tmp_path: Path) -> None:
    fuzz.Tally(tmp_path / "fuzz.json", seed=1).write()
    with pytest.raises(click.UsageError, match="holds inputs of seed 1"):
        fuzz.Tally(tmp_path / "fuzz.json", seed=2)


def test_what_is_left_is_dealt_in_chunks() -> None:
    assert list(fuzz._ranges(0, 12_000)) == [(0, 5_000), (5_000, 10_000), (10_000, 12_000)]
    assert list(fuzz._ranges(6_000, 12_000)) == [(6_000, 10_000), (10_000, 12_000)]
    assert list(fuzz._ranges(12_000, 12_000)) == []
