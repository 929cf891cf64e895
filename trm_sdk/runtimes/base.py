"""The protocol of every runtime: make a state, step it, and rearrange its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.data import GroupsOf
from trm_sdk.errors import TRMError
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.spec import ModelSpec

Float32 = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int32]
Rows = npt.NDArray[np.intp]


class StepInterruptedError(TRMError):
    """A step was still running at its deadline; its state is unchanged."""


#: `StepOutput.heads` of a step that gives none.
NO_HEADS: Mapping[str, Float32] = MappingProxyType({})


class StepOutput(NamedTuple):
    """Result of one supervision step.

    Attributes
    ----------
    state : object
        The runtime's own state, for the next step; may live on a device.
    logits : float32 array of shape (batch, N, outputs)
        Valid until the next call that takes the state.
    halt_logit : float32 array of shape (batch,)
    heads : mapping from name to float32 array of shape (batch, N, width)
        Logits of the model's further heads that the runtime gives, among them ``dead_end`` of shape
        (batch,). Default none.
    """

    state: Any
    logits: Float32
    halt_logit: Float32
    heads: Mapping[str, Float32] = NO_HEADS


def best_batch_size(model: ModelConfig, device: str) -> int:
    """Return the batch size whose widest activations fit into 2 MB of CPU cache; 256 on CUDA.

    A small model is memory-bound: on a CPU its batches are fastest while they stay in cache (4 rows
    of the 9x9 structured model take 1.0 ms per row and step, 64 rows take 1.6 ms).
    """
    if device == "cuda":
        return 256
    widest = math.prod(model.state_shape[:-1]) * 2 * model.swiglu_size * 4
    return max(4, min(32, 2_000_000 // widest))


class Runtime(Protocol):
    """Runs supervision steps of one model over a batch of rows.

    A state belongs to its caller and is consumed by the call that takes it: every method may change
    it in place, and only the returned state is valid afterwards. Different states may be run from
    several threads at once.

    Attributes
    ----------
    name : str
        ``onnx`` or ``torch``.
    device : str
        Where it runs: ``cpu`` or ``cuda``.
    spec : ModelSpec
    batch_size : int
        Estimated batch size with the highest throughput, on boards of the model's own shape.
    takes_groups : bool
        Whether puzzles may bring their own groups of cells.
    heads : tuple of str
        Further heads of the model that every step gives (`StepOutput.heads`).
    """

    name: str
    device: str
    spec: ModelSpec
    batch_size: int
    takes_groups: bool
    heads: tuple[str, ...]

    def start(
        self,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> Any:
        """Return the initial state for puzzles.

        Parameters
        ----------
        tokens : int32 array of shape (batch, N), or (batch, rows, columns) for models of any size
        identifiers : int32 array of shape (batch,), optional
            Rows of the puzzle embedding; default all 0.
        groups : mapping from weights key to uint8 array of shape (batch, groups, N), optional
            For every key of the model's structure, 1 where a cell is in a group; only where
            `takes_groups`. Default: the structure's own, in all states that are put together.
        """
        ...

    def step(self, state: Any, deadline: float | None = None) -> StepOutput:
        """Take one supervision step of every row.

        Parameters
        ----------
        state : object
        deadline : float, optional
            Time of `time.perf_counter` at which to give up the step, where the runtime can.

        Raises
        ------
        StepInterruptedError
            If it was given up; the state is unchanged, and may be stepped again.
        """
        ...

    def restart(
        self,
        state: Any,
        rows: Rows,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> Any:
        """Return the state in which these rows start anew, with their own tokens; see `start`."""
        ...

    def inherit(self, state: Any, rows: Rows, parents: Any) -> Any:
        """Return the state in which these rows have the latents y and z of `parents`.

        They keep their own tokens, identifiers and groups.

        Parameters
        ----------
        state : object
        rows : intp array of shape (n,)
        parents : object
            A state of n rows, in the order of `rows`; not consumed.
        """
        ...

    def select(self, state: Any, rows: Rows) -> Any:
        """Return the state of these rows, in this order; rows may repeat."""
        ...

    def concatenate(self, states: Sequence[Any]) -> Any:
        """Return one state of all rows, in order."""
        ...

    def perturb(self, state: Any, scale: Float32, rngs: Sequence[np.random.Generator]) -> Any:
        """Add Gaussian noise to the latent z (PTRM, arXiv 2605.19943).

        Parameters
        ----------
        state : object
        scale : float32 array of shape (batch,)
            Standard deviation per row; rows of scale 0 are unchanged.
        rngs : sequence of numpy Generator, one per row
            A row's noise comes from its own generator, and so does not depend on the batch.
        """
        ...

    def close(self) -> None:
        """Release what the runtime holds; only `close` may be called afterwards."""
        ...
