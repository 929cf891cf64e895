"""Broken inputs at every border: ``python -m benchmarks.fuzz --inputs 2000000 --processes 2``.

Each border is what takes something from outside: text, files, arrays, options, model descriptions,
recipes, graphs, weights. It is given what it takes, changed at random: bytes and pieces of them are
flipped, cut, repeated and mixed; values in mappings and lists are replaced by such as people and
programs send by mistake. A border must give a result or one of the package's own errors, in a
sentence, within five seconds and a gigabyte. What does otherwise is written to a folder, with the
input that does it, and ends the command with exit code 1.

An input depends on the seed, the border and its number alone, so a finding can be repeated.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pydantic

from benchmarks.accuracy import RESULTS
from benchmarks.machine import describe
from trm_sdk import SolveOptions, Task, get_domain
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.domains.base import Domain
from trm_sdk.errors import TRMError

#: Seconds and bytes that one input may take.
MOST_SECONDS, MOST_BYTES = 5.0, 1 << 30
#: Domains whose text and files are read.
DOMAINS = ("sudoku", "sudoku-16x16", "maze", "arc")
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


class Border(NamedTuple):
    """Where inputs come in.

    Attributes
    ----------
    name : str
    samples : sequence
        Of bytes, or of values as JSON has them: what is changed.
    accept : callable
        Takes a changed sample.
    share : float
        Of all inputs, relative to the others.
    """

    name: str
    samples: Sequence[Any]
    accept: Callable[[Any], object]
    share: float = 1.0


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
    """Every (container, key) within a value."""
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
    places = list(_places(value))
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
    elif kind == 3:
        container[key] = copy.deepcopy(value)
    elif kind == 4 and isinstance(container[key], str):
        text = container[key].encode(errors="surrogatepass")
        container[key] = _changed_bytes(text, [text], rng).decode(errors="surrogateescape")
    else:
        container[key] = stranger
    return value


# --- borders --------------------------------------------------------------------------------------


def borders(folder: Path) -> list[Border]:
    """Return all borders; `folder` is for what must be a file."""
    found = []
    for name in DOMAINS:
        domain = get_domain(name)
        texts = [text.encode() for _, text in domain.showcase] + list(_TEXTS.get(name, ()))
        found.append(Border(f"text of {name}", texts, _Reading(domain), 3))
        found.append(Border(f"files of {name}", [*texts, *_FILES], _File(domain, folder), 1))
        grid = [[0, 1, 2, 0], [3, 0, "4", None], [".", "x", 1.0, 2], [1, 2, 3, 4]]
        found.append(Border(f"arrays of {name}", [grid, [0] * 81, [grid, grid]], domain.parse, 2))
    task = {"train": [{"input": [[0, 1]], "output": [[1, 0]]}], "test": [{"input": [[2, 2]]}]}
    found.append(Border("tasks of arc", [task, {"a": task, "b": task}], _arc, 2))
    options = SolveOptions(max_steps=16, attempts=4, explore="guess").model_dump()
    found.append(Border("options", [options], SolveOptions.model_validate, 3))
    found += [*_descriptions(folder), *_recipes(), *_models(folder)]
    return found


_TEXTS = {
    "maze": (
        b"#####\n#S  #\n# # #\n#  G#\n#####",
        b"+-+-+\n|S  |\n+ + +\n|  G|\n+-+-+",
        b"[[0,1],[0,0]]",
    ),
    "sudoku": (
        b"1..|..2\n---+---\n" * 3,
        b"[Puzzle]\n" + b"1........\n" * 9,
        b"<opensudoku><game data='" + b"0" * 81 + b"'/></opensudoku>",
        b":0000:x:" + b"." * 81 + b":::",
        b"{" + b"123456789 " * 81 + b"}",
    ),
    "sudoku-16x16": (b"." * 250 + b"123ABG", b"1 2 . 16 " * 64),
    "arc": (b'{"train": [], "test": [{"input": [[1, 2], [3, 4]]}]}', b"12\n34"),
}
_FILES = (
    b"question,answer,rating\n" + b"." * 81 + b"," + b"1" * 81 + b",3\n",
    b'{"puzzle": "' + b"." * 81 + b'", "name": "one"}\n' * 3,
    b"import numpy\npuzzles = [[0, 1], [2, 3]]\n",
    b"# comment\n" + (b"53..7....6..195....98....6." * 3 + b" 1.2\n") * 2,
)


class _Reading:
    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def __call__(self, data: bytes) -> object:
        return self.domain.parse(data.decode(errors="surrogateescape"))


class _File:
    def __init__(self, domain: Domain, folder: Path) -> None:
        self.domain, self.folder = domain, folder
        self.suffixes = (".txt", ".csv", ".json", ".sdk", ".gz", ".zip", "")

    def __call__(self, data: bytes) -> object:
        from trm_sdk.files import read_file

        path = self.folder / f"puzzles{self.suffixes[len(data) % len(self.suffixes)]}"
        path.write_bytes(data)
        return sum(isinstance(one, Task) for one in read_file(path, self.domain))


def _arc(value: Any) -> object:
    from trm_sdk.domains.arc.tasks import tasks_in

    return tasks_in(value, "tasks.json")


def _descriptions(folder: Path) -> list[Border]:
    from trm_sdk.persistence.checkpoint import read_spec
    from trm_sdk.persistence.hub import resolve
    from trm_sdk.persistence.spec import ModelSpec
    from trm_sdk.structure import Structure

    folders = [Path(resolve(name)) for name in ("sudoku-4x4", "maze")]
    specs = [json.loads(read_spec(one).to_json()) for one in folders]
    structures = [one["model"]["structure"] for one in specs]

    def spec(value: Any) -> object:
        return ModelSpec.from_json(json.dumps(value, default=repr), folder / "config.json")

    def structure(value: Any) -> object:
        return Structure.model_validate(value)

    return [
        Border("model descriptions", specs, spec, 2),
        Border("structures", structures, structure, 2),
    ]


def _recipes() -> list[Border]:
    from training.recipe import parse_recipe, recipe_files
    from trm_sdk.persistence.yaml import load_yaml

    texts = [path.read_bytes() for path in recipe_files()]
    values = [load_yaml(text.decode()) for text in texts]

    def from_text(data: bytes) -> object:
        return load_yaml(data.decode(errors="surrogateescape"))

    def from_value(value: Any) -> object:
        return parse_recipe(value, "fuzzed.yaml")

    return [
        Border("recipes as text", texts, from_text, 1),
        Border("recipes", values, from_value, 2),
    ]


def _models(folder: Path) -> list[Border]:
    import torch

    from trm_sdk.persistence.checkpoint import load_model
    from trm_sdk.persistence.hub import resolve
    from trm_sdk.runtimes.onnx import OnnxRuntime

    source = Path(resolve("sudoku-4x4"))
    weights, graph = source / "model.safetensors", source / "model.onnx"
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_bytes((source / "config.json").read_bytes())
    torch_file = folder / "sample.pt"
    torch.save({"model": {"a": torch.zeros(3)}}, torch_file)

    def load_weights(data: bytes) -> object:
        (model / "model.safetensors").write_bytes(data)
        return load_model(model)

    def load_torch(data: bytes) -> object:
        path = folder / "weights.pt"
        path.write_bytes(data)
        return load_model(path)

    def load_graph(data: bytes) -> object:
        path = folder / "fuzzed.onnx"
        path.write_bytes(data)
        return OnnxRuntime(path, threads=1)

    return [
        Border("weights", [weights.read_bytes()], load_weights, 0.2),
        Border("torch files", [torch_file.read_bytes()], load_torch, 0.2),
        Border("graphs", [graph.read_bytes()], load_graph, 0.03),
    ]


# --- running --------------------------------------------------------------------------------------


class TooLong(BaseException):
    """An input took longer than it may. No Exception, or a border might take it for its own."""


def _stop(*_: object) -> None:
    raise TooLong


#: What borders may raise; pydantic's own error where a model is validated as such.
_OWN = (TRMError, pydantic.ValidationError)


def tried(border: Border, value: Any) -> str | None:
    """Give a border a value; return what is wrong with what it does, if anything."""
    before = _peak()
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 2 * MOST_SECONDS)
    try:
        border.accept(value)
    except _OWN as error:
        if isinstance(error, TRMError) and (not str(error).strip() or len(str(error)) > 4000):
            return f"an error of {len(str(error))} characters"
    except TooLong:
        return f"more than {2 * MOST_SECONDS:g} s: {traceback.format_exc(limit=-6)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "".join(traceback.format_exception(error, limit=-8))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if (spent := time.monotonic() - begun) > MOST_SECONDS:
        return f"{spent:.1f} s"
    if (grown := _peak() - before) > MOST_BYTES:
        return f"{grown / 2**20:.0f} MB"
    return None


def _peak() -> int:
    """Most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(inputs: int, seed: int, part: int, parts: int, kept: Path) -> dict[str, dict[str, float]]:
    """Try this part of the inputs; return counts by border. Findings are written to `kept`."""
    signal.signal(signal.SIGALRM, _stop)
    counts: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        all_borders = borders(Path(folder))
        total = sum(border.share for border in all_borders)
        for place, border in enumerate(all_borders):
            count = dict.fromkeys(("inputs", "findings", "seconds", "slowest"), 0.0)
            counts[border.name] = count
            for number in range(part, math.ceil(inputs * border.share / total), parts):
                rng = np.random.default_rng((seed, place, number))
                sample = border.samples[int(rng.integers(len(border.samples)))]
                value = changed(sample, border.samples, rng)
                begun = time.monotonic()
                wrong = tried(border, value)
                spent = time.monotonic() - begun
                count["inputs"] += 1
                count["seconds"] += spent
                count["slowest"] = max(count["slowest"], spent)
                if wrong:
                    count["findings"] += 1
                    _keep(kept, border, number, value, wrong)
    return counts


def _keep(kept: Path, border: Border, number: int, value: Any, wrong: str) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    stem = kept / f"{border.name.replace(' ', '-')}-{number}"
    stem.with_suffix(".txt").write_text(f"{wrong}\n\n{value!r}\n", errors="backslashreplace")
    if isinstance(value, bytes):
        stem.with_suffix(".bin").write_bytes(value)


def _part(arguments: tuple[int, int, int, int, Path]) -> dict[str, dict[str, float]]:
    return fuzz(*arguments)


@click.command(cls=ErrorHandlingCommand, help=__doc__)
@click.option("--inputs", default=20_000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--findings", "kept", default="runs/fuzz", show_default=True, type=click.Path(path_type=Path),
    help="Folder for inputs that did what they should not.",
)  # fmt: skip
def main(inputs: int, seed: int, processes: int, kept: Path) -> None:
    begun = time.monotonic()
    jobs = [(inputs, seed, part, processes, kept) for part in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.map(_part, jobs)
    rows = {}
    for name in parts[0]:
        seconds = sum(part[name]["seconds"] for part in parts)
        rows[name] = {
            "inputs": sum(int(part[name]["inputs"]) for part in parts),
            "findings": sum(int(part[name]["findings"]) for part in parts),
            "milliseconds": round(1e3 * seconds / max(sum(p[name]["inputs"] for p in parts), 1), 3),
            "slowest_seconds": round(max(part[name]["slowest"] for part in parts), 3),
        }
        one = rows[name]
        click.echo(
            f"{name:24} {one['inputs']:9,} inputs  {one['milliseconds']:8.3f} ms each  "
            f"slowest {one['slowest_seconds']:6.3f} s  {one['findings']} findings"
        )
    findings = sum(row["findings"] for row in rows.values())
    total = sum(row["inputs"] for row in rows.values())
    minutes = (time.monotonic() - begun) / 60
    click.echo(f"{total:,} inputs in {minutes:.1f} minutes, {findings} findings")
    result = {"machine": describe(), "seed": seed, "minutes": round(minutes, 1), "borders": rows}
    if total >= 1_000_000:
        (RESULTS / "fuzz.json").write_text(json.dumps(result, indent=1) + "\n")
    if findings:
        click.echo(f"inputs and tracebacks lie in {kept}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
