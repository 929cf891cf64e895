"""Whether a domain's verdicts are right: on right answers, on spoilt ones, alone and in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.grid import Grid
from trm_sdk.task import Task
from trm_sdk.testing.expect import Samples, as_text, expect, fail, run, spoilt

#: Cells of an answer that are changed, one at a time.
_SPOILT = 100
#: Rows of random logits that alternatives are read from.
_READ = 3


def check_verdicts(samples: Samples) -> None:
    """Check `verify` on right answers, and on answers with a cell changed or of another shape."""
    domain = samples.domain
    for task, index, answer in samples.pairs():
        verdict = _verify(domain, task, answer, index)
        if not domain.has_rules:
            if verdict is not None:
                _told(domain, task, answer, index, "must be None where has_rules is False", verdict)
            continue
        if verdict is not True:
            _told(domain, task, answer, index, "must be True for the right answer", verdict)
        encoded = domain.encode(task, index)
        if encoded.shape != answer.shape:
            continue  # a canvas around the board: its cells are not the answer's
        for grid in _spoilt_grids(domain, answer, np.ones(answer.cells.size, bool)):
            verdict = _verify(domain, task, grid, index)
            if verdict is not False:
                _told(domain, task, grid, index, f"must be False: {_where(answer, grid)}", verdict)
        for grid in _contradicting(samples, task, index):
            verdict = _verify(domain, task, grid, index)
            if verdict is not False:
                expected = "must be False: the answer to another puzzle, it changes givens"
                _told(domain, task, grid, index, expected, verdict)
        if not encoded.given.all():
            _check_unfilled(domain, task, index)
        other = Grid(np.full((answer.shape[0] + 1, answer.shape[1]), answer[0, 0]))
        verdict = _verify(domain, task, other, index)
        if verdict is not False:
            _told(domain, task, other, index, "must be False for another shape", verdict)


def check_counts(samples: Samples) -> None:
    """Check that `count_solutions` never denies a solution, nor counts beyond its limit."""
    domain = samples.domain
    for task, index, answer in samples.pairs():
        if not domain.has_rules or domain.verify(task, answer, index) is not True:
            continue
        for limit in (1, 2):
            puzzle = as_text(domain, task.inputs[index])
            call = f"count_solutions of the puzzle {puzzle} with limit {limit}"
            found = run(domain, call, domain.count_solutions, task, index, limit)
            if found is not None and not 1 <= found <= limit:
                fail(domain, call, f"must be None or 1 to {limit}, for there is an answer", found)


def check_peers(samples: Samples) -> None:
    """Check that `peers` is symmetric, and that no answer has the same value in two of them."""
    domain = samples.domain
    for task, index, answer in samples.pairs():
        call = f"peers of the puzzle {as_text(domain, task.inputs[index])}"
        found = run(domain, call, domain.peers, task, index)
        if found is None:
            continue
        cells = answer.cells.size
        form = isinstance(found, np.ndarray) and found.dtype == np.bool_
        form = form and found.shape == (cells, cells)
        got = f"{getattr(found, 'dtype', type(found).__name__)} of {getattr(found, 'shape', '-')}"
        expect(form, domain, call, f"must be bool of shape {(cells, cells)}", got)
        symmetric = bool((found == found.T).all()) and not found.diagonal().any()
        expect(symmetric, domain, call, "must be symmetric, without the diagonal", found)
        values = answer.cells.reshape(-1)
        for one, other in np.argwhere(found & (values[:, None] == values)).tolist():
            expected = f"must be False of cells {one} and {other}, which have the same value"
            fail(domain, call, expected, True)


def _contradicting(samples: Samples, task: Task, index: int) -> list[Grid]:
    """Answers to other puzzles, and images of this one's, that contradict its givens."""
    domain, puzzle = samples.domain, task.inputs[index]
    others = [answer for _, _, answer in samples.pairs()]
    if domain.has_symmetries and task.answers is not None:
        rng = samples.rng()
        for _ in range(4):
            one = run(domain, "random_symmetry(rng)", domain.random_symmetry, rng)
            others.append(run(domain, "random_symmetry(rng).apply", one.apply, task.answers[index]))
    given = domain.vocabulary.given_values[puzzle.cells]
    return [
        grid
        for grid in others
        if grid.shape == puzzle.shape and (grid.cells != puzzle.cells)[given].any()
    ]


def _check_unfilled(domain: Domain, task: Task, index: int) -> None:
    puzzle = task.inputs[index]
    answers = list(domain.vocabulary.answer_values)
    given = domain.vocabulary.given_values[puzzle.cells]
    if np.isin(puzzle.cells[~given], answers).all():
        return  # an empty cell may stay as it is, as in mazes
    verdict = _verify(domain, task, puzzle, index)
    if verdict is not False:
        _told(domain, task, puzzle, index, "must be False for the puzzle, unfilled", verdict)


def _verify(domain: Domain, task: Task, answer: Grid, index: int) -> object:
    verdict = run(domain, _call(domain, task, answer, index), domain.verify, task, answer, index)
    if verdict is not None and type(verdict) is not bool:
        _told(domain, task, answer, index, "must be True, False or None", repr(verdict))
    return verdict


def _told(domain: Domain, task: Task, answer: Grid, index: int, expected: str, got: object) -> None:
    fail(domain, _call(domain, task, answer, index), expected, got)


def _call(domain: Domain, task: Task, answer: Grid, index: int) -> str:
    puzzle = as_text(domain, task.inputs[index])
    return f"verify of the puzzle {puzzle} and the answer {as_text(domain, answer)}"


def _where(right: Grid, wrong: Grid) -> str:
    row, column = np.argwhere(right.cells != wrong.cells)[0].tolist()
    return f"row {row + 1}, column {column + 1} is {right[row, column]} in the right answer"


def _spoilt_grids(domain: Domain, answer: Grid, wanted: npt.NDArray[np.bool_]) -> list[Grid]:
    return [
        Grid(copy.reshape(answer.shape))
        for copy in spoilt(domain, answer.cells.reshape(-1), wanted, _SPOILT)
    ]


def check_batches(samples: Samples) -> None:
    """Check that `verify_tokens` and `rules_out` agree with `verify`."""
    domain = samples.domain
    if not domain.has_rules:
        return
    for task, index, answer in samples.pairs():
        encoded = domain.encode(task, index)
        right = domain.encode_answer(task, answer, index)
        first = domain.vocabulary.first
        cells = right >= first
        answers = np.stack(
            [
                right,
                encoded.tokens,
                *(copy + first for copy in spoilt(domain, right - first, cells, _SPOILT)),
            ]
        ).astype(np.int32)
        tokens = np.tile(encoded.tokens, (len(answers), 1))
        _check_batch(domain, tokens, answers, encoded.shape)
        for row in (right, *answers[2:12]):
            ruled_out = run(domain, f"rules_out({row.tolist()})", domain.rules_out, row.tolist())
            if ruled_out:
                verdict = domain.verify(task, domain.decode(row, encoded.shape), index)
                expect(
                    verdict is not True,
                    domain,
                    f"rules_out({row.tolist()})",
                    "must be False for an answer that verify says is right",
                    ruled_out,
                )


def _check_batch(domain: Domain, tokens: Any, answers: Any, shape: tuple[int, int]) -> None:
    call = f"verify_tokens of {len(tokens)} puzzles"
    verdicts = run(domain, call, domain.verify_tokens, tokens, answers, shape)
    expect(
        isinstance(verdicts, np.ndarray)
        and verdicts.dtype == bool
        and verdicts.shape == (len(tokens),),
        domain,
        call,
        f"must return a bool array of shape ({len(tokens)},)",
        verdicts,
    )
    for number, answer in enumerate(answers):
        puzzle, grid = domain.decode_task(tokens[number], shape), domain.decode(answer, shape)
        if not domain.clues_in_cells:
            return
        expected = domain.verify(puzzle, grid)
        expect(
            bool(verdicts[number]) == expected,
            domain,
            f"verify_tokens of the puzzle {as_text(domain, puzzle.inputs[0])} and the answer "
            f"{as_text(domain, grid)}",
            f"must be {expected}, as verify is",
            bool(verdicts[number]),
        )
    empty = run(domain, "verify_tokens of 0 puzzles", domain.verify_tokens, tokens[:0], answers[:0])
    expect(
        np.shape(empty) == (0,),
        domain,
        "verify_tokens of 0 puzzles",
        "must be of shape (0,)",
        empty,
    )


def check_alternatives(samples: Samples) -> None:
    """Check that `alternatives` reads answers from any logits, each row's from its own alone."""
    domain, rng = samples.domain, samples.rng()
    for task, index, _ in samples.pairs():
        encoded = domain.encode(task, index)
        tokens = np.tile(encoded.tokens, (_READ, 1))
        heads = {
            name: rng.normal(size=(*tokens.shape, domain.heads[name])).astype(np.float32)
            for name in domain.decode_heads
        }
        call = f"alternatives of {_READ} times {as_text(domain, task.inputs[index])}"
        many = run(domain, call, domain.alternatives, tokens, heads, encoded.shape)
        for one in map(np.asarray, many):
            expect(
                one.shape == tokens.shape and one.dtype.kind in "iu",
                domain,
                call,
                f"must be integer arrays of shape {tokens.shape}",
                one,
            )
            known = ((one >= 0) & (one < len(domain.vocabulary))).all()
            expect(known, domain, call, "must be tokens of the vocabulary", one)
        last = {name: logits[-1:] for name, logits in heads.items()}
        alone = run(domain, call, domain.alternatives, tokens[-1:], last, encoded.shape)
        expect(
            [np.asarray(one)[-1].tolist() for one in many]
            == [np.asarray(one)[-1].tolist() for one in alone],
            domain,
            call,
            "must be the same for a row in a batch as for the row alone",
            alone,
        )


__all__ = ["check_alternatives", "check_batches", "check_verdicts"]
