"""Broken inputs at every border: ``python -m benchmarks.fuzz --inputs 2000000 --processes 2``.

Each border is what takes something from outside: text, files, arrays, options, model descriptions,
recipes, graphs, weights. It is given what it takes, changed at random: bytes and pieces of them are
flipped, cut, repeated and mixed; values in mappings and lists are replaced by such as people and
programs send by mistake. A border must give a result or one of the package's own errors, in a
sentence, within five seconds of the processor and a gigabyte. What does otherwise is written to a
folder, with the input that does it, and ends the command with exit code 1.

An input depends on the seed, the border and its number alone, so a finding can be repeated. Counts
are added to a file as they come: stopped at any time, the same command goes on where it was.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import pydantic

from benchmarks.accuracy import RESULTS
from benchmarks.fuzz_borders import Border, borders
from benchmarks.machine import describe
from trm_sdk.atomic import write_whole
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.errors import TRMError

#: Seconds of the processor, and bytes, that one input may take.
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
#: Places of a value among which one is changed.
_MOST_PLACES = 5_000
#: Seconds after which an input is given up: other programs may have the processor meanwhile.
GIVEN_UP = 60.0
#: What stands in broken files and requests.
SCRAPS = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\t", b",", b";", b'"', b"'",
    b"{", b"}",
    b"[", b"]", b"[[",
    b"null", b"NaN", b"-1", b"1e999", b"9" * 40, b"\\u0000", "\u0663".encode(),
    "\U0001d7dc".encode(), "\u2588".encode(), b"&lol;", b"<!ENTITY", b"../", b"%00",
    b"!!python/object", b"*a", b"&a", b"question,answer\n", b"." * 81, b"S", b"G", b"#",
    b"question",
    b"\x1f\x8b\x08\x00", b"PK\x03\x04",
)  # fmt: skip
#: What stands where something else was meant.
STRANGERS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, math.inf, math.nan,
    "", "x", "9" * 5000, "\ud800", [], [[]], {}, {"x": 1},
    [None], [1, [2]], "true", "1e9",
    "sudoku", "../../etc", b"",
)  # fmt: skip


# --- changing -------------------------------------------------------------------------------------


def changed(sample: Any, samples: Sequence[Any], rng: np.random.Generator) -> Any:
    """Return a sample with one to six random changes."""
    times = int(rng.integers(1, 7))
    if isinstance(sample, bytes):
        others = [one for one in samples if isinstance(one, bytes)]
        for _ in range(times):
            sample = _changed_bytes(sample, others, rng)
        return sample
    sample = copy.deepcopy(sample)
    for _ in range(times):
        sample = _changed_value(sample, rng)
    return sample


def _changed_bytes(data: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    start, end = sorted(int(place) for place in rng.integers(len(data) + 1, size=2))
    end = min(end, start + int(rng.integers(1, 65)))
    scrap = SCRAPS[int(rng.integers(len(SCRAPS)))]
    kind = int(rng.integers(7))
    if kind == 0:
        return data[:start] + bytes([int(rng.integers(256))]) + data[start + 1 :]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:start] + scrap + data[start:]
    if kind == 3:
        return data[:start] + scrap + data[end:]
    if kind == 4:
        return data[:start] + data[start:end] * int(rng.integers(2, 20)) + data[end:]
    if kind == 5:
        other = others[int(rng.integers(len(others)))]
        return data[:start] + other[int(rng.integers(len(other) + 1)) :]
    return data[:start]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) within a value."""
    keys: Sequence[Any] = ()
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _changed_value(value: Any, rng: np.random.Generator) -> Any:
    stranger = copy.deepcopy(STRANGERS[int(rng.integers(len(STRANGERS)))])
    # No more than that: copies of copies grow without end.
    places = list(itertools.islice(_places(value), _MOST_PLACES))
    if not places or rng.random() < 0.02:
        return stranger
    container, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(6))
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[str(stranger)[:50]] = container[key]
    elif kind == 1:
        container.insert(key, stranger)
    elif kind == 2 and isinstance(container[key], int | float):
        with contextlib.suppress(OverflowError):
            container[key] *= (-1, 0, 10, 1e6, 0.1)[int(rng.integers(5))]
    elif kind == 3 and len(places) < _MOST_PLACES:
        container[key] = copy.deepcopy(value)
    elif kind == 4 and isinstance(container[key], str):
        text = container[key].encode(errors="surrogatepass")
        container[key] = _changed_bytes(text, [text], rng).decode(errors="surrogateescape")
    else:
        container[key] = stranger
    return value


# --- running --------------------------------------------------------------------------------------


class TooLong(BaseException):
    """An input took longer than it may. No Exception, or a border might take it for its own."""


def _stop(*_: object) -> None:
    raise TooLong


#: What borders may raise; pydantic's own error where a model is validated as such.
_OWN = (TRMError, pydantic.ValidationError)


def tried(border: Border, value: Any) -> str | None:
    """Give a border a value; return what it does wrong, or None."""
    before = _peak()
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, GIVEN_UP)
    try:
        border.accept(value)
    except _OWN as error:
        if isinstance(error, TRMError) and (not str(error).strip() or len(str(error)) > 4000):
            return f"an error of {len(str(error))} characters"
    except TooLong:
        return f"more than {GIVEN_UP:g} s: {traceback.format_exc(limit=-6)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "".join(traceback.format_exception(error, limit=-8))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if (spent := time.process_time() - begun) > MOST_SECONDS:
        return f"{spent:.1f} s"
    if (grown := _peak() - before) > MOST_BYTES:
        return f"{grown / 2**20:.0f} MB"
    return None


def _peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(
    every: Sequence[Border], seed: int, first: int, last: int, kept: Path
) -> dict[str, dict[str, Any]]:
    """Try the inputs from `first` to before `last`; return counts by border.

    Inputs are dealt to the borders by their shares, so that ranges side by side add up. Findings
    are written to `kept`.
    """
    signal.signal(signal.SIGALRM, _stop)
    counts: dict[str, dict[str, Any]] = {}
    total = sum(border.share for border in every)
    for place, border in enumerate(every):
        count: dict[str, Any] = {"inputs": 0, "seconds": 0.0, "slowest": 0.0, "findings": []}
        counts[border.name] = count
        start, end = (math.ceil(bound * border.share / total) for bound in (first, last))
        for number in range(start, end):
            value = nth(border, place, seed, number)
            begun = time.process_time()
            wrong = tried(border, value)
            spent = time.process_time() - begun
            if wrong and spent > MOST_SECONDS:
                # The clock may have counted what other programs did: what is slow is slow again.
                wrong = tried(border, nth(border, place, seed, number))
            count["inputs"] += 1
            count["seconds"] += spent
            count["slowest"] = max(count["slowest"], spent)
            if wrong:
                count["findings"].append(number)
                _keep(kept, border, number, value, wrong)
    return counts


def nth(border: Border, place: int, seed: int, number: int) -> Any:
    """Return an input of a border, which is the one at `place` among all."""
    rng = np.random.default_rng((seed, place, number))
    sample = border.samples[int(rng.integers(len(border.samples)))]
    return changed(sample, border.samples, rng)


def _keep(kept: Path, border: Border, number: int, value: Any, wrong: str) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    stem = kept / f"{border.name.replace(' ', '-')}-{number}"
    stem.with_suffix(".txt").write_text(f"{wrong}\n\n{value!r}\n", errors="backslashreplace")
    if isinstance(value, bytes):
        stem.with_suffix(".bin").write_bytes(value)


# --- adding up ------------------------------------------------------------------------------------

#: Inputs that a process is given at once; what is found is written after each.
CHUNK = 5_000


class Tally:
    """What was found so far, in a file, so that several shorter runs add up to a long one.

    Attributes
    ----------
    done : int
        Inputs tried, from the first on.
    minutes : float
    borders : dict
        Counts by border. `findings` has the numbers of inputs that did what they should not;
        `mended` those of them that do as they should by now.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.done, self.minutes = 0, 0.0
        self.borders: dict[str, dict[str, Any]] = {}
        if path.exists():
            before = json.loads(path.read_text("utf-8"))
            if before["seed"] != seed:
                raise click.UsageError(
                    f"{path} holds inputs of seed {before['seed']}; name another file with --out"
                )
            self.done, self.minutes = before["inputs"], before["minutes"]
            self.borders = before["borders"]

    @property
    def findings(self) -> int:
        """Number of findings that are not mended."""
        return sum(len(row["findings"]) for row in self.borders.values())

    def add(self, last: int, counts: dict[str, dict[str, Any]], minutes: float) -> None:
        """Add what was found up to before input `last`, and write everything."""
        for name, count in counts.items():
            empty = {"inputs": 0, "seconds": 0.0, "slowest": 0.0, "findings": [], "mended": []}
            row = self.borders.setdefault(name, empty)
            row["inputs"] += count["inputs"]
            row["seconds"] = round(row["seconds"] + count["seconds"], 3)
            row["slowest"] = round(max(row["slowest"], count["slowest"]), 3)
            row["findings"] += count["findings"]
        self.done, self.minutes = last, round(self.minutes + minutes, 2)
        self.write()

    def again(self, kept: Path) -> None:
        """Try what was found before once more: it may be mended."""
        signal.signal(signal.SIGALRM, _stop)
        with tempfile.TemporaryDirectory() as folder:
            for place, border in enumerate(borders(Path(folder))):
                row = self.borders.get(border.name, {"findings": [], "mended": []})
                for number in tuple(row["findings"]):
                    value = nth(border, place, self.seed, number)
                    if wrong := tried(border, value):
                        _keep(kept, border, number, value, wrong)
                    else:
                        row["findings"].remove(number)
                        row["mended"].append(number)
        self.write()

    def write(self) -> None:
        """Write all counts to the file."""
        facts = {
            "machine": describe(), "seed": self.seed, "inputs": self.done, "minutes": self.minutes,
            "findings": self.findings, "borders": self.borders,
        }  # fmt: skip
        write_whole(self.path, json.dumps(facts, indent=1).encode() + b"\n")

    def table(self) -> Iterator[str]:
        """Yield a line for each border."""
        for name, row in self.borders.items():
            milliseconds = 1e3 * row["seconds"] / max(row["inputs"], 1)
            yield (
                f"{name:27} {row['inputs']:9,} inputs  {milliseconds:8.3f} ms each  "
                f"slowest {row['slowest']:6.3f} s  {len(row['findings'])} findings, "
                f"{len(row['mended'])} mended"
            )


#: Of a process of the pool: its folder and its borders.
_own: list[Any] = []


def _part(arguments: tuple[int, int, int, Path]) -> dict[str, dict[str, Any]]:
    if not _own:
        folder = tempfile.TemporaryDirectory()
        _own[:] = folder, borders(Path(folder.name))
    return fuzz(_own[1], *arguments)


def _ranges(done: int, inputs: int) -> Iterator[tuple[int, int]]:
    while done < inputs:
        yield done, (done := min(inputs, (done // CHUNK + 1) * CHUNK))


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.option(
    "--inputs", default=20_000, show_default=True, type=click.IntRange(1),
    help="In all, with those of earlier runs.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--out", default=RESULTS / "fuzz.json", show_default=True, type=click.Path(path_type=Path),
    help="Counts so far. Where it exists, the inputs after those that it counts are tried, and "
    "its findings once more.",
)  # fmt: skip
@click.option(
    "--findings", "kept", default="runs/fuzz", show_default=True, type=click.Path(path_type=Path),
    help="Folder for inputs that did what they should not.",
)  # fmt: skip
def main(inputs: int, seed: int, processes: int, out: Path, kept: Path) -> None:
    tally = Tally(out, seed)
    if tally.findings:
        tally.again(kept)
    jobs = [(seed, first, last, kept) for first, last in _ranges(tally.done, inputs)]
    context = multiprocessing.get_context("spawn")
    begun = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        # In their order, so that the file always counts all inputs up to one.
        for job, counts in zip(jobs, pool.map(_part, jobs), strict=True):
            now = time.monotonic()
            tally.add(job[2], counts, (now - begun) / 60)
            begun = now
            click.echo(
                f"{tally.done:,} of {inputs:,} inputs in {tally.minutes:.1f} minutes, "
                f"{tally.findings} findings"
            )
    for line in tally.table():
        click.echo(line)
    if tally.findings:
        click.echo(f"inputs and tracebacks lie in {kept}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
