"""What a model is, as plain facts, for people and for ``trm info --json``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trm_sdk.domains.base import Domain
from trm_sdk.persistence.checkpoint import load_model, read_spec
from trm_sdk.persistence.folder import folder_spec
from trm_sdk.persistence.hub import BUNDLED, resolve
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.variants import list_variants, model_for


def describe(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model is.

    Parameters
    ----------
    name_or_path : str or path
        As `Solver.from_pretrained` takes it.

    Raises
    ------
    ModelNotFoundError, CheckpointError
    """
    name, variant = model_for(name_or_path)
    path = resolve(name)
    graph = path / "model.onnx" if path.is_dir() else path
    facts: dict[str, Any] = {"path": str(path)}
    checksum = spec = None
    if graph.suffix == ".onnx" and graph.is_file():
        from trm_sdk.runtimes.graph_file import graph_metadata

        metadata = graph_metadata(graph)
        spec = ModelSpec.from_json(metadata["trm_spec"], graph)
        facts["graph"] = f"{metadata['trm_mode']}, {graph.stat().st_size} bytes"
        checksum = metadata.get("weights_sha256")
    if path.is_dir():
        spec = read_spec(path) if spec is None else folder_spec(path, spec)
    elif spec is None:
        spec, _ = load_model(path)
    model = spec.model
    domain, shape, tokens = spec.domain, spec.grid_shape, spec.vocabulary
    if variant is not None:
        domain, shape, tokens = variant.name, variant.shape, variant.vocabulary.names
    facts |= {
        "domain": domain,
        **_shared(path, spec, variant),
        "grid_shape": list(shape),
        "vocabulary": len(tokens),
        "mixer": model.mixer,
        "hidden_size": model.hidden_size,
        "passes_a_step": model.passes,
        "solve": spec.solve.model_dump(exclude_none=True),
    }
    if checksum:
        facts["weights_sha256"] = checksum
    if path.is_dir():
        facts["files"] = {
            file.name: file.stat().st_size for file in sorted(path.iterdir()) if file.is_file()
        }
    return facts | ({"notes": spec.notes} if spec.notes else {})


def _shared(path: Path, spec: ModelSpec, variant: Domain | None) -> dict[str, Any]:
    """Which other domains' puzzles the weights solve, or whose weights solve this domain's."""
    if variant is not None:
        return {"weights": f"{path.name}, made for {spec.domain}"}
    if path.parent != BUNDLED:
        return {}
    others = [name for name, model in list_variants().items() if model == path.name]
    return {"also_solves": others} if others else {}
