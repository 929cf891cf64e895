"""Which runtime a model runs on, and which domains it solves there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError
from trm_sdk.messages import shown
from trm_sdk.persistence.checkpoint import GRAPH_FILE, load_model, read_spec, save_model
from trm_sdk.persistence.folder import copy_model, folder_spec

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain
    from trm_sdk.persistence.spec import ModelSpec
    from trm_sdk.runtimes.base import Runtime


def open_runtime(
    path: Path,
    runtime: str,
    device: str,
    threads: int | None,
    precision: str = "float32",
    compile: bool = False,
    domain: Domain | None = None,
) -> Runtime:
    """Open a runtime for the model of a folder or file; see `Solver.from_pretrained`.

    It gives the heads that `domain`, by default the registered one, decodes answers from, as far as
    model and graph have them. Where the weights must be moved to the boards of `domain`
    (`ModelSpec.moves_to`), the runtime is of a model of these, which only PyTorch makes of weights.
    """
    if runtime not in ("auto", "onnx", "torch"):
        raise InvalidInputError(f"runtime must be 'auto', 'onnx' or 'torch'; got {shown(runtime)}")
    graph = path / GRAPH_FILE if path.is_dir() else path
    has_graph = graph.suffix == ".onnx" and graph.is_file()
    moved = None  # the domain to whose boards the weights are moved
    if domain is not None and path.is_dir() and has_graph and read_spec(path).moves_to(domain):
        moved = domain
    if runtime == "auto":
        wants_torch = precision != "float32" or compile
        wants_torch |= str(device).startswith("cuda") and path.is_dir() and _torch_has_cuda()
        wants_torch |= moved is not None
        runtime = "torch" if wants_torch or not has_graph else "onnx"
    if runtime == "onnx":
        if not has_graph:
            raise CheckpointError(
                f"runtime='onnx' needs a graph, and there is no {GRAPH_FILE} in {path}; "
                f"`trm-export onnx {path} -o {GRAPH_FILE}` makes one"
                if path.is_dir()
                else f"runtime='onnx' needs a .onnx graph; got {path}"
            )
        if moved is not None:
            raise CheckpointError(
                f"the graph of {path} is for other boards than those of {moved.name!r}; "
                f"`trm-export bundle {moved.name} -o FOLDER` writes one for these"
            )
        if precision != "float32" or compile:
            raise InvalidInputError(
                f"precision={shown(precision)} and compile={shown(compile)} are for "
                "runtime='torch'; the precision of an ONNX graph is chosen when it is exported"
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
        if moved is not None:
            raise MissingDependencyError(
                f"{moved.name!r} by the weights of {path.name!r} needs PyTorch: pip install "
                f"'trm-sdk[torch]'. Or let `trm-export bundle {moved.name} -o FOLDER` write a "
                "model of it where PyTorch is; that runs without"
            )
        raise MissingDependencyError(
            f"{path} needs PyTorch to run ({'as asked' if has_graph else 'it has no graph'}): "
            "pip install 'trm-sdk[torch]'"
        )
    from trm_sdk.runtimes.torch import TorchRuntime

    spec, model = load_model(path)
    if domain is not None and spec.moves_to(domain):
        from trm_sdk.transfer import solving

        spec, model = solving(spec, model, domain, path.name)
    heads = spec.solving_heads(domain)
    return TorchRuntime(model, spec, device, threads, precision, compile, heads)


def check_model(runtime: Runtime, domain: Domain, source: str | Path) -> None:
    """Refuse a domain that a model was not made for, and whose groups it does not take.

    Raises
    ------
    CheckpointError
    """
    spec = runtime.spec
    if spec.domain == domain.name or not spec.model.takes_groups:
        spec.check_domain(domain, source)
        if not domain.own_groups:
            return
    spec.check_variant(domain, source)
    if not getattr(runtime, "takes_groups", False):
        raise CheckpointError(
            f"{source} has a graph whose groups of cells are built in, so that it can't solve "
            f"{domain.name!r}; export it again with trm-export onnx --groups optional"
        )


def _torch_has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _holds(source: Path, spec: ModelSpec) -> bool:
    """Whether a folder or graph has the model that runs: its weights may run on other boards."""
    if source.is_dir():
        return read_spec(source).model == spec.model
    return source.suffix == ".onnx"


def save_runtime(runtime: Runtime, source: Path | None, folder: Path) -> Path:
    """Write the model of a runtime as a folder; see `Solver.save_pretrained`."""
    if source is not None and _holds(source, runtime.spec):
        return copy_model(source, folder, runtime.spec)
    if runtime.name != "torch":  # asked before PyTorch is imported, which may not be there
        raise InvalidInputError("this solver was made from a runtime alone; it has no file to save")
    from trm_sdk.runtimes.torch import TorchRuntime

    assert isinstance(runtime, TorchRuntime)
    return save_model(folder, runtime.spec, runtime.model.state_dict())
