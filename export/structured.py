"""The structured network as a graph: `trm_sdk.model.structured`, laid out for runtimes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trm_sdk.model.config import DEAD_END, ModelConfig
from trm_sdk.structure import Neighbourhood, Offsets, Relation, Values

from .builder import Array, GraphBuilder
from .operators import rms_norm, swiglu
from .weights import Weights, offsets_by_key

#: Axes of a board, (rows, columns), that a relation pools over wherever cells are laid out as one.
_BOARD_AXES = {"rows": (1,), "columns": (0,), "board": (0, 1)}


class StructuredGraph:
    """The structured network; states are of shape (batch, *cell axes, values, hidden_size).

    Channels come last throughout: products over all nodes then work on a matrix, in every
    precision, and only a depthwise convolution turns its images there and back. One thread of
    onnxruntime 1.32 takes 1.60 to 1.68 ms for six passes over 30x30 cells of 32 channels (SwiGLU
    64) this way, and 1.55 to 1.75 ms with channels first and 1x1 convolutions.

    Where the structure allows any size (`ModelConfig.any_size`) the cell axes are rows and columns,
    whose sizes are read from the tokens, and the axis of values is left out if there is one alone.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        assert config.structure is not None  # ModelConfig checks it
        self.config = config
        self.weights = weights
        self.structure = config.structure
        self.by_value = self.structure.interchangeable_values
        self.any_size = config.any_size
        self.taps = offsets_by_key(config)
        self.values = config.state_shape[-2]
        self.cell_shape, self.axes = _layout(config)
        self.value_axis = (self.values,) if self.by_value or not self.any_size else ()
        sizes = tuple(None if self.any_size else size for size in self.cell_shape)
        self.shape: tuple[int | None, ...] = (*sizes, *self.value_axis, config.hidden_size)
        self._board = ""  # shape of the tokens, (batch, rows, columns), as an int64 value
        self._made: dict[str, str] = {}

    # --- shapes -----------------------------------------------------------------------------

    def _top(self, g: GraphBuilder, op_type: str, *inputs: str, name: str, **fields: object) -> str:
        """A node of the outermost graph that is added once."""
        if name not in self._made:
            self._made[name] = g.op_top(op_type, *inputs, name=name, **fields)
        return self._made[name]

    def _shaped(self, g: GraphBuilder, value: str, *last: int, name: str) -> str:
        """Reshape to (batch, *cell axes, *last)."""
        if not self.any_size:
            return g.reshape(value, -1, *self.cell_shape, *last, name=name)
        return g.op("Reshape", value, self._sizes(g, *last), name=name)

    def _sizes(self, g: GraphBuilder, *last: int) -> str:
        """The shape (batch, rows, columns, *last), as a value: for boards of any size."""
        ending = g.ints("sizes", *last)
        name = "/".join(("board", *map(str, last)))
        return self._top(g, "Concat", self._board, ending, name=name, axis=0)

    def _scale(self, g: GraphBuilder, relation: Relation) -> str:
        """1 / sqrt of the number of cells in each group, as a value: for boards of any size."""
        shape = self._board
        sizes = [
            self._top(g, "Gather", shape, g.constant(f"axis_{axis}", np.int64(axis + 1)), name=name)
            for axis, name in enumerate(("board/rows", "board/columns"))
            if axis in _BOARD_AXES[relation.kind]
        ]
        count = sizes[0]
        if len(sizes) > 1:
            count = self._top(g, "Mul", *sizes, name="board/cells")
        wide = self._top(g, "Cast", count, name=f"{count}/float", to=1)
        root = self._top(g, "Sqrt", wide, name=f"{count}/sqrt")
        return self._top(g, "Reciprocal", root, name=f"{count}/pool_scale")

    def inside(self, g: GraphBuilder, state: str) -> str:
        if self.shape == self.config.state_shape:
            return state
        if not self.any_size:
            sizes = [size for size in self.shape if size is not None]
            return g.reshape(state, -1, *sizes, name=f"{state}_shaped")
        if self.value_axis:
            return state
        return g.reshape(state, 0, 0, 0, self.config.hidden_size, name=f"{state}_shaped")

    def outside(self, g: GraphBuilder, state: str, name: str) -> str:
        if not self.any_size:
            return g.reshape(state, -1, *self.config.state_shape, name=name)
        if self.value_axis:
            return state
        return g.reshape(state, 0, 0, 0, 1, self.config.hidden_size, name=name)

    def cells_shape(self, g: GraphBuilder, width: int) -> str:
        if self.any_size:
            return self._sizes(g, width)
        return g.ints("logits_shape", 1, self.config.seq_len, width)

    # --- embedding and pass -----------------------------------------------------------------

    def embed(self, g: GraphBuilder, tokens: str, puzzle_identifiers: str | None) -> str:
        config = self.config
        if self.any_size:
            self._board = g.op_top("Shape", tokens, name="board/shape")
            if not self.by_value:
                table = self.weights.vector(g, "embed_tokens")
                return g.op("Gather", table, tokens, name="nodes", axis=0)
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
        if self.any_size:
            return x
        return self._shaped(g, x, *self.value_axis, config.hidden_size, name="shaped")

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
        if heard is not None:
            heard = g.reshape(heard, -1, 2 * width, name="heard")
        for key, relation in self.taps.items():
            bias = self.weights.vector(g, f"{name}.node.bias") if heard is None else heard
            with g.scope(relation.name):
                images = self._convolved(g, x, relation, f"{name}.taps.{key}")
                heard = self.weights.linear(g, images, f"{name}.relations.{key}", plus=bias)
        if heard is None:
            total = self.weights.linear(g, flat, f"{name}.node", bias=True)
        else:
            total = self.weights.linear(g, flat, f"{name}.node", plus=heard)
        halves = g.ints("halves", width, width)
        gate, up = g.op_many("Split", [total, halves], ["gate", "up"], axis=-1)
        mixed = self.weights.linear(g, swiglu(g, gate, up), f"{name}.down", plus=flat)
        mixed = rms_norm(g, mixed, size, config.rms_norm_eps)
        return self._shaped(g, mixed, *self.value_axis, size, name="shaped")

    def _convolved(self, g: GraphBuilder, x: str, relation: Offsets, name: str) -> str:
        """What nodes hear of their neighbours, by the weights of a name: (nodes, channels)."""
        values, size = self.values, self.config.hidden_size
        if self.value_axis:  # values beside channels: one image a board
            x = g.reshape(x, 0, 0, 0, values * size, name="images")
        x = g.op("Transpose", x, name="channels_first", perm=[0, 3, 1, 2])
        kernel = self.weights.kernel(g, name, relation, values)
        high, wide = relation.reach
        x = g.op(
            "Conv",
            x,
            kernel,
            name="neighbours",
            group=values * size,
            kernel_shape=[2 * high + 1, 2 * wide + 1],
            pads=[high, wide, high, wide],
        )
        x = g.op("Transpose", x, name="channels_last", perm=[0, 2, 3, 1])
        return g.reshape(x, -1, size, name="heard_nodes")

    def _heard(self, g: GraphBuilder, x: str, name: str) -> str | None:
        """The node term's bias and what all nodes hear of their groups, or None if of none."""
        pools = AxisPools(g, x)
        terms = []
        for relation in self.structure.over_cells:
            if isinstance(relation, Offsets):
                continue
            pooled = self._pool(g, x, relation, pools)
            layer = f"{name}.relations.{relation.weights_key}"
            heard = self.weights.linear(g, pooled, layer)
            terms.append((self._heard_shape(relation), self._spread(g, heard, relation)))
        sizes = self._nominal()
        if self.by_value:
            pooled = pools.pool((len(self.cell_shape) + 1,), self.values, "values")
            heard = self.weights.linear(g, pooled, f"{name}.value")
            terms.append(((*sizes[:-1], 1), heard))
        if not terms:
            return None
        bias = self.weights.vector(g, f"{name}.node.bias")
        found, total = add_terms(g, bias, terms)
        if found == sizes:
            return total
        if self.any_size:
            everywhere = self._sizes(g, *self.value_axis, 2 * self.config.swiglu_size)
            return g.op("Expand", total, everywhere, name="broadcast")
        zeros = g.constant("all_nodes", np.zeros((1, *sizes, 1), np.float32))
        return g.op("Add", total, zeros, name="broadcast")

    def _nominal(self) -> tuple[int, ...]:
        """Sizes of the cell axes and of that of values: on the usual board, where any is taken.

        None of a board's is 1 there, which would stand for an axis that was pooled over.
        """
        cells = tuple(max(size, 2) if self.any_size else size for size in self.cell_shape)
        return (*cells, *self.value_axis)

    def _heard_shape(self, relation: Relation) -> tuple[int, ...]:
        """Nominal shape, but for batch and channels, of what `_spread` gives."""
        over = self.axes.get(relation.name, ())
        return tuple(1 if axis in over else size for axis, size in enumerate(self._nominal()))

    def _pool(self, g: GraphBuilder, x: str, relation: Relation, pools: AxisPools) -> str:
        if relation.name in self.axes:
            axes = self.axes[relation.name]
            members: int | str = math.prod(self.cell_shape[axis] for axis in axes)
            if self.any_size:
                members = self._scale(g, relation)
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

    # --- readout ----------------------------------------------------------------------------

    def readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        config = self.config
        y = self._nodes(g, y)
        logits = self.weights.linear(g, y, "lm_head")
        logits = self._by_cell(g, logits, config.outputs, "logits_shaped")
        logits = g.op("Add", logits, self.weights.vector(g, "lm_head.bias"), name="lm_head_bias")
        seen = self._seen(g, y, with_maximum=config.halt_pool == "mean_max")
        halt = self.weights.linear(g, seen, "q_head", bias=True)
        return logits, g.reshape(halt, -1, name="halt_flat")

    def _seen(self, g: GraphBuilder, y: str, *, with_maximum: bool) -> str:
        """What a head over the whole board sees of the nodes: (batch, 1, channels)."""
        if self.any_size:
            seen = g.reduce("ReduceMean", y, [1], keepdims=True, name="mean")
        else:
            # The mean as a product: runtimes are slow at reducing an outer axis.
            nodes = self.config.seq_len * self.values
            share = g.constant("node_share", np.full((1, nodes), 1 / nodes, np.float32))
            seen = g.op("MatMul", share, y, name="mean")
        if not with_maximum:
            return seen
        peak = g.reduce("ReduceMax", y, [1], keepdims=True, name="max")
        return g.op("Concat", seen, peak, name="mean_max", axis=-1)

    def auxiliary(self, g: GraphBuilder, y: str, names: Sequence[str]) -> dict[str, str]:
        if not names:
            return {}
        y = self._nodes(g, y)
        found = {}
        for name in names:
            if name == DEAD_END:
                with g.scope("dead_end"):
                    seen = self._seen(g, y, with_maximum=True)
                    logit = self.weights.linear(g, seen, "dead_end_head", bias=True)
                    found[name] = g.reshape(logit, -1, name="dead_end_flat")
                continue
            logits = self.weights.linear(g, y, f"heads.{name}", bias=True)
            found[name] = self._by_cell(g, logits, self.config.heads[name], f"{name}_shaped")
        return found

    def _nodes(self, g: GraphBuilder, y: str) -> str:
        """A state as (batch, nodes, channels)."""
        size = self.config.hidden_size
        if self.any_size:
            return g.reshape(y, 0, -1, size, name="nodes")
        return g.reshape(y, -1, self.config.seq_len * self.values, size, name="nodes")

    def _by_cell(self, g: GraphBuilder, logits: str, width: int, name: str) -> str:
        """Logits of the nodes as (batch, *cells, width)."""
        if self.any_size:
            return g.op("Reshape", logits, self._sizes(g, width), name=name)
        return g.reshape(logits, -1, self.config.seq_len, width, name=name)


def _layout(config: ModelConfig) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Sizes of the axes of the cells, and the axes that relations pool over, where they do."""
    from trm_sdk.model.structured import factorise

    structure = config.structure
    assert structure is not None  # ModelConfig checks it
    if config.block == "message":
        return (structure.cells,), {}
    if not config.any_size and not any(isinstance(one, Offsets) for one in structure.over_cells):
        return factorise(structure)
    axes = {
        relation.name: _BOARD_AXES[relation.kind]
        for relation in structure.over_cells
        if relation.kind in _BOARD_AXES
    }
    return structure.shape, axes


def add_terms(
    g: GraphBuilder, bias: str, terms: list[tuple[tuple[int, ...], str]]
) -> tuple[tuple[int, ...], str]:
    """Emit ``bias + terms``, with little addition over all nodes, and return its shape too.

    An addition over all nodes reads and writes more than the terms' own matrix products, so the
    bias joins the smallest term, and of what is left the two with the smallest sum come first
    (Sudoku's rows and boxes: a third of the whole).

    Parameters
    ----------
    terms : list of (shape, value)
        At least one; shapes are without batch and channels, and broadcast to each other's.
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
    return terms[0]


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

    def pool(self, axes: tuple[int, ...], members: int | str, name: str) -> str:
        """Emit scaled sum and maximum, joined on the last axis; reduced axes keep size 1.

        `members` is the number of nodes in each pool, or a value that holds 1 / sqrt of it.
        """
        g = self.g
        with g.scope(name):
            total = self._reduced("ReduceSum", axes, "sum")
            scale = members
            if isinstance(members, int):
                scale = g.floats(f"pool_scale_{members}", 1 / math.sqrt(members))
            assert isinstance(scale, str)
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
    """Return sets of different sizes as one int32 index array and a float32 mask of what is real.

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
