"""Checkpoints of the reference implementation of arXiv 2510.04871, and of its forks.

A ``torch.save``d state dict, usually named ``step_N``, with ``all_config.yaml`` beside it. A data
set of several puzzle identifiers names them in its ``identifiers.json``: lay that beside it, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trm_sdk.domains.registry import get_domain
from trm_sdk.errors import CheckpointError, ConfigError, InvalidInputError
from trm_sdk.messages import clipped, explain, first_line
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.torch_file import check_weights
from trm_sdk.persistence.yaml import load_yaml

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "all_config.yaml"
_LARGEST_CONFIG = 4 << 20  # bytes
#: Puzzle domains of the reference's data sets, by number of cells and vocabulary.
_REFERENCE_DOMAINS = {(81, 11): "sudoku", (900, 6): "maze-30x30", (900, 12): "arc"}


def read_architecture(folder: Path) -> Mapping[str, Any]:
    """Read the ``arch`` section of a run's ``all_config.yaml``.

    Raises
    ------
    CheckpointError
        If it can't be read, or has no such section.
    MissingDependencyError
        Without pyyaml.
    """
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            config = load_yaml(file.read(_LARGEST_CONFIG).decode())
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise CheckpointError(f"{path} can't be read: {first_line(error)}") from None
    arch = config.get("arch") if isinstance(config, dict) else None
    if not isinstance(arch, dict):
        raise CheckpointError(f"{path} has no 'arch' section")
    return arch


def run_hint(folder: Path) -> str:
    """Return which file of a reference run's folder to name instead; "" for other folders."""
    try:
        steps = [path for path in folder.glob("step_*") if (folder / CONFIG_FILE).is_file()]
    except OSError:
        return ""
    if not steps:
        return ""
    last = max(steps, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])
    return f"; it is a run of the reference implementation: name a checkpoint of it, such as {last}"


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
    check_weights(state, source)
    plain = {name.split("inner.", 1)[-1]: tensor for name, tensor in state.items()}
    if any(name.startswith("H_level.") for name in plain):
        raise CheckpointError(
            f"{source} is a checkpoint of HRM, which has two networks (H_level and L_level); TRM "
            "has one, and HRM is another architecture"
        )
    try:
        return _converted(arch, plain)
    except KeyError as error:
        raise CheckpointError(f"{source}: the reference checkpoint lacks {error}") from None
    except ValidationError as error:
        raise CheckpointError(f"{source}: " + explain(error, "arch", arch)) from None
    except Exception as error:  # whatever conversions raise of values that are something else
        message = clipped(first_line(error), 200)
        raise CheckpointError(f"{source}: its architecture can't be read: {message}") from None


def _converted(
    arch: Mapping[str, Any], plain: Mapping[str, Tensor]
) -> tuple[ModelSpec, dict[str, Tensor]]:
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
    named = {
        f"network.{name.replace('L_level.layers.', 'layers.', 1)}": tensor
        for name, tensor in weights.items()
    }
    spec = ModelSpec(
        **_made_for(seq_len, vocab_size),
        model=model,
        solve=SolveOptions(max_steps=model.halt_max_steps),
        notes={"imported_from": json.dumps(dict(arch), default=str)},
    )
    return spec, named


def _made_for(seq_len: int, vocab_size: int) -> dict[str, Any]:
    """Domain, token names and board of a data set of these sizes, as far as they are known."""
    name = _REFERENCE_DOMAINS.get((seq_len, vocab_size), "unknown")
    try:
        domain = get_domain(name)
    except InvalidInputError:
        names = tuple(f"token-{number}" for number in range(vocab_size))
        side = int(seq_len**0.5)
        shape = (side, side) if side * side == seq_len else (1, seq_len)
        return {"domain": name, "vocabulary": names, "grid_shape": shape}
    return {"domain": name, "vocabulary": domain.vocabulary.names, "grid_shape": domain.shape}


_OUR_NAMES = {
    "H_init": "y_init",
    "L_init": "z_init",
    "embed_tokens.embedding_weight": "embed_tokens",
    "embed_pos.embedding_weight": "embed_pos",
    "puzzle_emb.weights": "puzzle_emb",
}
