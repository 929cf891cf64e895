"""How errors speak: a value on one line, an exception's first line, a schema's complaint."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


def shown(value: object, limit: int = 60) -> str:
    """A value as errors name it: its repr on one line, cut where that is long."""
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def first_line(error: Exception) -> str:
    """What an error from elsewhere says in its first line, or its kind where it says nothing."""
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


def explain(error: ValidationError, what: str, accepted: Any) -> str:
    """A validation error of pydantic's in one sentence: field, value, what is accepted."""
    from pydantic import BaseModel  # here, so that naming a value needs no pydantic

    parts = []
    items = error.errors(include_url=False)
    for item in items:
        loc = item["loc"]
        if item["type"] == "too_short" and any(
            len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in items
        ):
            continue  # too short for want of an item that has an error of its own
        name = ".".join(str(part) for part in loc)
        if item["type"] == "extra_forbidden":
            hint = _closest([str(part) for part in item["loc"]], list(accepted))
            parts.append(f"unknown key {name!r}{hint}")
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix(f"{what}: ")
            # What a model says of itself as a whole names the value, where that is of use.
            named = item["type"] == "missing" or (
                item["type"] == "value_error"
                and ("; got " in message or isinstance(item["input"], (dict, BaseModel)))
            )
            value = "" if named else f"; got {shown(item['input'])}"
            parts.append(f"{name}: {message}{value}" if name else f"{message}{value}")
    return f"{what}: " + "; ".join(parts)
