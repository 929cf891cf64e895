"""How weights are stored: in float32, or in fewer bits and turned back by standard operators.

Every form here stores a weight once and, but for ``int8``, ``int8s`` and ``int4n``, turns it back
into float32 in the outermost graph. onnxruntime does that once, while loading: the file is small,
the speed is float32's, and any runtime that has the standard operators can run it.

Layers over few inputs are stored as in ``int8w`` whichever integer form is asked for (`form_of`):
there the other forms save next to nothing, and cost answers.

=========  ====================================================================================
fp32       as they are
fp16       half precision
int8w      8 bits, one scale an output of the layer (weight-only)
int8       8 bits of which seven are used, multiplied as integers with activations quantised on
           the fly
int8s      the same weights and QuantizeLinear/DequantizeLinear pairs around every product, with
           ranges of the activations calibrated beforehand (see `export.calibrate`)
int4       4 bits, one half-precision scale for each block of at most 32 inputs (weight-only)
int4n      4 bits, blocks of 32, multiplied from 4 bits by onnxruntime's own MatMulNBits: less
           memory, and the one form that is not made of standard operators alone
=========  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .builder import Array
from .errors import ExportError

Precision = Literal["fp32", "fp16", "int8w", "int8", "int8s", "int4", "int4n"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
#: Forms that round activations too: what they lose is a matter of solved puzzles, not of logits.
ROUNDS_ACTIVATIONS: tuple[str, ...] = ("int8", "int8s")

#: Largest int8 weight of a product of integers. x86 processors without VNNI add up products of an
#: uint8 and an int8 in pairs, in 16 bits: two of 255 x 127 saturate there, two of 255 x 64 fit.
#: With larger weights a graph is right on one machine and wrong on the next.
_LARGEST_FACTOR = 64

#: Inputs that share a scale in int4, at most.
BLOCK = 32

#: Layers over fewer inputs are stored as in ``int8w``. Rounding activations for so short products
#: saves 7% of a step's time (the bundled `sudoku`, one core with AVX-512 VNNI), and four bits save
#: less than the operators that unpack them take; either costs a recursive network puzzles.
FEW_INPUTS = 64


@dataclass(frozen=True)
class Int8:
    """A matrix as int8 with a float32 scale for each row.

    Attributes
    ----------
    values : int8 array of shape (outputs, inputs)
    scale : float32 array of shape (outputs, 1)
    """

    values: Array
    scale: Array

    @classmethod
    def of(cls, matrix: Array, largest: int = 127) -> Int8:
        """Quantise symmetrically to -largest..largest; rows of zeros get scale 1."""
        scale = np.abs(matrix).max(1, keepdims=True) / largest
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        return cls(np.clip(np.rint(matrix / scale), -largest, largest).astype(np.int8), scale)

    def restored(self) -> Array:
        """The float32 matrix that this stands for."""
        return self.values.astype(np.float32) * self.scale


@dataclass(frozen=True)
class Int4:
    """A matrix as 4-bit numbers 0..15 about 8, with a float16 scale for each block of a row.

    Attributes
    ----------
    packed : uint8 array of shape (outputs, width / 2)
        Columns of the first half in the low bits, of the second half in the high ones; `width` is
        the number of inputs, padded to whole blocks.
    scale : float16 array of shape (outputs, blocks, 1)
    inputs : int
    """

    packed: Array
    scale: Array
    inputs: int

    @property
    def block(self) -> int:
        """Inputs a block."""
        return int(2 * self.packed.shape[1] // self.scale.shape[1])

    @classmethod
    def of(cls, matrix: Array, *, whole_blocks: bool = False) -> Int4:
        """Quantise symmetrically, each block with the scale that loses least.

        Parameters
        ----------
        whole_blocks : bool
            Blocks of exactly 32 inputs, the last one padded, instead of equal ones of at most 32.
        """
        outputs, inputs = matrix.shape
        blocks = -(-inputs // BLOCK)
        block = BLOCK if whole_blocks else -(-inputs // blocks)
        block += block % 2  # two numbers a byte
        padded = np.zeros((outputs, blocks * block), np.float32)
        padded[:, :inputs] = matrix
        cut = padded.reshape(outputs, blocks, block)
        largest = np.abs(cut).max(2, keepdims=True)
        best_scale = np.ones_like(largest, np.float16)
        best_loss = np.full_like(largest, np.inf)
        # Clipping the largest number a little often costs less than a coarser grid for the rest.
        for share in np.linspace(0.7, 1.15, 19):
            scale = (largest * share / 7.5).astype(np.float16)
            scale = np.where(scale > 0, scale, np.float16(1))
            wide = scale.astype(np.float32)
            restored = np.clip(np.rint(cut / wide), -8, 7) * wide
            loss = np.square(restored - cut).sum(2, keepdims=True)
            best_scale = np.where(loss < best_loss, scale, best_scale)
            best_loss = np.minimum(loss, best_loss)
        codes = np.clip(np.rint(cut / best_scale.astype(np.float32)), -8, 7) + 8
        flat = codes.reshape(outputs, -1).astype(np.uint8)
        half = flat.shape[1] // 2
        return cls(flat[:, :half] | (flat[:, half:] << 4), best_scale, inputs)

    def codes(self) -> Array:
        """Return the codes 0..15, uint8 of shape (outputs, width)."""
        codes: Array = np.concatenate((self.packed & 15, self.packed >> 4), axis=1)
        return codes

    def restored(self) -> Array:
        """The float32 matrix that this stands for."""
        codes = self.codes().astype(np.float32)
        blocks = codes.reshape(len(codes), -1, self.block) - 8
        restored = blocks * self.scale.astype(np.float32)
        return restored.reshape(len(codes), -1)[:, : self.inputs]


def affine(lowest: float, highest: float) -> tuple[Array, Array]:
    """Scale (float32 scalar) and zero point (uint8 scalar) for numbers of a range.

    The range is widened to hold 0, which is then stored exactly.
    """
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    scale = np.float32((highest - lowest) / 255 or 1.0)
    return np.array(scale), np.array(np.clip(np.rint(-lowest / scale), 0, 255), np.uint8)


def form_of(name: str, inputs: int, precision: Precision) -> Precision:
    """Return how a graph of some precision stores one layer's matrix.

    Heads are tiny and decide everything: they keep half precision in the integer forms.

    Parameters
    ----------
    name : str
        Of the weight, with or without ``network.``.
    inputs : int
        Of the layer.
    """
    if precision == "fp32" or ".taps." in name:  # depthwise kernels: a few numbers a channel
        return "fp32"
    if precision == "fp16" or is_head(name):
        return "fp16"
    return precision if inputs >= FEW_INPUTS else "int8w"


def alike(
    weights: Mapping[str, Array], precisions: Sequence[Precision] = get_args(Precision)
) -> list[tuple[Precision, ...]]:
    """Group the precisions that store every layer of a model alike, and so are one in effect.

    Parameters
    ----------
    weights : mapping from name to float32 array
    precisions : sequence, optional
        Those to look at; default all.
    """
    matrices = {name: a for name, a in weights.items() if name.endswith(".weight") and a.ndim == 2}
    groups: dict[tuple[Precision, ...], list[Precision]] = {}
    for precision in precisions:
        forms = tuple(form_of(name, a.shape[1], precision) for name, a in matrices.items())
        groups.setdefault(forms, []).append(precision)
    return [tuple(group) for group in groups.values()]


def is_head(name: str) -> bool:
    """Return whether a weight belongs to the readout."""
    return name.removeprefix("network.").startswith(
        ("lm_head.", "q_head.", "dead_end_head.", "heads.")
    )


def rounded_weights(weights: Mapping[str, Array], precision: Precision) -> dict[str, Array]:
    """Return the float32 weights that a graph of this precision stands for.

    PyTorch with these is what such a graph must equal; what the rounding itself costs is a matter
    of solved puzzles, and not of logits.
    """
    return {name: _rounded(name, array, precision) for name, array in weights.items()}


def _rounded(name: str, array: Array, precision: Precision) -> Array:
    if name.removeprefix("network.") == "puzzle_emb" and precision != "fp32":
        return to_half(name, array).astype(np.float32)
    if not name.endswith(".weight") or array.ndim != 2:
        return array
    form = form_of(name, array.shape[1], precision)
    if form == "fp32":
        return array
    if form == "fp16":
        return to_half(name, array).astype(np.float32)
    if form in {"int4", "int4n"}:
        return Int4.of(array, whole_blocks=form == "int4n").restored()
    return to_int8(array, form).restored()


def to_int8(matrix: Array, form: Precision) -> Int8:
    """Return a matrix in 8 bits: all of them as storage, seven where it is multiplied so."""
    return Int8.of(matrix, _LARGEST_FACTOR if form in ROUNDS_ACTIVATIONS else 127)


def to_half(name: str, array: Array) -> Array:
    """Return an array in half precision.

    Raises
    ------
    ExportError
        If a number is too large for it.
    """
    with np.errstate(over="ignore"):
        half: Array = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ExportError(f"weight {name!r} has numbers that half precision can't hold")
    return half
