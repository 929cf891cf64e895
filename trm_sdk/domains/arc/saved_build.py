"""Builds on disk: what `Build.save` wrote, checked before it is used."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from trm_sdk.array_files import read_arrays
from trm_sdk.domains.arc.builder import Build, Subset, build, contents_of, group_of
from trm_sdk.domains.arc.canvas import SIDE
from trm_sdk.errors import CheckpointError
from trm_sdk.messages import first_line
from trm_sdk.validation import as_path

#: Arrays of a build, in the order of its attributes.
_ARRAYS = ("group_starts", "dihedrals", "colours", "offsets")


def load_build(folder: str | os.PathLike[str], subsets: Sequence[Subset]) -> Build:
    """Load what `Build.save` wrote.

    Parameters
    ----------
    folder : path
    subsets : sequence of Subset
        That the data set was built of.

    Raises
    ------
    CheckpointError
        If it can't be read, or was built of other tasks.
    """
    path = as_path(folder) / "build.npz"
    try:
        saved = read_arrays(path)
        order, contents = map(str, saved["order"]), map(str, saved["contents"])
        wanted = dict(zip(order, contents, strict=True))
        seed, augmentations = map(int, saved["numbers"])
        starts, dihedrals, colours, offsets = (saved[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a saved build: {first_line(error)}") from None
    known = {
        task.name: group_of(task, subset.evaluation) for subset in subsets for task in subset.tasks
    }
    if sorted(wanted) != sorted(map(str, known)):
        raise CheckpointError(f"{path} was built of other tasks")
    groups = tuple(known[name] for name in wanted)
    for group, contents_then in zip(groups, wanted.values(), strict=True):
        if contents_of(group) != contents_then:
            raise CheckpointError(f"{path} was built of another task {group.task.name}")
    made = Build(groups, starts, dihedrals, colours, offsets, seed, augmentations)
    if not _is_whole(made):
        raise CheckpointError(f"{path} is not a saved build: its arrays do not fit its tasks")
    return made


def _is_whole(made: Build) -> bool:
    """Whether the arrays are such as `build` makes of these tasks."""
    starts, puzzles = made.group_starts, made.dihedrals.size
    return (
        starts.dtype.kind == "i"
        and all(one.dtype == np.uint8 for one in (made.dihedrals, made.colours, made.offsets))
        and starts.shape == (len(made.groups) + 1,)
        and (starts[0], starts[-1]) == (0, puzzles)
        and bool((np.diff(starts) > 0).all())
        and made.dihedrals.shape == (puzzles,)
        and bool((made.dihedrals < 8).all())
        and made.colours.shape == (puzzles, 10)
        and bool((np.sort(made.colours, axis=1) == np.arange(10)).all())
        and made.offsets.shape == (int(made.starts[-1]), 2)
        and bool((made.offsets < SIDE).all())
    )


def cached_build(
    folder: str | os.PathLike[str],
    subsets: Sequence[Subset],
    *,
    augmentations: int = 1000,
    seed: int = 42,
) -> Build:
    """Load the data set that a folder holds, or build it and save it there.

    Raises
    ------
    CheckpointError
        If the folder holds one of other tasks or with other numbers.
    InvalidInputError
        See `build`.
    """
    place = as_path(folder)
    if not (place / "build.npz").exists():
        made = build(subsets, augmentations=augmentations, seed=seed)
        made.save(place)
        return made
    made = load_build(place, subsets)
    for name, wanted in (("augmentations", augmentations), ("seed", seed)):
        if getattr(made, name) != wanted:
            raise CheckpointError(
                f"{place} holds a build with {name}={getattr(made, name)}; got {name}={wanted}"
            )
    return made


__all__ = ["cached_build", "load_build"]
