"""A name or a path to a model on disk: bundled, local, cached, or on the Hugging Face Hub.

The Hub is spoken to in plain HTTPS, so that no client library is needed. What is heeded:

- ``TRM_SDK_CACHE``: where downloads are kept (default: the platform's cache folder);
- ``HF_ENDPOINT``: another server than ``https://huggingface.co``;
- ``HF_TOKEN``: for private models;
- ``HF_HUB_OFFLINE``: set to 1, use only what is in the cache.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path
from typing import Any

from trm_sdk.errors import InvalidInputError, ModelNotFoundError
from trm_sdk.messages import shown

#: Files that make a folder a model; any one of the first two will do beside the config.
MODEL_FILES = ("config.json", "model.onnx", "model.safetensors", "README.md")
BUNDLED = Path(__file__).parents[1] / "pretrained"
_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def list_pretrained() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in BUNDLED.glob("*") if is_model_folder(folder))


def is_model_folder(path: Path) -> bool:
    """Whether a folder has a config and a graph or weights."""
    return (path / "config.json").is_file() and any(
        (path / name).is_file() for name in ("model.onnx", "model.safetensors")
    )


def cache_folder() -> Path:
    """Where downloaded models are kept.

    Raises
    ------
    InvalidInputError
        If ``TRM_SDK_CACHE`` begins with the home of a user that does not exist.
    """
    chosen = os.environ.get("TRM_SDK_CACHE")
    if chosen:
        return _expanded(chosen, "TRM_SDK_CACHE")
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "trm_sdk"


def _expanded(path: str, what: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidInputError(f"{what} can't be {shown(path)}: there is no such home") from None


def resolve(name_or_path: str | os.PathLike[str]) -> Path:
    """Find a model: a folder that holds one, or a single file.

    Parameters
    ----------
    name_or_path : str or path
        A bundled name; a folder or file that exists; or ``owner/name[@revision]`` on the Hub,
        which is downloaded once. An existing path comes before the Hub, a bundled name before a
        path.

    Raises
    ------
    ModelNotFoundError
        If there is no such model; the message names close matches and the bundled ones.
    InvalidInputError
        If `name_or_path` is empty, neither str nor path, or in a home that does not exist.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise InvalidInputError(
            f"a model is given by name or path; got {type(name_or_path).__name__}"
        )
    text = os.fspath(name_or_path)
    if not text:
        raise InvalidInputError(f"a model is given by name or path; got {text!r}")
    if isinstance(name_or_path, str) and text in list_pretrained():
        return BUNDLED / text
    path = _expanded(text, "a model's path")
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError:  # such as a name that is too long
        is_file = is_folder = False
    if is_file:
        return path
    if is_folder:
        if not is_model_folder(path):
            raise ModelNotFoundError(
                f"the folder {path} holds no model: config.json and model.onnx or "
                "model.safetensors are needed"
            )
        return path
    match = _HUB_NAME.fullmatch(text)
    if match and isinstance(name_or_path, str) and not text.startswith("."):
        from trm_sdk.persistence.download import download_model

        return download_model(match[1], match[2] or "main")
    raise ModelNotFoundError(_unknown(text))


def _unknown(name: str) -> str:
    names = list_pretrained()
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"no model named {shown(name)}{hint} (bundled: {', '.join(names) or 'none'}; or give a "
        "folder, a file, or owner/name on the Hugging Face Hub)"
    )


def describe(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model is, for people and for ``trm info --json``.

    Raises
    ------
    ModelNotFoundError, CheckpointError
    """
    from trm_sdk.persistence.checkpoint import read_spec
    from trm_sdk.persistence.spec import ModelSpec

    path = resolve(name_or_path)
    graph = path / "model.onnx" if path.is_dir() else path
    facts: dict[str, Any] = {"path": str(path)}
    checksum = spec = None
    if graph.suffix == ".onnx" and graph.is_file():
        from trm_sdk.runtimes.onnx import graph_metadata

        metadata = graph_metadata(graph)
        spec = ModelSpec.from_json(metadata["trm_spec"], graph)
        facts["graph"] = f"{metadata['trm_mode']}, {graph.stat().st_size} bytes"
        checksum = metadata.get("weights_sha256")
    if path.is_dir():
        from trm_sdk.runtimes import folder_spec

        spec = read_spec(path) if spec is None else folder_spec(path, spec)
    elif spec is None:
        from trm_sdk.persistence.checkpoint import load_model

        spec, _ = load_model(path)
    model = spec.model
    facts |= {
        "domain": spec.domain,
        "grid_shape": list(spec.grid_shape),
        "vocabulary": len(spec.vocabulary),
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
