"""The one protocol that every runtime keeps: make a state, step it, choose and join its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trm_sdk.spec import ModelSpec

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]


class StepOutput(NamedTuple):
    """What one supervision step gives.

    Attributes
    ----------
    state : object
        The runtime's own state, for the next step; it may live on a device.
    logits : float32 array of shape (batch, N, outputs)
    halt_logit : float32 array of shape (batch,)
    """

    state: Any
    logits: Float32
    halt_logit: Float32


class Runtime(Protocol):
    """Runs supervision steps of one model over a batch of rows.

    States are values: no call changes the state it is given. Every method may be called from
    several threads at once.

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

    def start(self, tokens: npt.NDArray[np.int32]) -> Any:
        """The initial state for tokens of shape (batch, N)."""
        ...

    def step(self, state: Any) -> StepOutput:
        """One supervision step of every row."""
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
