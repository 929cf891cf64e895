"""Structure: what a domain tells a network about its cells.

The structured mixer (`trm_sdk.model.structured`) shares its weights over everything stated here, so
it need not learn from data what a row or a box is, nor that digits are interchangeable. This module
stands apart from both `domains` and `model`, which do not know each other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Cell = Annotated[int, Field(ge=0)]


class Relation(BaseModel):
    """Sets of cells that constrain each other.

    Attributes
    ----------
    name : str
        For people: ``row``, ``box``, ``neighbours`` ...
    kind : {"groups", "neighbourhood"}
        ``groups``: any sets of cells, overlapping or not, of any sizes; what is pooled over a group
        reaches each of its members. ``neighbourhood``: one set a cell, the cells that it sees;
        what is pooled over ``sets[i]`` reaches cell ``i`` alone.
    sets : tuple of tuples of cell indices
    weights : str or None
        Relations with the same `weights` share them, as rows and columns do in Sudoku (they are
        exchanged by transposition). Default: the relation's own name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["groups", "neighbourhood"] = "groups"
    sets: tuple[tuple[Cell, ...], ...]
    weights: str | None = None

    @property
    def weights_key(self) -> str:
        """The name under which this relation's weights are stored."""
        return self.weights or self.name


class Structure(BaseModel):
    """Everything that a domain states about its cells and values.

    Attributes
    ----------
    cells : int
        Number of cells, in the order in which the domain encodes them.
    relations : tuple of Relation
        May be empty: cells then see each other only through the halting head.
    interchangeable_values : bool
        True where any renaming of the values maps solutions to solutions (Sudoku, Latin squares,
        graph colouring): the network then works on (cell, value) pairs and is equivariant to
        renaming. False where values mean different things (a wall, a path).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: int = Field(gt=0)
    relations: tuple[Relation, ...]
    interchangeable_values: bool

    @model_validator(mode="after")
    def _cells_exist(self) -> Structure:
        for relation in self.relations:
            for members in relation.sets:
                if any(cell >= self.cells for cell in members):
                    raise ValueError(
                        f"relation {relation.name!r} names cell {max(members)}, but the structure "
                        f"has cells 0..{self.cells - 1}"
                    )
                if len(set(members)) != len(members):
                    raise ValueError(f"relation {relation.name!r} repeats a cell in {members}")
                if not members and relation.kind == "groups":
                    raise ValueError(f"relation {relation.name!r} has an empty group")
            if relation.kind == "neighbourhood" and len(relation.sets) != self.cells:
                raise ValueError(
                    f"neighbourhood {relation.name!r} needs one set a cell ({self.cells}); "
                    f"got {len(relation.sets)}"
                )
        return self
