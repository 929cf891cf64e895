"""Checkpoints of a run: everything it needs to go on exactly, written so that none is ever half."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trm_sdk.errors import CheckpointError

LATEST = "latest.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, then rename it: a killed run keeps the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(_to_tensors(state), temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If it is no checkpoint of a training run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever unpickling raises
        raise CheckpointError(
            f"{path} is no readable checkpoint: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(state, dict) or not {"recipe", "step", "model", "optimizers"} <= set(state):
        raise CheckpointError(f"{path} is no checkpoint that a run can go on from")
    restored: dict[str, Any] = _to_arrays(state)
    return restored


def _to_tensors(value: Any) -> Any:
    """Numpy arrays as tagged tensors: files are read with ``weights_only``, without numpy."""
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint64:  # torch can hold it, but not do anything with it
            return {"__numpy__": torch.from_numpy(value.view(np.int64)), "dtype": "uint64"}
        return {"__numpy__": torch.from_numpy(np.ascontiguousarray(value))}
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_tensors(item) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def _to_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        if "__numpy__" in value:
            array = value["__numpy__"].numpy()
            return array.view(value["dtype"]) if "dtype" in value else array
        return {key: _to_arrays(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_arrays(item) for item in value)
    return value
