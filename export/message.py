"""The message block as a graph: `trm_sdk.model.message`, laid out for runtimes."""

from __future__ import annotations

import math

import numpy as np

from trm_sdk.model.config import ModelConfig
from trm_sdk.runtimes.graph_session import group_input

from .builder import FLOAT, Array, Dim, GraphBuilder
from .operators import rms_norm, silu, swiglu
from .structured import StructuredGraph
from .weights import Weights


def own_groups(config: ModelConfig) -> dict[str, Array]:
    """Return a model's own groups as inputs of its graph, for any batch; none if it takes none."""
    if not config.takes_groups or config.structure is None:
        return {}
    own = config.structure.memberships()
    return {group_input(key): one[None].astype(np.float32) for key, one in own.items()}


class MessageGraph(StructuredGraph):
    """A structured network of message blocks; states are (batch, cells, values, hidden_size).

    Every map of all nodes works on (nodes, channels), with its bias in the product, and gate and up
    are two products: splitting one costs more than the second does. Of three passes over 9x9 with
    24 channels, in one thread of onnxruntime 1.32, that makes 0.57 ms of 0.66, and for 16 boards
    14 ms of 18.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        from trm_sdk.model.message import Membership

        super().__init__(config, weights)
        assert config.structure is not None  # ModelConfig checks it
        spread, gather, self.counts = Membership.of(config.structure)
        self.spread, self.gather = spread.numpy(), gather.numpy()
        self._open: dict[str, tuple[str, str]] = {}  # scaled groups and shape of replies, by key
        self._open_spread = ""

    def open_groups(self, g: GraphBuilder, tokens: str, *, required: bool) -> None:
        """Make the groups inputs of the graph, ``groups.KEY`` for each key of weights.

        Scaled and transposed they are once a step (or once a call, in the other modes), outside the
        passes.

        Parameters
        ----------
        g : GraphBuilder
            The outermost graph.
        tokens : str
            Its input, for the size of the batch.
        required : bool
            Whether hosts must give them; else the model's own are the default.
        """
        width, names = self.values * self.config.hidden_size, []
        own = own_groups(self.config)
        with g.scope("groups"):
            batch = g.op("Shape", tokens, name="tokens_shape")
            batch = g.op("Gather", batch, g.ints("first", 0), name="batch", axis=0)
        for key, _ in self.counts:
            shape: list[Dim] = ["groups_batch", f"groups_{key}", self.config.seq_len]
            name = g.input(group_input(key), FLOAT, shape)
            if not required:
                g.weight(name, own[name])
            names.append(name)
            with g.scope("groups"), g.scope(key):
                size = g.reduce("ReduceSum", name, [2], keepdims=True, name="size")
                size = g.op("Max", size, g.floats("one", 1.0), name="size_or_one")
                gather = g.op("Div", name, g.op("Sqrt", size, name="root"), name="gather")
                there = g.op("Shape", name, name="shape")
                there = g.op("Gather", there, g.ints("second", 1), name="count", axis=0)
                replies = g.op("Concat", batch, there, g.ints("width", width), name="to", axis=0)
            self._open[key] = gather, replies
        with g.scope("groups"):
            every = names[0] if len(names) == 1 else g.op("Concat", *names, name="all", axis=1)
            self._open_spread = g.op("Transpose", every, name="spread", perm=[0, 2, 1])

    def _block(self, g: GraphBuilder, x: str, name: str) -> str:
        config, size, values = self.config, self.config.hidden_size, self.values
        width = config.swiglu_size
        flat = g.reshape(x, -1, size, name="nodes")
        messages = silu(g, self._mapped(g, flat, f"{name}.message"))
        by_cell = g.reshape(messages, -1, config.seq_len, values * size, name="messages")
        replies, start = [], 0
        for key, count in self.counts:
            with g.scope(key):
                if self._open:
                    gather, shape = self._open[key]
                else:
                    gather = g.constant(f"{key}/gather", self.gather[start : start + count])
                    shape = g.ints("shape", -1, count, values * size)
                told = g.op("MatMul", gather, by_cell, name="told")
                reply = self._reply(g, told, f"{name}.relations.{key}")
                replies.append(g.op("Reshape", reply, shape, name="replies"))
            start += count
        said = replies[0] if len(replies) == 1 else g.op("Concat", *replies, name="said", axis=1)
        spread = self._open_spread or g.constant("spread", self.spread)
        heard = g.op("MatMul", spread, said, name="heard")
        mixed = g.op("Add", x, g.reshape(heard, *self._nodes_shape(), name="heard_nodes"))
        if self.by_value:
            mixed = g.op("Add", mixed, self._over_values(g, messages, name), name="mixed")
        mixed = g.reshape(mixed, -1, size, name="mixed_nodes")
        gate, up = (
            self._mapped(g, mixed, f"{name}.gate_up", slice(at, at + width), part)
            for part, at in (("gate", 0), ("up", width))
        )
        total = self.weights.linear(g, swiglu(g, gate, up), f"{name}.down", plus=flat)
        total = rms_norm(g, total, size, config.rms_norm_eps)
        return g.reshape(total, *self._nodes_shape(), name="shaped")

    def _nodes_shape(self) -> tuple[int, ...]:
        return -1, self.config.seq_len, self.values, self.config.hidden_size

    def _over_values(self, g: GraphBuilder, messages: str, name: str) -> str:
        """What all values of a cell are told together."""
        size, values = self.config.hidden_size, self.values
        with g.scope("values"):
            apart = g.reshape(messages, -1, values, size, name="values")
            told = g.reduce("ReduceSum", apart, [1], keepdims=False, name="told")
            scale = g.floats("values/scale", 1 / math.sqrt(values))
            reply = self._reply(g, g.op("Mul", told, scale, name="scaled"), f"{name}.value")
            return g.reshape(reply, -1, self.config.seq_len, 1, size, name="reply")

    def _reply(self, g: GraphBuilder, told: str, name: str) -> str:
        """``down(silu(up(told)))`` as (groups, channels)."""
        told = g.reshape(told, -1, self.config.hidden_size, name="groups")
        hidden = silu(g, self._mapped(g, told, f"{name}.up"))
        return self.weights.linear(g, hidden, f"{name}.down")

    def _mapped(
        self, g: GraphBuilder, x: str, name: str, rows: slice | None = None, part: str = ""
    ) -> str:
        """A map with its bias, of x with two axes."""
        values = self.weights[f"{name}.bias"][rows if rows is not None else slice(None)]
        stored = g.weight(f"{name}.{part}.bias" if part else f"{name}.bias", values)
        return self.weights.linear(g, x, name, rows, part, plus=stored)
