"""Checks at the border that several rooms share: integers, counts, paths."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TypeGuard

import numpy as np

from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.limits import MAX_THREADS
from trm_sdk.messages import shown


def is_int(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer, of Python or numpy; booleans are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def checked_count(name: str, value: object, largest: int) -> int:
    """Return a whole number from 1 to `largest`, as batch sizes are.

    Raises
    ------
    InvalidInputError
        If it is another number, or none; `name` says which argument it was.
    """
    if not is_int(value) or not 1 <= value <= largest:
        raise InvalidInputError(
            f"{name} must be a whole number from 1 to {largest}; got {shown(value)}"
        )
    return int(value)


def checked_threads(threads: object) -> int:
    """A number of threads; see `checked_count`."""
    return checked_count("threads", threads, MAX_THREADS)


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a `Path`; an empty one, which would be the working folder, is refused.

    Raises
    ------
    InvalidInputError
    """
    try:
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    except Exception:  # of whatever class it is
        text = None
    if not isinstance(text, str) or not text:
        raise InvalidInputError(f"a path is needed; got {shown(path)}")
    return Path(text)


def require_extra(extra: str, what: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Raises
    ------
    MissingDependencyError
        If one is not there; `what` names what needs it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}: pip install 'trm-sdk[{extra}]'"
        )


#: What files under Git LFS hold where only their pointers were fetched.
LFS_POINTER = b"version https://git-lfs"
LFS_HINT = "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is what Git LFS leaves in the place of one that was not fetched."""
    try:
        with path.open("rb") as file:
            return file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False
