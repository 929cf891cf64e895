"""Domain: what a kind of puzzle is. A domain knows its rules and its encoding, and no network."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import Encoded, Examples, GroupsOf, Shape, Source, Tokens
from trm_sdk.domains.drawing import picture_of
from trm_sdk.domains.generated import GeneratedSource
from trm_sdk.domains.reading import check_grid, grid_of, read_symbols
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.domains.training import NoOptions, Trainable
from trm_sdk.domains.vocabulary import Vocabulary, line_of
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import times
from trm_sdk.render.picture import Border, Picture, frame
from trm_sdk.structure import Structure
from trm_sdk.task import Task


class Domain(Trainable):
    """One kind of puzzle.

    Set these in every subclass: `name`, `shape`, `vocabulary`, and the methods `verify` and, where
    puzzles can be made, `generate`. Everything else has a default that fits puzzles whose answer
    has the shape of the puzzle. For boards of numbers see `BoardDomain`.

    Attributes
    ----------
    name : str
        As in ``Solver.from_pretrained(name)`` and in checkpoints; carries the size where there are
        several ("maze-30x30").
    shape : (rows, columns)
        Of its boards.
    vocabulary : Vocabulary
    structure : Structure or None
        For the structured mixer. Default None.
    has_rules : bool
        Whether `verify` gives a verdict; else it returns None. Default True.
    has_symmetries : bool
        Whether `random_symmetry` draws any. Default False.
    any_size : bool
        Whether boards of every shape are taken, `shape` being the usual one. Default False.
    clues_in_cells : bool
        Whether the cells of a puzzle say everything that `verify` needs; else it also reads the
        task's metadata (cages, inequalities). Default True.
    own_groups : tuple of str
        Weights keys of the structure whose groups come with each puzzle, such as the regions of a
        jigsaw; `groups_of` gives them. The structure states as many groups of these keys as any
        puzzle has. Needs a model of block "message". Default none.
    beside : tuple of str
        Columns of a CSV, or keys in JSON, that belong to a puzzle: of the first that is there,
        `parse` is given the pair (puzzle, value). Default none.
    identifiers : int
        Puzzle identifiers that `encode` may give. Default 1: all are 0.
    names : tuple of str
        Name of each identifier, where a model knows puzzles by name; see `with_names`. Default
        none.
    has_data_sets : bool
        Whether `source` draws from a data set that its options name, instead of generating.
        Default False.
    base_model : str or None
        Bundled model of another domain that solves these puzzles with the same weights, by the
        groups that this domain states or its puzzles bring; on boards of another size where its
        values are interchangeable. Default none.
    comment : str or None
        What a comment line begins with in files of such puzzles. Default ``#``.
    heads : mapping from name to int
        Auxiliary heads over the cells that `targets` teaches, and their classes. Default none.
    decode_heads : tuple of str
        Those heads that `alternatives` reads. Default none: an answer is the best token a cell.
    adapts : bool
        Whether tasks are explained by demonstrations, from which a network can learn one task at
        test time (`Solver.adapt`). Default False.
    tries : int
        Answers that may be handed in for an input, as scores of such puzzles count. Default 1.
    showcase : tuple of (name, line)
        Puzzles that a page offers to choose from, as `read` reads them. Default none: generated
        ones are shown, where `generate` is implemented.
    Options, EvaluationOptions : type of pydantic model
        The options of `generate` and `evaluation`; see `Trainable`.
    """

    name: str
    shape: Shape
    vocabulary: Vocabulary
    structure: Structure | None = None
    has_rules: bool = True
    has_symmetries: bool = False
    any_size: bool = False
    clues_in_cells: bool = True
    own_groups: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    identifiers: int = 1
    names: tuple[str, ...] = ()
    has_data_sets: bool = False
    base_model: str | None = None
    comment: str | None = "#"
    heads: Mapping[str, int] = MappingProxyType({})
    decode_heads: tuple[str, ...] = ()
    adapts: bool = False
    tries: int = 1
    showcase: tuple[tuple[str, str], ...] = ()

    @property
    def family(self) -> str:
        """Name without a size: what domains of all sizes share."""
        return self.name

    @property
    def seq_len(self) -> int:
        """Number of cells N of a board of the usual shape."""
        return self.shape[0] * self.shape[1]

    @property
    def has_generator(self) -> bool:
        """Whether puzzles can be made: `generate` is implemented."""
        return type(self).generate is not Domain.generate

    # --- what a puzzle is: a subclass says these -----------------------------------------------

    @abstractmethod
    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
        """Return whether an answer solves input `index` of a task, by rules and givens alone.

        None where the domain has no rules (`has_rules`).
        """

    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        """Make one puzzle with its answer.

        Parameters
        ----------
        rng : numpy Generator
            The only source of chance: equal states give equal puzzles.
        **options
            Fields of `Options`, all of them.
        """
        raise InvalidInputError(f"puzzles of {self.name} can't be generated; read them from a file")

    def check(self, task: Task) -> None:
        """Raise `InvalidInputError` where a task breaks the rules before anyone solves it, or where
        plain deduction, of a millisecond or so, shows that it has no solution."""

    def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
        """Return how many answers to input `index` of a task are right, at most `limit`.

        None where the domain can't tell, which is the default, or not within a moment. 0 must be
        proven: the search asks, with ``limit=1``, about a puzzle that the network's first attempt
        failed on, and on 0 ends with ``stopped_by="refuted"``. `Solution.unique` asks as well.
        """
        return None

    def peers(self, task: Task, index: int = 0) -> npt.NDArray[np.bool_] | None:
        """Return which cells of input `index` may not hold the same value as which, (N, N).

        For ``explore="tree"``: a guess tells most where many cells are kept from its value. None,
        the default: the domain doesn't say.
        """
        return None

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """Draw a member of the domain's symmetry group (`has_symmetries`)."""
        raise InvalidInputError(f"{self.name} states no symmetries")

    def symmetry_for(self, task: Task, rng: np.random.Generator) -> Symmetry:
        """Draw a symmetry under which a task can be encoded; here `random_symmetry`.

        For domains whose models know a task by name under some symmetries alone.
        """
        return self.random_symmetry(rng)

    def resized(self, shape: Shape) -> Domain:
        """Return the same kind of puzzle on boards of another shape.

        Raises
        ------
        InvalidInputError
            If there is no such board.
        """
        if shape == self.shape:
            return self
        if not self.any_size:
            raise InvalidInputError(
                f"{self.name} takes boards of {times(self.shape)}; got {times(shape)}"
            )
        other = copy.copy(self)
        for name in list(vars(other)):  # what was derived from the old shape
            if isinstance(getattr(type(self), name, None), cached_property):
                del vars(other)[name]
        other.shape = shape
        other.name = f"{self.family}-{times(shape)}"
        other.structure = None if self.structure is None else self.structure.resized(shape)
        return other

    def with_names(self, names: Sequence[str]) -> Domain:
        """Return the domain as a model sees it whose puzzle embedding has rows of these names.

        Here itself: most domains have no use for a name.
        """
        return self

    # --- verdicts on many answers ------------------------------------------------------------

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]], shape: Shape | None = None
    ) -> npt.NDArray[np.bool_]:
        """Verify a batch of encoded puzzles, vectorised; called only where there are rules.

        Parameters
        ----------
        tokens, answers : integer arrays of shape (batch, N)
        shape : (rows, columns), optional
            Of the boards; default the domain's own.

        Returns
        -------
        bool array of shape (batch,)
        """
        verdicts = (
            self.verify(self.decode_task(puzzle, shape), self.decode(answer, shape))
            for puzzle, answer in zip(tokens, answers, strict=True)
        )
        return np.fromiter(map(bool, verdicts), bool, len(tokens))

    def rules_out(self, answer: list[int]) -> bool:
        """Return True only where one answer can't be right, at a glance; for speed alone.

        A single solve asks after every step of the network, most often about an answer that is
        wrong, and calls `verify_tokens` where this says False (here: always). Worth overriding with
        a few operations on the list itself.

        Parameters
        ----------
        answer : list of N int
            Tokens, with the givens in their places.
        """
        return False

    def alternatives(
        self,
        tokens: Tokens,
        heads: Mapping[str, npt.NDArray[np.float32]],
        shape: Shape | None = None,
    ) -> Sequence[npt.NDArray[np.integer[Any]]]:
        """Return further answers that auxiliary heads stand for; here none.

        Where the rules refute the best token a cell, the search asks them about these in order; the
        first that they confirm is the answer. Without rules there is nothing to choose by, and they
        are not asked for.

        Parameters
        ----------
        tokens : int32 array of shape (batch, N)
            Puzzles, as given to `verify_tokens`.
        heads : mapping from name to float32 array of shape (batch, N, width)
            Logits of all of `decode_heads`.
        shape : (rows, columns), optional
            Of the boards; default the domain's own.

        Returns
        -------
        sequence of integer arrays of shape (batch, N)
            Tokens of one answer a puzzle each, with the givens in their places, in order of
            preference.
        """
        return ()

    # --- from the outside world to a task ----------------------------------------------------

    def parse(self, puzzle: object) -> Task:
        """Read a puzzle in any accepted form and check it.

        Parameters
        ----------
        puzzle : Task, Grid, str, or array-like of shape `shape` or (N,)
            Text is read by `read`. Arrays and nested sequences hold whole numbers, or cells as
            text; None, NaN, an empty string and what a masked array hides are an empty cell. A
            sequence of strings may hold a row each.

        Raises
        ------
        InvalidInputError
            If it can't be read, has another shape, holds unknown values or breaks the rules.
        """
        task = puzzle if isinstance(puzzle, Task) else Task((self._grid(puzzle),))
        for grid in task.inputs:
            check_grid(self, grid, ("blank", "given"), "a puzzle")
        self.check(task)
        return task

    def parse_answer(self, answer: object) -> Grid:
        """Read an answer in the forms that `parse` takes; rules are not asked.

        Raises
        ------
        InvalidInputError
            If it can't be read, has another shape or holds unknown values.
        """
        grid = self._grid(answer)
        check_grid(self, grid, ("answer", "given", "blank"), "an answer")
        return grid

    def read(self, text: str) -> Grid:
        """Read a board from text: here, one symbol a cell, on one line or a line a row.

        Whitespace is skipped unless a space is a symbol of the vocabulary; then only empty lines
        are.

        Raises
        ------
        InvalidInputError
            Naming the character, or the number of cells found and expected.
        """
        return read_symbols(self, text)

    def from_data(self, data: Any) -> Any:
        """Return what `parse` is to be given for a board that a file holds as nested lists.

        Here the lists themselves. Overridden where numbers in files mean something else than the
        values of a `Grid`.
        """
        return data

    def read_file(
        self, text: str, name: str, path: Path | None = None
    ) -> Iterator[Task | TRMError] | None:
        """Read a puzzle file of a form that only this kind of puzzle has; here none: None.

        Asked for every text that is neither CSV with a header nor a puzzle a line, before boards
        are looked for in it.

        Parameters
        ----------
        text : str
            The whole file.
        name : str
            Of the file, for names of tasks and for errors.
        path : Path, optional
            Where it lies, if it is a file: others may lie beside it.

        Returns
        -------
        iterator of Task or TRMError, or None
            None: the text is in another form.

        Raises
        ------
        InvalidInputError
            If it is in a form of this domain, but holds no puzzle.
        """
        return None

    def cells_in(self, line: str) -> int:
        """Return how many cells a line of a file shows; 0: it only separates or decorates."""
        keeps_spaces = self.vocabulary.value_of(" ") is not None
        return len(line.rstrip("\r\n") if keeps_spaces else "".join(line.split()))

    def is_whole(self, line: str) -> bool:
        """Return whether a line of a file is a whole puzzle: too long for a row of a board."""
        cells = self.cells_in(line)
        if self.any_size:  # a line alone says no other shape than the usual one
            return cells == self.seq_len
        return cells > self.shape[1] or self.shape[0] == 1

    def _grid(self, value: object) -> Grid:
        return grid_of(self, value)

    # --- between tasks and tokens ------------------------------------------------------------

    def encode(self, task: Task, index: int = 0) -> Encoded:
        """Return input `index` of a task as a network takes it."""
        grid = task.inputs[index]
        tokens = self.encode_grid(grid)
        groups = self.groups_of(task, index) if self.own_groups else None
        return Encoded(tokens, self.vocabulary.is_given[tokens], grid.shape, groups=groups)

    def groups_of(self, task: Task, index: int = 0) -> GroupsOf:
        """Return the groups that come with input `index` of a task, for all of `own_groups`.

        Returns
        -------
        mapping from weights key to uint8 array of shape (groups, N)
            1 where a cell is in a group; as many groups as the structure states for the key, rows
            of zeros where the puzzle has fewer.
        """
        raise InvalidInputError(f"puzzles of {self.name} have no groups of their own")

    def encode_answer(self, task: Task, answer: Grid, index: int = 0) -> Tokens:
        """Return an answer to input `index` of a task as int32 tokens of shape (N,)."""
        return self.encode_grid(answer)

    def encode_grid(self, grid: Grid) -> Tokens:
        """Return a board as int32 tokens of shape (N,): the value v is token ``v + first``."""
        return grid.cells.reshape(-1).astype(np.int32) + self.vocabulary.first

    def decode(self, tokens: npt.NDArray[np.integer[Any]], shape: Shape | None = None) -> Grid:
        """Return tokens of shape (N,) as a board; padding reads as the value 0."""
        values = np.maximum(np.asarray(tokens, np.int64) - self.vocabulary.first, 0)
        return Grid(values.reshape(self.shape if shape is None else shape))

    def decode_task(self, tokens: npt.NDArray[np.integer[Any]], shape: Shape | None = None) -> Task:
        """Return the task that tokens of shape (N,) encode."""
        return Task((self.decode(tokens, shape),))

    # --- for people --------------------------------------------------------------------------

    def format(self, grid: Grid) -> str:
        """Return a board as people like to see it: here, a line of symbols a row."""
        symbols = self.vocabulary.symbols
        return "\n".join(line_of(symbols, row) for row in grid)

    def to_line(self, grid: Grid) -> str:
        """Return a board on one line, row by row, as `parse` reads it."""
        return line_of(self.vocabulary.symbols, grid.cells)

    def to_text(self, task: Task, index: int = 0) -> str:
        """Return input `index` of a task as `parse` reads it: here its board on one line."""
        return self.to_line(task.inputs[index])

    def submission(self, tasks: Sequence[Task], attempts: Mapping[str, Any]) -> Any:
        """Return attempts in the form that they are handed in, as plain data for JSON.

        Parameters
        ----------
        tasks : sequence of Task
        attempts : mapping from the name of a task to sequences of sequences of Grid
            For each input up to `tries` answers, the best first.

        Raises
        ------
        InvalidInputError
            Here always: the domain states no such form.
        """
        raise InvalidInputError(f"{self.name} has no submission format")

    def borders(self, shape: Shape) -> tuple[Border, ...]:
        """Return the thick lines of a board: here, its frame."""
        return frame(shape)

    def shaded(self, shape: Shape) -> npt.NDArray[np.bool_] | None:
        """Return the cells of a board on a ground of their own, (rows, columns); here None."""
        return None

    def picture(
        self,
        task: Task,
        answer: Grid | None = None,
        index: int = 0,
        *,
        certainty: npt.NDArray[np.floating[Any]] | None = None,
        before: Grid | None = None,
        tried: Collection[tuple[int, int]] = (),
    ) -> Picture:
        """Return what is drawn of input `index` of a task, or of an answer to it.

        Parameters
        ----------
        task : Task
        answer : Grid, optional
            Default: the puzzle itself.
        index : int
        certainty : array of shape (rows, columns), optional
            How sure the model is of each cell, 0..1. Default: certain everywhere.
        before : Grid, optional
            The answer a step before; cells that differ are marked.
        tried : collection of (row, column)
            Cells that an attempt fills in.
        """
        return picture_of(self, task, answer, index, certainty, before, tried)

    def describe(self) -> dict[str, Any]:
        """Return what a host in another language needs, as plain data for JSON."""
        shaded = self.shaded(self.shape)
        return {
            "name": self.name,
            "shape": list(self.shape),
            "any_size": self.any_size,
            "tokens": self.vocabulary.describe(),
            "borders": [list(line) for line in self.borders(self.shape)],
            **({} if shaded is None else {"shaded": np.flatnonzero(shaded).tolist()}),
        }

    def __repr__(self) -> str:
        return f"<Domain {self.name}>"


__all__ = ["Domain", "Encoded", "Examples", "GeneratedSource", "NoOptions", "Shape", "Source"]
