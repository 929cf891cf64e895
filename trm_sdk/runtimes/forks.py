"""What a forked process does with sessions whose threads exist only in its parent."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol
from weakref import WeakSet

#: Error of runtimes on a GPU in a forked process: CUDA can't be used there.
NO_GPU_AFTER_FORK = "a forked process can't use its parent's GPU: load the model in it"


class Forked(Protocol):
    """Something that holds sessions."""

    def forked(self) -> None:
        """Called in a forked process, before anything else is done there."""


_holders: WeakSet[Forked] = WeakSet()


def tell_after_fork(holder: Forked) -> None:
    """Call `holder.forked` in every forked process, as long as `holder` is in use."""
    _holders.add(holder)


def abandon(session: Any) -> None:
    """Never release a session: its destructor would wait for threads that don't exist here."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


def _tell() -> None:
    for holder in list(_holders):
        holder.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_tell)
