"""Checkpoints: weights with the spec that says what they are for.

Three forms are read, and `load_model` tells them apart:

- a model folder: ``config.json`` (a `ModelSpec`), ``model.safetensors``, perhaps ``model.onnx``,
  and ``identifiers.json`` where the rows of a puzzle embedding have names;
- one file, ``.safetensors`` (spec in its metadata) or ``.pt`` (what `trm-fit` writes);
- the reference implementation's: a ``torch.save``d state dict named ``step_N`` with
  ``all_config.yaml`` beside it, and its data set's ``identifiers.json`` where puzzles have names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trm_sdk.atomic import write_whole
from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError
from trm_sdk.messages import first_line, shown
from trm_sdk.persistence.reference import (
    CONFIG_FILE,
    convert_reference,
    read_architecture,
    run_hint,
)
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.torch_file import check_weights, load_torch_file
from trm_sdk.validation import LFS_HINT, as_path, is_lfs_pointer

if TYPE_CHECKING:
    from torch import Tensor

    from trm_sdk.model.recursion import TRM

SPEC_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GRAPH_FILE = "model.onnx"
IDENTIFIERS_FILE = "identifiers.json"
_METADATA_KEY = "trm_spec"
_LAYERS, _FEW_LAYERS = "network.layers.", 100
#: Bytes of a ``config.json``; those of the bundled models have two thousand.
_LARGEST_SPEC = 16 << 20
#: Bytes of an ``identifiers.json``; that of ARC-AGI-2 has some 40 million.
LARGEST_NAMES = 1 << 28


def read_spec(folder: Path) -> ModelSpec:
    """Return the spec of a model folder, without touching its weights.

    Raises
    ------
    CheckpointError
        If ``config.json`` is missing or no spec.
    """
    path = folder / SPEC_FILE
    try:
        if path.stat().st_size > _LARGEST_SPEC:
            raise CheckpointError(f"{path} is not a model description: over {_LARGEST_SPEC} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CheckpointError(
            f"{folder} is not a model folder: {SPEC_FILE} can't be read ({error.strerror})"
            + run_hint(folder)
        ) from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error}") from None
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path} {LFS_HINT}")
    spec = ModelSpec.from_json(text, path)
    names = read_identifiers(folder)
    return _named(spec, names, folder / IDENTIFIERS_FILE) if names else spec


def read_identifiers(folder: Path) -> tuple[str, ...]:
    """Read ``identifiers.json``, a list of names; none where there is no such file.

    Raises
    ------
    CheckpointError
        If it can't be read, or is not a list of texts.
    """
    path = folder / IDENTIFIERS_FILE
    if not path.is_file():
        return ()
    try:
        if path.stat().st_size > LARGEST_NAMES:
            raise CheckpointError(f"{path} is not a list of names: over {LARGEST_NAMES} bytes")
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path} must hold a JSON list of names; got {shown(names)}")
    return tuple(names)


def _named(spec: ModelSpec, names: tuple[str, ...], source: Path) -> ModelSpec:
    """A spec with the names of a file.

    Raises
    ------
    CheckpointError
        If there are as many names as the model has not rows.
    """
    rows = spec.model.num_puzzle_identifiers
    if len(names) != rows:
        raise CheckpointError(
            f"{source} has {len(names)} names, and the model's puzzle embedding {rows} rows"
        )
    return spec.model_copy(update={"identifiers": names})


def write_spec(folder: Path, spec: ModelSpec) -> None:
    """Write ``config.json`` into a folder, and ``identifiers.json`` where there are names."""
    plain = spec.model_copy(update={"identifiers": ()})
    _write(folder / SPEC_FILE, (plain.to_json(indent=2) + "\n").encode())
    if spec.identifiers:
        _write(folder / IDENTIFIERS_FILE, json.dumps(spec.identifiers).encode())


def load_model(path: str | os.PathLike[str]) -> tuple[ModelSpec, TRM]:
    """Read a model for PyTorch, on the CPU and in evaluation mode.

    Parameters
    ----------
    path : path
        A model folder, a ``.safetensors`` or ``.pt`` file, or a reference checkpoint.

    Raises
    ------
    CheckpointError
        Naming the file and what is missing or wrong in it.
    InvalidInputError
        If `path` is empty or no path.
    MissingDependencyError
        Without torch and safetensors (``pip install trm-sdk[torch]``).
    """
    path = as_path(path)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # such as a name that is too long
        raise CheckpointError(f"no checkpoint at {path}: {error.strerror}") from None
    if is_folder:
        spec = read_spec(path)
        _, weights = _read_safetensors(path / WEIGHTS_FILE, spec_needed=False)
    elif not is_file:
        raise CheckpointError(f"no checkpoint at {path}")
    elif path.suffix == ".safetensors":
        found, weights = _read_safetensors(path, spec_needed=True)
        assert found is not None
        spec = found
    else:
        spec, weights = _read_torch_file(path)
    return spec, build(spec, weights, path)


def build(spec: ModelSpec, weights: Mapping[str, Tensor], source: str | Path) -> TRM:
    """Return a model of this spec with these weights, checked for completeness.

    Raises
    ------
    CheckpointError
        Naming the first weight that is missing, unknown or of another shape.
    """
    import torch

    from trm_sdk.model.recursion import TRM

    check_weights(weights, source)
    _check_layers(spec, weights, source)
    try:
        with torch.device("meta"):  # shapes alone: a config may ask for more than memory holds
            expected = TRM(spec.model).state_dict()
    except Exception as error:  # whatever a network of such sizes raises
        raise CheckpointError(
            f"{source}: its config describes weights that can't exist: {first_line(error)}"
        ) from None
    for name, tensor in expected.items():
        if name not in weights:
            raise CheckpointError(f"{source} lacks the weight {name!r}")
        if weights[name].shape != tensor.shape:
            raise CheckpointError(
                f"{source}: weight {name!r} has shape {tuple(weights[name].shape)}; "
                f"its config asks for {tuple(tensor.shape)}"
            )
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise CheckpointError(
            f"{source} has a weight {shown(unknown[0])} that its config does not have"
        )
    try:
        model = TRM(spec.model)
        model.load_state_dict(dict(weights))
    except Exception as error:  # as for want of memory
        raise CheckpointError(f"{source} can't be loaded: {first_line(error)}") from None
    return model.eval()


def _check_layers(spec: ModelSpec, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Compare the number of layers, before so many are made that no file has weights for."""
    numbers = {name[len(_LAYERS) :].split(".")[0] for name in weights if name.startswith(_LAYERS)}
    if numbers and len(numbers) != spec.model.L_layers:
        raise CheckpointError(
            f"{source} has weights of {len(numbers)} layers; its config asks for "
            f"{spec.model.L_layers}"
        )
    if not numbers and spec.model.L_layers > _FEW_LAYERS:
        raise CheckpointError(f"{source} lacks the weights of {spec.model.L_layers} layers")


def save_model(
    folder: str | os.PathLike[str], spec: ModelSpec, weights: Mapping[str, Tensor]
) -> Path:
    """Write ``config.json`` and ``model.safetensors`` into a folder, made if need be.

    Raises
    ------
    InvalidInputError
        If `folder` is empty or no path, or can't be written.
    MissingDependencyError
        Without torch and safetensors (``pip install trm-sdk[torch]``).
    """
    folder = as_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{folder} can't be made a folder: {error.strerror}") from None
    save_weights(folder / WEIGHTS_FILE, spec, weights)
    write_spec(folder, spec)
    return folder


def save_weights(path: Path, spec: ModelSpec, weights: Mapping[str, Tensor]) -> None:
    """Write one self-contained ``.safetensors`` file: weights, and the spec as metadata."""
    _, to_bytes = _safetensors()
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    # Not the library's save_file, which makes files that only their owner may read.
    _write(path, to_bytes(contiguous, metadata={_METADATA_KEY: spec.to_json()}))


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise InvalidInputError(f"{path} can't be written: {error.strerror}") from None


def _safetensors() -> tuple[Any, Any]:
    try:
        from safetensors import safe_open
        from safetensors.torch import save
    except ImportError:
        raise MissingDependencyError(
            "reading and writing weights needs torch and safetensors: pip install 'trm-sdk[torch]'"
        ) from None
    return safe_open, save


def _read_safetensors(
    path: Path, *, spec_needed: bool
) -> tuple[ModelSpec | None, dict[str, Tensor]]:
    safe_open, _ = _safetensors()
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}")
    if is_lfs_pointer(path):
        raise CheckpointError(f"{path} {LFS_HINT}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own errors have no common public base
        raise CheckpointError(
            f"{path} is not a readable .safetensors file: {first_line(error)}"
        ) from None
    text = metadata.get(_METADATA_KEY)
    if text is None and spec_needed:
        raise CheckpointError(f"{path} does not describe its model ({_METADATA_KEY!r} is missing)")
    return (None if text is None else ModelSpec.from_json(text, path)), weights


def _read_torch_file(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Read what trm-fit saved, or the reference implementation."""
    data = load_torch_file(path)
    if isinstance(data, dict) and "spec" in data and {"ema", "model"} & set(data):
        if not isinstance(data["spec"], str):
            raise CheckpointError(f"{path}: 'spec' must be JSON text; got {shown(data['spec'])}")
        weights = data.get("ema") or data.get("model") or {}
        if "packed" in data:
            weights = _unpacked_average(data, path)
        return ModelSpec.from_json(data["spec"], path), weights
    if not (path.parent / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{path} is not a checkpoint of trm-fit ('spec' and 'ema' or 'model' are needed); "
            f"a reference checkpoint needs its {CONFIG_FILE} beside it"
        )
    check_weights(data, path)
    spec, weights = convert_reference(read_architecture(path.parent), data, path)
    names = read_identifiers(path.parent)
    return (_named(spec, names, path.parent / IDENTIFIERS_FILE) if names else spec), weights


def _unpacked_average(data: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the averaged weights of a compact checkpoint, which holds their difference only."""
    weights, distances = data.get("model", {}), data.get("ema", {})
    for part in (weights, distances):
        check_weights(part, path)
    for name, distance in distances.items():
        if name not in weights or weights[name].shape != distance.shape:
            raise CheckpointError(f"{path}: its averaged weights are not those of its model")
    return averaged_weights(weights, distances)


def averaged_weights(
    weights: Mapping[str, Tensor], differences: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return averaged weights out of their differences from the weights, as float32."""
    return {name: weights[name] + difference.float() for name, difference in differences.items()}
