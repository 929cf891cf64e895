"""OnnxRuntime: runs a ``step`` graph with onnxruntime; needs no PyTorch."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from trm_sdk.domains.data import GroupsOf
from trm_sdk.errors import CheckpointError, InvalidInputError, TRMError
from trm_sdk.messages import first_line, shown
from trm_sdk.runtimes.base import (
    NO_HEADS,
    Float32,
    Rows,
    StepInterruptedError,
    StepOutput,
    Tokens,
    best_batch_size,
)
from trm_sdk.runtimes.forks import NO_GPU_AFTER_FORK, abandon, tell_after_fork
from trm_sdk.runtimes.graph_session import IDENTIFIERS, OUTPUTS, group_input, open_step_graph
from trm_sdk.runtimes.noise import GaussianTables
from trm_sdk.runtimes.ort import import_onnxruntime
from trm_sdk.runtimes.threads import available_threads
from trm_sdk.runtimes.watchdog import INTERRUPTED, run_until
from trm_sdk.validation import checked_threads

#: Bytes of a graph up to which its batch, not its operators, is split between threads.
SMALL_GRAPH = 2 << 20
#: Bytes that the widest value between two operators takes there, over the rows of one call. With
#: more rows, values leave the core's cache before the next operator reads them; with fewer, the
#: overhead of a call weighs more, and Python's lock is taken more often. For the bundled models
#: within 3% of the best number of rows: `python -m benchmarks.rows_a_call`.
_BYTES_A_CALL = 1_100_000
_MOST_ROWS_A_CALL = 16


class OnnxState:
    """Rows on the host: the graph's inputs, under their own names.

    y and z are relative to the model's initial state, so that a start is zeros.
    """

    __slots__ = ("groups", "identifiers", "tokens", "y", "z")

    def __init__(
        self, tokens: Tokens, identifiers: Tokens, y: Any, z: Any, groups: Mapping[str, Float32]
    ) -> None:
        self.groups = groups  # by the names of the inputs; none where the graph has its own
        self.tokens = tokens
        self.identifiers = identifiers
        self.y = y  # a float32 array, or an OrtValue on the device
        self.z = z


class OnnxRuntime:
    """Runs supervision steps of a ``step`` graph; see `Runtime` for the protocol.

    Parameters
    ----------
    path : path
        A graph written by ``trm-export onnx --mode step``.
    device : {"auto", "cpu", "cuda", "tensorrt"}
        ``auto`` takes CUDA where the installed onnxruntime has it, the CPU otherwise. On CUDA the
        state stays on the device between steps. ``tensorrt`` is CUDA with TensorRT compiling what
        it can while loading and at each new batch size; `device` reads ``cuda`` then, too.
    threads : int, optional
        Threads within one operator. Default: as many as the process may use at once; see
        `available_threads`.

    Attributes
    ----------
    heads : tuple of str
        Auxiliary heads of the model that the graph gives (``trm-export onnx --head``).
    takes_groups : bool
        Whether puzzles may bring their own groups of cells (``trm-export onnx --groups``).

    Raises
    ------
    CheckpointError
        If the file is missing or corrupt, is not a ``step`` graph with a dynamic batch, or does
        what such a graph never does; see `open_step_graph`.
    InvalidInputError
        If `device` is invalid or unavailable, or `threads` is not positive.
    MissingDependencyError
        Without onnxruntime.

    Notes
    -----
    A forked process (``gunicorn --preload``, `multiprocessing`) can keep using a graph on the CPU.
    Where onnxruntime's own threads run it (above 2 MB, unless ``threads=1``), which do not survive
    a fork, the file is opened anew at the first step there. A forked process ends normally, by
    `sys.exit` too, as long as onnxruntime's telemetry is off; see `import_onnxruntime`.
    """

    name = "onnx"

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        ort = import_onnxruntime()
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"no graph at {path}")
        providers = choose_providers(device, ort.get_available_providers())
        if threads is None:
            threads = available_threads()
        threads = checked_threads(threads)
        # A small model's operators are too short to be worth splitting between threads: each thread
        # runs rows of its own there, a few at a time so that they stay in its cache. Measured on
        # two cores, 70 thousand parameters, batch 16: 0.72 ms a row; 1.3 with operators split.
        self._by_rows = path.stat().st_size < SMALL_GRAPH and providers == _PROVIDERS["cpu"]
        self._threads = threads
        self._pool: tuple[int, ThreadPoolExecutor] | None = None  # and the process it is of
        opened = open_step_graph(ort, path, providers, 1 if self._by_rows else threads)
        self._source = path.resolve()
        self._reopening: threading.Lock | None = None  # set in a forked process that must
        self._session, self.spec, self.heads, self.checksum = opened[:4]
        self.takes_groups = opened.groups is not None
        self._needs_groups = opened.groups == "required"
        self._outputs = (*OUTPUTS, *self.heads)
        taken = self._session.get_providers()
        check_providers(device, providers, taken)
        self.device = "cuda" if "CUDAExecutionProvider" in taken else "cpu"
        self._ort = ort
        self.batch_size = best_batch_size(self.spec.model, self.device)
        self._noise = GaussianTables()
        self._identified = self.spec.model.num_puzzle_identifiers > 1
        if self.device != "cpu" or (threads > 1 and not self._by_rows):
            tell_after_fork(self)

    def start(
        self,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> OnnxState:
        """Return the initial state for puzzles; see `Runtime.start`."""
        tokens = np.array(tokens, dtype=np.int32, order="C")  # its own: `restart` writes into it
        if identifiers is None:
            identifiers = np.zeros(len(tokens), np.int32)
        identifiers = np.array(identifiers, dtype=np.int32)
        board = tokens.shape[1:] if self.spec.model.any_size else None
        shape = (len(tokens), *self.spec.model.state_shape_of(board))
        y, z = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        return OnnxState(tokens, identifiers, y, z, self._fed(groups, len(tokens)))

    def _fed(self, groups: GroupsOf | None, batch: int) -> dict[str, Float32]:
        """Return groups as the graph's inputs; the model's own if none are given but required."""
        if groups is None and not self._needs_groups:
            return {}
        return {
            group_input(key): np.array(one, np.float32)
            for key, one in self._every_group(groups, batch).items()
        }

    def _every_group(self, groups: GroupsOf | None, batch: int) -> GroupsOf:
        structure = self.spec.model.structure
        if not self.takes_groups or structure is None:
            raise InvalidInputError(
                "this graph has its groups of cells built in; export it with groups as an input "
                "(trm-export onnx --groups optional)"
            )
        if groups is not None:
            return groups
        own = structure.memberships()
        return {key: np.broadcast_to(one, (batch, *one.shape)) for key, one in own.items()}

    def _feeds(self, state: OnnxState, rows: slice | None = None) -> dict[str, Any]:
        """Return the graph's inputs for all rows, or for some."""
        feeds = {"tokens": state.tokens, "y": state.y, "z": state.z}
        if self._identified:
            feeds[IDENTIFIERS] = state.identifiers
        if state.groups:
            feeds |= state.groups
        return feeds if rows is None else {name: value[rows] for name, value in feeds.items()}

    def step(self, state: OnnxState, deadline: float | None = None) -> StepOutput:
        """Take one supervision step of every row; see `Runtime.step`.

        An interrupted step ends between two operators of the graph.
        """
        if self._reopening is not None:
            self._open_again(self._reopening)
        try:
            if deadline is None:
                return self._step(state, None)
            with run_until(self._ort, deadline) as options:
                return self._step(state, options)
        except Exception as error:  # onnxruntime's exceptions have no common public base
            if self._session is None:
                raise TRMError("the model is closed; no step can be taken") from None
            message = first_line(error)
            if deadline is not None and INTERRUPTED in message:
                raise StepInterruptedError("a step was still running at its deadline") from None
            raise TRMError(f"onnxruntime failed in a step: {message}") from None

    def _step(self, state: OnnxState, options: Any) -> StepOutput:
        """Take a step with these `RunOptions`; the state changes once all of it is done."""
        if self.device == "cuda":
            return self._step_on_device(state, options)
        if self._by_rows and len(state.tokens) > 1:
            return self._step_by_rows(state, options)
        # One call, no binding: for arrays on the host onnxruntime neither copies the inputs
        # nor the outputs, and this is the cheapest way in (8 us measured).
        found = self._session.run(self._outputs, self._feeds(state), options)
        # A graph may give other sizes for some tokens than it gave in the trial step.
        for name, array, wanted in zip(self._outputs, found, self._sizes(state), strict=True):
            if array.shape != wanted:
                raise ValueError(f"output {name!r} has shape {array.shape}, not {wanted}")
        y, z, logits, halt_logit, *heads = found
        state.y, state.z = y, z
        return StepOutput(state, _flat(logits), halt_logit, self._named(heads))

    def _sizes(self, state: OnnxState) -> list[tuple[int, ...]]:
        """Return the shape of each output of a step."""
        board, batch, model = state.tokens.shape, (len(state.tokens),), self.spec.model
        heads = [(*board, model.heads[h]) if h in model.heads else batch for h in self.heads]
        return [state.y.shape, state.z.shape, (*board, model.outputs), batch, *heads]

    def _named(self, heads: Sequence[Float32]) -> Mapping[str, Float32]:
        """Return logits of heads, in the order of the graph's outputs, by name."""
        if not heads:
            return NO_HEADS
        return dict(zip(self.heads, map(_flat, heads), strict=True))

    def _step_by_rows(self, state: OnnxState, options: Any) -> StepOutput:
        """Take a step of a small model: parts of the batch run in parallel."""
        batch, model = len(state.tokens), self.spec.model
        y, z, logits, halt_logit, *heads = (
            np.empty(size, np.float32) for size in self._sizes(state)
        )
        at_once = rows_a_call(y[0].size // model.hidden_size, model.swiglu_size)

        def run(part: int) -> None:
            first, last = part * batch // parts, (part + 1) * batch // parts
            for start in range(first, last, at_once):
                rows = slice(start, min(start + at_once, last))
                y[rows], z[rows], logits[rows], halt_logit[rows], *found = self._session.run(
                    self._outputs, self._feeds(state, rows), options
                )
                for whole, part_of_it in zip(heads, found, strict=True):
                    whole[rows] = part_of_it

        parts = min(self._threads, batch)
        pool = self._thread_pool() if parts > 1 else None
        waiting = [pool.submit(run, part) for part in range(1, parts)] if pool else []
        run(0)  # this thread runs a part, too
        for one in waiting:
            one.result()
        state.y, state.z = y, z
        return StepOutput(state, _flat(logits), halt_logit, self._named(heads))

    def _thread_pool(self) -> ThreadPoolExecutor:
        """Return the threads that run rows: new ones in a forked process, which has none."""
        pool = self._pool
        if pool is None or pool[0] != os.getpid():
            # Two threads that come here at once make two pools; one of them is dropped when idle.
            made = ThreadPoolExecutor(self._threads, thread_name_prefix="trm-rows")
            self._pool = pool = (os.getpid(), made)
        return pool[1]

    def _step_on_device(self, state: OnnxState, options: Any) -> StepOutput:
        binding = self._session.io_binding()
        binding.bind_cpu_input("tokens", state.tokens)
        if self._identified:
            binding.bind_cpu_input(IDENTIFIERS, state.identifiers)
        for name, groups in state.groups.items():
            binding.bind_cpu_input(name, groups)
        for name in ("y", "z"):
            value = getattr(state, name)
            if isinstance(value, np.ndarray):
                value = self._ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0)
            binding.bind_ortvalue_input(name, value)
        for name in OUTPUTS[:2]:
            binding.bind_output(name, "cuda")
        for name in self._outputs[2:]:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, options)
        state.y, state.z, logits, halt_logit, *heads = binding.get_outputs()
        named = self._named([head.numpy() for head in heads])
        return StepOutput(state, _flat(logits.numpy()), halt_logit.numpy(), named)

    def restart(
        self,
        state: OnnxState,
        rows: Rows,
        tokens: Tokens,
        identifiers: Tokens | None = None,
        groups: GroupsOf | None = None,
    ) -> OnnxState:
        """Return the state in which these rows start anew; see `Runtime.restart`."""
        _to_host(state)
        state.tokens[rows] = tokens
        state.identifiers[rows] = 0 if identifiers is None else identifiers
        for name, fed in self._fed(groups, len(tokens)).items():
            state.groups[name][rows] = fed
        state.y[rows] = 0
        state.z[rows] = 0
        return state

    def inherit(self, state: OnnxState, rows: Rows, parents: OnnxState) -> OnnxState:
        """Return the state in which these rows have others' latents; see `Runtime.inherit`."""
        _to_host(state)
        _to_host(parents)
        state.y[rows] = parents.y
        state.z[rows] = parents.z
        return state

    def select(self, state: OnnxState, rows: Rows) -> OnnxState:
        """Return the state of these rows, in this order; rows may repeat."""
        _to_host(state)
        groups = {name: one[rows] for name, one in state.groups.items()}
        return OnnxState(
            state.tokens[rows], state.identifiers[rows], state.y[rows], state.z[rows], groups
        )

    def concatenate(self, states: Sequence[OnnxState]) -> OnnxState:
        """Return one state of all rows, in order."""
        for state in states:
            _to_host(state)
        return OnnxState(
            np.concatenate([state.tokens for state in states]),
            np.concatenate([state.identifiers for state in states]),
            np.concatenate([state.y for state in states]),
            np.concatenate([state.z for state in states]),
            {
                name: np.concatenate([state.groups[name] for state in states])
                for name in states[0].groups
            },
        )

    def perturb(
        self, state: OnnxState, scale: Float32, rngs: Sequence[np.random.Generator]
    ) -> OnnxState:
        """Add Gaussian noise of standard deviation `scale[row]` to z; see `Runtime.perturb`."""
        _to_host(state)
        for row in np.flatnonzero(scale).tolist():
            state.z[row] += scale[row] * self._noise.of(state.z.shape[1:]).draw(rngs[row])
        return state

    def forked(self) -> None:
        """Leave the session to the parent process: its threads are there."""
        if self._session is not None:
            abandon(self._session)
            self._session = None
            self._reopening = threading.Lock()

    def _open_again(self, lock: threading.Lock) -> None:
        """Open the graph for this process.

        Raises
        ------
        TRMError
            If it runs on a GPU, which a forked process can't use.
        CheckpointError
            If the file is gone, or holds another model by now.
        """
        if self.device != "cpu":
            raise TRMError(NO_GPU_AFTER_FORK)
        with lock:
            if self._reopening is None:
                return  # another thread was here first
            opened = open_step_graph(self._ort, self._source, _PROVIDERS["cpu"], self._threads)
            if (opened.checksum, opened.spec) != (self.checksum, self.spec):
                raise CheckpointError(
                    f"{self._source} holds another model than before this process was forked"
                )
            self._session = opened.session
            self._reopening = None

    def close(self) -> None:
        """Release the graph and its threads; only `close` may be called afterwards."""
        self._session = self._reopening = None
        if self._pool is not None and self._pool[0] == os.getpid():
            self._pool[1].shutdown()


def _flat(logits: Float32) -> Float32:
    """Return logits of shape (batch, N, outputs), whatever the board; (batch,) as they are."""
    return logits if logits.ndim in (1, 3) else logits.reshape(len(logits), -1, logits.shape[-1])


def _to_host(state: OnnxState) -> None:
    """Bring a state to the host, where numpy can rearrange its rows."""
    if not isinstance(state.y, np.ndarray):
        state.y, state.z = state.y.numpy(), state.z.numpy()
    elif not state.y.flags.writeable:
        state.y, state.z = state.y.copy(), state.z.copy()


_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


def rows_a_call(positions: int, swiglu_size: int) -> int:
    """Return how many rows of a small model one call of onnxruntime computes.

    Parameters
    ----------
    positions : int
        Of a row's state: cells, or (cell, value) pairs.
    swiglu_size : int
        Width of the network's SwiGLU, whose two halves are the widest value.
    """
    widest = 4 * positions * 2 * swiglu_size
    return min(max(round(_BYTES_A_CALL / widest), 1), _MOST_ROWS_A_CALL)


def choose_providers(device: str, available: Sequence[str]) -> list[str]:
    """Return execution providers in order of preference; refuse what this onnxruntime lacks."""
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in available else "cpu"
    if device not in _PROVIDERS:
        hint = ""
        if str(device).startswith("cuda:"):
            hint = "; for another GPU than the first use runtime='torch', or CUDA_VISIBLE_DEVICES"
        raise InvalidInputError(
            f"device must be 'auto', 'cpu', 'cuda' or 'tensorrt'; got {shown(device)}{hint}"
        )
    missing = [name for name in _PROVIDERS[device] if name not in available]
    if missing:
        raise InvalidInputError(
            f"device={shown(device)} is unavailable: this onnxruntime build supports only "
            f"{_short(available)} (missing: {_short(missing)}); install onnxruntime-gpu, or "
            "PyTorch with CUDA and use runtime='torch'"
        )
    return list(_PROVIDERS[device])


def check_providers(device: str, asked: Sequence[str], taken: Sequence[str]) -> None:
    """Warn or refuse where onnxruntime went on without a provider that failed to load."""
    lost = [name for name in asked if name not in taken]
    if not lost:
        return
    cause = (
        f"{_short(lost)} could not be loaded (a CUDA, cuDNN or TensorRT library is missing, or of "
        "another version)"
    )
    if device == "auto":
        warnings.warn(f"{cause}; running on the CPU", RuntimeWarning, stacklevel=3)
        return
    raise InvalidInputError(
        f"device={shown(device)} is unavailable: {cause}; only {_short(taken)} could be loaded"
    )


def _short(providers: Sequence[str]) -> str:
    return ", ".join(name.removesuffix("ExecutionProvider") for name in providers)


__all__ = [
    "SMALL_GRAPH",
    "OnnxRuntime",
    "OnnxState",
    "check_providers",
    "choose_providers",
    "rows_a_call",
]
