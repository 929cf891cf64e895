"""The C++ examples build against onnxruntime's headers and answer as Python does."""

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


def compiler() -> str:
    """Return a C++ compiler, or skip the test."""
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        pytest.skip("there is no C++ compiler")
    return found


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of onnxruntime's Python package, by the name that a loader asks for."""
    compiler()
    if not (HEADERS / "onnxruntime_cxx_api.h").is_file():
        pytest.skip("no headers of onnxruntime: run examples/setup.sh")
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this onnxruntime carries no shared library to link to")
    folder = tmp_path_factory.mktemp("cpp")
    named = folder / "libonnxruntime.so.1"
    named.symlink_to(found[-1])
    return named


def build(name: str, library: Path) -> Path:
    """Build an example, linked to `library`."""
    folder = library.parent
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-rpath,{folder}"]
    source, built = EXAMPLES / "cpp" / name, folder / Path(name).stem
    # -isystem: warnings of the headers are not this project's.
    result = run(compiler(), *flags, "-isystem", HEADERS, source, library, "-o", built)
    assert result.returncode == 0, result.stderr
    return built


@pytest.fixture(scope="session")
def program(library: Path) -> Path:
    """The example for Sudoku, built."""
    return build("solve.cpp", library)


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


@pytest.fixture(scope="session")
def maze_program(library: Path) -> Path:
    """The example for mazes, built."""
    return build("maze.cpp", library)


def test_mazes_of_any_size_are_solved_as_in_python(
    maze_program: Path, maze: Path, tmp_path: Path
) -> None:
    solver = Solver.from_pretrained(maze, runtime="onnx", threads=1)
    domain, files, lines = solver.domain, [], []
    for number, shape in enumerate(((7, 12), (15, 15), (30, 9))):
        made = domain.examples(1, number, {"rows": shape[0], "columns": shape[1]})
        puzzle = domain.decode(made.tokens[0], made.shape)
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(domain.format(puzzle) + "\n")
        solution = solver.solve(puzzle)
        assert solution.verified
        lines.append((domain.format(puzzle).splitlines(), solution))
    result = run(maze_program, maze / "model.onnx", *files)
    assert result.returncode == 0, result.stderr + result.stdout
    printed = iter(result.stdout.splitlines())
    for puzzle_lines, solution in lines:
        answer = [next(printed) for _ in puzzle_lines]
        assert [line.replace("o", " ") for line in answer] == puzzle_lines
        assert domain.verify(solution.task, domain.parse_answer("\n".join(answer)))
        taken = re.fullmatch(r"verified, (\d+) steps", next(printed))
        assert taken
        # The program reads the marks alone; Python may be done sooner by the directions.
        assert int(taken[1]) >= solution.steps


def test_mazes_without_a_way_or_not_a_maze_are_named(
    maze_program: Path, maze: Path, tmp_path: Path
) -> None:
    file = tmp_path / "maze.txt"
    for text, code, told in (
        ("S#.\n.#G\n", 1, "no way from S to G\n"),
        ("S..\n..G\n", 0, "verified, "),
        ("S..\n.G\n", 2, "rows must be of equal length"),
        ("S..\nS.G\n", 2, "a maze has one S and one G"),
        ("S.x\n..G\n", 2, 'a cell is one of "# .SG"; got x'),
    ):
        file.write_text(text)
        result = run(maze_program, maze / "model.onnx", file)
        assert result.returncode == code, (text, result.stderr)
        assert told in result.stdout + result.stderr
    result = run(maze_program, maze / "model.onnx", tmp_path / "absent.txt")
    assert (result.returncode, result.stderr) == (
        2,
        f"Error: cannot read {tmp_path / 'absent.txt'}\n",
    )
