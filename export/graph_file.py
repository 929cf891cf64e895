"""What a graph file says of itself: reading, checking, its metadata, its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import onnx
import torch
from onnx.external_data_helper import uses_external_data

from trm_sdk.errors import CheckpointError
from trm_sdk.messages import first_line
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import build
from trm_sdk.persistence.spec import ModelSpec

from .errors import ExportError
from .graph import GRAPH_FORMAT
from .options import STEPS, Mode
from .quantize import PRECISIONS
from .weights import read_weights


def load_graph(path: str | Path) -> onnx.ModelProto:
    """Read a graph file, and no other.

    Raises
    ------
    ExportError
        If there is no such file, it is not an ONNX file, or it keeps weights in other files.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"no graph at {path}")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own, by implementation
        raise ExportError(f"{path} is not an ONNX file: {first_line(error)}") from None
    if not model.graph.node:
        raise ExportError(f"{path} is not an ONNX file: it has no nodes")
    if any(map(uses_external_data, _tensors(model))):
        raise ExportError(f"{path} keeps weights in other files, which trm-export never does")
    return model


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata properties of a graph that this package wrote.

    Raises
    ------
    ExportError
        If one is missing, of another format, or none of the accepted.
    """
    properties = {item.key: item.value for item in model.metadata_props}
    if "trm_format" not in properties:
        raise ExportError("the graph was not written by trm-export: 'trm_format' is missing")
    if properties["trm_format"] != GRAPH_FORMAT:
        raise ExportError(
            f"the graph is of format {properties['trm_format']!r}; this version reads "
            f"{GRAPH_FORMAT!r}"
        )
    unrolled = properties.get("trm_mode") == "unroll"
    needed = ("trm_mode", "precision", "trm_spec", "weights_sha256")
    for key in (*needed, "max_steps") if unrolled else needed:
        if key not in properties:
            raise ExportError(f"the graph's metadata lacks {key!r}; export the model again")
    for key, accepted in (("trm_mode", get_args(Mode)), ("precision", PRECISIONS)):
        if properties[key] not in accepted:
            raise ExportError(
                f"the graph's {key} must be one of {', '.join(accepted)}; got {properties[key]!r}"
            )
    number = properties["max_steps"] if unrolled else "1"
    digits = number.isascii() and number.isdecimal() and len(number) <= len(str(STEPS[-1]))
    if not digits or int(number) not in STEPS:
        raise ExportError(
            f"the graph's max_steps must be from {STEPS[0]} to {STEPS[-1]}; got {number!r}"
        )
    return properties


def fixed_batch(model: onnx.ModelProto) -> int:
    """Return the batch size that a graph is made for; 0 where it takes any."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def needed_inputs(model: onnx.ModelProto) -> list[str]:
    """Return the names of the inputs that every call must give: those without a default."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in defaults]


def check_graph(model: onnx.ModelProto) -> None:
    """Run onnx's own checker, with strict shape inference.

    Raises
    ------
    ExportError
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the graph is not valid ONNX: {first_line(error)}") from None


def model_of(model: onnx.ModelProto, source: str | Path = "the graph") -> tuple[ModelSpec, TRM]:
    """Return the PyTorch model of a float32 graph, from the graph alone.

    Raises
    ------
    ExportError
        If a weight is missing, as those of heads that the graph leaves out.
    CheckpointError
        If its description is not valid.
    """
    spec = ModelSpec.from_json(metadata(model)["trm_spec"], source)
    outputs = {value.name for value in model.graph.output}
    dropped = [name for name in spec.model.head_names if name not in outputs]
    if dropped:
        raise ExportError(
            f"{source} leaves out heads of its model ({', '.join(dropped)}), so that its checksum "
            "can't be computed: name the model to compare it with (--against CKPT)"
        )
    shapes = {name: tuple(t.shape) for name, t in TRM(spec.model).state_dict().items()}
    weights = read_weights(model, spec.model, shapes)
    return spec, build(
        spec, {name: torch.from_numpy(array.copy()) for name, array in weights.items()}, source
    )


def check_weights(graph: onnx.ModelProto, expected_sha256: str, source: str | Path) -> None:
    """Refuse a graph that was made from other weights.

    Raises
    ------
    CheckpointError
    """
    found = metadata(graph)["weights_sha256"]
    if found != expected_sha256:
        raise CheckpointError(
            f"{source} was made from other weights: checksum {found[:12]}…, expected "
            f"{expected_sha256[:12]}…"
        )


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: weights, constants, those inside of bodies and functions too."""
    graphs = [model.graph]
    for node in model_nodes(model):
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            graphs += [attribute.g, *attribute.graphs]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def model_nodes(model: onnx.ModelProto) -> Iterable[onnx.NodeProto]:
    """Yield the nodes of a model, each of a function's once."""
    yield from all_nodes(model.graph)
    for function in model.functions:
        yield from function.node


def all_nodes(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    """Yield the nodes of a graph and of every body inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)
