"""BoardDomain: boards of numbers, of a fixed shape, whose empty cells want one each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain, Shape
from trm_sdk.domains.cells import data_in
from trm_sdk.domains.data import Tokens
from trm_sdk.domains.deduction import Deduction
from trm_sdk.domains.plain import from_source, plain, without_labels
from trm_sdk.domains.rows import boards_in, cells_of_line
from trm_sdk.domains.text import BLANKS, read_numbers
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown, times
from trm_sdk.render.picture import Border, edges, frame
from trm_sdk.structure import Grouping
from trm_sdk.task import Task

#: What stands between the cells of a board as people write it.
_NOT_CELLS = re.compile(r"[\s,;|+\-=/\[\]\u2500-\u257f]")
#: Characters that a board takes at most, in any form: a cell's, and a whole board's.
_WIDEST_CELL, _LONGEST = 400, 20_000
#: Sets of cells of equal size, of shape (size, sets): the last axis is the fast one.
_Members = npt.NDArray[np.intp]


class BoardDomain(Domain):
    """A board whose cells hold numbers; 0 is an empty cell, and the value v is token v + 1.

    Where the rules are that no value appears twice in any of some groups of cells (Sudoku, Latin
    squares, X-Sudoku, jigsaws), `distinct` states them, and nothing else need be written but
    `generate`. Other rules go into `verify`.

    Attributes
    ----------
    distinct : tuple of relations
        Rows, columns, boxes, the board or groups (`trm_sdk.structure`) in which every value stands
        at most once. Default none.

    Examples
    --------
    >>> from trm_sdk.domains.vocabulary import Vocabulary
    >>> from trm_sdk.structure import columns, rows
    >>> class Latin(BoardDomain):
    ...     name, shape, vocabulary = "latin-3x3", (3, 3), Vocabulary.numbers(3)
    ...     distinct = (rows(), columns())
    >>> Latin().verify(Latin().parse("1.. .1. ..1"), Grid([[1, 2, 3], [3, 1, 2], [2, 3, 1]]))
    True
    """

    distinct: tuple[Grouping, ...] = ()

    def read(self, text: str) -> Grid:
        """Read a board in any of the usual forms.

        Those of `trm_sdk.domains.text.read_numbers`, or one symbol a cell where values have symbols
        of their own (`Domain.read`); a list as source code has it; rows in which empty cells are
        dashes, ``x`` or spaces (`trm_sdk.domains.rows`); any of these with labels, in markup or in
        other scripts' digits (`trm_sdk.domains.plain`).

        Raises
        ------
        InvalidInputError
            Naming the character, or the number of cells found and expected; or where both ``0`` and
            another character stand for an empty cell on a board of ten values or more, whose first
            may be meant by ``0``.
        """
        self.refuse_much(text)
        try:
            return self._read(text)
        except InvalidInputError:
            found = self._read_plainly(text)
            if found is None:
                raise
            return found

    def refuse_much(self, text: str) -> None:
        """Refuse what is far longer than one board, in whatever form, before any form is tried."""
        longest = max(_LONGEST, _WIDEST_CELL * self.seq_len)
        if not self.any_size and isinstance(text, str) and len(text) > longest:
            raise InvalidInputError(
                f"expected {self.seq_len} cells for a {times(self.shape)} grid; got "
                f"{len(text):,} characters: {shown(text)}"
            )

    def _read_plainly(self, text: str) -> Grid | None:
        """A board in a text that has other things around it; None where it is not found."""
        if self.any_size or not isinstance(text, str):
            return None
        simpler = plain(text)
        numbers = self.vocabulary.is_numbers
        for other in (
            simpler,
            without_labels(simpler, self.shape) if numbers else None,
            from_source(simpler, self.shape) if numbers else None,
        ):
            if other is not None and other != text:
                try:
                    return self._read(other)
                except InvalidInputError:
                    continue
        return None

    def _read(self, text: str) -> Grid:
        try:
            grid = self._cells_of(text)
        except InvalidInputError as error:
            found = self._read_otherwise(text)
            if found is None:
                raise
            if isinstance(found, InvalidInputError):
                raise found from error
            return found
        if self.vocabulary.is_numbers and grid.cells.max() >= self.vocabulary.values:
            found = self._read_otherwise(text)  # letters from A = 1, for one
            return found if isinstance(found, Grid) else grid
        self._refuse_two_blanks(text)
        return grid

    def _cells_of(self, text: str) -> Grid:
        """A board of numbers, or of one symbol a cell."""
        return read_numbers(text, self.shape) if self.vocabulary.is_numbers else super().read(text)

    def _read_otherwise(self, text: str) -> Grid | InvalidInputError | None:
        """A board in a form that needs the board's shape to be told; None where it is in none."""
        if self.any_size or not isinstance(text, str):
            return None
        data = data_in(text)
        if isinstance(data, (list, str)) and data and data != text:
            try:
                return self._grid(data)
            except InvalidInputError as error:
                return error if isinstance(data, list) else None
        lines = list(enumerate(text.lstrip("\ufeff").splitlines(), 1))
        if len(lines) == 1:
            row = cells_of_line(text, self.vocabulary, self.seq_len)
            return None if row is None else self._read_plain(" ".join(row))
        boards = boards_in(lines, self.vocabulary, self.shape, self._is_comment)
        if boards is None or len(boards) != 1:
            return None
        return self._read_plain(boards[0].text())

    def _read_plain(self, text: str) -> Grid | InvalidInputError:
        """A board whose cells are apart, which other forms are rewritten to: none is tried here."""
        try:
            grid = self._cells_of(text)
            self._refuse_two_blanks(text)
        except InvalidInputError as error:
            return error
        return grid

    def _is_comment(self, line: str) -> bool:
        return self.comment is not None and line.lstrip().startswith(self.comment)

    def _refuse_two_blanks(self, text: str) -> None:
        """Refuse 0 beside another empty cell: the values may be 0-9 A-F as well as 1-9 A-G."""
        if not self.vocabulary.is_numbers or self.vocabulary.values <= 10:
            return
        body = "\n".join(line for line in text.splitlines() if not self._is_comment(line))
        tokens = _NOT_CELLS.sub(" ", body).split()
        blanks = sorted(set(body) & set(BLANKS) - {"0"})
        if blanks and "0" in (tokens if len(tokens) == self.seq_len else body):
            last = self.vocabulary.symbols[-2], self.vocabulary.symbols[-1]
            raise InvalidInputError(
                f"both '0' and {blanks[0]!r} stand in a board of {self.vocabulary.values - 1} "
                f"values: '0' may be an empty cell or the first of 0-{last[0]}; write empty cells "
                f"in one way and values as 1-{last[1]}"
            )

    def cells_in(self, line: str) -> int:
        """Return how many characters of a line are neither separators nor drawn rules."""
        return len(_NOT_CELLS.sub("", line))

    def is_whole(self, line: str) -> bool:
        """Return whether a line of a file is a whole puzzle: too long for a row of a board."""
        if self.any_size:
            return super().is_whole(line)
        characters = 2 if self.vocabulary.values > 10 else 1  # a cell, at most
        return self.cells_in(line) > characters * self.shape[1] or self.shape[0] == 1

    def for_puzzle(self, task: Task, index: int = 0) -> BoardDomain:
        """Return the domain whose `distinct` are the rules of input `index` of a task.

        Here the domain on boards of its shape. Overridden where puzzles bring groups of their own.
        """
        return self._on(task.inputs[index].shape)

    def _on(self, shape: Shape) -> BoardDomain:
        """The same rules on boards of a shape."""
        other = self.resized(shape)
        assert isinstance(other, BoardDomain)
        return other

    @cached_property
    def _groups(self) -> list[tuple[str, int, npt.NDArray[np.intp]]]:
        """Kind, number from 1, and cells of each group of `distinct`."""
        return [
            (relation.name, number, np.array(cells, np.intp))
            for relation in self.distinct
            for number, cells in enumerate(relation.groups_on(self.shape), start=1)
        ]

    @cached_property
    def _members(self) -> list[_Members]:
        """The groups of `distinct`, those of equal size together."""
        by_size: dict[int, list[npt.NDArray[np.intp]]] = {}
        for _, _, cells in self._groups:
            by_size.setdefault(len(cells), []).append(cells)
        return [np.ascontiguousarray(np.stack(some).T) for some in by_size.values()]

    @cached_property
    def _bits(self) -> npt.NDArray[np.int64]:
        """One bit a token that may stand in an answer, none for any other."""
        bits = np.zeros(len(self.vocabulary) + 1, np.int64)  # the last for what is out of range
        tokens = list(self.vocabulary.answer_tokens)
        bits[tokens] = 1 << np.arange(len(tokens))
        return bits

    @cached_property
    def _given_bits(self) -> npt.NDArray[np.int64]:
        """One bit a value that may be given, none for any other."""
        given = self.vocabulary.having("given")
        bits = np.zeros(len(self.vocabulary), np.int64)
        bits[list(given)] = 1 << np.arange(len(given))
        return bits[self.vocabulary.first :]

    def check(self, task: Task) -> None:
        """Refuse a puzzle whose givens repeat a value in a group of `distinct`, or from which naked
        and hidden singles lead to a contradiction."""
        for index, grid in enumerate(task.inputs):
            on, cells = self.for_puzzle(task, index), grid.cells.reshape(-1)
            if on._repeats_nothing(cells):
                on._refuse_impossible(grid)
                continue
            for kind, number, members in on._groups:
                found = cells[members]
                found = found[self.vocabulary.given_values[found]]
                values, counts = np.unique(found, return_counts=True)
                if len(values) < len(found):
                    repeated = int(counts.argmax())
                    raise InvalidInputError(
                        f"contradicting givens: {self.vocabulary.value_names()[values[repeated]]} "
                        f"appears {counts[repeated]} times in {kind} {number}"
                    )

    def _repeats_nothing(self, cells: npt.NDArray[np.int8]) -> bool:
        """Whether no given value of cells of shape (N,) appears twice in a group."""
        of_cell = self._given_bits.take(cells)
        return all(
            (np.add.reduce(inside) == np.bitwise_or.reduce(inside)).all()
            for inside in map(of_cell.take, self._members)
        )

    @cached_property
    def _deduction(self) -> Deduction | None:
        """What follows from `distinct`; None where it says nothing, or givens are no answers."""
        given, answers = self.vocabulary.having("given"), self.vocabulary.answer_tokens
        if not self._groups or not set(given) <= set(answers):
            return None
        groups = [cells.tolist() for _, _, cells in self._groups]
        return Deduction(self.seq_len, len(answers), groups)

    def _masks(self, deduction: Deduction, grid: Grid) -> list[int]:
        """What each cell may hold, as `Deduction` takes it."""
        bits: list[int] = self._bits[self.encode_grid(grid)].tolist()
        return [bit or deduction.everything for bit in bits]

    def _refuse_impossible(self, grid: Grid) -> None:
        deduction = self._deduction
        if deduction is None:
            return
        found = deduction.contradiction(self._masks(deduction, grid))
        if found is None:
            return
        if found.cell is not None:
            row, column = divmod(found.cell, self.shape[1])
            raise InvalidInputError(
                f"the puzzle has no solution: no value is left for row {row + 1}, column "
                f"{column + 1}"
            )
        assert found.group is not None
        assert found.value is not None
        kind, number, _ = self._groups[found.group]
        value = self.vocabulary.names[self.vocabulary.answer_tokens[found.value]]
        raise InvalidInputError(
            f"the puzzle has no solution: no place is left for {value} in {kind} {number}"
        )

    def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int | None:
        """Return the number of solutions, where `distinct` states all rules; see `Domain`.

        Where `verify` has further rules, 0 or None: what `distinct` refutes they can't allow.
        """
        on = self.for_puzzle(task, index)
        deduction = on._deduction
        if deduction is None:
            return None
        exact = type(self).verify is BoardDomain.verify
        masks = on._masks(deduction, task.inputs[index])
        found = deduction.count(masks, limit if exact else 1)
        return found if exact or found == 0 else None

    def peers(self, task: Task, index: int = 0) -> npt.NDArray[np.bool_] | None:
        """Return which cells share a group of `distinct`, a bool array of shape (N, N)."""
        return self.for_puzzle(task, index)._peers

    @cached_property
    def _peers(self) -> npt.NDArray[np.bool_] | None:
        if not self._groups:
            return None
        shared = np.zeros((self.seq_len, self.seq_len), bool)
        for _, _, cells in self._groups:
            shared[np.ix_(cells, cells)] = True
        np.fill_diagonal(shared, False)
        return shared

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
        """Return whether every cell is filled, no group repeats a value, and the givens stand."""
        if answer.shape != task.inputs[index].shape:
            return False
        tokens = self.encode_grid(task.inputs[index])[None]
        return bool(self.for_puzzle(task, index)._obeyed(tokens, self.encode_grid(answer)[None])[0])

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]], shape: Shape | None = None
    ) -> npt.NDArray[np.bool_]:
        """Verify a batch of encoded puzzles and answers, each of shape (batch, N)."""
        if type(self).verify is not BoardDomain.verify:  # rules beyond `distinct`: one at a time
            return super().verify_tokens(tokens, answers, shape)
        return self._on(self.shape if shape is None else shape)._obeyed(tokens, answers)

    def _obeyed(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.bool_]:
        """Which answers are filled, keep the givens, and repeat nothing in a group."""
        bits = self._bits.take(answers, mode="clip")
        everything = (1 << len(self.vocabulary.answer_tokens)) - 1
        verdict = np.ones(len(answers), bool)
        for members in self._members:
            inside = bits.take(members, axis=1)
            if len(members) == everything.bit_length():
                # n cells cover all n bits only with every value once.
                covered = np.bitwise_and.reduce(np.bitwise_or.reduce(inside, axis=1), axis=1)
                verdict &= covered == everything
            else:
                ordered = np.sort(inside, axis=1)
                verdict &= (ordered[:, 1:] > ordered[:, :-1]).all((1, 2))
        if verdict.any():  # seldom, and so the rest is seldom looked at
            verdict &= (bits > 0).all(1)
            verdict &= (~self.vocabulary.is_given[tokens] | (tokens == answers)).all(1)
        return verdict

    @cached_property
    def _share(self) -> int:
        """How often each value must stand, where full groups tile the board; else 0."""
        values = len(self.vocabulary.answer_tokens)
        for relation in self.distinct:
            groups = relation.groups_on(self.shape)
            cells = sorted(cell for group in groups for cell in group)
            if cells == list(range(self.seq_len)) and {len(group) for group in groups} == {values}:
                return len(groups)
        return 0

    def rules_out(self, answer: list[int]) -> bool:
        """Return True where some value does not stand as often as full groups that tile the board
        ask for: the first thing that a wrong answer gets wrong."""
        share = self._share
        if share:
            for token in self.vocabulary.answer_tokens:
                if answer.count(token) != share:
                    return True
        return False

    def borders(self, shape: Shape) -> tuple[Border, ...]:
        """Return the frame, and the edges between groups that are neither rows nor columns."""
        lines = [*frame(shape)]
        if shape == self.shape:
            for region in _regions(self.distinct, shape):
                lines += edges(region)
        return tuple(lines)

    def shaded(self, shape: Shape) -> npt.NDArray[np.bool_] | None:
        """Return the cells of groups that don't tile the board, such as diagonals; None: none."""
        if shape != self.shape:
            return None
        everywhere = list(range(self.seq_len))
        found = np.zeros(self.seq_len, bool)
        for relation in self.distinct:
            members = [cell for group in relation.groups_on(shape) for cell in group]
            if sorted(members) != everywhere:
                found[members] = True
        return found.reshape(shape) if found.any() else None

    def describe(self) -> dict[str, Any]:
        """Return what a host in another language needs: `distinct` too, group by group."""
        rules = [
            {"name": one.name, "groups": [list(group) for group in one.groups_on(self.shape)]}
            for one in self.distinct
        ]
        complete = bool(rules) and type(self).verify is BoardDomain.verify and self.clues_in_cells
        return super().describe() | {"distinct": rules, "distinct_is_all": complete}


def _regions(relations: Sequence[Grouping], shape: Shape) -> list[npt.NDArray[np.intp]]:
    """Partitions of the board into groups that are neither its rows nor its columns."""
    rows, columns = np.indices(shape)
    found = []
    for relation in relations:
        groups = relation.groups_on(shape)
        if sorted(cell for group in groups for cell in group) != list(range(rows.size)):
            continue
        numbers = np.empty(rows.size, np.intp)
        for number, group in enumerate(groups):
            numbers[list(group)] = number
        region = numbers.reshape(shape)
        if not ((region == rows).all() or (region == columns).all()):
            found.append(region)
    return found


__all__ = ["BoardDomain"]
