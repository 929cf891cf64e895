"""Training under kills, in short; the long form is ``python -m benchmarks.kills``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
from benchmarks import kills

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_a_run_goes_on_after_three_kills_at_random_moments(tmp_path: Path) -> None:
    found = kills.kill_often(3, tmp_path, seed=1, longest=2)
    assert found.problems == []
    assert found.kills == 3
    assert found.steps > 0


def test_what_should_not_be_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(recipe: str, out: Path, *more: str) -> subprocess.Popen[bytes]:
        code = "raise SystemExit(3)" if more else "import time; time.sleep(600)"
        return subprocess.Popen([sys.executable, "-c", code])

    monkeypatch.setattr(kills, "_start", start)
    monkeypatch.setattr(kills, "_wait_for_another", lambda *_: None)
    (tmp_path / "latest.pt").write_bytes(b"of no run")
    (tmp_path / ".latest.pt.1234").touch()
    found = kills.kill_often(1, tmp_path, longest=0.1)
    assert (found.kills, found.before_training, found.parts) == (1, 1, 1)
    unreadable, ended, left, unreadable_still = found.problems
    assert unreadable.startswith("kill 0: ")
    assert "not a readable PyTorch checkpoint" in unreadable
    assert ended == "after the last kill the run ended with 3"
    assert left == ".latest.pt.1234 is left"
    assert unreadable_still.startswith("at the end: ")
