"""TorchRuntime: runs the PyTorch modules themselves; for CUDA, and for models not yet exported."""

from __future__ import annotations

import contextlib
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trm_sdk.domains.data import GroupsOf
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.messages import shown
from trm_sdk.model.config import DEAD_END
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.structured import StructuredNetwork
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.base import (
    NO_HEADS,
    Float32,
    Rows,
    StepOutput,
    Tokens,
    best_batch_size,
)
from trm_sdk.runtimes.forks import NO_GPU_AFTER_FORK, tell_after_fork
from trm_sdk.runtimes.noise import GaussianTables
from trm_sdk.validation import checked_threads

#: Batch sizes that buffers are made for; beyond the last, powers of two.
_SIZES = (1, 2, 4, 8, 16, 64, 256)

#: Held while a CUDA graph is recorded: what begins a recording waits for the whole device, which
#: breaks any other that is under way.
_RECORDING = threading.Lock()

#: From x, y, z and groups to the next y and z, logits, halting logits, and logits of heads.
_StepFunction = Callable[..., tuple[Tensor, ...]]


class TorchState:
    """Rows on the device: the embedded puzzle x, the answer y, the latent z, and groups of cells.

    Groups are of shape (batch, groups, cells), one tensor a weights key of the structure, in order;
    none where the structure's own hold. Where steps run in buffers of fixed size, all are views of
    those while the state lives there (see `_Buffers`), and tensors of its own before and after.
    """

    __slots__ = ("__weakref__", "groups", "x", "y", "z")

    def __init__(self, x: Tensor, y: Tensor, z: Tensor, groups: tuple[Tensor, ...] = ()) -> None:
        self.x, self.y, self.z, self.groups = x, y, z, groups

    def tensors(self) -> tuple[Tensor, ...]:
        """Return x, y, z and the groups."""
        return self.x, self.y, self.z, *self.groups

    def take(self, tensors: Sequence[Tensor]) -> None:
        """Replace all tensors, given in the order of `tensors`."""
        self.x, self.y, self.z, *groups = tensors
        self.groups = tuple(groups)


class _Buffers:
    """Buffers for batches of up to `rows` rows, and a step over all of them.

    A compiled step and a CUDA graph are made for one batch size, and a graph for fixed addresses.
    So a state is copied in: from then on its tensors are views of the buffers, and a step copies
    nothing. The buffers hold one state at a time; before another is copied in, the first gets
    tensors of its own. Not for use by several threads at once.
    """

    def __init__(self, step: _StepFunction, like: TorchState, rows: int) -> None:
        self._step = step
        self._all = tuple(
            torch.zeros((rows, *value.shape[1:]), dtype=value.dtype, device=value.device)
            for value in like.tensors()
        )
        self.x, self.y, self.z = self._all[:3]
        self._tenant: weakref.ref[TorchState] | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, ...] | None = None  # written by every replay

    def run(self, state: TorchState) -> tuple[Tensor, ...]:
        """Take one step of a state, which stays in the buffers.

        Returns logits, halting logits and logits of heads; the next step overwrites them.
        """
        self._admit(state)
        if self._graph is not None and self._outputs is not None:
            self._graph.replay()
            outputs = self._outputs
        elif self.x.is_cuda:
            outputs = self._record()
        else:
            outputs = self._advance()
        rows = len(state.x)
        return tuple(output[:rows] for output in outputs)

    def evict(self) -> None:
        """Give the state in the buffers tensors of its own."""
        tenant = None if self._tenant is None else self._tenant()
        if tenant is not None:
            tenant.take([one.clone() for one in tenant.tensors()])
        self._tenant = None

    def _admit(self, state: TorchState) -> None:
        if self._tenant is not None and self._tenant() is state:
            return
        self.evict()
        rows = len(state.x)
        for buffer, value in zip(self._all, state.tensors(), strict=True):
            buffer[:rows] = value
            buffer[rows:] = value[:1]  # padding rows: values are ignored but must be finite
        state.take([buffer[:rows] for buffer in self._all])
        self._tenant = weakref.ref(state)

    def _advance(self) -> tuple[Tensor, ...]:
        y, z, *outputs = self._step(*self._all)
        self.y.copy_(y)
        self.z.copy_(z)
        return tuple(outputs)

    def _record(self) -> tuple[Tensor, ...]:
        """Take the first step as a CUDA graph, and make sure that it does what it should.

        Raises
        ------
        RuntimeError
            If the step can't be recorded, or comes out different; y and z are what they were.
        """
        y, z = self.y.clone(), self.z.clone()
        try:
            with _RECORDING, torch.cuda.device(self.x.device):
                # Libraries set themselves up in their first calls, which must not be recorded.
                side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(3):
                        expected = self._step(*self._all)
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                # Another thread's Solver may allocate meanwhile, which must not end the recording.
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    outputs = self._advance()
                graph.replay()
                got = (self.y, self.z, *outputs)
                if not all(
                    torch.allclose(one, other, rtol=1e-3, atol=1e-3)
                    for one, other in zip(got, expected, strict=True)
                ):
                    raise RuntimeError("the recorded step gives other results than the step itself")
        except Exception:
            self.y.copy_(y)
            self.z.copy_(z)
            raise
        self._graph, self._outputs = graph, outputs
        return outputs


class TorchRuntime:
    """Runs supervision steps of a `TRM`; see `Runtime` for the protocol.

    Parameters
    ----------
    model : TRM
        Is moved to `device` and put into evaluation mode.
    spec : ModelSpec
    device : {"auto", "cpu", "cuda"} or "cuda:N"
        ``auto`` takes CUDA if available.
    threads : int, optional
        Threads of PyTorch's own pool, which the whole process shares. Default: unchanged.
    precision : {"float32", "bfloat16"}
        Of the matrix products; states and normalisation stay in float32.
    compile : bool
        Fuse a step with ``torch.compile``. The first step of every batch size (of 1, 2, 4, 8, 16,
        64, 256 …; batches are padded to the next) takes seconds to compile.
    heads : sequence of str, optional
        Further heads of the model that every step gives. Default: those that solving reads
        (`ModelSpec.solving_heads`).

    Notes
    -----
    On CUDA a step is recorded as one CUDA graph for each of those batch sizes, and the state stays
    in its buffers. Where compiling or recording fails, or a recorded step gives other results than
    the step itself, a warning says why and the step runs without. A forked process can't use the
    GPU: steps there raise `TRMError`.

    Raises
    ------
    InvalidInputError
        If an argument has an invalid value, the model lacks a head, or the device is unavailable.
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
        heads: Sequence[str] | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(checked_threads(threads))
        if precision not in ("float32", "bfloat16"):
            raise InvalidInputError(
                f"precision must be 'float32' or 'bfloat16'; got {shown(precision)}"
            )
        self.heads = _checked_heads(spec, heads)
        self._device = choose_device(device)
        self.device = self._device.type
        self.spec = spec
        self.model = model.to(self._device).eval()
        self.takes_groups = spec.model.takes_groups
        structure = spec.model.structure
        self._keys = () if structure is None else tuple(structure.groups_by_key())
        self._closed = False
        self._bfloat16 = precision == "bfloat16" and _has_bfloat16(self._device)
        self.batch_size = best_batch_size(spec.model, self.device)
        self._noise = GaussianTables()
        self._numbers: dict[tuple[int, ...], Tensor] = {}
        self._compiled: _StepFunction | None = None
        if compile:
            self._compiled = torch.compile(self._step_rows, dynamic=False)
        self._forked = False
        if self.device == "cuda":
            tell_after_fork(self)
        self._in_buffers = compile or self.device == "cuda"
        self._buffers: dict[tuple[int, ...], _Buffers] = {}
        # States share buffers, and take turns; a state that must move out of them does so in
        # another state's step.
        self._lock: contextlib.AbstractContextManager[Any] = (
            threading.RLock() if self._in_buffers else contextlib.nullcontext()
        )

    def _step_rows(self, x: Tensor, y: Tensor, z: Tensor, *groups: Tensor) -> tuple[Tensor, ...]:
        by_key = dict(zip(self._keys, groups, strict=True)) if groups else None
        with torch.autocast(self.device, torch.bfloat16, enabled=self._bfloat16):
            state = self.model.recurse(x, State(y, z), groups=by_key)
            logits, halt_logit = self.model.network.readout(state.y)
            heads: tuple[Tensor, ...] = ()
            if self.heads:
                network = self.model.network
                assert isinstance(network, StructuredNetwork)  # others have no heads
                found = network.auxiliary(state.y, self.heads)
                heads = tuple(
                    one if name == DEAD_END else one.flatten(1, -2) for name, one in found.items()
                )
        return state.y.float(), state.z.float(), logits.flatten(1, -2), halt_logit, *heads

    @torch.inference_mode()
    def start(
        self,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> TorchState:
        """Return the initial state for puzzles; see `Runtime.start`."""
        self._check_process()
        on_device = torch.from_numpy(np.ascontiguousarray(tokens, np.int32)).to(self._device)
        rows = None
        if identifiers is not None:
            rows = torch.from_numpy(np.ascontiguousarray(identifiers, np.int32)).to(self._device)
        board = tuple(tokens.shape[1:]) if self.spec.model.any_size else None
        given: tuple[Tensor, ...] = ()
        if groups is not None:
            if not self.takes_groups:
                raise InvalidInputError("this model takes no groups of cells")
            given = tuple(
                torch.from_numpy(np.array(groups[key], np.float32)).to(self._device)
                for key in self._keys
            )
        with self._lock:
            y, z = self.model.initial_state(len(tokens), board)
            # The puzzle does not change from step to step, so it is embedded once.
            x = self.model.network.embed(on_device, rows)
            return TorchState(x, y.clone(), z.clone(), given)

    @torch.inference_mode()
    def step(self, state: TorchState, deadline: float | None = None) -> StepOutput:
        """Take one supervision step of every row; one that has begun is finished."""
        if self._closed:
            raise TRMError("the model is closed; no step can be taken")
        self._check_process()
        with self._lock:
            return self._advance(state)

    def _advance(self, state: TorchState) -> StepOutput:
        if not self._in_buffers:
            state.y, state.z, *outputs = self._step_rows(*state.tensors())
            return self._on_host(state, *outputs)
        try:
            return self._on_host(state, *self._buffers_for(state).run(state))
        except Exception as error:  # whatever compilers and drivers raise
            self._fall_back(error)
        return self._advance(state)

    def _on_host(
        self, state: TorchState, logits: Tensor, halt_logit: Tensor, *heads: Tensor
    ) -> StepOutput:
        found = _to_host((logits, halt_logit, *heads))
        named: Mapping[str, Float32] = NO_HEADS
        if heads:
            named = dict(zip(self.heads, found[2:], strict=True))
        return StepOutput(state, found[0], found[1], named)

    def _buffers_for(self, state: TorchState) -> _Buffers:
        size = _padded_size(len(state.x))
        key = (size, *state.y.shape[1:], *(one.shape[1] for one in state.groups))
        if key not in self._buffers:
            self._buffers[key] = _Buffers(self._compiled or self._step_rows, state, size)
        return self._buffers[key]

    def _fall_back(self, error: Exception) -> None:
        """Give up compiling, or else recording; states leave the buffers, and steps go on."""
        for buffers in self._buffers.values():
            buffers.evict()
        self._buffers.clear()
        if self._compiled is not None:
            self._compiled, what, how = None, "torch.compile", "uncompiled"
            self._in_buffers = self.device == "cuda"
        else:
            self._in_buffers, what, how = False, "recording a CUDA graph", "without"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        warnings.warn(f"{what} failed, running {how}: {lines[0]}", RuntimeWarning, stacklevel=5)

    @torch.inference_mode()
    def restart(
        self,
        state: TorchState,
        rows: Rows,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> TorchState:
        """Return the state in which these rows start anew; see `Runtime.restart`."""
        fresh = self.start(tokens, identifiers, groups)
        index = torch.from_numpy(rows).to(self._device)
        with self._lock:
            for old, new in zip(state.tensors(), fresh.tensors(), strict=True):
                old[index] = new
        return state

    @torch.inference_mode()
    def inherit(self, state: TorchState, rows: Rows, parents: TorchState) -> TorchState:
        """Return the state in which these rows have others' latents; see `Runtime.inherit`."""
        index = torch.from_numpy(rows).to(self._device)
        with self._lock:
            state.y[index] = parents.y
            state.z[index] = parents.z
        return state

    @torch.inference_mode()
    def select(self, state: TorchState, rows: Rows) -> TorchState:
        """Return the state of these rows, in this order; rows may repeat."""
        index = torch.from_numpy(rows).to(self._device)
        with self._lock:
            x, y, z, *groups = (one[index] for one in state.tensors())
            return TorchState(x, y, z, tuple(groups))

    @torch.inference_mode()
    def concatenate(self, states: Sequence[TorchState]) -> TorchState:
        """Return one state of all rows, in order."""
        with self._lock:
            parts = zip(*(state.tensors() for state in states), strict=True)
            x, y, z, *groups = map(torch.cat, map(list, parts))
            return TorchState(x, y, z, tuple(groups))

    @torch.inference_mode()
    def perturb(
        self, state: TorchState, scale: Float32, rngs: Sequence[np.random.Generator]
    ) -> TorchState:
        """Add Gaussian noise of standard deviation `scale[row]` to z; see `Runtime.perturb`."""
        rows = np.flatnonzero(scale)
        if not len(rows):
            return state
        shape = tuple(state.z.shape[1:])
        table = self._noise.of(shape)
        places = [table.place(rngs[row]) for row in rows.tolist()]
        with self._lock:
            if shape not in self._numbers:  # the table moves to the device once, its parts never
                self._numbers[shape] = torch.tensor(table.numbers, device=self._device)
            numbers = self._numbers[shape]
            noise = torch.stack([numbers[place : place + table.size] for place in places])
            noise *= torch.from_numpy(scale[rows]).to(self._device)[:, None]
            index = torch.from_numpy(rows).to(self._device)
            state.z.index_add_(0, index, noise.view(-1, *shape))
        return state

    def forked(self) -> None:
        """Leave the GPU to the parent process."""
        self._forked = True

    def _check_process(self) -> None:
        if self._forked:  # before the lock, which another thread may have held at the fork
            raise TRMError(NO_GPU_AFTER_FORK)

    def close(self) -> None:
        """Release the model; only `close` may be called afterwards."""
        if not self._closed:
            self._closed = True
            self._buffers.clear()
            self._numbers.clear()
            self._compiled = None
            del self.model


def _padded_size(rows: int) -> int:
    """Return the buffer size for a batch.

    One of a few, because each is compiled and recorded by itself, and PyTorch gives up on a
    function that it had to compile more than eight times.
    """
    return next((size for size in _SIZES if size >= rows), 1 << (rows - 1).bit_length())


def _to_host(outputs: Sequence[Tensor]) -> list[Float32]:
    if not outputs[0].is_cuda:
        return [output.numpy() for output in outputs]
    # One transfer for all, because each would wait for the device.
    together = torch.cat([output.flatten() for output in outputs]).cpu().numpy()
    parts = np.split(together, np.cumsum([output.numel() for output in outputs])[:-1])
    return [part.reshape(output.shape) for part, output in zip(parts, outputs, strict=True)]


def _checked_heads(spec: ModelSpec, heads: Sequence[str] | None) -> tuple[str, ...]:
    if heads is None:
        return spec.solving_heads()
    there = spec.model.head_names
    if isinstance(heads, str) or any(name not in there for name in heads):
        names = ", ".join(map(repr, there)) or "none"
        raise InvalidInputError(
            f"heads must be among those of the model ({names}); got {shown(heads)}"
        )
    return tuple(heads)


def choose_device(device: str) -> torch.device:
    """Return the device of a name: ``auto`` (CUDA if available), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    InvalidInputError
        If the name is invalid, or the device is unavailable.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    kind, _, number = str(device).partition(":")
    if kind != "cuda" or not ((number.isascii() and number.isdigit()) or device == "cuda"):
        raise InvalidInputError(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {shown(device)}"
        )
    if not torch.cuda.is_available():
        raise InvalidInputError(
            f"device={shown(device)} is unavailable: this PyTorch ({torch.__version__}) finds no "
            "CUDA"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InvalidInputError(
            f"device={shown(device)} is unavailable: the last CUDA device is "
            f"cuda:{torch.cuda.device_count() - 1}"
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        warnings.warn(
            f"{torch.cuda.get_device_name(device)} has no bfloat16, running in float32",
            RuntimeWarning,
            3,
        )
        return False
    return True
