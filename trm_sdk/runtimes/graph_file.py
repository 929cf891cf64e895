"""What an ONNX file holds, read before onnxruntime sees it.

A graph comes from a stranger as easily as a picture does, and onnxruntime takes it at its word: it
opens the files that a graph names as its weights (every version below 1.24), and runs a loop of
2**62 rounds. So the file is walked once, by the few fields of the format that say what a graph
reaches for. Field numbers are those of onnx.proto (https://github.com/onnx/onnx).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from trm_sdk.errors import CheckpointError
from trm_sdk.messages import shown
from trm_sdk.validation import LFS_HINT, is_lfs_pointer

#: Version of the graph contract that the Solver drives; see `export.graph`.
GRAPH_FORMAT = 1
#: Domain of the functions that a graph of ``trm-export`` brings along.
_OWN_DOMAIN = "trm"
_STANDARD_DOMAINS = ("", "ai.onnx")
#: Operators of other domains that ``trm-export`` writes (precision ``int4n``).
_EXTRA_OPERATORS = {("com.microsoft", "MatMulNBits")}
#: Operators that hold graphs of their own, which run as often as some number says.
_CONTROL_FLOW = ("Loop", "If", "Scan", "SequenceMap")
#: Bytes of an ONNX file, at most: protobuf's own limit.
LARGEST_FILE = 2**31 - 1
_MOST_NODES = 1_000_000
_DEEPEST = 32

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# A field is text, which must be UTF-8; a message, walked by its own fields; or one of these.
_TEXT, _NUMBER, _REFUSED = "text", "number", "refused"

#: Fields of each message that are looked at; all others are skipped.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {
        2: _TEXT,
        3: _TEXT,
        4: _TEXT,
        6: _TEXT,
        7: "graph",
        8: "opset",
        14: "property",
        20: _REFUSED,  # graphs for training, which nothing here runs
        25: "function",
    },
    "opset": {1: _TEXT},
    "property": {1: _TEXT, 2: _TEXT},
    "note": {1: _TEXT, 2: _TEXT},  # a property of anything but the model
    "graph": {
        1: "node",
        2: _TEXT,
        5: "tensor",
        10: _TEXT,
        11: "value",
        12: "value",
        13: "value",
        15: _REFUSED,  # sparse weights: a few bytes that become any number of them
        16: "note",
    },
    "function": {
        1: _TEXT,
        4: _TEXT,
        5: _TEXT,
        6: _TEXT,
        7: "node",
        8: _TEXT,
        9: "opset",
        10: _TEXT,
        11: "attribute",
        12: "value",
        13: _TEXT,
        14: "note",
    },
    "node": {
        1: _TEXT,
        2: _TEXT,
        3: _TEXT,
        4: _TEXT,
        5: "attribute",
        6: _TEXT,
        7: _TEXT,
        8: _TEXT,
        9: "note",
    },
    "attribute": {
        1: _TEXT,
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        13: _TEXT,
        21: _TEXT,
        22: _REFUSED,
        23: _REFUSED,
    },
    "tensor": {8: _TEXT, 12: _TEXT, 13: _REFUSED, 14: _NUMBER},
    "value": {1: _TEXT, 2: "type", 3: _TEXT},
    "type": {1: "tensor type", 6: _TEXT},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
    "dimension": {2: _TEXT, 3: _TEXT},
}
_WHY_REFUSED = {
    ("model", 20): "it has graphs for training",
    ("graph", 15): "it has sparse weights",
    ("attribute", 22): "it has sparse weights",
    ("attribute", 23): "it has sparse weights",
    ("tensor", 13): "it keeps weights in another file (external data)",
    ("tensor", 14): "it keeps weights in another file (external data)",
}


class _MalformedError(Exception):
    """A file that is not a graph; the message completes "is not a runnable ONNX graph: ..."."""


@dataclass
class GraphFile:
    """An ONNX file that reaches for nothing outside itself.

    Attributes
    ----------
    path : Path
    data : bytes
        The whole file, as it was read: what was checked is what is run.
    metadata : dict from key to value
        Its ``metadata_props``, among them ``trm_format``, ``trm_mode`` and ``trm_spec``.
    operators : set of (domain, name)
        Of every node, those of functions and subgraphs included.
    functions : set of (domain, name)
    subgraphs : bool
        Whether a node has a graph of its own, as Loop does.
    """

    path: Path
    data: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)
    subgraphs: bool = False


def read_graph(path: str | os.PathLike[str]) -> GraphFile:
    """Read a graph written by ``trm-export``, of any mode, without onnxruntime.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, keeps weights in other files, or uses operators
        that ``trm-export`` never writes; or if its metadata lacks what ``trm-export`` writes.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no graph at {path}")
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path} {LFS_HINT}")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise CheckpointError(f"{path} is larger than an ONNX file can be (2 GB)")
        graph = GraphFile(path, path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}") from None
    try:
        _Walk(graph).message("model", memoryview(graph.data), 0)
        _check_operators(graph)
    except _MalformedError as error:
        raise CheckpointError(f"{path} is not a runnable ONNX graph: {error}") from None
    _check_metadata(graph)
    return graph


def graph_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata of a graph, of any mode.

    Raises
    ------
    CheckpointError
        As `read_graph`.
    """
    return read_graph(path).metadata


def require_step(graph: GraphFile) -> None:
    """Refuse a graph that is not of mode ``step``, or whose steps may never end.

    Raises
    ------
    CheckpointError
    """
    mode = graph.metadata["trm_mode"]
    if mode != "step":
        raise CheckpointError(
            f"{graph.path} is a graph of mode {shown(mode)}; the Solver drives graphs of mode "
            "'step' (trm-export onnx --mode step)"
        )
    if graph.functions:  # calls of calls of calls are written out while a graph is opened
        names = sorted(name for _, name in graph.functions)
        raise CheckpointError(
            f"{graph.path} is not a step graph: it defines functions ({shown(names)}), which "
            "trm-export writes only for mode 'unroll'"
        )
    loops = sorted(name for _, name in graph.operators if name in _CONTROL_FLOW)
    if loops or graph.subgraphs:
        raise CheckpointError(
            f"{graph.path} is not a step graph: it has control flow ({', '.join(loops) or 'graphs'}"
            " inside nodes), which trm-export writes only for other modes"
        )


def _check_operators(graph: GraphFile) -> None:
    for domain, name in sorted(graph.functions):
        if domain != _OWN_DOMAIN:
            raise _MalformedError(f"it redefines {shown(name)} of the domain {shown(domain)}")
    for domain, name in sorted(graph.operators):
        if domain in _STANDARD_DOMAINS or (domain, name) in _EXTRA_OPERATORS | graph.functions:
            continue
        raise _MalformedError(
            f"its operator {shown(name)} of the domain {shown(domain)} is not a standard one"
        )


def _check_metadata(graph: GraphFile) -> None:
    for key in ("trm_format", "trm_mode", "trm_spec"):
        if key not in graph.metadata:
            raise CheckpointError(
                f"{graph.path} was not written by trm-export: its metadata lacks {key!r}"
            )
    number = graph.metadata["trm_format"]
    if number not in map(str, range(1, GRAPH_FORMAT + 1)):
        raise CheckpointError(
            f"{graph.path} is of graph format {shown(number)}; this version reads up to "
            f"{GRAPH_FORMAT}"
        )


class _Walk:
    """One pass over a file; fills in a `GraphFile`, and raises `_MalformedError`."""

    def __init__(self, graph: GraphFile) -> None:
        self._graph = graph
        self._nodes = 0
        if graph.data[4:8] == b"ORTM":
            raise _MalformedError("it is in ORT format, which other hosts load")
        if not graph.data:
            raise _MalformedError("it is empty")

    def message(self, kind: str, data: memoryview, depth: int) -> None:
        """Walk one message. A field that comes twice is looked at twice."""
        if depth > _DEEPEST:
            raise _MalformedError("its graphs are nested too deep")
        known = _FIELDS[kind]
        texts: dict[int, list[str]] = {}
        for number, wire, value in _fields(data):
            what = known.get(number)
            if what is None:
                continue
            if what == _NUMBER:
                if wire != _VARINT or value != 0:
                    raise _MalformedError(_WHY_REFUSED[kind, number])
                continue
            if what == _REFUSED:
                raise _MalformedError(_WHY_REFUSED[kind, number])
            if wire != _BYTES or isinstance(value, int):
                raise _MalformedError(f"field {number} of a {kind} is of another type")
            if what == _TEXT:
                texts.setdefault(number, []).append(_text(value, kind))
                continue
            if what == "graph" and kind == "attribute":
                self._graph.subgraphs = True
            self.message(what, value, depth + 1)
        self._note(kind, texts, data)

    def _note(self, kind: str, texts: dict[int, list[str]], data: memoryview) -> None:
        graph = self._graph
        if kind == "node":
            self._nodes += 1
            if self._nodes > _MOST_NODES:
                raise _MalformedError(f"it has more than {_MOST_NODES} nodes")
            for name in texts.get(4, [""]):
                graph.operators |= {(domain, name) for domain in texts.get(7, [""])}
        elif kind == "function":
            for name in texts.get(1, [""]):
                graph.functions |= {(domain, name) for domain in texts.get(10, [""])}
        elif kind == "property":
            graph.metadata[texts.get(1, [""])[-1]] = texts.get(2, [""])[-1]
        elif kind == "tensor":
            _check_size(data)


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (number, wire type, value) of every field of a message."""
    place, end = 0, len(data)
    while place < end:
        tag, after = _varint(data, place)
        number, wire = tag >> 3, tag & 7
        if after - place > 5 or not 0 < number < 1 << 29:
            raise _MalformedError("it is damaged (no such field)")
        place = after
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, place = _varint(data, place)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError("it is damaged (no such type of field)")
        if size > end - place:
            raise _MalformedError("it is cut off or damaged")
        yield number, wire, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return an integer and the place after it."""
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise _MalformedError("it is cut off or damaged")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7


def _text(data: memoryview, kind: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise _MalformedError(f"it has text that is not UTF-8 (in a {kind})") from None


def _check_size(data: memoryview) -> None:
    """Refuse a tensor that says it is larger than what the file holds of it."""
    sizes: list[int] = []
    for number, wire, value in _fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            sizes.append(value)
        elif wire == _BYTES:  # several in one field
            place = 0
            while place < len(value):
                size, place = _varint(value, place)
                sizes.append(size)
    # Two numbers of 4 bits to a byte are the densest that there are.
    if prod(sizes) > 2 * len(data):
        raise _MalformedError(f"a tensor of shape {shown(tuple(sizes))} is incomplete")
