"""Lines that hold a puzzle, perhaps among other things: numbers, ratings, notes, answers, links."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_plus

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task

DELIMITERS = ",;\t"
#: Fields are parted by these in turn, until one of them is a puzzle.
_PARTED = (re.compile(r"\s+"), re.compile(r"[\s:#=&?/\\\"'<>()\[\]{},;|]+"))
_WORD = re.compile(r"[^\W\d_]{2}")
_AROUND = "\"'`,;()[]{}<> \t"
_FLOAT = re.compile(r"\s*[0-9](?:\.[0-9]+)?[eE]\+?[0-9]+\s*")
#: What ``errors="surrogateescape"`` makes of bytes that are not UTF-8.
_NOT_TEXT = re.compile("[\udc80-\udcff]")


class Fields(NamedTuple):
    """The parts of a line that a puzzle was found in."""

    puzzle: Grid
    answer: Grid | None
    metadata: dict[str, str]


@dataclass
class Puzzles:
    """Makes tasks of the texts of one file.

    Attributes
    ----------
    domain : Domain
    name : str
        Of the file.
    """

    domain: Domain
    name: str
    _parted: int | None = field(default=None, init=False)

    @property
    def keeps_spaces(self) -> bool:
        """Whether a space is a cell, so that a row may consist of them."""
        return self.domain.vocabulary.value_of(" ") is not None

    def is_comment(self, line: str) -> bool:
        """Return whether a line is a comment."""
        sign = self.domain.comment
        return sign is not None and line.lstrip().startswith(sign)

    def is_blank(self, line: str) -> bool:
        """Return whether a line separates boards."""
        return not self.text(line)

    def has_words(self, line: str) -> bool:
        """Return whether a line has words, not letters that may all be cells."""
        known = self.domain.vocabulary.value_of
        return bool(_WORD.search(line)) and any(
            one.isalpha() and known(one) is None for one in line
        )

    def text(self, line: str) -> str:
        """Return a line without what surrounds its cells."""
        return line.rstrip("\r\n") if self.keeps_spaces else line.strip()

    def is_puzzle(self, line: str) -> bool:
        """Return whether a line is a whole puzzle, or has one among its fields."""
        if self.is_comment(line) or not self.domain.is_whole(line):
            return False
        return self.board(self.text(line)) is not None or self.fields(self.text(line)) is not None

    def board(self, text: str) -> Grid | None:
        """Return the board that a text is; None where it is not one, of values that exist."""
        try:
            grid = self.domain.read(text)
        except TRMError:
            return None
        values = self.domain.vocabulary.values
        inside = grid.cells.min() >= 0 and grid.cells.max() < values
        return (
            grid if inside and (self.domain.any_size or grid.shape == self.domain.shape) else None
        )

    def task(
        self, puzzle: object, answer: object, name: str, metadata: Mapping[str, object]
    ) -> Task | TRMError:
        """Return the task of a puzzle and its answer, or what is wrong with them."""
        if isinstance(puzzle, str) and _NOT_TEXT.search(puzzle):
            return InvalidInputError(f"{name} can't be read as text: it is not UTF-8")
        beside = {one.strip().lower(): one for one in metadata}
        keys = [beside[one] for one in self.domain.beside if one in beside]
        if keys:
            puzzle = (self._given(puzzle), self._given(metadata[keys[0]]))
            metadata = {key: value for key, value in metadata.items() if key != keys[0]}
        try:
            task = self.domain.parse(self._given(puzzle))
            answers = None if answer is None else (self.domain.parse_answer(self._given(answer)),)
        except TRMError as error:
            return InvalidInputError(f"{name}: {self._mangled(puzzle) or error}")
        return Task(
            task.inputs,
            task.demonstrations,
            task.answers if answers is None else answers,
            name=name,
            metadata={**task.metadata, **metadata},
        )

    def reason(self, puzzle: object) -> str:
        """Return why something is not a puzzle; empty where it is one."""
        try:
            self.domain.parse(self._given(puzzle))
        except TRMError as error:
            return str(error)
        return ""

    def _given(self, board: object) -> object:
        return self.domain.from_data(board) if isinstance(board, list) else board

    def line(self, line: str, number: int) -> Task | TRMError:
        """Return the task of a line that holds one puzzle."""
        text, name = self.text(line), f"{self.name}:{number}"
        task = self.task(text, None, name, {})
        if isinstance(task, Task) or _NOT_TEXT.search(text) or self.board(text) is not None:
            return task
        found = self.fields(text)
        return task if found is None else self.task(*found[:2], name, found.metadata)

    def fields(self, line: str) -> Fields | None:
        """Return the puzzle among the fields of a line, and what stands beside it.

        The first field that is a board is the puzzle, and the second its answer where it has
        nothing blank.
        """
        sign = self.domain.comment
        if sign is not None and f" {sign}" in line.replace("\t", " "):
            before, _, note = line.replace("\t", " ").partition(f" {sign}")
            alone = self.board(before.strip())
            found = self.fields(before) if alone is None else Fields(alone, None, {})
            return found and found._replace(metadata={**found.metadata, "note": note.strip()})
        ways = range(len(DELIMITERS) + (0 if self.keeps_spaces else len(_PARTED)))
        # The file's lines are alike: what parted the last is tried first.
        for way in sorted(ways, key=lambda one: one != self._parted):
            parts = _split(line, way)
            if len(parts) > 1 and (found := self._chosen(parts)) is not None:
                self._parted = way
                return found
        return None

    def _chosen(self, parts: list[str]) -> Fields | None:
        whole = self.domain.is_whole
        boards = [self.board(part) if whole(part) else None for part in parts]
        places = [place for place, board in enumerate(boards) if board is not None]
        if not places:
            return None
        puzzle, answer = boards[places[0]], None
        if self.is_filled(puzzle) and any(map(whole, parts[: places[0]])):
            return None  # the answer to a puzzle that can't be read
        used = places[:1]
        if len(places) > 1 and self.is_filled(boards[places[1]]):
            answer = boards[places[1]]
            used = places[:2]
        metadata = {
            f"column {place + 1}": part.strip()
            for place, part in enumerate(parts)
            if place not in used and part.strip()
        }
        assert puzzle is not None
        return Fields(puzzle, answer, metadata)

    def is_filled(self, grid: Grid | None) -> bool:
        """Return whether no cell of a board still wants an answer."""
        vocabulary = self.domain.vocabulary
        only = set(vocabulary.having("blank")) - set(vocabulary.having("answer"))
        blank = {token - vocabulary.first for token in only}
        return grid is not None and not blank & {value for row in grid.tolist() for value in row}

    def wants_answer(self, task: Task) -> bool:
        """Return whether a task has one board, with something to fill in, and no known answer."""
        return (
            task.answers is None
            and len(task.inputs) == 1
            and not task.demonstrations
            and not self.is_filled(task.inputs[0])
        )

    def is_answer(self, task: Task, puzzle: Task) -> bool:
        """Return whether a task is the filled board that keeps the givens of the one before."""
        board, given = task.inputs[0], puzzle.inputs[0]
        if task.answers is not None or len(task.inputs) > 1 or task.demonstrations:
            return False
        if board.shape != given.shape or not self.is_filled(board):
            return False
        kept = self.domain.vocabulary.given_values[given.cells]
        return bool((board.cells == given.cells)[kept].all())

    def _mangled(self, puzzle: object) -> str | None:
        """What a spreadsheet or a data frame did to digits that it took for a number."""
        if not isinstance(puzzle, str) or not self.domain.vocabulary.is_numbers:
            return None
        text, wanted = puzzle.strip(), self.domain.seq_len
        if self.domain.any_size or wanted < 16:
            return None
        if _FLOAT.fullmatch(text):
            return (
                f"{shown(text)} is a puzzle that was turned into a floating-point number, and its "
                "digits are lost; read the column as text (pandas: dtype=str)"
            )
        digits = text.removesuffix(".0")
        if digits.isascii() and digits.isdigit() and wanted // 2 < len(digits) < wanted:
            return (
                f"expected {wanted} cells; got {len(digits)} digits: leading zeros were lost when "
                "the column was taken for numbers; read it as text (pandas: dtype=str)"
            )
        return None


def _split(line: str, way: int) -> list[str]:
    if way < len(DELIMITERS):
        return split_record(line, DELIMITERS[way])
    parted = _PARTED[way - len(DELIMITERS)]
    text = unquote_plus(line) if way == len(DELIMITERS) + 1 and "%" in line else line
    return [part.strip(_AROUND) for part in parted.split(text.strip())]


def split_record(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line of CSV; none where it is not CSV."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


__all__ = ["DELIMITERS", "Fields", "Puzzles", "split_record"]
