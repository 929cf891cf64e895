"""What a forked process does about sessions whose threads stayed behind in its parent."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol
from weakref import WeakSet

#: Said by runtimes on a GPU in a forked process: CUDA can't be used there.
NO_GPU_AFTER_FORK = "a forked process can't use its parent's GPU: load the model in it"


class Forked(Protocol):
    """Something that holds sessions."""

    def forked(self) -> None:
        """Called in a forked process, before anything else is done there."""


_holders: WeakSet[Forked] = WeakSet()


def tell_after_fork(holder: Forked) -> None:
    """Let `forked` of an object be called in every forked process, as long as it is in use."""
    _holders.add(holder)


def abandon(session: Any) -> None:
    """Keep an object for ever: a session waits at its end for threads, which are not there."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _tell() -> None:
    for holder in list(_holders):
        holder.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_tell)
