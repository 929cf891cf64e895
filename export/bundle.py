"""A checkpoint as a model folder: what `Solver.from_pretrained` reads, with or without PyTorch."""

from __future__ import annotations

import os
from typing import Any

from export.exporter import ExportReport, Source, export_onnx, load_source
from trm_sdk.checkpoint import GRAPH_FILE, save_model
from trm_sdk.options import SolveOptions


def export_bundle(
    source: Source,
    folder: str | os.PathLike[str],
    solve: SolveOptions | None = None,
    **notes: Any,
) -> ExportReport:
    """Write ``config.json``, ``model.safetensors`` and a verified ``model.onnx`` into a folder.

    Parameters
    ----------
    source : name, path, or (ModelSpec, TRM)
    folder : path
        Made if need be; the three files are replaced, others (the model card) left alone.
    solve : SolveOptions, optional
        Defaults for solving that the model carries, instead of those it has.
    notes
        Facts to add to the model's notes.

    Raises
    ------
    ExportError
        If the graph differs from PyTorch.
    ModelNotFoundError, CheckpointError
        If there is no such model, or it can't be read.
    """
    spec, model = load_source(source)
    spec = spec.model_copy(update={"solve": solve or spec.solve, "notes": {**spec.notes, **notes}})
    path = save_model(folder, spec, model.state_dict())
    return export_onnx((spec, model), path / GRAPH_FILE, mode="step")
