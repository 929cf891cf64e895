"""The folder of a page: its files, the place of onnxruntime-web, and what may run in it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from .errors import ExportError

#: Where the page looks for onnxruntime-web unless told otherwise.
DEFAULT_RUNTIME = "./node_modules/onnxruntime-web/dist"
#: What the two bundles of onnxruntime-web that `trm.js` imports consist of.
RUNTIME_FILES = (
    "ort.wasm.bundle.min.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.bundle.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
#: Addresses that may stand in a page's script, and have a file's name added to them.
_ADDRESS = re.compile(r"https?://[\w.~:/@!$&()*+,;=%\[\]-]+", re.ASCII)


@dataclass(frozen=True)
class WebReport:
    """What was written.

    Attributes
    ----------
    path : Path
        The folder.
    domain : str
    runtime : str
        Where the page loads onnxruntime-web from.
    files : dict of str to int
        Files relative to the folder, and their bytes.
    """

    path: Path
    domain: str
    runtime: str
    files: dict[str, int]

    @property
    def next_steps(self) -> str:
        """What a person does with the folder now."""
        install = "" if self.runtime != DEFAULT_RUNTIME else "npm install && "
        return f"Open it: cd {self.path} && {install}python3 -m http.server 8000"


def runtime_address(runtime: str | os.PathLike[str] | None) -> tuple[str, Path | None]:
    """Return where a page loads onnxruntime-web from, and the folder to copy it from, if any.

    Raises
    ------
    ExportError
        If `runtime` is a folder that lacks a file, or not a plain URL.
    """
    if runtime is None:
        return DEFAULT_RUNTIME, None
    if not re.match(r"https?://", str(runtime)):
        _check_runtime(Path(runtime))
        return "./ort", Path(runtime)
    address = str(runtime).rstrip("/")
    if not _ADDRESS.fullmatch(address):
        raise ExportError(
            f"runtime must be a folder or a plain URL; got {address!r} (it is put into the "
            "page as it is: no quotes, blanks, or queries)"
        )
    return address, None


def make_folder(folder: Path) -> None:
    """Make the folder of a page.

    Raises
    ------
    ExportError
        If it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} can't be made: {error.strerror}") from None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while files are written into an `ExportError`."""
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{error.filename or folder} can't be written: {error.strerror}"
        ) from None


def write_assets(
    folder: Path, names: Iterable[str], address: str, own_runtime: Path | None
) -> list[str]:
    """Copy files of ``web_assets`` into a folder, and onnxruntime-web if it is at hand.

    Parameters
    ----------
    folder : Path
    names : iterable of str
        Paths within ``web_assets``; a file lands under its last part.
    address : str
        Where the page loads onnxruntime-web from.
    own_runtime : Path, optional
        Folder to copy it from.

    Returns
    -------
    list of str
        What was written, relative to the folder.
    """
    written = []
    for path in names:
        content = (files(__package__) / "web_assets" / path).read_text(encoding="utf-8")
        name = path.rsplit("/", 1)[-1]
        if name == "index.html":
            content = _page(content, address)
        (folder / name).write_text(content, encoding="utf-8")
        written.append(name)
    if own_runtime is not None:
        (folder / "ort").mkdir(exist_ok=True)
        for name in RUNTIME_FILES:
            shutil.copyfile(own_runtime / name, folder / "ort" / name)
            written.append(f"ort/{name}")
    return written


def report(folder: Path, domain: str, address: str, written: Iterable[str]) -> WebReport:
    """Return what was written, with sizes."""
    sizes = {name: (folder / name).stat().st_size for name in written}
    return WebReport(folder, domain, address, sizes)


def _page(html: str, address: str) -> str:
    """The page, with onnxruntime-web's address and a policy of what may run in it."""
    html = html.replace(DEFAULT_RUNTIME, address)
    origin = re.match(r"https?://[^/]+", address)
    also = f" {origin[0]}" if origin else ""
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
        for script in re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", html, re.DOTALL)
    ]
    policy = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' {' '.join(hashes)}{also}",
        "worker-src": "'self' blob:",
        "connect-src": f"'self'{also}",
        "style-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return html.replace("@policy@", "; ".join(f"{name} {value}" for name, value in policy.items()))


def _check_runtime(folder: Path) -> None:
    missing = [name for name in RUNTIME_FILES if not (folder / name).is_file()]
    if missing:
        raise ExportError(
            f"{folder} is not onnxruntime-web's dist folder: it lacks {missing[0]} (npm install "
            "onnxruntime-web puts it into node_modules/onnxruntime-web/dist)"
        )


__all__ = [
    "DEFAULT_RUNTIME",
    "RUNTIME_FILES",
    "WebReport",
    "make_folder",
    "report",
    "runtime_address",
    "write_assets",
    "writing",
]
