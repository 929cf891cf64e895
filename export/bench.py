"""How long a graph takes, and how much arithmetic a step is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from trm_sdk.model.config import rounded_swiglu
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.structure import Offsets

from .builder import Array
from .errors import ExportError
from .graph_file import fixed_batch, metadata, needed_inputs
from .message import own_groups
from .quantize import ROUNDS_ACTIVATIONS
from .sessions import run_session, session


@dataclass(frozen=True)
class Timing:
    """Latency of one call, in milliseconds.

    Attributes
    ----------
    mode, precision : str
    batch, threads, steps, calls : int
        `steps`: supervision steps a call; `calls`: how many were timed.
    p50, p90, p99, fastest : float
    """

    mode: str
    precision: str
    batch: int
    threads: int
    steps: int
    calls: int
    p50: float
    p90: float
    p99: float
    fastest: float


def feeds(
    graph: onnx.ModelProto,
    batch: int,
    steps: int,
    tokens: Array | None = None,
    *,
    identifiers: Array | None = None,
    board: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """Return inputs for a graph of any mode: `tokens`, or random ones, and zero states.

    Random ones are on boards of the model's own shape, or of `board` where the graph takes any.
    """
    spec = ModelSpec.from_json(metadata(graph)["trm_spec"], "the graph")
    config = spec.model
    if tokens is None:
        rng = np.random.default_rng(0)
        shape = config.token_shape_of(board or spec.grid_shape)
        tokens = rng.integers(0, config.vocab_size, (batch, *shape)).astype(np.int32)
    inner = config.state_shape
    if config.any_size:
        inner = config.state_shape_of((tokens.shape[1], tokens.shape[2]))
    state = np.zeros((batch, *inner), np.float32)
    everything: dict[str, Array] = {
        "tokens": tokens,
        "puzzle_identifiers": np.zeros(batch, np.int32) if identifiers is None else identifiers,
        "y": state,
        "z": state,
        "max_steps": np.array(steps, np.int64),
        "halt_threshold": np.array(1, np.float32),
    }
    everything |= own_groups(config)
    return {name: everything[name] for name in needed_inputs(graph)}


def bench_graph(
    graph: onnx.ModelProto,
    *,
    batch: int = 1,
    threads: int = 1,
    steps: int | None = None,
    seconds: float = 3.0,
    device: str = "cpu",
    spin: bool = False,
    board: tuple[int, int] | None = None,
) -> Timing:
    """Time calls of a graph under onnxruntime.

    Parameters
    ----------
    graph : ModelProto
        Of any mode and precision.
    batch, threads : int
    steps : int, optional
        Supervision steps of a ``loop`` graph; default the model's own. No example halts early. The
        other modes take the number they were made for.
    seconds : float
        Call for about so long, and at least five times after a warm-up of two.
    device, spin
        See `export.sessions.session`. Inputs and outputs cross over in every call on a GPU: what a
        `Solver` takes there, which leaves the state on it, is less.
    board : (rows, columns), optional
        Of the puzzles, for a graph of any size; default its model's usual shape.

    Raises
    ------
    ExportError
        If the graph was made for another batch size or number of steps, or does not run.
    InvalidInputError
        If the device is unavailable.
    """
    check_seconds(seconds)
    properties = metadata(graph)
    config = ModelSpec.from_json(properties["trm_spec"], "the graph").model
    if board is not None and not config.any_size:
        raise ExportError("board is for graphs that take boards of any size; this one does not")
    mode = properties["trm_mode"]
    fixed = fixed_batch(graph)
    if fixed and fixed != batch:
        raise ExportError(f"the graph is made for batches of {fixed}; got {batch}")
    own = {"step": 1, "unroll": int(properties.get("max_steps", 1))}.get(mode)
    if own is not None and steps not in (None, own):
        raise ExportError(f"a call of this {mode} graph takes steps={own}; got steps={steps}")
    if own is not None:
        steps = own
    elif steps is None:
        steps = ModelSpec.from_json(properties["trm_spec"], "the graph").solve.max_steps
    run = session(graph, threads=threads, device=device, spin=spin)
    inputs = feeds(graph, batch, steps, board=board)
    for _ in range(2):
        run_session(run, inputs)
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run_session(run, inputs)
        times.append(1000 * (time.perf_counter() - before))
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Timing(
        mode=mode,
        precision=properties["precision"],
        batch=batch,
        threads=threads,
        steps=steps,
        calls=len(times),
        p50=p50,
        p90=p90,
        p99=p99,
        fastest=min(times),
    )


def check_seconds(seconds: float) -> None:
    """Refuse a time that never ends, or is none.

    Raises
    ------
    ExportError
    """
    if not 0 <= seconds <= 86_400:  # nan is neither
        raise ExportError(f"seconds must be from 0 to 86400; got {seconds}")


def in_turn(
    calls: Mapping[str, Callable[[], object]], *, seconds: float = 10.0, least: int = 3
) -> dict[str, list[float]]:
    """Time several things against each other: milliseconds of each call, taken in turn.

    Whatever else the machine does falls on all of them alike. A turn is one call that does not
    count, in which the threads of whoever ran before go to sleep and caches fill, and three that
    do.

    Parameters
    ----------
    seconds : float
        For all of them together, about.
    least : int
        Turns that each takes in any case.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    start, turns = time.perf_counter(), 0
    while turns < least or time.perf_counter() - start < seconds:
        for name, call in calls.items():
            call()
            for _ in range(3):
                before = time.perf_counter()
                call()
                times[name].append(1000 * (time.perf_counter() - before))
        turns += 1
    return times


@dataclass(frozen=True)
class Memory:
    """Bytes that running a graph takes at least, beyond the runtime itself.

    Attributes
    ----------
    weights : int
        Weights and constants as a runtime holds them that turns stored weights into float32 while
        loading (all but ``int8``, ``int8s`` and ``int4n`` do).
    activations : int
        The largest total of activations alive at one time, for one puzzle: x, y, z, and within a
        block its input, and the widest pair of gate and up with what they are made from.
    """

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """Both."""
        return self.weights + self.activations


def memory(graph: onnx.ModelProto, batch: int = 1) -> Memory:
    """Estimate what running a graph takes, from the shapes alone.

    Runtimes add their own: code, a packed copy of the weights, an arena that grows in steps.
    """
    properties = metadata(graph)
    config = ModelSpec.from_json(properties["trm_spec"], "the graph").model
    stored = sum(tensor.ByteSize() for tensor in graph.graph.initializer)
    if properties["precision"] not in {"fp32", *ROUNDS_ACTIVATIONS, "int4n"}:
        with torch.device("meta"):  # shapes alone
            stored = 4 * sum(weight.numel() for weight in TRM(config).parameters())
    state = math.prod(config.state_shape)
    size, width = config.hidden_size, config.swiglu_size
    # gate and up, and one of their size made from them: sigmoid, silu, the gated product.
    inside = 3 * state // size * width
    if config.structure is not None and any(
        isinstance(one, Offsets) for one in config.structure.over_cells
    ):
        inside += 2 * state  # the images of a convolution, before and after
    if config.mixer == "mlp_t":
        positions = config.state_shape[0]
        inside = max(inside, 3 * size * rounded_swiglu(positions, config.expansion))
    elif config.mixer == "attention":
        positions = config.state_shape[0]
        scores = 2 * config.num_heads * positions * positions
        inside = max(inside, 4 * state + scores)
    return Memory(weights=stored, activations=4 * batch * (5 * state + inside))
