"""Graphs under onnxruntime: sessions, and calls that say in one line what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from trm_sdk.messages import first_line
from trm_sdk.runtimes.onnx import check_providers, choose_providers
from trm_sdk.runtimes.ort import import_onnxruntime
from trm_sdk.validation import checked_threads

from .builder import Array
from .errors import ExportError

if TYPE_CHECKING:
    import onnxruntime


def session(
    graph: onnx.ModelProto | str | Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    spin: bool = False,
) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session.

    Parameters
    ----------
    graph : ModelProto or path
    threads : int, optional
        Within one operator; default: onnxruntime's own choice.
    device : {"cpu", "cuda", "tensorrt"}
    spin : bool
        Let threads spin between the operators of one call, as long as it lasts: faster on a
        machine with nothing else to do, several times slower on any other. `OnnxRuntime` does not.

    Raises
    ------
    ExportError
        If onnxruntime does not take the graph.
    InvalidInputError
        If the device is unavailable, or the number of threads is out of range.
    """
    ort = import_onnxruntime()
    providers = choose_providers(device, ort.get_available_providers())
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = checked_threads(threads)
    source: Any = graph.SerializeToString() if isinstance(graph, onnx.ModelProto) else str(graph)
    try:
        made = ort.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"onnxruntime can't load the graph: {first_line(error)}") from None
    check_providers(device, providers, made.get_providers())
    return made


def run_session(
    made: onnxruntime.InferenceSession,
    feeds: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> list[Array]:
    """Return the outputs of a session's graph, by default all of them, in order.

    Raises
    ------
    ExportError
        If onnxruntime fails in it, as for want of memory.
    """
    try:
        values: list[Array] = made.run(outputs, dict(feeds))
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"the graph does not run: {first_line(error)}") from None
    return values


class Runner:
    """A graph that is called with some inputs always the same.

    Parameters
    ----------
    graph : ModelProto
    feeds : dict from input to array
        What every call is given beside its own.
    """

    def __init__(self, graph: onnx.ModelProto, feeds: dict[str, Array]) -> None:
        self.session = session(graph)
        self.names = [output.name for output in self.session.get_outputs()]
        self.feeds = feeds

    def __call__(self, **feeds: Array) -> dict[str, Array]:
        return dict(
            zip(self.names, run_session(self.session, {**self.feeds, **feeds}), strict=True)
        )
