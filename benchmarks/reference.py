"""The reference algorithm of arXiv 2510.04871 as a plain eager loop, to measure against.

Our own plain writing of what the authors' PyTorch code does for Sudoku-Extreme with the MLP-T: one
module a layer, activations of shape (batch, positions, channels) transposed for the token mixer,
weights cast to the activations' type at every use, stablemax in float64, deep supervision with a
carried state. It shares no code with the package. Puzzles come ready made, and no other bookkeeping
is done, so that what is timed is the training itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN, CELLS, PREFIX, VOCABULARY = 512, 81, 16, 11
LAYERS, H_CYCLES, L_CYCLES, MAX_STEPS = 2, 3, 6, 16


class CastedLinear(nn.Module):
    """Without bias; the weight is cast to the input's type."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class SwiGLU(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        inner = -(-round(4 * size * 2 / 3) // 256) * 256
        self.gate_up_proj = CastedLinear(size, 2 * inner)
        self.down_proj = CastedLinear(inner, size)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out


def rms_norm(x: Tensor) -> Tensor:
    wide = x.to(torch.float32)
    variance = wide.square().mean(-1, keepdim=True)
    return (wide * torch.rsqrt(variance + 1e-5)).to(x.dtype)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp_t = SwiGLU(PREFIX + CELLS)
        self.mlp = SwiGLU(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = rms_norm(x + self.mlp_t(x))
        x = x.transpose(1, 2)
        return rms_norm(x + self.mlp(x))


class Reference(nn.Module):
    """The network with its recursion; one call is one supervision step."""

    start: Tensor

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.embed = nn.Parameter(torch.randn(VOCABULARY, HIDDEN) / math.sqrt(HIDDEN))
        self.puzzle = nn.Parameter(torch.zeros(HIDDEN))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.lm_head = CastedLinear(HIDDEN, VOCABULARY)
        self.q_head = nn.Linear(HIDDEN, 2)
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        self.register_buffer("start", torch.randn(2, HIDDEN))

    def level(self, state: Tensor, injection: Tensor) -> Tensor:
        state = state + injection
        for block in self.blocks:
            state = block(state)
        return state

    def forward(
        self, tokens: Tensor, y: Tensor, z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        prefix = F.pad(self.puzzle.to(self.dtype), (0, (PREFIX - 1) * HIDDEN))
        prefix = prefix.view(1, PREFIX, HIDDEN).expand(len(tokens), -1, -1)
        x = torch.cat((prefix, self.embed.to(self.dtype)[tokens]), dim=1) * math.sqrt(HIDDEN)
        with torch.no_grad():
            for _ in range(H_CYCLES - 1):
                for _ in range(L_CYCLES):
                    z = self.level(z, y + x)
                y = self.level(y, z)
        for _ in range(L_CYCLES):
            z = self.level(z, y + x)
        y = self.level(y, z)
        q_halt = self.q_head(y[:, 0].float())[:, 0]
        return y.detach(), z.detach(), self.lm_head(y)[:, PREFIX:], q_halt


def stablemax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss: its mean over cells, summed over puzzles."""
    wide = logits.to(torch.float64)
    s = torch.where(wide < 0, 1 / (1 - wide + 1e-30), wide + 1)
    log_p = torch.log(s / s.sum(-1, keepdim=True))
    return -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean(-1).sum()


class Loop:
    """Deep supervision with a carried state over a fixed pool of puzzles, repeated.

    Parameters
    ----------
    tokens, answers : int64 Tensors (n, 81)
    batch : int
    dtype : torch.dtype
        Of the activations.
    """

    def __init__(self, tokens: Tensor, answers: Tensor, batch: int, dtype: torch.dtype) -> None:
        device = tokens.device
        self.tokens, self.answers, self.next = tokens, answers, batch
        self.model = Reference(dtype).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=1.0
        )
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.x, self.labels = tokens[:batch], answers[:batch]
        shape = (batch, PREFIX + CELLS, HIDDEN)
        self.y = torch.zeros(shape, dtype=dtype, device=device)
        self.z = torch.zeros_like(self.y)
        self.halted = torch.ones(batch, dtype=torch.bool, device=device)
        self.steps = torch.zeros(batch, dtype=torch.int64, device=device)

    def step(self) -> float:
        """Take one optimiser step; return the loss per puzzle."""
        model, batch = self.model, len(self.x)
        fresh = self.halted.view(-1, 1, 1)
        first = model.start.to(model.dtype)
        y, z = torch.where(fresh, first[0], self.y), torch.where(fresh, first[1], self.z)
        rows = torch.arange(self.next, self.next + batch, device=self.x.device) % len(self.tokens)
        self.next += batch
        halted = self.halted.view(-1, 1)
        self.x = torch.where(halted, self.tokens[rows], self.x)
        self.labels = torch.where(halted, self.answers[rows], self.labels)
        self.steps = torch.where(self.halted, 0, self.steps)

        self.y, self.z, logits, q_halt = model(self.x, y, z)
        solved = (logits.argmax(-1) == self.labels).all(-1)
        loss = stablemax_loss(logits, self.labels) + 0.5 * F.binary_cross_entropy_with_logits(
            q_halt, solved.float(), reduction="sum"
        )
        (loss / batch).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, p in model.named_parameters():
                self.average[name].mul_(0.999).add_(p, alpha=0.001)
            self.steps = self.steps + 1
            explore = torch.rand_like(q_halt) < 0.1
            least = explore * torch.randint_like(self.steps, 2, MAX_STEPS + 1)
            self.halted = (self.steps >= MAX_STEPS) | (q_halt > 0)
            self.halted = self.halted & (self.steps >= least)
        return float(loss.detach()) / batch
