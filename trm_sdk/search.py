"""Search: spends test-time compute on puzzles in one continuously refilled batch.

A row of the batch is one attempt at one puzzle. A turn seats waiting attempts in free rows, steps
the model once, checks every changed answer against the rules, and clears the rows that are done
with; the rows of a solved puzzle's other attempts are cleared with it. Everything that happens a
turn is vectorised and allocates little: a step of a small model takes a millisecond.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Symmetry, Tokens
from trm_sdk.errors import ConfigError
from trm_sdk.grid import Grid
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime
from trm_sdk.solution import Solution, StoppedBy
from trm_sdk.task import Task

#: Stands in the list of generators for rows that draw nothing.
_NO_RNG = np.random.Generator(np.random.SFC64(0))


@dataclass(slots=True)
class _Final:
    """Where an attempt ended without the rules' blessing."""

    answer: npt.NDArray[np.intp]
    confidence: float
    halted: bool
    symmetry: Symmetry | None


@dataclass(slots=True, eq=False)
class Job:
    """One puzzle on its way to a solution.

    Attributes
    ----------
    task : Task
    options : SolveOptions
        Complete: nothing is taken from a model's defaults any more.
    solution : Solution or None
        Set when the job is done.
    """

    task: Task
    options: SolveOptions
    tokens: Tokens
    solution: Solution | None = None
    # Bookkeeping of the search.
    check: bool = True
    patience: int = 0
    begun: int = 0  # attempts seated at least once
    handed_out: int = 0  # attempts seated or waiting for a row
    unfinished: int = 0  # of those
    steps: int = 0
    started: float = 0.0
    cancelled: bool = False
    finals: list[_Final] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Solved, given up or cancelled."""
        return self.solution is not None or self.cancelled


def check_options(options: SolveOptions, domain: Domain) -> None:
    """Refuse attempts that would all be the same, or that the domain can't make.

    Raises
    ------
    ConfigError
    """
    if options.attempts == 1:
        return
    if options.explore == "none":
        raise ConfigError(
            f"attempts={options.attempts} with explore='none' would be {options.attempts} times "
            "the same attempt; explore='noise' or 'symmetry' makes them differ"
        )
    if options.explore == "symmetry" and domain.random_symmetry(np.random.default_rng(0)) is None:
        raise ConfigError(
            f"explore='symmetry' is not to be had: {domain.name} states no symmetries; "
            "explore='noise' works for every domain"
        )


class Search:
    """Runs jobs through one runtime, `capacity` attempts at a time. For use by one thread.

    Parameters
    ----------
    domain : Domain
    runtime : Runtime
    capacity : int
        Rows of the batch.
    """

    def __init__(self, domain: Domain, runtime: Runtime, capacity: int) -> None:
        model = runtime.spec.model
        self.domain = domain
        self.runtime = runtime
        self.capacity = capacity
        self._offset = model.output_offset
        self._givens_from = model.givens_from
        self._has_rules: bool | None = None
        self._waiting: deque[tuple[Job, int]] = deque()
        # Per row, in the order of the runtime's state; the first `_count` are in use.
        cells = model.seq_len
        self._count = 0
        self._vacant = 0  # of them, those whose job is None
        self._state: Any = None
        self._jobs: list[Job | None] = []
        self._symmetry: list[Symmetry | None] = []
        self._rngs: list[np.random.Generator] = []
        self._all_tokens = np.zeros((capacity, cells), np.int32)
        self._all_given = np.zeros((capacity, cells), bool)
        self._all_answers = np.zeros((capacity, cells), np.intp)
        self._all_age = np.zeros(capacity, np.int64)
        self._all_alarm = np.zeros(capacity, np.int64)  # age at which a row needs a look
        self._all_threshold = np.zeros(capacity, np.float32)
        self._all_noise = np.zeros(capacity, np.float32)
        self._all_check = np.zeros(capacity, bool)
        self._resize()

    # --- jobs -------------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Would another job find a row in the next turn?"""
        return self._count - self._vacant + len(self._waiting) < self.capacity

    @property
    def idle(self) -> bool:
        """Is there nothing to do?"""
        return not self._waiting and self._vacant == self._count

    def add(self, task: Task, options: SolveOptions) -> Job:
        """Queue a task that its domain has accepted, with complete options.

        Raises
        ------
        ConfigError
            See `check_options`.
        """
        check_options(options, self.domain)
        tokens = self.domain.encode(task)
        if self._has_rules is None:
            self._has_rules = self.domain.verify_tokens(tokens[None], tokens[None]) is not None
        job = Job(task, options, tokens, check=options.verify and self._has_rules)
        job.patience = options.max_steps if options.patience is None else options.patience
        if _votes(job):
            job.patience = 0  # every attempt will be asked, so none need wait
        job.handed_out = job.unfinished = 1
        self._waiting.append((job, 0))
        if options.attempts > 1 and job.patience == 0:
            self._send_the_others(job)
        return job

    def cancel(self, job: Job) -> None:
        """Drop a job and clear its rows; it never gets a solution."""
        if not job.done:
            job.cancelled = True
            self._clear(job)

    # --- one turn ---------------------------------------------------------------------------

    def turn(self) -> list[Job]:
        """Seat waiting attempts, take one step, and return the jobs that this finished."""
        self._seat()
        if not self._count:
            return []
        if self._noisy:
            self._state = self.runtime.perturb(self._state, self._noise, self._rngs)
        self._state, logits, halt_logit = self.runtime.step(self._state)
        self._age += 1
        answers = logits.argmax(-1)
        if self._offset:
            answers += self._offset
        if self._givens_from is not None:
            np.copyto(answers, self._tokens, where=self._given)
        confirmed = self._confirm(answers) if self._checking else None
        self._answers[:] = answers
        # A look is needed where an attempt is confirmed, halts, or has come to its alarm.
        look = self._age >= self._alarm
        if self._halting:
            look |= halt_logit > self._threshold
        if confirmed is not None:
            look |= confirmed
        if not (self._timed or look.any()):
            return []
        return self._look(np.flatnonzero(look), confirmed, halt_logit)

    def _confirm(self, answers: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_] | None:
        """Which rows' answers obey the rules; None for none of them."""
        changed = (answers != self._answers).any(1)
        if not self._all_rows_check:
            changed &= self._check
        rows = np.flatnonzero(changed)  # an answer refuted before is refuted still
        if not len(rows):
            return None
        if len(rows) == self._count:
            return self.domain.verify_tokens(self._tokens, answers)
        verdict = self.domain.verify_tokens(self._tokens[rows], answers[rows])
        if verdict is None or not verdict.any():
            return None
        confirmed = np.zeros(self._count, bool)
        confirmed[rows] = verdict
        return confirmed

    def _look(
        self,
        rows: npt.NDArray[np.intp],
        confirmed: npt.NDArray[np.bool_] | None,
        halt_logit: npt.NDArray[np.float32],
    ) -> list[Job]:
        finished: list[Job] = []
        for row in rows.tolist():
            job = self._jobs[row]
            if job is None:  # cleared a moment ago, with another attempt at its puzzle
                continue
            confidence = _sigmoid(float(halt_logit[row]))
            if confirmed is not None and confirmed[row]:
                self._conclude(job, self._final(row, confidence, halted=False), "verified")
                finished.append(job)
                continue
            halted = bool(halt_logit[row] > self._threshold[row])
            if halted or self._age[row] >= job.options.max_steps:
                if self._end_attempt(row, confidence, halted):
                    finished.append(job)
            elif self._age[row] >= self._alarm[row]:
                self._alarm[row] = job.options.max_steps
                self._send_the_others(job)
        if self._timed:
            finished.extend(self._out_of_time(halt_logit))
        return finished

    def _end_attempt(self, row: int, confidence: float, halted: bool) -> bool:
        """Take down an attempt that was not confirmed; is the whole job done by that?"""
        job = self._jobs[row]
        assert job is not None
        job.finals.append(self._final(row, confidence, halted))
        job.unfinished -= 1
        self._vacate(row, job)
        if halted and not _votes(job):
            self._conclude(job, job.finals[-1], "halted")
            return True
        last = not job.unfinished and job.handed_out == job.options.attempts
        if not last and _is_late(job, perf_counter()) and job not in self._jobs:
            self._conclude(job, self._chosen(job), "seconds")  # while no row of it runs
            return True
        if job.handed_out < job.options.attempts:
            self._send_the_others(job)
        elif last:
            final = self._chosen(job)
            self._conclude(job, final, "halted" if final.halted else "max_steps")
            return True
        return False

    def _out_of_time(self, halt_logit: npt.NDArray[np.float32]) -> list[Job]:
        now = perf_counter()
        late = {id(job): job for job in self._jobs if job is not None and _is_late(job, now)}
        for row, job in enumerate(self._jobs):
            if job is not None and id(job) in late:
                job.finals.append(self._final(row, _sigmoid(float(halt_logit[row])), False))
        for job in late.values():
            self._conclude(job, self._chosen(job), "seconds")
        return list(late.values())

    # --- choosing and concluding ------------------------------------------------------------

    def _final(self, row: int, confidence: float, halted: bool) -> _Final:
        return _Final(self._answers[row].copy(), confidence, halted, self._symmetry[row])

    def _grid(self, final: _Final) -> Grid:
        """The answer in the puzzle's own orientation."""
        grid = self.domain.decode(final.answer)
        return grid if final.symmetry is None else final.symmetry.inverse().apply(grid)

    def _chosen(self, job: Job) -> _Final:
        if not _votes(job):
            return max(job.finals, key=lambda final: final.confidence)
        grids = [self._grid(final) for final in job.finals]
        votes = Counter(grids)
        best = max(range(len(grids)), key=lambda i: (votes[grids[i]], job.finals[i].confidence))
        return job.finals[best]

    def _conclude(self, job: Job, final: _Final, stopped_by: StoppedBy) -> None:
        self._clear(job)
        grid = self._grid(final)
        job.solution = Solution(
            grid=grid,
            verified=True if stopped_by == "verified" else self.domain.verify(job.task, grid),
            confidence=final.confidence,
            steps=job.steps,
            attempts=job.begun,
            seconds=perf_counter() - job.started,
            stopped_by=stopped_by,
            task=job.task,
            domain=self.domain,
        )
        job.finals.clear()

    def _clear(self, job: Job) -> None:
        for row, other in enumerate(self._jobs):
            if other is job:
                self._vacate(row, job)

    def _vacate(self, row: int, job: Job) -> None:
        job.steps += int(self._age[row])
        self._jobs[row] = None
        self._vacant += 1

    # --- rows -------------------------------------------------------------------------------

    def _send_the_others(self, job: Job) -> None:
        """Queue the job's later attempts, ahead of puzzles not yet begun."""
        others = range(job.handed_out, job.options.attempts)
        job.handed_out = job.options.attempts
        job.unfinished += len(others)
        if job.begun:
            self._waiting.extendleft((job, attempt) for attempt in reversed(others))
        else:
            self._waiting.extend((job, attempt) for attempt in others)

    def _seat(self) -> None:
        """Give free rows to waiting attempts, and close the gaps that stay."""
        if not self._vacant and (not self._waiting or self._count == self.capacity):
            return
        free = [row for row, job in enumerate(self._jobs) if job is None]
        arrivals: list[tuple[Job, int]] = []
        room = self.capacity - self._count + len(free)
        while self._waiting and len(arrivals) < room:
            job, attempt = self._waiting.popleft()
            if not job.done:
                arrivals.append((job, attempt))
        into_gaps, appended = arrivals[: len(free)], arrivals[len(free) :]
        if into_gaps:
            rows = np.array(free[: len(into_gaps)], np.intp)
            for row, arrival in zip(rows.tolist(), into_gaps, strict=True):
                self._place(row, *arrival)
            self._state = self.runtime.restart(self._state, rows, self._all_tokens[rows])
        if appended:
            first = self._count
            for arrival in appended:
                self._jobs.append(None)
                self._symmetry.append(None)
                self._rngs.append(_NO_RNG)
                self._count += 1
                self._vacant += 1
                self._place(self._count - 1, *arrival)
            fresh = self.runtime.start(self._all_tokens[first : self._count])
            self._state = self.runtime.concatenate([self._state, fresh]) if first else fresh
        elif len(free) > len(into_gaps):
            self._compact()
        self._resize()

    def _place(self, row: int, job: Job, attempt: int) -> None:
        options, tokens = job.options, job.tokens
        symmetry, rng, noise = None, _NO_RNG, 0.0
        if attempt:
            rng = np.random.Generator(np.random.SFC64([options.seed, attempt]))
            if options.explore == "noise":
                noise = options.noise
            else:
                symmetry = self.domain.random_symmetry(rng)
                assert symmetry is not None  # `add` made sure
                tokens = self.domain.encode(symmetry.apply_task(job.task))
        if not job.begun:
            job.started = perf_counter()
        job.begun += 1
        waits = attempt == 0 and job.handed_out < options.attempts
        self._jobs[row] = job
        self._vacant -= 1
        self._symmetry[row] = symmetry
        self._rngs[row] = rng
        self._all_tokens[row] = tokens
        if self._givens_from is not None:
            self._all_given[row] = tokens >= self._givens_from
        self._all_answers[row] = -1
        self._all_age[row] = 0
        self._all_alarm[row] = min(job.patience, options.max_steps) if waits else options.max_steps
        # With rules to check by, an answer that they refute never counts as halted.
        self._all_threshold[row] = np.inf if job.check else _logit(options.halt_threshold)
        self._all_noise[row] = noise
        self._all_check[row] = job.check

    def _compact(self) -> None:
        kept = [row for row, job in enumerate(self._jobs) if job is not None]
        rows = np.array(kept, np.intp)
        self._count, self._vacant = len(kept), 0
        self._state = self.runtime.select(self._state, rows) if kept else None
        for array in (
            self._all_tokens,
            self._all_given,
            self._all_answers,
            self._all_age,
            self._all_alarm,
            self._all_threshold,
            self._all_noise,
            self._all_check,
        ):
            array[: len(kept)] = array[rows]
        self._jobs = [self._jobs[row] for row in kept]
        self._symmetry = [self._symmetry[row] for row in kept]
        self._rngs = [self._rngs[row] for row in kept]

    def _resize(self) -> None:
        """Views of the rows in use, and what needs doing for any of them: made once a change."""
        used = slice(self._count)
        self._tokens = self._all_tokens[used]
        self._given = self._all_given[used]
        self._answers = self._all_answers[used]
        self._age = self._all_age[used]
        self._alarm = self._all_alarm[used]
        self._threshold = self._all_threshold[used]
        self._noise = self._all_noise[used]
        self._check = self._all_check[used]
        self._checking = bool(self._check.any())
        self._all_rows_check = bool(self._check.all())
        self._halting = bool((self._threshold < np.inf).any())
        self._noisy = bool(self._noise.any())
        self._timed = any(job is not None and job.options.seconds is not None for job in self._jobs)


def answers_of(
    model: ModelConfig, tokens: Tokens, logits: npt.NDArray[np.float32]
) -> npt.NDArray[np.intp]:
    """The tokens that logits stand for, with givens kept where the config says so.

    Parameters
    ----------
    model : ModelConfig
    tokens : int32 array of shape (batch, N)
    logits : float32 array of shape (batch, N, outputs)

    Returns
    -------
    integer array of shape (batch, N)
    """
    answers: npt.NDArray[np.intp] = logits.argmax(-1) + model.output_offset
    if model.givens_from is not None:
        np.copyto(answers, tokens, where=tokens >= model.givens_from)
    return answers


def _is_late(job: Job, now: float) -> bool:
    return job.options.seconds is not None and now - job.started >= job.options.seconds


def _votes(job: Job) -> bool:
    """Does a majority of all attempts decide this job, unless the rules confirm one first?"""
    options = job.options
    if options.choose == "auto":
        return not job.check and options.explore == "symmetry" and options.attempts > 1
    return options.choose == "majority" and options.attempts > 1


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


__all__ = ["Job", "Search", "answers_of", "check_options"]
