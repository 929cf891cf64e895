"""Files that are never seen half written."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one move, so that half of it is never found under its name.

    Raises
    ------
    OSError
        If it can't be written; what stood there stays.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
