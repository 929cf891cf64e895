"""Processes forked from one that has loaded a model solve, and end well."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from fresh_process import IN_A_CHILD

from trm_sdk.persistence.hub import BUNDLED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

PUZZLE = "1...  ..3.  .4..  ...2"
#: As for a graph of more than 2 MB: onnxruntime's own threads run its operators.
LARGE = """
import shutil, threading
from pathlib import Path
from trm_sdk import Solver, TRMError
from trm_sdk.runtimes import onnx

onnx.SMALL_GRAPH = 0
solver = Solver.from_pretrained(sys.argv[1], "onnx", threads=2)
puzzle = sys.argv[2]
expected = solver.solve(puzzle)
"""


def run(code: str, model: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHILD + LARGE + code, str(model), PUZZLE],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("config.json", "model.onnx", "model.safetensors"):
        source = BUNDLED / "sudoku-4x4" / name
        if source.exists():
            (tmp_path / name).write_bytes(source.read_bytes())
    return tmp_path


def test_a_graph_with_threads_of_its_own_is_opened_anew(model: Path) -> None:
    code = """
def solve():
    found = []
    crew = [threading.Thread(target=lambda: found.append(solver.solve(puzzle))) for _ in range(4)]
    for one in crew: one.start()
    for one in crew: one.join()
    assert [one.grid for one in found] == [expected.grid] * 4

def solve_and_fork():
    solve()
    assert in_a_child(solve) == 0

for work in (solve, lambda: None, solve_and_fork, solver.close):
    print(in_a_child(work))
assert solver.solve(puzzle).grid == expected.grid
"""
    assert run(code, model).split() == ["0", "0", "0", "0"]


def test_a_file_that_has_changed_or_a_gpu_is_refused(model: Path) -> None:
    code = """
def refused():
    try:
        solver.solve(puzzle)
    except TRMError as error:
        print(type(error).__name__, str(error), flush=True)
    else:
        sys.exit(3)

graph = Path(sys.argv[1], "model.onnx")
other = Path(onnx.__file__).parents[1] / "pretrained" / "sudoku" / "model.onnx"

def on_another():
    shutil.copyfile(other, graph)
    refused()

def without():
    graph.unlink()
    refused()

def on_a_gpu():
    solver.runtime.device = "cuda"
    refused()

assert other.is_file(), other
assert [in_a_child(one) for one in (on_a_gpu, on_another, without)] == [0, 0, 0]
"""
    lines = run(code, model).splitlines()
    assert lines[0] == (
        "TRMError a forked process can't use its parent's GPU: load the model in it"
    )
    assert lines[1].startswith("CheckpointError ")
    assert "holds another model than before this process was forked" in lines[1]
    assert lines[2].startswith("CheckpointError ")
    assert "model.onnx" in lines[2]


WSGI = f"""
import os
from trm_sdk import Solver

solver = Solver.from_pretrained("sudoku-4x4")
assert solver.solve("{PUZZLE}").verified

def app(environ, start_response):
    solutions = [solver.solve("{PUZZLE}"), *solver.solve_many(["{PUZZLE}"] * 8)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield f"{{os.getpid()}} {{all(one.verified for one in solutions)}}".encode()
"""


def test_workers_of_gunicorn_with_preload_solve_and_end_well(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="needs the test extra")
    (tmp_path / "preloaded.py").write_text(WSGI)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gunicorn", "--preload", "--workers=2", "--threads=2",
                "--timeout=120", "--graceful-timeout=60", f"--bind={address}",
                f"--chdir={tmp_path}", "preloaded:app",
            ],
            stdout=file, stderr=file, env=environment,
        )  # fmt: skip
    try:
        answers = _answers(f"http://{address}/", process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert len(answers) == 2  # by both workers
    assert set(answers.values()) == {"True"}
    assert not re.search(r"SIG(ABRT|KILL|SEGV)|Traceback|\[(ERROR|CRITICAL)\]", log.read_text())


def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Ask until two workers have answered; by process id."""
    found: dict[str, str] = {}
    deadline = time.monotonic() + 180
    while len(found) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=60) as reply:
                pid, _, verified = reply.read().decode().partition(" ")
        except URLError:  # not up yet
            time.sleep(0.1)
            continue
        found[pid] = "True" if verified == found.get(pid, "True") == "True" else "False"
    return found
