"""Plain YAML: mappings, lists and scalars, in time and memory that the text's length bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trm_sdk.errors import ConfigError, MissingDependencyError
from trm_sdk.messages import first_line, shown

if TYPE_CHECKING:
    import yaml

#: Characters and levels of nesting that are read; recipes have a few thousand and four.
_LONGEST, _DEEPEST = 1 << 20, 32
#: Numbers that YAML 1.1 reads as text and people write: 1e-3.
_EXPONENT = re.compile(r"[-+]?(\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+")


def load_yaml(text: str) -> Any:
    """Read one YAML document of mappings, lists, text, numbers, booleans and null.

    Tags, anchors and aliases are refused: they can run code, and let a kilobyte grow to gigabytes.
    So are keys that are given twice, of which the first would be lost. Dates are text, and 1e-3 is
    a number.

    Raises
    ------
    ConfigError
        Saying in one sentence what is wrong, and where.
    MissingDependencyError
        Without pyyaml.
    """
    try:
        import yaml
    except ImportError:
        raise MissingDependencyError(
            "reading YAML needs pyyaml: pip install 'trm-sdk[train]'"
        ) from None
    if len(text) > _LONGEST:
        raise ConfigError(f"YAML must be at most {_LONGEST:,} characters; got {len(text):,}")
    try:
        return _document(yaml.parse(text, yaml.SafeLoader))
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"not valid YAML: {error.problem}{_place(error.problem_mark)}") from None
    except Exception as error:  # PyYAML raises whatever its scanner and converters raise
        raise ConfigError(f"not valid YAML: {first_line(error)}") from None


def _document(events: Iterator[yaml.Event]) -> Any:
    import yaml

    value, documents = None, 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ConfigError(f"YAML must be one document; got another{_at(event)}")
            value = _value(next(events), events, _DEEPEST)
    return value


def _value(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Any:
    """The value that begins with an event; the others of it are taken from `events`."""
    import yaml

    at = _at(event)
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise ConfigError(f"YAML anchors and aliases are not read{at}")
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise ConfigError(f"YAML tags are not read; got {shown(tag)}{at}")
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if depth == 0:
        raise ConfigError(f"YAML must be nested at most {_DEEPEST} deep{at}")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, depth - 1))
        return items
    mapping: dict[Any, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if isinstance(event, yaml.CollectionStartEvent):
            raise ConfigError(f"a YAML key must be text or a number{_at(event)}")
        key = _value(event, events, depth)
        if key in mapping:
            raise ConfigError(f"the key {shown(key)} is given twice{_at(event)}")
        mapping[key] = _value(next(events), events, depth - 1)
    return mapping


def _scalar(event: yaml.ScalarEvent) -> Any:
    import yaml

    text = event.value
    if not event.implicit[0]:  # quoted
        return text
    if _EXPONENT.fullmatch(text):
        return float(text)
    loader = yaml.SafeLoader("")
    tag: str = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = tag.rpartition(":")[2]
    if kind not in ("int", "float", "bool", "null"):
        return text
    value = loader.construct_object(yaml.ScalarNode(tag, text))
    if kind == "int" and abs(value) >= 1 << 63:
        raise ConfigError(f"an integer must be below 2**63{_at(event)}")
    return value


def _at(event: yaml.Event) -> str:
    return _place(event.start_mark)


def _place(mark: Any) -> str:
    return "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"


__all__ = ["load_yaml"]
