"""What takes something from outside, and samples of what it takes, for `benchmarks.fuzz`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trm_sdk import SolveOptions, Task, get_domain
from trm_sdk.domains.base import Domain

#: Domains whose text and files are read.
DOMAINS = ("sudoku", "sudoku-16x16", "jigsaw", "maze", "arc")


class Border(NamedTuple):
    """Where inputs come in.

    Attributes
    ----------
    name : str
    samples : sequence
        Of bytes, or of values as JSON has them: what is changed.
    accept : callable
        Takes a changed sample.
    share : float
        Of all inputs, relative to the others.
    """

    name: str
    samples: Sequence[Any]
    accept: Callable[[Any], object]
    share: float = 1.0


def borders(folder: Path) -> list[Border]:
    """Return all borders; `folder` is for what must be a file."""
    found = []
    for name in DOMAINS:
        domain = get_domain(name)
        texts = [text.encode() for _, text in domain.showcase] + list(_TEXTS.get(name, ()))
        found.append(Border(f"text of {name}", texts, _Reading(domain), 3))
        found.append(Border(f"files of {name}", [*texts, *_FILES], _File(domain, folder), 1))
        grid = [[0, 1, 2, 0], [3, 0, "4", None], [".", "x", 1.0, 2], [1, 2, 3, 4]]
        found.append(Border(f"arrays of {name}", [grid, [0] * 81, [grid, grid]], domain.parse, 2))
    task = {"train": [{"input": [[0, 1]], "output": [[1, 0]]}], "test": [{"input": [[2, 2]]}]}
    found.append(Border("tasks of arc", [task, {"a": task, "b": task}], _arc, 2))
    options = SolveOptions(max_steps=16, attempts=4, explore="guess").model_dump()
    found.append(Border("options", [options], SolveOptions.model_validate, 3))
    found += [*_descriptions(folder), *_recipes(), *_models(folder), *_adapted(folder)]
    found += _training(folder)
    return found


_TEXTS = {
    "maze": (
        b"#####\n#S  #\n# # #\n#  G#\n#####",
        b"+-+-+\n|S  |\n+ + +\n|  G|\n+-+-+",
        b"[[0,1],[0,0]]",
    ),
    "sudoku": (
        b"1..|..2\n---+---\n" * 3,
        b"[Puzzle]\n" + b"1........\n" * 9,
        b"<opensudoku><game data='" + b"0" * 81 + b"'/></opensudoku>",
        b":0000:x:" + b"." * 81 + b":::",
        b"{" + b"123456789 " * 81 + b"}",
    ),
    "sudoku-16x16": (b"." * 250 + b"123ABG", b"1 2 . 16 " * 64),
    "arc": (b'{"train": [], "test": [{"input": [[1, 2], [3, 4]]}]}', b"12\n34"),
}
_FILES = (
    b"question,answer,rating\n" + b"." * 81 + b"," + b"1" * 81 + b",3\n",
    b'{"puzzle": "' + b"." * 81 + b'", "name": "one"}\n' * 3,
    b"import numpy\npuzzles = [[0, 1], [2, 3]]\n",
    b"# comment\n" + (b"53..7....6..195....98....6." * 3 + b" 1.2\n") * 2,
)


class _Reading:
    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def __call__(self, data: bytes) -> object:
        return self.domain.parse(data.decode(errors="surrogateescape"))


class _File:
    def __init__(self, domain: Domain, folder: Path) -> None:
        self.domain, self.folder = domain, folder
        self.suffixes = (".txt", ".csv", ".json", ".sdk", ".gz", ".zip", "")

    def __call__(self, data: bytes) -> object:
        from trm_sdk.files import read_file

        path = self.folder / f"puzzles{self.suffixes[len(data) % len(self.suffixes)]}"
        path.write_bytes(data)
        return sum(isinstance(one, Task) for one in read_file(path, self.domain))


def _arc(value: Any) -> object:
    from trm_sdk.domains.arc.tasks import tasks_in

    return tasks_in(value, "tasks.json")


def _descriptions(folder: Path) -> list[Border]:
    from trm_sdk.persistence.checkpoint import read_spec
    from trm_sdk.persistence.hub import resolve
    from trm_sdk.persistence.spec import ModelSpec
    from trm_sdk.structure import Structure

    folders = [Path(resolve(name)) for name in ("sudoku-4x4", "maze")]
    specs = [json.loads(read_spec(one).to_json()) for one in folders]
    structures = [one["model"]["structure"] for one in specs]

    def spec(value: Any) -> object:
        return ModelSpec.from_json(json.dumps(value, default=repr), folder / "config.json")

    def structure(value: Any) -> object:
        return Structure.model_validate(value)

    return [
        Border("model descriptions", specs, spec, 2),
        Border("structures", structures, structure, 2),
    ]


def _recipes() -> list[Border]:
    from training.recipe import parse_recipe, recipe_files
    from trm_sdk.persistence.yaml import load_yaml

    texts = [path.read_bytes() for path in recipe_files()]
    values = [load_yaml(text.decode()) for text in texts]

    def from_text(data: bytes) -> object:
        return load_yaml(data.decode(errors="surrogateescape"))

    def from_value(value: Any) -> object:
        return parse_recipe(value, "fuzzed.yaml")

    return [
        Border("recipes as text", texts, from_text, 1),
        Border("recipes", values, from_value, 2),
    ]


def _adapted(folder: Path) -> list[Border]:
    """Solvers that have learned a task, and data sets of tasks."""
    from trm_sdk import AdaptedSolver
    from trm_sdk.adapt.solver import adapt
    from trm_sdk.domains.arc.builder import Subset, build
    from trm_sdk.domains.arc.saved_build import load_build
    from trm_sdk.domains.arc.tasks import tasks_in

    pair = {"input": [[0, 1, 1]], "output": [[1, 0, 2]]}
    tasks = tasks_in({"a": {"train": [pair, pair], "test": [pair]}}, "tasks.json")
    build([Subset(tasks)], augmentations=3).save(folder)
    built = folder / "build.npz"

    def load_built(data: bytes) -> object:
        built.write_bytes(data)
        return load_build(folder, [Subset(tasks)]).names

    saved = adapt(tasks[0], seconds=1).save_pretrained(folder / "adapted")
    about, weights = saved / "adapted.json", saved / "weights.npy"
    whole_about, whole_weights = about.read_bytes(), weights.read_bytes()

    def load_about(value: Any) -> object:
        about.write_text(json.dumps(value, default=repr), "utf-8")
        weights.write_bytes(whole_weights)
        return AdaptedSolver.load(saved)

    def load_weights(data: bytes) -> object:
        about.write_bytes(whole_about)
        weights.write_bytes(data)
        return AdaptedSolver.load(saved)

    return [
        Border("data sets of tasks", [built.read_bytes()], load_built, 0.5),
        Border("adapted solvers", [json.loads(whole_about)], load_about, 0.5),
        Border("weights of adapted solvers", [whole_weights], load_weights, 0.5),
    ]


def _training(folder: Path) -> list[Border]:
    """What a training run reads: puzzles, and its own checkpoint."""
    import numpy as np
    import torch

    from training import state
    from training.data.files import read_csv
    from training.data.prepared import PreparedPuzzles, PreparedSource
    from training.recipe import load_recipe
    from training.run import Run, open_run

    domain = get_domain("sudoku-4x4")
    puzzles = folder / "prepared.npz"
    PreparedPuzzles.of([(domain.name, domain.examples(8, 0))], domain.name).write(puzzles)
    prepared = puzzles.read_bytes()
    table = folder / "train.csv"

    def load_prepared(data: bytes) -> object:
        puzzles.write_bytes(data)
        return PreparedSource(str(puzzles), domain, 0, lambda _: np.empty(0, np.uint64)).draw(3)

    def load_table(data: bytes) -> object:
        table.write_bytes(data)
        return read_csv(table, domain)

    small = ("batch_size=4", "micro_batch=4", "model.hidden_size=8", "model.ffn_size=16")
    recipe = load_recipe("sudoku-quick", (*small, "evaluation.puzzles=4", "compile=false"))
    cpu, run = torch.device("cpu"), folder / "run"
    state.save(run / state.LATEST, Run.start(recipe, cpu).state_dict())
    saved = torch.load(run / state.LATEST, weights_only=True)

    def go_on(value: Any) -> object:
        with (run / state.LATEST).open("wb") as file:
            torch.save(value, file)
        return open_run(recipe, run, cpu, fresh=False)

    rows = b"question,answer\n1.34341..14343.1,1234341221434321\n...4,x\n"
    return [
        Border("prepared puzzles", [prepared], load_prepared, 0.5),
        Border("tables to train on", [rows], load_table, 1),
        Border("training checkpoints", [saved], go_on, 0.01),
    ]


def _models(folder: Path) -> list[Border]:
    import torch

    from trm_sdk.persistence.checkpoint import load_model
    from trm_sdk.persistence.hub import resolve
    from trm_sdk.runtimes.onnx import OnnxRuntime

    source = Path(resolve("sudoku-4x4"))
    load_model(source)  # what it imports is not the first input's to wait for
    weights, graph = source / "model.safetensors", source / "model.onnx"
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_bytes((source / "config.json").read_bytes())
    torch_file = folder / "sample.pt"
    torch.save({"model": {"a": torch.zeros(3)}}, torch_file)

    def load_weights(data: bytes) -> object:
        (model / "model.safetensors").write_bytes(data)
        return load_model(model)

    def load_torch(data: bytes) -> object:
        path = folder / "weights.pt"
        path.write_bytes(data)
        return load_model(path)

    def load_graph(data: bytes) -> object:
        path = folder / "fuzzed.onnx"
        path.write_bytes(data)
        return OnnxRuntime(path, threads=1)

    return [
        Border("weights", [weights.read_bytes()], load_weights, 0.2),
        Border("torch files", [torch_file.read_bytes()], load_torch, 0.2),
        Border("graphs", [graph.read_bytes()], load_graph, 0.03),
    ]
