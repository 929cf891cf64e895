"""Checkpoints: weights with the spec that says what they are for.

Three forms are read, and `load_model` tells them apart:

- a model folder: ``config.json`` (a `ModelSpec`), ``model.safetensors``, perhaps ``model.onnx``;
- one file, ``.safetensors`` (spec in its metadata) or ``.pt`` (what `training.fit` writes);
- the reference implementation's: a ``torch.save``d state dict named ``step_N`` with
  ``all_config.yaml`` beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trm_sdk.atomic import write_whole
from trm_sdk.errors import CheckpointError, InvalidInputError, MissingDependencyError
from trm_sdk.messages import explain, first_line, shown
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.validation import as_path

if TYPE_CHECKING:
    from torch import Tensor

    from trm_sdk.model.recursion import TRM

SPEC_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GRAPH_FILE = "model.onnx"
_METADATA_KEY = "trm_spec"


def read_spec(folder: Path) -> ModelSpec:
    """The spec of a model folder, without touching its weights.

    Raises
    ------
    CheckpointError
        If ``config.json`` is missing or no spec.
    """
    path = folder / SPEC_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{folder} is no model folder: {SPEC_FILE} can't be read ({error.strerror})"
        ) from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is no UTF-8 text: {error}") from None
    return ModelSpec.from_json(text, path)


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
    elif (path.parent / "all_config.yaml").is_file() and path.suffix == "":
        spec, weights = _read_reference(path)
    else:
        spec, weights = _read_training_checkpoint(path)
    return spec, build(spec, weights, path)


def build(spec: ModelSpec, weights: Mapping[str, Tensor], source: str | Path) -> TRM:
    """A model of this spec with these weights, checked for completeness.

    Raises
    ------
    CheckpointError
        Naming the first weight that is missing, unknown or of another shape.
    """
    import torch

    from trm_sdk.model.recursion import TRM

    _check_weights(weights, source)
    try:
        with torch.device("meta"):  # shapes alone: a config may ask for more than memory holds
            expected = TRM(spec.model).state_dict()
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: its config asks for weights that can't be: {first_line(error)}"
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
        raise CheckpointError(f"{source} has a weight {unknown[0]!r} that its config has not")
    model = TRM(spec.model)
    model.load_state_dict(dict(weights))
    return model.eval()


def _check_weights(weights: object, source: str | Path) -> None:
    from torch import Tensor

    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{source} holds no weights by name; got {type(weights).__name__}")
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{source}: a weight is a name and a tensor; got {shown(name)} and "
                f"{type(tensor).__name__}"
            )


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
    _write(folder / SPEC_FILE, (spec.to_json(indent=2) + "\n").encode())
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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library's own errors have no common public base
        raise CheckpointError(f"{path} is no readable .safetensors file: {error}") from None
    text = metadata.get(_METADATA_KEY)
    if text is None and spec_needed:
        raise CheckpointError(f"{path} says nothing about its model ({_METADATA_KEY!r} is missing)")
    return (None if text is None else ModelSpec.from_json(text, path)), weights


def _torch_load(path: Path) -> Any:
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is a graph; here a checkpoint or a model folder with its weights is needed"
        )
    if path.suffix == ".ort":
        raise CheckpointError(
            f"{path} is a graph in ORT format, for hosts of their own; a .onnx graph, a checkpoint "
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
            if file.read(1) == b"\x08":  # a graph's first field; no file of torch.save begins so
                raise CheckpointError(
                    f"{path} is no readable PyTorch checkpoint; if it is an ONNX graph, its name "
                    "must end in .onnx"
                )
        # weights_only: a checkpoint from somewhere else must not run code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError) as error:
        raise CheckpointError(
            f"{path} is no readable PyTorch checkpoint: {first_line(error)}"
        ) from None
    except CheckpointError:
        raise
    except Exception:  # whatever unpickling raises, or the advice to switch its check off
        raise CheckpointError(
            f"{path} is no readable PyTorch checkpoint: it is not what torch.save writes, or holds "
            "more than tensors and plain values"
        ) from None


def _read_training_checkpoint(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    data = _torch_load(path)
    if not isinstance(data, dict) or "spec" not in data or not ({"ema", "model"} & set(data)):
        raise CheckpointError(
            f"{path} is no checkpoint of training.fit ('spec' and 'ema' or 'model' are needed); a "
            "reference checkpoint needs its all_config.yaml beside it"
        )
    if not isinstance(data["spec"], str):
        raise CheckpointError(f"{path}: 'spec' must be JSON text; got {shown(data['spec'])}")
    return ModelSpec.from_json(data["spec"], path), data.get("ema") or data.get("model") or {}


# --- the reference implementation -----------------------------------------------------------

#: Puzzle domains of the reference's data sets, by number of cells and vocabulary.
_REFERENCE_DOMAINS = {(81, 11): "sudoku", (900, 6): "maze-30x30", (900, 12): "arc"}


def _read_reference(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    try:
        import yaml
    except ImportError:
        raise MissingDependencyError(
            "reading a reference checkpoint needs pyyaml: pip install 'trm-sdk[train]'"
        ) from None
    config_path = path.parent / "all_config.yaml"
    try:
        config = yaml.safe_load(config_path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())  # YAML's own has several lines
        raise CheckpointError(f"{config_path} can't be read: {message}") from None
    arch = config.get("arch") if isinstance(config, dict) else None
    if not isinstance(arch, dict):
        raise CheckpointError(f"{config_path} has no 'arch' section")
    return convert_reference(arch, _torch_load(path), path)


def convert_reference(
    arch: Mapping[str, Any], state: Mapping[str, Tensor], source: str | Path
) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Turn the reference's architecture section and state dict into a spec and our weights.

    Parameters
    ----------
    arch : mapping
        The ``arch`` section of ``all_config.yaml``. Sizes that the reference takes from its data
        set (seq_len, vocab_size, num_puzzle_identifiers) are read off the weights if absent.
    state : mapping from name to Tensor
        Keys may be prefixed ``_orig_mod.model.`` or ``model.``.

    Raises
    ------
    CheckpointError
    """
    _check_weights(state, source)
    plain = {name.split("inner.", 1)[-1]: tensor for name, tensor in state.items()}
    try:
        vocab_size, hidden = plain["embed_tokens.embedding_weight"].shape
        mlp_t = bool(arch.get("mlp_t", False))
        positions = str(arch.get("pos_encodings", "rope"))
        emb_ndim = int(arch.get("puzzle_emb_ndim", 0))
        emb_len = int(arch.get("puzzle_emb_len", 0)) or -(-emb_ndim // hidden)
        if "seq_len" in arch:
            seq_len = int(arch["seq_len"])
        elif mlp_t:
            seq_len = plain["L_level.layers.0.mlp_t.down_proj.weight"].shape[0] - emb_len
        elif positions == "learned":
            seq_len = plain["embed_pos.embedding_weight"].shape[0] - emb_len
        else:  # the data sets whose models attend with rotary positions have 900 cells
            seq_len = 81 if vocab_size == 11 else 900
        model = ModelConfig(
            vocab_size=vocab_size,
            seq_len=seq_len,
            mixer="mlp_t" if mlp_t else "attention",
            hidden_size=hidden,
            L_layers=int(arch["L_layers"]),
            H_cycles=int(arch["H_cycles"]),
            L_cycles=int(arch["L_cycles"]),
            expansion=float(arch["expansion"]),
            num_heads=int(arch["num_heads"]),
            # The reference builds positions for every mixer, and mlp_t never applies rotary ones.
            positions="none" if mlp_t and positions == "rope" else positions,  # type: ignore[arg-type]
            rope_theta=float(arch.get("rope_theta", 10000.0)),
            rms_norm_eps=float(arch.get("rms_norm_eps", 1e-5)),
            puzzle_emb_ndim=emb_ndim,
            puzzle_emb_len=emb_len,
            num_puzzle_identifiers=(plain["puzzle_emb.weights"].shape[0] if emb_ndim else 1),
            halt_max_steps=int(arch.get("halt_max_steps", 16)),
        )
        weights = {_OUR_NAMES.get(name, name): tensor.float() for name, tensor in plain.items()}
    except KeyError as error:
        raise CheckpointError(f"{source}: the reference checkpoint lacks {error}") from None
    except ValidationError as error:
        raise CheckpointError(f"{source}: " + explain(error, "arch", arch)) from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{source}: no architecture that can be read: {error}") from None
    named = {
        f"network.{name.replace('L_level.layers.', 'layers.', 1)}": tensor
        for name, tensor in weights.items()
    }
    side = int(seq_len**0.5)
    spec = ModelSpec(
        domain=_REFERENCE_DOMAINS.get((seq_len, vocab_size), "unknown"),
        vocabulary=_reference_vocabulary(vocab_size),
        grid_shape=(side, side) if side * side == seq_len else (1, seq_len),
        model=model,
        notes={"imported_from": json.dumps(dict(arch), default=str)},
    )
    return spec, named


_OUR_NAMES = {
    "H_init": "y_init",
    "L_init": "z_init",
    "embed_tokens.embedding_weight": "embed_tokens",
    "embed_pos.embedding_weight": "embed_pos",
    "puzzle_emb.weights": "puzzle_emb",
}


def _reference_vocabulary(size: int) -> tuple[str, ...]:
    """Token names of the reference's data sets: padding, empty, then the values."""
    if size == 11:
        return ("pad", "empty", *map(str, range(1, 10)))
    return ("pad", *(f"token-{index}" for index in range(1, size)))
