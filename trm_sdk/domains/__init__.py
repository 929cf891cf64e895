"""Puzzle domains and their registry.

Built-in domains are listed here; other packages add theirs through the entry-point group
``trm_sdk.domains``, whose entries name a function without arguments that returns a `Domain`, or at
run time through `register_domain`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points

from trm_sdk.domains.base import Domain, Symmetry
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

__all__ = ["Domain", "Sudoku", "Symmetry", "available_domains", "get_domain", "register_domain"]

ENTRY_POINT_GROUP = "trm_sdk.domains"

_factories: dict[str, Callable[[], Domain]] = {
    "sudoku": lambda: Sudoku(3, 3),
    "sudoku-4x4": lambda: Sudoku(2, 2),
    "sudoku-6x6": lambda: Sudoku(2, 3),
    "sudoku-16x16": lambda: Sudoku(4, 4),
}
_made: dict[str, Domain] = {}


def register_domain(name: str, factory: Callable[[], Domain]) -> None:
    """Make a domain known under `name` for this process.

    Raises
    ------
    InvalidInputError
        If the name is taken or no name, or `factory` can't be called.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"a domain's name is a str; got {shown(name)}")
    if not callable(factory):
        raise InvalidInputError(
            f"a domain is registered by a function that makes it; got {shown(factory)}"
        )
    if name in _factories:
        raise InvalidInputError(f"a domain named {name!r} is already registered")
    _factories[name] = factory


def available_domains() -> list[str]:
    """Names of all domains, built in and added by other packages."""
    return sorted({*_factories, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})


def get_domain(name: str) -> Domain:
    """The domain of that name.

    Raises
    ------
    InvalidInputError
        If there is none, and the message names those there are; or what was registered makes no
        `Domain`.
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"a domain's name is a str; got {shown(name)}")
    if name not in _made:
        factory = _factories.get(name)
        if factory is None:
            for entry in entry_points(group=ENTRY_POINT_GROUP):
                if entry.name == name:
                    factory = entry.load()
        if factory is None:
            names = available_domains()
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InvalidInputError(f"no domain named {name!r}{hint} (there are {names})")
        made = factory()
        if not isinstance(made, Domain):
            raise InvalidInputError(
                f"what is registered as the domain {name!r} makes no Domain; got {shown(made)}"
            )
        _made[name] = made
    return _made[name]
