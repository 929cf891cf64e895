"""What an install without extras does: solving, from Python and the command line.

It needs pytest alone, so that it also runs where the dependencies have the lowest versions that
pyproject.toml allows (``nox -s lowest``).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trm_sdk import AsyncSolver, SolveOptions, Solver, get_domain, list_pretrained
from trm_sdk.errors import ConfigError, MissingDependencyError, TRMError

ONE, ANSWER = "1.34341..14343.1", "1234341221434321"
SUDOKU = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
MAZE = "S  \n## \nG  "
((_, HALF), *_) = get_domain("sudoku-16x16").showcase
EMPTY = "." * 16


def trm(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from trm_sdk.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )


@pytest.mark.parametrize(
    ("model", "puzzle"),
    [("sudoku-4x4", ONE), ("sudoku", SUDOKU), ("sudoku-16x16", HALF), ("maze", MAZE)],
)
def test_bundled_models_solve(model: str, puzzle: str) -> None:
    assert model in list_pretrained()
    with Solver.from_pretrained(model, threads=2) as solver:
        solution = solver.solve(puzzle)
        assert solution.verified
        assert solver.domain.verify(solver.domain.parse(puzzle), solution.grid)
        *_, last = solver.stream(puzzle)
        assert last.verified
        many = list(solver.solve_many([puzzle] * 5, batch_size=3))
        assert [one.grid for one in many] == [solution.grid] * 5
        assert json.loads(solution.to_json())["verified"] is True


def test_boards_of_another_size_say_what_runs_them() -> None:
    if importlib.util.find_spec("torch") is None:
        with pytest.raises(MissingDependencyError, match="trm-export bundle sudoku-6x6 -o FOLDER"):
            Solver.from_pretrained("sudoku-6x6")
        assert trm("solve", "." * 36, "-m", "sudoku-6x6").returncode == 2
    else:
        assert Solver.from_pretrained("sudoku-6x6").domain.shape == (6, 6)


@pytest.mark.parametrize("explore", ["noise", "guess", "symmetry"])
def test_attempts_of_every_kind(explore: str) -> None:
    options = SolveOptions(attempts=4, max_steps=8, explore=explore, patience=2)  # type: ignore[arg-type]
    with Solver.from_pretrained("sudoku-4x4") as solver:
        assert solver.solve(EMPTY, options).grid.shape == (4, 4)
        assert solver.solve(ONE, options).verified


def test_concurrent_requests_share_a_batch() -> None:
    async def main() -> list[bool | None]:
        async with AsyncSolver.from_pretrained("sudoku-4x4") as solver:
            return [one.verified for one in await asyncio.gather(*map(solver.solve, [ONE] * 9))]

    assert asyncio.run(main()) == [True] * 9


def test_bad_input_is_one_of_our_errors() -> None:
    with Solver.from_pretrained("sudoku-4x4") as solver:
        for puzzle in ("", "11" + EMPTY[2:], EMPTY + ".", [[1, 2]], None):
            with pytest.raises(TRMError):
                solver.solve(puzzle)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_steps"):
        SolveOptions(max_steps=0)


def test_the_command_line_solves_files(tmp_path: Path) -> None:
    puzzles = tmp_path / "puzzles.csv"
    puzzles.write_text(f"question,answer\n{ONE},{ANSWER}\n{ONE},{ANSWER}\n")
    done = trm("solve", puzzles, "-m", "sudoku-4x4", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["answer"], one["correct"]) for one in lines] == [(ANSWER, True)] * 2
    assert trm("info", "sudoku-4x4").returncode == 0
    assert trm("solve", "11" + EMPTY[2:], "-m", "sudoku-4x4").returncode == 2


#: An environment in which Python takes terminals for ASCII.
ASCII = {
    "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0", "TERM": "xterm", "COLUMNS": "80",
}  # fmt: skip


@pytest.mark.parametrize("command", ["solve", "watch --delay 0"])
@pytest.mark.parametrize(("model", "puzzle"), [("sudoku-4x4", ONE), ("maze", MAZE)])
@pytest.mark.parametrize("terminal", [False, True])
def test_an_ascii_terminal_shows_boards(
    command: str, model: str, puzzle: str, terminal: bool
) -> None:
    arguments = [*command.split(), puzzle, "-m", model]
    code, shown = on_a_terminal(*arguments) if terminal else piped(*arguments)
    assert code == 0, shown
    assert shown.isascii()
    assert b"Traceback" not in shown
    assert b"100%" in shown or b"verified" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_an_ascii_terminal_shows_tables_and_errors(terminal: bool, tmp_path: Path) -> None:
    puzzles = tmp_path / "puzzles.txt"
    puzzles.write_text(f"{SUDOKU}\n{SUDOKU}\n\u0663\u2026\n", encoding="utf-8")
    for arguments in (("solve", puzzles), ("solve", "\u0663\u2026" * 40, "-m", "sudoku-4x4")):
        code, shown = on_a_terminal(*arguments) if terminal else piped(*arguments)
        assert code == 2, shown  # click quotes what was typed in UTF-8, whatever the terminal
        assert b"Traceback" not in shown


def piped(*arguments: object) -> tuple[int, bytes]:
    done = trm(*arguments, **ASCII)
    return done.returncode, done.stdout + done.stderr


def on_a_terminal(*arguments: object) -> tuple[int, bytes]:
    """Run a command on a terminal of its own; return its exit code and what was shown."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from trm_sdk.cli import main; main()", *map(str, arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **ASCII},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(timeout=60), shown
