"""Nothing leaves the machine, and processes end as they should."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_process import IN_A_CHILD, ROOT

from trm_sdk.runtimes.ort import TELEMETRY_SWITCH

PUZZLE = "1.34341..14343.1"
#: onnxruntime 1.32 looks its server up nine seconds after the import.
SECONDS = 12


def environment(home: Path, **changes: str) -> dict[str, str]:
    """Of a user's machine: no CI, under which onnxruntime sends nothing anyway."""
    hidden = ("CI", "XDG_CACHE_HOME", TELEMETRY_SWITCH)
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), **changes}


def solve(home: Path, then: str = "", before: tuple[str, ...] = (), **changes: str) -> None:
    code = (
        "from trm_sdk import Solver\n"
        "solver = Solver.from_pretrained('sudoku-4x4')\n"
        f"assert solver.solve({PUZZLE!r}).verified\n" + then
    )
    subprocess.run(
        [*before, sys.executable, "-c", code], env=environment(home, **changes), check=True
    )


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def can_trace() -> bool:
    return (
        shutil.which("strace") is not None
        and not subprocess.run(
            ["strace", "-o", os.devnull, "true"], capture_output=True, check=False
        ).returncode
    )


def test_solving_leaves_no_file_in_an_empty_home(tmp_path: Path) -> None:
    solve(tmp_path)
    assert files_in(tmp_path) == []


@pytest.mark.skipif(not can_trace(), reason="system calls can't be traced")
def test_solving_opens_no_connection(tmp_path: Path) -> None:
    """Not a look-up either: those are datagrams to port 53, or a socket of a name service."""
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    strace = ("strace", "-f", "-e", "trace=network,openat", "-o", str(trace))
    solve(home, f"import time; time.sleep({SECONDS})", strace)
    calls = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    assert any("openat(" in call for call in calls)  # so something was traced
    network = ("socket(", "connect(", "sendto(", "sendmsg(", "sendmmsg(")
    names = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
    assert [call for call in calls if any(word in call for word in (*network, *names))] == []
    assert files_in(home) == []


def test_who_wants_telemetry_may_have_it(tmp_path: Path) -> None:
    code = (
        "import os; from trm_sdk.runtimes.ort import import_onnxruntime; import_onnxruntime(); "
        f"assert os.environ[{TELEMETRY_SWITCH!r}] == '0'"
    )
    env = environment(tmp_path, **{TELEMETRY_SWITCH: "0"})
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports while it runs, rather than for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        pending.extend(ast.iter_child_nodes(node))
    return found


def test_onnxruntime_is_imported_in_one_place() -> None:
    folders = ("trm_sdk", "export", "training", "benchmarks", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    importing = {
        path.relative_to(ROOT).as_posix() for path in files if "onnxruntime" in imports_of(path)
    }
    assert importing == {"trm_sdk/runtimes/ort.py"}


FORKS = f"""
{IN_A_CHILD}
def work():
    assert solver.solve({PUZZLE!r}).verified
    assert all(solution.verified for solution in solver.solve_many([{PUZZLE!r}] * 8))

statuses = [in_a_child(work) for _ in range(50)]
assert statuses == [0] * 50, statuses
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_forked_children_end_by_sys_exit(tmp_path: Path) -> None:
    """As under ``gunicorn --preload``; with telemetry on, each of them aborts or hangs."""
    solve(tmp_path, FORKS)
