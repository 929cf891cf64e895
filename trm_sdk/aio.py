"""AsyncSolver: concurrent requests of an asyncio service, gathered into one batch."""

from __future__ import annotations

import asyncio
import contextlib
import numbers
import os
import queue
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Literal

from trm_sdk.arguments import check_on_error, check_puzzles
from trm_sdk.choices import Precision, RuntimeName
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.limits import MAX_BATCH
from trm_sdk.messages import shown
from trm_sdk.options import SolveOptions
from trm_sdk.search.attempts import check_options
from trm_sdk.search.requests import Submission
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Failure, Solution
from trm_sdk.solver import Solver
from trm_sdk.task import Task
from trm_sdk.validation import checked_count

#: The longest that an idle solver may be told to wait.
_MAX_GATHER_SECONDS = 60.0


class _Call:
    """A coroutine's puzzle on its way through the worker thread."""

    __slots__ = ("cancelled", "future", "loop", "options", "task")

    def __init__(self, task: Task, options: SolveOptions) -> None:
        self.task = task
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Solution] = self.loop.create_future()
        self.cancelled = False

    def finish(self, solution: Solution | None, error: BaseException | None) -> None:
        """Give the waiting coroutine its result, from any thread."""
        _finish([(self, solution, error)])

    def tell(self, solution: Solution | None, error: BaseException | None) -> None:
        """The same in the thread of its loop."""
        if isinstance(error, StopIteration):  # which no future takes
            error = RuntimeError(f"a domain or runtime raised {error!r}")
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            assert solution is not None
            self.future.set_result(solution)


_Finished = tuple[_Call, Solution | None, BaseException | None]


def _finish(finished: Sequence[_Finished]) -> None:
    """Give waiting coroutines their results, from any thread.

    An event loop is woken once for all of them: it is a system call, and takes the interpreter from
    the thread that runs the model.
    """
    loops = {call.loop for call, _, _ in finished}
    for loop in loops:
        ended = [one for one in finished if one[0].loop is loop] if len(loops) > 1 else finished
        with contextlib.suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, ended)


def _tell(finished: Sequence[_Finished]) -> None:
    for call, solution, error in finished:
        call.tell(solution, error)


class AsyncSolver:
    """Solves for many coroutines at once; requests share one continuously refilled batch.

    A request is admitted to the batch at the next step of the model, so none waits until another's
    puzzle is finished: as long as there is a free slot, the wait is at most one step (plus
    `gather_seconds` when the solver was idle). One thread runs the model; the event loop never
    blocks. Boards of different shapes share the batch size.

    Parameters
    ----------
    solver : Solver
    batch_size : int, optional
        Attempts in flight at a time. Default: twice what suits the model and the device
        (`Runtime.batch_size`), so that requests seldom wait for a slot.
    gather_seconds : float
        How long an idle solver waits for further requests before it takes the first step.
        Default 0, at most 60.

    Raises
    ------
    InvalidInputError
        If `batch_size` or `gather_seconds` is out of range.

    Examples
    --------
    >>> async with AsyncSolver.from_pretrained("sudoku") as solver:            # doctest: +SKIP
    ...     solutions = await asyncio.gather(*map(solver.solve, puzzles))
    """

    def __init__(
        self, solver: Solver, batch_size: int | None = None, gather_seconds: float = 0.0
    ) -> None:
        if batch_size is None:
            batch_size = 2 * solver.runtime.batch_size
        a_number = isinstance(gather_seconds, numbers.Real) and not isinstance(gather_seconds, bool)
        if not (a_number and 0 <= gather_seconds <= _MAX_GATHER_SECONDS):
            raise InvalidInputError(
                f"gather_seconds must be from 0 to {_MAX_GATHER_SECONDS:.0f}; "
                f"got {shown(gather_seconds)}"
            )
        self.solver = solver
        self._owns_solver = False
        self._batch_size = checked_count("batch_size", batch_size, MAX_BATCH)
        self._gather_seconds = gather_seconds
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        runtime: RuntimeName = "auto",
        device: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        gather_seconds: float = 0.0,
        domain: Domain | None = None,
        *,
        precision: Precision = "float32",
        compile: bool = False,
    ) -> AsyncSolver:
        """Return an `AsyncSolver` of a model; parameters and errors as in `Solver.from_pretrained`.

        `batch_size` and `gather_seconds` are this class's own. Closing it closes that solver.
        """
        solver = Solver.from_pretrained(
            name_or_path, runtime, device, threads, domain, precision=precision, compile=compile
        )
        made = cls(solver, batch_size, gather_seconds)
        made._owns_solver = True
        return made

    async def solve(self, puzzle: object, options: SolveOptions | None = None) -> Solution:
        """Solve one puzzle; parameters and errors as in `Solver.solve`.

        Cancelling the waiting task evicts its puzzle from the batch at the next step.

        Raises
        ------
        TRMError
            If this solver is closed.
        """
        complete = self._complete(options)
        call = _Call(self.solver.parse(puzzle), complete)
        self._send(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            call.cancelled = True
            raise

    def solve_many(
        self,
        puzzles: Iterable[object] | AsyncIterable[object],
        options: SolveOptions | None = None,
        on_error: Literal["raise", "yield"] = "raise",
    ) -> AsyncIterator[Solution | Failure]:
        """Solve puzzles as they come, and yield solutions in order; see `Solver.solve_many`.

        At most four batches of puzzles are in flight at a time.
        """
        check_puzzles(puzzles, (Iterable, AsyncIterable))
        check_on_error(on_error)
        return self._results(puzzles, self._complete(options), on_error)

    async def _results(
        self,
        puzzles: Iterable[object] | AsyncIterable[object],
        options: SolveOptions,
        on_error: str,
    ) -> AsyncIterator[Solution | Failure]:
        source = aiter(puzzles) if isinstance(puzzles, AsyncIterable) else _as_async(puzzles)
        in_flight: list[asyncio.Task[Solution]] = []
        index, exhausted, broken = 0, False, None
        try:
            while True:
                while not exhausted and len(in_flight) < 4 * self._batch_size:
                    try:
                        puzzle = await anext(source, _NO_MORE)
                    except Exception as error:  # the source's own; what it gave is solved first
                        puzzle, broken = _NO_MORE, error
                    if puzzle is _NO_MORE:
                        exhausted = True
                    else:
                        in_flight.append(asyncio.create_task(self._answer(puzzle, options)))
                if not in_flight:
                    if broken is not None:
                        raise broken
                    return
                first = in_flight.pop(0)
                try:
                    yield await first
                except Exception as error:  # a domain's own, too: it is this puzzle's alone
                    if on_error == "raise":
                        raise
                    yield Failure(index, error)
                index += 1
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def _answer(self, puzzle: object, options: SolveOptions) -> Solution:
        if isinstance(puzzle, TRMError):  # what a reader could not read
            raise puzzle
        return await self.solve(puzzle, options)

    def _complete(self, options: SolveOptions | None) -> SolveOptions:
        complete = self.solver.complete(options)
        solver = self.solver
        check_options(complete, solver.domain, solver.spec.model, solver.runtime.heads)
        return complete

    async def close(self) -> None:
        """Finish what is in flight and stop the thread; no request may follow.

        A `Solver` that `from_pretrained` made is closed as well.
        """
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            self._inbox.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
        if self._owns_solver:
            self.solver.close()

    async def __aenter__(self) -> AsyncSolver:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- the worker -------------------------------------------------------------------------

    def _send(self, call: _Call) -> None:
        with self._lock:
            if self._closed:
                raise TRMError("this AsyncSolver is closed")
            # The first request of all, or after a worker died, or in a forked process, where the
            # worker and whatever it was asked are not.
            if self._thread is None or not self._thread.is_alive():
                self._inbox = queue.SimpleQueue()
                self._thread = threading.Thread(
                    target=self._work, name="trm-async-solver", daemon=True
                )
                self._thread.start()
            self._inbox.put(call)

    def _work(self) -> None:
        waiting: list[_Call] = []
        running: dict[Submission, _Call] = {}
        try:
            self._serve(waiting, running)
        except BaseException as error:
            with self._lock:  # nobody asks a worker that is no more; the next request gets another
                self._thread = None
                self._drain(waiting)
            for call in (*running.values(), *waiting):
                call.finish(None, error)

    def _serve(self, waiting: list[_Call], running: dict[Submission, _Call]) -> None:
        search = self._new_search()
        closing = False
        while True:
            if not (waiting or running):
                if closing:
                    return
                call = self._inbox.get()
                if call is None:
                    closing = True
                    continue
                waiting.append(call)
                if self._gather_seconds:
                    self._gather(waiting)
            closing |= self._drain(waiting)
            try:
                self._join(search, waiting, running)
                ended = search.step()
                _finish([(running.pop(one), one.solution, one.error) for one in ended])
            except Exception as error:
                # The runtime broke: everyone in the batch must hear of it, and none wait for ever.
                for call in running.values():
                    call.finish(None, error)
                running.clear()
                search = self._new_search()

    def _new_search(self) -> Search:
        return Search(self.solver.domain, self.solver.runtime, self._batch_size)

    def _gather(self, waiting: list[_Call]) -> None:
        """Wait for more requests, until the time is up or the batch is full."""
        end = monotonic() + self._gather_seconds
        while len(waiting) < self._batch_size:
            try:
                call = self._inbox.get(timeout=max(end - monotonic(), 0))
            except queue.Empty:
                return
            if call is None:
                self._inbox.put(None)  # for `_drain`
                return
            waiting.append(call)

    def _drain(self, waiting: list[_Call]) -> bool:
        """Take in what has come meanwhile; return whether the end was among it."""
        closing = False
        while True:
            try:
                call = self._inbox.get_nowait()
            except queue.Empty:
                return closing
            if call is None:
                closing = True
            else:
                waiting.append(call)

    def _join(self, search: Search, waiting: list[_Call], running: dict[Submission, _Call]) -> None:
        for submission, call in list(running.items()):
            if call.cancelled:
                search.cancel(submission)
                del running[submission]
        while waiting and search.wants_more:
            call = waiting.pop(0)
            if call.cancelled:
                continue
            try:
                running[search.add(call.task, call.options)] = call
            except Exception as error:  # a domain's own, too: it is this puzzle's alone
                call.finish(None, error)


_NO_MORE = object()


async def _as_async(puzzles: Iterable[Any]) -> AsyncIterator[Any]:
    for puzzle in puzzles:
        yield puzzle
