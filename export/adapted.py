"""The network of an `AdaptedSolver` as an ONNX graph of mode ``step``.

Every relation of the network is a standard operator on (colours, channels, rows, columns): what a
node sees of its neighbours is one 3x3 convolution, the pools are reductions and 1x1 convolutions.
So one graph takes inputs of every size that the task's size rule has an answer for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from trm_sdk.adapt.graph import MODE
from trm_sdk.adapt.kernels import HIDDEN, WIDTH
from trm_sdk.adapt.network import COPY, Weights
from trm_sdk.adapt.solver import AdaptedSolver
from trm_sdk.adapt.tasks import task_json
from trm_sdk.adapt.training import Snapshot
from trm_sdk.atomic import write_whole
from trm_sdk.messages import shown
from trm_sdk.validation import as_path, is_int

from .builder import FLOAT, INT64, GraphBuilder
from .errors import ExportError
from .graph import GRAPH_FORMAT

OPSET = 18
#: Times that z is refined before y is, as `Network` has it.
_INNER = 2


def export_adapted(
    solver: AdaptedSolver, path: str | os.PathLike[str], snapshot: int | None = None
) -> Path:
    """Write one network of an adapted solver as a graph that `AdaptedGraph` runs.

    Parameters
    ----------
    solver : AdaptedSolver
    path : path
        Of the ``.onnx`` file.
    snapshot : int, optional
        Which of `AdaptedSolver.snapshots`. Default: the one that answers what all of them vote for,
        `AdaptedSolver.speaker`.

    Returns
    -------
    Path

    Raises
    ------
    ExportError
        If there is no such snapshot, or the file can't be written.
    """
    place = as_path(path)
    if snapshot is None:
        snapshot, steps = solver.speaker()
    elif is_int(snapshot) and 0 <= snapshot < len(solver.snapshots):
        accuracy = solver.snapshots[snapshot].accuracy
        steps = solver.options.depths[max(range(len(accuracy)), key=accuracy.__getitem__)]
    else:
        raise ExportError(
            f"snapshot must be from 0 to {len(solver.snapshots) - 1}; got {shown(snapshot)}"
        )
    chosen = solver.snapshots[snapshot]
    model = _build(chosen.weights).model(_metadata(solver, chosen, steps))
    try:
        write_whole(place, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise ExportError(f"{place} can't be written: {error.strerror}") from None
    return place


def _metadata(solver: AdaptedSolver, snapshot: Snapshot, steps: int) -> dict[str, str]:
    vocabulary = solver.domain.vocabulary
    spec = {
        "domain": solver.domain.name,
        "task": task_json(solver.task),
        "steps": steps,
        "accuracy": snapshot.accuracy[solver.options.depths.index(steps)],
        # For programs that can't import `Coding`, such as the page.
        "coding": solver.coding.describe(),
        "values": [
            {"name": token.name, "symbol": token.symbol, "colour": token.colour}
            for token in vocabulary.tokens[vocabulary.first :]
        ],
    }
    return {"trm_format": str(GRAPH_FORMAT), "trm_mode": MODE, "trm_spec": json.dumps(spec)}


def _build(weights: Weights) -> GraphBuilder:
    builder = GraphBuilder("adapted_step", OPSET)
    features = weights.sizes.features
    sizes: list[str | int] = ["colours", WIDTH, "rows", "columns"]
    seen = builder.input("features", FLOAT, ["colours", features, "rows", "columns"])
    members = builder.input("members", INT64, ["colours"])
    sources = builder.input("sources", INT64, ["rows", "columns"])
    y_in, z_in = builder.input("y", FLOAT, sizes), builder.input("z", FLOAT, sizes)
    # States are relative to the initial ones, so that a start is zeros.
    starts = [
        builder.weight(f"start_{name}", weights[name].reshape(1, WIDTH, 1, 1)) for name in "yz"
    ]
    y, z = (
        builder.op("Add", value, start) for value, start in zip((y_in, z_in), starts, strict=True)
    )
    e = _embedding(builder, weights, seen, members, sources)
    for number in range(1, _INNER + 1):
        with builder.scope(f"z{number}"):
            z = _block(builder, weights, builder.op("Sum", y, z, e, name="x"))
    with builder.scope("y"):
        y = _block(builder, weights, builder.op("Add", y, z, name="x"))
    logits = _logits(builder, weights, y, seen)
    for value, start, name in ((y, starts[0], "next_y"), (z, starts[1], "next_z")):
        builder.output(builder.op("Sub", value, start), FLOAT, sizes, name)
    builder.output(logits, FLOAT, ["colours", "rows", "columns"], "logits")
    return builder


def _convolved(builder: GraphBuilder, name: str, matrix: np.ndarray, value: str) -> str:
    """Multiply the channels of each place by a matrix of shape (channels in, channels out)."""
    kernel = builder.weight(name, np.ascontiguousarray(matrix.T)[:, :, None, None])
    return builder.op("Conv", value, kernel, name=f"by_{name}")


def _embedding(
    builder: GraphBuilder, weights: Weights, features: str, members: str, sources: str
) -> str:
    with builder.scope("embedding"):
        vectors = builder.weight("vectors", weights["colours"] + weights["task"])
        own = builder.op("Gather", vectors, members, axis=0, name="of_colour")
        own = builder.op("Unsqueeze", own, builder.ints("places", 2, 3))
        pairs = builder.weight("pairs", weights["pairs"] @ weights["pair_projection"])
        pairs = builder.op("Gather", pairs, members, axis=1, name="pairs_of_colour")
        pairs = builder.op("Gather", pairs, sources, axis=0, name="of_pair")
        pairs = builder.op("Transpose", pairs, perm=[2, 3, 0, 1])
        base = _convolved(builder, "embed", weights["embed"], features)
        return builder.op("Sum", base, own, pairs, name="sum")


def _kernel(weights: Weights) -> np.ndarray:
    """Return the 3x3 convolution that what a node sees of its neighbours amounts to."""
    own, beside, diagonal, directed = weights["seen"].reshape(4, WIDTH, 2 * HIDDEN)
    kernel = np.zeros((2 * HIDDEN, WIDTH, 3, 3), np.float32)
    kernel[:, :, 1, 1] = own.T
    steps = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
    for number, (down, right) in enumerate(steps):
        even = beside if number < 4 else diagonal
        one = even + weights["directions"][number][:, None] * directed
        kernel[:, :, 1 + down, 1 + right] = one.T
    return kernel


def _block(builder: GraphBuilder, weights: Weights, x: str) -> str:
    lines, apart = weights["lines"], weights["lines_apart"]

    def pooled(value: str, axes: list[int], name: str, positive: bool = True) -> tuple[str, str]:
        mean = builder.reduce("ReduceMean", value, axes, keepdims=True, name=f"{name}_mean")
        most = builder.reduce("ReduceMax", value, axes, keepdims=True, name=f"{name}_max")
        return mean, builder.op("Relu", most) if positive else most

    def both(parts: tuple[str, str], name: str, matrix: np.ndarray) -> str:
        return _convolved(builder, name, matrix, builder.op("Concat", *parts, axis=1))

    kernel = builder.weight("neighbours", _kernel(weights))
    bias = builder.weight("bias", weights["bias"])
    u = builder.op("Conv", x, kernel, bias, pads=[1, 1, 1, 1], name="neighbours_of")
    grids = pooled(x, [2, 3], "grid")
    mean, most = grids
    everything = (
        builder.reduce("ReduceMean", mean, [0], keepdims=True, name="everything_mean"),
        builder.reduce("ReduceMax", most, [0], keepdims=True, name="everything_max"),
    )
    u = builder.op(
        "Sum",
        u,
        both(pooled(x, [3], "row"), "rows", lines + apart),
        both(pooled(x, [2], "column"), "columns", lines - apart),
        both(pooled(x, [0], "cell", positive=False), "cells", weights["cells"]),
        both(grids, "grids", weights["grids"]),
        both(everything, "everything", weights["everything"]),
        name="u",
    )
    halves = builder.ints("halves", HIDDEN, HIDDEN)
    gate, up = builder.op_many("Split", [u, halves], ["gate", "up"], axis=1)
    half = builder.floats("half", 0.5)
    share = builder.op("Add", builder.op("Mul", builder.op("Softsign", gate), half), half)
    hidden = builder.op("Mul", builder.op("Mul", gate, share), up, name="hidden")
    v = builder.op("Add", x, _convolved(builder, "down", weights["down"], hidden), name="v")
    square = builder.op("Mul", v, v)
    mean = builder.reduce("ReduceMean", square, [1], keepdims=True, name="mean_square")
    scale = builder.op("Sqrt", builder.op("Add", mean, builder.floats("epsilon", 1e-5)))
    return builder.op("Div", v, scale, name="out")


def _logits(builder: GraphBuilder, weights: Weights, y: str, features: str) -> str:
    with builder.scope("logits"):
        copying = np.zeros((weights.sizes.features, 1), np.float32)
        copying[: weights.sizes.views, 0] = COPY * weights["copy"]
        own = _convolved(builder, "head", weights["head"], y)
        copied = _convolved(builder, "copy", copying, features)
        bias = builder.weight("head_bias", weights["head_bias"])
        both = builder.op("Sum", own, copied, bias)
        return builder.op("Squeeze", both, builder.ints("channel", 1), name="sum")


__all__ = ["export_adapted"]
