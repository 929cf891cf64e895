"""What training asks of a domain: generated puzzles, data sets, targets, judgement of answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from trm_sdk.domains.data import (
    Encoded,
    Examples,
    Shape,
    Source,
    Targets,
    Tokens,
    stacked_groups,
)
from trm_sdk.domains.evaluation import Evaluation, ExactEvaluation
from trm_sdk.domains.generated import GeneratedSource
from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import explain, shown
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain


class NoOptions(BaseModel):
    """Generator options of a domain that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Trainable(ABC):
    """The part of a `Domain` that training uses; solving does without.

    Attributes
    ----------
    Options : type of pydantic model
        The options of `generate`, or those that name a data set, for recipes. Default: none are
        taken.
    EvaluationOptions : type of pydantic model
        The options of `evaluation`. Default: none are taken.
    """

    name: str
    shape: Shape
    vocabulary: Vocabulary
    any_size: bool
    Options: ClassVar[type[BaseModel]] = NoOptions
    EvaluationOptions: ClassVar[type[BaseModel]] = NoOptions

    @property
    def _domain(self) -> Domain:
        return cast("Domain", self)  # nothing else derives from this class

    @abstractmethod
    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        """Make one puzzle with its answer; see `Domain`."""

    @abstractmethod
    def encode(self, task: Task, index: int = 0) -> Encoded:
        """Return input `index` of a task as a network takes it."""

    @abstractmethod
    def encode_answer(self, task: Task, answer: Grid, index: int = 0) -> Tokens:
        """Return an answer to input `index` of a task as int32 tokens of shape (N,)."""

    def generator_options(self, options: Any) -> dict[str, Any]:
        """Return options of `generate` with its defaults, checked by `Options`.

        Raises
        ------
        ConfigError
            Naming the option, its value, and what is accepted.
        """
        return self._checked_options(self.Options, options, "generator options")

    def _checked_options(
        self, accepted: type[BaseModel], options: Any, what: str
    ) -> dict[str, Any]:
        try:
            checked = accepted.model_validate(options)
        except ValidationError as error:
            what = f"{what} of {self.name}"
            raise ConfigError(explain(error, what, accepted.model_fields)) from None
        return {name: getattr(checked, name) for name in type(checked).model_fields}

    def shape_of(self, options: Mapping[str, Any]) -> Shape:
        """Return the shape of the boards that `generate` makes with these options.

        Here ``rows`` and ``columns`` of the options, where a domain of any size has them, else
        `shape`.
        """
        rows, columns = (options.get(name) for name in ("rows", "columns"))
        if self.any_size and rows is not None and columns is not None:
            return int(rows), int(columns)
        return self.shape

    def targets(self, examples: Examples) -> Targets | None:
        """Return what a network is asked at which step; here None: its answer, at every step.

        Notes
        -----
        For puzzles whose answer spreads over the board step by step: a network that is asked from
        the first step on for what it can't know yet is taught to guess.
        """
        return None

    def examples(self, n: int, seed: int, options: Mapping[str, Any] | None = None) -> Examples:
        """Return the first n of an endless list of generated puzzles, one list a seed."""
        chosen = self.generator_options(dict(options or {}))
        tasks = [self.generate(np.random.default_rng((seed, i)), **chosen) for i in range(n)]
        return self.encode_examples(tasks)

    def source(self, options: Mapping[str, Any], seed: int) -> Source:
        """Return an endless source of generated puzzles."""
        return GeneratedSource(self._domain, options, seed)

    def trained_on(self, options: Mapping[str, Any]) -> Domain:
        """Return the domain as a model sees it that is trained on a data set (`has_data_sets`).

        Here itself; a domain whose identifiers come from the data set returns one with its names.
        """
        return self._domain

    def held_out(self, options: Mapping[str, Any]) -> Examples | None:
        """Return the examples that a data set of `source` holds out, with answers; None: none."""
        return None

    def evaluation(
        self, tasks: Sequence[Task], options: Mapping[str, Any] | None = None
    ) -> Evaluation:
        """Return what judges a model's answers to tasks; here, whether they are exact.

        Parameters
        ----------
        tasks : sequence of Task
            With answers.
        options : mapping, optional
            Fields of `EvaluationOptions`.

        Raises
        ------
        ConfigError
            Naming the option, its value, and what is accepted.
        InvalidInputError
            If a task has no answer.
        """
        self.evaluation_options(options or {})
        return ExactEvaluation(self._domain, tasks)

    def evaluation_options(self, options: Any) -> dict[str, Any]:
        """Return options of `evaluation` with its defaults, checked by `EvaluationOptions`.

        Raises
        ------
        ConfigError
            Naming the option, its value, and what is accepted.
        """
        return self._checked_options(self.EvaluationOptions, options, "evaluation options")

    def encode_examples(self, tasks: Sequence[Task]) -> Examples:
        """Return tasks with answers as examples, one an input.

        Raises
        ------
        InvalidInputError
            If a task has no answer, or boards differ in shape.
        """
        encoded, answers = [], []
        for task in tasks:
            if task.answers is None:
                raise InvalidInputError(f"{task.name or 'a task'} has no answer to learn from")
            encoded += [self.encode(task, index) for index in range(len(task.inputs))]
            answers += [self.encode_answer(task, one, i) for i, one in enumerate(task.answers)]
        if len({one.shape for one in encoded}) != 1:
            raise InvalidInputError(
                f"examples must be on boards of one shape; got {shown({e.shape for e in encoded})}"
            )
        wanted = np.stack(answers)
        return Examples(
            np.stack([one.tokens for one in encoded]),
            wanted,
            np.array([one.identifier for one in encoded], np.int32),
            wanted >= self.vocabulary.first,
            encoded[0].shape,
            stacked_groups([one.groups for one in encoded]),
        )

    def fingerprint(self, tokens: Tokens, shape: Shape | None = None) -> npt.NDArray[np.uint64]:
        """Return a hash of each puzzle, by which training leaves out what is held out.

        Puzzles that a symmetry maps to each other should have the same one; here only equal ones
        have.

        Parameters
        ----------
        tokens : int32 array of shape (n, N)
        shape : (rows, columns), optional
            Of the boards; default the domain's own.

        Returns
        -------
        uint64 array of shape (n,)
        """
        digests = b"".join(
            hashlib.blake2b(np.ascontiguousarray(row, np.int32).tobytes(), digest_size=8).digest()
            for row in tokens
        )
        prints: npt.NDArray[np.uint64] = np.frombuffer(digests, np.uint64).copy()
        return prints


__all__ = ["NoOptions", "Trainable"]
