"""Weights that a run starts from where its recipe names another model: as they are, or widened.

A network of more channels starts as the same function: what the narrow one computes is copied, and
nothing is written into the new channels yet, while what will read them is drawn at random, so that
gradients reach them at once (Net2Net's idea, arXiv 1511.05641, for a network that normalises the
sum it recurses on). The new channels are zeros under the norm's mean, so the old ones stand
``sqrt(wide / narrow)`` higher; whoever reads them divides by it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from fnmatch import fnmatch

import torch
from torch import Tensor

from trm_sdk.errors import ConfigError
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.spec import ModelSpec

#: Weights that are the recipe's own matter: another model's fit only where they happen to.
_OWN = ("network.heads.", "network.dead_end_head.", "network.q_head.", "network.puzzle_emb")


def start_from(
    name_or_path: str | os.PathLike[str], spec: ModelSpec, fresh: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the weights of another model, in the shapes of a new one.

    Heads beside the answer's, and embeddings of puzzles, are taken where both models have them
    alike, and stay fresh elsewhere.

    Parameters
    ----------
    name_or_path : str or path
        A bundled model, a folder, a checkpoint of a run, or ``owner/name`` on the Hub.
    spec : ModelSpec
        Of the new model. Its network may be wider (`hidden_size`, `ffn_size`) where it is a
        structured one.
    fresh : mapping from name to Tensor
        The new model's weights, as they were drawn.

    Returns
    -------
    dict from name to Tensor
        A value for every name of `fresh`.

    Raises
    ------
    CheckpointError
        If the model can't be read.
    ConfigError
        Naming what the new model's weights can't be made from.
    ModelNotFoundError
        If there is no such model.
    """
    there, model = load_model(resolve(name_or_path))
    old = model.state_dict()
    if there.identifiers != spec.identifiers:  # rows of a puzzle embedding would mean others
        old.pop("network.puzzle_emb", None)
    if _widths(there.model) != _widths(spec.model):
        old = _widened(old, there.model, spec.model, fresh, name_or_path)
    taken = dict(fresh)
    for key, tensor in fresh.items():
        if key in old and old[key].shape == tensor.shape:
            taken[key] = old[key].to(tensor)
        elif not key.startswith(_OWN):
            found = f"is of shape {tuple(old[key].shape)}" if key in old else "is missing"
            raise ConfigError(
                f"start_from: in {name_or_path} the weight {key!r} {found}; the recipe's network "
                f"has it of shape {tuple(tensor.shape)}. Networks must be alike but for their "
                "width and their further heads"
            )
    return taken


def _widths(config: ModelConfig) -> dict[str, int]:
    state, hidden = config.hidden_size, config.swiglu_size
    return {"written": state, "read": state, "told": state, "hidden": hidden}


#: What the axes of a weight run over, by the end of its name, the more particular one first:
#: channels of the state that it writes or reads, of what is told, or hidden ones ("": neither).
_AXES = {
    "taps.*.weight": ("told", ""),
    "message.weight": ("told", "read"),
    "message.bias": ("told",),
    "gate_up.weight": ("hidden", "read"),
    "gate_up.bias": ("hidden",),
    "up.weight": ("hidden", "told"),
    "up.bias": ("hidden",),
    "down.weight": ("written", "hidden"),
    "node.weight": ("hidden", "read"),
    "node.bias": ("hidden",),
    "relations.*.weight": ("hidden", "read"),
    "value.weight": ("hidden", "read"),
    "embed_tokens": ("", "written"),
    "_init": ("written",),
    "head.weight": ("", "read"),
    "heads.*.weight": ("", "read"),
}


def _widened(
    old: Mapping[str, Tensor],
    narrow: ModelConfig,
    wide: ModelConfig,
    fresh: Mapping[str, Tensor],
    source: str | os.PathLike[str],
) -> dict[str, Tensor]:
    """The weights of a wider network that computes the same, out of fresh ones of its shapes."""
    before, after = _widths(narrow), _widths(wide)
    structured = narrow.mixer == wide.mixer == "structured"
    if not structured or any(after[axis] < before[axis] for axis in before):
        raise ConfigError(
            f"start_from: {source} has hidden_size {narrow.hidden_size} and ffn_size "
            f"{narrow.swiglu_size}, the recipe {wide.hidden_size} and {wide.swiglu_size}; a "
            "structured network may be wider than the one it starts from, all others must be as "
            "wide"
        )
    height = math.sqrt(wide.hidden_size / narrow.hidden_size)
    factor = {"written": height, "read": 1 / height}
    widened = dict(old)
    for name, new in fresh.items():
        axes = next((axes for end, axes in _AXES.items() if fnmatch(name, f"*{end}")), None)
        if axes is None or name not in old or old[name].ndim != new.ndim:
            continue
        sizes = [
            (length, before.get(axis, length), after.get(axis, length))
            for axis, length in zip(axes, old[name].shape, strict=True)
        ]
        if tuple(length // one * other for length, one, other in sizes) != new.shape:
            continue  # another network: its shape says so
        places = [_places(*size) for size in sizes]
        value = new.clone()
        if "written" in axes:
            value.zero_()
        elif axes[-1] == "told" or axes[0] == "":
            # What the old ones hear, and the heads: nothing of the new channels.
            value[places[0]] = 0
        scale = math.prod(factor.get(axis, 1.0) for axis in axes)
        value[torch.meshgrid(*places, indexing="ij")] = old[name].to(value) * scale
        widened[name] = value
    return widened


def _places(length: int, narrow: int, wide: int) -> Tensor:
    """Where the channels of an axis, perhaps several times all of them, stand in a wider one."""
    starts = torch.arange(length // narrow)[:, None] * wide
    return (starts + torch.arange(narrow)).flatten()


__all__ = ["start_from"]
