"""Search: solves tasks of any shapes and numbers of inputs within one budget of slots."""

from __future__ import annotations

from trm_sdk.domains.base import Domain, Shape
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime
from trm_sdk.search.attempts import check_options, encode
from trm_sdk.search.requests import Request, Submission
from trm_sdk.search.rules import solutions_below
from trm_sdk.search.scheduler import Observer, Scheduler
from trm_sdk.search.tree import Tree
from trm_sdk.solution import Solution, StoppedBy
from trm_sdk.task import Task

#: From the best reason for a task to end to the worst: with several inputs, the worst counts.
_REASONS: tuple[StoppedBy, ...] = ("verified", "halted", "max_steps", "seconds", "refuted")


def for_boards_of(domain: Domain, shape: Shape) -> Domain:
    """Return the domain for boards of a shape: itself, or resized where it takes any size."""
    return domain.resized(shape) if domain.any_size and shape != domain.shape else domain


class Search:
    """Runs submissions through one runtime. For use by one thread.

    Every input of a task is a request of its own. Boards of one shape share a batch; where the
    model takes boards of any size there is a `Scheduler` per shape, and they share the capacity.

    Parameters
    ----------
    domain : Domain
    runtime : Runtime
    capacity : int
        Attempts in flight at a time. A board shape that finds no slot free still gets one, so that
        none waits for all the others.
    observer : callable, optional
        Called after every step; see `trm_sdk.search.scheduler.Observer`.
    """

    def __init__(
        self, domain: Domain, runtime: Runtime, capacity: int, observer: Observer | None = None
    ) -> None:
        self.domain = domain
        self.runtime = runtime
        self.capacity = capacity
        self._observer = observer
        self._schedulers: dict[Shape, Scheduler] = {}
        self._owners: dict[Request, Submission] = {}

    @property
    def wants_more(self) -> bool:
        """Whether another request would find a slot in the next step."""
        return sum(one.demand for one in self._schedulers.values()) < self.capacity

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return all(one.idle for one in self._schedulers.values())

    def add(
        self, task: Task, options: SolveOptions, inputs: tuple[int, ...] | None = None
    ) -> Submission:
        """Queue a task that its domain has accepted.

        Parameters
        ----------
        task : Task
        options : SolveOptions
            Complete.
        inputs : tuple of int, optional
            Which inputs to solve. Default: all of them.

        Raises
        ------
        ConfigError
            See `check_options`.
        InvalidInputError
            If the model takes no such board.
        Exception
            Whatever `Domain.encode` raises.
        """
        check_options(options, self.domain, self.runtime.spec.model, self.runtime.heads)
        # All or none: an input that can't be encoded must not leave its siblings behind.
        requests = tuple(
            self._request(task, i, options)
            for i in (range(len(task.inputs)) if inputs is None else inputs)
        )
        schedulers = [self._scheduler(request.encoded.shape) for request in requests]
        submission = Submission(task, requests)
        for request, scheduler in zip(requests, schedulers, strict=True):
            self._owners[request] = submission
            scheduler.add(request)
        return submission

    def _request(self, task: Task, index: int, options: SolveOptions) -> Request:
        domain, model = self.domain, self.runtime.spec.model
        encoded, tree = encode(domain, model, task, index), None
        if options.explore == "tree" and options.attempts > 1:
            counts = options.verify and domain.has_rules
            count = solutions_below(domain, task, index, encoded) if counts else None
            tree = Tree(domain, model, encoded.given, count, domain.peers(task, index))
        batch_size = self.runtime.batch_size
        return Request.of(task, index, encoded, options, domain.has_rules, batch_size, tree)

    def cancel(self, submission: Submission) -> None:
        """Drop a submission and free its slots; it never gets a solution."""
        for request in submission.requests:
            scheduler = self._schedulers.get(request.encoded.shape)
            if scheduler is not None:  # else it has concluded
                scheduler.cancel(request)
            self._owners.pop(request, None)

    def step(self) -> list[Submission]:
        """Take one step on every board shape, and return the submissions that this finished."""
        finished: list[Submission] = []
        if len(self._schedulers) > 1:
            self._share()
        for scheduler in tuple(self._schedulers.values()):
            for request in scheduler.step():
                self._settle(request, finished)
        return finished

    def _share(self) -> None:
        """Forget the schedulers that are idle, and divide the capacity among the others."""
        busy = {shape: one for shape, one in self._schedulers.items() if not one.idle}
        free = self.capacity - sum(one.in_flight for one in busy.values())
        for scheduler in busy.values():
            more = min(free, scheduler.demand - scheduler.in_flight)
            scheduler.capacity = max(1, scheduler.in_flight + more)
            free -= more
        if len(busy) == 1:
            scheduler.capacity = self.capacity
        self._schedulers = busy

    def _settle(self, request: Request, finished: list[Submission]) -> None:
        """Finish the submission of a request that has ended, if that was all it waited for."""
        submission = self._owners.pop(request, None)
        if submission is None or submission.done:  # by a sibling, in the same step
            return
        if request.error is not None:
            self.cancel(submission)
            submission.error = request.error
        elif all(one.candidates for one in submission.requests):
            submission.solution = self._solution(submission)
        if submission.done:
            finished.append(submission)

    def _scheduler(self, shape: Shape) -> Scheduler:
        """Return the scheduler of boards of a shape."""
        found = self._schedulers.get(shape)
        if found is None:
            domain = for_boards_of(self.domain, shape)
            found = Scheduler(domain, self.runtime, self.capacity, self._observer)
            self._schedulers[shape] = found
        return found

    def _solution(self, submission: Submission) -> Solution:
        requests = submission.requests
        candidates = tuple(request.candidates for request in requests)
        best = [several[0] for several in candidates]
        verdicts = [candidate.verified for candidate in best]
        return Solution(
            answers=tuple(candidate.grid for candidate in best),
            candidates=candidates,
            verified=None if None in verdicts else all(verdicts),
            confidence=min(candidate.confidence for candidate in best),
            steps=sum(request.steps for request in requests),
            attempts=sum(request.attempts for request in requests),
            seconds=max(one.ended for one in requests) - min(one.started for one in requests),
            stopped_by=max((one.stopped_by for one in requests), key=_REASONS.index),
            task=submission.task,
            domain=self.domain,
        )


__all__ = ["Search", "for_boards_of"]
