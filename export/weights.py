"""How a model's weights are stored in a graph, and multiplied: by PyTorch name, once each.

Weights are stored transposed where that makes a MatMul's right operand constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

from trm_sdk.model.config import ModelConfig
from trm_sdk.structure import Offsets

from .builder import FLOAT, Array, GraphBuilder
from .errors import ExportError
from .quantize import Int4, Int8, Precision, affine, form_of, is_head, to_half, to_int8

#: How a layer's outputs may be stored in parts, in their order.
PARTS = (("gate", "up"), ("q", "k", "v"))


class StateDict(dict[str, Array]):
    """Float32 weights by their PyTorch names; their checksum is computed once."""

    @cached_property
    def sha256(self) -> str:
        """Checksum of names and float32 bytes, in sorted order of names."""
        digest = hashlib.sha256()
        for name in sorted(self):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self[name], np.float32).tobytes())
        return digest.hexdigest()


def weights_sha256(weights: Mapping[str, Array]) -> str:
    """Return the checksum of a state dict, as it stands in a graph's metadata."""
    return (weights if isinstance(weights, StateDict) else StateDict(weights)).sha256


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
        """Emit a weight as it is: an embedding table, a bias, an initial state."""
        return g.weight(name, self[name])

    def rows(self, g: GraphBuilder, name: str, indices: str, label: str) -> str:
        """Emit rows of a table, float32; in reduced precisions it is stored in half.

        A puzzle embedding is by far the largest weight of a model that has one.
        """
        table = self[name]
        if self.precision == "fp32":
            return g.op("Gather", g.weight(name, table), indices, name=label, axis=0)
        stored = g.weight(name, to_half(name, table))
        half = g.op("Gather", stored, indices, name=f"{label}_half", axis=0)
        return g.op("Cast", half, name=label, to=FLOAT)

    def kernel(self, g: GraphBuilder, name: str, relation: Offsets, repeats: int) -> str:
        """Return a depthwise kernel of shape (repeats * channels, 1, rows, columns).

        It is laid out from weights of shape (channels, taps), and always in float32: it has a few
        numbers a channel. Zeros stand where the relation has no offset.
        """
        stored = g.weight(f"{name}.weight", laid_out(self[f"{name}.weight"], relation))
        if repeats == 1:
            return stored
        if name not in self._restored:
            times = g.ints("repeats", repeats, 1, 1, 1)
            self._restored[name] = g.op_top("Tile", stored, times, name=f"{name}.weight/repeated")
        return self._restored[name]

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
        """Emit ``x @ weight.T (+ bias or plus)`` over the last axis of x, or the last but one.

        Parameters
        ----------
        name : str
            Of the linear layer, without ``.weight``.
        rows : slice, optional
            Only these outputs of the layer, stored on their own under the name of `part`.
        left : bool
            ``weight @ x`` instead: the layer runs over the last axis but one. Takes no bias.
        plus : str, optional
            A value to add, of shape (rows, outputs) or (outputs,), for an x of two axes. In float
            the product is added up onto it, which saves an addition's reading and writing.
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


def laid_out(taps: Array, relation: Offsets) -> Array:
    """Return weights (channels, taps) as a kernel (channels, 1, rows, columns)."""
    high, wide = relation.reach
    kernel = np.zeros((len(taps), 1, 2 * high + 1, 2 * wide + 1), np.float32)
    for number, (row, column) in enumerate(relation.offsets):
        kernel[:, 0, row + high, column + wide] = taps[:, number]
    return kernel


def taps_of(kernel: Array, relation: Offsets) -> Array:
    """Return the weights of shape (channels, taps) that `laid_out` made a kernel of."""
    high, wide = relation.reach
    taps = [kernel[:, 0, row + high, column + wide] for row, column in relation.offsets]
    return np.stack(taps, axis=1)


def offsets_by_key(config: ModelConfig) -> dict[str, Offsets]:
    """Return the relations of taps of a model, by the key of their weights."""
    relations = () if config.structure is None else config.structure.over_cells
    return {one.weights_key: one for one in relations if isinstance(one, Offsets)}


def read_weights(
    model: onnx.ModelProto, config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]
) -> StateDict:
    """Read back the state dict that a float32 graph was built from, from its initializers.

    Parameters
    ----------
    config : ModelConfig
        Of the model.
    shapes : mapping from PyTorch name to shape
        What to look for.

    Raises
    ------
    ExportError
        Naming the first weight that is not there in that shape.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    taps = offsets_by_key(config)
    found = StateDict()
    for full, shape in shapes.items():
        name = full.removeprefix("network.")
        array = _stored(stored, name, taps)
        if array is None or array.shape != shape or array.dtype != np.float32:
            raise ExportError(f"the graph has no float32 weight {name!r} of shape {shape}")
        found[full] = array
    return found


def _stored(
    tensors: Mapping[str, onnx.TensorProto], name: str, taps: Mapping[str, Offsets]
) -> Array | None:
    """Return one weight as PyTorch has it, or None where the graph does not store it."""
    layer, _, kind = name.rpartition(".")
    for parts in ((), *PARTS):
        names = [f"{layer}.{part}.{kind}" for part in parts] or [name]
        if not all(part in tensors for part in names):
            continue
        pieces = [numpy_helper.to_array(tensors[part]) for part in names]
        relation = taps.get(layer.rpartition(".")[2]) if ".taps." in name else None
        if relation is not None:
            high, wide = relation.reach
            fits = pieces[0].shape[1:] == (1, 2 * high + 1, 2 * wide + 1)
            return taps_of(pieces[0], relation) if fits else None
        kept = kind != "weight" or ".mlp_t." in name
        turned = [piece if kept else piece.T for piece in pieces]
        return np.concatenate(turned) if parts else turned[0]
    return None
