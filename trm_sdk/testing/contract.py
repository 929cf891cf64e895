"""What a domain declares, and how it reads and writes boards."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from trm_sdk.domains.base import Domain
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import TRMError
from trm_sdk.files import read_tasks
from trm_sdk.grid import Grid
from trm_sdk.structure import Structure
from trm_sdk.task import Task
from trm_sdk.testing.expect import Samples, as_text, check_groups, expect, refuses, run
from trm_sdk.validation import is_int


def check_declarations(domain: Domain) -> None:
    """Check the attributes that a domain states about itself."""
    assert isinstance(domain, Domain), f"a domain must be an instance of Domain; got {domain!r}"
    for name in ("name", "shape", "vocabulary"):
        _declared(domain, name, hasattr(domain, name), "must be set")
    _declared(domain, "name", isinstance(domain.name, str) and bool(domain.name), "must be text")
    shape = domain.shape
    _declared(
        domain,
        "shape",
        isinstance(shape, tuple) and len(shape) == 2 and all(is_int(n) and n > 0 for n in shape),
        "must be a tuple (rows, columns) of positive integers",
    )
    _declared(
        domain, "vocabulary", isinstance(domain.vocabulary, Vocabulary), "must be a Vocabulary"
    )
    _declared(
        domain,
        "vocabulary",
        bool(domain.vocabulary.answer_tokens),
        "must have a token with the role 'answer'",
    )
    _declared(
        domain,
        "family",
        isinstance(domain.family, str) and domain.name.startswith(domain.family),
        "must be what the name begins with, before a size",
    )
    _check_structure(domain)
    for name in ("has_rules", "has_symmetries", "any_size", "clues_in_cells"):
        _declared(domain, name, isinstance(getattr(domain, name), bool), "must be True or False")
    _declared(
        domain,
        "identifiers",
        is_int(domain.identifiers) and domain.identifiers > 0,
        "must be 1 or more",
    )
    _check_groups_and_heads(domain)
    _declared(
        domain,
        "Options",
        isinstance(domain.Options, type) and issubclass(domain.Options, BaseModel),
        "must be a pydantic model, a class",
    )
    _check_comment(domain)


def _declared(domain: Domain, name: str, condition: bool, expected: str) -> None:
    expect(condition, domain, name, expected, getattr(domain, name, "nothing"))


def _check_groups_and_heads(domain: Domain) -> None:
    stated = () if domain.structure is None else tuple(domain.structure.groups_by_key())
    _declared(
        domain,
        "own_groups",
        isinstance(domain.own_groups, tuple) and set(domain.own_groups) <= set(stated),
        f"must be a tuple of weights keys of the structure's groups ({sorted(stated)})",
    )
    _declared(
        domain,
        "base_model",
        domain.base_model is None or isinstance(domain.base_model, str),
        "must be the name of a bundled model, or None",
    )
    _declared(
        domain,
        "heads",
        isinstance(domain.heads, Mapping)
        and all(is_int(n) and n > 1 for n in domain.heads.values()),
        "must map names to numbers of classes, 2 or more",
    )
    _declared(
        domain,
        "decode_heads",
        isinstance(domain.decode_heads, tuple) and set(domain.decode_heads) <= set(domain.heads),
        f"must be a tuple of names of heads ({sorted(domain.heads)})",
    )


def _check_comment(domain: Domain) -> None:
    sign = domain.comment
    _declared(
        domain,
        "comment",
        sign is None or (isinstance(sign, str) and bool(sign)),
        "must be text or None",
    )
    _declared(
        domain,
        "comment",
        sign is None or domain.vocabulary.value_of(sign[0]) is None,
        "must be None, for a board may begin with that character",
    )


def _check_structure(domain: Domain) -> None:
    structure = domain.structure
    expect(
        structure is None or isinstance(structure, Structure),
        domain,
        "structure",
        "must be a Structure or None",
        structure,
    )
    if structure is not None:
        expect(
            structure.shape == domain.shape,
            domain,
            "structure.shape",
            f"must be the domain's shape {domain.shape}",
            structure.shape,
        )


def check_text(samples: Samples) -> None:
    """Check that boards survive being written and read, alone and in files."""
    domain = samples.domain
    for task, index, answer in samples.pairs():
        puzzle = task.inputs[index]
        for grid in (puzzle, answer):
            text = run(domain, f"format({grid!r})", domain.format, grid)
            back = run(domain, f"read({text!r})", domain.read, text)
            expect(
                back == grid, domain, f"read({text!r})", f"must give {grid!r} back, whose format "
                "this is", back,
            )  # fmt: skip
            line = run(domain, f"to_line({grid!r})", domain.to_line, grid)
            expect("\n" not in line, domain, f"to_line({grid!r})", "must be one line", line)
            if grid.shape == domain.shape:
                back = run(domain, f"read({line!r})", domain.read, line)
                expect(
                    back == grid, domain, f"read({line!r})", f"must give {grid!r} back, whose line "
                    "this is", back,
                )  # fmt: skip
        _check_forms(domain, task, puzzle)
        back = run(domain, f"parse_answer({answer!r})", domain.parse_answer, answer)
        expect(back == answer, domain, f"parse_answer({answer!r})", "must keep the grid", back)
    _check_files(samples)


def _check_forms(domain: Domain, task: Task, puzzle: Grid) -> None:
    """Every form in which `parse` takes a puzzle must give the same grid."""
    back = run(domain, f"parse({task!r})", domain.parse, task)
    expect(back.inputs == task.inputs, domain, f"parse({task!r})", "must keep the task", back)
    if not domain.clues_in_cells:
        return
    for form in (puzzle, domain.format(puzzle), puzzle.tolist(), np.array(puzzle.cells)):
        back = run(domain, f"parse({form!r})", domain.parse, form)
        expect(back.inputs == (puzzle,), domain, f"parse({form!r})", f"must give {puzzle!r}", back)


def _check_files(samples: Samples) -> None:
    """Puzzles written a line each, as boards between blank lines, and as CSV come back."""
    domain = samples.domain
    pairs = [
        (task.inputs[0], task.answers[0])
        for task in samples.tasks
        if task.answers and len(task.inputs) == 1 and not task.demonstrations
    ]
    if not pairs or not domain.clues_in_cells:
        return
    boards = "\n\n".join(domain.format(puzzle) for puzzle, _ in pairs)
    texts = {"boards between blank lines": boards + "\n", "CSV": _csv(domain, pairs)}
    if all(puzzle.shape == domain.shape for puzzle, _ in pairs):
        texts["a puzzle a line"] = "".join(f"{domain.to_line(puzzle)}\n" for puzzle, _ in pairs)
    for kind, text in texts.items():
        call = f"a file of {kind}, {text!r},"
        found = run(domain, call, lambda text=text: _read(domain, text))
        grids = [task.inputs[0] if isinstance(task, Task) else task for task in found]
        expect(
            grids == [puzzle for puzzle, _ in pairs],
            domain,
            call,
            "must be read as the puzzles that were written (format, to_line, read, comment, "
            "cells_in and is_whole have a say)",
            grids,
        )


def _read(domain: Domain, text: str) -> list[Task | TRMError]:
    """The puzzles of a file; the error alone where it has none."""
    try:
        return list(read_tasks(io.StringIO(text), domain, "f"))
    except TRMError as error:
        return [error]


def _csv(domain: Domain, pairs: list[tuple[Grid, Grid]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("puzzle", "answer"))
    writer.writerows([domain.format(grid) for grid in pair] for pair in pairs)
    return file.getvalue()


def check_refusals(samples: Samples) -> None:
    """Check that `parse` refuses what is not a puzzle, by an error of ours."""
    domain = samples.domain
    puzzle = samples.tasks[0].inputs[0]
    beyond = np.array(puzzle.cells)
    beyond[0, 0] = min(domain.vocabulary.values, 127)
    if domain.vocabulary.values <= 127:
        refuses(domain, f"parse of the unknown value in {beyond.tolist()}", domain.parse, beyond)
    strange = next(c for c in "\u00a7\u2603\u0416" if domain.vocabulary.value_of(c) is None)
    text = strange + domain.format(puzzle)[1:]
    refuses(domain, f"parse({text!r})", domain.parse, text)
    refuses(domain, "parse('')", domain.parse, "")
    refuses(domain, "parse(None)", domain.parse, None)
    if not domain.any_size and not samples.tasks[0].demonstrations:
        larger = np.zeros((domain.shape[0] + 1, domain.shape[1]), np.int8)
        refuses(domain, f"parse of a board of {larger.shape}", domain.parse, larger)


def check_tokens(samples: Samples) -> None:
    """Check that tasks and answers survive being encoded."""
    domain = samples.domain
    vocabulary = domain.vocabulary
    for task, index, answer in samples.pairs():
        call = f"encode(task, {index}) of {as_text(domain, task.inputs[index])}"
        encoded = run(domain, call, domain.encode, task, index)
        cells = encoded.shape[0] * encoded.shape[1]
        _check_array(domain, call, encoded.tokens, np.int32, (cells,))
        _check_array(domain, f"the given of {call}", encoded.given, np.bool_, (cells,))
        expect(
            0 <= encoded.identifier < domain.identifiers,
            domain,
            call,
            f"must have an identifier below identifiers={domain.identifiers}",
            encoded.identifier,
        )
        _check_range(domain, call, encoded.tokens, len(vocabulary))
        check_groups(domain, f"the groups of {call}", encoded.groups)
        reply = f"encode_answer(task, answer, {index}) of {as_text(domain, answer)}"
        tokens = run(domain, reply, domain.encode_answer, task, answer, index)
        _check_array(domain, reply, tokens, np.int32, (cells,))
        _check_range(domain, reply, tokens, len(vocabulary))
        answered = tokens[tokens >= vocabulary.first]
        expect(
            np.isin(answered, [*vocabulary.answer_tokens, *vocabulary.given_tokens]).all(),
            domain,
            reply,
            "must be made of tokens with the role 'answer' or 'given'",
            sorted({vocabulary.names[token] for token in answered}),
        )
        expect(
            (tokens[encoded.given] == encoded.tokens[encoded.given]).all(),
            domain,
            reply,
            "must keep what the puzzle gives",
            tokens.tolist(),
        )
        back = run(domain, f"decode of {reply}", domain.decode, tokens, encoded.shape)
        expect(back == answer, domain, f"decode of {reply}", f"must give {answer!r} back", back)
        if domain.clues_in_cells and not task.demonstrations:
            whole = run(
                domain, f"decode_task of {call}", domain.decode_task, encoded.tokens, encoded.shape
            )
            expect(
                whole.inputs == (task.inputs[index],),
                domain,
                f"decode_task of {call}",
                "must give the puzzle back",
                whole,
            )


def _check_array(domain: Domain, call: str, array: Any, dtype: Any, shape: tuple[int, ...]) -> None:
    kind = np.dtype(dtype).name
    expect(
        isinstance(array, np.ndarray) and array.dtype == dtype and array.shape == shape,
        domain,
        call,
        f"must be a {kind} array of shape {shape}",
        f"{getattr(array, 'dtype', type(array).__name__)} of shape {getattr(array, 'shape', '-')}",
    )


def _check_range(domain: Domain, call: str, tokens: Any, count: int) -> None:
    expect(
        tokens.min() >= 0 and tokens.max() < count,
        domain,
        call,
        f"must be tokens 0 to {count - 1}",
        sorted(set(tokens.tolist())),
    )


__all__ = ["check_declarations", "check_refusals", "check_text", "check_tokens"]
