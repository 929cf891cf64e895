"""Streaming: the search of one input, with an observer that makes a `Step` of every refinement."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from trm_sdk.domains.base import Domain
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.base import Float32, Runtime
from trm_sdk.search.answers import Answers, confidence_of
from trm_sdk.search.rules import read_answer, verdict
from trm_sdk.search.slots import Slot
from trm_sdk.search.tasks import Search, for_boards_of
from trm_sdk.solution import Step
from trm_sdk.task import Task


def stream(
    domain: Domain, runtime: Runtime, task: Task, index: int, options: SolveOptions
) -> Iterator[Step]:
    """Yield every refinement of input `index` of a task, one attempt after another.

    Parameters
    ----------
    domain : Domain
    runtime : Runtime
    task : Task
    index : int
    options : SolveOptions
        Complete; ``choose`` is ignored, and ``width`` where no attempt depends on it.

    Raises
    ------
    Exception
        What `Search.add` raises, at once; the domain's and the runtime's in later steps.
    """
    seen: list[Step] = []
    observer = _Observer(domain, runtime, seen)
    search = Search(domain, runtime, 1, observer)
    in_turn = options.model_copy(update={"choose": "confidence"})
    if options.explore != "tree":  # there the width decides what is guessed
        in_turn = in_turn.model_copy(update={"width": 1})
    submission = search.add(task, in_turn, (index,))
    (request,) = submission.requests
    observer.domain = for_boards_of(domain, request.encoded.shape)

    def steps() -> Iterator[Step]:
        while not submission.done:
            seen.clear()
            search.step()
            if request.stopped_by == "refuted" and seen:
                seen[-1] = dataclasses.replace(seen[-1], refuted=True)
            if request.stopped_by == "verified" and seen and not seen[-1].verified:
                # By an alternative to the best tokens, which the observer doesn't know of.
                grid = request.candidates[0].grid
                seen[-1] = dataclasses.replace(seen[-1], grid=grid, verified=True)
            yield from seen
        if submission.error is not None:
            raise submission.error

    return steps()


class _Observer:
    """Appends a `Step` to a list for every step of every slot."""

    def __init__(self, domain: Domain, runtime: Runtime, seen: list[Step]) -> None:
        self.domain = domain
        self._answers = Answers(runtime.spec.model, domain.vocabulary)
        self._seen = seen

    def __call__(self, slot: Slot, steps: int, logits: Float32, halt_logit: float) -> None:
        request, attempt, domain = slot.request, slot.attempt, self.domain
        columns, first = request.encoded.shape[1], domain.vocabulary.first
        tokens = self._answers.tokens(attempt.tokens[None], attempt.given[None], logits[None])
        grid = read_answer(domain, request, tokens[0], attempt.symmetry)
        board = request.encoded._replace(tokens=attempt.tokens, given=attempt.given)
        probabilities = self._answers.probabilities(board, logits)
        if attempt.symmetry is not None:
            probabilities = attempt.symmetry.inverse().apply_to_probabilities(
                probabilities, domain.vocabulary.answer_values
            )
        self._seen.append(
            Step(
                index=steps,
                grid=grid,
                confidence=confidence_of(halt_logit),
                probabilities=probabilities,
                verified=verdict(domain, request, grid),
                attempt=slot.number + 1,
                guesses=tuple(
                    (*divmod(cell, columns), token - first) for cell, token in attempt.guesses
                ),
            )
        )


__all__ = ["stream"]
