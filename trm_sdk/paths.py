"""Paths from outside, and files that are never seen half written."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import shown


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path, where there is one: the empty one would be the working folder.

    Raises
    ------
    InvalidInputError
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InvalidInputError(f"a path is needed; got {shown(path)}")
    return Path(path)


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
