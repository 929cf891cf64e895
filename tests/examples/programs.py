"""Where the examples are, and how their tests run programs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PACKAGES = EXAMPLES / "node_modules"

#: Puzzles that Python's solver confirms an answer to; easy ones, so that few steps are taken.
PUZZLES = (
    "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
    "..3.2.6..9..3.5..1..18.64....81.29..7.......8..67.82....26.95..8..2.3..9..5.1.3..",
    "2...8.3...6..7..84.3.5..2.9...1.54.8.........4.27.6...3.1..7.4.72..4..6...4.1...3",
)
#: No solution, which only trying values shows.
UNSOLVABLE = ".8.5.....1..3.2.943.....7..25..4......8....6....91.5.7...4..3....3..9..86.......1"


def run(
    *command: str | Path, timeout: float = 120, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and keep what it printed."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
    )


def run_example(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python example by the interpreter of the tests, from the root of the project."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return run(sys.executable, EXAMPLES / name, *arguments, env={"PYTHONPATH": paths})


def load_example(name: str) -> ModuleType:
    """A Python example as a module, which pydantic and pickle find by its name."""
    path = EXAMPLES / name
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
