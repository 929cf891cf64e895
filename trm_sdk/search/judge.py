"""Judge: after every step of a batch, which answers obey the rules, asked about changes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import getitem
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.model.config import ModelConfig
from trm_sdk.runtimes.base import Float32, StepOutput
from trm_sdk.search.alternatives import Alternatives, Places
from trm_sdk.search.answers import Answers
from trm_sdk.search.rules import Bools, verdicts
from trm_sdk.search.slots import Slot, Slots

#: Slots whose puzzles made the domain raise, and what it raised.
Failures = list[tuple[int, Exception]]


class Judgement(NamedTuple):
    """What was found after a step.

    Attributes
    ----------
    answers : intp array of shape (slots, N), or None
        None while nothing has needed them: the rows' `Slots.answer` is out of date then.
    confirmed : bool array of shape (slots,), or None
        Whose answer obeys the rules; None for none of them.
    failures : list of (int, Exception)
    """

    answers: npt.NDArray[np.intp] | None
    confirmed: Bools | None
    failures: Failures


class Judge:
    """Reads the answers of a batch and asks the rules about them.

    Parameters
    ----------
    domain : Domain
        Of the boards of the batch.
    model : ModelConfig
    rows : Slots
        Of the batch; `Slots.answer` is kept up to date.
    """

    def __init__(self, domain: Domain, model: ModelConfig, rows: Slots) -> None:
        self._domain = domain
        self._rows = rows
        self._answers = Answers(model, domain.vocabulary)
        decodes = domain.has_rules and bool(domain.decode_heads)
        self._alternatives = Alternatives(domain) if decodes else None
        self._slots: Sequence[Slot | None] = ()
        self._asks = False  # about any slot
        # Of a batch of one slot that is checked: the token that each logit column stands for, cell
        # by cell, and the columns of the last answer.
        self._choices: list[tuple[int, ...]] | None = None
        self._refuted: list[int] = []

    def attend(self, slots: Sequence[Slot | None]) -> None:
        """Judge these slots from now on, whatever was found before; None: the slot is free."""
        self._slots = slots
        self._asks = bool(self._rows.check.any())
        self._choices, self._refuted = None, []
        if self._asks and len(slots) == 1:
            self._choices = self._answers.choices(self._rows.tokens[0], self._rows.given[0])
        if self._alternatives is not None:
            self._alternatives.forget()

    def read(self, logits: Float32) -> npt.NDArray[np.intp]:
        """Return the answers of all slots."""
        return self._answers.tokens(self._rows.tokens, self._rows.given, logits)

    def judge(self, output: StepOutput) -> Judgement:
        """Return what a step's answers are worth."""
        # After a step of a millisecond the caches are full of other things: a numpy function then
        # costs 4 to 12 us, a short Python loop less. So a slot that is the only one is read by a
        # method of its own.
        logits, heads = output.logits, output.heads
        answers: npt.NDArray[np.intp] | None = None
        failures: Failures = []
        if self._choices is not None:
            confirmed = self._confirm_alone(self._choices, logits, failures)
        else:
            answers = self.read(logits)
            confirmed = self._confirm(answers, failures) if self._asks else None
            self._rows.answer[:] = answers
        if heads and self._asks and self._alternatives is not None:
            further = self._confirm_alternatives(self._alternatives, heads, confirmed, failures)
            if further is not None:
                answers = self.read(logits) if answers is None else answers
                np.copyto(answers, further, where=further >= 0)
                self._rows.answer[:] = answers
                obeyed = np.logical_and.reduce(further >= 0, axis=1)
                confirmed = obeyed if confirmed is None else np.logical_or(confirmed, obeyed)
        return Judgement(answers, confirmed, failures)

    def _confirm(self, answers: npt.NDArray[np.intp], failures: Failures) -> Bools | None:
        """Return which slots' answers obey the rules; None for none of them."""
        # An answer refuted before is refuted still.
        changed = (answers != self._rows.answer).any(1)
        changed &= self._rows.check
        places = np.flatnonzero(changed)
        if not len(places):
            return None
        found = self._ask(lambda some: self._verdicts(some, answers[some]), places, failures)
        if not found.any():
            return None
        confirmed = np.zeros(len(answers), bool)
        confirmed[places] = found
        return confirmed

    def _confirm_alone(
        self, choices: list[tuple[int, ...]], logits: Float32, failures: Failures
    ) -> Bools | None:
        """Do what `_confirm` does for a batch of one slot."""
        columns: list[int] = logits.argmax(-1)[0].tolist()
        if columns == self._refuted:
            return None
        self._refuted = columns
        answer = list(map(getitem, choices, columns))
        try:
            if self._domain.rules_out(answer):
                return None
            confirmed = self._verdicts(np.zeros(1, np.intp), np.array(answer)[None])
        except Exception as error:
            failures.append((0, error))
            return None
        return confirmed if confirmed[0] else None

    def _confirm_alternatives(
        self,
        alternatives: Alternatives,
        heads: Mapping[str, Float32],
        confirmed: Bools | None,
        failures: Failures,
    ) -> npt.NDArray[np.intp] | None:
        """Return alternatives that obey the rules, -1 in the rows of other slots; or None."""
        puzzles = self._rows.puzzle
        if not alternatives.can_read(heads):
            return None
        asked = self._rows.check if confirmed is None else self._rows.check & ~confirmed
        asked = asked & [slot is not None for slot in self._slots]
        asked[[place for place, _ in failures]] = False
        found = np.full(puzzles.shape, -1, np.intp)
        self._ask(
            lambda some: alternatives.confirm(some, puzzles, heads, self._verdicts, found),
            np.flatnonzero(asked),
            failures,
        )
        return found if (found >= 0).any() else None

    def _ask(self, ask: Callable[[Places], Bools], places: Places, failures: Failures) -> Bools:
        """Ask the domain about slots; where it raises, find out whose puzzle it was."""
        try:
            return ask(places)
        except Exception:
            found = np.zeros(len(places), bool)
            for i, place in enumerate(places.tolist()):
                try:
                    found[i] = ask(places[i : i + 1])[0]
                except Exception as error:
                    failures.append((place, error))
            return found

    def _verdicts(self, places: Places, answers: npt.NDArray[np.integer[Any]]) -> Bools:
        """Return which answers, one for each of these slots, obey the rules."""
        slots = [slot for slot in map(self._slots.__getitem__, places.tolist()) if slot is not None]
        return verdicts(
            self._domain,
            [slot.request for slot in slots],
            [slot.attempt.symmetry for slot in slots],
            self._rows.puzzle[places],
            answers,
        )


__all__ = ["Judge", "Judgement"]
