"""Files that are never seen half written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def writing_whole(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes its place, in one move, once it is written and on the disk.

    Parameters
    ----------
    path : path
        The file. Until the move what stood there stays, also where this process is killed or the
        machine loses its power.
    previous : path, optional
        A name, in the same folder, under which to keep what stood there.

    Raises
    ------
    OSError
        If it can't be written; what stood there stays.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _link(path, previous)
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one move, so that half of it is never found under its name.

    Raises
    ------
    OSError
        If it can't be written; what stood there stays.
    """
    with writing_whole(path) as file:
        file.write(data)


def remove_parts(path: Path) -> None:
    """Remove what killed processes have left of this file, where no other process writes it."""
    for part in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            part.unlink()


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, in place of what has it."""
    part = name.with_name(f".{name.name}.{secrets.token_hex(4)}")
    try:
        try:
            os.link(path, part)
        except OSError:  # a file system without links
            part.write_bytes(path.read_bytes())
        part.replace(name)
    finally:
        with suppress(OSError):
            part.unlink()


def _sync_folder(folder: Path) -> None:
    """Have the disk know of a move; not every system lets a folder be opened for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


__all__ = ["remove_parts", "write_whole", "writing_whole"]
