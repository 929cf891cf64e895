"""Download: one model of the Hub, file by file into the cache, each compared with its checksum."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

from trm_sdk.errors import CheckpointError, InvalidInputError, ModelNotFoundError, TRMError
from trm_sdk.messages import clipped, shown
from trm_sdk.persistence.checkpoint import IDENTIFIERS_FILE, LARGEST_NAMES, read_spec
from trm_sdk.persistence.folder import MODEL_FILES, is_model_folder
from trm_sdk.persistence.hub_settings import (
    cache_folder,
    endpoint_address,
    is_of_the_network,
    reason,
    without_password,
)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Bytes at most of a file whose size the server does not state.
_LARGEST_TEXT, _LARGEST_MODEL = 16 << 20, 2**31
_TRIES = 5


class Download:
    """One model, at one revision, in one cache."""

    def __init__(
        self,
        repository: str,
        revision: str,
        subfolder: str | None,
        cache_dir: str | os.PathLike[str] | None,
        token: str | bool | None,
    ) -> None:
        self.endpoint = endpoint_address()
        self._server = without_password(self.endpoint)
        self.what = f"{repository}@{revision}" + (f"/{subfolder}" if subfolder else "")
        self._place = {
            "repo_id": repository,
            "subfolder": subfolder,
            "cache_dir": cache_folder(cache_dir),
        }
        self._revision = revision
        self._token = token

    def cached(self, why: str) -> Path:
        """Return the folder in the cache; `why` says why nothing else is tried."""
        import huggingface_hub as hub

        try:
            config = hub.hf_hub_download(
                **self._place,
                filename=MODEL_FILES[0],
                revision=self._revision,
                local_files_only=True,
            )
        except Exception as error:
            if isinstance(error, (hub.errors.HFValidationError, PermissionError)):
                raise self._failure(error) from None
            raise ModelNotFoundError(f"{self.what} is not in the cache, and {why}") from None
        folder = Path(config).parent
        if not is_model_folder(folder):
            raise ModelNotFoundError(f"only part of {self.what} is in the cache, and {why}")
        return folder

    def current(self, force: bool) -> Path:
        """Return the folder as the Hub has it now, or offline, as the cache has it."""
        import huggingface_hub as hub

        if _COMMIT.fullmatch(self._revision) and not force:
            try:
                return self.cached("")
            except ModelNotFoundError:
                pass
        try:
            facts = self._first_facts()
            commit = str(facts.commit_hash)
            if _COMMIT.fullmatch(self._revision) and commit != self._revision:
                raise CheckpointError(
                    f"{self._server} answers with the commit {shown(commit)} for {self.what}"
                )
            if not _COMMIT.fullmatch(commit):
                raise ModelNotFoundError(
                    f"{self._server} names no commit for {self.what}; got {shown(commit)}"
                )
            folders = [self._file(name, commit, force) for name in MODEL_FILES]
            if folders[0] is not None and read_spec(folders[0]).model.num_puzzle_identifiers > 1:
                self._file(IDENTIFIERS_FILE, commit, force)
        except TRMError:
            raise
        except hub.errors.EntryNotFoundError:
            raise ModelNotFoundError(self._lacks()) from None
        except Exception as error:
            failure = self._failure(error)
            if isinstance(failure, ModelNotFoundError) and is_of_the_network(error) and not force:
                try:
                    return self.cached(str(failure))
                except ModelNotFoundError:
                    pass
            raise failure from None
        folder = folders[0]
        if folder is None or not is_model_folder(folder):
            raise ModelNotFoundError(self._lacks())
        self._keep_branch(folder, commit)
        return folder

    def _lacks(self) -> str:
        return (
            f"{self.what} holds no model of this SDK: config.json and model.onnx or "
            "model.safetensors are needed (subfolder= names another folder)"
        )

    def _first_facts(self) -> Any:
        """Where the revision stands; a server that is overloaded is asked again."""
        import huggingface_hub as hub

        try:
            return self._facts(MODEL_FILES[0], self._revision, retry=False)
        except hub.errors.HfHubHTTPError as error:
            if not is_of_the_network(error) or self._is_cached():
                raise
        return self._facts(MODEL_FILES[0], self._revision)

    def _is_cached(self) -> bool:
        try:
            return bool(self.cached(""))
        except TRMError:
            return False

    def _facts(self, name: str, revision: str, *, retry: bool = True) -> Any:
        """Commit, size and checksum of a file, as the server states them."""
        import huggingface_hub as hub

        place = self._place
        address = hub.hf_hub_url(
            place["repo_id"],
            name,
            subfolder=place["subfolder"],
            revision=revision,
            endpoint=self.endpoint,
        )
        return hub.get_hf_file_metadata(
            address,
            token=hub.get_token() if self._token in (None, True) else self._token,
            endpoint=self.endpoint,
            library_name="trm-sdk",
            timeout=hub.constants.HF_HUB_ETAG_TIMEOUT,
            retry_on_errors=retry,
        )

    def _file(self, name: str, commit: str, force: bool) -> Path | None:
        """Make sure that a file is in the cache, and return its folder; None: there is none."""
        import huggingface_hub as hub

        inner = "/".join(filter(None, (self._place["subfolder"], name)))
        if not force:
            found = hub.try_to_load_from_cache(
                self._place["repo_id"], inner, self._place["cache_dir"], commit
            )
            if isinstance(found, str):
                return Path(found).parent
        try:
            facts = self._facts(name, commit)
        except hub.errors.EntryNotFoundError:
            return None
        digest = str(facts.etag)
        if not (_COMMIT.fullmatch(digest) or _SHA256.fullmatch(digest)):
            raise CheckpointError(
                f"{self._server} states no checksum of {self.what}/{name}; got {shown(facts.etag)}"
            )
        if name == IDENTIFIERS_FILE:
            most = LARGEST_NAMES
        else:
            most = _LARGEST_TEXT if name.endswith((".json", ".md")) else _LARGEST_MODEL
        if facts.size is not None and not 0 <= facts.size <= most:
            raise CheckpointError(f"{self.what}/{name} is too large: {facts.size} bytes")
        path = self._download(name, commit, most if facts.size is None else facts.size, force)
        wrong = _difference(path, digest, facts.size)
        if wrong is not None:
            for damaged in {path.resolve(), path}:
                damaged.unlink(missing_ok=True)
            raise CheckpointError(f"the download of {self.what}/{name} is damaged: {wrong}")
        return path.parent

    def _download(self, name: str, commit: str, most: int, force: bool) -> Path:
        """Download one file; where the server is overloaded, up to three times."""
        import huggingface_hub as hub

        pause = 1.0
        while True:
            try:
                path = hub.hf_hub_download(
                    **self._place,
                    filename=name,
                    revision=commit,
                    token=self._token,
                    endpoint=self.endpoint,
                    library_name="trm-sdk",
                    force_download=force,
                    tqdm_class=_bounded(most),
                )
            except hub.errors.HfHubHTTPError as error:
                # huggingface_hub tries again after 429 and broken connections, not after these.
                if error.response.status_code < 500 or pause > 2:
                    raise
                time.sleep(pause)
                pause *= 2
            else:
                return Path(path)

    def _keep_branch(self, folder: Path, commit: str) -> None:
        """Note where the branch stands, for when there is no network; no loss where that fails."""
        if self._revision == commit:
            return
        home = folder.parents[len(Path(self._place["subfolder"] or "").parts) + 1]
        ref = home / "refs" / self._revision
        try:
            ref.parent.mkdir(parents=True, exist_ok=True)
            if not ref.is_file() or ref.read_text(encoding="utf-8") != commit:
                ref.write_text(commit, encoding="utf-8")
        except OSError:
            pass

    def _failure(self, error: Exception) -> TRMError:
        """An exception of huggingface_hub's in one sentence."""
        import huggingface_hub as hub

        errors, server = hub.errors, self._server
        if isinstance(error, errors.HFValidationError):
            return ModelNotFoundError(f"no model named {shown(self._place['repo_id'])}")
        if isinstance(error, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
            # The Hub answers 401 for what does not exist as well as for what is private.
            hint = (
                ""
                if hub.get_token() or self._token
                else " (or it is private: set HF_TOKEN or call `hf auth login`)"
            )
            return ModelNotFoundError(f"{server} has no {self.what}{hint}")
        if isinstance(error, PermissionError) or _is_of_the_disk(error):
            return InvalidInputError(
                f"the cache {self._place['cache_dir'] or hub.constants.HF_HUB_CACHE} can't be "
                f"used: {clipped(str(error), 200)} (cache_dir, HF_HOME or TRM_SDK_CACHE names "
                "another)"
            )
        return ModelNotFoundError(
            f"{self.what} can't be downloaded from {server}: {reason(error, self.endpoint)}"
        )


def _bounded(most: int) -> Any:
    """A progress bar that stops a download which is longer than announced."""
    from huggingface_hub.utils import tqdm

    class Bounded(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._bytes = self._in_all = 0
            # None: only where there is a terminal.
            options["disable"] = options.get("disable") or None
            super().__init__(*arguments, **options)

        def update(self, n: float | None = 1) -> Any:
            self._bytes += int(n or 0)
            self._in_all += max(int(n or 0), 0)
            # huggingface_hub goes on, or begins anew, as long as anything comes.
            if self._bytes > most or self._in_all > _TRIES * most:
                raise CheckpointError(f"the server sends more than the {most} bytes it announced")
            return super().update(n)

    return Bounded


def _difference(path: Path, digest: str, size: int | None) -> str | None:
    """What differs from what the Hub states: size, SHA-256 (large files) or git's SHA-1."""
    length = path.stat().st_size
    if size is not None and length != size:
        return f"expected {size} bytes, got {length}"
    if _SHA256.fullmatch(digest):
        found = hashlib.sha256()
    else:
        found = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return None if found.hexdigest() == digest else f"its checksum is not {digest}"


def _is_of_the_disk(error: Exception) -> bool:
    return type(error) in (OSError, FileNotFoundError, NotADirectoryError, FileExistsError) and (
        error.errno is not None  # type: ignore[attr-defined]
    )


__all__ = ["Download"]
