"""The paper's network as a graph: `trm_sdk.model.paper`, laid out for inference runtimes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trm_sdk.model.config import ModelConfig

from .builder import GraphBuilder
from .operators import rms_norm, rms_norm_over_rows, swiglu
from .weights import Weights


class PaperGraph:
    """The paper's network; states are of shape (batch, positions, hidden_size)."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.shape: tuple[int | None, ...] = config.state_shape
        self.positions = config.state_shape[0]

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
            prefix = self.weights.rows(g, "puzzle_emb", puzzle_identifiers, "puzzle")
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
                    out = rms_norm(g, out, self.positions, eps)
                    x = g.op("Transpose", out, name="channels_last", perm=[0, 2, 1])
                else:
                    out = self._swiglu(g, x, f"{name}.mlp_t", left=True)
                    out = g.op("Add", x, out, name="residual")
                    x = rms_norm_over_rows(g, out, self.positions, eps)
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
        positions, width = self.positions, size // heads

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
        angle = np.outer(np.arange(self.positions, dtype=np.float32), frequency)
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
            start, end = config.puzzle_emb_len, self.positions
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

    def auxiliary(self, g: GraphBuilder, y: str, names: Sequence[str]) -> dict[str, str]:
        assert not names  # ModelConfig allows none here
        return {}

    def inside(self, g: GraphBuilder, state: str) -> str:
        return state

    def outside(self, g: GraphBuilder, state: str, name: str) -> str:
        return g.reshape(state, -1, *self.config.state_shape, name=name)

    def cells_shape(self, g: GraphBuilder, width: int) -> str:
        return g.ints("logits_shape", 1, self.config.seq_len, width)
