"""The folder of an adapted solver: ``adapted.json`` and ``weights.npy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.options import AdaptOptions
from trm_sdk.adapt.tasks import blank_value, task_from_json, task_json
from trm_sdk.atomic import write_whole, writing_whole
from trm_sdk.domains import get_domain
from trm_sdk.errors import CheckpointError, InvalidInputError, TRMError
from trm_sdk.messages import first_line

if TYPE_CHECKING:
    from trm_sdk.adapt.solver import AdaptedSolver

_FORMAT = 1
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
        weights = np.load(folder / _WEIGHTS, allow_pickle=False)
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']!r}; this version reads {_FORMAT}")
        domain, task = get_domain(about["domain"]), task_from_json(about["task"])
        coding = Coding(task, blank_value(domain))
        sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
        snapshots = [
            Snapshot(run, steps, at, progress, Weights(sizes, row), tuple(accuracy), loss)
            for row, (run, steps, at, progress, accuracy, loss) in zip(
                np.ascontiguousarray(weights, np.float32), about["snapshots"], strict=True
            )
        ]
        if not snapshots:
            raise ValueError("it has no snapshots")
        return {
            "task": task,
            "domain": domain,
            "options": AdaptOptions(**about["options"]),
            "snapshots": snapshots,
            "steps": int(about["steps"]),
            "runs": int(about["runs"]),
            "seconds": float(about["seconds"]),
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError, TRMError) as error:
        raise CheckpointError(
            f"{folder} is not a saved AdaptedSolver: {first_line(error)}"
        ) from None


__all__ = ["read_folder", "write_folder"]
