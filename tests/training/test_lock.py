"""One run a folder, whatever becomes of the process that holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.lock import LOCK, locked
from trm_sdk.atomic import remove_parts, write_whole, writing_whole
from trm_sdk.errors import ConfigError

HOLD = """
import sys, time
from pathlib import Path
from training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_refused_while_another_process_trains_in_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        named = rf"in use by another training run \(process {holder.pid}\); wait .* another --out"
        with pytest.raises(ConfigError, match=named), locked(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / LOCK).exists()  # the file stays, the lock went with its process
    with locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_trained_in_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def without(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("training.lock._lock", without)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_the_file_before_is_kept_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, previous = tmp_path / "latest.pt", tmp_path / "previous.pt"
    for number in range(3):
        with writing_whole(path, previous) as file:
            file.write(b"%d" % number)
    assert (path.read_bytes(), previous.read_bytes()) == (b"2", b"1")

    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", no_links)
    with writing_whole(path, previous) as file:
        file.write(b"3")
    assert (path.read_bytes(), previous.read_bytes()) == (b"3", b"2")
    with pytest.raises(ZeroDivisionError), writing_whole(path, previous) as file:
        file.write(b"%d" % (1 // 0))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["latest.pt", "previous.pt"]


def test_what_is_written_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    path, sync = tmp_path / "a", os.fsync
    monkeypatch.setattr("os.fsync", lambda one: (seen.append(path.exists()), sync(one))[1])
    write_whole(path, b"x")
    assert seen[0] is False
    assert seen[1:] in ([True], [])  # the folder, where that can be had


def test_parts_of_killed_writers_are_removed(tmp_path: Path) -> None:
    for name in (".latest.pt.1234", ".latest.pt.abcd", ".other.pt.1", "latest.pt"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path / "latest.pt")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.pt.1", "latest.pt"]
