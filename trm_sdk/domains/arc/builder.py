"""The data set builder of the reference implementation of TRM: names, identifiers, placements.

What is reproduced exactly: with equal task files in equal order, the same seed and number of
augmentations, `build` gives the reference's names, identifiers, groups, and the same example on the
same place of the canvas, for it draws from numpy's ``RandomState``, whose stream is frozen, in the
reference's order. What can't be: where the *first* subset is one for evaluation, the reference
numbers its identifiers in an order that changes with Python's hash seed; here training comes first.

What differs: nothing is written out. The reference stores every augmented example (5 GB for
ARC-AGI-1); a `Build` stores how each is made (some 20 bytes) and makes it when it is drawn.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.atomic import write_whole
from trm_sdk.domains.arc.augment import (
    SEPARATOR,
    Augmentation,
    draw,
    grid_hash,
    join_name,
    pairs_hash,
)
from trm_sdk.domains.arc.canvas import PAD, SIDE, encode
from trm_sdk.domains.data import Examples
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import as_path, is_int

Pair = tuple[Grid, Grid]
_Bytes = npt.NDArray[np.uint8]
#: A dihedral number, and what each colour becomes, a byte each.
_Drawn = tuple[int, bytes]
_Indices = npt.NDArray[np.integer[Any]]

BLANK = "<blank>"
#: Tries for each augmentation that is wanted; small tasks have fewer different ones.
_TRIES = 5
_IDENTITY = (0, bytes(range(10)))
#: Dihedral numbers that make columns of rows.
_SWAPPED = frozenset((1, 3, 6, 7))
#: Evaluation tasks of ARC-AGI-1 as published whose test pair is also one of a training task's:
#: 070dd51e is 40853293.
KNOWN_LEAKS = frozenset({"070dd51e"})
#: What stands for an output that nobody knows, in hashes.
_UNKNOWN = Grid([[0]])


class Subset(NamedTuple):
    """Tasks that are treated alike.

    Attributes
    ----------
    tasks : sequence of Task
        In the order of their file.
    evaluation : bool
        Whether only demonstrations are trained on, test pairs being held out. Default False: test
        pairs, which then need answers, are trained on as well.
    """

    tasks: Sequence[Task]
    evaluation: bool = False


class Group(NamedTuple):
    """A task and what is trained on of it; its augmentations share the group.

    Attributes
    ----------
    task : Task
    pairs : tuple of (Grid, Grid)
        Trained on, in the order of the file.
    evaluation : bool
        Whether the test pairs are held out.
    """

    task: Task
    pairs: tuple[Pair, ...]
    evaluation: bool


@dataclass(frozen=True, eq=False)
class Build:
    """A data set of augmented tasks. Made by `build` or `saved_build.load_build`.

    A *puzzle* is a task under one augmentation; those of a group stand side by side, the original
    first. Puzzle p has the identifier ``p + 1``; 0 is blank.

    Attributes
    ----------
    groups : tuple of Group
        In the order of their identifiers.
    group_starts : int64 array of shape (groups + 1,)
        First puzzle of each group, and the number of puzzles.
    dihedrals : uint8 array of shape (puzzles,)
    colours : uint8 array of shape (puzzles, 10)
        See `Augmentation`.
    offsets : uint8 array of shape (examples, 2)
        Row and column of the canvas where the example begins.
    seed, augmentations : int
        That the data set was built with.
    """

    groups: tuple[Group, ...]
    group_starts: npt.NDArray[np.int64]
    dihedrals: _Bytes
    colours: _Bytes
    offsets: _Bytes
    seed: int
    augmentations: int

    @cached_property
    def group_of(self) -> npt.NDArray[np.int64]:
        """Group of each puzzle."""
        return np.repeat(np.arange(len(self.groups)), np.diff(self.group_starts))

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Number of pairs of each group's puzzles."""
        return np.array([len(group.pairs) for group in self.groups], np.int64)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """First example of each puzzle, and the number of examples."""
        return np.concatenate(([0], np.cumsum(self.sizes[self.group_of])))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each identifier: ``<blank>``, then one a puzzle."""
        digits = (self.colours + ord("0")).tobytes().decode("ascii")
        dihedrals = self.dihedrals.tolist()
        names = [BLANK]
        for group, start, end in zip(
            self.groups,
            self.group_starts[:-1].tolist(),
            self.group_starts[1:].tolist(),
            strict=True,
        ):
            base = str(group.task.name)
            names.append(base)
            names += [
                join_name(base, dihedrals[puzzle], digits[10 * puzzle : 10 * puzzle + 10])
                for puzzle in range(start + 1, end)
            ]
        return tuple(names)

    @property
    def evaluation_tasks(self) -> tuple[Task, ...]:
        """Tasks whose test pairs are held out."""
        return tuple(group.task for group in self.groups if group.evaluation)

    def augmentation(self, puzzle: int) -> Augmentation:
        """Return what makes a puzzle of its task."""
        return Augmentation(int(self.dihedrals[puzzle]), self.colours[puzzle].tolist())

    def examples(self, puzzles: _Indices, members: _Indices) -> Examples:
        """Return some pairs of some puzzles as they are trained on.

        Parameters
        ----------
        puzzles, members : int arrays of shape (n,)
            A puzzle, and which of its pairs.
        """
        n = len(puzzles)
        tokens, answers = np.empty((2, n, SIDE * SIDE), np.int32)
        groups = self.group_of[puzzles].tolist()
        offsets = self.offsets[self.starts[puzzles] + members].tolist()
        made: dict[int, Augmentation] = {}
        for row, (puzzle, member) in enumerate(
            zip(np.asarray(puzzles).tolist(), np.asarray(members).tolist(), strict=True)
        ):
            if puzzle not in made:
                made[puzzle] = self.augmentation(puzzle)
            (before, after), offset = self.groups[groups[row]].pairs[member], offsets[row]
            tokens[row] = encode(made[puzzle].apply_cells(before), offset)
            answers[row] = encode(made[puzzle].apply_cells(after), offset)
        identifiers = np.asarray(puzzles, np.int32) + 1
        return Examples(tokens, answers, identifiers, answers != PAD, (SIDE, SIDE))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``identifiers.json``, as the reference does, and ``build.npz`` into a folder."""
        place = as_path(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_whole(place / "identifiers.json", json.dumps(self.names).encode())
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            order=np.array([group.task.name for group in self.groups]),
            contents=np.array([contents_of(group) for group in self.groups]),
            group_starts=self.group_starts,
            dihedrals=self.dihedrals,
            colours=self.colours,
            offsets=self.offsets,
            numbers=np.array([self.seed, self.augmentations]),
        )
        write_whole(place / "build.npz", buffer.getvalue())


def build(
    subsets: Sequence[Subset],
    *,
    augmentations: int = 1000,
    seed: int = 42,
    allow_leaks: Collection[str] = KNOWN_LEAKS,
) -> Build:
    """Build the data set of some subsets of tasks.

    For each task in turn, up to `augmentations` different ones are drawn, in at most five times as
    many tries; whether one is new is decided by `pairs_hash` over all of its pairs, test pairs
    included. Demonstrations of evaluation tasks are trained on; their test outputs never are. In
    each puzzle all pairs but one, drawn at random, are moved to a random place of the canvas.

    Parameters
    ----------
    subsets : sequence of Subset
        For ARC-AGI-1 the reference has its training tasks, its evaluation tasks (``evaluation``)
        and ConceptARC, in this order.
    augmentations : int
        Default 1000. 0: the tasks alone.
    seed : int
        Default 42.
    allow_leaks : collection of str
        Evaluation tasks whose test pairs may stand among what is trained on. Default: the one of
        ARC-AGI-1 as published.

    Raises
    ------
    InvalidInputError
        If a task has no name, no demonstrations, or the name of another one; a training task has no
        answers; or the test pair of an evaluation task would be trained on, as when ARC-AGI-1 and
        ARC-AGI-2 are mixed: the training tasks of the second hold evaluation tasks of the first.

    Warns
    -----
    UserWarning
        If a task has fewer different augmentations than were asked for.
    """
    for name, value in (("augmentations", augmentations), ("seed", seed)):
        if not is_int(value) or value < 0:
            raise InvalidInputError(f"{name} must be a whole number from 0; got {shown(value)}")
    _check(subsets, frozenset(allow_leaks))
    rng = np.random.RandomState(seed)
    groups: list[Group] = []
    drawn: list[list[_Drawn]] = []
    for subset in subsets:
        order = list(range(len(subset.tasks)))
        rng.shuffle(order)
        for group in (group_of(subset.tasks[place], subset.evaluation) for place in order):
            groups.append(group)
            drawn.append([_IDENTITY, *_draw(group, augmentations, rng)])
    short = [
        f"{group.task.name} ({len(some) - 1})"
        for group, some in zip(groups, drawn, strict=True)
        if len(some) <= augmentations
    ]
    if short:
        warnings.warn(
            f"{len(short)} of {len(groups)} tasks have fewer than {augmentations} different "
            f"augmentations: {', '.join(short[:5])}{' ...' if len(short) > 5 else ''}",
            stacklevel=2,
        )
    return Build(
        tuple(groups),
        np.concatenate(([0], np.cumsum([len(some) for some in drawn]))),
        np.array([dihedral for some in drawn for dihedral, _ in some], np.uint8),
        np.frombuffer(b"".join(colours for some in drawn for _, colours in some), np.uint8).reshape(
            -1, 10
        ),
        _place(groups, drawn, rng),
        seed,
        augmentations,
    )


def contents_of(group: Group) -> str:
    """Return a hash of all that a group's examples are made of."""
    text = [str(group.evaluation), *(f"{grid_hash(a)}|{grid_hash(b)}" for a, b in group.pairs)]
    return hashlib.sha256("|".join(text).encode()).hexdigest()


def group_of(task: Task, evaluation: bool) -> Group:
    """Return a task with what is trained on of it."""
    if evaluation:
        return Group(task, task.demonstrations, True)
    tests = tuple(zip(task.inputs, task.answers or (), strict=True))
    if _sections(task)[0] == "train":
        return Group(task, task.demonstrations + tests, False)
    return Group(task, tests + task.demonstrations, False)


def _sections(task: Task) -> tuple[str, ...]:
    """Order of train and test in the task's file; on Kaggle, test comes first."""
    return tuple(task.metadata.get("sections", ("test", "train")))


def _check(subsets: Sequence[Subset], allowed: frozenset[str]) -> None:
    names: set[str] = set()
    trained: dict[str, str] = {}
    for task, evaluation in ((task, one.evaluation) for one in subsets for task in one.tasks):
        name = task.name
        if not name or SEPARATOR in name:
            raise InvalidInputError(
                f"a task must have a name without {SEPARATOR!r}; got {shown(name)}"
            )
        if name in names:
            raise InvalidInputError(
                f"two tasks are named {name!r}; ARC-AGI-1 and ARC-AGI-2 must not be mixed, for "
                "training tasks of the second are evaluation tasks of the first"
            )
        names.add(name)
        if not task.demonstrations:
            raise InvalidInputError(f"task {name} has no demonstrations")
        if task.answers is None and not evaluation:
            raise InvalidInputError(
                f"task {name} has no answers to its test inputs; a training task needs them"
            )
        for pair in group_of(task, evaluation).pairs:
            trained.setdefault(pairs_hash([pair]), name)
    if not trained:
        raise InvalidInputError("there are no tasks to build a data set of")
    for task in (task for subset in subsets if subset.evaluation for task in subset.tasks):
        for number, pair in enumerate(zip(task.inputs, task.answers or (), strict=False), start=1):
            other = trained.get(pairs_hash([pair]))
            if other is not None and task.name not in allowed:
                raise InvalidInputError(
                    f"test pair {number} of the evaluation task {task.name} is trained on, as part "
                    f"of {other}: leave one of them out (ARC-AGI-1 and ARC-AGI-2 must not be "
                    "mixed), or name the task in allow_leaks"
                )


def _draw(group: Group, wanted: int, rng: np.random.RandomState) -> Iterator[_Drawn]:
    """Different augmentations of a task, in the order in which they are drawn.

    Hashing all pairs of every try is most of the work: turned grids are kept as bytes, so that
    renaming their colours is one call.
    """
    task = group.task
    answers = task.answers or (_UNKNOWN,) * len(task.inputs)
    pairs = (*task.demonstrations, *zip(task.inputs, answers, strict=True))
    grids = [grid for pair in pairs for grid in pair]
    turned = [
        [_as_bytes(Augmentation(dihedral).move(grid.cells)) for grid in grids]
        for dihedral in range(8)
    ]
    seen = {_hash(turned[0], _IDENTITY[1])}
    found = 0
    for _ in range(_TRIES * wanted):
        dihedral, colours = draw(rng)
        printed = _hash(turned[dihedral], colours)
        if printed not in seen:
            seen.add(printed)
            found += 1
            yield dihedral, colours
        if found == wanted:
            return


def _as_bytes(cells: npt.NDArray[np.int8]) -> tuple[bytes, bytes]:
    return bytes(cells.shape), cells.tobytes()


def _hash(grids: list[tuple[bytes, bytes]], colours: bytes) -> str:
    """`pairs_hash` of grids in turned form, input and output by turns, colours renamed."""
    table = colours + bytes(246)
    hashes = [hashlib.sha256(shape + cells.translate(table)).hexdigest() for shape, cells in grids]
    pairs = sorted(
        f"{before}|{after}" for before, after in zip(hashes[::2], hashes[1::2], strict=True)
    )
    return hashlib.sha256("|".join(pairs).encode()).hexdigest()


def _place(
    groups: Sequence[Group], drawn: Sequence[Sequence[_Drawn]], rng: np.random.RandomState
) -> _Bytes:
    """Where each example of each puzzle begins: somewhere, but one of each puzzle in the corner."""
    offsets: list[tuple[int, int]] = []
    for group, augmentations in zip(groups, drawn, strict=True):
        free = [
            tuple(SIDE + 1 - max(sides) for sides in zip(before.shape, after.shape, strict=True))
            for before, after in group.pairs
        ]
        for dihedral, _ in augmentations:
            swapped = dihedral in _SWAPPED
            fixed = rng.randint(0, len(free))
            for member, (high, wide) in enumerate(free):
                if member == fixed:
                    offsets.append((0, 0))
                    continue
                if swapped:
                    high, wide = wide, high
                offsets.append((rng.randint(0, high), rng.randint(0, wide)))
    return np.array(offsets, np.uint8).reshape(-1, 2)


__all__ = [
    "BLANK",
    "KNOWN_LEAKS",
    "Build",
    "Group",
    "Subset",
    "build",
    "contents_of",
    "group_of",
]
