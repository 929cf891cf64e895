"""TorchRuntime: runs the PyTorch modules themselves; for CUDA, and for models not yet exported."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trm_sdk.errors import InvalidInputError
from trm_sdk.model.recursion import TRM, State
from trm_sdk.runtimes.base import Float32, Rows, StepOutput, Tokens, best_batch_size
from trm_sdk.runtimes.noise import GaussianTable
from trm_sdk.spec import ModelSpec

_StepFunction = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]


class TorchState:
    """Rows on the device: the embedded puzzle x, the answer y and the latent z."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: Tensor, y: Tensor, z: Tensor) -> None:
        self.x, self.y, self.z = x, y, z


class TorchRuntime:
    """Runs supervision steps of a `TRM`; see `Runtime` for the protocol.

    Parameters
    ----------
    model : TRM
        Moved to `device` and put into evaluation mode.
    spec : ModelSpec
    device : {"auto", "cpu", "cuda"} or "cuda:N"
        ``auto`` takes CUDA where there is one.
    threads : int, optional
        Threads of PyTorch's own pool, which the whole process shares. Default: leave it alone.
    precision : {"float32", "bfloat16"}
        Of the matrix products; states and normalisation stay in float32.
    compile : bool
        Fuse a step with ``torch.compile`` (on CUDA: as one CUDA graph). The first step of every
        batch size up to a power of two takes seconds to compile. Where compiling fails, a warning
        says why and the step runs uncompiled.

    Raises
    ------
    InvalidInputError
        If an argument is not one of these, or there is no such device.
    """

    name = "torch"

    def __init__(
        self,
        model: TRM,
        spec: ModelSpec,
        device: str = "auto",
        threads: int | None = None,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        if threads is not None:
            if threads < 1:
                raise InvalidInputError(f"threads must be at least 1; got {threads}")
            torch.set_num_threads(threads)
        if precision not in ("float32", "bfloat16"):
            raise InvalidInputError(f"precision must be 'float32' or 'bfloat16'; got {precision!r}")
        self._device = _choose_device(device)
        self.device = self._device.type
        self.spec = spec
        self.model = model.to(self._device).eval()
        self._bfloat16 = precision == "bfloat16" and _has_bfloat16(self._device)
        self.batch_size = best_batch_size(spec.model, self.device)
        self._noise = GaussianTable(spec.model.state_shape)
        self._numbers: Tensor | None = None
        self._eager: _StepFunction = self._step_rows
        self._compiled = _compile(self._step_rows) if compile else None
        # CUDA runs one kernel stream, and the buffers of a CUDA graph are shared by its callers.
        self._lock = threading.Lock() if compile or self.device == "cuda" else None

    def _step_rows(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self._bfloat16):
            state = self.model.recurse(x, State(y, z))
            logits, halt_logit = self.model.network.readout(state.y)
        return state.y.float(), state.z.float(), logits, halt_logit

    @torch.inference_mode()
    def start(self, tokens: Tokens) -> TorchState:
        """The initial state for int32 tokens of shape (batch, N)."""
        on_device = torch.from_numpy(np.ascontiguousarray(tokens, np.int32)).to(self._device)
        y, z = self.model.initial_state(len(tokens))
        # The puzzle does not change from step to step, so it is embedded once.
        return TorchState(self.model.network.embed(on_device, None), y.clone(), z.clone())

    @torch.inference_mode()
    def step(self, state: TorchState) -> StepOutput:
        """One supervision step of every row."""
        if self._lock is None:
            return self._advance(state)
        with self._lock:
            return self._advance(state)

    def _advance(self, state: TorchState) -> StepOutput:
        if self._compiled is None:
            y, z, logits, halt_logit = self._eager(state.x, state.y, state.z)
        else:
            y, z, logits, halt_logit = self._step_compiled(state)
        state.y, state.z = y, z
        return StepOutput(state, logits.cpu().numpy(), halt_logit.cpu().numpy())

    def _step_compiled(self, state: TorchState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = len(state.x)
        # A graph is compiled for one batch size: round up, so that there are few of them.
        spare = (1 << (rows - 1).bit_length()) - rows
        padded = [_padded(value, spare) for value in (state.x, state.y, state.z)]
        assert self._compiled is not None
        try:
            if self.device == "cuda":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            outputs = self._compiled(*padded)
        except Exception as error:  # whatever the compiler behind torch.compile raises
            lines = str(error).strip().splitlines() or [type(error).__name__]
            warnings.warn(
                f"torch.compile failed, running uncompiled: {lines[0]}", RuntimeWarning, 2
            )
            self._compiled = None
            return self._eager(state.x, state.y, state.z)
        # The next run of a CUDA graph writes over its outputs: take them away first.
        y, z, logits, halt_logit = (value[:rows].clone() for value in outputs)
        return y, z, logits, halt_logit

    @torch.inference_mode()
    def restart(self, state: TorchState, rows: Rows, tokens: Tokens) -> TorchState:
        """The state in which these rows start anew, with tokens of shape (len(rows), N)."""
        fresh = self.start(tokens)
        index = torch.from_numpy(rows).to(self._device)
        state.x[index], state.y[index], state.z[index] = fresh.x, fresh.y, fresh.z
        return state

    @torch.inference_mode()
    def select(self, state: TorchState, rows: Rows) -> TorchState:
        """The state of these rows, in this order (rows may repeat)."""
        index = torch.from_numpy(rows).to(self._device)
        return TorchState(state.x[index], state.y[index], state.z[index])

    @torch.inference_mode()
    def concatenate(self, states: Sequence[TorchState]) -> TorchState:
        """One state of all rows, in order."""
        return TorchState(
            torch.cat([state.x for state in states]),
            torch.cat([state.y for state in states]),
            torch.cat([state.z for state in states]),
        )

    @torch.inference_mode()
    def perturb(
        self, state: TorchState, scale: Float32, rngs: Sequence[np.random.Generator]
    ) -> TorchState:
        """Add Gaussian noise of deviation `scale[row]` to z; see `Runtime.perturb`."""
        rows = np.flatnonzero(scale)
        if len(rows):
            if self._numbers is None:  # the table moves to the device once, its stretches never
                self._numbers = torch.tensor(self._noise.numbers, device=self._device)
            places = [self._noise.place(rngs[row]) for row in rows.tolist()]
            size = self._noise.size
            noise = torch.stack([self._numbers[place : place + size] for place in places])
            noise *= torch.from_numpy(scale[rows]).to(self._device)[:, None]
            index = torch.from_numpy(rows).to(self._device)
            state.z.index_add_(0, index, noise.view(-1, *self._noise.shape))
        return state

    def close(self) -> None:
        """Release the model; no other call may follow."""
        del self.model


def _padded(value: Tensor, spare: int) -> Tensor:
    return torch.cat((value, value[:1].expand(spare, *value.shape[1:]))) if spare else value


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number.isdigit() or device == "cuda"):
        raise InvalidInputError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {device!r}")
    if not torch.cuda.is_available():
        raise InvalidInputError(
            f"device={device!r} is not to be had: this PyTorch ({torch.__version__}) sees no CUDA"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InvalidInputError(
            f"device={device!r} is not to be had: CUDA devices go up to "
            f"cuda:{torch.cuda.device_count() - 1}"
        )
    return torch.device(device)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        warnings.warn(
            f"{torch.cuda.get_device_name(device)} has no bfloat16, running in float32",
            RuntimeWarning,
            3,
        )
        return False
    return True


def _compile(function: _StepFunction) -> Any:
    return torch.compile(function, mode="reduce-overhead", dynamic=False)
