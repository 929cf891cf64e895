"""Sudoku of any box shape: 4x4, 6x6 (2x3 boxes), 9x9, 16x16 and between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trm_sdk.domains.base import Shape
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.sudoku import formats
from trm_sdk.domains.symmetry import Rearrangement
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.structure import Grouping, Structure, boxes, columns, rows, values
from trm_sdk.task import Task
from trm_sdk.validation import is_int

if TYPE_CHECKING:
    from trm_sdk.domains.data import Examples, Source, Tokens


class ClueOptions(BaseModel):
    """How puzzles are made: unique solutions, minimal, then with clues added back.

    Attributes
    ----------
    clues_added : (low, high)
        Clues put back into a minimal puzzle, drawn uniformly, inclusive. 0 is hardest. A pair alone
        may stand for the whole options.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    clues_added: tuple[int, int] = Field(default=(0, 0))

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, data: Any) -> Any:
        return {"clues_added": data} if isinstance(data, (list, tuple)) else data

    @model_validator(mode="after")
    def _consistent(self) -> ClueOptions:
        low, high = self.clues_added
        if not 0 <= low <= high:
            raise ValueError(
                f"clues_added must be (low, high) with 0 <= low <= high; got {self.clues_added}"
            )
        return self


class SudokuOptions(ClueOptions):
    """How puzzles are made: unique solutions, minimal, then with clues added back.

    Attributes
    ----------
    clues_added : (low, high)
        Clues put back into a minimal puzzle, drawn uniformly, inclusive. 0 is hardest. A pair alone
        may stand for the whole options.
    hard : bool
        Take the minimal puzzles from a pool that climbs in rating by clue swaps, instead of from
        random removal.
    rating : {"guesses", "probing"}
        ``hard`` only: what is climbed in, see `engine.rate` and `engine.probe`. By guesses the pool
        gets as hard as collections for search programs; by probing, in 800 rounds or so, as hard as
        the hardest puzzles known.
    pool, first_rounds, rounds : int
        ``hard`` only: puzzles in the pool, swaps tried on each before the first draw, and with
        every 64 puzzles drawn. A random minimal 9x9 puzzle is rated about 2 by guesses (mean
        backtracks); after 50, 100 and 400 rounds the median is about 30, 80 and 600.
    lifetime : int or None
        ``hard`` only: rounds after which a puzzle gives its place in the pool to a new random one.
        A pool whose puzzles stay is learned by heart. None: they stay.
    families : int or None
        ``hard`` only: parts of the pool, of equal sizes, that are not related and are renewed as a
        whole; else the pool becomes one family, which is learned by heart as well. None: one.
    ceiling : float or None
        ``hard`` only: ratings from here on count as equal, so that the pool walks among puzzles as
        hard, instead of climbing to ever rarer ones. None: it climbs.
    """

    hard: bool = False
    rating: Literal["guesses", "probing"] = "guesses"
    pool: int = Field(default=500, gt=0)
    first_rounds: int = Field(default=50, ge=0)
    rounds: int = Field(default=4, ge=0)
    lifetime: int | None = Field(default=100, ge=1)
    families: int | None = Field(default=None, ge=1)
    ceiling: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _for_pools(self) -> SudokuOptions:
        if not self.hard:
            for name in SudokuOptions.model_fields:
                if name in ClueOptions.model_fields or name == "hard":
                    continue
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} applies only to pools of hard puzzles (hard: true)")
        elif self.families is not None and self.pool % self.families:
            raise ValueError(f"families must divide the pool of {self.pool}; got {self.families}")
        return self


#: Puzzles for a page to offer, by size of board.
_SHOWCASE = {
    4: (("A small one", "1.....3..4.....2"),),
    9: (
        (
            "An everyday one",
            "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
        ),
        (
            "Against brute force",
            "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9",
        ),
        (
            "AI Escargot",
            "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3..",
        ),
        (
            "Inkala, 2012",
            "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
        ),
        (
            "17 givens",
            "...8.1..........435............7.8........1...2..3....6......75..34........2..6..",
        ),
    ),
    16: (
        (
            "Half given",
            ".1..B23.A.D5.6G8..6B.F.48..9.5ADD.......F..E.71.A5..976D31...E.."
            "83G.A.21.FE.74..B7..64E9C....2.GEA..3.7F9...8D5B..5F8.G..7.AE..1"
            "4FB.5...2E...19C5...F.....G1..2A..9....243.7...E.8A.....59..G3B7"
            "F9..7E...C.D1B8.7E...B..1...6A.52..D..F.......E9.4.AD..8..532C..",
        ),
        (
            "Two in five given",
            "92.E.1.D..B46....57BA.2.......8.D...B..8..32.E..GA...4...7.8..F."
            "3....7D.....A.5B2...39..A.F..CGD.GB...C...59.6....A.6.E..D7.3.92"
            "..C.4.9....3...G83E...5.D2..C...4.6..8A..F.......D2..3.....A8F.."
            "...6....B..G....A7.....B.68..D4..8.35.4.CE..2....C.28G..49...A.3",
        ),
    ),
}


class Sudoku(BoardDomain):
    """Fill the board so that every row, column and box holds each value once.

    Parameters
    ----------
    box_rows, box_columns : int
        Shape of a box; the board has ``size = box_rows * box_columns`` rows and columns.
        Default 3 x 3.

    Raises
    ------
    InvalidInputError
        If these are not integers from 1, or there would not be 2 to 35 values.

    Attributes
    ----------
    size : int
        Rows, columns and values of the board.
    box : (rows, columns)
        Shape of a box. Unusual ones stand in `name`: ``sudoku-boxes-3x2``.
    """

    has_symmetries = True
    Options: ClassVar[type[BaseModel]] = SudokuOptions
    _family = "sudoku"

    def __init__(self, box_rows: int = 3, box_columns: int = 3) -> None:
        sides = (box_rows, box_columns)
        if (
            not all(is_int(side) and side >= 1 for side in sides)
            or not 2 <= box_rows * box_columns <= 35
        ):
            raise InvalidInputError(
                "a Sudoku must have 2 to 35 values; got boxes of "
                f"{shown(box_rows)}x{shown(box_columns)}"
            )
        size = box_rows * box_columns
        self.box = sides
        self.size = size
        self.name = f"{self._family}-boxes-{box_rows}x{box_columns}"
        if sides == _usual_box(size) and box_rows > 1:
            self.name = self._family if size == 9 else f"{self._family}-{size}x{size}"
        self.shape = (size, size)
        self.vocabulary = Vocabulary.numbers(size)
        self.showcase = self._shown(size)
        base = base_model(self._family, size)
        self.base_model = base if base != self.name else None
        # Rows and columns change places by transposition where boxes are square, only there.
        line = "line" if box_rows == box_columns else None
        self.distinct: tuple[Grouping, ...] = (
            rows(line),
            columns(line),
            boxes(*sides),
            *self._further_groups(),
        )
        self.structure = Structure(shape=self.shape, relations=(*self.distinct, values()))

    @property
    def family(self) -> str:
        """Name without a size."""
        return self._family

    def _further_groups(self) -> tuple[Grouping, ...]:
        """Groups that hold every value once, beside rows, columns and boxes: here none."""
        return ()

    @staticmethod
    def _shown(size: int) -> tuple[tuple[str, str], ...]:
        """Puzzles to offer on boards of a size."""
        return _SHOWCASE.get(size, ())

    def resized(self, shape: Shape) -> Sudoku:
        """Return the Sudoku on boards of another shape; see `of_size`."""
        return self if shape == self.shape else of_size(*shape)

    def random_symmetry(self, rng: np.random.Generator) -> Rearrangement:
        """Relabel digits; permute bands, stacks, rows and columns; transpose (square boxes)."""
        high, wide = self.box
        order = _shuffled_lines(rng, wide, high), _shuffled_lines(rng, high, wide)
        cells = np.arange(self.size * self.size).reshape(self.shape)[np.ix_(*order)]
        if high == wide and rng.integers(2):
            cells = cells.T
        renamed = np.concatenate(([0], rng.permutation(self.size) + 1)).astype(np.int8)
        return Rearrangement(np.ascontiguousarray(cells).reshape(-1), renamed, self.shape)

    def read(self, text: str) -> Grid:
        """Read a board in any form that boards of numbers have, or only Sudokus; see `formats`."""
        self.refuse_much(text)
        if isinstance(text, str):
            special = formats.read_line(text, self)
            if special is not None:
                return special
        try:
            grid = super().read(text)
        except InvalidInputError as error:
            marks = formats.read_pencil_marks(text, self) if isinstance(text, str) else None
            if marks is None:
                raise self._naming_size(text, error) from None
            return marks
        if self.size <= 9 < grid.cells.max():  # numbers of several digits
            return formats.read_pencil_marks(text, self) or grid
        return grid

    def _naming_size(self, text: str, error: InvalidInputError) -> InvalidInputError:
        """The error of a text that can't be read, with the domain of boards that are as large."""
        cells = "".join(text.split()) if isinstance(text, str) else ""
        side = math.isqrt(len(cells))
        if side**2 != len(cells) or not all(cell in ".-_*" or cell.isalnum() for cell in cells):
            return error
        try:
            other = self.resized((side, side))
        except InvalidInputError:
            return error
        if other is self:
            return error
        return InvalidInputError(
            f"{error}; boards of {len(cells)} cells are those of {other.name!r}"
        )

    def read_file(
        self, text: str, name: str, path: Path | None = None
    ) -> Iterator[Task | TRMError] | None:
        """Read files with sections (``.sdk``, ``.ss``) and OpenSudoku's XML; see `Domain`."""
        return formats.read_file(text, name, self)

    def format(self, grid: Grid) -> str:
        """Return the board with its boxes drawn."""
        high, wide = self.box
        rule = "+".join(["-" * (2 * wide + 1)] * high)
        lines = []
        for number, row in enumerate(super().format(grid).splitlines()):
            if number and number % high == 0:
                lines.append(rule)
            parts = [row[start : start + wide] for start in range(0, self.size, wide)]
            lines.append("|".join(f" {' '.join(part)} " for part in parts))
        return "\n".join(lines)

    # --- for training: what is made by numba, which solving does without ------------------------

    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        """Make one puzzle with a unique solution."""
        made = self.examples(1, int(rng.integers(2**63)), options)
        return Task((self.decode(made.tokens[0]),), answers=(self.decode(made.answers[0]),))

    def examples(self, n: int, seed: int, options: Mapping[str, Any] | None = None) -> Examples:
        """Return the first n of an endless list of generated puzzles, one list a seed."""
        from trm_sdk.domains.sudoku.data import examples

        return examples(self, n, seed, self.generator_options(options or {}))

    def source(self, options: Mapping[str, Any], seed: int) -> Source:
        """Return an endless source of generated puzzles."""
        from trm_sdk.domains.sudoku.data import make_source

        return make_source(self, self.generator_options(options), seed)

    def generator_options(self, options: Any) -> dict[str, Any]:
        """Return options of `generate` with its defaults, checked; see `Domain`."""
        return with_clues_that_fit(super().generator_options(options), self.seq_len)

    def fingerprint(self, tokens: Tokens, shape: Shape | None = None) -> npt.NDArray[np.uint64]:
        """Return a hash that is equal for puzzles that are equal up to symmetry."""
        from trm_sdk.domains.sudoku.data import fingerprint

        return fingerprint(self, tokens)


def with_clues_that_fit(options: dict[str, Any], cells: int) -> dict[str, Any]:
    """Return options of a generator, if no more clues are put back than the board has cells.

    Raises
    ------
    InvalidInputError
        If there are more.
    """
    most = options["clues_added"][1]
    if most > cells:
        raise InvalidInputError(f"clues_added puts back {most} clues on a board of {cells} cells")
    return options


def of_size(rows: int, columns: int) -> Sudoku:
    """Return the Sudoku of a board size: boxes as square as they can be, and lying flat.

    Raises
    ------
    InvalidInputError
        If the board is not square, its side has no factors, or there would be over 35 values.
    """
    box = _usual_box(rows) if is_int(rows) and rows > 0 else (0, 0)
    if rows != columns or box[0] < 2:
        raise InvalidInputError(
            f"a Sudoku must be square, with a side that makes boxes (4, 6, 8, 9, 10, 12 ...); got "
            f"{rows}x{columns}"
        )
    return Sudoku(*box)


def of_boxes(rows: int, columns: int) -> Sudoku:
    """Return the Sudoku whose boxes have this shape, for names such as ``sudoku-boxes-3x2``."""
    return Sudoku(rows, columns)


def base_model(family: str, size: int) -> str | None:
    """Return the bundled model whose weights solve boards of so many rows."""
    if size <= 10:
        return "sudoku"
    return "sudoku-16x16" if family == "sudoku" and size <= 16 else None


def _usual_box(size: int) -> tuple[int, int]:
    """The shape of a board's boxes where its name does not say it."""
    high = math.isqrt(size)
    while high > 1 and size % high:
        high -= 1
    return high, size // high


def _shuffled_lines(rng: np.random.Generator, bands: int, lines: int) -> npt.NDArray[np.intp]:
    """Shuffle whole bands, and the lines within each."""
    return np.concatenate(
        [band * lines + rng.permutation(lines) for band in rng.permutation(bands)]
    )


__all__ = ["Sudoku", "SudokuOptions", "base_model", "of_size"]
