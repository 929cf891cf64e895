"""A thread that interrupts steps of onnxruntime at their deadlines."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

#: In the message of the exception that an interrupted run ends with.
INTERRUPTED = "terminate flag"


class _Watchdog:
    """Sets the terminate flag of every watched run at its deadline.

    One thread for a whole process, started when first needed: a step of a small model takes a
    millisecond, and starting a timer for each would cost a tenth of that.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[Any, float] = {}  # deadlines of `RunOptions`
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, options: Any, deadline: float) -> Iterator[None]:
        """Watch a run with these `RunOptions`, until a time of `perf_counter`."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="trm-watchdog", daemon=True
                )
                self._thread.start()
            self._watched[options] = deadline
            if deadline < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(options, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = perf_counter()
                for options in [one for one, end in self._watched.items() if end <= now]:
                    options.terminate = True
                    del self._watched[options]
                self._wakes = min(self._watched.values(), default=float("inf"))
                left = self._wakes - now
                self._changed.wait(None if left == float("inf") else min(left, 3600.0))


_watchdog = _Watchdog()


def _start_anew() -> None:
    global _watchdog
    _watchdog = _Watchdog()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)  # the thread stays behind


@contextmanager
def run_until(ort: Any, deadline: float) -> Iterator[Any]:
    """Yield `RunOptions` whose run ends, with an exception, at a time of `perf_counter`.

    onnxruntime looks between two operators whether to stop: an operator that has begun is finished.
    The exception's message holds `INTERRUPTED`.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4  # that it was stopped comes as an exception, too
    if deadline <= perf_counter():
        options.terminate = True
        yield options
        return
    with _watchdog.watching(options, deadline):
        yield options


__all__ = ["INTERRUPTED", "run_until"]
