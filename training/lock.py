"""One run a folder: a lock that the system takes back from a process that ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trm_sdk.errors import ConfigError

LOCK = ".lock"
#: Errors of systems and file systems that have no locks, or whose locks can't be had now.
_WITHOUT = frozenset(
    getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL")
)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, or refuse it where another process does.

    The file stays, its lock does not: nothing need be removed after a crash. Where the file system
    has no locks, this holds nothing.

    Raises
    ------
    ConfigError
        If another process holds it.
    """
    path = folder / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise ConfigError(
                    f"{folder} is in use by another training run{_holder(descriptor)}; wait "
                    "until it ends, or choose another --out"
                ) from None
        else:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _holder(descriptor: int) -> str:
    """Who holds it, as far as the file says."""
    try:
        number = os.read(descriptor, 32).decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {number})" if number.isdecimal() else ""


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Not the first bytes, which others read: locks of Windows keep readers out as well.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


__all__ = ["LOCK", "locked"]
