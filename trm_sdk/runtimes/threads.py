"""How many threads to use by default: what the process may use, not what the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from trm_sdk.limits import MAX_THREADS

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_threads() -> int:
    """Return how many threads may run at once in this process.

    The least of the cores it may run on (`taskset`, cpusets), the processor time that its container
    may have (``docker run --cpus``; a part of a core counts as one), and ``OMP_NUM_THREADS``, where
    that is set.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    limits = [cores, MAX_THREADS]
    quota = cpu_quota()
    if quota is not None:
        limits.append(math.ceil(quota))
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isascii() and asked.isdecimal():
        limits.append(int(asked[:9]))
    return max(1, min(limits))


def cpu_quota(own: Path = _OWN, root: Path = _CGROUPS) -> float | None:
    """Return the cores' worth of processor time that control groups allow; None for no limit.

    Parameters
    ----------
    own : path
        Which groups this process is in, as the kernel lists them.
    root : path
        Where control groups are mounted, of version 2, version 1 or both.
    """
    found: list[float] = []
    with suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                found += _quotas(root, group, _quota_of_2)
            elif "cpu" in controllers.split(","):
                for mount in (controllers, "cpu"):
                    found += _quotas(root / mount, group, _quota_of_1)
    return min(found, default=None)


def _quotas(mount: Path, group: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """Yield the limits of a group and its parents; in a container the mount is its own group."""
    folder = mount / group.strip("/")
    for one in (folder, *folder.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota = read(one)
            if quota is not None and quota > 0:
                yield quota
        if one == mount:
            return


def _quota_of_2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_1(folder: Path) -> float | None:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return None if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text())


__all__ = ["available_threads", "cpu_quota"]
