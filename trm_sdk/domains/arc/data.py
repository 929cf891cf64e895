"""Batches of ARC examples: for training out of a `Build`, for evaluation out of a model's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.arc.augment import by_task, split_name
from trm_sdk.domains.arc.builder import Build
from trm_sdk.domains.arc.canvas import PAD, SIDE, encode
from trm_sdk.domains.data import Examples
from trm_sdk.errors import CheckpointError, InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.task import Task
from trm_sdk.validation import is_int


class ArcSource:
    """Draws training batches from a build, as the reference's loader does; resumable.

    An iteration is `epochs_per_iter` epochs. An epoch takes every group once, in random order: one
    of its puzzles, with all its pairs. Puzzles are packed into batches; of the one that a batch has
    no room for, random pairs are left out, and so is what does not fill the last batch of an
    iteration.

    With the reference's seed, epochs an iteration and batch size, groups and puzzles are the
    reference's in order. Which pairs of a puzzle go first, or are left out, can't be: it draws
    them from a generator that it never seeds.

    Parameters
    ----------
    build : Build
    seed : int
    epochs_per_iter : int
        Default 1; the reference has its interval of evaluation. Epochs are added where these do
        not fill one batch, of which the reference would never draw any.

    Attributes
    ----------
    shape : (30, 30)
    iteration : int
        Number of the iteration that the next batch is of; from 1.
    """

    def __init__(self, build: Build, seed: int = 0, epochs_per_iter: int = 1) -> None:
        for name, value, low in (("seed", seed, 0), ("epochs_per_iter", epochs_per_iter, 1)):
            if not is_int(value) or value < low:
                raise InvalidInputError(
                    f"{name} must be a whole number from {low}; got {shown(value)}"
                )
        self.build, self.seed, self.epochs_per_iter = build, int(seed), int(epochs_per_iter)
        self.shape = (SIDE, SIDE)
        self.iteration = 0
        self._position = 0
        self._order: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._rng = np.random.Generator(np.random.Philox(seed))
        self._pairs = np.random.Generator(np.random.Philox((self.seed, 1)))

    def draw(self, n: int) -> Examples:
        """Return the next batch of n examples.

        Raises
        ------
        InvalidInputError
            If n is not a whole number from 1.
        """
        if not is_int(n) or n < 1:
            raise InvalidInputError(f"n must be a whole number from 1; got {shown(n)}")
        # All puzzles of a group have equally many pairs: what is left of an iteration is known.
        if int(self.build.sizes[self._order[self._position :]].sum()) < n:
            epoch = int(self.build.sizes.sum())
            self._begin(self.iteration + 1, max(self.epochs_per_iter, -(-n // epoch)))
        puzzles: list[npt.NDArray[np.int64]] = []
        members: list[npt.NDArray[np.int64]] = []
        room = n
        while room:
            group = self._order[self._position]
            self._position += 1
            low, high = self.build.group_starts[group : group + 2]
            puzzle = self._rng.integers(low, high)
            size = int(self.build.sizes[group])
            taken = min(size, room)
            puzzles.append(np.full(taken, puzzle, np.int64))
            members.append(self._pairs.choice(size, taken, replace=False))
            room -= taken
        return self.build.examples(np.concatenate(puzzles), np.concatenate(members))

    def _begin(self, iteration: int, epochs: int) -> None:
        self.iteration, self._position = iteration, 0
        self._rng = np.random.Generator(np.random.Philox(seed=self.seed + iteration))
        groups = len(self.build.groups)
        self._order = np.concatenate([self._rng.permutation(groups) for _ in range(epochs)])

    def state_dict(self) -> dict[str, Any]:
        """Return where the source stands, and its random states."""
        groups = len(self.build.groups)
        return {
            "iteration": self.iteration,
            "position": self._position,
            "epochs": len(self._order) // groups,
            "groups": groups,
            "puzzles": len(self.build.dihedrals),
            "rng": self._rng.bit_generator.state,
            "pairs": self._pairs.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises
        ------
        CheckpointError
            If the state is of a source of another build.
        """
        size = (len(self.build.groups), len(self.build.dihedrals))
        saved = (int(state["groups"]), int(state["puzzles"]))
        if size != saved:
            raise CheckpointError(
                f"the saved source drew from {saved[0]} groups of {saved[1]} puzzles; this one has "
                f"{size[0]} groups of {size[1]}"
            )
        self.iteration = 0
        self._order = np.empty(0, np.int64)
        if int(state["iteration"]):
            self._begin(int(state["iteration"]), int(state["epochs"]))
            self._rng.bit_generator.state = state["rng"]
        self._position = int(state["position"])
        self._pairs.bit_generator.state = state["pairs"]


def evaluation_examples(
    tasks: Sequence[Task],
    names: Sequence[str],
    batch_size: int = 256,
    augmentations: int | None = None,
) -> Iterator[Examples]:
    """Yield all test inputs of tasks under all augmentations that a model knows, in batches.

    Parameters
    ----------
    tasks : sequence of Task
    names : sequence of str
        Name of each identifier: `Build.names`, or the list in a reference data set's
        ``identifiers.json``.
    batch_size : int
        Default 256; the last batch may be smaller.
    augmentations : int, optional
        At most this many beside each task itself, the first; default all.

    Yields
    ------
    Examples
        Answers that are not known are padding throughout, and masked.

    Raises
    ------
    InvalidInputError
        If a task is not among the names: an identifier that was not trained (a blank one) solves
        nothing.
    """
    if not is_int(batch_size) or batch_size < 1:
        raise InvalidInputError(
            f"batch_size must be a whole number from 1; got {shown(batch_size)}"
        )
    if augmentations is not None and (not is_int(augmentations) or augmentations < 0):
        raise InvalidInputError(
            f"augmentations must be a whole number from 0 or None; got {shown(augmentations)}"
        )
    places = by_task(names)
    wanted: list[tuple[Task, int]] = []
    for task in tasks:
        if not task.name or task.name not in places:
            raise InvalidInputError(
                f"task {task.name} is not among the {len(names)} names that the model knows"
            )
        known = places[task.name]
        wanted += [(task, i) for i in known[: None if augmentations is None else augmentations + 1]]
    return _batches(wanted, names, batch_size)


def _batches(
    wanted: Sequence[tuple[Task, int]], names: Sequence[str], batch_size: int
) -> Iterator[Examples]:
    nothing = np.full(SIDE * SIDE, PAD, np.int32)
    rows: list[tuple[Any, ...]] = []
    for task, identifier in wanted:
        augmentation = split_name(names[identifier])[1]
        answers = task.answers or (None,) * len(task.inputs)
        for grid, answer in zip(task.inputs, answers, strict=True):
            right = nothing if answer is None else encode(augmentation.apply_cells(answer))
            rows.append((encode(augmentation.apply_cells(grid)), right, identifier))
            if len(rows) == batch_size:
                yield _stacked(rows)
                rows = []
    if rows:
        yield _stacked(rows)


def _stacked(rows: list[tuple[Any, ...]]) -> Examples:
    tokens, answers, identifiers = (np.stack(part) for part in zip(*rows, strict=True))
    return Examples(tokens, answers, identifiers.astype(np.int32), answers != PAD, (SIDE, SIDE))


__all__ = ["ArcSource", "evaluation_examples"]
