"""Checkpoints of a run: everything it needs to resume bit for bit, never found half written.

A checkpoint also has a compact form, for moving a run to another machine::

    python -m trm_sdk.training.state export runs/NAME/latest.pt run.travel.pt
    python -m trm_sdk.training.state import run.travel.pt runs/NAME/latest.pt

In a checkout ``python -m training.state`` does the same.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from trm_sdk.atomic import writing_whole
from trm_sdk.cli.console import ErrorHandlingCommand
from trm_sdk.errors import CheckpointError
from trm_sdk.messages import first_line
from trm_sdk.persistence.checkpoint import averaged_weights
from trm_sdk.persistence.torch_file import check_archive

LATEST = "latest.pt"
#: The one before it.
PREVIOUS = "previous.pt"
#: Parts without which a run can't resume.
_PARTS = frozenset(("recipe", "step", "model", "ema", "optimizers", "carry", "noise"))


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically, and keep the previous one beside it.

    Whenever the run is killed or the machine loses power, one of the two is complete.

    Raises
    ------
    CheckpointError
        If it can't be written there.
    """
    previous = path.with_name(PREVIOUS) if path.name == LATEST else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing_whole(path, previous) as file:
            torch.save(_to_tensors(state), file)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(f"{path} can't be written: {first_line(cause)}") from None


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint of a training run.
    """
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as file:  # torch itself never looks at the checksums
            broken = file.testzip()
        if broken is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of {broken} does not match")
        state: Any = _to_arrays(torch.load(path, map_location="cpu", weights_only=True))
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises whatever unpickling raises, numpy what views do
        raise CheckpointError(f"{path} is not a readable checkpoint: {first_line(error)}") from None
    found: dict[str, Any] = state if isinstance(state, dict) else {}
    missing = sorted(_PARTS - set(found))
    if missing:
        raise CheckpointError(
            f"{path} is not a checkpoint of a training run: it lacks {', '.join(missing)}"
        )
    return found


def _to_tensors(value: Any) -> Any:
    """Replace numpy arrays by tagged tensors: ``weights_only`` loading accepts no numpy."""
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint64:  # torch can hold it, but not do anything with it
            return {"__numpy__": torch.from_numpy(value.view(np.int64)), "dtype": "uint64"}
        return {"__numpy__": torch.from_numpy(np.asarray(value, order="C"))}
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_tensors(item) for item in value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def _to_arrays(value: Any) -> Any:
    """Undo `_to_tensors`."""
    if isinstance(value, dict):
        if "__numpy__" in value:
            array = value["__numpy__"].numpy()
            return array.view(value["dtype"]) if "dtype" in value else array
        return {key: _to_arrays(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_arrays(item) for item in value)
    return value


# --- the compact form -----------------------------------------------------------------------

#: Numbers that share a scale in 8 bits.
_BLOCK = 256


def pack(saved: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint in its compact form: about 9 bytes a parameter instead of 16.

    Weights stay exact. The averaged weights are stored as their difference from the weights, in
    bfloat16; Adam's first moment in 8 bits with a scale every 256 numbers; its second moment, whose
    smallest values matter since steps are divided by them, in bfloat16. Data, schedule and random
    state are kept. The puzzles in flight are left out: a resumed run draws new ones. So are
    `evaluation.files` and `start_from` of the recipe, which name files of this machine.

    Raises
    ------
    CheckpointError
        If it is already in its compact form.
    """
    if "packed" in saved:
        raise CheckpointError("this checkpoint is already in its compact form")
    packed = {key: value for key, value in saved.items() if key not in ("ema", "carry")}
    average, weights = saved["ema"], saved["model"]
    packed["ema"] = {name: (average[name] - weights[name]).bfloat16() for name in average}
    packed["carry"] = {key: saved["carry"][key] for key in ("rng", "stream")}
    packed["optimizers"] = [
        {
            **one,
            "state": {
                index: {key: _shrink(key, value) for key, value in moments.items()}
                for index, moments in one["state"].items()
            },
        }
        for one in saved["optimizers"]
    ]
    recipe = json.loads(saved["recipe"])
    recipe["evaluation"]["files"] = {}
    recipe["start_from"] = None
    packed["recipe"] = json.dumps(recipe)
    packed["packed"] = 1
    return packed


def unpack(packed: dict[str, Any]) -> dict[str, Any]:
    """Return the checkpoint that `pack` has made compact, for a run to resume from.

    Raises
    ------
    CheckpointError
        If it is not in its compact form.
    """
    if "packed" not in packed:
        raise CheckpointError("this checkpoint is not in its compact form")
    saved = {key: value for key, value in packed.items() if key != "packed"}
    saved["ema"] = averaged_weights(saved["model"], packed["ema"])
    saved["optimizers"] = [
        {
            **one,
            "state": {
                index: {key: _grow(value) for key, value in moments.items()}
                for index, moments in one["state"].items()
            },
        }
        for one in packed["optimizers"]
    ]
    return saved


def _shrink(key: str, value: Any) -> Any:
    if not isinstance(value, Tensor) or value.numel() < _BLOCK:
        return value
    if key == "exp_avg_sq":
        return {"bfloat16": value.bfloat16()}
    flat = torch.nn.functional.pad(value.flatten().float(), (0, -value.numel() % _BLOCK))
    blocks = flat.view(-1, _BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    codes = (blocks / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8)
    return {"int8": codes, "scale": scale, "shape": list(value.shape)}


def _grow(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "bfloat16" in value:
        return value["bfloat16"].float()
    shape = torch.Size(value["shape"])
    flat = (value["int8"].float() * value["scale"]).flatten()
    return flat[: shape.numel()].view(shape).clone()


def _converted(convert: Callable[[dict[str, Any]], dict[str, Any]], path: Path) -> dict[str, Any]:
    try:
        return convert(load(path))
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} lacks parts of a checkpoint: {first_line(error)}") from None


@click.group()
def main() -> None:
    """Convert checkpoints of training runs to a compact form and back."""


@main.command("export", cls=ErrorHandlingCommand)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("compact", type=click.Path(path_type=Path))
def _export(checkpoint: Path, compact: Path) -> None:
    """Write the compact form of CHECKPOINT to COMPACT."""
    save(compact, _converted(pack, checkpoint))
    click.echo(f"{compact}: {compact.stat().st_size / 2**20:.1f} MiB")


@main.command("import", cls=ErrorHandlingCommand)
@click.argument("compact", type=click.Path(path_type=Path))
@click.argument("checkpoint", type=click.Path(path_type=Path))
def _import(compact: Path, checkpoint: Path) -> None:
    """Write COMPACT as CHECKPOINT, for trm-fit to resume from."""
    saved = _converted(unpack, compact)
    save(checkpoint, saved)
    click.echo(f"{checkpoint}: step {saved['step']:,}")


if __name__ == "__main__":
    main()
