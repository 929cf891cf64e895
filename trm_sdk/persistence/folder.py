"""Model folders: config, graph, weights and card, which belong together."""

from __future__ import annotations

import reprlib
import shutil
from pathlib import Path

from trm_sdk.errors import CheckpointError, InvalidInputError
from trm_sdk.persistence.checkpoint import (
    GRAPH_FILE,
    IDENTIFIERS_FILE,
    SPEC_FILE,
    read_spec,
    write_spec,
)
from trm_sdk.persistence.spec import ModelSpec

#: Files that make a folder a model; any one of the first two will do beside the config.
MODEL_FILES = ("config.json", "model.onnx", "model.safetensors", "README.md")
#: Those, and the names of puzzle identifiers, which few models have.
ALL_FILES = (*MODEL_FILES, IDENTIFIERS_FILE)
#: What a config and a graph in one folder must agree about, beside the model itself.
_MADE_FOR = ("domain", "vocabulary", "grid_shape", "identifiers")


def is_model_folder(path: Path) -> bool:
    """Return whether a folder has a config and a graph or weights."""
    return (path / "config.json").is_file() and any(
        (path / name).is_file() for name in ("model.onnx", "model.safetensors")
    )


def folder_spec(folder: Path, graph: ModelSpec) -> ModelSpec:
    """Return the spec of a model folder, whose graph carries one too.

    Defaults for solving and notes are the folder's, where people edit them; for the rest, the two
    must agree.

    Raises
    ------
    CheckpointError
        Naming the first difference, or if ``config.json`` is missing or no spec.
    """
    spec = read_spec(folder)
    pairs = [(name, getattr(spec, name), getattr(graph, name)) for name in _MADE_FOR]
    pairs += [
        (f"model.{name}", getattr(spec.model, name), getattr(graph.model, name))
        for name in type(spec.model).model_fields
    ]
    for name, ours, its in pairs:
        if ours != its:
            raise CheckpointError(
                f"{folder / SPEC_FILE} and {GRAPH_FILE} differ in {name}: {reprlib.repr(ours)} "
                f"and {reprlib.repr(its)}; they must be of one model"
            )
    return spec


def copy_model(source: Path, folder: Path, spec: ModelSpec) -> Path:
    """Write a model that is on disk, a folder or a graph, as a folder.

    Raises
    ------
    InvalidInputError
        If the folder can't be written, is a file, or is where the model was read from.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is a file; a model is saved as a folder")
    try:
        if source.is_dir():
            if folder.resolve() == source.resolve():
                raise InvalidInputError(f"{folder} is where this model was read from")
            shutil.copytree(source, folder, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / GRAPH_FILE)
            write_spec(folder, spec)
    except OSError as error:
        raise InvalidInputError(f"{folder} can't be written: {error.strerror or error}") from None
    return folder
