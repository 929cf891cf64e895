"""Files that are never seen half written."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trm_sdk.errors import InvalidInputError


@contextmanager
def whole_file(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """Give a file beside `path` to be written; at the end of the block it takes that name.

    If the block ends with an exception, the part is deleted and what stood under `path` stays.

    Parameters
    ----------
    path : path
        The file. Until the move, which is made once the part is on the disk, what stood there
        stays, also where this process is killed or the machine loses its power.
    previous : path, optional
        A name, in the same folder, under which to keep what stood there.

    Raises
    ------
    OSError
        If it can't be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield part
        _sync(part)
        if previous is not None and path.exists():
            _link(path, previous)
        part.replace(path)
        with suppress(OSError):  # not every system lets a folder be opened for that
            _sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def writing_whole(path: Path, previous: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes its place, in one move, once it is written; see `whole_file`."""
    with whole_file(path, previous) as part, part.open("xb") as file:
        yield file


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


def _sync(path: Path) -> None:
    """Wait until a file, or a move within a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


__all__ = ["check_writable", "remove_parts", "whole_file", "write_whole", "writing_whole"]
