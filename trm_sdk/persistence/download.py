"""Download a model from the Hugging Face Hub with nothing but the standard library.

A download is checked against the Hub's own checksums in a folder of its own and then renamed into
the cache in one move, so that the cache never holds half a model, whatever is interrupted and
however many processes download at the same time.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trm_sdk.atomic import write_whole
from trm_sdk.errors import CheckpointError, InvalidInputError, ModelNotFoundError
from trm_sdk.persistence.cache import cache_folder
from trm_sdk.persistence.folder import MODEL_FILES, is_model_folder

DEFAULT_ENDPOINT = "https://huggingface.co"
#: Seconds without an answer after which a request is given up.
TIMEOUT = 30.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TRIES = 3


def download_model(repository: str, revision: str = "main", refresh: bool = False) -> Path:
    """The folder of a model of the Hub, from the cache if it was downloaded before.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str
        Branch, tag or commit.
    refresh : bool
        Ask the Hub where the branch or tag stands now, instead of where it stood when it was
        downloaded.

    Raises
    ------
    ModelNotFoundError
        If the Hub has no such model, it can't be reached, or ``HF_HUB_OFFLINE`` forbids asking.
    CheckpointError
        If what came is not what the Hub says it holds, or is no model.
    InvalidInputError
        If ``HF_ENDPOINT``, ``HF_TOKEN`` or ``TRM_SDK_CACHE`` can't be used.
    """
    home = cache_folder() / "hub" / repository.replace("/", "--")
    try:
        return _cached_or_new(home, repository, revision, refresh)
    except OSError as error:  # of the disk; those of the network are caught where they arise
        raise InvalidInputError(
            f"the cache {home} can't be used: {error} (TRM_SDK_CACHE names another)"
        ) from None


def _cached_or_new(home: Path, repository: str, revision: str, refresh: bool) -> Path:
    # A branch may have slashes; its file must not leave the folder.
    ref = home / "refs" / urllib.parse.quote(revision, safe="")
    if not refresh:
        commit = revision
        if not _COMMIT.fullmatch(revision) and ref.is_file():
            commit = ref.read_text(encoding="utf-8", errors="replace").strip()
        if _COMMIT.fullmatch(commit) and is_model_folder(home / commit):
            return home / commit
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise ModelNotFoundError(
            f"{repository}@{revision} is not in the cache {home}, and HF_HUB_OFFLINE forbids "
            "downloading it"
        )
    commit, files = _listing(repository, revision)
    folder = home / commit
    if not is_model_folder(folder):
        _fetch(repository, commit, files, folder)
    ref.parent.mkdir(parents=True, exist_ok=True)
    write_whole(ref, commit.encode())
    return folder


def _listing(repository: str, revision: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The commit of a revision, and what the Hub knows of each of the model's files in it."""
    what = f"{repository}@{revision}"
    quoted = urllib.parse.quote(revision, safe="")
    with _get(f"api/models/{repository}/revision/{quoted}?blobs=true", what) as response:
        try:
            answer = json.load(response)
            commit = str(answer["sha"])
            listed = {str(item["rfilename"]): dict(item) for item in answer["siblings"]}
        except (http.client.HTTPException, OSError) as error:
            raise ModelNotFoundError(f"the listing of {what} broke off: {error!r}") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelNotFoundError(
                f"{_endpoint()} gave no listing of {what} that can be read: {error!r}"
            ) from None
    if not _COMMIT.fullmatch(commit):
        raise ModelNotFoundError(f"{_endpoint()} names no commit for {what}; got {commit!r}")
    files = {name: listed[name] for name in MODEL_FILES if name in listed}
    if "config.json" not in files or not {"model.onnx", "model.safetensors"} & set(files):
        raise ModelNotFoundError(
            f"{what} holds no model of this SDK: config.json and model.onnx or "
            f"model.safetensors are needed; it has {sorted(listed)[:8]}"
        )
    return commit, files


def _fetch(repository: str, commit: str, files: dict[str, dict[str, Any]], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
        new = Path(partial) / "model"
        new.mkdir()
        for name, facts in files.items():
            _fetch_file(repository, commit, name, facts, new / name)
        if folder.exists() and not is_model_folder(folder):
            shutil.rmtree(folder)  # someone removed files from the cache by hand
        try:
            new.rename(folder)
        except OSError:
            if not is_model_folder(folder):  # else another process was sooner, which is as good
                raise


def _fetch_file(repository: str, commit: str, name: str, facts: dict[str, Any], path: Path) -> None:
    what = f"{repository}@{commit[:8]}/{name}"
    for attempt in range(_TRIES):
        last = attempt == _TRIES - 1
        try:
            with (
                _get(f"{repository}/resolve/{commit}/{name}", what) as source,
                path.open("wb") as to,
            ):
                shutil.copyfileobj(source, to, 1 << 20)
                # A connection that ends is no error to http.client.
                announced = source.headers.get("Content-Length") or ""
                if announced.isdecimal() and to.tell() < int(announced):
                    raise ConnectionError(f"{to.tell()} of {announced} bytes came")
        except (http.client.HTTPException, OSError) as error:
            if last:
                raise ModelNotFoundError(f"the download of {what} broke off: {error}") from None
            continue
        wrong = _difference(path, facts)
        if wrong is None:
            return
        if last:
            raise CheckpointError(f"the download of {what} is damaged: {wrong}")


def _difference(path: Path, facts: dict[str, Any]) -> str | None:
    """What differs from the Hub's listing: size, SHA-256 (large files) or git's SHA-1."""
    size = path.stat().st_size
    expected = facts.get("size")
    if isinstance(expected, int) and size != expected:
        return f"expected {expected} bytes, got {size}"
    large = facts.get("lfs")
    if isinstance(large, dict):
        digest, wanted = hashlib.sha256(), large.get("sha256") or large.get("oid")
    else:
        digest, wanted = hashlib.sha1(b"blob %d\0" % size), facts.get("blobId")
    if wanted is None:
        return None
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return None if digest.hexdigest() == wanted else f"its checksum is not {wanted}"


def _endpoint() -> str:
    endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    try:
        parts = urllib.parse.urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that don't close, a port that is no number
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", endpoint):
        raise InvalidInputError(f"HF_ENDPOINT must be an http(s) address; got {endpoint!r}")
    return endpoint.rstrip("/")


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Follow redirects (the Hub's files lie on other servers) without taking the token along."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and request.host != req.host:
            request.remove_header("Authorization")
        return request


@contextmanager
def _get(path: str, what: str) -> Iterator[Any]:
    endpoint = _endpoint()
    request = urllib.request.Request(f"{endpoint}/{path}", headers={"User-Agent": "trm-sdk"})
    token = os.environ.get("HF_TOKEN", "").strip()
    if token:
        if not re.fullmatch(r"[!-~]+", token):  # which the message had better not repeat
            raise InvalidInputError("HF_TOKEN must be one word of ASCII characters")
        request.add_header("Authorization", f"Bearer {token}")
    try:
        response = urllib.request.build_opener(_NoTokenElsewhere).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        # The Hub answers 401 for what does not exist as well as for what is private.
        hint = " (or it is private: set HF_TOKEN)" if error.code in (401, 403) and not token else ""
        if error.code in (401, 403, 404):
            raise ModelNotFoundError(f"{endpoint} has no {what}{hint}") from None
        raise ModelNotFoundError(
            f"{endpoint} refused {what}: HTTP {error.code} {error.reason}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ModelNotFoundError(
            f"{what} is not in the cache, and {endpoint} can't be reached: {reason}"
        ) from None
    with response:
        yield response
