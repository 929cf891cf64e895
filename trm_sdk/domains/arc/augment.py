"""Augmentations: a turn and a renaming of colours, their names, and hashes of what they give.

Names, hashes and random draws are those of the reference implementation of TRM, to the letter: an
augmented task is called ``base|||t{dihedral}|||{colours}``, where `dihedral` is 0 to 7 and the ten
digits say which colour each of 0 to 9 becomes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.arc.canvas import COLOURS
from trm_sdk.domains.symmetry import Symmetry, Turn
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import is_int

SEPARATOR = "|||"
_NAME = re.compile(r"(.*)\|\|\|t([0-7])\|\|\|([0-9]{10})", re.DOTALL)
#: The reference numbers the dihedral group: identity, three quarter turns counter-clockwise, left
#: to right, upside down, transposed, transposed about the other diagonal; this is `Turn.number`.
_TURN_OF = (0, 1, 2, 3, 4, 6, 5, 7)
_DIHEDRAL_OF = tuple(_TURN_OF.index(number) for number in range(8))
_SAME_COLOURS = tuple(range(COLOURS))
_COLOURED = np.arange(1, COLOURS, dtype=np.uint8)


class Augmentation(Turn):
    """A turn or mirroring of grids of any shape, and a renaming of their colours.

    Applied to a task it renames the task, too, so that a model finds the augmentation's row of its
    puzzle embedding; its inverse gives the name back.

    Parameters
    ----------
    dihedral : int
        0 to 7, as the reference numbers them: identity; 1 to 3 quarter turns counter-clockwise;
        mirrored left to right; upside down; transposed; transposed about the other diagonal.
        Default 0.
    colours : sequence of 10 int
        The colour that each becomes. Default: colours stay.

    Raises
    ------
    InvalidInputError
        If `dihedral` is not one of these, or `colours` not a permutation of 0 to 9.

    Examples
    --------
    >>> Augmentation(1, [0, 2, 1, 3, 4, 5, 6, 7, 8, 9]).name_of("007bbfb7")
    '007bbfb7|||t1|||0213456789'
    """

    def __init__(self, dihedral: int = 0, colours: Sequence[int] = _SAME_COLOURS) -> None:
        if not is_int(dihedral) or dihedral not in range(8):
            raise InvalidInputError(f"dihedral must be 0 to 7; got {shown(dihedral)}")
        self.colours = tuple(int(colour) for colour in colours)
        if sorted(self.colours) != list(_SAME_COLOURS):
            raise InvalidInputError(
                f"colours must be a permutation of 0 to 9; got {shown(tuple(colours))}"
            )
        self._table = np.array(self.colours, np.int8)
        super().__init__(_TURN_OF[dihedral], self._table)
        self.dihedral = int(dihedral)

    @classmethod
    def random(cls, rng: np.random.Generator | np.random.RandomState) -> Augmentation:
        """Draw one of all turns and all renamings that leave black (0) alone."""
        return cls(*draw(rng))

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves and no colour changes."""
        return self.dihedral == 0 and self.colours == _SAME_COLOURS

    def inverse(self) -> Augmentation:
        """Return the augmentation that undoes this one."""
        back = np.argsort(self.colours).tolist()
        return Augmentation(_DIHEDRAL_OF[Turn(self.number).inverse().number], back)

    def then(self, other: Symmetry) -> Symmetry:
        """Return this augmentation followed by another transform."""
        if not isinstance(other, Augmentation):
            return super().then(other)
        quarters = self.number % 4
        if other.number >= 4:  # a quarter turn, mirrored, turns the other way
            quarters = -quarters
        number = (quarters + other.number) % 4 + 4 * ((self.number >= 4) != (other.number >= 4))
        return Augmentation(_DIHEDRAL_OF[number], [other.colours[c] for c in self.colours])

    def name_of(self, base: str) -> str:
        """Return the name of a task under this augmentation; its own where nothing changes."""
        if self.is_identity:
            return base
        return join_name(base, self.dihedral, "".join(map(str, self.colours)))

    def apply_cells(self, grid: Grid) -> npt.NDArray[np.int8]:
        """Return the cells of the transformed grid; quicker than `apply`."""
        renamed: npt.NDArray[np.int8] = self._table[self.move(grid.cells)]
        return renamed

    def apply_task(self, task: Task) -> Task:
        """Return the transformed task, under its name as augmented."""
        turned = super().apply_task(task)
        if task.name is None:
            return turned
        base, before = split_name(task.name)
        both = before.then(self)
        assert isinstance(both, Augmentation)
        return replace(turned, name=both.name_of(base))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Augmentation):
            return NotImplemented
        return (self.dihedral, self.colours) == (other.dihedral, other.colours)

    def __hash__(self) -> int:
        return hash((self.dihedral, self.colours))

    def __repr__(self) -> str:
        return f"Augmentation({self.dihedral}, {list(self.colours)})"


def draw(rng: np.random.Generator | np.random.RandomState) -> tuple[int, bytes]:
    """Draw a dihedral number and what each of the ten colours becomes, a byte each.

    Black (0) stays. With a ``RandomState`` the draws are the reference's.
    """
    number = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    dihedral = int(number(0, 8, dtype=np.int64))
    return dihedral, b"\0" + rng.permutation(_COLOURED).tobytes()


def join_name(base: str, dihedral: int, digits: str) -> str:
    """Return the name of an augmented task; `digits` say what each colour becomes."""
    return f"{base}{SEPARATOR}t{dihedral}{SEPARATOR}{digits}"


def split_name(name: str) -> tuple[str, Augmentation]:
    """Return the base name of a task and the augmentation that its name tells of.

    A name without one is its own base.

    Raises
    ------
    InvalidInputError
        If the digits of the name are not a permutation.

    Examples
    --------
    >>> split_name("007bbfb7|||t6|||0213456789")
    ('007bbfb7', Augmentation(6, [0, 2, 1, 3, 4, 5, 6, 7, 8, 9]))
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return name, Augmentation()
    return found[1], Augmentation(int(found[2]), [int(digit) for digit in found[3]])


def by_task(names: Sequence[str]) -> dict[str, list[int]]:
    """Return, for each base name, the identifiers of its augmentations.

    Parameters
    ----------
    names : sequence of str
        Of the identifiers; the first is the blank one, and is left out wherever it stands.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name != names[0]:
            places.setdefault(name.split(SEPARATOR, 1)[0], []).append(place)
    return places


def grid_hash(grid: Grid) -> str:
    """Return SHA-256, in hexadecimal, of a grid's rows, columns and colours, a byte each."""
    return hashlib.sha256(bytes(grid.shape) + grid.cells.tobytes()).hexdigest()


def pairs_hash(pairs: Iterable[tuple[Grid, Grid]]) -> str:
    """Return a hash of (input, output) pairs, whatever their order.

    That is SHA-256, in hexadecimal, of the sorted ``{hash of input}|{hash of output}`` of all
    pairs, joined by ``|``. The builder tells by it whether an augmentation is new.
    """
    hashes = sorted(f"{grid_hash(before)}|{grid_hash(after)}" for before, after in pairs)
    return hashlib.sha256("|".join(hashes).encode()).hexdigest()


__all__ = [
    "SEPARATOR",
    "Augmentation",
    "by_task",
    "draw",
    "grid_hash",
    "join_name",
    "pairs_hash",
    "split_name",
]
