"""export_onnx: a checkpoint in, a verified graph file out."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch

from trm_sdk.atomic import write_whole
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import build, load_model
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.variants import model_for
from trm_sdk.transfer import solving

from .builder import Array
from .calibrate import Ranges, calibrate
from .errors import ExportError
from .graph import build_graph
from .graph_file import fixed_batch, model_nodes
from .options import ExportOptions, Mode
from .puzzles import calibration as generated
from .puzzles import read_puzzles
from .quantize import ROUNDS_ACTIVATIONS, Precision, rounded_weights
from .verify import TOLERANCE, Verification, verify_graph
from .verify_puzzles import PuzzleCheck, verify_puzzles
from .weights import StateDict

#: Puzzles that calibrate; with 16 steps of 21 passes each, a layer is looked at 5,376 times.
_CALIBRATE = 16
#: A model: a name, a path, or one already loaded.
Source = str | os.PathLike[str] | tuple[ModelSpec, TRM]


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes
    ----------
    path : Path
    mode, precision : str
    bytes : int
        Size of the file.
    parameter_bytes : int
        Size of the model's parameters in float32.
    opset, ir_version : int
    nodes : int
        Operators, those of loop bodies included.
    verification : Verification
        How it compared with PyTorch before it was written.
    puzzles : PuzzleCheck or None
        How it compared on real puzzles, where any were given.
    """

    path: Path
    mode: str
    precision: str
    bytes: int
    parameter_bytes: int
    opset: int
    ir_version: int
    nodes: int
    verification: Verification
    puzzles: PuzzleCheck | None = None

    @property
    def max_difference(self) -> float:
        """Largest difference from PyTorch's logits in one supervision step."""
        assert self.verification.max_difference is not None  # export_onnx fills it in
        return self.verification.max_difference


def load_source(source: Source) -> tuple[ModelSpec, TRM]:
    """Return a model given by name or path, as `Solver.from_pretrained` finds it, or as it is.

    It is on the CPU, where graphs are compared with it: of a model on a GPU, a copy.

    Raises
    ------
    ModelNotFoundError, CheckpointError
    """
    if isinstance(source, tuple):
        spec, model = source
        on_cpu = model.output_tokens.device.type == "cpu"
        return spec, model if on_cpu else copy.deepcopy(model).cpu()
    name, domain = model_for(source)
    spec, model = load_model(resolve(name))
    return (spec, model) if domain is None else solving(spec, model, domain, name)


def output_path(output: str | os.PathLike[str]) -> Path:
    """Return a path to write to; an empty one, which would be the working folder, is refused.

    Raises
    ------
    ExportError
    """
    text = os.fspath(output)
    if not text or "\0" in text:
        raise ExportError(f"an output needs the name of a file or folder; got {text!r}")
    return Path(text)


def output_file(output: str | os.PathLike[str]) -> Path:
    """Return a path to write to; what can't be written is refused before the work is done.

    Raises
    ------
    ExportError
        If it is a folder, or its own folder is not there.
    """
    path = output_path(output)
    if path.is_dir():
        raise ExportError(f"{path} is a folder; the name of a file is needed")
    if not path.parent.is_dir():
        raise ExportError(f"{path} can't be written: there is no folder {path.parent}")
    return path


def state_arrays(model: TRM) -> StateDict:
    """Return a model's state dict as float32 arrays.

    Raises
    ------
    ExportError
        If a number in it is not finite: no graph could be compared with such a model.
    """
    arrays = StateDict(
        (name, tensor.detach().float().cpu().numpy()) for name, tensor in model.state_dict().items()
    )
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ExportError(f"weight {name!r} has numbers that are not finite")
    return arrays


def rounded_model(spec: ModelSpec, model: TRM, precision: Precision) -> TRM:
    """Return a model with its weights rounded as a graph of this precision has them."""
    if precision == "fp32":
        return model
    rounded = rounded_weights(state_arrays(model), precision)
    tensors = {name: torch.from_numpy(array) for name, array in rounded.items()}
    return build(spec, tensors, "the rounded model")


def export_onnx(
    source: Source,
    output: str | os.PathLike[str],
    options: ExportOptions | Mode | None = None,
    *,
    tolerance: float = TOLERANCE,
    puzzles: str | os.PathLike[str] | None = None,
    calibration: str | os.PathLike[str] | None = None,
    **fields: Any,
) -> ExportReport:
    """Write a model as an ONNX graph, after comparing it with PyTorch.

    Parameters
    ----------
    source : name, path, or (ModelSpec, TRM)
        Anything `load_model` reads, the name of a bundled model, or a model.
    output : path
        Replaced if it exists; its folder must.
    options : ExportOptions, or a mode
        What the graph is to be like; default a step in float32.
    tolerance : float
        Largest difference of logits from PyTorch's in one supervision step; default 1e-4. In
        reduced precisions PyTorch gets the rounded weights; ``int8`` and ``int8s``, which round
        activations too, are compared but not refused.
    puzzles : path, optional
        A file of puzzles: the first 20 are solved by both sides, and final answers and halting
        steps compared.
    calibration : path, optional
        A file of puzzles, of which the first 16 are solved to find the ranges that ``int8s``
        needs; by default they are generated, where the domain can. For ``int8s`` alone.
    **fields
        Fields of `ExportOptions` to change, such as ``precision="fp16"``.

    Raises
    ------
    ExportError
        If an option is out of range, or the graph differs: nothing is written then.
    ModelNotFoundError, CheckpointError
        If there is no such model, or it can't be read.

    Examples
    --------
    >>> from trm_sdk.export import export_onnx
    >>> report = export_onnx("sudoku", "loop.onnx", "loop", precision="fp16")  # doctest: +SKIP
    """
    options = ExportOptions.of(options, fields)
    path = output_file(output)
    spec, model = load_source(source)
    weights = state_arrays(model)
    ranges = ranges_for(options.precision, spec, weights, calibration)
    graph = build_graph(spec, weights, options, ranges=ranges)
    model = rounded_model(spec, model, options.precision)
    verification = verify_graph(graph, model)
    if verification.max_difference is None:
        one = build_graph(spec, weights, replace(options, max_steps=1), ranges=ranges)
        difference = verify_graph(one, model).final_difference
        verification = replace(verification, max_difference=difference)
    verification = verify_shallow(verification, graph, spec, weights, model, tolerance)
    verification.require(tolerance)
    check = None
    if puzzles is not None:
        check = verify_puzzles(graph, model, read_puzzles(Path(puzzles), spec))
        check.require()
    size = write(graph, path)
    return ExportReport(
        path=path,
        mode=options.mode,
        precision=options.precision,
        bytes=size,
        parameter_bytes=4 * sum(array.size for array in weights.values()),
        opset=options.opset,
        ir_version=graph.ir_version,
        nodes=sum(1 for _ in model_nodes(graph)),
        verification=verification,
        puzzles=check,
    )


def ranges_for(
    precision: Precision,
    spec: ModelSpec,
    weights: Mapping[str, Array],
    puzzles: str | os.PathLike[str] | None = None,
) -> Ranges | None:
    """Return the ranges that a precision needs, calibrated on puzzles of a file or generated ones.

    Raises
    ------
    ExportError
        If puzzles are needed and can't be made, or are named for another precision.
    """
    if precision != "int8s":
        if puzzles is not None:
            raise ExportError(f"calibration applies only to precision 'int8s'; got {precision!r}")
        return None
    if puzzles is None:
        return calibrate(spec, weights, generated(spec, _CALIBRATE))
    return calibrate(spec, weights, read_puzzles(puzzles, spec, _CALIBRATE))


def verify_shallow(
    verification: Verification,
    graph: onnx.ModelProto,
    spec: ModelSpec,
    weights: Mapping[str, Array],
    model: TRM,
    tolerance: float = TOLERANCE,
) -> Verification:
    """Return a verification, repeated over two passes where a whole step is too deep to tell.

    Some networks amplify rounding a thousandfold within one supervision step, in PyTorch as
    anywhere. The same network recursed less, written as `graph` was, shows whether rounding is all
    it is; the graph itself must still stay within what PyTorch differs from itself.

    Parameters
    ----------
    weights : mapping from name to float32 array
        As they were before rounding.
    model : TRM
        With the weights as the graph's precision rounds them.
    """
    precision = cast("Precision", verification.precision)
    if (verification.max_difference or 0.0) <= tolerance or precision in ROUNDS_ACTIVATIONS:
        return verification
    shallow = spec.model.model_copy(update={"H_cycles": 1, "L_cycles": 1})
    short_spec = spec.model_copy(update={"model": shallow})
    opset = next(entry.version for entry in graph.opset_import if not entry.domain)
    batch = fixed_batch(graph) or None
    short = build_graph(short_spec, weights, batch=batch, opset=opset, precision=precision)
    one = verify_graph(short, build(short_spec, model.state_dict(), "the model"), steps=1)
    return replace(verification, max_difference=one.max_difference, passes=2)


def write(graph: onnx.ModelProto, path: Path) -> int:
    """Write a graph in one go, so that no half-written file is ever seen; returns its bytes.

    Raises
    ------
    ExportError
        If the file can't be written.
    """
    data = graph.SerializeToString()
    try:
        write_whole(path, data)
    except OSError as error:
        raise ExportError(f"{path} can't be written: {error.strerror}") from None
    return len(data)
