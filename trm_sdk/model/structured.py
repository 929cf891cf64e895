"""The structured network: shared weights over the groups of cells that a domain states.

A node is a (cell, value) pair where values are interchangeable, a cell otherwise. Every node runs
the same small block: a gated map of itself and of what is pooled over each group it belongs to. The
network is therefore equivariant to every symmetry of the structure, which is what lets thirty
thousand parameters learn Sudoku from minutes of data, and what a dense mixer has to learn.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_sdk.model.config import ModelConfig
from trm_sdk.model.layers import Linear, rms_norm, truncated_normal_
from trm_sdk.structure import Relation, Structure


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
    strides: dict[str, list[tuple[int, int]]] = {}
    for relation in structure.relations:
        found = _strides(relation, structure.cells)
        if found is not None:
            strides[relation.name] = found
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
    sets = {relation.name: relation.sets for relation in structure.relations}
    exact = {
        name: over
        for name, over in axes.items()
        if {frozenset(group) for group in _slices(cells, over)}
        == {frozenset(group) for group in sets[name]}
    }
    return shape, exact


def _strides(relation: Relation, cells: int) -> list[tuple[int, int]] | None:
    """The mixed-radix (stride, size) pairs of the group that holds cell 0, if it is one."""
    members = [cell for group in relation.sets for cell in group]
    if relation.kind != "groups" or sorted(members) != list(range(cells)):
        return None
    first = sorted(next(group for group in relation.sets if 0 in group))
    if any(len(group) != len(first) for group in relation.sets):
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
    """Pool over axes of the factorised cells; see `factorise`."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.axes = tuple(axis + 1 for axis in axes)  # after the batch axis
        self.scale = 1 / math.sqrt(math.prod(shape[axis] for axis in axes))

    def forward(self, nodes: Tensor) -> Tensor:
        """(batch, *shape, values, channels) to (batch, *1 or size, values, 2 * channels)."""
        total = nodes.sum(self.axes, keepdim=True) * self.scale
        return torch.cat((total, nodes.amax(self.axes, keepdim=True)), dim=-1)

    def spread(self, pooled: Tensor) -> Tensor:
        """What each node hears of the pooled groups: broadcasting does it."""
        return pooled


class SetPool(nn.Module):
    """Pool over arbitrary sets of cells by gathering their members."""

    members: Tensor
    present: Tensor
    scale: Tensor
    heard: Tensor
    heard_present: Tensor

    def __init__(self, shape: tuple[int, ...], relation: Relation) -> None:
        super().__init__()
        self.shape = shape
        cells = math.prod(shape)
        index, present = _padded([list(group) for group in relation.sets])
        self.register_buffer("members", index, persistent=False)
        self.register_buffer("present", present[None, :, :, None, None], persistent=False)
        scale = 1 / present.sum(1).clamp(min=1).sqrt()
        self.register_buffer("scale", scale[None, :, None, None], persistent=False)
        self.neighbourhood = relation.kind == "neighbourhood"
        hearers: list[list[int]] = [[] for _ in range(cells)]
        for number, group in enumerate(relation.sets):
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
        """Add up, for each cell, what the sets that it belongs to say."""
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

    def __init__(
        self, config: ModelConfig, pools: dict[str, str], value_pool: bool, eps: float
    ) -> None:
        super().__init__()
        size, hidden = config.hidden_size, config.swiglu_size
        self.eps = eps
        self.node = nn.Linear(size, 2 * hidden)
        self.relations = nn.ModuleDict(
            {key: Linear(2 * size, 2 * hidden) for key in dict.fromkeys(pools.values())}
        )
        self.value = Linear(2 * size, 2 * hidden) if value_pool else None
        self.down = Linear(hidden, size)
        # Gate and up are sums of several maps: keep the sum at the scale of one.
        terms = 1 + len(pools) + value_pool
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
        # The bias as a term of the sum: a compiler fuses it with the rest, where a product with a
        # bias first fills its result with copies of it.
        mixed = F.linear(x, self.node.weight) + self.node.bias
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
        return rms_norm(x + self.down(F.silu(gate) * up), self.eps)


class StructuredNetwork(nn.Module):
    """Embedding, recursed blocks and heads over the nodes of a `Structure`.

    States are of shape (batch, cells, values, hidden_size); values is 1 where values are not
    interchangeable. No weight depends on the number of cells, groups or (where interchangeable)
    values, so the weights of a 9x9 model run on a 16x16 board as they are.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.structure is not None  # ModelConfig checks it
        structure, size = config.structure, config.hidden_size
        self.config = config
        self.by_value = structure.interchangeable_values
        self.shape, axes = factorise(structure)
        self.pools = nn.ModuleDict(
            {
                relation.name: AxisPool(self.shape, axes[relation.name])
                if relation.name in axes
                else SetPool(self.shape, relation)
                for relation in structure.relations
            }
        )
        self.keys = {relation.name: relation.weights_key for relation in structure.relations}
        # By value: this value is given here, another one is, none is. Otherwise: one a token.
        rows = 3 if self.by_value else config.vocab_size
        self.embed_tokens = nn.Parameter(truncated_normal_(torch.empty(rows, size), 1.0))
        self.layers = nn.ModuleList(
            StructuredBlock(config, self.keys, self.by_value, config.rms_norm_eps)
            for _ in range(config.L_layers)
        )
        self.lm_head = nn.Linear(size, 1 if self.by_value else config.outputs)
        self.q_head = nn.Linear(size, 1)
        with torch.no_grad():
            truncated_normal_(self.lm_head.weight, 1 / math.sqrt(size))
            self.lm_head.bias.zero_()
            self.q_head.weight.zero_()
            self.q_head.bias.fill_(-5.0)
        self.y_init = nn.Parameter(truncated_normal_(torch.empty(size), 1.0))
        self.z_init = nn.Parameter(truncated_normal_(torch.empty(size), 1.0))

    def embed(self, tokens: Tensor, puzzle_identifiers: Tensor | None) -> Tensor:
        """Input embedding x, shape (batch, cells, values, hidden_size)."""
        if not self.by_value:
            return F.embedding(tokens, self.embed_tokens)[:, :, None]
        config = self.config
        values = torch.arange(config.outputs, device=tokens.device, dtype=tokens.dtype)
        token = tokens[:, :, None]
        other = (token >= config.output_offset).to(tokens.dtype)  # 1: given, 0: not
        kind = torch.where(token == values + config.output_offset, 0, 2 - other)
        return F.embedding(kind, self.embed_tokens)

    def forward(self, state: Tensor) -> Tensor:
        """One pass of the network over a state with everything already added in."""
        nodes = state.view(len(state), *self.shape, *state.shape[-2:])
        for layer in self.layers:
            nodes = layer(nodes, self.pools, self.keys)
        return nodes.view(state.shape)

    def arrange(self, state: Tensor) -> Tensor:
        """The same tensor, laid out in memory as the blocks take it: here, as it is."""
        return state

    def readout(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, cells, outputs) and halting logit (batch,) of an answer y, in float32."""
        logits = self.lm_head(y)
        logits = logits.squeeze(-1) if self.by_value else logits.squeeze(-2)
        return logits.float(), self.q_head(y.mean((1, 2)))[:, 0].float()
