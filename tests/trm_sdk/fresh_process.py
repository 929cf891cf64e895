"""Code for Python processes of their own: forks that are waited for, and probes of a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trm_sdk

ROOT = Path(trm_sdk.__file__).parents[1]

#: Defines ``in_a_child(work)``, which forks, calls `work` in the child, and returns how that ended:
#: 0 where it ended well, another status, or "hangs".
IN_A_CHILD = """
import os, signal, sys, time

def in_a_child(work):
    pid = os.fork()
    if pid == 0:
        work()
        sys.exit(0)  # the end of the interpreter, which destroys what modules hold
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"
"""


def probe(code: str, path: Path) -> str:
    """Run code on a file, ``sys.argv[1]``, in a fresh Python; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,  # the end of one that hangs
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
