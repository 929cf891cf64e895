"""The folder of an adapted solver: ``adapted.json`` and ``weights.npy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.tasks import blank_value, task_from_json, task_json
from trm_sdk.array_files import read_array
from trm_sdk.atomic import write_whole, writing_whole
from trm_sdk.domains import get_domain
from trm_sdk.errors import CheckpointError, InvalidInputError, TRMError
from trm_sdk.messages import explain, first_line, shown

if TYPE_CHECKING:
    from trm_sdk.adapt.solver import AdaptedSolver

_FORMAT = 1
_Count = NonNegativeInt
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Numbers(BaseModel):
    """What is counted and measured: of each snapshot the fields of `Snapshot` but its weights."""

    steps: _Count
    runs: _Count
    seconds: _Number
    snapshots: list[tuple[_Count, _Count, _Number, _Share, tuple[_Share, ...], float]] = Field(
        min_length=1
    )


_ABOUT, _WEIGHTS = "adapted.json", "weights.npy"


def write_folder(folder: Path, solver: AdaptedSolver) -> None:
    """Write a solver; see `AdaptedSolver.save_pretrained`."""
    about = {
        "format": _FORMAT,
        "domain": solver.domain.name,
        "task": task_json(solver.task),
        "options": solver.options.model_dump(mode="json"),
        "steps": solver.steps,
        "runs": solver.runs,
        "seconds": solver.seconds,
        "snapshots": [
            [one.run, one.steps, one.seconds, one.progress, list(one.accuracy), one.loss]
            for one in solver.snapshots
        ],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with writing_whole(folder / _WEIGHTS) as file:
            np.save(file, np.stack([one.weights.flat for one in solver.snapshots]))
        write_whole(folder / _ABOUT, json.dumps(about).encode())
    except OSError as error:
        raise InvalidInputError(f"{folder} can't be written: {error.strerror or error}") from None


def read_folder(folder: Path) -> dict[str, Any]:
    """Return the arguments of the `AdaptedSolver` that a folder holds.

    Raises
    ------
    CheckpointError
        If a file is missing, corrupt, or of another version.
    """
    from trm_sdk.adapt.network import Sizes, Weights
    from trm_sdk.adapt.training import Snapshot

    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        weights = np.ascontiguousarray(read_array(folder / _WEIGHTS), np.float32)
        if about["format"] != _FORMAT:
            raise ValueError(f"format {shown(about['format'])}; this version reads {_FORMAT}")
        domain, task = get_domain(about["domain"]), task_from_json(about["task"])
        coding = Coding(task, blank_value(domain))
        sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
        options, numbers = AdaptOptions(**about["options"]), _Numbers.model_validate(about)
        if not np.isfinite(weights).all():
            raise ValueError("weights that are not finite")
        if any(len(accuracy) != len(options.depths) for *_, accuracy, _ in numbers.snapshots):
            raise ValueError(f"snapshots must have an accuracy for each of {options.depths}")
        snapshots = [
            Snapshot(run, steps, at, progress, Weights(sizes, row), accuracy, loss)
            for row, (run, steps, at, progress, accuracy, loss) in zip(
                weights, numbers.snapshots, strict=True
            )
        ]
        return {
            "task": task,
            "domain": domain,
            "options": options,
            "snapshots": snapshots,
            "steps": numbers.steps,
            "runs": numbers.runs,
            "seconds": numbers.seconds,
        }
    except ValidationError as error:
        said = explain(error, "it", _Numbers.model_fields)
        raise CheckpointError(f"{folder} is not a saved AdaptedSolver: {said}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, TRMError) as error:
        raise CheckpointError(
            f"{folder} is not a saved AdaptedSolver: {first_line(error)}"
        ) from None


__all__ = ["read_folder", "write_folder"]
