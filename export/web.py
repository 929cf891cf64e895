"""export_web: a folder that runs a model in a browser: graph, ES module, page."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape as html_escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.vocabulary import line_of
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.variants import model_for

from .errors import ExportError
from .exporter import export_onnx, load_source, output_path
from .graph_file import fixed_batch, load_graph, metadata

#: Version of ``model.json``.
WEB_FORMAT = 1
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
_DIGEST_BYTES = {"256": 32, "384": 48, "512": 64}
_SOLVER_FILES = (
    "trm.js",
    "puzzle.js",
    "deduction.js",
    "tree.js",
    "loading.js",
    "package.json",
    "README.md",
)
_PAGE_FILES = ("index.html", "style.css", "app.js", "board.js", "board.css")
#: What a domain's own rules are called in its folder, and in the exported one.
DOMAIN_RULES, WEB_RULES = "web.js", "domain.js"
#: Puzzles that are generated to choose from, where the domain shows none of its own.
_EXAMPLES = 3
_EXAMPLES_SEED = 0xEA5E1


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


def export_web(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    runtime: str | os.PathLike[str] | None = None,
    integrity: str | os.PathLike[str] | Mapping[str, str] | None = None,
) -> WebReport:
    """Write a static folder that runs a model in the browser.

    Parameters
    ----------
    source : name or path
        A bundled name, the name of a domain that a bundled model solves, a model folder, a ``step``
        graph, or a checkpoint (needs PyTorch). A graph that is there already is taken as it is, in
        whatever precision, unless puzzles bring groups of cells that it does not ask for.
    output : path
        The folder; made if need be. Its files of the same names are replaced, others left alone.
    runtime : path or URL, optional
        A folder that holds onnxruntime-web's ``dist`` files, which are copied, or a URL to load
        them from. Default: ``./node_modules``, to be filled by ``npm install`` in the folder.
    integrity : path or mapping, optional
        For a URL: what its files must contain, or the page refuses them (subresource integrity).
        A folder that holds the same ``dist`` files, or a mapping from each of `RUNTIME_FILES` to
        ``sha384-…`` (or 256, 512), in Base64. The runtime then uses one thread: a browser can't
        check the scripts of workers.

    Raises
    ------
    ExportError
        If the folder can't be written, `runtime` lacks a file or is not a plain URL, `integrity`
        lacks a file or has something that is not a hash, the graph is of another mode or has a
        fixed batch, or puzzles bring groups of cells that the graph does not take or that the
        domain has no JavaScript to read.
    ModelNotFoundError, CheckpointError
        If there is no such model, or it can't be read.
    """
    folder = output_path(output)
    address = DEFAULT_RUNTIME
    own_runtime: Path | None = None
    if runtime is not None:
        if re.match(r"https?://", str(runtime)):
            address = str(runtime).rstrip("/")
            if not _ADDRESS.fullmatch(address):
                raise ExportError(
                    f"runtime must be a folder or a plain URL; got {address!r} (it is put into the "
                    "page as it is: no quotes, blanks, or queries)"
                )
        else:
            own_runtime, address = Path(runtime), "./ort"
            _check_runtime(own_runtime)
    hashes: dict[str, str] = {}
    if integrity is not None:
        if not address.startswith("http"):
            raise ExportError(
                f"integrity is for a runtime that a server sends; got runtime={runtime!r} (name "
                "its URL, or leave integrity out)"
            )
        hashes = _hashes(integrity)
    name, variant = model_for(source)
    ready = None if variant is not None else _ready_graph(resolve(name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} can't be made: {error.strerror}") from None
    graph = _write_graph(source, ready, folder / "model.onnx")
    spec = ModelSpec.from_json(metadata(graph)["trm_spec"], folder / "model.onnx")
    domain = _domain_of(spec)
    rules = None if domain is None else _rules_of(domain)
    if domain is not None and domain.own_groups and rules is None:
        raise ExportError(
            f"a page can't read the groups of cells that puzzles of {domain.name} bring: it "
            f"has no {DOMAIN_RULES} with `ownGroups`, `read` and `write`"
        )
    description = describe(graph, spec, (folder / "model.onnx").stat().st_size, domain)
    if rules is not None:
        description["rules"] = WEB_RULES
    if hashes:
        description["runtime"] = {"integrity": hashes}
    names = [*_SOLVER_FILES, *_PAGE_FILES]
    try:
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (folder / "model.json").write_text(text, encoding="utf-8")
        for name in names:
            content = (files(__package__) / "web_assets" / name).read_text(encoding="utf-8")
            if name == "index.html":
                content = _page(content, address, hashes)
            (folder / name).write_text(content, encoding="utf-8")
        if rules is not None:
            shutil.copyfile(rules, folder / WEB_RULES)
            names.append(WEB_RULES)
        if own_runtime is not None:
            (folder / "ort").mkdir(exist_ok=True)
            for name in RUNTIME_FILES:
                shutil.copyfile(own_runtime / name, folder / "ort" / name)
    except OSError as error:
        raise ExportError(
            f"{error.filename or folder} can't be written: {error.strerror}"
        ) from None
    written = ["model.onnx", "model.json", *names]
    written += [f"ort/{name}" for name in RUNTIME_FILES] if own_runtime else []
    return WebReport(
        path=folder,
        domain=spec.domain,
        runtime=address,
        files={name: (folder / name).stat().st_size for name in written},
        pinned=bool(hashes),
    )


def describe(
    graph: onnx.ModelProto, spec: ModelSpec, size: int, domain: Domain | None
) -> dict[str, Any]:
    """What ``model.json`` says: enough to run the graph without reading its metadata.

    The structure is left out: it is built into the graph.
    """
    facts = metadata(graph)
    with torch.device("meta"):  # shapes alone: a quantised graph no longer shows its parameters
        parameters = sum(weight.numel() for weight in TRM(spec.model).parameters())
    about = facts.get("domain_description")
    if domain is not None:  # newer than what was written into the graph
        about = json.dumps(domain.describe())
    return {
        "format": WEB_FORMAT,
        "model": "model.onnx",
        "bytes": size,
        "parameters": parameters,
        "precision": facts["precision"],
        "weights_sha256": facts["weights_sha256"],
        "spec": json.loads(spec.model_dump_json(exclude={"model": {"structure"}, "notes": True})),
        **({} if about is None else {"domain": json.loads(about)}),
        **({"groups": json.loads(facts["groups"])} if "groups" in facts else {}),
        "examples": [] if domain is None else _examples(domain),
    }


def _domain_of(spec: ModelSpec) -> Domain | None:
    """The model's domain, where it is registered: a page can do without."""
    try:
        return get_domain(spec.domain)
    except InvalidInputError:
        return None


def _rules_of(domain: Domain) -> Path | None:
    """The module that a domain brings for JavaScript, beside the one in Python."""
    try:
        path = Path(inspect.getfile(type(domain))).parent / DOMAIN_RULES
    except (OSError, TypeError):  # made at a prompt
        return None
    return path if path.is_file() else None


def _examples(domain: Domain) -> list[tuple[str, str]]:
    """Names and texts of puzzles to choose from: those a domain shows, or generated ones."""
    if domain.showcase:
        return list(domain.showcase)
    if not domain.has_generator:
        return []
    try:
        texts = _generated(domain)
    except (ImportError, TRMError):  # as without numba
        return []
    return [(f"Puzzle {number}", text) for number, text in enumerate(texts, start=1)]


def _generated(domain: Domain) -> list[str]:
    """Puzzles as the page reads them."""
    if domain.own_groups:
        rngs = (np.random.default_rng((_EXAMPLES_SEED, number)) for number in range(_EXAMPLES))
        options = domain.generator_options({})
        return [domain.to_text(domain.generate(rng, **options)) for rng in rngs]
    made = domain.examples(_EXAMPLES, _EXAMPLES_SEED)
    boards = [domain.decode(tokens, made.shape) for tokens in made.tokens]
    return [
        domain.to_line(board)
        if board.shape == domain.shape
        else "\n".join(line_of(domain.vocabulary.symbols, row) for row in board)
        for board in boards
    ]


def _page(html: str, address: str, integrity: Mapping[str, str]) -> str:
    """The page, with onnxruntime-web's address, its hashes, and a policy of what may run in it."""
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


def _ready_graph(found: Path) -> Path | None:
    """The graph that a model has already, if any.

    Raises
    ------
    ExportError
        If a page can't drive it.
    """
    ready = found / "model.onnx" if found.is_dir() else found
    if ready.suffix != ".onnx" or not ready.is_file():
        return None
    graph = load_graph(ready)
    mode, batch = metadata(graph)["trm_mode"], fixed_batch(graph)
    if mode != "step":
        raise ExportError(f"{ready} is a graph of mode {mode!r}; a page needs one of mode 'step'")
    if batch:
        raise ExportError(f"{ready} has a fixed batch of {batch}; a page needs a dynamic one")
    domain = _domain_of(ModelSpec.from_json(metadata(graph)["trm_spec"], ready))
    if domain is None or _asks_for(graph, domain.own_groups):
        return ready
    if found.is_dir():  # written anew, from the weights
        return None
    raise ExportError(
        f"{ready} does not ask for the groups of cells that puzzles of {domain.name} bring; export "
        "it with --groups required"
    )


def _asks_for(graph: onnx.ModelProto, keys: Iterable[str]) -> bool:
    """Whether a graph has groups of these keys as inputs without a default.

    JavaScript's onnxruntime can't override a default.
    """
    inputs = {one.name for one in graph.graph.input}
    inputs -= {one.name for one in graph.graph.initializer}
    return all(f"groups.{key}" in inputs for key in keys)


def _write_graph(source: str | os.PathLike[str], ready: Path | None, path: Path) -> onnx.ModelProto:
    """Put the model's step graph at `path`, and return it."""
    if ready is None:
        loaded = load_source(source)
        # A page can't override what has a default, so it gives all groups, each puzzle its own.
        takes = loaded[0].model.takes_groups
        export_onnx(loaded, path, "step", groups="required" if takes else "fixed")
    elif not (path.exists() and path.samefile(ready)):
        try:
            shutil.copyfile(ready, path)
        except OSError as error:
            raise ExportError(f"{path} can't be written: {error.strerror}") from None
    return load_graph(path)
