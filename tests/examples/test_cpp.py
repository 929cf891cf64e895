"""The C++ example builds against onnxruntime's headers and answers as Python does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import onnxruntime
import pytest
from programs import EXAMPLES, PUZZLES, run

from export.exporter import export_onnx
from trm_sdk import Solver
from trm_sdk.domains.text import line_of

HEADERS = EXAMPLES / "cpp" / "onnxruntime" / "include"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built, linked to the library of onnxruntime's Python package."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    if not (HEADERS / "onnxruntime_cxx_api.h").is_file():
        pytest.skip("no headers of onnxruntime: run examples/setup.sh")
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this onnxruntime carries no shared library to link to")
    folder = tmp_path_factory.mktemp("cpp")
    library = folder / "libonnxruntime.so.1"  # the name that the loader will ask for
    library.symlink_to(found[-1])
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-rpath,{folder}"]
    source = EXAMPLES / "cpp" / "solve.cpp"
    # -isystem: warnings of the headers are not this project's.
    built = run(compiler, *flags, "-isystem", HEADERS, source, library, "-o", folder / "solve")
    assert built.returncode == 0, built.stderr
    return folder / "solve"


@pytest.fixture(scope="session")
def loop(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as a loop graph."""
    path = tmp_path_factory.mktemp("loop") / "loop.onnx"
    export_onnx(model, path, "loop")
    return path


def test_answers_are_python_s(program: Path, loop: Path, solver: Solver) -> None:
    result = run(program, loop, *PUZZLES)
    assert result.returncode == 0, result.stderr + result.stdout
    lines = [line.split(" ", 1) for line in result.stdout.splitlines()]
    assert [answer for answer, _ in lines] == [line_of(solver.solve(p).grid) for p in PUZZLES]
    assert all(re.fullmatch(r"verified, \d+ steps", rest) for _, rest in lines)


def test_an_answer_against_the_rules_is_not_called_verified(program: Path, loop: Path) -> None:
    # No solution: the first row wants a 9 in its last column, which has one at the bottom.
    impossible = "12345678." + "." * 71 + "9"
    result = run(program, loop, impossible)
    assert result.returncode == 1
    assert "NOT solved" in result.stdout


def test_what_is_no_puzzle_or_no_model_is_named(program: Path, loop: Path, tmp_path: Path) -> None:
    result = run(program, loop, "12")
    assert (result.returncode, result.stderr) == (
        2,
        "Error: a puzzle has 81 cells, digits or dots; got 12\n",
    )
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    result = run(program, broken, PUZZLES[0])
    assert result.returncode == 2
    assert str(broken) in result.stderr
