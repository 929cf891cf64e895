"""Runtimes: what steps a model. One protocol (`base.Runtime`), two implementations."""

from __future__ import annotations

import importlib.util
import reprlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError
from trm_sdk.persistence.checkpoint import GRAPH_FILE, SPEC_FILE, load_model, read_spec, save_model

if TYPE_CHECKING:
    from trm_sdk.persistence.spec import ModelSpec
    from trm_sdk.runtimes.base import Runtime

__all__ = ["folder_spec", "open_runtime", "save_runtime"]


#: What a config and a graph in one folder must agree about, beside the model itself.
_MADE_FOR = ("domain", "vocabulary", "grid_shape")


def open_runtime(
    path: Path,
    runtime: str,
    device: str,
    threads: int | None,
    precision: str = "float32",
    compile: bool = False,
) -> Runtime:
    """A runtime for the model in this folder or file; see `Solver.from_pretrained`."""
    if runtime not in ("auto", "onnx", "torch"):
        raise InvalidInputError(f"runtime must be 'auto', 'onnx' or 'torch'; got {runtime!r}")
    graph = path / GRAPH_FILE if path.is_dir() else path
    has_graph = graph.suffix == ".onnx" and graph.is_file()
    if runtime == "auto":
        wants_torch = precision != "float32" or compile
        wants_torch |= str(device).startswith("cuda") and path.is_dir() and _torch_has_cuda()
        runtime = "torch" if wants_torch or not has_graph else "onnx"
    if runtime == "onnx":
        if not has_graph:
            raise CheckpointError(
                f"runtime='onnx' needs a graph, and there is no {GRAPH_FILE} in {path}; "
                f"`trm-export onnx {path} -o {GRAPH_FILE}` makes one"
                if path.is_dir()
                else f"runtime='onnx' needs a .onnx graph; got {path}"
            )
        if precision != "float32" or compile:
            raise InvalidInputError(
                f"precision={precision!r} and compile={compile!r} are for runtime='torch'; the "
                "precision of an ONNX graph is chosen when it is exported"
            )
        from trm_sdk.runtimes.onnx import OnnxRuntime

        opened = OnnxRuntime(graph, device, threads)
        if path.is_dir():
            opened.spec = folder_spec(path, opened.spec)
        return opened
    if has_graph and not path.is_dir():
        raise CheckpointError(
            f"runtime='torch' needs weights; {path} is a graph (runtime='onnx' runs it)"
        )
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            f"{path} needs PyTorch to run ({'as asked' if has_graph else 'it has no graph'}): "
            "pip install 'trm-sdk[torch]'"
        )
    from trm_sdk.runtimes.torch import TorchRuntime

    spec, model = load_model(path)
    return TorchRuntime(model, spec, device, threads, precision, compile)


def folder_spec(folder: Path, graph: ModelSpec) -> ModelSpec:
    """The spec of a model folder, whose graph carries one too.

    Defaults for solving and notes are the folder's, where people edit them; for the rest, the two
    must agree.

    Raises
    ------
    CheckpointError
        Naming the first difference, or if ``config.json`` is missing or no spec.
    """
    spec = read_spec(folder)
    pairs = [(name, getattr(spec, name), getattr(graph, name)) for name in _MADE_FOR]
    pairs += [
        (f"model.{name}", getattr(spec.model, name), getattr(graph.model, name))
        for name in type(spec.model).model_fields
    ]
    for name, ours, its in pairs:
        if ours != its:
            raise CheckpointError(
                f"{folder / SPEC_FILE} and {GRAPH_FILE} differ in {name}: {reprlib.repr(ours)} "
                f"and {reprlib.repr(its)}; they must be of one model"
            )
    return spec


def _torch_has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def save_runtime(runtime: Runtime, source: Path | None, folder: Path) -> Path:
    """Write the model of a runtime as a folder; see `Solver.save_pretrained`."""
    try:
        return _save(runtime, source, folder)
    except OSError as error:
        raise InvalidInputError(f"{folder} can't be written: {error.strerror or error}") from None


def _save(runtime: Runtime, source: Path | None, folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file; a model is saved as a folder")
    if source is not None and source.is_dir():
        if folder.resolve() == source.resolve():
            raise InvalidInputError(f"{folder} is where this model was read from")
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return folder
    if source is not None and source.suffix == ".onnx":
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / GRAPH_FILE)
        (folder / SPEC_FILE).write_text(runtime.spec.to_json(indent=2) + "\n", encoding="utf-8")
        return folder
    from trm_sdk.runtimes.torch import TorchRuntime

    if not isinstance(runtime, TorchRuntime):
        raise InvalidInputError("this solver was made from a runtime alone; it has no file to save")
    return save_model(folder, runtime.spec, runtime.model.state_dict())
