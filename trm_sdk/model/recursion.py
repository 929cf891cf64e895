"""TRM: one small network that refines a latent z and an answer y (arXiv 2510.04871, figure 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trm_sdk.model.config import ModelConfig
from trm_sdk.model.message import Membership
from trm_sdk.model.paper import PaperNetwork
from trm_sdk.model.structured import StructuredNetwork


class State(NamedTuple):
    """Answer y and latent z, each of shape (batch, *config.state_shape)."""

    y: Tensor
    z: Tensor

    def detach(self) -> State:
        """Return the same state, detached from the graph that made it."""
        return State(self.y.detach(), self.z.detach())

    def where(self, mask: Tensor, other: State) -> State:
        """Return rows of this state where `mask` (batch,) is true, of `other` elsewhere."""
        keep = mask.view(-1, *[1] * (self.y.ndim - 1))
        return State(torch.where(keep, self.y, other.y), torch.where(keep, self.z, other.z))


class TRM(nn.Module):
    """A Tiny Recursion Model.

    Parameters
    ----------
    config : ModelConfig

    Notes
    -----
    The recursion below is all there is to it. What the network is made of (`PaperNetwork` or
    `StructuredNetwork`) is the config's choice and shows nowhere else.
    """

    is_given: Tensor
    output_tokens: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network: PaperNetwork | StructuredNetwork = (
            StructuredNetwork(config) if config.mixer == "structured" else PaperNetwork(config)
        )
        given = torch.zeros(config.vocab_size, dtype=torch.bool)
        given[list(config.given_tokens)] = True
        self.register_buffer("is_given", given, persistent=False)
        self.register_buffer("output_tokens", torch.tensor(config.output_tokens), persistent=False)

    def initial_state(self, batch: int, board: tuple[int, int] | None = None) -> State:
        """Return the state that every puzzle starts from, expanded to `batch` rows.

        Parameters
        ----------
        batch : int
        board : (rows, columns), optional
            Of the puzzles, for models of any size; default the model's own.
        """
        inner = self.config.state_shape if board is None else self.config.state_shape_of(board)
        shape = (batch, *inner)
        return State(self.network.y_init.expand(shape), self.network.z_init.expand(shape))

    def recurse(
        self,
        x: Tensor,
        state: State,
        H_cycles: int | None = None,
        L_cycles: int | None = None,
        grad_cycles: int = 1,
        groups: Mapping[str, Tensor] | None = None,
    ) -> State:
        """Take one supervision step: T times (n latent updates, one answer update).

        Parameters
        ----------
        x : Tensor
            Input embedding, from `network.embed`.
        state : State
        H_cycles, L_cycles : int, optional
            T and n; the config's by default.
        grad_cycles : int
            Only the last so many of the T cycles are differentiated (the paper: 1).
        groups : mapping from weights key to Tensor (batch, groups, cells), optional
            Each puzzle's groups, for models that take them (`ModelConfig.takes_groups`): 1 where a
            cell is in a group. Default: those that the structure states.
        """
        membership = None
        if groups is not None:
            assert isinstance(self.network, StructuredNetwork)  # others have no groups
            membership = self.network.membership(groups, state.y.dtype)
        T = self.config.H_cycles if H_cycles is None else H_cycles
        n = self.config.L_cycles if L_cycles is None else L_cycles
        free = max(T - grad_cycles, 0)
        x, state = self.network.arrange(x), State(*map(self.network.arrange, state))
        if free and torch.is_grad_enabled():
            with torch.no_grad():
                state = self._cycles(x, state, free, n, membership)
        else:
            state = self._cycles(x, state, free, n, membership)
        return self._cycles(x, state, T - free, n, membership)

    def _cycles(
        self, x: Tensor, state: State, T: int, n: int, membership: Membership | None
    ) -> State:
        y, z = state
        for _ in range(T):
            context = y + x
            for _ in range(n):
                z = self.update(z, context, membership)
            y = self.update(y, z, membership)
        return State(y, z)

    def update(
        self, state: Tensor, context: Tensor, membership: Membership | None = None
    ) -> Tensor:
        """One pass: a state refined by what it is told. What `trm-fit` compiles for the
        paper's mixers, whose matrix products are too large to gain from compiling more at once."""
        refined: Tensor
        if membership is None:
            refined = self.network(state + context)
        else:
            refined = self.network(state + context, membership)
        return refined

    def forward(
        self,
        tokens: Tensor,
        state: State,
        puzzle_identifiers: Tensor | None = None,
        groups: Mapping[str, Tensor] | None = None,
    ) -> tuple[State, Tensor, Tensor]:
        """Take one supervision step from tokens.

        Parameters
        ----------
        tokens : integer Tensor of shape (batch, seq_len)
            Or (batch, rows, columns), for models of any size.
        state : State
        puzzle_identifiers : integer Tensor of shape (batch,), optional
            For models with a puzzle embedding; zeros by default.
        groups : mapping from weights key to Tensor, optional
            See `recurse`.

        Returns
        -------
        state : State
        logits : float32 Tensor of shape (\\*tokens.shape, config.outputs)
        halt_logit : float32 Tensor of shape (batch,)
            Positive where the model holds its answer for right.
        """
        state = self.recurse(self.network.embed(tokens, puzzle_identifiers), state, groups=groups)
        logits, halt_logit = self.network.readout(state.y)
        return state, logits, halt_logit

    def answer(self, tokens: Tensor, logits: Tensor) -> Tensor:
        """Return the tokens of the logits, with givens kept where the config says so."""
        best = self.output_tokens.to(tokens.dtype)[logits.argmax(-1)]
        return torch.where(self.is_given[tokens.long()], tokens, best)
