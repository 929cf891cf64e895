"""Files of ``torch.save`` from somewhere else: data alone, and no more than the file holds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from trm_sdk.errors import CheckpointError, MissingDependencyError
from trm_sdk.messages import clipped, first_line, shown
from trm_sdk.validation import LFS_HINT, is_lfs_pointer


def check_archive(path: Path) -> None:
    """Refuse what ``torch.save`` never writes: a zip file whose members grow when they are read.

    Raises
    ------
    CheckpointError
        If the file is not a zip file (as ``torch.save`` writes since PyTorch 1.6), or a member is
        compressed, or the members are larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        size = path.stat().st_size
    except Exception as error:  # zipfile raises what struct, codecs and it itself raise
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: it is not what torch.save writes "
            f"({clipped(first_line(error), 100)})"
        ) from None
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise CheckpointError(
                f"{path} is not a readable PyTorch checkpoint: its member "
                f"{shown(member.filename)} is compressed, which torch.save never does"
            )
    if sum(member.file_size for member in members) > size:
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: its members are larger than the file"
        )


def load_torch_file(path: Path) -> Any:
    """Read tensors and plain values, on the CPU; no code of the file is run.

    Raises
    ------
    CheckpointError
        Naming what the file is, if it is something else.
    MissingDependencyError
        Without torch.
    """
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is a graph; here a checkpoint or a model folder with its weights is needed"
        )
    if path.suffix == ".ort":
        raise CheckpointError(
            f"{path} is in ORT format, which other hosts load; a .onnx graph, a checkpoint "
            "or a model folder is needed"
        )
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "reading this checkpoint needs torch: pip install 'trm-sdk[torch]'"
        ) from None
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: {error.strerror}"
        ) from None
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path} {LFS_HINT}")
    if first == b"\x08":  # a graph's first field; no file of torch.save begins so
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint; if it is an ONNX graph, its name "
            "must end in .onnx"
        )
    check_archive(path)
    try:
        # weights_only: a checkpoint from somewhere else must not run code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: {clipped(first_line(error), 200)}"
        ) from None
    except Exception:  # whatever unpickling raises, or the advice to switch its check off
        raise CheckpointError(
            f"{path} is not a readable PyTorch checkpoint: it is not what torch.save writes, or "
            "holds more than tensors and plain values"
        ) from None


def check_weights(weights: object, source: str | Path) -> None:
    """Refuse what is not a mapping from names to dense tensors of floating-point numbers.

    Raises
    ------
    CheckpointError
        Naming the first that is something else, or larger than the memory it refers to.
    """
    from collections.abc import Mapping

    from torch import Tensor

    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{source} holds no weights by name; got {type(weights).__name__}")
    needed, held = 0, {}
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{source}: a weight is a name and a tensor; got {shown(name)} and "
                f"{type(tensor).__name__}"
            )
        other = _other_kind(tensor)
        if other is not None:
            raise CheckpointError(
                f"{source}: weight {shown(name)} must be a dense tensor of floating-point numbers; "
                f"got {other}"
            )
        bytes_needed = tensor.numel() * tensor.element_size()
        storage = tensor.untyped_storage()
        if bytes_needed > storage.nbytes():
            raise CheckpointError(
                f"{source}: weight {shown(name)} of shape {shown(tuple(tensor.shape))} refers to "
                f"{storage.nbytes()} bytes, and needs {bytes_needed}"
            )
        needed += bytes_needed
        held[storage.data_ptr()] = storage.nbytes()
    # One tensor under two names is as good as two; a thousand names for one are a way to grow.
    if needed > 2 * sum(held.values()):
        raise CheckpointError(f"{source}: its weights are the same numbers under many names")


def _other_kind(tensor: Any) -> str | None:
    """What a tensor is, unless it is dense, floating-point and there."""
    import torch

    if tensor.layout != torch.strided or tensor.is_nested:
        return (
            f"a {'nested' if tensor.is_nested else str(tensor.layout).removeprefix('torch.')} one"
        )
    if tensor.is_quantized:
        return "a quantized one"
    if tensor.device.type == "meta":
        return "one without numbers (device 'meta')"
    return None if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
