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
from operator import getitem
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Encoded
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Runtime
from trm_sdk.search.answers import Answers
from trm_sdk.search.attempts import Guess, begin, check_options, draw_guesses
from trm_sdk.solution import Solution, StoppedBy
from trm_sdk.task import Task


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
    encoded: Encoded
    solution: Solution | None = None
    # Bookkeeping of the search.
    check: bool = True
    patience: int = 0
    width: int = 1  # attempts that may be under way together
    begun: int = 0  # attempts seated at least once
    handed_out: int = 0  # attempts seated or waiting for a row
    unfinished: int = 0  # of those
    steps: int = 0
    started: float = 0.0
    cancelled: bool = False
    finals: list[_Final] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Solved, given up or cancelled."""
        return self.solution is not None or self.cancelled


@dataclass(slots=True)
class _Row:
    """One attempt in the batch."""

    job: Job
    symmetry: Symmetry | None
    rng: np.random.Generator
    born: int  # the turn before its first
    alarm: int  # the turn at which something is to be done about it


@dataclass(slots=True)
class _Alone:
    """What is kept of a row that is the only one, and is to be checked by the rules."""

    tokens: list[tuple[int, ...]]  # what each column of the logits stands for, cell by cell
    last: list[int]  # columns of the last answer, all of them refuted


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
        self._answers = Answers(model, domain.vocabulary)
        self._waiting: deque[tuple[Job, int]] = deque()
        # In the order of the runtime's state; None where a row has been cleared.
        self._rows: list[_Row | None] = []
        self._vacant = 0  # of them, those that are None
        self._state: Any = None
        self._turn = 0
        # Per row as well; the first `len(_rows)` are in use, and `_resize` makes views of them.
        cells = model.seq_len
        self._all_tokens = np.zeros((capacity, cells), np.int32)  # what the network is given
        self._all_puzzles = np.zeros((capacity, cells), np.int32)  # what the rules are asked about
        self._all_given = np.zeros((capacity, cells), bool)
        self._all_threshold = np.zeros(capacity, np.float32)
        self._all_noise = np.zeros(capacity, np.float32)
        self._all_check = np.zeros(capacity, bool)
        self._last = np.zeros((0, cells), np.intp)  # answers after the last step
        self._alone: _Alone | None = None
        self._resize()

    # --- jobs -------------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Would another job find a row in the next turn?"""
        return len(self._rows) - self._vacant + len(self._waiting) < self.capacity

    @property
    def idle(self) -> bool:
        """Is there nothing to do?"""
        return not self._waiting and self._vacant == len(self._rows)

    def add(self, task: Task, options: SolveOptions) -> Job:
        """Queue a task that its domain has accepted, with complete options.

        Raises
        ------
        ConfigError
            See `check_options`.
        """
        check_options(options, self.domain, self.runtime.spec.model)
        encoded = self.domain.encode(task)
        job = Job(task, options, encoded, check=options.verify and self.domain.has_rules)
        job.patience = options.max_steps if options.patience is None else options.patience
        job.width = options.width or self.runtime.batch_size
        if _votes(job):  # every attempt will be asked, so none need wait
            job.width = options.attempts
            if options.explore != "guess":  # these wait for what they are drawn from
                job.patience = 0
        job.handed_out = job.unfinished = 1
        self._waiting.append((job, 0))
        if job.patience == 0:
            self._send_more(job)
        return job

    def cancel(self, job: Job) -> None:
        """Drop a job and clear its rows; it never gets a solution."""
        if not job.done:
            job.cancelled = True
            self._clear(job)

    # --- one turn ---------------------------------------------------------------------------

    def turn(self) -> list[Job]:
        """Seat waiting attempts, take one step, and return the jobs that this finished."""
        if self._vacant or self._waiting:
            self._seat()
        if not self._rows:
            return []
        if self._noisy:
            self._state = self.runtime.perturb(self._state, self._noise, self._rngs)
        self._state, logits, halt_logit = self.runtime.step(self._state)
        self._turn += 1
        # What follows runs after every step of a millisecond, with caches that the step has filled
        # with other things: each function of numpy costs 4 to 12 us then, a short loop of Python
        # less. So one row alone has a way of its own.
        if self._alone is not None:
            confirmed = self._confirm_alone(self._alone, logits.argmax(-1))
            answers = None  # read off when it is asked for
        else:
            answers = self._answers.tokens(self._tokens, self._given, logits)
            confirmed = self._confirm(answers) if self._checking else None
            self._last = answers
        rings = self._turn >= self._alarm
        if confirmed is None and not (rings or self._halting or self._timed):
            return []
        # A look is needed at rows that are confirmed, that halt, or whose alarm rings.
        look: set[int] = set()
        if confirmed is not None:
            look.update(np.flatnonzero(confirmed).tolist())
        if self._halting:
            look.update(np.flatnonzero(halt_logit > self._threshold).tolist())
        if rings:
            look.update(
                place
                for place, row in enumerate(self._rows)
                if row is not None and row.alarm <= self._turn
            )
        if not (look or self._timed):
            return []
        if answers is None:
            self._last = self._answers.tokens(self._tokens, self._given, logits)
        return self._look(sorted(look), confirmed, halt_logit, logits)

    def _confirm(self, answers: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_] | None:
        """Which rows' answers obey the rules; None for none of them."""
        # An answer refuted before is refuted still.
        changed = (answers != self._last).any(1)
        changed &= self._check
        rows = np.flatnonzero(changed)
        if not len(rows):
            return None
        verdict = self.domain.verify_tokens(self._puzzles[rows], answers[rows])
        if not verdict.any():
            return None
        confirmed = np.zeros(len(answers), bool)
        confirmed[rows] = verdict
        return confirmed

    def _confirm_alone(
        self, alone: _Alone, columns: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.bool_] | None:
        """`_confirm` for a batch of one row."""
        found: list[int] = columns[0].tolist()
        if found == alone.last:
            return None
        alone.last = found
        answer = list(map(getitem, alone.tokens, found))
        if self.domain.rules_out(answer):
            return None
        verdict = self.domain.verify_tokens(self._puzzles, np.array(answer)[None])
        return verdict if verdict[0] else None

    def _look(
        self,
        places: list[int],
        confirmed: npt.NDArray[np.bool_] | None,
        halt_logit: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32],
    ) -> list[Job]:
        finished: list[Job] = []
        for place in places:
            row = self._rows[place]
            if row is None:  # cleared a moment ago, with another attempt at its puzzle
                continue
            job = row.job
            confidence = _sigmoid(float(halt_logit[place]))
            if confirmed is not None and confirmed[place]:
                self._conclude(job, self._final(place, confidence), "verified")
                finished.append(job)
                continue
            halted = bool(halt_logit[place] > self._threshold[place])
            if _wants_guesses(job):  # the plain attempt, at its first alarm
                job.guesses = draw_guesses(
                    self.runtime.spec.model, self.domain, job.encoded, logits[place], job.options
                )
            if halted or self._turn - row.born >= job.options.max_steps:
                if self._end_attempt(place, confidence, halted):
                    finished.append(job)
            elif self._turn >= row.alarm:
                row.alarm = row.born + job.options.max_steps
                self._send_more(job)
        if self._timed:
            finished.extend(self._out_of_time(halt_logit))
        self._alarm = self._next_alarm()
        return finished

    def _end_attempt(self, place: int, confidence: float, halted: bool) -> bool:
        """Take down an attempt that was not confirmed; is the whole job done by that?"""
        final = self._final(place, confidence, halted)
        job = self._vacate(place)
        job.finals.append(final)
        job.unfinished -= 1
        if halted and not _votes(job):
            self._conclude(job, final, "halted")
            return True
        last = not job.unfinished and job.handed_out == job.options.attempts
        if not last and _is_late(job, perf_counter()) and not self._places(job):
            self._conclude(job, self._chosen(job), "seconds")  # while no row of it runs
            return True
        if job.handed_out < job.options.attempts:
            self._send_more(job)
        elif last:
            final = self._chosen(job)
            self._conclude(job, final, "halted" if final.halted else "max_steps")
            return True
        return False

    def _out_of_time(self, halt_logit: npt.NDArray[np.float32]) -> list[Job]:
        now = perf_counter()
        late: dict[Job, None] = {}  # in order
        for place, row in enumerate(self._rows):
            if row is not None and _is_late(row.job, now):
                row.job.finals.append(self._final(place, _sigmoid(float(halt_logit[place]))))
                late[row.job] = None
        for job in late:
            self._conclude(job, self._chosen(job), "seconds")
        return list(late)

    # --- choosing and concluding ------------------------------------------------------------

    def _final(self, place: int, confidence: float, halted: bool = False) -> _Final:
        row = self._rows[place]
        assert row is not None
        return _Final(self._last[place].copy(), confidence, halted, row.symmetry)

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

    def _places(self, job: Job) -> list[int]:
        return [i for i, row in enumerate(self._rows) if row is not None and row.job is job]

    def _clear(self, job: Job) -> None:
        for place in self._places(job):
            self._vacate(place)

    def _vacate(self, place: int) -> Job:
        row = self._rows[place]
        assert row is not None
        row.job.steps += self._turn - row.born
        self._rows[place] = None
        self._vacant += 1
        return row.job

    # --- rows -------------------------------------------------------------------------------

    def _send_more(self, job: Job) -> None:
        """Queue later attempts until the job has its width, ahead of puzzles not yet begun."""
        last = min(job.handed_out + job.width - job.unfinished, job.options.attempts)
        others = range(job.handed_out, last)
        job.handed_out += len(others)
        job.unfinished += len(others)
        if job.begun:
            self._waiting.extendleft((job, attempt) for attempt in reversed(others))
        else:
            self._waiting.extend((job, attempt) for attempt in others)

    def _seat(self) -> None:
        """Give free rows to waiting attempts, and close the gaps that stay."""
        if not self._vacant and (not self._waiting or len(self._rows) == self.capacity):
            return
        gaps = [place for place, row in enumerate(self._rows) if row is None]
        room = self.capacity - len(self._rows) + len(gaps)
        arrivals: list[tuple[Job, int]] = []
        while self._waiting and len(arrivals) < room:
            job, attempt = self._waiting.popleft()
            if not job.done:
                arrivals.append((job, attempt))
        first = len(self._rows)
        into_gaps, appended = arrivals[: len(gaps)], arrivals[len(gaps) :]
        if into_gaps:
            places = np.array(gaps[: len(into_gaps)], np.intp)
            for place, arrival in zip(places.tolist(), into_gaps, strict=True):
                self._rows[place] = self._place(place, *arrival)
            self._vacant -= len(into_gaps)
            self._last[places] = -1  # no answer yet
            self._state = self.runtime.restart(self._state, places, self._all_tokens[places])
        if appended:
            for arrival in appended:
                self._rows.append(self._place(len(self._rows), *arrival))
            fresh = self.runtime.start(self._all_tokens[first : len(self._rows)])
            self._state = self.runtime.concatenate([self._state, fresh]) if first else fresh
            blank = np.full((len(appended), self._last.shape[1]), -1, np.intp)
            self._last = np.concatenate((self._last, blank))
        elif len(gaps) > len(into_gaps):
            self._compact()
        self._resize()

    def _place(self, place: int, job: Job, attempt: int) -> _Row:
        """Fill in a row's part of the arrays, and say what runs there."""
        options = job.options
        began = begin(attempt, self.domain, job.task, job.encoded, options, job.guesses)
        tokens = began.tokens
        if not job.begun:
            job.started = perf_counter()
        job.begun += 1
        self._all_tokens[place] = tokens
        self._all_puzzles[place] = began.puzzle
        self._all_given[place] = began.given if self._answers.keeps_givens else False
        # With rules to check by, an answer that they refute never counts as halted.
        self._all_threshold[place] = np.inf if job.check else _logit(options.halt_threshold)
        self._all_noise[place] = began.noise
        self._all_check[place] = job.check
        others_wait = attempt == 0 and job.patience > 0 and job.handed_out < options.attempts
        steps = min(job.patience, options.max_steps) if others_wait else options.max_steps
        return _Row(job, began.symmetry, began.rng, self._turn, self._turn + steps)

    def _compact(self) -> None:
        places = np.array([i for i, row in enumerate(self._rows) if row is not None], np.intp)
        self._state = self.runtime.select(self._state, places) if len(places) else None
        for array in (
            self._all_tokens,
            self._all_puzzles,
            self._all_given,
            self._all_threshold,
            self._all_noise,
            self._all_check,
        ):
            array[: len(places)] = array[places]
        self._last = self._last[places]
        self._rows = [row for row in self._rows if row is not None]
        self._vacant = 0

    def _next_alarm(self) -> float:
        return min((row.alarm for row in self._rows if row is not None), default=math.inf)

    def _resize(self) -> None:
        """Views of the rows in use, and what needs doing for any of them: made once a change."""
        used = slice(len(self._rows))
        self._tokens = self._all_tokens[used]
        self._puzzles = self._all_puzzles[used]
        self._given = self._all_given[used]
        self._threshold = self._all_threshold[used]
        self._noise = self._all_noise[used]
        self._check = self._all_check[used]
        self._checking = bool(self._check.any())
        self._halting = bool((self._threshold < np.inf).any())
        self._noisy = bool(self._noise.any())
        self._alone = None
        if self._checking and len(self._rows) == 1:
            free = tuple(self._answers.output_tokens.tolist())
            outputs = len(free)
            cells = zip(self._given[0].tolist(), self._tokens[0].tolist(), strict=True)
            self._alone = _Alone([(t,) * outputs if given else free for given, t in cells], [])
        rows = [row for row in self._rows if row is not None]
        self._rngs = [row.rng for row in rows]
        self._timed = any(row.job.options.seconds is not None for row in rows)
        self._alarm = self._next_alarm()


def _wants_guesses(job: Job) -> bool:
    return job.options.explore == "guess" and not job.guesses and job.options.attempts > 1


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


__all__ = ["Job", "Search"]
