"""Scheduler: spends test-time compute on requests in one continuously refilled batch.

A slot of the batch is one attempt at one request. `Scheduler.step` admits waiting attempts to free
slots, steps the model once, asks the rules about every answer that changed, and retires what has
ended; with a solved request all its other attempts are evicted. What runs every step is vectorised
and allocates little: a step of a small model takes a millisecond.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import stacked_groups
from trm_sdk.grid import Grid
from trm_sdk.model.config import DEAD_END
from trm_sdk.runtimes.base import Float32, Runtime, StepInterruptedError, StepOutput
from trm_sdk.search.answers import confidence_of, logit_of
from trm_sdk.search.attempts import Attempt, begin, draw_guesses, same_groups
from trm_sdk.search.judge import Judge
from trm_sdk.search.requests import Request
from trm_sdk.search.rules import Bools, read_answer, verdict
from trm_sdk.search.select import candidates, count, ranked
from trm_sdk.search.slots import Slot, Slots
from trm_sdk.solution import StoppedBy

#: Called for every slot after every step, with the steps of its attempt, logits of shape
#: (N, outputs), and the halting logit.
Observer = Callable[[Slot, int, Float32, float], None]


class Scheduler:
    """Runs requests on boards of one shape through one runtime. For use by one thread.

    Parameters
    ----------
    domain : Domain
        Of boards of that shape.
    runtime : Runtime
    capacity : int
        Slots of the batch; may be changed between steps.
    observer : callable, optional
        See `Observer`.
    """

    def __init__(
        self, domain: Domain, runtime: Runtime, capacity: int, observer: Observer | None = None
    ) -> None:
        self.domain = domain
        self.runtime = runtime
        self.capacity = capacity
        self._observer = observer
        self._model = runtime.spec.model
        self._grouped = bool(domain.own_groups) or not same_groups(domain, self._model)
        self._token_shape = self._model.token_shape_of(domain.shape)
        self._waiting: deque[tuple[Request, int]] = deque()  # and the number of the attempt
        # In the order of the runtime's state; None where an attempt has been retired.
        self._slots: list[Slot | None] = []
        self._free = 0  # of them, those that are None
        self._rows = Slots(domain.seq_len)
        self._judge = Judge(domain, self._model, self._rows)
        self._state: Any = None
        self._steps = 0
        self._deadline = math.inf  # the earliest of all slots
        self._refresh()

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return len(self._slots) - self._free

    @property
    def demand(self) -> int:
        """Slots in use and attempts that wait for one."""
        return self.in_flight + len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and self._free == len(self._slots)

    def add(self, request: Request) -> None:
        """Queue a request."""
        self._waiting.append((request, 0))
        if request.solo_steps == 0:
            self._queue_more(request)

    def cancel(self, request: Request) -> None:
        """Evict a request; it never concludes."""
        if not request.done:
            request.cancelled = True
            self._evict(request)

    # --- one step ---------------------------------------------------------------------------

    def step(self) -> list[Request]:
        """Take one step, and return the requests that it concluded or that failed in it."""
        finished: list[Request] = []
        # 1. Admit waiting attempts to free slots.
        if self._free or (self._waiting and len(self._slots) < self.capacity):
            self._admit(finished)
        if not self._slots:
            return finished
        # 2. Step the model.
        try:
            output = self._step_model()
        except StepInterruptedError:  # everyone's time is up
            self._stop_late(finished)
            return finished
        self._state = output.state
        self._steps += 1
        if self._observer is not None:
            self._observe(output.logits, output.halt_logit)
        # 3. Ask the rules.
        answers, confirmed, failures = self._judge.judge(output)
        for place, error in failures:
            slot = self._slots[place]
            if slot is not None:  # unless another attempt at its request has failed as well
                self._fail(slot.request, error)
                finished.append(slot.request)
        # 4. Find the slots to attend to: confirmed, halted, or at their deadlines.
        places = self._places_due(confirmed, output.halt_logit)
        if not (places or self._timed):
            return finished
        # 5. Conclude, retire, or let further attempts begin.
        if answers is None:
            self._rows.answer[:] = self._judge.read(output.logits)
        self._attend_all(places, output, confirmed, finished)
        if self._timed:
            self._rows.halt_logit[:] = output.halt_logit
            self._stop_late(finished)
        self._deadline = self._next_deadline()
        return finished

    def _step_model(self) -> StepOutput:
        """Add the noise, and step the model; give up once the time of every request is up."""
        if self._noisy:
            self._state = self.runtime.perturb(self._state, self._rows.noise, self._rngs)
        if self._give_up_at == math.inf:
            return self.runtime.step(self._state)
        return self.runtime.step(self._state, self._give_up_at)

    def _places_due(self, confirmed: Bools | None, halt_logit: Float32) -> list[int]:
        """Return the slots that are confirmed, have halted, or are at their deadlines."""
        due = self._steps >= self._deadline
        if confirmed is None and not (due or self._halting):
            return []
        places: set[int] = set()
        if confirmed is not None:
            places.update(np.flatnonzero(confirmed).tolist())
        if self._halting:
            places.update(np.flatnonzero(halt_logit > self._rows.threshold).tolist())
        if due:
            places.update(i for i, slot in self._occupied() if slot.deadline <= self._steps)
        return sorted(places)

    def _observe(self, logits: Float32, halt_logit: Float32) -> None:
        assert self._observer is not None
        for place, slot in self._occupied():
            steps = self._steps - slot.admitted
            self._observer(slot, steps, logits[place], float(halt_logit[place]))

    # --- conclusions ------------------------------------------------------------------------

    def _attend_all(
        self,
        places: list[int],
        output: StepOutput,
        confirmed: Bools | None,
        finished: list[Request],
    ) -> None:
        """Attend to some slots, and add the requests that this ends to `finished`."""
        for place in places:
            slot = self._slots[place]
            if slot is None:  # evicted a moment ago, with another attempt at its request
                continue
            try:
                right = confirmed is not None and bool(confirmed[place])
                self._attend(place, slot, right, output)
            except Exception as error:  # the domain's; the other puzzles go on
                self._fail(slot.request, error)
            if slot.request.done:
                finished.append(slot.request)

    def _attend(self, place: int, slot: Slot, right: bool, output: StepOutput) -> None:
        """Conclude an attempt's request, retire the attempt, or let further ones begin."""
        request, logits = slot.request, output.logits[place]
        halt_logit = float(output.halt_logit[place])
        if right:
            self._conclude(request, "verified", self._end(place, slot, halt_logit))
            return
        halted = halt_logit > self._rows.threshold[place]
        if request.tree is not None:
            dead_ends = output.heads.get(DEAD_END)
            dead_end_logit = 0.0 if dead_ends is None else float(dead_ends[place])
            grown = request.tree.grow(slot.number, logits, dead_end_logit)
            if grown and request.options.warm_start:
                row = np.array([place], np.intp)
                request.states[slot.number] = self.runtime.select(self._state, row)
        if request.wants_guesses:  # the plain attempt, at its first deadline
            request.guesses = draw_guesses(
                self._model, self.domain, request.encoded, logits, request.options
            )
        if halted or self._steps - slot.admitted >= request.options.steps_of(slot.number):
            self._retire(place, slot, halt_logit, bool(halted))
        elif self._is_refuted(request):
            self._conclude(request, "refuted", self._end(place, slot, halt_logit))
        elif self._steps >= slot.deadline:
            slot.deadline = slot.admitted + request.options.steps_of(slot.number)
            self._queue_more(request)

    def _retire(self, place: int, slot: Slot, halt_logit: float, halted: bool) -> None:
        """End an attempt that the rules did not confirm."""
        request = slot.request
        grid = self._end(place, slot, halt_logit, halted)
        self._release(place)
        request.unfinished -= 1
        if halted and not request.votes:
            self._conclude(request, "halted", grid)
        elif self._is_refuted(request):
            self._conclude(request, "refuted", grid)
        elif request.is_late(perf_counter()) and not (
            request.is_exhausted or self._places(request)
        ):
            self._conclude(request, "seconds")  # while none of its attempts has a slot
        else:
            if not request.is_exhausted and request.queued < request.options.attempts:
                self._queue_more(request)  # or find that no guess is left
            if request.is_exhausted:
                best = ranked(request)[0]
                ended = request.ended_with[best]
                self._conclude(request, "halted" if ended.halted else "max_steps", best)

    def _is_refuted(self, request: Request) -> bool:
        """Whether the domain proves that there is no solution.

        It is asked once, when the plain attempt has failed: most puzzles are solved before that.
        Without a proof the search goes on as it would have.
        """
        if request.asked_for_proof or not request.check:
            return False
        request.asked_for_proof = True
        return self.domain.count_solutions(request.task, request.index, 1) == 0

    def _end(self, place: int, slot: Slot, halt_logit: float, halted: bool = False) -> Grid:
        """Record an attempt's last answer, and return it."""
        answer = self._rows.answer[place]
        if answer[0] < 0:  # no step was taken: the answer is the puzzle itself
            answer = self._rows.puzzle[place]
        grid = read_answer(self.domain, slot.request, answer, slot.attempt.symmetry)
        count(slot.request, grid, confidence_of(halt_logit), halted)
        return grid

    def _stop_late(self, finished: list[Request]) -> None:
        """Conclude the requests whose time is up."""
        now = perf_counter()
        late: dict[Request, None] = {}  # in order
        for place, slot in self._occupied():
            if slot.request.is_late(now):
                late[slot.request] = None
                try:
                    self._end(place, slot, float(self._rows.halt_logit[place]))
                except Exception as error:
                    slot.request.error = error
        for request in late:
            if request.error is None:
                self._conclude(request, "seconds")
            else:
                self._fail(request, request.error)
            finished.append(request)

    def _conclude(self, request: Request, stopped_by: StoppedBy, best: Grid | None = None) -> None:
        """Evict a request and settle its candidates: `best` (default: the top-ranked) first."""
        self._evict(request)
        if best is None:
            best = ranked(request)[0]
        try:
            verified = True if stopped_by == "verified" else verdict(self.domain, request, best)
            request.candidates = candidates(self.domain, request, best, verified)
        except Exception as error:
            request.error = error
        request.stopped_by = stopped_by
        request.ended = perf_counter()

    def _fail(self, request: Request, error: Exception) -> None:
        self._evict(request)
        request.error = error

    # --- slots ------------------------------------------------------------------------------

    def _occupied(self) -> Iterator[tuple[int, Slot]]:
        return ((i, slot) for i, slot in enumerate(self._slots) if slot is not None)

    def _places(self, request: Request) -> list[int]:
        return [place for place, slot in self._occupied() if slot.request is request]

    def _evict(self, request: Request) -> None:
        request.states.clear()
        for place in self._places(request):
            self._release(place)

    def _release(self, place: int) -> None:
        slot = self._slots[place]
        assert slot is not None
        slot.request.steps += self._steps - slot.admitted
        self._slots[place] = None
        self._free += 1

    def _queue_more(self, request: Request) -> None:
        """Queue later attempts up to the request's width, ahead of puzzles not yet begun."""
        later = [(request, number) for number in request.queue_more()]
        if request.attempts:
            self._waiting.extendleft(reversed(later))
        else:
            self._waiting.extend(later)

    def _admit(self, finished: list[Request]) -> None:
        """Give free slots to waiting attempts, and close the gaps that stay."""
        arrivals = self._arrivals(self.capacity - self.in_flight, finished)
        gaps = [place for place, slot in enumerate(self._slots) if slot is None]
        first = len(self._slots)
        if not (gaps or arrivals):
            return
        into_gaps, appended = arrivals[: len(gaps)], arrivals[len(gaps) :]
        self._rows.resize(first + len(appended))
        places = [*gaps[: len(into_gaps)], *range(first, first + len(appended))]
        self._slots += [None] * len(appended)
        for place, arrival in zip(places, arrivals, strict=True):
            self._fill(place, *arrival)
        self._free = len(gaps) - len(into_gaps)
        if into_gaps:
            index = np.array(gaps[: len(into_gaps)], np.intp)
            self._state = self.runtime.restart(self._state, index, *self._inputs(index))
        if appended:
            fresh = self.runtime.start(*self._inputs(slice(first, None)))
            self._state = self.runtime.concatenate([self._state, fresh]) if first else fresh
        self._inherit(places)
        if self._free:
            kept = [place for place, _ in self._occupied()]
            index = np.array(kept, np.intp)
            self._state = self.runtime.select(self._state, index) if kept else None
            self._rows.compact(kept)
            self._slots = [slot for _, slot in self._occupied()]
            self._free = 0
        self._refresh()

    def _inherit(self, places: list[int]) -> None:
        """Let attempts that go on from others begin in the states in which those have failed."""
        rows, parents = [], []
        for place in places:
            slot = self._slots[place]
            state = None if slot is None else slot.request.parent_state(slot.number)
            if state is not None:
                rows.append(place)
                parents.append(state)
        if rows:
            several = parents[0] if len(parents) == 1 else self.runtime.concatenate(parents)
            self._state = self.runtime.inherit(self._state, np.array(rows, np.intp), several)

    def _arrivals(self, room: int, finished: list[Request]) -> list[tuple[Request, int, Attempt]]:
        """Take up to `room` waiting attempts; drop those whose request has ended meanwhile."""
        arrivals: list[tuple[Request, int, Attempt]] = []
        while self._waiting and len(arrivals) < room:
            request, number = self._waiting.popleft()
            if request.done:
                continue
            try:
                attempt = begin(
                    number,
                    self.domain,
                    self._model,
                    request.task,
                    request.index,
                    request.encoded,
                    request.options,
                    request.filled_in(number),
                )
            except Exception as error:
                self._fail(request, error)
                finished.append(request)
                continue
            arrivals.append((request, number, attempt))
        return [arrival for arrival in arrivals if not arrival[0].done]

    def _fill(self, place: int, request: Request, number: int, attempt: Attempt) -> None:
        """Put an attempt into a free slot."""
        options = request.options
        if not request.attempts:
            request.started = perf_counter()
        request.attempts += 1
        # With rules to check by, an answer that they refute never counts as halted.
        threshold = math.inf if request.check else logit_of(options.halt_threshold)
        self._rows.write(
            place,
            tokens=attempt.tokens,
            puzzle=attempt.puzzle,
            given=attempt.given,
            answer=-1,
            halt_logit=-math.inf,
            identifier=attempt.identifier,
            threshold=threshold,
            noise=attempt.noise,
            check=request.check,
        )
        others_wait = number == 0 and request.solo_steps and request.queued < options.attempts
        steps = request.solo_steps if others_wait else options.steps_of(number)
        self._slots[place] = Slot(request, number, attempt, self._steps, self._steps + steps)

    def _inputs(self, index: Any) -> tuple[Any, ...]:
        """Return tokens of some slots, in the shape that the model takes, and identifiers.

        And groups of cells, where these are not the model's own.
        """
        tokens = self._rows.tokens[index]
        identified = self._model.num_puzzle_identifiers > 1
        identifiers = self._rows.identifier[index] if identified else None
        inputs = tokens.reshape(len(tokens), *self._token_shape), identifiers
        if not self._grouped:
            return inputs
        slots = [self._slots[place] for place in np.arange(len(self._slots))[index].tolist()]
        groups = stacked_groups([slot.attempt.groups for slot in slots if slot is not None])
        return *inputs, groups

    def _refresh(self) -> None:
        """Work out what the slots need in a step: once per change of slots, not once per step."""
        rows, slots = self._rows, [slot for _, slot in self._occupied()]
        self._judge.attend(self._slots)
        self._halting = bool((rows.threshold < math.inf).any())
        self._noisy = bool(rows.noise.any())
        ends = [slot.request.ends_at for slot in slots]
        self._timed = min(ends, default=math.inf) < math.inf
        self._give_up_at = max(ends, default=math.inf)
        self._rngs = [slot.attempt.rng for slot in slots]
        self._deadline = self._next_deadline()

    def _next_deadline(self) -> float:
        return min((slot.deadline for _, slot in self._occupied()), default=math.inf)


__all__ = ["Observer", "Scheduler"]
