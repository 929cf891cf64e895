"""Every registered domain keeps the contract, and every way of breaking it is found."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from export.testing import check_export
from trm_sdk import BoardDomain, Grid, InvalidInputError, Task, Vocabulary, get_domain
from trm_sdk.domains.base import Domain, GeneratedSource
from trm_sdk.domains.data import Encoded, Examples
from trm_sdk.domains.registry import _BUILT_IN
from trm_sdk.domains.symmetry import Rearrangement, Symmetry, Turn
from trm_sdk.structure import Structure, columns, rows, values
from trm_sdk.testing import ConformanceWarning, check_domain

SIZES = ((4, 4), (6, 6), (5, 8))


def registered() -> list[str]:
    """Every built-in domain; those of many sizes in a few."""
    names = []
    for pattern in _BUILT_IN:
        for high, wide in SIZES if "{rows}" in pattern else SIZES[:1]:
            name = pattern.format(rows=high, columns=wide)
            try:
                get_domain(name)
            except InvalidInputError:  # not a size of this puzzle's
                continue
            names.append(name)
    return names


def tasks_for(domain: Domain) -> list[Task]:
    """Tasks for a domain that makes none itself: boards turned upside down, with demonstrations."""
    if domain.has_generator:
        return []
    rng, values = np.random.default_rng(0), domain.vocabulary.answer_values
    tasks = []
    for rows_ in range(3, 6):
        boards = [Grid(rng.choice(values, (rows_, 4))) for _ in range(3)]
        answers = [Grid(board.cells[::-1]) for board in boards]
        shown = tuple(zip(boards[1:], answers[1:], strict=True))
        tasks.append(Task((boards[0],), shown, (answers[0],), name=f"turn-{rows_}"))
    return tasks


@pytest.mark.parametrize("name", registered())
def test_registered_domains_keep_the_contract(name: str) -> None:
    domain = get_domain(name)
    with warnings.catch_warnings():
        if domain.has_generator:  # elsewhere held-out tasks are told apart by name
            warnings.simplefilter("error", ConformanceWarning)
        check_domain(domain, tasks=tasks_for(domain))


@pytest.mark.parametrize("name", registered())
def test_models_of_registered_domains_export(name: str) -> None:
    domain = get_domain(name)
    check_export(domain, tasks=tasks_for(domain))


class Latin(BoardDomain):
    """A domain in which nothing is wrong."""

    name, shape, vocabulary = "latin-4x4", (4, 4), Vocabulary.numbers(4)
    family = "latin"
    has_symmetries = True
    distinct = (rows("line"), columns("line"))
    structure = Structure(shape=(4, 4), relations=(*distinct, values()))

    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        steps = np.arange(4)
        square = self.random_symmetry(rng).apply(Grid((steps[:, None] + steps) % 4 + 1))
        kept = rng.random((4, 4)) < 0.5
        kept[0] = False
        return Task((Grid(np.where(kept, square.cells, 0)),), answers=(square,))

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        cells = np.arange(16).reshape(4, 4)[rng.permutation(4)][:, rng.permutation(4)]
        renamed = np.concatenate(([0], rng.permutation(4) + 1)).astype(np.int8)
        return Rearrangement(cells.reshape(-1), renamed, self.shape)


def test_a_sound_domain_passes_and_hears_of_its_fingerprints() -> None:
    with pytest.warns(ConformanceWarning, match="fingerprint differs .* under a symmetry"):
        check_domain(Latin())


def test_a_domain_without_generator_is_checked_with_the_tasks_given() -> None:
    class Read(Latin):
        has_symmetries = False
        generate = Domain.generate
        random_symmetry = Domain.random_symmetry

    tasks = [Latin().generate(np.random.default_rng(seed)) for seed in range(3)]
    check_domain(Read(), tasks=tasks)
    with pytest.raises(AssertionError, match="needs puzzles"):
        check_domain(Read())
    with pytest.raises(AssertionError, match=r"tasks\[0\] must be a Task with answers"):
        check_domain(Read(), tasks=[Task(tasks[0].inputs)])


class _Bad:
    """Ways of breaking the contract: a class each, and what is said of it."""

    class Name(Latin):
        """latin-4x4x: family must be what the name begins with"""

        name, family = "latin-4x4x", "sudoku"

    class Shape(Latin):
        """shape must be a tuple"""

        shape = "4x4"  # type: ignore[assignment]

    class Unstructured(Latin):
        """structure.shape must be the domain's shape"""

        structure = Structure(shape=(2, 8), relations=(rows(),))

    class Flag(Latin):
        """has_rules must be True or False"""

        has_rules = 1  # type: ignore[assignment]

    class Comment(Latin):
        """comment must be None, for a board may begin"""

        comment = "1"

    class Heads(Latin):
        """heads must map names to numbers of classes"""

        heads = {"distance": 1}  # noqa: RUF012

    class Ungiven(Latin):
        """targets of .* must be for the heads"""

        heads = {"distance": 3}  # noqa: RUF012

    class Format(Latin):
        """read.* must give Grid.* back, whose format"""

        def format(self, grid: Grid) -> str:
            return super().format(Grid(grid.cells[::-1]))

    class Line(Latin):
        """to_line.* must be one line"""

        def to_line(self, grid: Grid) -> str:
            return self.format(grid)

    class Reads(Latin):
        """read.* must not raise; got ValueError"""

        def read(self, text: str) -> Grid:
            return Grid(np.array([int(one) for one in text.split()]).reshape(4, 4))

    class Whole(Latin):
        """a file of a puzzle a line.* must be read as"""

        def is_whole(self, line: str) -> bool:
            return False

    class Accepts(Latin):
        """parse of the unknown value .* must raise InvalidInputError"""

        def parse(self, puzzle: object) -> Task:
            if isinstance(puzzle, np.ndarray):
                return Task((Grid(puzzle),))
            return super().parse(puzzle)

    class Wide(Latin):
        """encode.* must be a int32 array of shape"""

        def encode(self, task: Task, index: int = 0) -> Encoded:
            made = super().encode(task, index)
            return made._replace(tokens=made.tokens.astype(np.int64))  # type: ignore[arg-type]

    class Identifier(Latin):
        """encode.* identifier below identifiers=1"""

        def encode(self, task: Task, index: int = 0) -> Encoded:
            return super().encode(task, index)._replace(identifier=1)

    class Forgets(Latin):
        """encode_answer.* must (be made of|keep what)"""

        def encode_answer(self, task: Task, answer: Grid, index: int = 0) -> Any:
            return np.roll(super().encode_answer(task, answer, index), 1)

    class Decodes(Latin):
        """decode of .* must give Grid"""

        def decode(self, tokens: Any, shape: Any = None) -> Grid:
            return Grid(np.clip(super().decode(tokens, shape).cells, 0, 3))

    class Lenient(Latin):
        """verify of .* must be False: row 1, column 1 is"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
            return answer.shape == self.shape

    class Strict(Latin):
        """verify of .* must be True for the right answer"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
            return False

    class Numpy(Latin):
        """verify of .* must be True, False or None; got .*np.(True|False)"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
            return np.bool_(super().verify(task, answer, index))  # type: ignore[return-value]

    class Raises(Latin):
        """verify of .* must not raise"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
            if answer.shape != self.shape:
                raise ValueError("shape")
            return bool(super().verify(task, answer, index))

    class Givenless(Latin):
        """verify of .* must be False: the answer to another puzzle, it changes givens"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
            return super().verify(Task((Grid(np.zeros((4, 4))),)), answer)

        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            plain = BoardDomain.verify_tokens
            return plain(Latin(), np.ones_like(tokens), answers, shape)  # type: ignore[arg-type]

    class Unfilled(Latin):
        """verify of .* must be False for the puzzle, unfilled"""

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
            return answer == task.inputs[index] or super().verify(task, answer, index)

    class Ruleless(Latin):
        """verify of .* must be None where has_rules is False"""

        has_rules = False

    class Batch(Latin):
        """verify_tokens of the puzzle .* must be (True|False), as verify is"""

        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            if len(tokens) == 1:
                return super().verify_tokens(tokens, answers, shape)
            return np.ones(len(tokens), bool)

    class BatchShape(Latin):
        """verify_tokens of .* must return a bool array of shape"""

        def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
            return super().verify_tokens(tokens, answers, shape)[:, None]

        def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
            return Latin().verify(task, answer, index)

    class Impatient(Latin):
        """rules_out.* must be False for an answer that verify says is right"""

        def rules_out(self, answer: list[int]) -> bool:
            return True

    class Denies(Latin):
        """count_solutions of .* must be None or 1 to 1, for there is an answer; got 0"""

        def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
            return 0

    class Miscounts(Latin):
        """count_solutions of .* must be None or 1 to 1, for there is an answer; got 2"""

        def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
            return 2

    class Shapeless(Latin):
        """peers of .* must be bool of shape"""

        def peers(self, task: Task, index: int = 0) -> Any:
            return super().peers(task, index)[:2]

    class OneSided(Latin):
        """peers of .* must be symmetric, without the diagonal"""

        def peers(self, task: Task, index: int = 0) -> Any:
            return np.triu(super().peers(task, index))

    class Everyone(Latin):
        """peers of .* must be False of cells . and .*, which have the same value"""

        def peers(self, task: Task, index: int = 0) -> Any:
            return ~np.eye(len(super().peers(task, index)), dtype=bool)

    class Chance(Latin):
        """generate.* must depend on its random generator alone"""

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return super().generate(np.random.default_rng(), **options)

    class Constant(Latin):
        """generate must make different puzzles"""

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return super().generate(np.random.default_rng(0), **options)

    class Unanswered(Latin):
        """generate.* must return a Task with its answers"""

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return Task(super().generate(rng, **options).inputs)

    class Lists(Latin):
        """examples.* must be the first 3 of"""

        def examples(self, n: int, seed: int, options: Any = None) -> Examples:
            return super().examples(n, seed + n, options)

    class Masks(Latin):
        """mask of examples.* must be bool"""

        def examples(self, n: int, seed: int, options: Any = None) -> Examples:
            made = super().examples(n, seed, options)
            return made._replace(mask=made.mask.astype(np.int8))  # type: ignore[arg-type]

    class Source(Latin):
        """source.load_state_dict.* must go on where"""

        def source(self, options: Any, seed: int) -> Any:
            source = GeneratedSource(self, options, seed)
            source.load_state_dict = lambda state: None  # type: ignore[method-assign]
            return source

    class Prints(Latin):
        """fingerprint of .* must tell puzzles apart"""

        def fingerprint(self, tokens: Any, shape: Any = None) -> Any:
            return np.zeros(len(tokens), np.uint64)

    class Batched(Latin):
        """fingerprint of .* must depend on each puzzle alone"""

        def fingerprint(self, tokens: Any, shape: Any = None) -> Any:
            return np.arange(len(tokens), dtype=np.uint64)

    class Inverse(Latin):
        """inverse.* must undo it"""

        def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
            one = super().random_symmetry(rng)
            one.inverse = lambda: one  # type: ignore[method-assign]
            return one

    class Maps(Latin):
        """apply_task must (map a solution|give a puzzle)"""

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return Latin().generate(rng, **options)

        def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
            return Rearrangement(rng.permutation(16), None, self.shape)

    class Chances(Latin):
        """random_symmetry.* must depend on its random generator alone"""

        def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
            return super().random_symmetry(np.random.default_rng())

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return Latin().generate(rng, **options)

    class Undeclared(Latin):
        """has_symmetries must be True where random_symmetry is implemented"""

        has_symmetries = False

    class Missing(Latin):
        """random_symmetry.* must not raise"""

        random_symmetry = Domain.random_symmetry

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            return Latin().generate(rng, **options)

    class Moves(Latin):
        """apply_to_probabilities must move and rename as apply does"""

        def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
            one = super().random_symmetry(rng)
            one.apply_to_probabilities = lambda numbers, of: numbers  # type: ignore[method-assign]
            return one

    class Turned(Latin):
        """picture of .* must have the board's shape"""

        def picture(self, *arguments: Any, **more: Any) -> Any:
            drawn = super().picture(*arguments, **more)
            object.__setattr__(drawn, "given", drawn.given[:2])
            return drawn

    class DecodeHeads(Latin):
        """decode_heads must be a tuple of names of heads"""

        decode_heads = ("way",)

    class Alternatives(Latin):
        r"""alternatives of .* must be integer arrays of shape \(3, 16\)"""

        def alternatives(self, tokens: Any, heads: Any, shape: Any = None) -> Any:
            return [tokens.reshape(-1, 4, 4)]

    class UnknownTokens(Latin):
        """alternatives of .* must be tokens of the vocabulary"""

        def alternatives(self, tokens: Any, heads: Any, shape: Any = None) -> Any:
            return [tokens + 9]

    class Together(Latin):
        """alternatives of .* must be the same for a row in a batch as for the row alone"""

        heads = {"way": 2}  # noqa: RUF012
        decode_heads = ("way",)

        def alternatives(self, tokens: Any, heads: Any, shape: Any = None) -> Any:
            return [np.tile(heads["way"].argmax(-1)[0], (len(tokens), 1))]

    class Borders(Latin):
        """picture of .* must have borders"""

        def borders(self, shape: Any) -> Any:
            return ((0, 0, 5, 0),)

    class Describes(Latin):
        """describe.* must be plain data for JSON"""

        def describe(self) -> dict[str, Any]:
            return {"name": self.name, "shape": np.array(self.shape)}

    class Resized(Latin):
        """resized.* must be a domain where any_size is True"""

        any_size = True

        def resized(self, shape: tuple[int, int]) -> Domain:
            if shape != self.shape:
                raise InvalidInputError("no")
            return self

    class Resizes(Latin):
        r"""resized.* must be of shape \(6, 6\)"""

        def resized(self, shape: tuple[int, int]) -> Domain:
            return self

    class Solved(Latin):
        """must leave cells to learn"""

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            answers = super().generate(rng, **options).answers
            assert answers is not None
            return Task(answers, answers=answers)


BROKEN: Sequence[type[Latin]] = [one for one in vars(_Bad).values() if isinstance(one, type)]


@pytest.mark.filterwarnings("ignore::trm_sdk.testing.ConformanceWarning")
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_what_breaks_the_contract_is_named(kind: type[Latin]) -> None:
    with pytest.raises(AssertionError, match=kind.__doc__):
        check_domain(kind(), train=kind is _Bad.Solved)


def test_a_turn_of_a_board_that_is_not_square_is_refused() -> None:
    class Wide(Latin):
        name, shape, family = "wide", (2, 4), "wide"
        distinct = (rows(),)
        structure = None

        def generate(self, rng: np.random.Generator, **options: Any) -> Task:
            square = np.stack([rng.permutation(4) + 1 for _ in range(2)])
            return Task(
                (Grid(np.where(rng.random((2, 4)) < 0.5, square, 0)),), answers=(Grid(square),)
            )

        def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
            return Turn(1)

    with pytest.raises(AssertionError, match=r"apply_task must give a puzzle that parse takes"):
        check_domain(Wide())
