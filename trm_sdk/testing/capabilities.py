"""What a domain can do beside judging: generate, hash, transform, draw and resize."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.render.picture import Border, Picture
from trm_sdk.render.terminal import Board
from trm_sdk.task import Task
from trm_sdk.testing.expect import (
    ConformanceWarning,
    Samples,
    as_text,
    check_groups,
    expect,
    fail,
    refuses,
    run,
)

_DRAWN = 12
_SYMMETRIES = 8


# --- generator ------------------------------------------------------------------------------


def check_generator(samples: Samples) -> None:
    """Check that generated puzzles repeat by seed and are right, and that sources resume."""
    domain = samples.domain
    if not domain.has_generator:
        refuses(domain, "generate without a generator", domain.generate, samples.rng())
        return
    options = domain.generator_options({})
    one, same = (domain.generate(np.random.default_rng(samples.seed), **options) for _ in range(2))
    expect(
        (one.inputs, one.answers) == (same.inputs, same.answers),
        domain,
        f"generate(default_rng({samples.seed}))",
        "must depend on its random generator alone: equal states, equal puzzles",
        "two different puzzles",
    )
    expect(
        len({task.inputs for task in samples.tasks}) > 1,
        domain,
        "generate",
        "must make different puzzles from different random states",
        "the same puzzle every time",
    )
    _check_examples(samples)
    _check_source(samples)


def _check_examples(samples: Samples) -> None:
    domain, seed = samples.domain, samples.seed
    call = f"examples({_DRAWN}, {seed})"
    made = run(domain, call, domain.examples, _DRAWN, seed)
    _check_form(domain, call, made, _DRAWN)
    for n in (3, _DRAWN):
        again = run(domain, f"examples({n}, {seed})", domain.examples, n, seed)
        expect(
            _same(again, made.rows(slice(0, n))),
            domain,
            f"examples({n}, {seed})",
            f"must be the first {n} of {call}, the same at every call",
            "other puzzles",
        )
    other = domain.examples(_DRAWN, seed + 1)
    expect(not _same(other, made), domain, call, "must depend on the seed", "no difference")
    vocabulary = domain.vocabulary
    given = vocabulary.is_given[made.tokens] & made.mask
    expect(
        (made.answers == made.tokens)[given].all(),
        domain,
        call,
        "must have answers that keep the givens",
        "a given that is another value in the answer",
    )
    if domain.has_rules and domain.clues_in_cells:
        verdicts = run(
            domain,
            f"verify_tokens of {call}",
            domain.verify_tokens,
            made.tokens,
            made.answers,
            made.shape,
        )
        expect(verdicts.all(), domain, f"verify_tokens of {call}", "must be True for all", verdicts)


def _check_form(domain: Domain, call: str, made: Any, n: int) -> None:
    expect(isinstance(made, Examples), domain, call, "must return Examples", made)
    cells = made.shape[0] * made.shape[1]
    for name, dtype, shape in (
        ("tokens", np.int32, (n, cells)),
        ("answers", np.int32, (n, cells)),
        ("identifiers", np.int32, (n,)),
        ("mask", np.bool_, (n, cells)),
    ):
        array = getattr(made, name)
        expect(
            array.dtype == dtype and array.shape == shape,
            domain,
            f"{name} of {call}",
            f"must be {np.dtype(dtype).name} of shape {shape}",
            f"{array.dtype} of shape {array.shape}",
        )
    for name in ("tokens", "answers"):
        array = getattr(made, name)
        expect(
            array.min() >= 0 and array.max() < len(domain.vocabulary),
            domain,
            f"{name} of {call}",
            f"must be 0 to {len(domain.vocabulary) - 1}",
            f"{array.min()} to {array.max()}",
        )
    expect(
        made.identifiers.min() >= 0 and made.identifiers.max() < domain.identifiers,
        domain,
        f"identifiers of {call}",
        f"must be below identifiers={domain.identifiers}",
        made.identifiers.max(),
    )
    check_groups(domain, f"groups of {call}", made.groups, (n,))
    targets = run(domain, f"targets of {call}", domain.targets, made)
    heads = set() if targets is None else set(targets.heads)
    expect(
        heads == set(domain.heads),
        domain,
        f"targets of {call}",
        f"must be for the heads {sorted(domain.heads)}",
        sorted(heads),
    )
    if targets is not None:
        shapes = {targets.answer_due.shape, targets.answer_weight.shape}
        shapes |= {head.classes.shape for head in targets.heads.values()}
        expect(
            shapes == {(n, cells)},
            domain,
            f"targets of {call}",
            f"must be of shape {(n, cells)}",
            shapes,
        )


def _same(one: Examples, other: Examples) -> bool:
    return (
        one.shape == other.shape
        and all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
        and _listed(one) == _listed(other)
    )


def _listed(made: Examples) -> dict[str, Any]:
    return {key: one.tolist() for key, one in (made.groups or {}).items()}


def _check_source(samples: Samples) -> None:
    domain = samples.domain

    def source() -> Any:
        return run(domain, "source({}, seed)", domain.source, {}, samples.seed)

    first = source()
    first.draw(5)
    state = run(domain, "source.state_dict()", first.state_dict)
    expect(isinstance(state, Mapping), domain, "source.state_dict()", "must be a mapping", state)
    after, second = first.draw(4), source()
    _check_form(domain, "source.draw(4)", after, 4)
    run(domain, "source.load_state_dict(state)", second.load_state_dict, state)
    expect(
        _same(second.draw(4), after),
        domain,
        "source.load_state_dict(state)",
        "must go on where the state was taken",
        "other puzzles",
    )


# --- fingerprints ---------------------------------------------------------------------------


def check_fingerprints(samples: Samples) -> None:
    """Check that equal puzzles have equal fingerprints and different ones different."""
    domain = samples.domain
    encoded = [domain.encode(task, index) for task, index, _ in samples.pairs()]
    shape = encoded[0].shape
    rows = np.stack([one.tokens for one in encoded if one.shape == shape])
    call = f"fingerprint of {len(rows)} puzzles"
    prints = run(domain, call, domain.fingerprint, rows, shape)
    expect(
        isinstance(prints, np.ndarray)
        and prints.dtype == np.uint64
        and prints.shape == rows.shape[:1],
        domain,
        call,
        f"must be a uint64 array of shape {rows.shape[:1]}",
        prints,
    )
    again = domain.fingerprint(rows[::-1].copy(), shape)[::-1]
    expect(
        (again == prints).all(), domain, call, "must depend on each puzzle alone", again.tolist()
    )
    if len(np.unique(rows, axis=0)) > 1:
        expect(len(np.unique(prints)) > 1, domain, call, "must tell puzzles apart", prints.tolist())
    # A domain that knows tasks by name may not know an image of one.
    if not domain.has_symmetries or domain.identifiers > 1:
        return
    task, index, _ = samples.pairs()[0]
    for _ in range(_SYMMETRIES):
        image = domain.random_symmetry(samples.rng()).apply_task(task)
        tokens = domain.encode(image, index)
        if domain.fingerprint(tokens.tokens[None], tokens.shape)[0] != prints[0]:
            warnings.warn(
                f"{domain.name}: fingerprint differs between a puzzle and its image under a "
                "symmetry, so that training may see held-out puzzles in another guise; override "
                "it to hash the smallest image, say",
                ConformanceWarning,
                stacklevel=3,
            )
            return


# --- symmetries -----------------------------------------------------------------------------


def check_symmetries(samples: Samples) -> None:
    """Check that symmetries map puzzles and solutions to such, and can be undone."""
    domain = samples.domain
    if not domain.has_symmetries:
        expect(
            type(domain).random_symmetry is Domain.random_symmetry,
            domain,
            "has_symmetries",
            "must be True where random_symmetry is implemented",
            domain.has_symmetries,
        )
        refuses(domain, "random_symmetry without symmetries", domain.random_symmetry, samples.rng())
        return
    for number in range(_SYMMETRIES):
        call = f"random_symmetry(default_rng({(samples.seed, number)}))"
        one, same = (
            run(domain, call, domain.random_symmetry, np.random.default_rng((samples.seed, number)))
            for _ in range(2)
        )
        expect(isinstance(one, Symmetry), domain, call, "must return a Symmetry", one)
        for task in samples.tasks:
            moved = run(domain, f"{call}.apply_task", one.apply_task, task)
            expect(
                moved.inputs == same.apply_task(task).inputs,
                domain,
                call,
                "must depend on its random generator alone",
                "two different symmetries",
            )
            _check_image(domain, call, task, moved)
            back = run(domain, f"{call}.inverse()", one.inverse().apply_task, moved)
            expect(
                (back.inputs, back.answers) == (task.inputs, task.answers),
                domain,
                f"{call}.inverse()",
                f"must undo it on {as_text(domain, task.inputs[0])}",
                as_text(domain, back.inputs[0]),
            )
        answers = samples.tasks[0].answers
        assert answers is not None
        _check_probabilities(samples, call, one, answers[0])


def _check_image(domain: Domain, call: str, task: Task, moved: Task) -> None:
    try:
        domain.parse(moved)
    except InvalidInputError as error:
        fail(domain, f"{call}.apply_task", f"must give a puzzle that parse takes ({error})", moved)
    if not domain.has_rules:
        return
    for index, answer in enumerate(moved.answers or ()):
        expect(
            domain.verify(moved, answer, index) is True,
            domain,
            f"{call}.apply_task",
            f"must map a solution of {as_text(domain, task.inputs[index])} to one",
            f"{as_text(domain, answer)} for {as_text(domain, moved.inputs[index])}",
        )


def _check_probabilities(samples: Samples, call: str, one: Symmetry, answer: Grid) -> None:
    domain = samples.domain
    # Every value, for cells that are given may hold one that no answer has.
    of = list(range(domain.vocabulary.values))
    numbers = samples.rng().random((*answer.shape, len(of))).astype(np.float32) / 2
    np.put_along_axis(numbers, answer.cells[..., None].astype(np.intp), 1, 2)
    what = f"{call}.apply_to_probabilities"
    moved = run(domain, what, one.apply_to_probabilities, numbers, of)
    expect(
        Grid(moved.argmax(-1)) == one.apply(answer),
        domain,
        what,
        "must move and rename as apply does",
        moved.argmax(-1).tolist(),
    )
    back = run(domain, f"{call}.inverse()", one.inverse().apply_to_probabilities, moved, of)
    expect(
        np.array_equal(back, numbers), domain, f"{call}.inverse()", "must undo it on probabilities",
        "other numbers",
    )  # fmt: skip
    answers = domain.vocabulary.answer_values
    run(domain, what, one.apply_to_probabilities, numbers[..., list(answers)], answers)


# --- pictures and sizes ---------------------------------------------------------------------


def check_pictures(samples: Samples) -> None:
    """Check that boards can be drawn, and that the domain describes itself as JSON."""
    domain = samples.domain
    for task, index, answer in samples.pairs():
        puzzle = task.inputs[index]
        certainty = np.full(answer.shape, 0.5, np.float32)
        drawn = [
            (puzzle, run(domain, "picture(task)", domain.picture, task, None, index)),
            (
                answer,
                run(
                    domain,
                    "picture(task, answer, certainty=..., before=..., tried=[(0, 0)])",
                    domain.picture,
                    task,
                    answer,
                    index,
                    certainty=certainty,
                    before=answer,
                    tried=[(0, 0)],
                ),
            ),
        ]
        for grid, picture in drawn:
            _check_picture(domain, grid, picture)
    described = run(domain, "describe()", domain.describe)
    try:
        back = json.loads(json.dumps(described))
    except (TypeError, ValueError) as error:
        fail(domain, "describe()", f"must be plain data for JSON ({error})", described)
    expect(
        isinstance(back, dict) and back.get("name") == domain.name,
        domain,
        "describe()",
        "must be a dict with the domain's name",
        back,
    )


def _check_picture(domain: Domain, grid: Grid, picture: Any) -> None:
    call = f"picture of {as_text(domain, grid)}"
    expect(isinstance(picture, Picture), domain, call, "must return a Picture", picture)
    shapes = {np.shape(picture.symbols), np.shape(picture.colours)}
    for name in ("given", "certainty", "changed", "tried", "blank"):
        shapes.add(getattr(picture, name).shape)
    expect(
        shapes == {grid.shape}, domain, call, f"must have the board's shape {grid.shape}", shapes
    )
    expect(
        all(isinstance(one, str) and len(one) == 1 for row in picture.symbols for one in row),
        domain,
        call,
        "must have one character a cell",
        picture.symbols,
    )
    expect(
        all(_along_edges(line, grid.shape) for line in picture.borders),
        domain,
        call,
        "must have borders (column, row, column, row) along edges of the board",
        picture.borders,
    )  # fmt: skip
    for encoding in ("utf-8", "ascii"):
        run(domain, f"drawing the {call}", Board(picture).text, encoding=encoding)


def _along_edges(line: Border, shape: tuple[int, int]) -> bool:
    left, top, right, bottom = line
    inside = 0 <= left <= right <= shape[1] and 0 <= top <= bottom <= shape[0]
    return inside and (left == right) != (top == bottom)


def check_sizes(samples: Samples) -> None:
    """Check `resized`: another shape, or an error where not every shape is taken."""
    domain = samples.domain
    rows, columns = domain.shape
    same = run(domain, f"resized({domain.shape})", domain.resized, domain.shape)
    expect(
        same.name == domain.name and same.shape == domain.shape,
        domain,
        f"resized({domain.shape})",
        "must be the same domain",
        same,
    )
    other = (rows + 2, columns + 2)
    call = f"resized({other})"
    try:
        resized = domain.resized(other)
    except InvalidInputError as error:
        if domain.any_size:
            fail(domain, call, "must be a domain where any_size is True", error)
        return
    except Exception as error:  # anything else is a fault, whatever it is
        fail(domain, call, "must return a Domain or raise InvalidInputError", error)
    expect(
        isinstance(resized, Domain) and resized.shape == other and resized.family == domain.family,
        domain,
        call,
        f"must be of shape {other} and of the family {domain.family!r}",
        resized,
    )
    expect(
        resized.vocabulary == domain.vocabulary or not domain.any_size,
        domain,
        call,
        "must have the same vocabulary",
        resized.vocabulary.names,
    )
    if resized.structure is not None:
        expect(
            resized.structure.shape == other,
            domain,
            f"{call}.structure.shape",
            f"must be {other}",
            resized.structure.shape,
        )


__all__ = [
    "check_fingerprints",
    "check_generator",
    "check_pictures",
    "check_sizes",
    "check_symmetries",
]
