"""The networks as graphs: the arithmetic of `trm_sdk.model`, laid out for inference runtimes.

Each class here emits the nodes of one architecture's embedding, pass and readout. Weights come by
their PyTorch names and are stored transposed where that makes a MatMul's right operand constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from export.builder import FLOAT, Array, GraphBuilder
from export.errors import ExportError
from export.quantize import Int4, Int8, Precision, affine, form_of, is_head, to_half, to_int8
from trm_sdk.model.config import ModelConfig
from trm_sdk.structure import Neighbourhood, Offsets, Relation, Values

#: How a layer's outputs may be stored in parts, in their order.
PARTS = (("gate", "up"), ("q", "k", "v"))


class Weights:
    """The model's weights by their PyTorch names, and how they are stored in the graph.

    Parameters
    ----------
    arrays : mapping from name to float32 array
        A state dict of `trm_sdk.model.recursion.TRM`.
    precision : {"fp32", "fp16", "int8w", "int8", "int8s", "int4", "int4n"}
        See `export.quantize`.
    ranges : mapping from layer to (lowest, highest), optional
        Of the numbers that go into each linear layer: what ``int8s`` needs.

    Attributes
    ----------
    inputs : mapping from layer to value names
        What each linear layer was applied to so far, in whatever graph; for calibration.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        precision: Precision = "fp32",
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        self.precision = precision
        self.ranges = {} if ranges is None else ranges
        self.inputs: dict[str, list[str]] = {}
        self._int8s: dict[str, Int8] = {}
        self._int4s: dict[str, Int4] = {}
        self._restored: dict[str, str] = {}
        self._quantised: dict[tuple[int, str], list[str]] = {}

    def __getitem__(self, name: str) -> Array:
        return self.arrays[f"network.{name}"]

    def __contains__(self, name: str) -> bool:
        return f"network.{name}" in self.arrays

    def vector(self, g: GraphBuilder, name: str) -> str:
        """A weight as it is: an embedding table, a bias, an initial state."""
        return g.weight(name, self[name])

    def linear(
        self,
        g: GraphBuilder,
        x: str,
        name: str,
        rows: slice | None = None,
        part: str = "",
        *,
        bias: bool = False,
        left: bool = False,
        plus: str | None = None,
    ) -> str:
        """``x @ weight.T (+ bias or plus)`` over the last axis of x, or over its last but one.

        Parameters
        ----------
        name : str
            Of the linear layer, without ``.weight``.
        rows : slice, optional
            Only these outputs of the layer, stored on their own under the name of `part`.
        left : bool
            ``weight @ x`` instead: the layer runs over the last axis but one. Takes no bias.
        plus : str, optional
            A value of shape (rows, outputs) to add, for an x of two axes. In float the product is
            added up onto it, which saves an addition's reading and writing.
        """
        suffix = f".{part}" if part else ""
        stored = f"{name}{suffix}.weight"
        matrix = self[f"{name}.weight"][rows if rows is not None else slice(None)]
        short = part or name.split(".")[-1]
        if not is_head(stored):
            self.inputs.setdefault(name, []).append(x)
        form = form_of(stored, matrix.shape[1], self.precision)
        if left:
            return g.op("MatMul", self._matrix(g, stored, matrix, turned=False), x, name=short)
        if form == "int8s":
            out = self._calibrated_product(g, x, name, stored, matrix, short)
        elif form == "int8":
            out = self._integer_product(g, x, stored, matrix, short)
        elif form == "int4n":
            out = self._nbits_product(g, x, stored, matrix, short)
        elif plus is not None:
            turned = self._matrix(g, stored, matrix, turned=True)
            return g.op("Gemm", x, turned, plus, name=short)
        else:
            out = g.op("MatMul", x, self._matrix(g, stored, matrix, turned=True), name=short)
        if plus is not None:
            # In this order: inference of types knows nothing of what MatMulNBits gives.
            return g.op("Add", plus, out, name=f"{short}_plus")
        if bias:
            values = self[f"{name}.bias"][rows if rows is not None else slice(None)]
            out = g.op("Add", out, g.weight(f"{name}{suffix}.bias", values), name=f"{short}_bias")
        return out

    def _matrix(self, g: GraphBuilder, name: str, matrix: Array, *, turned: bool) -> str:
        """A layer's matrix as a float32 value, (outputs, inputs) or turned."""
        form = form_of(name, matrix.shape[1], self.precision)
        if form == "fp32":
            return g.weight(name, matrix.T if turned else matrix)
        if name not in self._restored:
            if form == "fp16":
                stored = to_half(name, matrix.T if turned else matrix)
                value = g.op_top("Cast", g.weight(name, stored), name=f"{name}/fp32", to=FLOAT)
            elif form == "int4":
                value = self._from_int4(g, name, self._int4(name, matrix), turned=turned)
            else:
                packed = self._int8(name, matrix)
                values = packed.values.T if turned else packed.values
                scale = packed.scale.T if turned else packed.scale
                value = g.op_top("Cast", g.weight(name, values), name=f"{name}/wide", to=FLOAT)
                scale_name = g.weight(f"{name}.scale", scale)
                value = g.op_top("Mul", value, scale_name, name=f"{name}/fp32")
            self._restored[name] = value
        return self._restored[name]

    def _int8(self, name: str, matrix: Array) -> Int8:
        """A layer's matrix in 8 bits, rounded once however often the layer is used."""
        if name not in self._int8s:
            self._int8s[name] = to_int8(matrix, form_of(name, matrix.shape[1], self.precision))
        return self._int8s[name]

    def _int4(self, name: str, matrix: Array) -> Int4:
        """A layer's matrix in 4 bits, rounded once."""
        if name not in self._int4s:
            whole = self.precision == "int4n"
            self._int4s[name] = Int4.of(matrix, whole_blocks=whole)
        return self._int4s[name]

    def _from_int4(self, g: GraphBuilder, name: str, packed: Int4, *, turned: bool) -> str:
        """Unpack with float operators alone, which every runtime has."""
        sixteen = g.floats("sixteen", 16.0)
        both = g.op_top("Cast", g.weight(name, packed.packed), name=f"{name}/both", to=FLOAT)
        high = g.op_top("Div", both, sixteen, name=f"{name}/shifted")
        high = g.op_top("Floor", high, name=f"{name}/high")
        low = g.op_top("Mul", high, sixteen, name=f"{name}/high_part")
        low = g.op_top("Sub", both, low, name=f"{name}/low")
        codes = g.op_top("Concat", low, high, name=f"{name}/codes", axis=1)
        outputs, blocks, _ = packed.scale.shape
        shape = g.ints("shape", outputs, blocks, packed.block)
        codes = g.op_top("Reshape", codes, shape, name=f"{name}/blocks")
        codes = g.op_top("Sub", codes, g.floats("eight", 8.0), name=f"{name}/signed")
        scale = g.weight(f"{name}.scale", packed.scale)
        scale = g.op_top("Cast", scale, name=f"{name}/scale", to=FLOAT)
        value = g.op_top("Mul", codes, scale, name=f"{name}/scaled")
        shape = g.ints("shape", outputs, blocks * packed.block)
        value = g.op_top("Reshape", value, shape, name=f"{name}/padded")
        if blocks * packed.block != packed.inputs:
            ends = g.ints("ends", packed.inputs)
            axis = g.ints("axis", 1)
            value = g.op_top("Slice", value, g.ints("zero64", 0), ends, axis, name=f"{name}/inputs")
        if turned:
            value = g.op_top("Transpose", value, name=f"{name}/turned", perm=[1, 0])
        return value

    def _nbits_product(self, g: GraphBuilder, x: str, name: str, matrix: Array, short: str) -> str:
        """``x @ matrix.T`` by onnxruntime's operator for 4-bit weights."""
        packed = self._int4(name, matrix)
        codes = packed.codes().reshape(len(matrix), -1, packed.block // 2, 2)
        values = g.weight(name, codes[..., 0] | (codes[..., 1] << 4))
        stored = g.weight(f"{name}.scale", packed.scale.reshape(len(matrix), -1))
        if name not in self._restored:
            self._restored[name] = g.op_top("Cast", stored, name=f"{name}/scale", to=FLOAT)
        g.root.domains["com.microsoft"] = 1
        return g.op(
            "MatMulNBits",
            x,
            values,
            self._restored[name],
            name=short,
            domain="com.microsoft",
            K=matrix.shape[1],
            N=len(matrix),
            bits=4,
            block_size=packed.block,
        )

    def _integer_product(
        self, g: GraphBuilder, x: str, name: str, matrix: Array, short: str
    ) -> str:
        """``x @ matrix.T`` in integers: x as uint8 by its own range, the weights as int8."""
        packed = self._int8(name, matrix)
        values = g.weight(name, packed.values.T)
        scale = g.weight(f"{name}.scale", packed.scale[:, 0])
        key = (id(g), x)
        if key not in self._quantised:
            names = ["x_uint8", "x_scale", "x_zero"]
            self._quantised[key] = g.op_many("DynamicQuantizeLinear", [x], names)
        x_uint8, x_scale, x_zero = self._quantised[key]
        total = g.op("MatMulInteger", x_uint8, values, x_zero, name=f"{short}_int32")
        total = g.op("Cast", total, name=f"{short}_wide", to=FLOAT)
        factor = g.op("Mul", x_scale, scale, name=f"{short}_scale")
        return g.op("Mul", total, factor, name=short)

    def _calibrated_product(
        self, g: GraphBuilder, x: str, layer: str, name: str, matrix: Array, short: str
    ) -> str:
        """``x @ matrix.T`` between QuantizeLinear and DequantizeLinear, for runtimes to fuse.

        Every node stands where the product is: runtimes fuse only what lies in one graph.
        """
        try:
            scale, zero = affine(*self.ranges[layer])
        except KeyError:
            raise ExportError(f"no range is given for the inputs of {layer!r}") from None
        scale_name = g.constant(f"{layer}/x_scale", scale)
        zero_name = g.constant(f"{layer}/x_zero", zero)
        key = (id(g), f"{layer}:{x}")
        if key not in self._quantised:
            x_uint8 = g.op("QuantizeLinear", x, scale_name, zero_name, name="x_uint8")
            names = [g.op("DequantizeLinear", x_uint8, scale_name, zero_name, name="x_rounded")]
            self._quantised[key] = names
        (rounded,) = self._quantised[key]
        packed = self._int8(name, matrix)
        values = g.weight(name, packed.values.T)
        scales = g.weight(f"{name}.scale", packed.scale[:, 0])
        key = (id(g), name)
        if key not in self._quantised:
            zeros = g.constant("no_zero_points", np.zeros(len(matrix), np.int8))
            wide = g.op("DequantizeLinear", values, scales, zeros, name=f"{short}_weight", axis=1)
            self._quantised[key] = [wide]
        return g.op("MatMul", rounded, self._quantised[key][0], name=short)


def read_weights(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """The state dict that a float32 graph was built from, read back from its initializers.

    Parameters
    ----------
    shapes : mapping from PyTorch name to shape
        What to look for.

    Raises
    ------
    ExportError
        Naming the first weight that is not there in that shape.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}

    def read(name: str) -> Array | None:
        return numpy_helper.to_array(stored[name]) if name in stored else None

    found: dict[str, Array] = {}
    for full, shape in shapes.items():
        name = full.removeprefix("network.")
        layer, _, kind = name.rpartition(".")
        array: Array | None = None
        for parts in ((), *PARTS):
            names = [f"{layer}.{part}.{kind}" for part in parts] or [name]
            pieces = [piece for piece in map(read, names) if piece is not None]
            if len(pieces) == len(names):
                kept = kind != "weight" or ".mlp_t." in name
                turned = [piece if kept else piece.T for piece in pieces]
                array = np.concatenate(turned) if parts else turned[0]
                break
        if array is None or array.shape != shape or array.dtype != np.float32:
            raise ExportError(f"the graph has no float32 weight {name!r} of shape {shape}")
        found[full] = array
    return found


class NetworkGraph(Protocol):
    """What the recursion needs of an architecture; states are in its own internal shape."""

    #: Internal shape of y and z after the batch axis.
    shape: tuple[int, ...]

    def embed(self, g: GraphBuilder, tokens: str, puzzle_identifiers: str | None) -> str:
        """Input embedding x, broadcastable to (batch, *shape)."""

    def forward(self, g: GraphBuilder, state: str) -> str:
        """One pass of the network over (batch, *shape)."""

    def readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        """Logits (batch, cells, outputs) and halting logit (batch,)."""


def network_graph(config: ModelConfig, weights: Weights) -> NetworkGraph:
    """The emitter of a config's architecture."""
    if config.mixer == "structured":
        return StructuredGraph(config, weights)
    return PaperGraph(config, weights)


def swiglu(g: GraphBuilder, gate: str, up: str) -> str:
    """``silu(gate) * up``."""
    silu = g.op("Mul", gate, g.op("Sigmoid", gate, name="sigmoid"), name="silu")
    return g.op("Mul", silu, up, name="gated")


def rms_norm(g: GraphBuilder, x: str, size: int, eps: float) -> str:
    """Weightless RMS normalisation over the last axis of length `size`.

    Written with a scale of ones: with it, onnxruntime recognises the pattern and runs it as one
    fused kernel, in one pass over memory instead of five.
    """
    square = g.op("Pow", x, g.floats("two", 2.0), name="norm/square")
    mean = g.reduce("ReduceMean", square, [-1], keepdims=True, name="norm/mean")
    safe = g.op("Add", mean, g.floats("rms_norm_eps", eps), name="norm/eps")
    normed = g.op("Div", x, g.op("Sqrt", safe, name="norm/rms"), name="norm/div")
    ones = g.constant("ones", np.ones(size, np.float32))
    return g.op("Mul", normed, ones, name="norm")


def rms_norm_over_rows(g: GraphBuilder, x: str, size: int, eps: float) -> str:
    """Weightless RMS normalisation over the last axis but one, of length `size`.

    The mean is a product with a constant row: runtimes are slow at reducing an outer axis.
    """
    share = g.constant("row_share", np.full((1, size), 1 / size, np.float32))
    mean = g.op("MatMul", share, g.op("Mul", x, x, name="norm/square"), name="norm/mean")
    safe = g.op("Add", mean, g.floats("rms_norm_eps", eps), name="norm/eps")
    return g.op("Div", x, g.op("Sqrt", safe, name="norm/rms"), name="norm")


class PaperGraph:
    """The paper's network; states are of shape (batch, positions, hidden_size)."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.shape = config.state_shape

    def embed(self, g: GraphBuilder, tokens: str, puzzle_identifiers: str | None) -> str:
        config, size = self.config, self.config.hidden_size
        table = self.weights.vector(g, "embed_tokens")
        x = g.op("Gather", table, tokens, name="cells", axis=0)
        if "puzzle_emb" in self.weights:
            if puzzle_identifiers is None:  # one identifier, 0, for every row
                first = g.op(
                    "Gather", tokens, g.constant("first", np.int32(0)), name="first", axis=1
                )
                zero = g.constant("zero", np.int32(0))
                puzzle_identifiers = g.op("Mul", first, zero, name="identifiers")
            vectors = self.weights.vector(g, "puzzle_emb")
            prefix = g.op("Gather", vectors, puzzle_identifiers, name="puzzle", axis=0)
            missing = config.puzzle_emb_len * size - config.puzzle_emb_ndim
            if missing:
                pads = g.ints("puzzle_pads", 0, 0, 0, missing)
                prefix = g.op("Pad", prefix, pads, name="puzzle_padded")
            prefix = g.reshape(prefix, -1, config.puzzle_emb_len, size, name="prefix")
            x = g.op("Concat", prefix, x, name="positions", axis=1)
        elif config.puzzle_emb_len:
            pads = g.ints("prefix_pads", 0, config.puzzle_emb_len, 0, 0, 0, 0)
            x = g.op("Pad", x, pads, name="positions")
        if "embed_pos" in self.weights:
            x = g.op("Add", x, self.weights.vector(g, "embed_pos"), name="placed")
            x = g.op("Mul", x, g.floats("half_variance", math.sqrt(0.5)), name="placed_scaled")
        return g.op("Mul", x, g.floats("embed_scale", math.sqrt(size)), name="scaled")

    def forward(self, g: GraphBuilder, state: str) -> str:
        for layer in range(self.config.L_layers):
            with g.scope(f"layer{layer}"):
                state = self._block(g, state, f"layers.{layer}")
        return state

    def _block(self, g: GraphBuilder, x: str, name: str) -> str:
        config = self.config
        size, eps = config.hidden_size, config.rms_norm_eps
        if config.mixer == "mlp_t":
            # PyTorch turns x so that tokens come last; weights on the left do the same without
            # moving anything, and what reads the result needs no turning back either.
            # Integer products are the exception: runtimes fuse those with weights on the right.
            with g.scope("mlp_t"):
                if self.weights.precision in {"int8", "int8s", "int4n"}:
                    turned = g.op("Transpose", x, name="tokens_last", perm=[0, 2, 1])
                    out = self._swiglu(g, turned, f"{name}.mlp_t")
                    out = g.op("Add", turned, out, name="residual")
                    out = rms_norm(g, out, self.shape[0], eps)
                    x = g.op("Transpose", out, name="channels_last", perm=[0, 2, 1])
                else:
                    out = self._swiglu(g, x, f"{name}.mlp_t", left=True)
                    out = g.op("Add", x, out, name="residual")
                    x = rms_norm_over_rows(g, out, self.shape[0], eps)
        else:
            with g.scope("attention"):
                mixed = g.op("Add", x, self._attention(g, x, f"{name}.self_attn"), name="residual")
                x = rms_norm(g, mixed, size, eps)
        with g.scope("mlp"):
            mixed = g.op("Add", x, self._swiglu(g, x, f"{name}.mlp"), name="residual")
            return rms_norm(g, mixed, size, eps)

    def _swiglu(self, g: GraphBuilder, x: str, name: str, *, left: bool = False) -> str:
        # Gate and up are one matrix in PyTorch; as two, no copy is needed to part their results.
        rows = f"{name}.gate_up_proj"
        width = len(self.weights[f"{rows}.weight"]) // 2
        gate = self.weights.linear(g, x, rows, slice(0, width), "gate", left=left)
        up = self.weights.linear(g, x, rows, slice(width, None), "up", left=left)
        return self.weights.linear(g, swiglu(g, gate, up), f"{name}.down_proj", left=left)

    def _attention(self, g: GraphBuilder, x: str, name: str) -> str:
        config = self.config
        heads, size = config.num_heads, config.hidden_size
        positions, width = self.shape[0], size // heads

        def project(part: str, number: int) -> str:
            rows = slice(number * size, (number + 1) * size)
            out = self.weights.linear(g, x, f"{name}.qkv_proj", rows, part)
            return g.reshape(out, -1, positions, heads, width, name=f"{part}_heads")

        def turn(value: str, part: str, perm: list[int]) -> str:
            return g.op("Transpose", value, name=f"{part}_turned", perm=perm)

        q, k, v = (project(part, number) for number, part in enumerate("qkv"))
        q, v = turn(q, "q", [0, 2, 1, 3]), turn(v, "v", [0, 2, 1, 3])
        if config.positions == "rope":
            q = self._rotate(g, q, "q")
            k = self._rotate(g, turn(k, "k", [0, 2, 1, 3]), "k")
            k = g.op("Transpose", k, name="k_columns", perm=[0, 1, 3, 2])
        else:
            k = turn(k, "k", [0, 2, 3, 1])
        q = g.op("Mul", q, g.floats("attention_scale", 1 / math.sqrt(width)), name="q_scaled")
        scores = g.op("MatMul", q, k, name="scores")
        heard = g.op("MatMul", g.op("Softmax", scores, name="weights", axis=-1), v, name="heard")
        heard = g.op("Transpose", heard, name="heard_turned", perm=[0, 2, 1, 3])
        heard = g.reshape(heard, -1, positions, size, name="heard_joined")
        return self.weights.linear(g, heard, f"{name}.o_proj")

    def _rotate(self, g: GraphBuilder, x: str, part: str) -> str:
        """Rotary positions on (batch, heads, positions, head_dim)."""
        config = self.config
        width = config.hidden_size // config.num_heads
        # In float32 throughout, as PyTorch computes the table.
        exponent = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
        frequency = np.float32(1) / np.power(np.float32(config.rope_theta), exponent)
        angle = np.outer(np.arange(self.shape[0], dtype=np.float32), frequency)
        cos = g.constant("rope/cos", np.cos(angle))
        sin = g.constant("rope/sin", np.sin(angle))
        half = width // 2
        axis = g.ints("last_axis", -1)
        with g.scope(f"rope_{part}"):
            first = g.op("Slice", x, g.ints("zero64", 0), g.ints("half", half), axis, name="first")
            second = g.op(
                "Slice", x, g.ints("half", half), g.ints("width", width), axis, name="second"
            )
            turned_first = g.op(
                "Sub",
                g.op("Mul", first, cos, name="first_cos"),
                g.op("Mul", second, sin, name="second_sin"),
                name="turned_first",
            )
            turned_second = g.op(
                "Add",
                g.op("Mul", second, cos, name="second_cos"),
                g.op("Mul", first, sin, name="first_sin"),
                name="turned_second",
            )
            return g.op("Concat", turned_first, turned_second, name="turned", axis=-1)

    def readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        config = self.config
        cells = y
        if config.puzzle_emb_len:
            start, end = config.puzzle_emb_len, self.shape[0]
            cells = g.op(
                "Slice",
                y,
                g.ints("cells_start", start),
                g.ints("cells_end", end),
                g.ints("cells_axis", 1),
                name="cells",
            )
        logits = self.weights.linear(g, cells, "lm_head")
        first = g.op("Gather", y, g.constant("first", np.int32(0)), name="first", axis=1)
        # The second output ("continue") is the reference's, and not used by the paper's method.
        halt = self.weights.linear(g, first, "q_head", bias=True)
        column = g.constant("first", np.int32(0))
        return logits, g.op("Gather", halt, column, name="halt", axis=1)


class StructuredGraph:
    """The structured network; states are of shape (batch, *cell axes, values, hidden_size)."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        from trm_sdk.model.structured import factorise

        assert config.structure is not None  # ModelConfig checks it
        self.config = config
        self.weights = weights
        self.structure = config.structure
        self.by_value = self.structure.interchangeable_values
        self.cell_shape, self.axes = factorise(self.structure)
        self.values = config.state_shape[1]
        self.shape = (*self.cell_shape, self.values, config.hidden_size)

    def embed(self, g: GraphBuilder, tokens: str, puzzle_identifiers: str | None) -> str:
        config = self.config
        kind = g.op("Unsqueeze", tokens, g.ints("last_axis", -1), name="token")
        if self.by_value:
            # 0: this value is given here; 1: another one is; 2: none is.
            values = np.array(config.output_tokens, np.int32)
            stands = np.full(config.vocab_size, 2, np.int32)
            stands[values] = 1
            other = g.op("Gather", g.constant("stands", stands), kind, name="other", axis=0)
            here = g.op("Equal", kind, g.constant("values", values), name="given_here")
            kind = g.op("Where", here, g.constant("zero", np.int32(0)), other, name="kind")
        table = self.weights.vector(g, "embed_tokens")
        x = g.op("Gather", table, kind, name="nodes", axis=0)
        return g.reshape(x, -1, *self.shape, name="shaped")

    def forward(self, g: GraphBuilder, state: str) -> str:
        for layer in range(self.config.L_layers):
            with g.scope(f"layer{layer}"):
                state = self._block(g, state, f"layers.{layer}")
        return state

    def _block(self, g: GraphBuilder, x: str, name: str) -> str:
        config, size = self.config, self.config.hidden_size
        width = config.swiglu_size
        # Products over all nodes work on (nodes, channels): with two axes, they add up onto what
        # is to be added to them.
        flat = g.reshape(x, -1, size, name="nodes")
        heard = self._heard(g, x, name)
        if heard is None:
            total = self.weights.linear(g, flat, f"{name}.node", bias=True)
        else:
            heard = g.reshape(heard, -1, 2 * width, name="heard")
            total = self.weights.linear(g, flat, f"{name}.node", plus=heard)
        halves = g.ints("halves", width, width)
        gate, up = g.op_many("Split", [total, halves], ["gate", "up"], axis=-1)
        mixed = self.weights.linear(g, swiglu(g, gate, up), f"{name}.down", plus=flat)
        mixed = rms_norm(g, mixed, size, config.rms_norm_eps)
        return g.reshape(mixed, -1, *self.shape, name="shaped")

    def _heard(self, g: GraphBuilder, x: str, name: str) -> str | None:
        """The node term's bias and what all nodes hear of their groups, or None if of none."""
        pools = AxisPools(g, x)
        terms = []
        for relation in self.structure.over_cells:
            pooled = self._pool(g, x, relation, pools)
            layer = f"{name}.relations.{relation.weights_key}"
            heard = self.weights.linear(g, pooled, layer)
            terms.append((self._heard_shape(relation), self._spread(g, heard, relation)))
        if self.by_value:
            pooled = pools.pool((len(self.cell_shape) + 1,), self.values, "values")
            heard = self.weights.linear(g, pooled, f"{name}.value")
            terms.append(((*self.cell_shape, 1), heard))
        if not terms:
            return None
        bias = self.weights.vector(g, f"{name}.node.bias")
        return add_terms(g, self.shape[:-1], bias, terms)

    def _heard_shape(self, relation: Relation) -> tuple[int, ...]:
        """Shape, but for batch and channels, of what `_spread` gives."""
        over = self.axes.get(relation.name, ())
        cells = (1 if axis in over else size for axis, size in enumerate(self.cell_shape))
        return (*cells, self.values)

    def _pool(self, g: GraphBuilder, x: str, relation: Relation, pools: AxisPools) -> str:
        if relation.name in self.axes:
            axes = self.axes[relation.name]
            members = math.prod(self.cell_shape[axis] for axis in axes)
            return pools.pool(tuple(axis + 1 for axis in axes), members, relation.name)
        with g.scope(relation.name):
            return self._gather_pool(g, x, relation)

    def _sets(self, relation: Relation) -> tuple[tuple[int, ...], ...]:
        if isinstance(relation, Neighbourhood):
            return relation.sets
        assert not isinstance(relation, (Offsets, Values))  # these have no groups of cells
        return relation.groups_on(self.structure.shape)

    def _gather_pool(self, g: GraphBuilder, x: str, relation: Relation) -> str:
        """Sum and maximum over arbitrary sets: (batch, sets, values, 2 * channels)."""
        key, size = relation.name, self.config.hidden_size
        members, present = padded([list(group) for group in self._sets(relation)])
        flat = g.reshape(x, -1, self.structure.cells, self.values, size, name="cells")
        seen = g.op("Gather", flat, g.constant(f"{key}/members", members), name="members", axis=1)
        whole = bool(present.all())
        real = seen
        if not whole:
            mask = g.constant(f"{key}/present", present[:, :, None, None])
            real = g.op("Mul", seen, mask, name="present")
        total = g.reduce("ReduceSum", real, [2], keepdims=False, name="sum")
        scale = (1 / np.sqrt(np.maximum(present.sum(1), 1)))[:, None, None]
        total = g.op("Mul", total, g.constant(f"{key}/scale", scale), name="scaled")
        # Absent members repeat the first one, so that they change no maximum.
        peak = g.reduce("ReduceMax", seen, [2], keepdims=False, name="max")
        empty = present.max(1) == 0
        if empty.any():
            none = g.constant(f"{key}/not_empty", (~empty).astype(np.float32)[:, None, None])
            peak = g.op("Mul", peak, none, name="max_or_zero")
        return g.op("Concat", total, peak, name="pool", axis=-1)

    def _spread(self, g: GraphBuilder, heard: str, relation: Relation) -> str:
        """What each node hears of the projected groups."""
        if relation.name in self.axes:
            return heard  # broadcasting does it
        with g.scope(relation.name):
            if relation.kind != "neighbourhood":
                hearers: list[list[int]] = [[] for _ in range(self.structure.cells)]
                for number, group in enumerate(self._sets(relation)):
                    for cell in group:
                        hearers[cell].append(number)
                index, present = padded(hearers)
                index_name = g.constant(f"{relation.name}/heard", index)
                heard = g.op("Gather", heard, index_name, name="heard", axis=1)
                if not present.all():
                    mask = g.constant(f"{relation.name}/heard_present", present[:, :, None, None])
                    heard = g.op("Mul", heard, mask, name="heard_present")
                heard = g.reduce("ReduceSum", heard, [2], keepdims=False, name="heard_sum")
            outputs = 2 * self.config.swiglu_size
            return g.reshape(heard, -1, *self.cell_shape, self.values, outputs, name="spread")

    def readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        config = self.config
        nodes = config.seq_len * self.values
        y = g.reshape(y, -1, nodes, config.hidden_size, name="nodes")
        logits = self.weights.linear(g, y, "lm_head")
        logits = g.reshape(logits, -1, config.seq_len, config.outputs, name="logits_shaped")
        logits = g.op("Add", logits, self.weights.vector(g, "lm_head.bias"), name="lm_head_bias")
        # The mean as a product: runtimes are slow at reducing an outer axis.
        share = g.constant("node_share", np.full((1, nodes), 1 / nodes, np.float32))
        mean = g.op("MatMul", share, y, name="mean")
        halt = self.weights.linear(g, mean, "q_head", bias=True)
        return logits, g.reshape(halt, -1, name="halt_flat")


def add_terms(
    g: GraphBuilder, shape: tuple[int, ...], bias: str, terms: list[tuple[tuple[int, ...], str]]
) -> str:
    """``bias + terms``, broadcast to the whole shape, with little addition over all of it.

    An addition over all nodes reads and writes more than the terms' own matrix products, so the
    bias joins the smallest term, and of what is left the two with the smallest sum come first
    (Sudoku's rows and boxes: a third of the whole).

    Parameters
    ----------
    shape : tuple of int
        Of the sum, but for batch and channels.
    terms : list of (shape, value)
        At least one; shapes broadcast to `shape`.
    """
    terms = sorted(terms, key=lambda term: math.prod(term[0]))
    terms[0] = terms[0][0], g.op("Add", terms[0][1], bias, name="bias")
    while len(terms) > 1:
        union, a, b = min(
            (
                (tuple(map(max, terms[a][0], terms[b][0])), a, b)
                for a in range(len(terms))
                for b in range(a + 1, len(terms))
            ),
            key=lambda pair: math.prod(pair[0]),
        )
        joined = g.op("Add", terms[a][1], terms[b][1], name="total")
        terms = [term for number, term in enumerate(terms) if number not in (a, b)]
        terms.append((union, joined))
    ((found, total),) = terms
    if found != shape:
        zeros = g.constant("all_nodes", np.zeros((1, *shape, 1), np.float32))
        total = g.op("Add", total, zeros, name="broadcast")
    return total


class AxisPools:
    """Sums and maxima of one x over sets of axes, each made from the smallest one at hand.

    Sudoku's rows and boxes are both sums over (row in band, column) of sums over the column in its
    stack, so the first reduction is shared; and reducing one axis at a time keeps to the patterns
    that runtimes have fast kernels for.
    """

    def __init__(self, g: GraphBuilder, x: str) -> None:
        self.g = g
        self.made: dict[tuple[str, frozenset[int]], str] = {}
        self.x = x

    def pool(self, axes: tuple[int, ...], members: int, name: str) -> str:
        """Scaled sum beside maximum, over the last axis; reduced axes stay, with size 1."""
        g = self.g
        with g.scope(name):
            total = self._reduced("ReduceSum", axes, "sum")
            scale = g.floats(f"pool_scale_{members}", 1 / math.sqrt(members))
            total = g.op("Mul", total, scale, name="scaled")
            peak = self._reduced("ReduceMax", axes, "max")
            return g.op("Concat", total, peak, name="pool", axis=-1)

    def _reduced(self, op_type: str, axes: tuple[int, ...], name: str) -> str:
        done: frozenset[int] = frozenset()
        value = self.x
        for axis in reversed(axes):  # the innermost first: the others then work on less
            done |= {axis}
            key = (op_type, done)
            if key not in self.made:
                self.made[key] = self.g.reduce(op_type, value, [axis], keepdims=True, name=name)
            value = self.made[key]
        return value


def padded(sets: list[list[int]]) -> tuple[Array, Array]:
    """Sets of different sizes as one int32 index array and a float32 mask of what is real.

    Absent members repeat a set's first one (cell 0 for an empty set).
    """
    width = max([len(members) for members in sets] + [1])
    index = np.zeros((len(sets), width), np.int32)
    present = np.zeros((len(sets), width), np.float32)
    for row, members in enumerate(sets):
        index[row] = members[0] if members else 0
        index[row, : len(members)] = members
        present[row, : len(members)] = 1
    return index, present
