"""The registry of domains: names, some with sizes, and where their classes are found.

A domain is imported when it is first asked for. Other packages add theirs through the entry-point
group ``trm_sdk.domains`` or, at run time, through `register_domain`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points

from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

ENTRY_POINT_GROUP = "trm_sdk.domains"

#: A name without a size is made by a call without arguments; ``{rows}x{columns}`` in a name stands
#: for a size, which the call is given as ``rows`` and ``columns``.
_BUILT_IN = {
    "arc": "trm_sdk.domains.arc:Arc",
    "jigsaw": "trm_sdk.domains.sudoku.variants.jigsaw:Jigsaw",
    "jigsaw-{rows}x{columns}": "trm_sdk.domains.sudoku.variants.jigsaw:of_size",
    "maze": "trm_sdk.domains.maze:Maze",
    "maze-{rows}x{columns}": "trm_sdk.domains.maze:Maze",
    "sudoku": "trm_sdk.domains.sudoku:Sudoku",
    "sudoku-{rows}x{columns}": "trm_sdk.domains.sudoku:of_size",
    "sudoku-boxes-{rows}x{columns}": "trm_sdk.domains.sudoku:of_boxes",
    "sudoku-x": "trm_sdk.domains.sudoku.variants:SudokuX",
    "sudoku-x-{rows}x{columns}": "trm_sdk.domains.sudoku.variants:x_of_size",
    "windoku": "trm_sdk.domains.sudoku.variants:Windoku",
}
_SIZE = "{rows}x{columns}"
#: Sizes are at most this many cells a side.
_DIGITS = r"[1-9]\d{0,4}"

Factory = Callable[..., Domain]
_registered: dict[str, Factory] = {}
_made: dict[str, Domain] = {}


def register_domain(name: str, factory: Factory) -> None:
    """Make a domain known under `name` for this process.

    Parameters
    ----------
    name : str
        Such as ``takuzu-6x6``; or ``takuzu-{rows}x{columns}`` for boards of any size.
    factory : callable
        Returns the `Domain`; takes ``rows`` and ``columns`` where the name has them.

    Raises
    ------
    InvalidInputError
        If the name is taken or not a name, or `factory` can't be called.
    """
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"a domain's name must be text; got {shown(name)}")
    if not callable(factory):
        raise InvalidInputError(
            f"a domain must be registered by a function that makes it; got {shown(factory)}"
        )
    if name in _BUILT_IN or name in _registered:
        raise InvalidInputError(f"a domain named {name!r} is already registered")
    _registered[name] = factory


def available_domains() -> list[str]:
    """Return the names of all domains, built in and added; ``{rows}x{columns}`` is any size."""
    return sorted({name for known in (_own, _installed) for name, _ in known()})


def get_domain(name: str) -> Domain:
    """Return the domain of a name.

    Raises
    ------
    InvalidInputError
        If there is none, and the message names those there are; or if what was registered does not
        make a `Domain`.
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"a domain's name must be text; got {shown(name)}")
    if name not in _made:
        _made[name] = _make(name)
    return _made[name]


_Known = Iterator[tuple[str, Callable[[], Factory]]]


def _own() -> _Known:
    """Names registered in this process and built in, and how to load their factories."""
    for name, factory in _registered.items():
        yield name, lambda factory=factory: factory  # type: ignore[misc]
    for name, place in _BUILT_IN.items():
        yield name, lambda place=place: _imported(place)  # type: ignore[misc]


def _installed() -> _Known:
    """The same of other packages; finding them takes a look at all that are installed."""
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        yield entry.name, entry.load


def _imported(place: str) -> Factory:
    module, _, attribute = place.partition(":")
    factory: Factory = getattr(import_module(module), attribute)
    return factory


def _make(name: str) -> Domain:
    for known in (_own, _installed):  # the second only for what the first has not
        for pattern, load in known():
            if pattern == name:
                return _checked(load()(), name)
        for pattern, load in known():
            size = _size_in(name, pattern)
            if size is not None:
                return _checked(load()(rows=size[0], columns=size[1]), name)
    names = available_domains()
    close = difflib.get_close_matches(name[:100], names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise InvalidInputError(f"no domain named {shown(name)}{hint} (there are {names})")


def _size_in(name: str, pattern: str) -> tuple[int, int] | None:
    """The size that a name has where a pattern has ``{rows}x{columns}``."""
    if _SIZE not in pattern:
        return None
    before, _, after = pattern.partition(_SIZE)
    expression = f"{re.escape(before)}({_DIGITS})x({_DIGITS}){re.escape(after)}"
    found = re.fullmatch(expression, name, re.ASCII)
    return None if found is None else (int(found[1]), int(found[2]))


def _checked(made: object, name: str) -> Domain:
    if not isinstance(made, Domain):
        raise InvalidInputError(
            f"what is registered as the domain {name!r} does not make a Domain; got {shown(made)}"
        )
    return made


__all__ = ["ENTRY_POINT_GROUP", "available_domains", "get_domain", "register_domain"]
