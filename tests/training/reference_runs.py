"""Runs with random weights in the form that the reference implementation leaves them in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from trm_sdk.model.recursion import TRM

#: What makes a recipe of the paper's attention network train in no time.
SMALL = (
    "precision=float32",
    "model.hidden_size=8",
    "model.num_heads=2",
    "model.L_layers=1",
    "model.H_cycles=1",
    "model.L_cycles=1",
    "model.puzzle_emb_ndim=8",
    "model.puzzle_emb_len=1",
    "objective.max_steps=2",
    "evaluation.steps=2",
)


def as_reference(model: TRM) -> dict[str, Tensor]:
    """A state dict with the names that the reference gives its weights, compiled."""
    theirs = {
        "y_init": "H_init",
        "z_init": "L_init",
        "embed_tokens": "embed_tokens.embedding_weight",
        "puzzle_emb": "puzzle_emb.weights",
    }
    weights = {}
    for name, value in model.state_dict().items():
        name = name.removeprefix("network.")
        name = theirs.get(name, name.replace("layers.", "L_level.layers.", 1))
        weights[f"_orig_mod.model.inner.{name}"] = value.bfloat16() if "layers" in name else value
    return weights


def reference_run(folder: Path, model: TRM, **data: Any) -> Path:
    """A run's folder as the reference leaves it, with random weights."""
    config = model.config
    arch = {
        "H_cycles": config.H_cycles,
        "L_cycles": config.L_cycles,
        "L_layers": config.L_layers,
        "H_layers": 0,
        "hidden_size": config.hidden_size,
        "num_heads": config.num_heads,
        "expansion": 4,
        "halt_max_steps": 3,  # random weights magnify rounding, some two times a step
        "halt_exploration_prob": 0.1,
        "pos_encodings": "rope",
        "mlp_t": False,
        "puzzle_emb_ndim": config.puzzle_emb_ndim,
        "puzzle_emb_len": config.puzzle_emb_len,
        "forward_dtype": "bfloat16",
    }
    folder.mkdir()
    (folder / "all_config.yaml").write_text(
        yaml.safe_dump({"arch": arch, "global_batch_size": 768})
    )
    torch.save(as_reference(model), folder / "step_5")
    for name, content in data.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "step_5"
