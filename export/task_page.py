"""The page of one task: what an adapted solver becomes in a browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trm_sdk.adapt.graph import MODE
from trm_sdk.adapt.solver import AdaptedSolver
from trm_sdk.atomic import write_whole
from trm_sdk.errors import CheckpointError
from trm_sdk.runtimes.graph_file import read_graph

from .errors import ExportError
from .page_folder import Runtime, WebReport, make_folder, report, write_assets, writing

#: What `AdaptedSolver.save_pretrained` writes.
_SAVED = "adapted.json"
_FILES = (
    *("adapted/index.html", "adapted/page.js", "adapted/task.js", "adapted/task.css"),
    *("adapted/README.md", "style.css", "loading.js", "puzzle.js", "deduction.js", "package.json"),
)


def adapted_graph(source: str | os.PathLike[str] | AdaptedSolver) -> AdaptedSolver | Path | None:
    """Return the adapted solver or its graph that a source is, None where it is another model.

    Parameters
    ----------
    source : AdaptedSolver, name or path
        A path is that of a folder of `AdaptedSolver.save_pretrained`, or of a graph of
        `export_adapted`.

    Raises
    ------
    CheckpointError
        If a saved solver can't be read.
    """
    if isinstance(source, AdaptedSolver):
        return source
    try:
        path = Path(source)
        if (path / _SAVED).is_file():
            return AdaptedSolver.load(path)
        if path.suffix != ".onnx" or not path.is_file():
            return None
    except (OSError, TypeError, ValueError):  # `resolve` says what is wrong with it
        return None
    try:
        return path if read_graph(path).metadata.get("trm_mode") == MODE else None
    except CheckpointError:
        return None


def write_task_page(source: AdaptedSolver | Path, folder: Path, runtime: Runtime) -> WebReport:
    """Write a folder that shows a task and runs its network; see `export_web`.

    Raises
    ------
    ExportError
        If the folder can't be written, a graph is of an older version, or onnxruntime-web's files
        are to be checked.
    """
    if runtime.hashes:
        raise ExportError(
            "the page of an adapted solver can't check the files that a server sends: give "
            "onnxruntime-web as a folder (runtime), which is copied, in place of integrity"
        )
    make_folder(folder)
    if isinstance(source, AdaptedSolver):
        from .adapted import export_adapted

        export_adapted(source, folder / "model.onnx")
        domain = source.domain.name
    else:
        graph = read_graph(source)
        try:
            spec = json.loads(graph.metadata["trm_spec"])
            domain, _ = str(spec["domain"]), (spec["coding"], spec["values"])
        except (ValueError, KeyError, TypeError):
            raise ExportError(
                f"{source} does not say how a page is to read inputs: export it again from its "
                "solver"
            ) from None
        with writing(folder):
            write_whole(folder / "model.onnx", graph.data)
    with writing(folder):
        written = write_assets(folder, _FILES, runtime)
    return report(folder, domain, runtime, ["model.onnx", *written])


__all__ = ["adapted_graph", "write_task_page"]
