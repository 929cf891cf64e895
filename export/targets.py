"""Other forms of a graph, for other runtimes: ONNX Runtime's mobile format and OpenVINO's IR."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx.inliner import inline_local_functions

from trm_sdk.errors import MissingDependencyError
from trm_sdk.runtimes.ort import import_onnxruntime

from .bench import feeds
from .errors import ExportError
from .exporter import output_path
from .graph_file import fixed_batch, load_graph, metadata
from .quantize import ROUNDS_ACTIVATIONS
from .sessions import run_session, session
from .verify import TOLERANCE


@dataclass(frozen=True)
class Converted:
    """A graph in another form.

    Attributes
    ----------
    files : tuple of Path
        What was written, the model first.
    difference : float
        Largest absolute difference of its logits from the ONNX file's, over one call.
    """

    files: tuple[Path, ...]
    difference: float


def to_ort(graph: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Converted:
    """Convert to the ORT format, with the list of operators that a minimal build must have.

    Writes ``NAME.ort`` and ``NAME.required_operators.config``; the second is what onnxruntime's
    ``build.py --include_ops_by_config`` takes. Only optimisations that fit every CPU are baked in.

    Raises
    ------
    ExportError
        If the graph can't be converted, or computes something else afterwards.
    """
    source, folder = Path(graph), output_path(folder)
    load_graph(source)
    import_onnxruntime()  # before its tools are: they import it
    from onnxruntime.tools.convert_onnx_models_to_ort import (
        OptimizationStyle,
        convert_onnx_models_to_ort,
    )

    # It reports its progress on standard output and in a log that the import has set up.
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        # The converter writes beside its input and takes whole folders: give it one of its own. It
        # knows graphs by their suffix.
        name = source.name if source.suffix == ".onnx" else f"{source.name}.onnx"
        copy = Path(temporary) / name
        shutil.copyfile(source, copy)
        try:
            convert_onnx_models_to_ort(copy, optimization_styles=[OptimizationStyle.Fixed])
        except (Exception, SystemExit) as error:  # the tool raises and exits as it pleases
            raise ExportError(f"{source} can't be converted to the ORT format: {error}") from None
        written = [copy.with_suffix(".ort"), copy.with_suffix(".required_operators.config")]
        difference = _largest_difference(source, written[0])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files = tuple(Path(shutil.copy(path, folder / path.name)) for path in written)
        except OSError as error:
            raise ExportError(f"{folder} can't be written: {error.strerror}") from None
    return Converted(files, difference)


def to_openvino(graph: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Converted:
    """Convert to OpenVINO's IR, ``NAME.xml`` and ``NAME.bin``, in float32.

    Raises
    ------
    MissingDependencyError
        Without openvino (``pip install 'trm-sdk[targets]'``).
    ExportError
        If OpenVINO can't take the graph, or computes something else.
    """
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError(
            "converting to OpenVINO's IR needs openvino: pip install 'trm-sdk[targets]'"
        ) from None
    source, folder = Path(graph), output_path(folder)
    model = load_graph(source)
    inputs = feeds(model, fixed_batch(model) or 2, 2)
    expected = run_session(session(model), inputs, ["logits"])[0]
    try:
        core = openvino.Core()
        core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        # OpenVINO knows no functions: written out, the graph is the same.
        plain = inline_local_functions(model) if model.functions else model
        read = core.read_model(plain.SerializeToString())
        result = core.compile_model(read, "CPU")(inputs)
        found = np.asarray(result["logits"])
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise ExportError(f"OpenVINO can't convert {source}: {lines[-1]}") from None
    difference = _checked(float(np.abs(found - expected).max()), source)
    path = folder / f"{source.stem}.xml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        openvino.save_model(read, path, compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        raise ExportError(f"{path} can't be written: {error}") from None
    return Converted((path, path.with_suffix(".bin")), difference)


def _largest_difference(source: Path, converted: Path) -> float:
    model = load_graph(source)
    inputs = feeds(model, fixed_batch(model) or 2, 2)
    expected = run_session(session(model), inputs, ["logits"])[0]
    found = run_session(session(converted), inputs, ["logits"])[0]
    return _checked(float(np.abs(found - expected).max()), source)


def _checked(difference: float, source: Path) -> float:
    precision = metadata(load_graph(source))["precision"]
    if precision not in ROUNDS_ACTIVATIONS and not difference <= 10 * TOLERANCE:
        raise ExportError(
            f"{source} computes something else once converted: logits differ by {difference:.1e}"
        )
    return difference
