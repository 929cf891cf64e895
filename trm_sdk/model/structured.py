"""The structured network: shared weights over the groups of cells that a domain states.

A node is a (cell, value) pair where values are interchangeable, a cell otherwise. Every node runs
the same small block: a gated map of itself and of what is pooled over each group it belongs to. The
network is therefore equivariant to every symmetry of the structure, which is what lets thirty
thousand parameters learn Sudoku from minutes of data, and what a dense mixer has to learn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_sdk.model.config import DEAD_END, ModelConfig
from trm_sdk.model.layers import Linear, rms_norm, truncated_normal_
from trm_sdk.model.message import Membership, MessageBlock
from trm_sdk.structure import Board, Columns, Groups, Neighbourhood, Offsets, Rows, Structure


def factorise(structure: Structure) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    """Find axes for the cells along which groups are slices.

    Sudoku's 81 cells, seen as (band, row, stack, column) of 3 x 3 x 3 x 3, have rows, columns and
    boxes that are each a product of two of these axes. Pooling over axes needs no gather, which is
    several times faster.

    Returns
    -------
    shape : tuple of int
        Sizes of the axes; their product is the number of cells.
    axes : dict from relation name to the axes that its groups run over
        Relations that are no such product are left out.
    """
    sets = {
        relation.name: relation.groups_on(structure.shape)
        for relation in structure.over_cells
        if not isinstance(relation, (Neighbourhood, Offsets))
    }
    strides: dict[str, list[tuple[int, int]]] = {}
    for name, groups in sets.items():
        found = _strides(groups, structure.cells)
        if found is not None:
            strides[name] = found
    bounds = {1, structure.cells}
    accepted: dict[str, list[tuple[int, int]]] = {}
    for name, steps in strides.items():
        candidate = bounds | {bound for step, size in steps for bound in (step, step * size)}
        chain = sorted(candidate)
        if all(b % a == 0 for a, b in pairwise(chain)):
            bounds, accepted[name] = candidate, steps
    chain = sorted(bounds, reverse=True)
    shape = tuple(a // b for a, b in pairwise(chain)) or (1,)
    axes = {
        name: tuple(
            axis
            for axis, low in enumerate(chain[1:])
            if any(step <= low < step * size for step, size in steps)
        )
        for name, steps in accepted.items()
    }
    cells = np.arange(structure.cells).reshape(shape)
    exact = {
        name: over
        for name, over in axes.items()
        if {frozenset(group) for group in _slices(cells, over)}
        == {frozenset(group) for group in sets[name]}
    }
    return shape, exact


def _strides(groups: tuple[tuple[int, ...], ...], cells: int) -> list[tuple[int, int]] | None:
    """The mixed-radix (stride, size) pairs of the group that holds cell 0, if it is one."""
    members = [cell for group in groups for cell in group]
    if sorted(members) != list(range(cells)):
        return None
    first = sorted(next(group for group in groups if 0 in group))
    if any(len(group) != len(first) for group in groups):
        return None
    steps, done = [], 1
    while done < len(first):
        step, size = first[done], 1
        while size * done < len(first) and first[size * done] == size * step:
            size += 1
        steps.append((step, size))
        done *= size
    return steps if done == len(first) else None


def _slices(cells: np.ndarray, over: tuple[int, ...]) -> list[list[int]]:
    kept = [axis for axis in range(cells.ndim) if axis not in over]
    size = math.prod(cells.shape[axis] for axis in over)
    slices: list[list[int]] = cells.transpose(*kept, *over).reshape(-1, size).tolist()
    return slices


class AxisPool(nn.Module):
    """Pool over axes of the cells: those of `factorise`, or row and column of any board."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = tuple(axis + 1 for axis in axes)  # after the batch axis

    def forward(self, nodes: Tensor) -> Tensor:
        """(batch, *cell axes, values, channels) to (batch, *1 or size, values, 2 * channels)."""
        scale = 1 / math.sqrt(math.prod([nodes.shape[axis] for axis in self.axes]))
        total = nodes.sum(self.axes, keepdim=True) * scale
        return torch.cat((total, nodes.amax(self.axes, keepdim=True)), dim=-1)

    def spread(self, pooled: Tensor) -> Tensor:
        """Return what each node receives from the pooled groups, by broadcasting."""
        return pooled


class Taps(nn.Module):
    """What a node hears of its neighbours: a depthwise convolution with a weight a tap.

    Weights are of shape (channels, taps), in the order of the relation's offsets, and are laid out
    as a kernel in every pass; zeros stand beyond the board's edge.
    """

    places: Tensor

    def __init__(self, relation: Offsets, channels: int) -> None:
        super().__init__()
        high, wide = relation.reach
        self.kernel = (2 * high + 1, 2 * wide + 1)
        self.padding = (high, wide)
        places = [(row + high) * self.kernel[1] + column + wide for row, column in relation.offsets]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        taps = len(places)
        self.weight = nn.Parameter(
            truncated_normal_(torch.empty(channels, taps), 1 / math.sqrt(taps))
        )

    def forward(self, nodes: Tensor) -> Tensor:
        """(batch, rows, columns, values, channels) to the same shape."""
        channels, values = nodes.shape[-1], nodes.shape[-2]
        kernel = self.weight.new_zeros(channels, math.prod(self.kernel))
        kernel = kernel.index_copy(1, self.places, self.weight).view(channels, 1, *self.kernel)
        # Values beside channels: one convolution over memory as it lies ("channels last").
        images = nodes.flatten(-2).permute(0, 3, 1, 2)
        heard = F.conv2d(
            images, kernel.repeat(values, 1, 1, 1), padding=self.padding, groups=values * channels
        )
        return heard.permute(0, 2, 3, 1).reshape(nodes.shape)


class SetPool(nn.Module):
    """Pool over arbitrary sets of cells by gathering their members."""

    members: Tensor
    present: Tensor
    scale: Tensor
    heard: Tensor
    heard_present: Tensor

    def __init__(
        self, shape: tuple[int, ...], sets: tuple[tuple[int, ...], ...], *, neighbourhood: bool
    ) -> None:
        super().__init__()
        self.shape = shape
        cells = math.prod(shape)
        index, present = _padded([list(group) for group in sets])
        self.register_buffer("members", index, persistent=False)
        self.register_buffer("present", present[None, :, :, None, None], persistent=False)
        scale = 1 / present.sum(1).clamp(min=1).sqrt()
        self.register_buffer("scale", scale[None, :, None, None], persistent=False)
        self.neighbourhood = neighbourhood
        hearers: list[list[int]] = [[] for _ in range(cells)]
        for number, group in enumerate(sets):
            for cell in group:
                hearers[cell].append(number)
        index, present = _padded(hearers)
        self.register_buffer("heard", index, persistent=False)
        self.register_buffer("heard_present", present[None, :, :, None, None], persistent=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """(batch, *shape, values, channels) to (batch, sets, values, 2 * channels)."""
        batch, (values, channels) = len(nodes), nodes.shape[-2:]
        flat = nodes.reshape(batch, -1, values, channels)
        gathered = flat[:, self.members.flatten()].view(
            batch, *self.members.shape, values, channels
        )
        total = (gathered * self.present).sum(2) * self.scale
        lowest = torch.where(self.present > 0, gathered, -1e4).amax(2)
        # An empty set (a cell without neighbours) says nothing, rather than minus infinity.
        peak = torch.where(self.present.amax(2) > 0, lowest, 0.0)
        return torch.cat((total, peak), dim=-1)

    def spread(self, pooled: Tensor) -> Tensor:
        """Return what each node receives from the pooled groups, by broadcasting."""
        batch, values, channels = len(pooled), pooled.shape[-2], pooled.shape[-1]
        if not self.neighbourhood:
            heard = pooled[:, self.heard.flatten()].view(batch, *self.heard.shape, values, channels)
            pooled = (heard * self.heard_present).sum(2)
        return pooled.view(batch, *self.shape, values, channels)


def _padded(sets: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Sets of different sizes as one index array and a float mask of what is really there."""
    width = max([len(members) for members in sets] + [1])
    index = torch.zeros(len(sets), width, dtype=torch.long)
    present = torch.zeros(len(sets), width)
    for row, members in enumerate(sets):
        index[row, : len(members)] = torch.tensor(members, dtype=torch.long)
        present[row, : len(members)] = 1
    return index, present


class StructuredBlock(nn.Module):
    """``x + down(silu(gate) * up)``, normalised, with gate and up made of node and group terms."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.structure is not None  # ModelConfig checks it
        structure = config.structure
        size, hidden = config.hidden_size, config.swiglu_size
        self.eps = config.rms_norm_eps
        self.node = nn.Linear(size, 2 * hidden)
        keys = {one.weights_key: isinstance(one, Offsets) for one in structure.over_cells}
        # A group says its sum and its maximum, a neighbourhood of taps one number a channel.
        self.relations = nn.ModuleDict(
            {key: Linear(size if taps else 2 * size, 2 * hidden) for key, taps in keys.items()}
        )
        self.taps = nn.ModuleDict(
            {
                one.weights_key: Taps(one, size)
                for one in structure.over_cells
                if isinstance(one, Offsets)
            }
        )
        by_value = structure.interchangeable_values
        self.value = Linear(2 * size, 2 * hidden) if by_value else None
        self.down = Linear(hidden, size)
        # Gate and up are sums of several maps: keep the sum at the scale of one.
        terms = 1 + len(structure.over_cells) + by_value
        with torch.no_grad():
            truncated_normal_(self.node.weight, 1 / math.sqrt(size * terms))
            self.node.bias.zero_()
            for linear in self.relations.values():
                assert isinstance(linear, nn.Linear)
                linear.weight.div_(math.sqrt(terms))
            if self.value is not None:
                self.value.weight.div_(math.sqrt(terms))

    def forward(self, x: Tensor, pools: nn.ModuleDict, keys: dict[str, str]) -> Tensor:
        """x and the result are of shape (batch, *cell axes, values, channels)."""
        # One product for the node itself and for what its neighbours say: wide ones are faster.
        heard = [taps(x) for taps in self.taps.values()]
        near = [one.weight for key, one in self.relations.items() if key in self.taps]
        # The bias as a term of the sum: a compiler fuses it with the rest, where a product with a
        # bias first fills its result with copies of it.
        mixed = _product(_joined([x, *heard], -1), _joined([self.node.weight, *near], 1))
        mixed = mixed + self.node.bias
        for name, pool in pools.items():
            assert isinstance(pool, (AxisPool, SetPool))
            mixed = mixed + pool.spread(self.relations[keys[name]](pool(x)))
        if self.value is not None:
            scale = 1 / math.sqrt(x.shape[-2])
            over_values = torch.cat(
                (x.sum(-2, keepdim=True) * scale, x.amax(-2, keepdim=True)), dim=-1
            )
            mixed = mixed + self.value(over_values)
        gate, up = mixed.chunk(2, dim=-1)
        return rms_norm(x + _product(F.silu(gate) * up, self.down.weight), self.eps)


def _joined(parts: list[Any], axis: int) -> Tensor:
    joined: Tensor = parts[0] if len(parts) == 1 else torch.cat(parts, axis)
    return joined


def _product(nodes: Tensor, weight: Tensor) -> Tensor:
    """``nodes @ weight.T`` over the last axis.

    Over the cells of a board it is a 1x1 convolution of memory as it lies ("channels last"), which
    CPUs have faster kernels for: 1.6 times in training a 15x15 board. On a GPU it stays a product:
    cuDNN rounds the operands of convolutions to TF32 even where products are float32.
    """
    # A convolution for (batch, rows, columns, 1, channels) alone.
    if nodes.is_cuda or nodes.ndim != 5 or nodes.shape[-2] != 1:
        return F.linear(nodes, weight)
    images = nodes.squeeze(-2).permute(0, 3, 1, 2)
    return F.conv2d(images, weight[:, :, None, None]).permute(0, 2, 3, 1).unsqueeze(-2)


class StructuredNetwork(nn.Module):
    """Embedding, recursed blocks and heads over the nodes of a `Structure`.

    States are of shape (batch, cells, values, hidden_size); values is 1 where values are not
    interchangeable. No weight depends on the number of cells, groups or (where interchangeable)
    values, so the weights of a 9x9 model run on a 16x16 board as they are. Where the structure
    allows it (`Structure.any_size`) tokens are of shape (batch, rows, columns) and states of shape
    (batch, rows, columns, values, hidden_size), whatever the board.
    """

    token_values: Tensor
    output_tokens: Tensor
    spread: Tensor
    gather: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.structure is not None  # ModelConfig checks it
        structure, size = config.structure, config.hidden_size
        self.config = config
        self.by_value = structure.interchangeable_values
        self.counts: tuple[tuple[str, int], ...] = ()
        self.shape: tuple[int, ...]
        if config.block == "message":
            self.shape, self.pools = (structure.cells,), nn.ModuleDict()
            spread, gather, self.counts = Membership.of(structure)
            self.register_buffer("spread", spread, persistent=False)
            self.register_buffer("gather", gather, persistent=False)
        else:
            self.shape, self.pools = _pools(structure)
        self.keys = {relation.name: relation.weights_key for relation in structure.over_cells}
        # By value: this value is given here, another one is, none is. Otherwise: one a token.
        rows = 3 if self.by_value else config.vocab_size
        self.embed_tokens = nn.Parameter(truncated_normal_(torch.empty(rows, size), 1.0))
        if self.by_value:
            stands = torch.zeros(config.vocab_size, dtype=torch.int32)
            stands[list(config.output_tokens)] = 1
            self.register_buffer("token_values", stands, persistent=False)
            tokens = torch.tensor(config.output_tokens, dtype=torch.int32)
            self.register_buffer("output_tokens", tokens, persistent=False)
        block = MessageBlock if config.block == "message" else StructuredBlock
        self.layers = nn.ModuleList(block(config) for _ in range(config.L_layers))
        self.lm_head = nn.Linear(size, 1 if self.by_value else config.outputs)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(size, width) for name, width in config.heads.items()}
        )
        self.q_head = nn.Linear(size if config.halt_pool == "mean" else 2 * size, 1)
        self.dead_end_head = nn.Linear(2 * size, 1) if config.dead_end_head else None
        with torch.no_grad():
            for head in (self.lm_head, *self.heads.values()):
                assert isinstance(head, nn.Linear)
                truncated_normal_(head.weight, 1 / math.sqrt(size))
                head.bias.zero_()
            self.q_head.weight.zero_()
            self.q_head.bias.fill_(-5.0)
            if self.dead_end_head is not None:
                self.dead_end_head.weight.zero_()
                self.dead_end_head.bias.zero_()
        self.y_init = nn.Parameter(truncated_normal_(torch.empty(size), 1.0))
        self.z_init = nn.Parameter(truncated_normal_(torch.empty(size), 1.0))

    def embed(self, tokens: Tensor, puzzle_identifiers: Tensor | None) -> Tensor:
        """Input embedding x, shape (\\*tokens.shape, values, hidden_size)."""
        if not self.by_value:
            return F.embedding(tokens, self.embed_tokens).unsqueeze(-2)
        token = tokens.unsqueeze(-1)
        other = self.token_values[token]  # 1: some value is given, 0: none is
        kind = torch.where(token == self.output_tokens, 0, 2 - other)
        return F.embedding(kind, self.embed_tokens)

    def membership(self, groups: Mapping[str, Tensor] | None, dtype: torch.dtype) -> Membership:
        """Return which cells are in which groups, as the blocks take it.

        Parameters
        ----------
        groups : mapping from weights key to Tensor (batch, groups, cells), or None
            Of each puzzle, for every key of the structure; None: the structure's own.
        dtype : torch.dtype
            Of the states.
        """
        if groups is None:
            return Membership(self.spread.to(dtype), self.gather.to(dtype), self.counts)
        return Membership.of_groups({key: groups[key] for key, _ in self.counts}, dtype)

    def forward(self, state: Tensor, membership: Membership | None = None) -> Tensor:
        """One pass of the network over a state with everything already added in.

        `membership` says which cells are in which groups, for blocks of messages; default: as the
        structure states it.
        """
        nodes = state
        if not self.config.any_size:
            nodes = state.view(len(state), *self.shape, *state.shape[-2:])
        for layer in self.layers:
            if isinstance(layer, MessageBlock):
                nodes = layer(nodes, membership or self.membership(None, nodes.dtype))
            else:
                nodes = layer(nodes, self.pools, self.keys)
        return nodes.reshape(state.shape)

    def arrange(self, state: Tensor) -> Tensor:
        """Return a tensor laid out in memory as the blocks take it: here, as it is."""
        return state

    def readout(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 logits (\\*tokens.shape, outputs) and halting logit (batch,) of an answer."""
        logits = self.lm_head(y)
        logits = logits.squeeze(-1) if self.by_value else logits.squeeze(-2)
        seen = _seen(y, self.config.halt_pool == "mean_max")
        return logits.float(), self.q_head(seen)[:, 0].float()

    def dead_end(self, y: Tensor) -> Tensor:
        """Return the float32 logit (batch,) of a filled-in value being wrong."""
        assert self.dead_end_head is not None
        logit: Tensor = self.dead_end_head(_seen(y, with_maximum=True))
        return logit[:, 0].float()

    def auxiliary(self, y: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return float32 logits of the further heads, or of some (`ModelConfig.head_shapes`)."""
        names = self.config.head_names if names is None else names
        return {
            name: self.dead_end(y) if name == DEAD_END else self.heads[name](y).squeeze(-2).float()
            for name in names
        }


def _seen(y: Tensor, with_maximum: bool) -> Tensor:
    """What a head over the whole board sees of (batch, *cell axes, values, channels)."""
    over = tuple(range(1, y.ndim - 1))
    mean = y.mean(over)
    return torch.cat((mean, y.amax(over)), dim=-1) if with_maximum else mean


def _pools(structure: Structure) -> tuple[tuple[int, ...], nn.ModuleDict]:
    """Axes of the cells, and how each relation but those of taps is pooled."""
    pools = nn.ModuleDict()
    if structure.any_size:
        shape: tuple[int, ...] = structure.shape
        axes: dict[str, tuple[int, ...]] = {}
        for relation in structure.over_cells:
            if not isinstance(relation, Offsets):
                assert isinstance(relation, (Rows, Columns, Board))
                over = {"rows": (1,), "columns": (0,), "board": (0, 1)}[relation.kind]
                pools[relation.name] = AxisPool(over)
        return shape, pools
    shape, axes = factorise(structure)
    if any(isinstance(relation, Offsets) for relation in structure.over_cells):
        # Neighbours are found along rows and columns; other relations gather.
        shape, axes = structure.shape, {}
    for relation in structure.over_cells:
        if isinstance(relation, Offsets):
            continue
        if relation.name in axes:
            pools[relation.name] = AxisPool(axes[relation.name])
        elif isinstance(relation, (Neighbourhood, Groups)):
            near = isinstance(relation, Neighbourhood)
            pools[relation.name] = SetPool(shape, relation.sets, neighbourhood=near)
        else:
            sets = relation.groups_on(structure.shape)
            pools[relation.name] = SetPool(shape, sets, neighbourhood=False)
    return shape, pools
