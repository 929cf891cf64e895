"""How the conformance kit says what it expects, and what it checks with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import first_line, shown
from trm_sdk.task import Task

_T = TypeVar("_T")
_GENERATED = 4


class ConformanceWarning(UserWarning):
    """Something that works, and could be better."""


def fail(domain: Domain, call: str, expected: str, got: object) -> NoReturn:
    """Raise the `AssertionError` of a violation."""
    name = getattr(domain, "name", type(domain).__name__)
    raise AssertionError(f"{name}: {call} {expected}; got {_short(got)}")


def expect(condition: object, domain: Domain, call: str, expected: str, got: object) -> None:
    """Raise an `AssertionError` unless a condition holds."""
    if not condition:
        fail(domain, call, expected, got)


def run(domain: Domain, call: str, function: Callable[..., _T], *arguments: Any, **more: Any) -> _T:
    """Call a method that must not raise."""
    try:
        return function(*arguments, **more)
    except AssertionError:
        raise
    except Exception as error:
        name = getattr(domain, "name", type(domain).__name__)
        raise AssertionError(
            f"{name}: {call} must not raise; got {type(error).__name__}: {first_line(error)}"
        ) from error


def check_groups(
    domain: Domain, call: str, groups: Mapping[str, Any] | None, batch: tuple[int, ...] = ()
) -> None:
    """Check the groups that puzzles bring: none, or those of `own_groups`, in the right form."""
    found = {} if groups is None else dict(groups)
    keys = sorted(domain.own_groups)
    expect(sorted(found) == keys, domain, call, f"must be for own_groups, {keys}", sorted(found))
    stated = domain.structure.memberships() if domain.structure is not None else {}
    for key, one in found.items():
        wanted = (*batch, *stated[key].shape) if key in stated else None
        expect(
            isinstance(one, np.ndarray) and one.dtype == np.uint8 and one.shape == wanted,
            domain,
            f"{key!r} of {call}",
            f"must be uint8 of shape {wanted}, as many groups as the structure states",
            f"{getattr(one, 'dtype', type(one).__name__)} of shape {getattr(one, 'shape', '-')}",
        )
        expect(bool((one <= 1).all()), domain, f"{key!r} of {call}", "must be 0 and 1", np.max(one))


def refuses(domain: Domain, call: str, function: Callable[..., object], *arguments: Any) -> None:
    """Call a method that must raise `InvalidInputError`."""
    try:
        got = function(*arguments)
    except InvalidInputError:
        return
    except Exception as error:
        name = getattr(domain, "name", type(domain).__name__)
        raise AssertionError(
            f"{name}: {call} must raise InvalidInputError; got {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error
    fail(domain, call, "must raise InvalidInputError", got)


def as_text(domain: Domain, grid: Grid) -> str:
    """Return a board as messages show it."""
    try:
        return shown(domain.to_line(grid), 90)
    except Exception:  # a domain that can't write it is told so elsewhere
        return shown(grid, 90)


def _short(value: object) -> str:
    return value if isinstance(value, str) and len(value) < 200 else shown(value, 120)


@dataclass(frozen=True)
class Samples:
    """A domain and puzzles to check it with.

    Attributes
    ----------
    domain : Domain
    tasks : tuple of Task
        Each with answers.
    seed : int
    """

    domain: Domain
    tasks: tuple[Task, ...]
    seed: int

    @classmethod
    def of(cls, domain: Domain, tasks: Sequence[Task], seed: int) -> Samples:
        """Return a domain's puzzles: the tasks given, and generated ones."""
        found = list(tasks)
        for number, task in enumerate(found):
            expect(
                isinstance(task, Task) and task.answers is not None,
                domain,
                f"tasks[{number}]",
                "must be a Task with answers",
                task,
            )
        if domain.has_generator:
            options = run(domain, "generator_options({})", domain.generator_options, {})
            for number in range(_GENERATED):
                rng = np.random.default_rng((seed, number))
                call = f"generate(default_rng({(seed, number)}), **{options})"
                task = run(domain, call, domain.generate, rng, **options)
                expect(
                    isinstance(task, Task) and task.answers is not None,
                    domain,
                    call,
                    "must return a Task with its answers",
                    task,
                )
                found.append(task)
        if not found:
            raise AssertionError(
                f"{domain.name}: check_domain needs puzzles; the domain has no generator, so give "
                "some with answers as tasks=[...]"
            )
        return cls(domain, tuple(found), seed)

    def rng(self) -> np.random.Generator:
        """Return a new generator of the kit's own chance."""
        return np.random.default_rng((self.seed, 99))

    def pairs(self) -> list[tuple[Task, int, Grid]]:
        """Return each input, as (task, index), with its answer."""
        return [
            (task, index, answer)
            for task in self.tasks
            for index, answer in enumerate(task.answers or ())
        ]


def spoilt(
    domain: Domain, answer: npt.NDArray[np.integer[Any]], wanted: npt.NDArray[np.bool_], most: int
) -> list[npt.NDArray[np.integer[Any]]]:
    """Return copies of an answer, as values of shape (N,), each with one cell changed.

    Parameters
    ----------
    domain : Domain
    answer : integer array of shape (N,)
    wanted : bool array of shape (N,)
        Cells that may be changed.
    most : int
        Cells to change, evenly spread.
    """
    values = np.array(domain.vocabulary.answer_values)
    cells = np.flatnonzero(wanted)
    copies = []
    for number, cell in enumerate(cells[:: max(1, len(cells) // most)]):
        others = values[values != answer[cell]]
        if len(others):
            copy = answer.copy()
            copy[cell] = others[number % len(others)]
            copies.append(copy)
    return copies


__all__ = ["ConformanceWarning", "Samples", "as_text", "expect", "fail", "refuses", "run", "spoilt"]
