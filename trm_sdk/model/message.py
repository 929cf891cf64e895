"""The message block: nodes speak to the groups they are in, groups think, and speak back.

A gated map of each node alone takes most of a pass's time, so what is said between nodes is kept
narrow, and the thinking about it is done once a group: of a 9x9 Sudoku there are 729 nodes, and
324 groups of nine. Summing a group's messages and spreading its reply are one matrix product each,
with the groups as a matrix. The weights know nothing of how many groups there are, nor of which
cells are in them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_sdk.model.config import ModelConfig
from trm_sdk.model.layers import Linear, rms_norm, truncated_normal_
from trm_sdk.structure import Neighbourhood, Offsets, Structure


class Membership(NamedTuple):
    """Which cells are in which groups.

    Attributes
    ----------
    spread : float Tensor (cells, groups)
        1 where a cell is in a group. Groups that share weights stand beside one another.
    gather : float Tensor (groups, cells)
        Its transpose, each row divided by the square root of its sum.
    counts : tuple of (weights key, int)
        Groups of each set of weights, in order.
    """

    spread: Tensor
    gather: Tensor
    counts: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, structure: Structure) -> Membership:
        """Return the groups of a structure, sorted by the weights they use."""
        sets: dict[str, list[tuple[int, ...]]] = {}
        for relation in structure.over_cells:
            assert not isinstance(relation, (Neighbourhood, Offsets))  # ModelConfig checks it
            sets.setdefault(relation.weights_key, []).extend(relation.groups_on(structure.shape))
        groups = [group for one in sets.values() for group in one]
        gather = torch.zeros(len(groups), structure.cells)
        for row, group in enumerate(groups):
            gather[row, list(group)] = 1
        counts = tuple((key, len(one)) for key, one in sets.items())
        sizes = gather.sum(1, keepdim=True).clamp(min=1)
        return cls(gather.T.contiguous(), gather / sizes.sqrt(), counts)


class GroupMap(nn.Module):
    """``down(silu(up(x)))``: what a group replies to what it was told."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(size, hidden)
        self.down = Linear(hidden, size)
        with torch.no_grad():
            truncated_normal_(self.up.weight, 1 / math.sqrt(size))
            self.up.bias.zero_()

    def forward(self, told: Tensor) -> Tensor:
        """(..., size) to the same shape."""
        reply: Tensor = self.down(F.silu(self.up(told)))
        return reply


class MessageBlock(nn.Module):
    """``x + down(silu(gate) * up)``, normalised; the gate sees the node and its groups' replies."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.structure is not None  # ModelConfig checks it
        structure, size, hidden = config.structure, config.hidden_size, config.swiglu_size
        self.eps = config.rms_norm_eps
        self.message = nn.Linear(size, size)
        keys = dict.fromkeys(relation.weights_key for relation in structure.over_cells)
        self.relations = nn.ModuleDict({key: GroupMap(size, hidden) for key in keys})
        self.value = GroupMap(size, hidden) if structure.interchangeable_values else None
        self.gate_up = nn.Linear(size, 2 * hidden)
        self.down = Linear(hidden, size)
        # What the gate sees is a sum of several terms: keep it at the scale of one.
        terms = 1 + len(structure.over_cells) + structure.interchangeable_values
        with torch.no_grad():
            for linear in (self.message, self.gate_up):
                truncated_normal_(linear.weight, 1 / math.sqrt(size))
                linear.bias.zero_()
            for reply in (*self.relations.values(), self.value):
                if isinstance(reply, GroupMap):
                    reply.down.weight.div_(math.sqrt(terms))

    def forward(self, x: Tensor, membership: Membership) -> Tensor:
        """x and the result are of shape (batch, cells, values, channels)."""
        messages = F.silu(self.message(x))
        values, size = messages.shape[-2:]
        told = torch.matmul(membership.gather, messages.flatten(-2))
        told = told.view(len(x), -1, values, size)
        parts = torch.split(told, [count for _, count in membership.counts], dim=1)
        replies = [
            self.relations[key](part)
            for (key, _), part in zip(membership.counts, parts, strict=True)
        ]
        heard = torch.matmul(membership.spread, torch.cat(replies, 1).flatten(-2))
        mixed = x + heard.view(x.shape)
        if self.value is not None:
            mixed = mixed + self.value(messages.sum(-2, keepdim=True) / math.sqrt(values))
        gate, up = self.gate_up(mixed).chunk(2, dim=-1)
        return rms_norm(x + self.down(F.silu(gate) * up), self.eps)


__all__ = ["GroupMap", "Membership", "MessageBlock"]
