"""Keep numpy's matrix products on one thread: these are too small to be worth sharing."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def one_thread() -> Iterator[None]:
    """Have OpenBLAS, in wheels of numpy, use one thread meanwhile.

    On a busy machine a product of two small matrices takes many times as long on two threads as on
    one, for one waits for the other. Where numpy has another library, nothing is changed.
    """
    library = _openblas()
    if library is None:
        yield
        return
    get, put = library
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


@cache
def _openblas() -> tuple[Any, Any] | None:
    """Return the functions that read and set OpenBLAS's number of threads."""
    folder = Path(np.__file__).parent
    for place in (folder.parent / "numpy.libs", folder / ".dylibs"):
        for path in sorted(place.glob("*openblas*")):
            with suppress(OSError):
                library = ctypes.CDLL(str(path))  # loaded already: the same one
                for prefix in ("scipy_", ""):
                    for suffix in ("64_", ""):
                        name = f"{prefix}openblas_{{}}_num_threads{suffix}"
                        with suppress(AttributeError):
                            return (
                                getattr(library, name.format("get")),
                                getattr(library, name.format("set")),
                            )
    return None


__all__ = ["one_thread"]
