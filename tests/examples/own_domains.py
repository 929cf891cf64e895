"""Two domains that are not in the package: one of colours, and one of any size without rules."""

from __future__ import annotations

from trm_sdk.domains.base import Domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.vocabulary import Token, Vocabulary
from trm_sdk.grid import Grid
from trm_sdk.structure import Structure, columns, offsets, rows, values
from trm_sdk.task import Task


class Latin(BoardDomain):
    """A Latin square of four colours."""

    name, shape = "latin-4x4", (4, 4)
    vocabulary = Vocabulary(
        (
            Token("pad", "-", ("pad",)),
            Token("empty", ".", ("blank",), aliases="~ "),
            Token("red", "r", ("given", "answer"), "#d04a3a"),
            Token("gold", "g", ("given", "answer"), "#d9a520"),
            Token("blue", "b", ("given", "answer"), "#3a6fd0"),
            Token("teal", "t", ("given", "answer"), "#2a9d8f"),
        )
    )
    distinct = (rows("line"), columns("line"))
    structure = Structure(shape=(4, 4), relations=(*distinct, values()))
    showcase = (("The one", "r..g.b..t......."),)


class Walls(Domain):
    """Boards of any size, without rules for JavaScript."""

    name, shape, any_size = "walls-3x4", (3, 4), True
    vocabulary = Vocabulary(
        (
            Token("floor", ".", ("blank", "answer")),
            Token("wall", "#", ("given",), "#555555"),
            Token("path", "o", ("answer",), "#2a9d8f"),
        )
    )
    structure = Structure(shape=(3, 4), relations=(rows(), columns(), offsets()))
    showcase = (("A small one", "..#..\n#...#"),)

    @property
    def family(self) -> str:
        return "walls"

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
        return True
