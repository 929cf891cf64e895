"""The three graphs of one model: a supervision step, a loop that halts, an unrolled chain of steps.

All three share the recursion below, which is `trm_sdk.model.recursion` in graph form, and the
networks of `export.networks`. See `build_graph` for their inputs and outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import DEAD_END, ModelConfig
from trm_sdk.persistence.spec import ModelSpec

from .builder import (
    BOOL,
    FLOAT,
    INT32,
    INT64,
    Array,
    Dim,
    Function,
    GraphBuilder,
    sdk_version,
)
from .errors import ExportError
from .message import MessageGraph
from .networks import NetworkGraph, network_graph
from .options import ExportOptions, Mode, check_steps
from .weights import Weights, weights_sha256

#: Layout of the inputs, outputs and metadata; a host checks it before anything else.
GRAPH_FORMAT = "1"
#: ``functions="auto"`` keeps an unrolled graph plain while its nodes take no more than this share
#: of its weights' bytes, or no more than so many bytes.
_PLAIN_SHARE, _PLAIN_BYTES = 0.01, 128 * 1024


def build_graph(
    spec: ModelSpec,
    weights: Mapping[str, Array],
    options: ExportOptions | Mode | None = None,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    **fields: Any,
) -> onnx.ModelProto:
    """Build the ONNX graph of a model.

    Parameters
    ----------
    spec : ModelSpec
    weights : mapping from name to float32 array
        The state dict of the model.
    options : ExportOptions, or a mode
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

        Models of any size (`ModelConfig.any_size`) have (batch, rows, columns) in the place of
        (batch, N), all three dynamic. Models with several puzzle identifiers take one more input,
        ``puzzle_identifiers`` int32 (batch,). With `ExportOptions.groups` the groups of cells are
        inputs as well: ``groups.KEY`` float32 (batch or 1, groups, N) for each key of weights, 1
        where a cell is in a group; rows of zeros are absent groups. All have the same first axis.
        Heads are further outputs, under their own names:
        float32 (batch, N, width); see `ExportOptions` for which.
    ranges : mapping from layer to (lowest, highest), optional
        What `export.calibrate.calibrate` found; ``int8s`` alone needs it.
    **fields
        Fields of `ExportOptions` to change.

    Raises
    ------
    ExportError
        If an option is out of range, for another mode, or names a head that the model lacks.
    """
    options = ExportOptions.of(options, fields)
    mode, precision, functions = options.mode, options.precision, options.functions
    steps = spec.solve.max_steps if options.max_steps is None else options.max_steps
    check_steps(steps)
    if precision == "int8s" and ranges is None:
        raise ExportError("precision 'int8s' needs the ranges that export.calibrate finds")

    def begin() -> _ModelGraph:
        return _ModelGraph(spec, Weights(weights, precision, ranges), options)

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
        graph.loop(nested=options.cycles == "loop")
    else:
        graph.unroll(steps, as_function=functions == "on")
    metadata = _metadata(spec, weights, options)
    if mode == "unroll":
        metadata["max_steps"] = str(steps)
    return graph.g.model(metadata)


def observed_graph(
    spec: ModelSpec, weights: Mapping[str, Array]
) -> tuple[onnx.ModelProto, dict[str, list[str]]]:
    """Return a float32 ``step`` graph that also outputs each linear layer's input at every pass.

    Returns
    -------
    graph : ModelProto
        Its outputs are those of ``step``, and the values named by `inputs`.
    inputs : dict from layer to names of outputs
    """
    stored = Weights(weights)
    graph = _ModelGraph(spec, stored, ExportOptions(heads=()))
    graph.step()
    for value in dict.fromkeys(value for values in stored.inputs.values() for value in values):
        graph.g.output(value, FLOAT, None)
    return graph.g.model(_metadata(spec, weights, ExportOptions())), stored.inputs


class _ModelGraph:
    """One graph in the making."""

    def __init__(self, spec: ModelSpec, weights: Weights, options: ExportOptions) -> None:
        self.config: ModelConfig = spec.model
        self.weights = weights
        self.heads = _checked_heads(self.config, options.heads_of(spec))
        #: Of those, the ones that say something of each cell, and how many logits.
        self.cell_heads = {name: n for name, n in self.config.heads.items() if name in self.heads}
        self.network: NetworkGraph = network_graph(self.config, self.weights)
        self._pass: Function | None = None
        self.batch: int | str = "batch" if options.batch is None else options.batch
        #: Axes of the cells, and of a state, as inputs and outputs have them.
        self.cells: list[Dim] = [self.config.seq_len]
        self.state: list[Dim] = [*self.config.state_shape]
        if self.config.any_size:
            self.cells = ["rows", "columns"]
            self.state[:2] = self.cells
        self.g = g = GraphBuilder(f"trm_{spec.domain}", options.opset)
        self.tokens = g.input("tokens", INT32, [self.batch, *self.cells])
        self.identifiers = (
            g.input("puzzle_identifiers", INT32, [self.batch])
            if self.config.num_puzzle_identifiers > 1
            else None
        )
        groups = options.groups_of(spec)
        if groups != "fixed":
            if not isinstance(self.network, MessageGraph):
                raise ExportError(
                    f"groups={groups!r} is for models of block 'message'; this one has its "
                    "groups in its operators"
                )
            self.network.open_groups(g, self.tokens, required=groups == "required")

    # --- the modes --------------------------------------------------------------------------

    def step(self) -> None:
        """Emit one supervision step between relative states."""
        g = self.g
        shape: list[Dim] = [self.batch, *self.state]
        inputs = {name: g.input(name, FLOAT, shape) for name in ("y", "z")}
        with g.scope("start"):
            states = [
                g.op("Add", self.network.inside(g, inputs[name]), self._initial(g, name), name=name)
                for name in ("y", "z")
            ]
        x = self._embed()
        with g.scope("step"):
            y, z = self._step(g, x, *states)
            read = self._readout(g, y)
        with g.scope("end"):
            for name, state in (("y", y), ("z", z)):
                relative = g.op("Sub", state, self._initial(g, name), name=name)
                relative = self.network.outside(g, relative, f"{name}_flat")
                g.output(relative, FLOAT, shape, name=f"next_{name}")
        self._outputs(read)

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
        read = self._readout(g, y)
        self._answer(read["logits"])
        self._outputs(read)

    def loop(self, *, nested: bool) -> None:
        """Emit a Loop of supervision steps that ends when every example has halted."""
        g = self.g
        limit = g.input("max_steps", INT64, [])
        threshold = g.input("halt_threshold", FLOAT, [])
        x = self._embed()
        carried = self._carried(x)
        body = g.body("step")
        body.input("iteration", INT64, [])
        body.input("go_on", BOOL, [])
        was = {
            name: body.input(f"{name}_before", dtype, shape)
            for name, (_, dtype, shape) in carried.items()
        }
        now = self._loop_body(body, x, was, threshold, nested=nested)
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
        self._outputs(last)
        g.output(last["steps"], INT32, [self.batch], name="steps")

    def _carried(self, x: str) -> dict[str, tuple[str, int, list[Dim]]]:
        """What the Loop carries from step to step: first value, type and shape."""
        g, config = self.g, self.config
        cells: list[Dim] = [None if isinstance(size, str) else size for size in self.cells]
        with g.scope("start"):
            shape = g.op("Shape", x, name="shape")
            y = g.op("Expand", self._initial(g, "y"), shape, name="y")
            z = g.op("Expand", self._initial(g, "z"), shape, name="z")
            zero = g.constant("zero", np.int32(0))
            row = g.op("Gather", self.tokens, zero, name="row", axis=1)
            if len(cells) > 1:
                row = g.op("Gather", row, zero, name="first_cell", axis=1)
            steps = g.op("Mul", row, zero, name="steps")
            active = g.op("Equal", steps, zero, name="active")
            halt = g.op("Cast", steps, name="halt_logit", to=FLOAT)
            blank = g.op("Unsqueeze", halt, self._cell_axes(g), name="cells")
            logits = {
                name: g.op("Expand", blank, self.network.cells_shape(g, width), name=name)
                for name, width in {"logits": config.outputs, **self.cell_heads}.items()
            }
        return {
            "y": (y, FLOAT, [None, *self.network.shape]),
            "z": (z, FLOAT, [None, *self.network.shape]),
            "logits": (logits.pop("logits"), FLOAT, [None, *cells, config.outputs]),
            **{
                name: (value, FLOAT, [None, *cells, self.cell_heads[name]])
                for name, value in logits.items()
            },
            **({DEAD_END: (halt, FLOAT, [None])} if DEAD_END in self.heads else {}),
            "halt_logit": (halt, FLOAT, [None]),
            "steps": (steps, INT32, [None]),
            "active": (active, BOOL, [None]),
        }

    def _loop_body(
        self, body: GraphBuilder, x: str, was: dict[str, str], threshold: str, *, nested: bool
    ) -> dict[str, str]:
        """One step of the Loop: what is carried on, and whether there is a next one."""
        y, z = self._step(body, x, was["y"], was["z"], nested=nested)
        read = self._readout(body, y)
        new_halt = read.pop("halt_logit")
        # A halted example's state runs on, unseen: freezing what is read of it is cheaper.
        still = was["active"]
        still_cells = body.op("Unsqueeze", still, self._cell_axes(body), name="active_cells")
        now = {
            "y": y,
            "z": z,
            **{
                name: body.op(
                    "Where",
                    still if name == DEAD_END else still_cells,
                    value,
                    was[name],
                    name=f"{name}_kept",
                )
                for name, value in read.items()
            },
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
        return now

    def _cell_axes(self, g: GraphBuilder) -> str:
        """Axes of the cells and of what is said of each."""
        return g.ints("cell_axes", *range(1, len(self.cells) + 2))

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
        shape: list[Dim] = [None, *self.network.shape]
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

    def _readout(self, g: GraphBuilder, y: str) -> dict[str, str]:
        """Logits, those of further heads, and the halting logit, by the names of the outputs."""
        with g.scope("readout"):
            logits, halt = self.network.readout(g, y)
            heads = self.network.auxiliary(g, y, self.heads)
        return {"logits": logits, **heads, "halt_logit": halt}

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
        g.output(best, INT32, [self.batch, *self.cells], name="answer")

    def _outputs(self, read: Mapping[str, str]) -> None:
        cells = [self.batch, *self.cells]
        self.g.output(read["logits"], FLOAT, [*cells, self.config.outputs], name="logits")
        self.g.output(read["halt_logit"], FLOAT, [self.batch], name="halt_logit")
        for name in self.heads:
            dims = [self.batch] if name == DEAD_END else [*cells, self.config.heads[name]]
            self.g.output(read[name], FLOAT, dims, name=name)


#: Names of inputs, outputs and values that no head may have.
_INPUTS = ("tokens", "puzzle_identifiers", "y", "z", "max_steps", "halt_threshold")
_OUTPUTS = ("next_y", "next_z", "logits", "halt_logit", "answer", "steps", "active")


def _checked_heads(config: ModelConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    """The heads that are asked for.

    Raises
    ------
    ExportError
        If the model has no such head, or one is called as an input or output is.
    """
    for name in names:
        if name not in config.head_names:
            there = ", ".join(config.head_names) or "none"
            raise ExportError(f"the model has no head named {name!r} (there are: {there})")
        if name in (*_INPUTS, *_OUTPUTS):
            raise ExportError(f"a head named {name!r} can't be an output beside the graph's own")
    return names


def _metadata(
    spec: ModelSpec, weights: Mapping[str, Array], options: ExportOptions
) -> dict[str, str]:
    metadata = {
        "trm_format": GRAPH_FORMAT,
        "trm_mode": options.mode,
        "trm_spec": spec.to_json(),
        "trm_sdk_version": sdk_version(),
        "domain": spec.domain,
        "vocabulary": json.dumps(spec.vocabulary, ensure_ascii=False),
        "grid_shape": json.dumps(spec.grid_shape),
        "H_cycles": str(spec.model.H_cycles),
        "L_cycles": str(spec.model.L_cycles),
        "L_layers": str(spec.model.L_layers),
        "weights_sha256": weights_sha256(weights),
        "precision": options.precision,
    }
    if options.groups_of(spec) != "fixed" and spec.model.structure is not None:
        own = spec.model.structure.groups_by_key()
        metadata["groups"] = json.dumps(own, separators=(",", ":"))
    description = domain_description(spec)
    if description is not None:
        metadata["domain_description"] = description
    return metadata


def domain_description(spec: ModelSpec) -> str | None:
    """Return what a host in another language needs of the domain, as JSON.

    None where no domain of that name is registered: a graph does without it.
    """
    try:
        domain = get_domain(spec.domain)
    except InvalidInputError:
        return None
    text: str = json.dumps(domain.describe(), ensure_ascii=False, separators=(",", ":"))
    return text
