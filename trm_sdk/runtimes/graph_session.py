"""From a graph file to a session that can be trusted to return what a step returns.

In this order: the file is walked (`graph_file`), its spec read, one step of one row tried in a
session with little memory and little time, and only then is the session made that will solve.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from trm_sdk.errors import CheckpointError
from trm_sdk.messages import first_line, shown
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.graph_file import read_graph, require_step
from trm_sdk.runtimes.watchdog import INTERRUPTED, run_until

INPUTS = ("tokens", "y", "z")
IDENTIFIERS = "puzzle_identifiers"
_GROUPS = "groups."
OUTPUTS = ("next_y", "next_z", "logits", "halt_logit")
#: Bytes of intermediate values that the trial step may have.
TRIAL_MEMORY = 256 << 20
#: Seconds that the trial step may take.
TRIAL_SECONDS = 1.5
#: Beyond so many floating-point operations a step (the 9x9 model's has 0.02e9), the trial step need
#: not finish: it is stopped after so many seconds, and the graph accepted, because opening a model
#: should not take as long as using it.
_LARGE_STEP, _LARGE_SECONDS = 0.2e9, 0.3
_CPU = ["CPUExecutionProvider"]


def group_input(key: str) -> str:
    """Return the name of the input that takes the groups of a key of weights."""
    return _GROUPS + key


class StepSession(NamedTuple):
    """A step graph, ready to run.

    Attributes
    ----------
    session : onnxruntime.InferenceSession
    spec : ModelSpec
    heads : tuple of str
        Auxiliary heads of the model that are outputs of the graph.
    checksum : str
        SHA-256 of the weights, as the graph states it; empty where it doesn't.
    groups : {"optional", "required"} or None
        Whether the groups of cells are inputs, with or without defaults; None: they are built in.
    """

    session: Any
    spec: ModelSpec
    heads: tuple[str, ...]
    checksum: str
    groups: Literal["optional", "required"] | None = None


def open_step_graph(ort: Any, path: Path, providers: Sequence[str], threads: int) -> StepSession:
    """Open a graph of mode ``step``, after checking everything that can be checked beforehand.

    Parameters
    ----------
    ort : module
        onnxruntime.
    path : path
    providers : sequence of str
        Execution providers, in order of preference.
    threads : int
        Threads within one operator.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged; reaches for other files; has control flow, functions or
        operators that no step graph has; is not of mode ``step``; takes or gives other arrays than
        its spec asks for; or takes too much memory or time for one row.
    """
    graph = read_graph(path)
    require_step(graph)
    spec = ModelSpec.from_json(graph.metadata["trm_spec"], path)
    try_step(ort, graph.data, spec, path)
    session = _open(ort, graph.data, path, _options(ort, threads), providers)
    heads = heads_given((value.name for value in session.get_outputs()), spec.model)
    checksum = graph.metadata.get("weights_sha256", "")
    groups: Literal["optional", "required"] | None = None
    if any(value.name.startswith(_GROUPS) for value in session.get_inputs()):
        groups = "required"
    elif session.get_overridable_initializers():
        groups = "optional"
    return StepSession(session, spec, heads, checksum, groups)


def try_step(ort: Any, data: bytes, spec: ModelSpec, path: Path) -> None:
    """Take one step of one row on the CPU, with bounds on memory and time.

    Raises
    ------
    CheckpointError
        If it fails, or what it takes or gives differs from what the spec asks for.
    """
    options = _options(ort, 1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    if _widest_bytes(spec.model) < TRIAL_MEMORY // 8 and _has_small_memory(ort):
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Weights lie elsewhere, so that the bound is for what a step makes.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    session = _open(ort, data, path, options, _CPU)
    inputs, outputs = _signature(session, path)
    groups = _checked_groups(session, inputs, spec, path)
    board = spec.model.token_shape_of(spec.grid_shape)
    state = spec.model.state_shape_of(spec.grid_shape)
    heads = spec.model.head_shapes(spec.grid_shape)
    _check_inputs(inputs, spec, path)
    wanted = {
        "next_y": state,
        "next_z": state,
        "logits": (*board, spec.model.outputs),
        "halt_logit": (),
        **{name: heads[name] for name in heads_given(outputs, spec.model)},
    }
    _check_outputs(outputs, wanted, inputs, path)
    large = _step_operations(spec.model) > _LARGE_STEP
    try:
        # Every token that there is: what a graph does may depend on them.
        tokens = np.arange(prod(board), dtype=np.int32) % spec.model.vocab_size
        feeds = {"tokens": tokens.reshape(1, *board)}
        feeds |= {name: np.zeros((1, *state), np.float32) for name in ("y", "z")}
        if IDENTIFIERS in inputs:
            feeds[IDENTIFIERS] = np.zeros(1, np.int32)
        feeds |= groups
        seconds = _LARGE_SECONDS if large else TRIAL_SECONDS
        with run_until(ort, perf_counter() + seconds) as run_options:
            run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            found = session.run(list(wanted), feeds, run_options)
    except MemoryError as error:
        raise CheckpointError(f"{path}: one step is too large: {first_line(error)}") from None
    except Exception as error:  # onnxruntime's exceptions have no common public base
        message = first_line(error)
        if INTERRUPTED in message:
            if large:
                return  # its signature is right, and nothing went wrong so far
            message = f"one row was not done after {TRIAL_SECONDS} s"
        elif "Available memory" in message:
            message = f"one row takes more than {TRIAL_MEMORY >> 20} MB"
        raise CheckpointError(f"{path}: one step fails: {message}") from None
    for (name, sizes), array in zip(wanted.items(), found, strict=True):
        shape = (1, *sizes)
        if getattr(array, "shape", None) != shape or array.dtype != np.float32:
            got = f"{array.dtype} of shape {array.shape}" if hasattr(array, "dtype") else "no array"
            raise CheckpointError(
                f"{path}: output {name!r} of one row is {got}; its spec asks for float32 of shape "
                f"{shape}"
            )


def heads_given(outputs: Iterable[str], model: ModelConfig) -> tuple[str, ...]:
    """Return which of these outputs of a graph are further heads of its model."""
    there = set(outputs) - set(OUTPUTS)
    return tuple(name for name in model.head_names if name in there)


def _options(ort: Any, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait cost more than they gain as soon as anything else runs: a
    # second Solver, a web server, another process (measured: steps three times as long).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise a file that begins like one is read in ORT format, which `graph_file` doesn't check.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 3  # errors only: they come as exceptions as well
    return options


def _open(ort: Any, data: bytes, path: Path, options: Any, providers: Sequence[str]) -> Any:
    try:
        # The fallback would try again with other providers, and say so on standard output.
        return ort.InferenceSession(data, options, providers=list(providers), enable_fallback=False)
    except Exception as error:  # onnxruntime's exceptions have no common public base
        raise CheckpointError(f"{path} is not a runnable ONNX graph: {first_line(error)}") from None


class _Value(NamedTuple):
    """Type and shape of an input or output; dynamic sizes have names, or None."""

    type: str
    shape: tuple[int | str | None, ...]


def _signature(session: Any, path: Path) -> tuple[dict[str, _Value], dict[str, _Value]]:
    try:
        inputs, outputs = (
            {value.name: _Value(value.type, tuple(value.shape)) for value in values}
            for values in (session.get_inputs(), session.get_outputs())
        )
    except Exception as error:  # such as a name that is not text
        raise CheckpointError(f"{path} is not a runnable ONNX graph: {first_line(error)}") from None
    return inputs, outputs


def _checked_groups(
    session: Any, inputs: dict[str, _Value], spec: ModelSpec, path: Path
) -> dict[str, Any]:
    """Return the model's own groups for the inputs that take such, and leave these out of `inputs`.

    They are all inputs, or all have defaults that an input overrides; nothing else has.
    """
    structure = spec.model.structure if spec.model.takes_groups else None
    own = {} if structure is None else structure.memberships()
    wanted = {group_input(key): one[None].astype(np.float32) for key, one in own.items()}
    needed = {name: inputs.pop(name) for name in list(inputs) if name.startswith(_GROUPS)}
    found = needed | {
        value.name: _Value(value.type, tuple(value.shape))
        for value in session.get_overridable_initializers()
    }
    if not found:
        return {}
    if set(found) != set(wanted) or len(needed) not in (0, len(wanted)):
        raise CheckpointError(
            f"{path} takes {shown(sorted(found))} beside its other inputs; a step graph of this "
            f"model may take {sorted(wanted) or 'none'}"
        )
    for name, (kind, shape) in found.items():
        cells = spec.model.seq_len
        if kind != "tensor(float)" or len(shape) != 3 or shape[2] != cells or _fixed(shape[:2]):
            raise CheckpointError(
                f"{path}: input {name!r} is a {kind} of shape {shown(shape)}; groups are a "
                f"tensor(float) of shape (batch, groups, {cells})"
            )
    return wanted


def _fixed(sizes: Iterable[int | str | None]) -> bool:
    return any(isinstance(size, int) for size in sizes)


def _check_inputs(inputs: Mapping[str, _Value], spec: ModelSpec, path: Path) -> None:
    model = spec.model
    expected = [*INPUTS, *([IDENTIFIERS] if model.num_puzzle_identifiers > 1 else [])]
    if set(inputs) != set(expected):
        raise CheckpointError(
            f"{path} takes {shown(sorted(inputs))}; a step graph of this model takes {expected}"
        )
    board, state = model.token_shape_of(spec.grid_shape), model.state_shape
    kinds = {"tokens": "tensor(int32)", "y": "tensor(float)", "z": "tensor(float)"}
    for name, sizes in (("tokens", board), ("y", state), ("z", state)):
        kind, shape = inputs[name]
        batch, rest = (shape[0], shape[1:]) if shape else (None, ())
        if model.any_size:  # rows and columns have names, not sizes
            sizes = tuple(sizes[2:])
            rest = rest[2:] if all(isinstance(size, str) for size in rest[:2]) else rest
        if isinstance(batch, int):
            raise CheckpointError(
                f"{path} has a fixed batch of {batch}; the Solver needs a dynamic one"
            )
        if rest != sizes:
            raise CheckpointError(
                f"{path}: input {name!r} has shape {_sizes(rest)}; its spec asks for "
                f"{_sizes(sizes)}"
            )
        if kind != kinds[name]:
            raise CheckpointError(
                f"{path}: input {name!r} is a {kind}; a step graph's is a {kinds[name]}"
            )


def _check_outputs(
    outputs: Mapping[str, _Value],
    wanted: Mapping[str, tuple[int, ...]],
    inputs: Mapping[str, _Value],
    path: Path,
) -> None:
    if not set(OUTPUTS) <= set(outputs):
        raise CheckpointError(
            f"{path} takes {shown(sorted(inputs))} and gives {shown(sorted(outputs))}; a step "
            f"graph of this model gives {list(OUTPUTS)}"
        )
    for name, sizes in wanted.items():
        kind, shape = outputs[name]
        if kind != "tensor(float)":
            raise CheckpointError(
                f"{path}: output {name!r} is a {kind}; a step graph's is a tensor(float)"
            )
        # An unknown shape looks like a scalar's; the trial step tells them apart.
        fits = not shape or (
            len(shape) == 1 + len(sizes)
            and not isinstance(shape[0], int)
            and all(
                size == wish or not isinstance(size, int)
                for size, wish in zip(shape[1:], sizes, strict=True)
            )
        )
        if not fits:
            raise CheckpointError(
                f"{path}: output {name!r} has shape {shown(shape)}; its spec asks for "
                f"{_sizes(sizes)}"
            )


def _sizes(sizes: Sequence[int | str | None]) -> str:
    return f"({', '.join(['batch', *map(str, sizes)])})"


def _nodes(model: ModelConfig) -> int:
    """Return how many positions of a row the network computes: cells, or (cell, value) pairs."""
    return prod(model.state_shape[:-1])


def _widest_bytes(model: ModelConfig) -> int:
    """Estimate the bytes of the largest value between two operators, for one row."""
    nodes = _nodes(model)
    scores = model.num_heads * nodes * nodes if model.mixer == "attention" else 0
    return 4 * max(scores, nodes * 2 * model.swiglu_size)


def _step_operations(model: ModelConfig) -> float:
    """Estimate the floating-point operations of one step of one row."""
    nodes, width = _nodes(model), model.hidden_size
    mixing = 8 * width * width + 4 * nodes * width if model.mixer != "structured" else 8 * width
    a_pass = model.L_layers * nodes * (6.0 * width * model.swiglu_size + mixing)
    return a_pass * model.passes


_small_memory: bool | None = None
_small_memory_lock = threading.Lock()


def _has_small_memory(ort: Any) -> bool:
    """Return whether this process has an allocator of `TRIAL_MEMORY` bytes, made on first use.

    Only sessions that ask for the allocators of the process use it.
    """
    global _small_memory
    with _small_memory_lock:
        if _small_memory is None:
            try:
                kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
                memory = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
                limits = {"max_mem": TRIAL_MEMORY, "arena_extend_strategy": 1}
                limits |= {"initial_chunk_size_bytes": 1 << 20, "max_dead_bytes_per_chunk": -1}
                ort.create_and_register_allocator(memory, ort.OrtArenaCfg(limits))
                _small_memory = True
            except Exception:  # the application's own allocator, or a build without arenas
                _small_memory = False
        return _small_memory
