"""The one protocol that every runtime keeps: make a state, step it, and rearrange its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trm_sdk.spec import ModelSpec

Float32 = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int32]
Rows = npt.NDArray[np.intp]


class StepOutput(NamedTuple):
    """What one supervision step gives.

    Attributes
    ----------
    state : object
        The runtime's own state, for the next step; it may live on a device.
    logits : float32 array of shape (batch, N, outputs)
        Valid until the next call that takes the state.
    halt_logit : float32 array of shape (batch,)
    """

    state: Any
    logits: Float32
    halt_logit: Float32


class Runtime(Protocol):
    """Runs supervision steps of one model over a batch of rows.

    A state belongs to whoever runs it and is used up by the call that it is given to: every method
    may change it in place, and only the state that comes back is good for the next call. Different
    states may be run from several threads at once.

    Attributes
    ----------
    name : str
        ``onnx`` or ``torch``.
    device : str
        Where it runs: ``cpu`` or ``cuda``.
    spec : ModelSpec
    """

    name: str
    device: str
    spec: ModelSpec

    def start(self, tokens: Tokens) -> Any:
        """The initial state for int32 tokens of shape (batch, N)."""
        ...

    def step(self, state: Any) -> StepOutput:
        """One supervision step of every row."""
        ...

    def restart(self, state: Any, rows: Rows, tokens: Tokens) -> Any:
        """The state in which these rows start anew, with tokens of shape (len(rows), N)."""
        ...

    def select(self, state: Any, rows: Rows) -> Any:
        """The state of these rows, in this order (rows may repeat)."""
        ...

    def concatenate(self, states: Sequence[Any]) -> Any:
        """One state of all rows, in order."""
        ...

    def perturb(self, state: Any, scale: Float32, rngs: Sequence[np.random.Generator]) -> Any:
        """Add Gaussian noise to the latent z (PTRM, arXiv 2605.19943).

        Parameters
        ----------
        state : object
        scale : float32 array of shape (batch,)
            Standard deviation a row; rows of scale 0 are left as they are.
        rngs : one generator a row
            A row's noise comes from its own generator, so that it does not depend on the batch.
        """
        ...

    def close(self) -> None:
        """Release what the runtime holds; no other call may follow."""
        ...
