"""Files that are never seen half written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trm_sdk.errors import InvalidInputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to be written; it takes that name at the end of the block.

    If the block ends with an exception, the part is deleted and what stood under `path` stays.

    Raises
    ------
    OSError
        If it can't be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one move, so that half of it is never found under its name.

    Raises
    ------
    OSError
        If it can't be written; what stood there stays.
    """
    with whole_file(path) as part:
        part.write_bytes(data)


def check_writable(path: Path) -> None:
    """Check that a file can be written, before time is spent on what will be in it.

    Raises
    ------
    InvalidInputError
        If `path` is a folder, or in a folder that does not exist or can't be written.
    """
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path} can't be written: there is no folder {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        what = "it is a folder" if path.is_dir() else "that is not permitted"
        raise InvalidInputError(f"{path} can't be written: {what}")
