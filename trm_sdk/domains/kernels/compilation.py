"""Compile the inner loops of engines with numba, cached on disk where a folder can be written."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from trm_sdk.errors import MissingDependencyError

try:
    from numba import njit
except ImportError as error:
    raise MissingDependencyError(
        f"generating and rating puzzles needs numba ({error}): pip install 'trm-sdk[train]'"
    ) from None

Function = TypeVar("Function", bound=Callable[..., Any])

#: numba compiles a function anew for every literal among its arguments. Typed constants avoid
#: this, and with it half of the time that compiling takes.
ZERO, ONE, TWO = np.int64(0), np.int64(1), np.int64(2)


def kernel(function: Function) -> Function:
    """Compile a function on its first call, without the GIL, and keep it on disk for later runs.

    Where no folder for the cache can be written (a read-only install without a home), the function
    is compiled in every process, and a `RuntimeWarning` says so once.
    """
    return _compiled(function)


def float_kernel(function: Function) -> Function:
    """Compile a function as `kernel` does, with loops over floats turned into vector operations.

    Sums may be taken in another order (always the same one on one machine), and nothing divides by
    zero: numba's check for that keeps a loop from being vectorised.
    """
    return _compiled(function, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")


def _compiled(function: Function, **options: Any) -> Function:
    try:
        compiled = njit(cache=True, nogil=True, **options)(function)
        # numba looks for changes only in the file of the function itself. What is compiled holds
        # the functions it calls too, so it is stale when any file of the engine, or of what
        # engines share, has changed.
        file = compiled._cache._cache_file
        folders = Path(function.__code__.co_filename).parent, Path(__file__).parent
        file._source_stamp = (file._source_stamp, *map(_sources, folders))
    except (AttributeError, RuntimeError) as error:
        compiled = njit(nogil=True, **options)(function)
        if isinstance(error, RuntimeError):
            _warn_uncached()
    return cast(Function, compiled)


@cache
def _sources(folder: Path) -> str:
    """Return a digest of the source files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "compiled code can't be cached and will be compiled in every process: "
        "set NUMBA_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=3,
    )
