"""Jigsaw Sudoku: every puzzle brings regions of its own in place of the boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from trm_sdk.domains.base import Domain, Shape
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.sudoku import ClueOptions, base_model, with_clues_that_fit
from trm_sdk.domains.sudoku import of_size as sudoku_of_size
from trm_sdk.domains.sudoku.variants import BOX_WEIGHTS
from trm_sdk.domains.sudoku.variants.jigsaw import text as texts
from trm_sdk.domains.symmetry import Rearrangement
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown, times
from trm_sdk.render.picture import Picture
from trm_sdk.structure import Grouping, Structure, columns, groups, rows, values
from trm_sdk.task import Task
from trm_sdk.validation import is_int

if TYPE_CHECKING:
    from trm_sdk.domains.data import Examples, GroupsOf, Tokens

#: Key of the regions in a task's metadata.
REGIONS = "regions"
_SMALLEST, _LARGEST = 3, 16
#: Puzzles of 9x9 for a page to offer: generated ones, the first two with six clues put back.
_SHOWCASE = (
    (
        "An everyday one",
        "5...7...4..5...76..........4.1.8....6...2...127...1.56..3..6.8..........32.....9. "
        "111111234112222234152223334655553374655655374666688374996688774998888774999998774",
    ),
    (
        "Another",
        "....8.3....3...498........9....5...........4.....73.6.46..9...23....8....5.8..9.. "
        "122222233111232333111233344155556644155766444555776644877777699888879669888899999",
    ),
    (
        "A minimal one",
        "..9.2...8....9.....4.1.....6.............4.......3.8......4..........9.2.5..6.3.7 "
        "111233333112233433511222446511222466554444466557788886577889666557889999777789999",
    ),
)


class Jigsaw(BoardDomain):
    """Fill the board so that every row, column and region holds each value once.

    A puzzle's regions are in its task's metadata, under "regions": a `Grid` of the numbers 1 to
    `size`, in the order of the regions' first cells. They must be as many as the board has rows,
    of as many cells; whether the cells of a region touch is not asked (those of toroidal jigsaws
    don't).

    Parameters
    ----------
    size : int
        Rows, columns, regions and values, 3 to 16. Default 9.

    Examples
    --------
    >>> task = Jigsaw(4).parse("1.3.  ..2.  ....  ....   1112 1322 3324 3444")
    >>> task.metadata["regions"].tolist()[0]
    [1, 1, 1, 2]
    """

    has_symmetries = True
    clues_in_cells = False
    own_groups = (BOX_WEIGHTS,)
    beside = (REGIONS, "region", "layout", "shape")
    Options: ClassVar[type[BaseModel]] = ClueOptions

    def __init__(self, size: int = 9) -> None:
        if not is_int(size) or not _SMALLEST <= size <= _LARGEST:
            raise InvalidInputError(
                f"a jigsaw must have {_SMALLEST} to {_LARGEST} rows; got {shown(size)}"
            )
        self.size = size
        self.name = "jigsaw" if size == 9 else f"jigsaw-{size}x{size}"
        self.shape = (size, size)
        self.vocabulary = Vocabulary.numbers(size)
        self.base_model = base_model(self.family, size)
        self.showcase = _SHOWCASE if size == 9 else ()
        self.distinct: tuple[Grouping, ...] = (rows("line"), columns("line"))
        sets = _members(_first_regions(size).reshape(-1))
        regions = groups("region", sets, weights=BOX_WEIGHTS)
        self.structure = Structure(shape=self.shape, relations=(*self.distinct, regions, values()))

    @property
    def family(self) -> str:
        """Name without a size."""
        return "jigsaw"

    def resized(self, shape: Shape) -> Jigsaw:
        """Return the jigsaw on boards of another shape; see `of_size`."""
        return self if shape == self.shape else of_size(*shape)

    # --- regions ------------------------------------------------------------------------------

    def regions_of(self, task: Task) -> npt.NDArray[np.intp]:
        """Return the region of each cell, numbered from 0 in the order of their first cells.

        Raises
        ------
        InvalidInputError
            If the task has none, or they are not as many as the board has rows, of as many cells.
        """
        regions = task.metadata.get(REGIONS)
        if regions is None:
            raise InvalidInputError(
                f"a puzzle of {self.name} needs its regions: write them behind it, a symbol a cell "
                f"({self.seq_len} cells, a blank, {self.seq_len} regions), or below it as a second "
                "board, or draw them"
            )
        return texts.numbered(regions, self.size)

    def groups_of(self, task: Task, index: int = 0) -> GroupsOf:
        """Return the regions as groups; see `Domain.groups_of`."""
        return {BOX_WEIGHTS: _one_hot(self.regions_of(task))}

    # --- text ---------------------------------------------------------------------------------

    def parse(self, puzzle: object) -> Task:
        """Read a puzzle with its regions, in any accepted form, and check it.

        Parameters
        ----------
        puzzle : Task, str, or pair (puzzle, regions)
            Text holds the puzzle and its regions: on one line, parted by a blank; one board below
            the other; or drawn, with walls between regions (`texts.draw`). A region is any
            symbol. A pair holds two boards in any form that `Domain.parse` takes; regions may be
            any whole numbers. A task has them in its metadata.

        Raises
        ------
        InvalidInputError
            If it can't be read, has no regions, or breaks the rules.
        """
        if isinstance(puzzle, Task):
            task = puzzle
        elif isinstance(puzzle, str):
            found = texts.split(puzzle, self.size)
            regions = {} if found is None else {REGIONS: found[1]}
            task = Task((self._grid(puzzle if found is None else found[0]),), metadata=regions)
        elif isinstance(puzzle, Sequence) and len(puzzle) == 2:
            task = Task((self._grid(puzzle[0]),), metadata={REGIONS: puzzle[1]})
        else:
            task = Task((self._grid(puzzle),))
        numbers = Grid(self.regions_of(task).reshape(self.shape) + 1)
        metadata = {**task.metadata, REGIONS: numbers}
        return super().parse(dataclasses.replace(task, metadata=metadata))

    def read(self, text: str) -> Grid:
        """Read a board; regions that are there as well are left out (`parse` reads them)."""
        found = texts.split(text, self.size) if isinstance(text, str) else None
        return super().read(text if found is None else found[0])

    def read_file(
        self, text: str, name: str, path: Path | None = None
    ) -> Iterator[Task | TRMError] | None:
        """Read files of drawings, and of boards each with its regions below; see `Domain`."""
        found = texts.blocks(text, self.size, self.comment)
        return (self._task(block, f"{name}:{line}") for line, block in found) if found else None

    def _task(self, text: str, name: str) -> Task | TRMError:
        try:
            return dataclasses.replace(self.parse(text), name=name)
        except TRMError as error:
            return InvalidInputError(f"{name}: {error}")

    def to_text(self, task: Task, index: int = 0) -> str:
        """Return a puzzle and its regions on one line, as `parse` reads it."""
        symbols = self.vocabulary.symbols[1:]
        regions = "".join(symbols[region] for region in self.regions_of(task).tolist())
        return f"{self.to_line(task.inputs[index])} {regions}"

    def draw(self, task: Task, answer: Grid | None = None) -> str:
        """Return a puzzle, or an answer to it, with walls drawn between regions."""
        regions = self.regions_of(task).reshape(self.shape)
        grid = task.grid if answer is None else answer
        return texts.draw(grid.tolist(), regions.tolist(), self.vocabulary.symbols)

    # --- rules --------------------------------------------------------------------------------

    def for_puzzle(self, task: Task, index: int = 0) -> BoardDomain:
        """Return the rules of one puzzle: rows, columns and its own regions."""
        return _rules_of(self, self.regions_of(task).tobytes())

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]], shape: Shape | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return False for all: without its regions no answer can be confirmed."""
        return np.zeros(len(answers), bool)

    # --- symmetries, pictures -----------------------------------------------------------------

    def random_symmetry(self, rng: np.random.Generator) -> Rearrangement:
        """Relabel digits, turn and mirror the board: its regions move with the cells."""
        cells = np.arange(self.seq_len).reshape(self.shape)
        renamed = np.concatenate(([0], rng.permutation(self.size) + 1)).astype(np.int8)
        return _RegionSymmetry(_turned(cells, int(rng.integers(8))), renamed, self.shape)

    def picture(self, task: Task, *arguments: Any, **more: Any) -> Picture:
        """Return what is drawn of a puzzle, or of an answer to it, with the regions' borders."""
        return self.for_puzzle(task).picture(task, *arguments, **more)

    # --- for training: what is made by numba, which solving does without ------------------------

    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        """Make one puzzle with a unique solution, and regions that each hang together."""
        made = self.examples(1, int(rng.integers(2**63)), options)
        assert made.groups is not None
        regions = made.groups[BOX_WEIGHTS][0].argmax(0)
        puzzle, answer = self.decode(made.tokens[0]), self.decode(made.answers[0])
        metadata = {REGIONS: Grid(regions.reshape(self.shape) + 1)}
        return Task((puzzle,), answers=(answer,), metadata=metadata)

    def examples(self, n: int, seed: int, options: Mapping[str, Any] | None = None) -> Examples:
        """Return the first n of an endless list of generated puzzles, one list a seed."""
        from trm_sdk.domains.sudoku import engine
        from trm_sdk.domains.sudoku.data import encode_boards

        clues = self.generator_options(options or {})["clues_added"]
        puzzles, solutions, regions = engine.generate_jigsaws(
            n, _first_regions(self.size), seed=seed, clues_added=clues
        )
        made = encode_boards(self, puzzles, solutions)
        return made._replace(groups={BOX_WEIGHTS: _one_hot(regions)})

    def generator_options(self, options: Any) -> dict[str, Any]:
        """Return options of `generate` with its defaults, checked; see `Domain`."""
        return with_clues_that_fit(super().generator_options(options), self.seq_len)

    def fingerprint(self, tokens: Tokens, shape: Shape | None = None) -> npt.NDArray[np.uint64]:
        """Return a hash that is equal for puzzles whose givens are equal up to symmetry.

        Regions are not looked at: puzzles of equal givens count as the same.
        """
        board = np.arange(self.seq_len).reshape(self.shape)
        prints = []
        for turn in range(8):
            moved = tokens[:, _turned(board, turn)]
            # Values by the order in which they first come.
            names = np.zeros((len(moved), len(self.vocabulary) + 1), np.int32)
            known = np.zeros(len(moved), np.int32)
            named = np.zeros_like(moved)
            each = np.arange(len(moved))
            for cell in range(self.seq_len):
                token = moved[:, cell]
                new = self.vocabulary.is_given[token] & (names[each, token] == 0)
                known += new
                names[each[new], token[new]] = known[new]
                named[:, cell] = names[each, token]
            prints.append(Domain.fingerprint(self, named))
        least: npt.NDArray[np.uint64] = np.min(prints, axis=0)
        return least


class _RegionSymmetry(Rearrangement):
    """Moves the regions of a task with its cells."""

    def apply_metadata(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        if REGIONS not in metadata:
            return metadata
        regions = texts.numbered(metadata[REGIONS], self.shape[0]).reshape(self.shape)
        moved = texts.numbered(self.move(regions), self.shape[0])
        return {**metadata, REGIONS: Grid(moved.reshape(self.shape) + 1)}

    def inverse(self) -> _RegionSymmetry:
        plain = super().inverse()
        return _RegionSymmetry(plain.cells, plain.values, plain.shape, plain.result)


def of_size(rows: int, columns: int) -> Jigsaw:
    """Return the jigsaw of a board size.

    Raises
    ------
    InvalidInputError
        If the board is not square, or has not 3 to 16 rows.
    """
    if rows != columns:
        raise InvalidInputError(f"a jigsaw must be square; got {times((rows, columns))}")
    return Jigsaw(rows)


@lru_cache(maxsize=256)
def _rules_of(jigsaw: Jigsaw, regions: bytes) -> BoardDomain:
    """The rules of a puzzle with these regions, intp numbers from 0."""
    rules = BoardDomain()
    rules.name, rules.shape, rules.vocabulary = jigsaw.name, jigsaw.shape, jigsaw.vocabulary
    sets = _members(np.frombuffer(regions, np.intp))
    rules.distinct = (*jigsaw.distinct, groups("region", sets, weights=BOX_WEIGHTS))
    return rules


def _first_regions(size: int) -> npt.NDArray[np.intp]:
    """Regions that random ones are made from: boxes where the size has such, else rows."""
    try:
        high, wide = sudoku_of_size(size, size).box
    except InvalidInputError:
        high, wide = 1, size
    row, column = np.indices((size, size))
    regions: npt.NDArray[np.intp] = row // high * high + column // wide
    return regions


def _members(regions: npt.NDArray[np.intp]) -> list[list[int]]:
    return [np.flatnonzero(regions == one).tolist() for one in range(int(regions.max()) + 1)]


def _one_hot(regions: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
    """Regions of shape (..., N), numbered from 0, as groups (..., regions, N)."""
    size = round(regions.shape[-1] ** 0.5)
    found: npt.NDArray[np.uint8] = np.equal(regions[..., None, :], np.arange(size)[:, None]).astype(
        np.uint8
    )
    return found


def _turned(board: npt.NDArray[np.intp], number: int) -> npt.NDArray[np.intp]:
    """The cells of a board after one of the eight turns, flat."""
    mirrored = board[:, ::-1] if number >= 4 else board
    return np.ascontiguousarray(np.rot90(mirrored, number % 4)).reshape(-1)


__all__ = ["REGIONS", "Jigsaw", "of_size"]
