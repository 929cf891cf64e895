"""Puzzles to judge and to calibrate graphs by: from a file, or generated where the domain can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trm_sdk.domains import Domain
from trm_sdk.domains.data import HELD_OUT_SEED, Encoded, Examples
from trm_sdk.files import read_file
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.task import Task

from .builder import Array
from .errors import ExportError

#: Seed of the puzzles that calibrate: not that of the held-out set that judges.
CALIBRATION_SEED = 0xCA11B


class Puzzles(NamedTuple):
    """Puzzles on boards of one shape, as a graph takes them.

    Attributes
    ----------
    tokens : int32 array of shape (puzzles, N)
        Or (puzzles, rows, columns), for models of any size.
    identifiers : int32 array of shape (puzzles,), or None
        Rows of the puzzle embedding; None: all 0.
    """

    tokens: Array
    identifiers: Array | None = None

    def rows_of_embedding(self) -> Array:
        """Return `identifiers`, as an array."""
        if self.identifiers is None:
            return np.zeros(len(self.tokens), np.int32)
        return self.identifiers


def as_graph_takes(spec: ModelSpec, examples: Examples) -> Puzzles:
    """Return the inputs of a graph for examples."""
    shape = spec.model.token_shape_of(examples.shape)
    tokens = examples.tokens.reshape(len(examples.tokens), *shape)
    return Puzzles(tokens.astype(np.int32), examples.identifiers)


def read_puzzles(path: str | os.PathLike[str], spec: ModelSpec, limit: int = 20) -> list[Puzzles]:
    """Return the first puzzles of a file, encoded by the model's domain, by shape of board.

    Parameters
    ----------
    path : path
        Any text that `trm_sdk.files.read_tasks` reads; answers are not needed.

    Raises
    ------
    ExportError
        If the file can't be read, or has no puzzle.
    TRMError
        If the domain is not registered, or a puzzle is not valid.
    """
    domain = spec.made_for()
    encoded: dict[tuple[int, int], list[Encoded]] = {}
    for task in islice(_tasks(path, domain), limit):
        one = domain.encode(task)
        encoded.setdefault(one.shape, []).append(one)
    if not encoded:
        raise ExportError(f"{os.fspath(path)} has no puzzle")
    return [
        Puzzles(
            np.stack([one.tokens.reshape(spec.model.token_shape_of(shape)) for one in some]),
            np.array([one.identifier for one in some], np.int32),
        )
        for shape, some in encoded.items()
    ]


def read_answered(path: str | os.PathLike[str], domain: Domain, limit: int) -> Examples:
    """Return the first puzzles of a file that have answers.

    Raises
    ------
    ExportError
        If the file can't be read, or has no puzzle with an answer.
    InvalidInputError
        If a puzzle is not valid, or boards differ in shape.
    """
    answered = (task for task in _tasks(path, domain) if task.answers is not None)
    tasks = list(islice(answered, limit))
    if not tasks:
        raise ExportError(f"{os.fspath(path)} has no puzzle with an answer")
    return domain.encode_examples(tasks)


def _tasks(path: str | os.PathLike[str], domain: Domain) -> Iterator[Task]:
    """The tasks of a file.

    Raises
    ------
    ExportError
        If it can't be read.
    """
    try:
        for task in read_file(Path(path), domain, os.fspath(path)):
            if isinstance(task, Exception):
                raise task
            yield task
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{os.fspath(path)} can't be read: {error}") from None


def held_out(spec: ModelSpec, n: int) -> Examples:
    """Return generated puzzles that no training run draws, with their answers.

    Raises
    ------
    ExportError
        If the domain makes no puzzles, or its generator needs a package that is not installed.
    """
    return _generated(spec, n, HELD_OUT_SEED)


def calibration(spec: ModelSpec, n: int) -> list[Puzzles]:
    """Return generated puzzles, others than the held-out ones.

    Raises
    ------
    ExportError
        As `held_out`.
    """
    return [as_graph_takes(spec, _generated(spec, n, CALIBRATION_SEED))]


def _generated(spec: ModelSpec, n: int, seed: int) -> Examples:
    domain = spec.made_for()
    if not domain.has_generator:
        raise ExportError(f"puzzles of {spec.domain!r} can't be generated: name a file of them")
    try:
        return domain.examples(n, seed)
    except ImportError as error:
        raise ExportError(
            f"puzzles can't be generated ({error}): install trm-sdk[train], or name a file of them"
        ) from None
