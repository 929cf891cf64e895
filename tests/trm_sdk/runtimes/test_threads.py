"""The number of threads: cores, the quota of the container, and the user's own word."""

from __future__ import annotations

from pathlib import Path

import pytest

from trm_sdk.runtimes import threads
from trm_sdk.runtimes.threads import available_threads, cpu_quota


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        # Version 2: of the group itself, of one around it, of the container's own mount.
        ("0::/a/b", {"a/b": {"cpu__max": "50000 100000"}}, 0.5),
        ("0::/a/b", {"a/b": {"cpu__max": "max 100000"}, "a": {"cpu__max": "150000 100000"}}, 1.5),
        ("0::/../../pod/x", {"": {"cpu__max": "300000 100000"}}, 3.0),
        ("0::/", {"": {"cpu__max": "max 100000"}}, None),
        ("0::/", {}, None),
        # Version 1.
        (
            "5:cpu,cpuacct:/docker/1\n1:name=systemd:/",
            {"cpu,cpuacct": {"cpu__cfs_quota_us": "50000", "cpu__cfs_period_us": "100000"}},
            0.5,
        ),
        ("5:cpu:/", {"cpu": {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"}}, None),
        ("5:cpuset:/", {"cpuset": {"cpu__cfs_quota_us": "1", "cpu__cfs_period_us": "1"}}, None),
        # What nobody expects.
        ("0::/", {"": {"cpu__max": "soon"}}, None),
        ("0::/", {"": {"cpu__max": "5 0"}}, None),
        ("nonsense", {}, None),
    ],
)
def test_the_quota_of_a_container_is_read(
    own: str, files: dict[str, dict[str, str]], quota: float | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(own + "\n")
    for folder, contents in files.items():
        group(tmp_path / "cgroup" / folder, **contents)
    assert cpu_quota(tmp_path / "own", tmp_path / "cgroup") == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(
    ("cores", "quota", "asked", "expected"),
    [
        (8, None, "", 8),
        (8, 0.5, "", 1),
        (8, 2.5, "", 3),
        (2, 6.0, "", 2),
        (8, None, "3", 3),
        (8, None, "2,4", 2),
        (8, 4.0, "16", 4),
        (8, None, "0", 1),
        (8, None, "many", 8),
        (100_000, None, "", threads.MAX_THREADS),
    ],
)
def test_the_least_of_all_limits_counts(
    cores: int, quota: float | None, asked: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert available_threads() == expected
