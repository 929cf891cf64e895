"""The folder of a page: its files, the place of onnxruntime-web, and what may run in it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape as html_escape
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
#: What a page is told of a file's content, as HTML's `integrity` has it.
_INTEGRITY = re.compile(r"sha(256|384|512)-[A-Za-z0-9+/]+={0,2}", re.ASCII)
#: A script that is written into the page in place of this tag.
_INLINED = re.compile(r'<script src="(served\.js)"></script>')
_DIGEST_BYTES = {"256": 32, "384": 48, "512": 64}


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
    pinned : bool
        Whether the page checks what it loads from there.
    """

    path: Path
    domain: str
    runtime: str
    files: dict[str, int]
    pinned: bool = False

    @property
    def unpinned(self) -> bool:
        """Whether the page runs whatever a server sends."""
        return self.runtime.startswith("http") and not self.pinned

    @property
    def next_steps(self) -> str:
        """What a person does with the folder now."""
        install = "" if self.runtime != DEFAULT_RUNTIME else "npm install && "
        return f"Open it: cd {self.path} && {install}python3 -m http.server 8000"


@dataclass(frozen=True)
class Runtime:
    """Where a page has onnxruntime-web from.

    Attributes
    ----------
    address : str
        A folder beside the page, or a URL.
    folder : Path or None
        To copy it from.
    hashes : dict from str to str
        What each file that a server sends must contain; empty where nothing is checked.
    """

    address: str
    folder: Path | None
    hashes: dict[str, str]


def find_runtime(
    runtime: str | os.PathLike[str] | None,
    integrity: str | os.PathLike[str] | Mapping[str, str] | None = None,
) -> Runtime:
    """Return where a page has onnxruntime-web from, as `export_web` takes it.

    Raises
    ------
    ExportError
        If `runtime` is a folder that lacks a file, or not a plain URL, or `integrity` does not fit.
    """
    address, own = DEFAULT_RUNTIME, None
    if runtime is not None and re.match(r"https?://", str(runtime)):
        address = str(runtime).rstrip("/")
        if not _ADDRESS.fullmatch(address):
            raise ExportError(
                f"runtime must be a folder or a plain URL; got {address!r} (it is put into the "
                "page as it is: no quotes, blanks, or queries)"
            )
    elif runtime is not None:
        address, own = "./ort", Path(runtime)
        _check_runtime(own)
    if integrity is None:
        return Runtime(address, own, {})
    if not address.startswith("http"):
        raise ExportError(
            f"integrity is for a runtime that a server sends; got runtime={runtime!r} (name "
            "its URL, or leave integrity out)"
        )
    return Runtime(address, own, _hashes(integrity))


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


def write_assets(folder: Path, names: Iterable[str], runtime: Runtime) -> list[str]:
    """Copy files of ``web_assets`` into a folder, and onnxruntime-web if it is at hand.

    Parameters
    ----------
    folder : Path
    names : iterable of str
        Paths within ``web_assets``; a file lands under its last part.
    runtime : Runtime

    Returns
    -------
    list of str
        What was written, relative to the folder.
    """
    written = []
    for path in names:
        content = _asset(path)
        name = path.rsplit("/", 1)[-1]
        if name == "index.html":
            content = _page(content, runtime.address, runtime.hashes)
        (folder / name).write_text(content, encoding="utf-8")
        written.append(name)
    if runtime.folder is not None:
        (folder / "ort").mkdir(exist_ok=True)
        for name in RUNTIME_FILES:
            shutil.copyfile(runtime.folder / name, folder / "ort" / name)
            written.append(f"ort/{name}")
    return written


def report(folder: Path, domain: str, runtime: Runtime, written: Iterable[str]) -> WebReport:
    """Return what was written, with sizes."""
    sizes = {name: (folder / name).stat().st_size for name in written}
    return WebReport(folder, domain, runtime.address, sizes, bool(runtime.hashes))


def _asset(path: str) -> str:
    return (files(__package__) / "web_assets" / path).read_text(encoding="utf-8")


def _page(html: str, address: str, integrity: Mapping[str, str]) -> str:
    """Fill in a page: its inline script, onnxruntime-web's address and hashes, and the policy."""
    html = _INLINED.sub(lambda found: f"<script>\n{_asset(found[1])}    </script>", html)
    html = html.replace(DEFAULT_RUNTIME, address)
    if integrity:
        html = _pinned(html, address, integrity)
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


def _pinned(html: str, address: str, integrity: Mapping[str, str]) -> str:
    """Add the hashes of onnxruntime-web's modules to the page.

    To its import map, which holds for every way to import them; and, for browsers that don't know
    that (Chromium before 127, Safari before 18, Firefox before 138), to a `modulepreload` of the
    bundle that most models use. The WebAssembly files are checked by `loading.js`.
    """
    modules = {
        f"{address}/{name}": value for name, value in integrity.items() if name.endswith(".mjs")
    }

    def with_integrity(found: re.Match[str]) -> str:
        imports = json.loads(found[2]) | {"integrity": modules}
        text = json.dumps(imports, indent=2).replace("\n", "\n      ")
        bundle = RUNTIME_FILES[0]
        return (
            f"{found[1]}\n      {text}\n    {found[3]}\n"
            f'    <link rel="modulepreload" href="{html_escape(f"{address}/{bundle}")}" '
            f'crossorigin="anonymous" integrity="{integrity[bundle]}" />'
        )

    return re.sub(r'(<script type="importmap">)(.*?)(</script>)', with_integrity, html, flags=re.S)


def _hashes(integrity: str | os.PathLike[str] | Mapping[str, str]) -> dict[str, str]:
    """What each of onnxruntime-web's files must contain, as `export_web` takes it.

    Raises
    ------
    ExportError
        If a file or its hash is missing, or something else is there.
    """
    if not isinstance(integrity, Mapping):
        folder = Path(integrity)
        _check_runtime(folder)
        try:
            return {
                name: "sha384-"
                + base64.b64encode(hashlib.sha384((folder / name).read_bytes()).digest()).decode()
                for name in RUNTIME_FILES
            }
        except OSError as error:
            raise ExportError(f"{error.filename} can't be read: {error.strerror}") from None
    for name, value in integrity.items():
        if name not in RUNTIME_FILES:
            raise ExportError(f"integrity names {name!r}; it must name {', '.join(RUNTIME_FILES)}")
        if not _is_hash(value):
            raise ExportError(
                f"integrity of {name} must be sha256-, sha384- or sha512- and the digest in "
                f"Base64; got {value!r}"
            )
    if missing := [name for name in RUNTIME_FILES if name not in integrity]:
        raise ExportError(
            f"integrity lacks {', '.join(missing)}: a page that checks some of the files that it "
            "runs is not protected"
        )
    return {name: integrity[name] for name in RUNTIME_FILES}


def _is_hash(value: object) -> bool:
    found = _INTEGRITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return False
    try:
        digest = base64.b64decode(found[0].partition("-")[2], validate=True)
    except ValueError:
        return False
    return len(digest) == _DIGEST_BYTES[found[1]]


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
    "Runtime",
    "WebReport",
    "find_runtime",
    "make_folder",
    "report",
    "write_assets",
    "writing",
]
