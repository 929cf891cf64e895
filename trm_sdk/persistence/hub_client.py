"""Models on the Hugging Face Hub, by `huggingface_hub`, whose cache, token and settings apply.

What it does not do is done here: a file is compared with the checksum that the Hub states for it, a
download ends at its announced size, a commit that was asked for is the one that comes, and every
failure is one sentence.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.persistence.folder import ALL_FILES, is_model_folder
from trm_sdk.persistence.hub_download import Download
from trm_sdk.persistence.hub_settings import (
    endpoint_address,
    import_hub,
    is_offline,
    reason,
    without_password,
)

#: A branch or tag, or a folder inside a repository; never one that leads out of where it is put.
_PATH = re.compile(r"(?!.*(?:^|/)\.+(?:/|$))[\w.+-]+(?:/[\w.+-]+)*", re.ASCII)
_LONGEST_PATH = 250


def download_model(
    repository: str,
    revision: str | None = None,
    subfolder: str | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Download a model, or find it in the cache, and return its folder.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, optional
        Branch, tag or commit; default ``main``. Where a branch stands is asked anew each time.
    subfolder : str, optional
        Folder of the repository that holds the model.
    cache_dir : path, optional
        Default: ``TRM_SDK_CACHE``, or else the cache of `huggingface_hub` (``HF_HOME``,
        ``HF_HUB_CACHE``).
    token : str or bool, optional
        Default: ``HF_TOKEN``, or what ``hf auth login`` saved. False: none.
    local_files_only : bool
        Use only what is in the cache; ``HF_HUB_OFFLINE=1`` means the same.
    force_download : bool
        Download again what is in the cache.

    Raises
    ------
    ModelNotFoundError
        If the Hub has no such model, or can't be reached and the cache does not have it.
    CheckpointError
        If what came is not what the Hub says it holds.
    InvalidInputError
        If an argument, or a variable that names a server or a folder, can't be used.
    MissingDependencyError
        Without huggingface_hub (``pip install 'trm-sdk[hub]'``).
    """
    import_hub("downloading a model from the Hugging Face Hub")
    for name, value in (("revision", revision), ("subfolder", subfolder)):
        if value is not None and not (
            isinstance(value, str) and len(value) <= _LONGEST_PATH and _PATH.fullmatch(value)
        ):
            raise InvalidInputError(f"{name} must be a name, or names with '/'; got {shown(value)}")
    download = Download(repository, revision or "main", subfolder, cache_dir, token)
    if local_files_only or is_offline():
        return download.cached("downloading is switched off")
    return download.current(force_download)


def push_to_hub(
    model: str | os.PathLike[str] | SavesItself,
    repository: str,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    token: str | bool | None = None,
    private: bool | None = None,
    message: str = "Upload model",
    create_pr: bool = False,
) -> str:
    """Upload a model to the Hub, making the repository if need be.

    Only the model's own files are uploaded: ``config.json``, ``model.onnx``,
    ``model.safetensors`` and ``README.md``.

    Parameters
    ----------
    model : path or Solver
        A model folder, or what has `save_pretrained`.
    repository : str
        ``owner/name``.
    revision : str, optional
        Branch; default ``main``.
    subfolder : str, optional
        Folder of the repository; default its top.
    token : str or bool, optional
        As in `download_model`; it must be allowed to write.
    private : bool, optional
        Of a repository that is made; default: what the account has as its default.
    message : str
        Of the commit.
    create_pr : bool
        Open a pull request instead of committing.

    Returns
    -------
    str
        Address of the commit, or of the pull request.

    Raises
    ------
    InvalidInputError
        If `model` is not a model folder, or the Hub refuses.
    MissingDependencyError
        Without huggingface_hub (``pip install 'trm-sdk[hub]'``).
    """
    hub = import_hub("uploading a model to the Hugging Face Hub")
    with _folder_of(model) as folder:
        if not is_model_folder(folder):
            raise InvalidInputError(
                f"{folder} is not a model folder: config.json and model.onnx or model.safetensors "
                "are needed"
            )
        endpoint = endpoint_address()
        try:
            api = hub.HfApi(endpoint=endpoint, token=token, library_name="trm-sdk")
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                path_in_repo=subfolder,
                revision=revision,
                commit_message=message,
                create_pr=create_pr,
                allow_patterns=list(ALL_FILES),
            )
            return str(commit.pr_url or commit.commit_url)
        except Exception as error:  # of the network, the Hub and the arguments alike
            raise InvalidInputError(
                f"{without_password(endpoint)} refused {shown(repository)}: "
                f"{reason(error, endpoint)}"
            ) from None


class SavesItself(Protocol):
    """What can be saved as a model folder, as a `Solver` can."""

    def save_pretrained(self, folder: Path) -> Path:
        """Write a model folder and return it."""
        ...


@contextmanager
def _folder_of(model: str | os.PathLike[str] | SavesItself) -> Iterator[Path]:
    """Yield a model's folder, made for the moment where there is none."""
    if isinstance(model, (str, os.PathLike)):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="trm-") as temporary:
        yield model.save_pretrained(Path(temporary) / "model")


__all__ = ["SavesItself", "download_model", "push_to_hub"]
