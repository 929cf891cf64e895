"""What the networks' graphs are made of: activations and norms, as runtimes fuse them."""

from __future__ import annotations

import numpy as np

from .builder import GraphBuilder


def swiglu(g: GraphBuilder, gate: str, up: str) -> str:
    """Emit ``silu(gate) * up``."""
    return g.op("Mul", silu(g, gate), up, name="gated")


def silu(g: GraphBuilder, x: str) -> str:
    """Emit ``x * sigmoid(x)``."""
    return g.op("Mul", x, g.op("Sigmoid", x, name="sigmoid"), name="silu")


def rms_norm(g: GraphBuilder, x: str, size: int, eps: float) -> str:
    """Emit weightless RMS normalisation over the last axis, of length `size`.

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
    """Emit weightless RMS normalisation over the last axis but one, of length `size`.

    The mean is a product with a constant row: runtimes are slow at reducing an outer axis.
    """
    share = g.constant("row_share", np.full((1, size), 1 / size, np.float32))
    mean = g.op("MatMul", share, g.op("Mul", x, x, name="norm/square"), name="norm/mean")
    safe = g.op("Add", mean, g.floats("rms_norm_eps", eps), name="norm/eps")
    return g.op("Div", x, g.op("Sqrt", safe, name="norm/rms"), name="norm")
