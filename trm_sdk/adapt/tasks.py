"""Tasks as adaptation takes them: their domain, their blank colour, and their plain data."""

from __future__ import annotations

from typing import Any

from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task


def checked_domain(domain: object) -> Domain:
    """Return a domain, which may be given by its name.

    Raises
    ------
    InvalidInputError
        If it is neither a `Domain` nor the name of a registered one.
    """
    if isinstance(domain, str):
        return get_domain(domain)
    if not isinstance(domain, Domain):
        raise InvalidInputError(f"domain must be a Domain or its name; got {shown(domain)}")
    return domain


def blank_value(domain: Domain) -> int:
    """Return the value of a cell with nothing in it: the first that an answer may hold."""
    return int(domain.vocabulary.answer_values[0])


def task_json(task: Task) -> dict[str, Any]:
    """Return name, inputs and demonstrations of a task as plain data; not its answers."""
    return {
        "name": task.name,
        "inputs": [grid.tolist() for grid in task.inputs],
        "demonstrations": [[a.tolist(), b.tolist()] for a, b in task.demonstrations],
    }


def task_from_json(data: dict[str, Any]) -> Task:
    """Return the task that `task_json` has written."""
    pairs = tuple((Grid(a), Grid(b)) for a, b in data["demonstrations"])
    return Task(tuple(Grid(cells) for cells in data["inputs"]), pairs, name=data["name"])


__all__ = ["blank_value", "checked_domain", "task_from_json", "task_json"]
