"""The paper's network: tokens with channels, mixed by an MLP over tokens or by attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_sdk.model.config import ModelConfig, rounded_swiglu
from trm_sdk.model.layers import Block, Linear, RotaryTable, truncated_normal_


class PaperNetwork(nn.Module):
    """Embedding, the recursed blocks, and the two heads of arXiv 2510.04871.

    States are of shape (batch, puzzle_emb_len + seq_len, hidden_size).

    Attributes
    ----------
    sparse_gradient : bool
        Whether the puzzle embedding's gradient is sparse, for optimisers that take such a one: of a
        million rows, a batch uses some hundreds. Default False.
    """

    sparse_gradient = False

    y_init: Tensor
    z_init: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, prefix = config.hidden_size, config.puzzle_emb_len
        positions = prefix + config.seq_len
        self.config = config
        self.embed_scale = math.sqrt(size)
        self.embed_tokens = nn.Parameter(
            truncated_normal_(torch.empty(config.vocab_size, size), 1 / self.embed_scale)
        )
        self.embed_pos = (
            nn.Parameter(truncated_normal_(torch.empty(positions, size), 1 / self.embed_scale))
            if config.positions == "learned"
            else None
        )
        self.puzzle_emb = (
            nn.Parameter(torch.zeros(config.num_puzzle_identifiers, config.puzzle_emb_ndim))
            if config.puzzle_emb_ndim
            else None
        )
        self.rotary = (
            RotaryTable(size // config.num_heads, positions, config.rope_theta)
            if config.positions == "rope"
            else None
        )
        mlp_t = config.mixer == "mlp_t"
        self.layers = nn.ModuleList(
            Block(
                size,
                config.swiglu_size,
                config.rms_norm_eps,
                heads=config.num_heads,
                positions=positions,
                mlp_t_hidden=rounded_swiglu(positions, config.expansion) if mlp_t else 0,
            )
            for _ in range(config.L_layers)
        )
        self.lm_head = Linear(size, config.outputs)
        # Two outputs as in the reference, so that its weights load; the second (Q-learning's
        # "continue") is not used by the paper's final method.
        self.q_head = nn.Linear(size, 2)
        with torch.no_grad():
            # The reference starts "halt" nearly off: a fresh model should think, not stop.
            self.q_head.weight.zero_()
            self.q_head.bias.fill_(-5.0)
        # Fixed, not trained: the reference draws the first states once.
        self.register_buffer("y_init", truncated_normal_(torch.empty(size), 1.0))
        self.register_buffer("z_init", truncated_normal_(torch.empty(size), 1.0))

    def embed(self, tokens: Tensor, puzzle_identifiers: Tensor | None) -> Tensor:
        """Return the input embedding x, shape (batch, positions, hidden_size)."""
        config = self.config
        x = F.embedding(tokens, self.embed_tokens)
        if config.puzzle_emb_len:
            length = config.puzzle_emb_len * config.hidden_size
            if self.puzzle_emb is None:
                prefix = x.new_zeros(len(tokens), length)
            else:
                if puzzle_identifiers is None:
                    puzzle_identifiers = torch.zeros_like(tokens[:, 0])
                prefix = F.embedding(
                    puzzle_identifiers, self.puzzle_emb, sparse=self.sparse_gradient
                )
                prefix = F.pad(prefix, (0, length - config.puzzle_emb_ndim))
            x = torch.cat((prefix.view(-1, config.puzzle_emb_len, config.hidden_size), x), dim=1)
        if self.embed_pos is not None:
            x = math.sqrt(0.5) * (x + self.embed_pos)  # keeps the variance of one embedding
        return self.embed_scale * x

    def forward(self, state: Tensor) -> Tensor:
        """One pass of the network over a state with everything already added in."""
        state = self._turn(state).contiguous()
        for layer in self.layers:
            state = layer(state, self.rotary)
        return self._turn(state)

    def _turn(self, state: Tensor) -> Tensor:
        """Between (batch, positions, size) and the order that the blocks take; see `Block`."""
        return state.transpose(0, 1) if self.config.mixer == "mlp_t" else state

    def arrange(self, state: Tensor) -> Tensor:
        """Lay a tensor out in memory as the blocks take it, which saves a copy every pass."""
        return self._turn(self._turn(state).contiguous())

    def readout(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 logits (batch, seq_len, outputs) and the halting logit (batch,) of y."""
        logits = self.lm_head(y)[:, self.config.puzzle_emb_len :]
        return logits.float(), self.q_head(y[:, 0])[:, 0].float()
