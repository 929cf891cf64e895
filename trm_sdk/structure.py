"""Structure: what a domain tells a network about its cells, stated by kind.

The structured mixer (`trm_sdk.model.structured`) shares its weights over everything stated here, so
it need not learn from data what a row or a box is, nor that digits are interchangeable::

    Structure(shape=(9, 9), relations=(rows("line"), columns("line"), boxes(3, 3), values()))

This module stands apart from both `domains` and `model`, which do not know each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Cell = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0, le=1 << 15)]
Group = tuple[int, ...]
_Step = Annotated[int, Field(ge=-16, le=16)]


class _Relation(BaseModel):
    """What all relations have.

    Attributes
    ----------
    name : str
        For people and errors; unique within a structure.
    weights : str or None
        Relations with the same `weights` share them, as rows and columns do in Sudoku (they are
        exchanged by transposition). Default: the relation's own name.
    """

    # Built when first used: importing the package is to cost little.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    weights: str | None = None

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the kind even where defaults are left out: it is what tells relations apart."""
        return {"kind": self.kind, **handler(self)}  # type: ignore[attr-defined]

    @property
    def weights_key(self) -> str:
        """Name under which this relation's weights are stored."""
        return self.weights or self.name


class Rows(_Relation):
    """Every row of the board is a group."""

    kind: Literal["rows"] = "rows"
    name: str = "row"

    def groups_on(self, shape: tuple[int, int]) -> tuple[Group, ...]:
        """Return the cells of each row."""
        return _tuples(_cells(shape))


class Columns(_Relation):
    """Every column of the board is a group."""

    kind: Literal["columns"] = "columns"
    name: str = "column"

    def groups_on(self, shape: tuple[int, int]) -> tuple[Group, ...]:
        """Return the cells of each column."""
        return _tuples(_cells(shape).T)


class Boxes(_Relation):
    """The board is cut into boxes of `size` (rows, columns), and each is a group."""

    kind: Literal["boxes"] = "boxes"
    name: str = "box"
    size: tuple[Size, Size]

    def groups_on(self, shape: tuple[int, int]) -> tuple[Group, ...]:
        """Return the cells of each box, boxes row by row."""
        (rows, columns), (high, wide) = shape, self.size
        cells = _cells(shape).reshape(rows // high, high, columns // wide, wide)
        return _tuples(cells.transpose(0, 2, 1, 3).reshape(-1, high * wide))


class Board(_Relation):
    """All cells of the board are one group."""

    kind: Literal["board"] = "board"
    name: str = "board"

    def groups_on(self, shape: tuple[int, int]) -> tuple[Group, ...]:
        """Return the one group of all cells."""
        return (tuple(range(shape[0] * shape[1])),)


class Values(_Relation):
    """The values of a cell are a group, and any renaming of them maps solutions to solutions.

    The network then works on (cell, value) pairs and is equivariant to renaming (Sudoku, Latin
    squares, graph colouring). Without this relation values mean different things (a wall, a path).
    """

    kind: Literal["values"] = "values"
    name: str = "value"


class Offsets(_Relation):
    """A cell hears its neighbours at these (row, column) offsets, each by weights of its own.

    A depthwise convolution whose kernel has these taps: nine of them are a 3x3 one. Beyond the
    board's edge there are zeros.
    """

    kind: Literal["offsets"] = "offsets"
    name: str = "offset"
    offsets: tuple[tuple[_Step, _Step], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Offsets:
        if len(set(self.offsets)) < len(self.offsets):
            raise ValueError(f"relation {self.name!r} repeats an offset in {self.offsets}")
        return self

    @property
    def reach(self) -> tuple[int, int]:
        """Largest distance of an offset, in rows and in columns: half of the kernel's size."""
        rows, columns = zip(*self.offsets, strict=True)
        return max(map(abs, rows)), max(map(abs, columns))


class Groups(_Relation):
    """Any sets of cells, overlapping or not, of any sizes.

    What is pooled over a set reaches each of its members.
    """

    kind: Literal["groups"] = "groups"
    sets: tuple[tuple[Cell, ...], ...]

    def groups_on(self, shape: tuple[int, int]) -> tuple[Group, ...]:
        """Return the sets as stated."""
        return self.sets


class Neighbourhood(_Relation):
    """One set a cell, of the cells that it sees.

    What is pooled over ``sets[i]`` reaches cell i alone.
    """

    kind: Literal["neighbourhood"] = "neighbourhood"
    sets: tuple[tuple[Cell, ...], ...]


Relation = Annotated[
    Rows | Columns | Boxes | Board | Values | Offsets | Groups | Neighbourhood,
    Field(discriminator="kind"),
]
#: Relations whose groups can be listed for a board.
Grouping = Rows | Columns | Boxes | Board | Groups


def rows(weights: str | None = None) -> Rows:
    """Relate the cells of each row."""
    return Rows(weights=weights)


def columns(weights: str | None = None) -> Columns:
    """Relate the cells of each column."""
    return Columns(weights=weights)


def boxes(rows: int, columns: int, weights: str | None = None) -> Boxes:
    """Relate the cells of each box of `rows` by `columns` cells."""
    return Boxes(size=(rows, columns), weights=weights)


def board(weights: str | None = None) -> Board:
    """Relate all cells of the board."""
    return Board(weights=weights)


def values(weights: str | None = None) -> Values:
    """Relate the values of a cell, which are interchangeable."""
    return Values(weights=weights)


def offsets(*steps: tuple[int, int], name: str = "offset", weights: str | None = None) -> Offsets:
    """Relate a cell to its neighbours in these directions; by default to the 3x3 around it."""
    around = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))
    return Offsets(offsets=steps or around, name=name, weights=weights)


def groups(name: str, sets: Iterable[Iterable[int]], weights: str | None = None) -> Groups:
    """Relate the cells of each of these sets."""
    return Groups(name=name, sets=_tuples(sets), weights=weights)


def neighbourhood(
    name: str, sets: Iterable[Iterable[int]], weights: str | None = None
) -> Neighbourhood:
    """Relate each cell to a set of others, one set a cell."""
    return Neighbourhood(name=name, sets=_tuples(sets), weights=weights)


class Structure(BaseModel):
    """Everything that a domain states about its cells and values.

    Attributes
    ----------
    shape : (rows, columns)
        Of the board; cells are numbered row by row.
    relations : tuple of Relation
        May be empty: cells then see each other only through the halting head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[Size, Size]
    relations: tuple[Relation, ...]

    @model_validator(mode="before")
    @classmethod
    def _from_format_1(cls, data: Any) -> Any:
        """Read what the first format stated cell by cell."""
        if not isinstance(data, dict) or "cells" not in data:
            return data
        data = dict(data)
        data["shape"] = (1, data.pop("cells"))
        relations = [
            {"kind": "groups", **one} if isinstance(one, dict) else one
            for one in data.get("relations", ())
        ]
        if data.pop("interchangeable_values", False):
            relations.append({"kind": "values"})
        return data | {"relations": relations}

    @model_validator(mode="after")
    def _fits(self) -> Structure:
        names = [relation.name for relation in self.relations]
        if len(set(names)) < len(names):
            raise ValueError(f"two relations share a name in {names}")
        for relation in self.relations:
            if isinstance(relation, Boxes):
                (rows, columns), (high, wide) = self.shape, relation.size
                if rows % high or columns % wide:
                    raise ValueError(f"boxes of {high}x{wide} do not tile {rows}x{columns} cells")
            elif isinstance(relation, (Groups, Neighbourhood)):
                _check_sets(relation, self.cells)
        for relation in self.over_cells:
            if isinstance(relation, Offsets):
                sharing = [r for r in self.over_cells if r.weights_key == relation.weights_key]
                if len(sharing) > 1:
                    raise ValueError(
                        f"relation {relation.name!r} has a weight a tap, and can't share "
                        f"{relation.weights_key!r} with another relation"
                    )
        return self

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    @property
    def interchangeable_values(self) -> bool:
        """Whether nodes are (cell, value) pairs: the relation `values` is stated."""
        return any(isinstance(relation, Values) for relation in self.relations)

    @property
    def any_size(self) -> bool:
        """Whether no relation depends on the board's size, so that one graph takes every board."""
        return all(
            isinstance(relation, (Rows, Columns, Board, Values, Offsets))
            for relation in self.relations
        )

    @property
    def over_cells(
        self,
    ) -> tuple[Rows | Columns | Boxes | Board | Offsets | Groups | Neighbourhood, ...]:
        """The relations between cells: all but `values`."""
        return tuple(one for one in self.relations if not isinstance(one, Values))

    def groups_by_key(self) -> dict[str, tuple[Group, ...]]:
        """Return the groups of each key of weights, in the order in which relations are stated.

        Neighbourhoods and offsets have no groups, and are left out.
        """
        found: dict[str, tuple[Group, ...]] = {}
        for relation in self.over_cells:
            if not isinstance(relation, (Neighbourhood, Offsets)):
                known = found.get(relation.weights_key, ())
                found[relation.weights_key] = (*known, *relation.groups_on(self.shape))
        return found

    def memberships(self) -> dict[str, np.ndarray]:
        """Return `groups_by_key` as uint8 arrays of shape (groups, cells), 1 where a cell is in."""
        found = {}
        for key, sets in self.groups_by_key().items():
            found[key] = np.zeros((len(sets), self.cells), np.uint8)
            for row, members in enumerate(sets):
                found[key][row, list(members)] = 1
        return found

    def resized(self, shape: tuple[int, int]) -> Structure:
        """Return the same structure on a board of another shape.

        Raises
        ------
        ValueError
            If a relation lists its cells one by one, or boxes do not tile the new board.
        """
        return Structure(shape=shape, relations=self.relations)


def _check_sets(relation: Groups | Neighbourhood, cells: int) -> None:
    for members in relation.sets:
        if any(cell >= cells for cell in members):
            raise ValueError(
                f"relation {relation.name!r} names cell {max(members)}, but the structure has "
                f"cells 0..{cells - 1}"
            )
        if len(set(members)) != len(members):
            raise ValueError(f"relation {relation.name!r} repeats a cell in {members}")
        if not members and isinstance(relation, Groups):
            raise ValueError(f"relation {relation.name!r} has an empty group")
    if isinstance(relation, Neighbourhood) and len(relation.sets) != cells:
        raise ValueError(
            f"neighbourhood {relation.name!r} needs one set a cell ({cells}); "
            f"got {len(relation.sets)}"
        )


def _cells(shape: tuple[int, int]) -> np.ndarray:
    return np.arange(shape[0] * shape[1]).reshape(shape)


def _tuples(sets: Any) -> tuple[Group, ...]:
    return tuple(tuple(int(cell) for cell in members) for members in sets)
