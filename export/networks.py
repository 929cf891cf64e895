"""The networks as graphs: what the recursion needs of an architecture, and which there are.

Each architecture emits the nodes of its embedding, pass and readout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trm_sdk.model.config import ModelConfig

from .builder import GraphBuilder
from .message import MessageGraph
from .paper import PaperGraph
from .structured import StructuredGraph
from .weights import Weights


class NetworkGraph(Protocol):
    """What the recursion needs of an architecture; states are in its own internal shape."""

    #: Internal shape of y and z after the batch axis; None where the graph takes any size.
    shape: tuple[int | None, ...]

    def embed(self, g: GraphBuilder, tokens: str, puzzle_identifiers: str | None) -> str:
        """Emit the input embedding x, broadcastable to (batch, *shape)."""

    def forward(self, g: GraphBuilder, state: str) -> str:
        """Emit one pass of the network over (batch, *shape)."""

    def readout(self, g: GraphBuilder, y: str) -> tuple[str, str]:
        """Emit logits (batch, *cells, outputs) and the halting logit (batch,)."""

    def auxiliary(self, g: GraphBuilder, y: str, names: Sequence[str]) -> dict[str, str]:
        """Emit logits of further heads, by name (`ModelConfig.head_shapes`)."""

    def inside(self, g: GraphBuilder, state: str) -> str:
        """Return a state of shape (batch, *config.state_shape) in the internal shape."""

    def outside(self, g: GraphBuilder, state: str, name: str) -> str:
        """Return a state in the internal shape as `inside` takes it."""

    def cells_shape(self, g: GraphBuilder, width: int) -> str:
        """Emit the shape (batch or 1, *cells, width), as an int64 value to expand to."""


def network_graph(config: ModelConfig, weights: Weights) -> NetworkGraph:
    """Return the emitter of a config's architecture."""
    if config.block == "message":
        return MessageGraph(config, weights)
    if config.mixer == "structured":
        return StructuredGraph(config, weights)
    return PaperGraph(config, weights)
