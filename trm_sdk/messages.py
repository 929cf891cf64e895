"""How errors speak: a value on one line, an exception's first line, a schema's complaint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


#: Characters of a sentence, or of a key's name, that may come from outside.
_LONGEST_SENTENCE, _LONGEST_NAME = 300, 100
#: Complaints about one description that are told; the rest are counted.
_MOST_COMPLAINTS = 8


def shown(value: object, limit: int = 60) -> str:
    """Return a value as errors name it: its repr on one line, cut where that is long.

    Only as much of a list, tuple, set, mapping or text is written as is shown, whatever its size
    and depth.
    """
    writer = _Writer(limit)
    with suppress(_FullError):
        writer.write(value)
    return clipped("".join(writer.parts), limit)


def clipped(text: str, limit: int) -> str:
    """Return a text on one line, cut where it is longer than `limit`."""
    text = " ".join(text[: 2 * limit].splitlines())
    # What comes from elsewhere may move a terminal's cursor, or colour what follows.
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class _FullError(Exception):
    """More is written than will be shown."""


class _Writer:
    """Writes a repr until there is more than `limit` characters of it."""

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self._limit = limit
        self._left = limit

    def text(self, text: str) -> None:
        self.parts.append(text)
        self._left -= len(text)
        if self._left < 0:
            raise _FullError

    def write(self, value: object) -> None:
        kind = type(value)
        if isinstance(value, (str, bytes)):
            self.text(_safe_repr(value[: self._limit + 1]))
        elif isinstance(value, int) and value.bit_length() > 1000:
            # Python writes no integer of more than 4300 digits, and a long one slowly.
            kept = value >> (value.bit_length() - 256)
            self.text(f"{hex(kept)}... ({value.bit_length()} bits)")
        elif kind is list:
            self._items("[", value, "]")
        elif kind is tuple:
            self._items("(", value, ",)" if len(value) == 1 else ")")  # type: ignore[arg-type]
        elif kind in (set, frozenset) and value:
            before, after = ("{", "}") if kind is set else ("frozenset({", "})")
            self._items(before, value, after)
        elif kind is dict:
            self._mapping(value)  # type: ignore[arg-type]
        else:
            self.text(_safe_repr(value))

    def _items(self, before: str, values: Any, after: str) -> None:
        self.text(before)
        for number, value in enumerate(values):
            if number:
                self.text(", ")
            self.write(value)
        self.text(after)

    def _mapping(self, values: dict[object, object]) -> None:
        self.text("{")
        for number, (key, value) in enumerate(values.items()):
            if number:
                self.text(", ")
            self.write(key)
            self.text(": ")
            self.write(value)
        self.text("}")


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # of whatever class it is
        return f"<{type(value).__name__}>"


def times(shape: Iterable[int]) -> str:
    """Return a shape as errors and names write it: ``9x9``."""
    return "x".join(str(size) for size in shape)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class where the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _closest(path: list[str], accepted: list[str]) -> str:
    """What someone may have meant by an unknown key: one beside it, else one anywhere."""
    known = {part for key in accepted for part in key.split(".")}
    # Numbers of items and names of alternatives are no keys.
    *parents, last = (*(part for part in path[:-1] if part in known), path[-1])
    beside = [key for key in accepted if key.split(".")[:-1] == parents]
    for keys in (beside, accepted):
        names = {key.rpartition(".")[2]: key for key in reversed(keys)}
        if close := difflib.get_close_matches(last, names, n=1):
            return f"; did you mean {names[close[0]]!r}?"
    return f" (there are {[key.rpartition('.')[2] for key in beside or accepted]})"


#: What pydantic says in words of Python's, by its error's type, for people who write YAML and JSON.
_IN_WORDS = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "too_short": "must have {min_length} or more items",
}


def explain(error: ValidationError, what: str, accepted: Any) -> str:
    """Return a validation error of pydantic's as one sentence: field, value, what is accepted."""
    from pydantic import BaseModel  # here, so that naming a value needs no pydantic

    parts: list[str] = []
    items = error.errors(include_url=False)
    # What is too short may be so for want of items that have an error of their own.
    inner = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    for item in items:
        loc = item["loc"]
        if item["type"] == "too_short" and loc in inner:
            continue
        if len(parts) == _MOST_COMPLAINTS:
            parts.append("and more of the kind")
            break
        name = clipped(".".join(str(part) for part in loc), _LONGEST_NAME)
        if item["type"] == "extra_forbidden":
            hint = _closest([str(part)[:_LONGEST_NAME] for part in loc], list(accepted))
            parts.append(f"unknown key {name!r}{hint}")
        else:
            words = _IN_WORDS.get(item["type"])
            said = item["msg"] if words is None else words.format(**item.get("ctx", {}))
            message = said.removeprefix("Value error, ").removeprefix(f"{what}: ")
            message = clipped(message, _LONGEST_SENTENCE)
            # What a model says of itself as a whole names the value, where that is of use.
            named = item["type"] == "missing" or (
                item["type"] == "value_error"
                and ("; got " in message or isinstance(item["input"], (dict, BaseModel)))
            )
            value = "" if named else f"; got {shown(item['input'])}"
            parts.append(f"{name}: {message}{value}" if name else f"{message}{value}")
    return f"{what}: " + "; ".join(parts)
