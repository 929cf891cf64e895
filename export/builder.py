"""GraphBuilder: write an ONNX graph by hand, node by node, with names that people can read.

Graphs here are built from the architecture rather than traced from PyTorch: that keeps weights
stored once whatever the recursion, loops real loops, names meaningful, and the export free of a
tracer's version-dependent habits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from trm_sdk.runtimes.graph_file import LARGEST_FILE

from .errors import ExportError

Array = npt.NDArray[Any]
Dim = int | str | None

#: Domain of the functions that a model brings along, and the lowest IR version that has any.
FUNCTIONS_DOMAIN = "trm"
_FUNCTIONS_IR = 8

#: From this opset on these reductions take their axes as an input; before, as an attribute.
_AXES_INPUT_SINCE = {"ReduceSum": 13, "ReduceMax": 18, "ReduceMean": 18, "ReduceMin": 18}


def sdk_version() -> str:
    """Return the version of the installed SDK, for the metadata of what it writes."""
    try:
        return version("trm-sdk")
    except PackageNotFoundError:  # run from a source tree
        return "0.0.0"


@dataclass(frozen=True)
class Function:
    """A function of the model: its name, and what it reads besides its own inputs."""

    name: str
    captured: tuple[str, ...]


class GraphBuilder:
    """Nodes of one graph, or of the body of a Loop; values are referred to by name.

    Parameters
    ----------
    name : str
    opset : int
    parent : GraphBuilder or None
        The graph that this one is a body of. A body sees its parents' values, and constants and
        weights always go to the outermost graph, where they are stored once.
    """

    def __init__(self, name: str, opset: int, parent: GraphBuilder | None = None) -> None:
        self.name = name
        self.opset = opset
        self.root: GraphBuilder = parent.root if parent else self
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._scope: list[str] = list(parent._scope) if parent else []
        if parent is None:
            self._initializers: dict[str, onnx.TensorProto] = {}
            self._sizes: dict[str, int] = {}
            self._by_content: dict[tuple[str, tuple[int, ...], bytes], str] = {}
            self._used: set[str] = set()
            self.domains: dict[str, int] = {"": opset}
            self._functions: list[onnx.FunctionProto] = []

    # --- names ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of everything made inside with ``name/``."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def _unique(self, name: str) -> str:
        full = "/".join((*self._scope, name))
        candidate, number = full, 1
        while candidate in self.root._used:
            number += 1
            candidate = f"{full}_{number}"
        self.root._used.add(candidate)
        return candidate

    # --- values -----------------------------------------------------------------------------

    def input(self, name: str, dtype: int, shape: Sequence[Dim]) -> str:
        """Declare an input of this graph."""
        full = self._unique(name)
        self._inputs.append(helper.make_tensor_value_info(full, dtype, shape))
        return full

    def output(
        self, value: str, dtype: int, shape: Sequence[Dim] | None, name: str | None = None
    ) -> None:
        """Make a value an output of this graph, under a name of its own if one is given.

        A shape of None leaves it to the runtime.
        """
        if name is not None:
            self.root._used.add(name)
            self._nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
            value = name
        self._outputs.append(helper.make_tensor_value_info(value, dtype, shape))

    def weight(self, name: str, array: Array) -> str:
        """Store a weight once under its own name; later calls refer to the stored one.

        Raises
        ------
        ExportError
            If the weights of the graph are more than an ONNX file can hold.
        """
        root = self.root
        if name not in root._initializers:
            root._sizes[name] = array.nbytes
            if sum(root._sizes.values()) > LARGEST_FILE:
                raise ExportError(root._too_large())
            root._used.add(name)
            root._initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def _too_large(self) -> str:
        name, size = max(self._sizes.items(), key=lambda entry: entry[1])
        return (
            "an ONNX file holds at most 2 GiB, and the weights of this graph are more: "
            f"{name!r} alone takes {size / 2**30:.2f} GiB. Stored as fp16 it takes half of what "
            "it takes as fp32 (precision='fp16'); a model folder has no such limit"
        )

    def constant(self, name: str, array: Array | np.generic) -> str:
        """Store a small constant; equal constants are stored once, under the first one's name."""
        root, array = self.root, np.asarray(array, order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in root._by_content:
            full, number = f"const/{name}", 1
            while full in root._used:
                number += 1
                full = f"const/{name}_{number}"
            root._by_content[key] = self.weight(full, array)
        return root._by_content[key]

    def floats(self, name: str, *values: float) -> str:
        """Add a float32 constant: a scalar for one value, else a vector."""
        array = np.array(values[0] if len(values) == 1 else values, np.float32)
        return self.constant(name, array)

    def ints(self, name: str, *values: int) -> str:
        """Add an int64 vector constant, as axes and shapes are given."""
        return self.constant(name, np.array(values, np.int64))

    # --- nodes ------------------------------------------------------------------------------

    def op(self, op_type: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; returns the name of its value, which is the node's too."""
        full = self._unique(name or op_type.lower())
        self._nodes.append(helper.make_node(op_type, inputs, [full], name=full, **attributes))
        return full

    def op_top(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node to the outermost graph, where it runs once, under exactly this name."""
        root = self.root
        scope, root._scope = root._scope, []
        try:
            return root.op(op_type, *inputs, name=name, **attributes)
        finally:
            root._scope = scope

    def op_many(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs, named as given."""
        names = [self._unique(name) for name in outputs]
        full = self._unique(op_type.lower())
        self._nodes.append(helper.make_node(op_type, inputs, names, name=full, **attributes))
        return names

    def reduce(
        self, op_type: str, value: str, axes: Sequence[int], *, keepdims: bool, name: str
    ) -> str:
        """Reduce over axes, in the form that the opset wants them stated in."""
        if self.opset >= _AXES_INPUT_SINCE[op_type]:
            stated = self.ints("axes", *axes)
            return self.op(op_type, value, stated, name=name, keepdims=int(keepdims))
        return self.op(op_type, value, name=name, axes=list(axes), keepdims=int(keepdims))

    def reshape(self, value: str, *shape: int, name: str = "reshape") -> str:
        """Reshape to constants; -1 is the batch axis, or whatever is left."""
        return self.op("Reshape", value, self.ints("shape", *shape), name=name)

    def body(self, name: str) -> GraphBuilder:
        """Return a builder for the body of a Loop in this graph; the name is for people."""
        child = GraphBuilder(name, self.opset, parent=self)
        child._scope.append(name)
        return child

    def loop(
        self,
        trips: str,
        condition: str,
        carried: Sequence[str],
        body: GraphBuilder,
        names: Sequence[str],
    ) -> list[str]:
        """Add a Loop over a finished body; returns the names of the carried values' last states.

        The body must have the inputs (iteration, condition, *carried) and the outputs (condition,
        *carried).
        """
        return self.op_many(
            "Loop", [trips, condition, *carried], names, body=body.graph(initializers=False)
        )

    def define(self, body: GraphBuilder, inputs: Sequence[str], outputs: Sequence[str]) -> Function:
        """Make a finished body a function of the model, stored once however often it is called.

        Whatever else the body reads (weights, constants, values made outside) becomes a further
        input, so that weights stay initializers of the outermost graph.
        """
        known, captured = set(inputs), []
        for node in body._nodes:
            for value in node.input:
                if value and value not in known:
                    known.add(value)
                    captured.append(value)
            known.update(node.output)
        root = self.root
        opsets = [helper.make_opsetid(domain, number) for domain, number in root.domains.items()]
        root._functions.append(
            helper.make_function(
                FUNCTIONS_DOMAIN,
                body.name,
                [*inputs, *captured],
                list(outputs),
                body._nodes,
                opsets,
            )
        )
        root.domains[FUNCTIONS_DOMAIN] = 1
        return Function(body.name, tuple(captured))

    def call(self, function: Function, inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
        """Call a function that `define` made."""
        everything = [*inputs, *function.captured]
        return self.op_many(function.name, everything, outputs, domain=FUNCTIONS_DOMAIN)

    # --- the result -------------------------------------------------------------------------

    def graph(self, *, initializers: bool = True) -> onnx.GraphProto:
        """Return the GraphProto made so far."""
        return helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            self._outputs,
            list(self._initializers.values()) if initializers else [],
        )

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """Return the ModelProto, with the lowest IR version that its opsets allow."""
        opsets = [helper.make_opsetid(domain, number) for domain, number in self.domains.items()]
        model = helper.make_model(
            self.graph(),
            opset_imports=opsets,
            ir_version=max(
                helper.find_min_ir_version_for(opsets[:1]), _FUNCTIONS_IR if self._functions else 0
            ),
            functions=self._functions,
            producer_name="trm-sdk",
            producer_version=sdk_version(),
        )
        helper.set_model_props(model, metadata)
        return model


FLOAT, INT32, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)
