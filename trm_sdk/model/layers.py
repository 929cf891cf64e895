"""Layers of the paper's network: weightless RMSNorm, SwiGLU, attention with RoPE, and the block.

Linear layers have no bias and start truncated-normal with standard deviation 1/sqrt(fan-in), as in
the reference implementation of arXiv 2510.04871.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def truncated_normal_(weight: Tensor, std: float) -> Tensor:
    """Fill with a normal truncated at two deviations, rescaled so that its deviation is `std`.

    Cutting a normal at +-2 leaves it with 0.8796 of its standard deviation; the reference, like
    JAX's initialiser, makes up for that.
    """
    if std == 0:
        return nn.init.zeros_(weight)
    with torch.no_grad():
        return nn.init.trunc_normal_(weight, std=1.0, a=-2.0, b=2.0).mul_(std / 0.87962566103423978)


def rms_norm(x: Tensor, eps: float, axis: int = -1) -> Tensor:
    """Normalise an axis by its root mean square, computed in float32, without weights."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(axis, keepdim=True) + eps)).to(x.dtype)


class Linear(nn.Linear):
    """A linear map without bias, started as the reference starts it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        truncated_normal_(self.weight, 1 / math.sqrt(self.in_features))


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))`` over the last axis; gate and up are one matrix."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.gate_up_proj = Linear(size, 2 * hidden)
        self.down_proj = Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out

    def over_rows(self, x: Tensor) -> Tensor:
        """Apply the layer to the first axis of a matrix, without a transposed copy of it."""
        gate, up = (self.gate_up_proj.weight @ x).chunk(2, dim=0)
        return self.down_proj.weight @ (F.silu(gate) * up)


class RotaryTable(nn.Module):
    """Cosines and sines of rotary positions, each of shape (positions, head_dim)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, positions: int, theta: float) -> None:
        super().__init__()
        frequency = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angle = torch.outer(torch.arange(positions, dtype=torch.float32), frequency)
        angle = torch.cat((angle, angle), dim=-1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Apply rotary positions to x of shape (batch, heads, positions, head_dim)."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return x * table.cos.to(x.dtype) + turned * table.sin.to(x.dtype)


class Attention(nn.Module):
    """Non-causal multi-head self-attention."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = Linear(size, 3 * size)
        self.o_proj = Linear(size, size)

    def forward(self, x: Tensor, table: RotaryTable | None) -> Tensor:
        batch, positions, size = x.shape
        qkv = self.qkv_proj(x).view(batch, positions, 3 * self.heads, size // self.heads)
        q, k, v = qkv.transpose(1, 2).chunk(3, dim=1)
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        out = F.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.o_proj(out.transpose(1, 2).reshape(batch, positions, size))
        return mixed


class Block(nn.Module):
    """Post-norm block: mix over positions, then SwiGLU over channels (paper, section 4).

    With ``mlp_t`` the mixing is a SwiGLU over the token axis, and its normalisation runs over that
    axis too, as in the reference. Such a block takes and gives (positions, batch, size): in this
    order both SwiGLUs are one matrix product each over memory as it lies, where (batch, positions,
    size) would be transposed and copied twice a block.
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        eps: float,
        *,
        heads: int = 0,
        positions: int = 0,
        mlp_t_hidden: int = 0,
    ) -> None:
        super().__init__()
        self.eps = eps
        self.mlp_t = SwiGLU(positions, mlp_t_hidden) if mlp_t_hidden else None
        self.self_attn = Attention(size, heads) if not mlp_t_hidden else None
        self.mlp = SwiGLU(size, hidden)

    def forward(self, x: Tensor, table: RotaryTable | None) -> Tensor:
        if self.mlp_t is not None:
            flat = x.reshape(len(x), -1)
            x = rms_norm(flat + self.mlp_t.over_rows(flat), self.eps, 0).view(x.shape)
        else:
            assert self.self_attn is not None
            x = rms_norm(x + self.self_attn(x, table), self.eps)
        return rms_norm(x + self.mlp(x), self.eps)
