"""A progress bar with rate and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trm_sdk.solution import Failure, Solution

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.text import Text

Result = Solution | Failure


class ProgressBar:
    """Counts results as they pass by; see `track`.

    Parameters
    ----------
    total : int or callable, optional
        How many results there will be, or a function that returns it, or None as long as that is
        not known. Default: not known.
    keep : bool
        Leave the full bar on the screen at the end. Default True.
    """

    def __init__(
        self, total: int | Callable[[], int | None] | None = None, keep: bool = True
    ) -> None:
        self._total = total if callable(total) else lambda: total
        self._keep = keep
        self._bar: Progress | None = None

    def track(self, results: Iterable[Result]) -> Iterator[Result]:
        """Yield results, with the bar on the screen meanwhile."""
        self._bar = bar = _bar(self._keep)
        verified = 0
        with bar:
            shown = bar.add_task("solving", total=self._total(), verified="")
            for result in results:
                verified += isinstance(result, Solution) and result.verified is True
                bar.update(shown, advance=1, total=self._total(), verified=f"{verified} verified")
                yield result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar off the screen, for something to be printed there."""
        if self._bar is None or self._bar.finished:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()


def _bar(keep: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Results a second since the start."""

        def render(self, task: Task) -> Text:
            if not task.completed or not task.elapsed:
                return Text("")
            return Text(f"{task.completed / task.elapsed:.1f}/s", style="progress.data.speed")

    return Progress(
        TextColumn("solving"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[verified]}"),
        console=Console(stderr=True),
        transient=not keep,
    )


__all__ = ["ProgressBar"]
