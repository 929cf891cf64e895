"""Requests: what the search is asked for, one per input of a task, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from trm_sdk.domains.data import Encoded
from trm_sdk.grid import Grid
from trm_sdk.options import SolveOptions
from trm_sdk.search.attempts import combined
from trm_sdk.search.tree import WIDTH, Guess, Path, Tree
from trm_sdk.solution import Candidate, Solution, StoppedBy
from trm_sdk.task import Task

#: States of failed attempts that a request keeps for those that go on from them: of a 9x9 Sudoku
#: 3 MB. The latest are kept: a search seldom goes back far, and a child can begin anew instead. To
#: keep 64 made no difference.
_KEPT = 16


@dataclass(slots=True)
class Tally:
    """How often a grid was the last answer of an attempt, and how sure the surest of them was.

    Attributes
    ----------
    votes : int
    confidence : float
    order : int
        Number of the surest attempt among those that ended, from 0.
    halted : bool
        Whether that attempt halted.
    """

    votes: int
    confidence: float
    order: int
    halted: bool


@dataclass(slots=True, eq=False)
class Request:
    """One input of a task in flight.

    Attributes
    ----------
    task : Task
    index : int
        Of the input.
    encoded : Encoded
    options : SolveOptions
        Complete: every field is decided.
    check : bool
        Whether the rules are asked after every step.
    solo_steps : int
        Steps that the plain attempt runs alone.
    width : int
        Attempts that may be in flight together.
    votes : bool
        Whether a majority of all attempts decides, unless the rules confirm one first.
    queued : int
        Attempts that wait for a slot or have had one.
    unfinished : int
        Of those, the ones that have not ended.
    attempts, retired, steps : int
        Attempts that have had a slot, those that ended in it unconfirmed, and steps taken by all
        that have left it.
    started, ended : float
        `perf_counter` of the first admission and of the conclusion.
    guesses : list of (cell, token)
        What later attempts fill in (``explore="guess"``).
    tree : Tree or None
        What they fill in with ``explore="tree"``.
    states : dict from int to object
        The runtime's states, of one row each, in which attempts have failed, by their numbers: what
        those begin with that add a guess to theirs.
    ended_with : dict from Grid to Tally
        Last answers of attempts that the rules did not confirm.
    candidates : tuple of Candidate
        Best first; not empty once the request has concluded.
    stopped_by : StoppedBy
        Why it concluded.
    asked_for_proof : bool
        Whether the domain has been asked to prove that there is no solution.
    error : Exception or None
        What the domain raised.
    cancelled : bool
    """

    task: Task
    index: int
    encoded: Encoded
    options: SolveOptions
    check: bool
    solo_steps: int
    width: int
    votes: bool
    queued: int = 1
    unfinished: int = 1
    attempts: int = 0
    retired: int = 0
    steps: int = 0
    started: float = 0.0
    ended: float = 0.0
    guesses: list[Guess] = field(default_factory=list)
    tree: Tree | None = None
    states: dict[int, Any] = field(default_factory=dict)
    ended_with: dict[Grid, Tally] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    stopped_by: StoppedBy = "max_steps"
    asked_for_proof: bool = False
    error: Exception | None = None
    cancelled: bool = False

    @classmethod
    def of(
        cls,
        task: Task,
        index: int,
        encoded: Encoded,
        options: SolveOptions,
        has_rules: bool,
        batch_size: int,
        tree: Tree | None = None,
    ) -> Request:
        """Return the request for one input; `batch_size` is the width where none is given."""
        options = options.on_board(len(encoded.tokens))
        check = options.verify and has_rules
        patience = options.max_steps if options.patience is None else options.patience
        request = cls(
            task,
            index,
            encoded,
            options,
            check,
            solo_steps=min(patience, options.max_steps),
            width=options.width or (batch_size if tree is None else WIDTH),
            votes=_votes(options, check),
            tree=tree,
        )
        if request.votes:  # every attempt has a vote, so none needs to wait
            request.width = options.attempts
            if options.explore != "guess":  # guesses are drawn from the plain attempt
                request.solo_steps = 0
        return request

    @property
    def done(self) -> bool:
        """Whether it has concluded, failed, or been cancelled."""
        return bool(self.candidates) or self.error is not None or self.cancelled

    @property
    def is_exhausted(self) -> bool:
        """Whether no attempt is running, waiting for a slot, or still to begin."""
        if self.unfinished:
            return False
        if self.tree is not None and self.tree.is_exhausted:
            return True
        return self.queued == self.options.attempts

    @property
    def wants_guesses(self) -> bool:
        """Whether guesses are still to be drawn."""
        options = self.options
        return options.explore == "guess" and not self.guesses and options.attempts > 1

    @property
    def ends_at(self) -> float:
        """When its time is up, in seconds of `perf_counter`; infinite without a limit."""
        seconds = self.options.seconds
        return math.inf if seconds is None else self.started + seconds

    def is_late(self, now: float) -> bool:
        """Whether its time is up at `now`, in seconds of `perf_counter`."""
        return now >= self.ends_at

    def filled_in(self, number: int) -> Path:
        """Return the guesses that the attempt of this number fills in."""
        if self.tree is not None:
            return self.tree.path(number)
        return combined(self.guesses, number) if number else ()

    def parent_state(self, number: int) -> Any:
        """Return the state that the attempt of this number begins with; None: that of the model."""
        return self.states.get(self.tree.parent(number)) if self.tree is not None else None

    def queue_more(self) -> range:
        """Return the numbers of the attempts that now may begin, and count them as queued."""
        if self.tree is not None:
            numbers = self.tree.next_wave(min(self.width, self.options.attempts - self.queued))
            # Only here, where every attempt has ended: what is kept doesn't depend on the batch.
            for number in sorted(self.states)[:-_KEPT]:
                del self.states[number]
        else:
            last = min(self.queued + self.width - self.unfinished, self.options.attempts)
            numbers = range(self.queued, last)
        self.queued += len(numbers)
        self.unfinished += len(numbers)
        return numbers


def _votes(options: SolveOptions, check: bool) -> bool:
    if options.attempts == 1:
        return False
    if options.choose == "auto":
        return not check and options.explore == "symmetry"
    return options.choose == "majority"


@dataclass(slots=True, eq=False)
class Submission:
    """A task in flight: a request for each of its inputs.

    Attributes
    ----------
    task : Task
    requests : tuple of Request
    solution : Solution or None
        Once all its requests have concluded.
    error : Exception or None
        Once one of them has failed.
    """

    task: Task
    requests: tuple[Request, ...]
    solution: Solution | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether it is solved, failed, or cancelled."""
        return (
            self.solution is not None
            or self.error is not None
            or any(request.cancelled for request in self.requests)
        )


__all__ = ["Request", "Submission", "Tally"]
