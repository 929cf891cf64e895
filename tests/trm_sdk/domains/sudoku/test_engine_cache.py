"""Compiled code is cached where that is possible, is never stale, and is not needed to solve."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trm_sdk

PRINT_HASH = (
    "from trm_sdk.domains.sudoku import engine\n"
    "from trm_sdk.domains.sudoku.engine import fingerprints\n"
    "print(engine.fingerprint([[1, 0, 0, 0] + [0] * 12], (2, 2))[0])\n"
    "stats = fingerprints._fingerprint_boards.stats\n"
    "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
)


def run(code: str, root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that imports the package from `root`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(root), **environment},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package, without its models."""
    source = Path(trm_sdk.__file__).parent
    skip = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(source, tmp_path / "site" / "trm_sdk", ignore=skip)
    return tmp_path / "site"


def hash_and_hits(result: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    assert result.returncode == 0, result.stderr
    value, hits, misses = map(int, result.stdout.split())
    return value, hits, misses


@pytest.mark.skipif(sys.platform == "win32", reason="numba asks the registry for its folder")
def test_without_a_folder_for_the_cache_code_is_compiled_all_the_same(copy: Path) -> None:
    # Files in the way of both folders that numba would make: that stops root, too.
    (copy / "trm_sdk" / "domains" / "sudoku" / "engine" / "__pycache__").touch()
    (copy / "file").touch()
    home = str(copy / "file" / "home")
    found = run(PRINT_HASH, copy, HOME=home, XDG_CACHE_HOME=home)
    value, hits, _ = hash_and_hits(found)
    assert hits == 0
    assert found.stderr.count("RuntimeWarning") == 1
    assert "set NUMBA_CACHE_DIR to a writable folder" in found.stderr
    cached = run(PRINT_HASH, copy, HOME=home, NUMBA_CACHE_DIR=str(copy / "cache"))
    assert hash_and_hits(cached) == (value, 0, 1)
    assert not cached.stderr


def test_a_second_process_loads_what_the_first_compiled(copy: Path) -> None:
    cache = str(copy / "cache")
    value, hits, misses = hash_and_hits(run(PRINT_HASH, copy, NUMBA_CACHE_DIR=cache))
    assert (hits, misses) == (0, 1)
    assert hash_and_hits(run(PRINT_HASH, copy, NUMBA_CACHE_DIR=cache)) == (value, 1, 0)


def test_code_is_compiled_again_when_a_function_of_another_file_changed(copy: Path) -> None:
    cache = str(copy / "cache")
    value, _, _ = hash_and_hits(run(PRINT_HASH, copy, NUMBA_CACHE_DIR=cache))
    splitmix = copy / "trm_sdk" / "domains" / "kernels" / "splitmix.py"
    text = splitmix.read_text(encoding="utf-8")
    assert "0x94D049BB133111EB" in text
    splitmix.write_text(text.replace("0x94D049BB133111EB", "0x94D049BB133111ED"), encoding="utf-8")
    other, hits, _ = hash_and_hits(run(PRINT_HASH, copy, NUMBA_CACHE_DIR=cache))
    assert hits == 0
    assert other != value


def test_the_rules_of_sudoku_need_no_numba() -> None:
    root = Path(trm_sdk.__file__).parents[1]
    code = "import sys, trm_sdk.domains.sudoku; assert 'numba' not in sys.modules"
    result = run(code, root)
    assert result.returncode == 0, result.stderr


def test_a_missing_numba_is_named_with_what_installs_it() -> None:
    root = Path(trm_sdk.__file__).parents[1]
    code = "import sys; sys.modules['numba'] = None\nimport trm_sdk.domains.sudoku.engine"
    result = run(code, root)
    assert "MissingDependencyError: generating and rating puzzles needs numba" in result.stderr
    assert "pip install 'trm-sdk[train]'" in result.stderr
