"""The three graphs of one model: a supervision step, a loop that halts, an unrolled chain of steps.

All three share the recursion below, which is `trm_sdk.model.recursion` in graph form, and the
networks of `export.networks`. See `build_graph` for their inputs and outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import onnx

from export.builder import BOOL, FLOAT, INT32, INT64, Array, Function, GraphBuilder, sdk_version
from export.errors import ExportError
from export.networks import NetworkGraph, Weights, network_graph
from export.quantize import PRECISIONS, Precision
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.spec import ModelSpec

Mode = Literal["step", "loop", "unroll"]
Cycles = Literal["auto", "loop", "unroll"]
Functions = Literal["auto", "on", "off"]

#: Layout of the inputs, outputs and metadata; a host checks it before anything else.
GRAPH_FORMAT = "1"
DEFAULT_OPSET = 17
#: Opsets that the graphs are valid in, as far as tried.
OPSETS = range(14, 22)
#: Fixed batch sizes and unrolled steps that are worth a graph.
BATCHES, STEPS = range(1, 4097), range(1, 100_001)
#: ``functions="auto"`` keeps an unrolled graph plain while its nodes take no more than this share
#: of its weights' bytes, or no more than so many bytes.
_PLAIN_SHARE, _PLAIN_BYTES = 0.01, 128 * 1024


def build_graph(
    spec: ModelSpec,
    weights: Mapping[str, Array],
    mode: Mode = "step",
    *,
    max_steps: int | None = None,
    batch: int | None = None,
    opset: int = DEFAULT_OPSET,
    cycles: Cycles = "auto",
    precision: Precision = "fp32",
    functions: Functions = "auto",
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> onnx.ModelProto:
    """Build the ONNX graph of a model.

    Parameters
    ----------
    spec : ModelSpec
    weights : mapping from name to float32 array
        The state dict of the model.
    mode : {"step", "loop", "unroll"}
        ``step``: inputs ``tokens`` int32 (batch, N) and ``y``, ``z`` float32
        (batch, \\*config.state_shape); outputs ``next_y``, ``next_z``, ``logits`` float32
        (batch, N, outputs), ``halt_logit`` float32 (batch,). States are relative to the model's
        initial one: a puzzle starts from zeros.

        ``loop``: inputs ``tokens``, ``max_steps`` (int64 scalar), ``halt_threshold`` (float32
        scalar: an example halts when its halting probability exceeds it; 1 never); outputs
        ``answer`` int32 (batch, N), ``logits``, ``halt_logit`` and ``steps`` int32 (batch,), all
        as they stood when the example halted.

        ``unroll``: input ``tokens``; outputs ``answer``, ``logits``, ``halt_logit`` after
        `max_steps` supervision steps.

        Models with several puzzle identifiers take one more input, ``puzzle_identifiers`` int32
        (batch,).
    max_steps : int, optional
        Supervision steps of ``unroll``; default the model's own ``spec.solve.max_steps``.
    batch : int, optional
        A fixed batch size, at most 4096; default dynamic.
    opset : int
        Of the standard operators; default 17.
    cycles : {"auto", "loop", "unroll"}
        In ``loop``: the passes of one supervision step as Loops nested in the outer one, or written
        out in its body. ``auto`` writes them out: onnxruntime does not prepack weights used two
        Loops deep, which costs a quarter of the speed (the weights are stored once either way).

    precision : {"fp32", "fp16", "int8w", "int8", "int8s", "int4", "int4n"}
        How weights are stored, and for ``int8`` and ``int8s`` multiplied; see `export.quantize`.
    functions : {"auto", "on", "off"}
        In ``unroll``: whether the network's pass and the supervision step are stored once, as
        functions of the model that are called, instead of being written out each time. Runtimes
        inline them while loading. ``auto`` does so where the nodes would weigh on the file's size;
        ``off`` is for runtimes that know no functions.
    ranges : mapping from layer to (lowest, highest), optional
        What `export.calibrate.calibrate` found; ``int8s`` alone needs it.

    Raises
    ------
    ExportError
        If an argument is out of range, or for another mode.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if mode not in get_args(Mode):
        raise ExportError(f"mode must be one of {', '.join(get_args(Mode))}; got {mode!r}")
    if opset not in OPSETS:
        raise ExportError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}; got {opset}")
    if batch is not None and batch not in BATCHES:
        raise ExportError(
            f"batch must be from {BATCHES[0]} to {BATCHES[-1]}, or None for a dynamic one; "
            f"got {batch}"
        )
    for name, value, accepted, of in (
        ("functions", functions, get_args(Functions), "unroll"),
        ("cycles", cycles, get_args(Cycles), "loop"),
    ):
        if value not in accepted:
            raise ExportError(f"{name} must be one of {', '.join(accepted)}; got {value!r}")
        if value not in ("auto", "off") and mode != of:
            raise ExportError(f"{name}={value!r} is for mode {of!r} alone; got mode {mode!r}")
    if max_steps is not None and mode != "unroll":
        raise ExportError(
            f"max_steps={max_steps} is for mode 'unroll' alone; got mode {mode!r}, whose host "
            "decides at every call"
        )
    steps = spec.solve.max_steps if max_steps is None else max_steps
    if steps not in STEPS:
        raise ExportError(f"max_steps must be from {STEPS[0]} to {STEPS[-1]}; got {steps}")
    if precision == "int8s" and ranges is None:
        raise ExportError("precision 'int8s' needs the ranges that export.calibrate finds")

    def begin() -> _ModelGraph:
        return _ModelGraph(spec, Weights(weights, precision, ranges), batch, opset)

    graph = begin()
    if mode == "unroll" and functions == "auto":
        graph.unroll(steps)
        plain = graph.g.graph()
        nodes = sum(node.ByteSize() for node in plain.node)
        stored = sum(tensor.ByteSize() for tensor in plain.initializer)
        large = steps > 1 and nodes > max(_PLAIN_BYTES, _PLAIN_SHARE * stored)
        functions = "on" if large else "off"
        graph = begin()
    if mode == "step":
        graph.step()
    elif mode == "loop":
        graph.loop(nested=cycles == "loop")
    else:
        graph.unroll(steps, as_function=functions == "on")
    metadata = _metadata(spec, weights, mode, precision)
    if mode == "unroll":
        metadata["max_steps"] = str(steps)
    return graph.g.model(metadata)


def observed_graph(
    spec: ModelSpec, weights: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, list[str]]]:
    """A float32 ``step`` graph that also gives what goes into each linear layer, at every pass.

    Returns
    -------
    graph : ModelProto
        Its outputs are those of ``step``, and the values named by `inputs`.
    inputs : dict from layer to names of outputs
    """
    stored = Weights(weights)
    graph = _ModelGraph(spec, stored, None, DEFAULT_OPSET)
    graph.step()
    for value in dict.fromkeys(value for values in stored.inputs.values() for value in values):
        graph.g.output(value, FLOAT, None)
    return graph.g.model(_metadata(spec, weights, "step", "fp32")), stored.inputs


class _ModelGraph:
    """One graph in the making."""

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        batch: int | None,
        opset: int,
    ) -> None:
        self.config: ModelConfig = spec.model
        self.weights = weights
        self.network: NetworkGraph = network_graph(self.config, self.weights)
        self._pass: Function | None = None
        self.batch: int | str = "batch" if batch is None else batch
        self.g = g = GraphBuilder(f"trm_{spec.domain}", opset)
        self.tokens = g.input("tokens", INT32, [self.batch, self.config.seq_len])
        self.identifiers = (
            g.input("puzzle_identifiers", INT32, [self.batch])
            if self.config.num_puzzle_identifiers > 1
            else None
        )

    # --- the modes --------------------------------------------------------------------------

    def step(self) -> None:
        """Emit one supervision step between relative states."""
        g = self.g
        shape: list[int | str | None] = [self.batch, *self.config.state_shape]
        inputs = {name: g.input(name, FLOAT, shape) for name in ("y", "z")}
        with g.scope("start"):
            states = [
                g.op("Add", self._inside(g, inputs[name]), self._initial(g, name), name=name)
                for name in ("y", "z")
            ]
        x = self._embed()
        with g.scope("step"):
            y, z = self._step(g, x, *states)
            logits, halt = self._readout(g, y)
        with g.scope("end"):
            for name, state in (("y", y), ("z", z)):
                relative = g.op("Sub", state, self._initial(g, name), name=name)
                relative = g.reshape(relative, -1, *self.config.state_shape, name=f"{name}_flat")
                g.output(relative, FLOAT, shape, name=f"next_{name}")
        self._outputs(logits, halt)

    def unroll(self, steps: int, *, as_function: bool = False) -> None:
        """Emit a chain of supervision steps, written out or as calls of one function."""
        g = self.g
        x = self._embed()
        y, z = self._initial(g, "y"), self._initial(g, "z")
        step = None
        if as_function:
            body = g.body("Pass")
            self._pass = g.define(body, ["state"], [self.network.forward(body, "state")])
            body = g.body("SupervisionStep")
            inputs = ["y_before", "z_before"]
            step = g.define(body, inputs, self._step(body, x, *inputs))
        for number in range(steps):
            with g.scope(f"step{number}"):
                if step is not None:
                    y, z = g.call(step, [y, z], ["y", "z"])
                else:
                    y, z = self._step(g, x, y, z)
        logits, halt = self._readout(g, y)
        self._answer(logits)
        self._outputs(logits, halt)

    def loop(self, *, nested: bool) -> None:
        """Emit a Loop of supervision steps that ends when every example has halted."""
        g, config = self.g, self.config
        limit = g.input("max_steps", INT64, [])
        threshold = g.input("halt_threshold", FLOAT, [])
        x = self._embed()
        with g.scope("start"):
            shape = g.op("Shape", x, name="shape")
            y = g.op("Expand", self._initial(g, "y"), shape, name="y")
            z = g.op("Expand", self._initial(g, "z"), shape, name="z")
            zero = g.constant("zero", np.int32(0))
            row = g.op("Gather", self.tokens, zero, name="row", axis=1)
            steps = g.op("Mul", row, zero, name="steps")
            active = g.op("Equal", steps, zero, name="active")
            halt = g.op("Cast", steps, name="halt_logit", to=FLOAT)
            cells = g.op("Unsqueeze", halt, g.ints("cell_axes", 1, 2), name="cells")
            cell_shape = g.ints("logits_shape", 1, config.seq_len, config.outputs)
            logits = g.op("Expand", cells, cell_shape, name="logits")
        carried: dict[str, tuple[str, int, list[int | str | None]]] = {
            "y": (y, FLOAT, [None, *self.network.shape]),
            "z": (z, FLOAT, [None, *self.network.shape]),
            "logits": (logits, FLOAT, [None, config.seq_len, config.outputs]),
            "halt_logit": (halt, FLOAT, [None]),
            "steps": (steps, INT32, [None]),
            "active": (active, BOOL, [None]),
        }
        body = g.body("step")
        body.input("iteration", INT64, [])
        body.input("go_on", BOOL, [])
        was = {
            name: body.input(f"{name}_before", dtype, shape)
            for name, (_, dtype, shape) in carried.items()
        }
        y, z = self._step(body, x, was["y"], was["z"], nested=nested)
        new_logits, new_halt = self._readout(body, y)
        # A halted example's state runs on, unseen: freezing what is read of it is cheaper.
        still = was["active"]
        still_cells = body.op("Unsqueeze", still, body.ints("cell_axes", 1, 2), name="active_cells")
        now = {
            "y": y,
            "z": z,
            "logits": body.op("Where", still_cells, new_logits, was["logits"], name="logits_kept"),
            "halt_logit": body.op("Where", still, new_halt, was["halt_logit"], name="halt_kept"),
        }
        counted = body.op("Cast", still, name="active_count", to=INT32)
        now["steps"] = body.op("Add", was["steps"], counted, name="steps_after")
        probability = body.op("Sigmoid", new_halt, name="halt_probability")
        halts = body.op("Greater", probability, threshold, name="halts")
        goes_on = body.op("Not", halts, name="goes_on")
        now["active"] = body.op("And", still, goes_on, name="active_after")
        left = body.op("Cast", now["active"], name="active_left", to=INT32)
        most = body.reduce("ReduceMax", left, [0], keepdims=False, name="any_left")
        body.output(body.op("Cast", most, name="go_on_after", to=BOOL), BOOL, [])
        for name, (_, dtype, dims) in carried.items():
            body.output(now[name], dtype, dims)
        results = g.loop(
            limit,
            g.constant("true", np.array(True)),
            [value for value, _, _ in carried.values()],
            body,
            [f"last/{name}" for name in carried],
        )
        last = dict(zip(carried, results, strict=True))
        self._answer(last["logits"])
        self._outputs(last["logits"], last["halt_logit"])
        g.output(last["steps"], INT32, [self.batch], name="steps")

    # --- their parts ------------------------------------------------------------------------

    def _embed(self) -> str:
        with self.g.scope("embed"):
            return self.network.embed(self.g, self.tokens, self.identifiers)

    def _initial(self, g: GraphBuilder, name: str) -> str:
        """The initial y or z, in a shape that broadcasts to the state's."""
        stored = self.weights.vector(g, f"{name}_init")
        if len(self.weights[f"{name}_init"].shape) != 1:
            raise ExportError(f"{name}_init must be a vector")
        return stored

    def _inside(self, g: GraphBuilder, state: str) -> str:
        """A state from outside in the network's own shape."""
        if self.network.shape == self.config.state_shape:
            return state
        return g.reshape(state, -1, *self.network.shape, name=f"{state}_shaped")

    def _step(
        self, g: GraphBuilder, x: str, y: str, z: str, *, nested: bool = False
    ) -> tuple[str, str]:
        """T times (n latent updates, one answer update)."""
        if nested:
            return self._nested_step(g, x, y, z)
        for high in range(self.config.H_cycles):
            with g.scope(f"H{high}"):
                injected = g.op("Add", y, x, name="y_plus_x")
                for low in range(self.config.L_cycles):
                    with g.scope(f"L{low}"):
                        z = self._forward(g, g.op("Add", z, injected, name="z_plus_y_x"))
                with g.scope("answer"):
                    y = self._forward(g, g.op("Add", y, z, name="y_plus_z"))
        return y, z

    def _forward(self, g: GraphBuilder, state: str) -> str:
        """One pass of the network, written out or as a call."""
        if self._pass is None:
            return self.network.forward(g, state)
        return g.call(self._pass, [state], ["state"])[0]

    def _nested_step(self, g: GraphBuilder, x: str, y: str, z: str) -> tuple[str, str]:
        """The same as a Loop over T whose body holds a Loop over n."""
        shape: list[int | str | None] = [None, *self.network.shape]
        true = g.constant("true", np.array(True))

        def body_of(parent: GraphBuilder, name: str, states: tuple[str, ...]) -> list[str]:
            body = parent.body(name)
            bodies.append(body)
            body.input("iteration", INT64, [])
            go_on = body.input("go_on", BOOL, [])
            inputs = [body.input(f"{state}_before", FLOAT, shape) for state in states]
            body.output(body.op("Identity", go_on, name="go_on_after"), BOOL, [])
            return inputs

        bodies: list[GraphBuilder] = []
        y_in, z_in = body_of(g, "H", ("y", "z"))
        high = bodies[0]
        injected = high.op("Add", y_in, x, name="y_plus_x")
        (z_low,) = body_of(high, "L", ("z",))
        low = bodies[1]
        z_next = self.network.forward(low, low.op("Add", z_low, injected, name="z_plus_y_x"))
        low.output(z_next, FLOAT, shape)
        trips = g.constant("L_cycles", np.int64(self.config.L_cycles))
        (z_out,) = high.loop(trips, true, [z_in], low, ["z"])
        with high.scope("answer"):
            y_out = self.network.forward(high, high.op("Add", y_in, z_out, name="y_plus_z"))
        high.output(y_out, FLOAT, shape)
        high.output(high.op("Identity", z_out, name="z_after"), FLOAT, shape)
        trips = g.constant("H_cycles", np.int64(self.config.H_cycles))
        y_last, z_last = g.loop(trips, true, [y, z], high, ["y", "z"])
        return y_last, z_last

    def _readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        with g.scope("readout"):
            return self.network.readout(g, y)

    def _answer(self, logits: str) -> None:
        """Add the output ``answer``: the best token a cell, with givens kept."""
        g, config = self.g, self.config
        with g.scope("answer"):
            best = g.op("ArgMax", logits, name="best", axis=-1, keepdims=0)
            best = g.op("Cast", best, name="best_int32", to=INT32)
            if config.answer_tokens is not None:
                meant = g.constant("answer_tokens", np.array(config.answer_tokens, np.int32))
                best = g.op("Gather", meant, best, name="best_token", axis=0)
            if config.given_tokens:
                is_given = np.isin(np.arange(config.vocab_size), config.given_tokens)
                table = g.constant("is_given", is_given)
                given = g.op("Gather", table, self.tokens, name="given", axis=0)
                best = g.op("Where", given, self.tokens, best, name="with_givens")
        g.output(best, INT32, [self.batch, config.seq_len], name="answer")

    def _outputs(self, logits: str, halt: str) -> None:
        shape = [self.batch, self.config.seq_len, self.config.outputs]
        self.g.output(logits, FLOAT, shape, name="logits")
        self.g.output(halt, FLOAT, [self.batch], name="halt_logit")


def weights_sha256(weights: Mapping[str, Array]) -> str:
    """Checksum of a state dict: names and float32 bytes, in sorted order of names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name], np.float32).tobytes())
    return digest.hexdigest()


def _metadata(
    spec: ModelSpec, weights: Mapping[str, Array], mode: Mode, precision: Precision
) -> dict[str, str]:
    return {
        "trm_format": GRAPH_FORMAT,
        "trm_mode": mode,
        "trm_spec": spec.to_json(),
        "trm_sdk_version": sdk_version(),
        "domain": spec.domain,
        "vocabulary": json.dumps(spec.vocabulary, ensure_ascii=False),
        "grid_shape": json.dumps(spec.grid_shape),
        "H_cycles": str(spec.model.H_cycles),
        "L_cycles": str(spec.model.L_cycles),
        "L_layers": str(spec.model.L_layers),
        "weights_sha256": weights_sha256(weights),
        "precision": precision,
    }
