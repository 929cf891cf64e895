"""A checkpoint as a model folder: what `Solver.from_pretrained` reads, with or without PyTorch."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from trm_sdk.domains import get_domain
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.checkpoint import GRAPH_FILE, save_model
from trm_sdk.search.attempts import check_options

from .errors import ExportError
from .exporter import ExportReport, Source, export_onnx, load_source, output_path
from .options import Groups


def export_bundle(
    source: Source,
    folder: str | os.PathLike[str],
    solve: SolveOptions | None = None,
    groups: Groups = "auto",
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
    groups : {"auto", "fixed", "optional", "required"}
        Whether the graph takes groups of cells as inputs; see `ExportOptions`.
    notes
        Facts to add to the model's notes.

    Raises
    ------
    ExportError
        If the graph differs from PyTorch, or the folder can't be written: nothing is replaced then.
    ConfigError
        If the defaults contradict each other, or ask for what domain or model can't do.
    ModelNotFoundError, CheckpointError
        If there is no such model, or it can't be read.
    """
    target = output_path(folder)
    if target.exists() and not target.is_dir():
        raise ExportError(f"{target} is a file; a model is written as a folder")
    spec, model = load_source(source)
    spec = spec.model_copy(update={"solve": solve or spec.solve, "notes": {**spec.notes, **notes}})
    if spec.solve.attempts > 1:  # a single one suits every model, also of a domain unknown here
        check_options(spec.solve, get_domain(spec.domain), spec.model, spec.solving_heads())
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        report = export_onnx((spec, model), made / GRAPH_FILE, mode="step", groups=groups)
        save_model(made, spec, model.state_dict())
        _move(sorted(made.iterdir()), target)
    return replace(report, path=target / GRAPH_FILE)


def _move(files: list[Path], folder: Path) -> None:
    """Copy files into a folder, of which none is replaced before all are there.

    Raises
    ------
    ExportError
    """
    partial = [folder / f".{file.name}.{os.getpid()}" for file in files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, copy in zip(files, partial, strict=True):
            shutil.copyfile(file, copy)
        for file, copy in zip(files, partial, strict=True):
            copy.replace(folder / file.name)
    except OSError as error:
        for copy in partial:
            with contextlib.suppress(OSError):  # it may never have come to be
                copy.unlink()
        raise ExportError(f"{folder} can't be written: {error.strerror}") from None
