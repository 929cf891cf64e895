"""A name or a path to a model on disk: bundled, local, cached, or on the Hugging Face Hub.

The Hub is reached by `huggingface_hub` (extra ``hub``), whose settings apply: ``HF_HOME``,
``HF_HUB_CACHE``, ``HF_TOKEN`` or the token of ``hf auth login``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``. ``TRM_SDK_CACHE`` keeps the downloads of this package elsewhere.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from trm_sdk.errors import InvalidInputError, ModelNotFoundError
from trm_sdk.messages import first_line, shown
from trm_sdk.persistence.cache import expanded
from trm_sdk.persistence.folder import is_model_folder
from trm_sdk.persistence.reference import run_hint

BUNDLED = Path(__file__).parents[1] / "pretrained"
_HUB_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./+-]+))?", re.ASCII)


def list_pretrained() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(folder.name for folder in BUNDLED.glob("*") if is_model_folder(folder))


def resolve(
    name_or_path: str | os.PathLike[str],
    revision: str | None = None,
    subfolder: str | None = None,
    **download: Any,
) -> Path:
    """Find a model: a folder that holds one, or a single file.

    Parameters
    ----------
    name_or_path : str or path
        A bundled name; a folder or file that exists; or ``owner/name[@revision]`` on the Hub,
        which is downloaded once. An existing path comes before the Hub, a bundled name before a
        path.
    revision, subfolder
        Of a model on the Hub; see `download_model`.
    **download
        ``cache_dir``, ``token``, ``local_files_only``, ``force_download``; see `download_model`.

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
    try:
        text = os.fspath(name_or_path)
    except Exception as error:  # of whatever class it is
        raise InvalidInputError(f"a model is given by name or path: {first_line(error)}") from None
    if not isinstance(text, str) or not text:
        raise InvalidInputError(f"a model is given by name or path; got {shown(text)}")
    if isinstance(name_or_path, str) and text in list_pretrained():
        return BUNDLED / text
    path = expanded(text, "a model's path")
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
                f"model.safetensors are needed{run_hint(path)}"
            )
        return path
    match = _HUB_NAME.fullmatch(text)
    if match and isinstance(name_or_path, str) and not text.startswith("."):
        from trm_sdk.persistence.hub_client import download_model

        if revision is not None and match[2] and match[2] != revision:
            raise InvalidInputError(
                f"two revisions are named: {shown(text)} and revision={shown(revision)}"
            )
        return download_model(match[1], revision or match[2], subfolder, **download)
    raise ModelNotFoundError(_unknown(text))


def _unknown(name: str) -> str:
    names = list_pretrained()
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"no model named {shown(name)}{hint} (bundled: {', '.join(names) or 'none'}; or give a "
        "folder, a file, or owner/name on the Hugging Face Hub)"
    )
