"""export_web: a folder that runs a model in a browser: graph, ES module, page."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from trm_sdk.adapt.solver import AdaptedSolver
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
from .page_folder import WebReport, find_runtime, make_folder, report, write_assets, writing
from .task_page import adapted_graph, write_task_page

#: Version of ``model.json``.
WEB_FORMAT = 1
_FILES = (
    *("trm.js", "puzzle.js", "deduction.js", "tree.js", "loading.js"),
    *("package.json", "README.md"),
    *("index.html", "style.css", "app.js", "board.js", "board.css"),
)
#: What a domain's own rules are called in its folder, and in the exported one.
DOMAIN_RULES, WEB_RULES = "web.js", "domain.js"
#: Puzzles that are generated to choose from, where the domain shows none of its own.
_EXAMPLES = 3
_EXAMPLES_SEED = 0xEA5E1


def export_web(
    source: str | os.PathLike[str] | AdaptedSolver,
    output: str | os.PathLike[str],
    *,
    runtime: str | os.PathLike[str] | None = None,
    integrity: str | os.PathLike[str] | Mapping[str, str] | None = None,
) -> WebReport:
    """Write a static folder that runs a model in the browser.

    Parameters
    ----------
    source : name, path or AdaptedSolver
        A bundled name, the name of a domain that a bundled model solves, a model folder, a ``step``
        graph, or a checkpoint (needs PyTorch). A graph that is there already is taken as it is, in
        whatever precision, unless puzzles bring groups of cells that it does not ask for.
        An adapted solver, the folder it was saved in, or its graph becomes a page of its task.
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
    place = find_runtime(runtime, integrity)
    adapted = adapted_graph(source)
    if adapted is not None:
        return write_task_page(adapted, folder, place)
    assert not isinstance(source, AdaptedSolver)  # it is one of those
    name, variant = model_for(source)
    ready = None if variant is not None else _ready_graph(resolve(name))
    make_folder(folder)
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
    if place.hashes:
        description["runtime"] = {"integrity": place.hashes}
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    with writing(folder):
        (folder / "model.json").write_text(text, encoding="utf-8")
        written = write_assets(folder, _FILES, place)
        if rules is not None:
            shutil.copyfile(rules, folder / WEB_RULES)
            written.append(WEB_RULES)
    return report(folder, spec.domain, place, ["model.onnx", "model.json", *written])


def describe(
    graph: onnx.ModelProto, spec: ModelSpec, size: int, domain: Domain | None
) -> dict[str, Any]:
    """Return what ``model.json`` says: enough to run the graph without reading its metadata.

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
