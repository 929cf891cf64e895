"""A checkpoint as a model folder: what `Solver.from_pretrained` reads, with or without PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from export.exporter import ExportReport, Source, export_onnx, load_source
from trm_sdk.checkpoint import GRAPH_FILE, save_model
from trm_sdk.console import ErrorHandlingCommand
from trm_sdk.options import SolveOptions


def bundle(
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


@click.command(cls=ErrorHandlingCommand)
@click.argument("checkpoint", metavar="CHECKPOINT|MODEL")
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path))
@click.option("--max-steps", type=int, help="Default for solving, as are the next three.")
@click.option("--attempts", type=int)
@click.option("--explore", type=click.Choice(["none", "noise", "symmetry"]))
@click.option("--noise", type=float)
@click.option("--patience", type=int)
def main(checkpoint: str, folder: Path, **solve: Any) -> None:
    """Write CHECKPOINT as a model folder for Solver.from_pretrained."""
    given = SolveOptions(**{name: value for name, value in solve.items() if value is not None})
    spec, model = load_source(checkpoint)
    report = bundle((spec, model), folder, given.over(spec.solve))
    click.echo(
        f"{folder}: graph of {report.bytes:,} bytes, {report.parameter_bytes // 4:,} "
        f"parameters, differs from PyTorch by {report.max_difference:.1e}"
    )


if __name__ == "__main__":
    main()
