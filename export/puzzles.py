"""Puzzles to judge and to calibrate graphs by: from a file, or generated where the domain can."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import numpy as np

from export.builder import Array
from export.errors import ExportError
from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.files import read_tasks
from trm_sdk.persistence.spec import ModelSpec

#: Seed of the puzzles that calibrate: not that of the held-out set that judges.
CALIBRATION_SEED = 0xCA11B


def read_puzzles(path: str | os.PathLike[str], spec: ModelSpec, limit: int = 20) -> Array:
    """The first puzzles of a file, encoded by the model's domain: int32 of shape (puzzles, N).

    Parameters
    ----------
    path : path
        Any text that `trm_sdk.files.read_tasks` reads; answers are not needed.

    Raises
    ------
    ExportError
        If the file can't be read, or has no puzzle.
    TRMError
        If the domain is not registered, or a puzzle is none.
    """
    tokens = []
    try:
        domain = get_domain(spec.domain)
        with Path(path).open(encoding="utf-8", errors="surrogateescape") as lines:
            for task in islice(read_tasks(lines, domain, os.fspath(path)), limit):
                if isinstance(task, Exception):
                    raise task
                tokens.append(domain.encode(task).tokens)
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{os.fspath(path)} can't be read: {error}") from None
    if not tokens:
        raise ExportError(f"{os.fspath(path)} has no puzzle")
    return np.stack(tokens).astype(np.int32)


def read_answered(path: str | os.PathLike[str], domain: Domain, limit: int) -> tuple[Array, Array]:
    """Encoded puzzles and their answers, each int32 of shape (puzzles, N).

    Raises
    ------
    ExportError
        If the file can't be read, or has no puzzle with an answer.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{os.fspath(path)} can't be read: {error}") from None
    tokens, answers = [], []
    for task in read_tasks(lines, domain, os.fspath(path)):
        if isinstance(task, Exception):
            raise task
        if task.answers is None:
            continue
        tokens.append(domain.encode(task).tokens)
        answers.append(domain.encode_grid(task.answers[0]))
        if len(tokens) == limit:
            break
    if not tokens:
        raise ExportError(f"{os.fspath(path)} has no puzzle with an answer")
    return np.stack(tokens).astype(np.int32), np.stack(answers).astype(np.int32)


def held_out(spec: ModelSpec, n: int) -> tuple[Array, Array]:
    """Return generated puzzles that no training run draws, and their answers.

    Returns
    -------
    tokens, answers : int32 arrays of shape (n, N)

    Raises
    ------
    ExportError
        If the domain makes no puzzles, or its generator needs a package that is not installed.
    """
    examples = _generated(spec, n, HELD_OUT_SEED)
    return examples.tokens, examples.answers


def calibration(spec: ModelSpec, n: int) -> Array:
    """Return generated puzzles, others than the held-out ones: int32 of shape (n, N).

    Raises
    ------
    ExportError
        As `held_out`.
    """
    return _generated(spec, n, CALIBRATION_SEED).tokens


def _generated(spec: ModelSpec, n: int, seed: int) -> Examples:
    domain = get_domain(spec.domain)
    if not domain.has_generator:
        raise ExportError(f"puzzles of {spec.domain!r} can't be generated: name a file of them")
    try:
        return domain.examples(n, seed)
    except ImportError as error:
        raise ExportError(
            f"puzzles can't be generated ({error}): install trm-sdk[train], or name a file of them"
        ) from None
