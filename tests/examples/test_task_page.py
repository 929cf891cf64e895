"""The page of an adapted task, and the module that it runs: they answer what Python answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import PACKAGES, run
from test_web import browser, serve

pytest.importorskip("numba")
from click.testing import CliRunner

from export.adapted import export_adapted
from export.cli import main
from export.errors import ExportError
from export.page_folder import RUNTIME_FILES
from export.web import export_web
from trm_sdk import AdaptedSolver, Grid, Solver, Task
from trm_sdk.adapt.graph import AdaptedGraph
from trm_sdk.errors import InvalidInputError

__all__ = ["browser"]  # a fixture

HERE = Path(__file__).parent
#: What becomes of an input, by the view that a network has of it.
KINDS = {
    "same": lambda g: np.where(g == 1, 5, g),
    "blocks": lambda g: g[:, : g.shape[1] // 2],
    "zoom": lambda g: np.tile(g, (2, 2)),
    "corner": lambda g: g[:2, :2],
}


def task_of(kind: str) -> Task:
    rng = np.random.default_rng(0)
    grids = [rng.integers(0, 4, shape) for shape in ((4, 6), (3, 4), (5, 8))]
    pairs = tuple((Grid(g), Grid(KINDS[kind](g))) for g in grids)
    return Task((Grid(rng.integers(0, 4, (2, 4))),), pairs, name=f"the {kind} one")


@pytest.fixture(scope="module")
def solvers() -> dict[str, AdaptedSolver]:
    """A solver of each kind: what it has learned is of no importance."""
    return {kind: Solver.adapt(task_of(kind), steps=30, snapshot_steps=10) for kind in KINDS}


@pytest.fixture(scope="module")
def answers(
    solvers: dict[str, AdaptedSolver], node: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[AdaptedGraph, list[Grid], list[Any]]]:
    """Of each kind: the graph in Python, inputs, and what JavaScript says to them."""
    folder = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(1)
    asked, kept = [], {}
    for kind, solver in solvers.items():
        export_web(solver, folder / kind)
        graph = AdaptedGraph(folder / kind / "model.onnx")
        inputs = [*graph.task.inputs, Grid(rng.integers(0, 4, (6, 2)))]
        kept[kind] = (graph, inputs)
        paths = {"module": str(folder / kind / "task.js"), "model": str(graph_path(folder, kind))}
        bad = [[[0, 9]], [[0], [0, 1]], []]
        asked.append({**paths, "inputs": [grid.tolist() for grid in inputs] + bad})
    questions = folder / "questions.json"
    questions.write_text(json.dumps(asked))
    done = run(node, HERE / "task.mjs", questions, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {kind: (*kept[kind], said) for kind, said in zip(kept, found, strict=True)}


def graph_path(folder: Path, kind: str) -> Path:
    return folder / kind / "model.onnx"


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_in_javascript_is_that_of_python(answers: dict[str, Any], kind: str) -> None:
    graph, inputs, said = answers[kind]
    assert graph._coding.view.kind == kind
    for grid, steps in zip(inputs, said, strict=False):
        assert len(steps) == graph.steps
        batch = graph._coding.batch([grid])
        for number, step in enumerate(steps, start=1):
            logits = graph.logits(grid, number)
            assert Grid(step["grid"]) == graph._coding.grids(batch, logits.ravel())[0]
            rows, columns = batch.outputs[0]
            exps = np.exp(logits - logits.max(0))
            sure = (exps.max(0) / exps.sum(0))[:rows, :columns]
            np.testing.assert_allclose(step["certainty"], sure, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_python_refuses_are_refused_in_javascript(
    answers: dict[str, Any], kind: str
) -> None:
    *_, unknown, ragged, empty = answers[kind][2]
    assert unknown.startswith("PuzzleError: the value 9 in row 1 is not among those of the task")
    assert ragged == "PuzzleError: row 2 must have 1 cells, as row 1; got 2"
    assert empty == "PuzzleError: a grid must have 1 to 127 rows and columns; got 0x0"


def test_an_input_of_a_size_without_an_answer_is_refused(
    solvers: dict[str, AdaptedSolver], node: str, tmp_path: Path
) -> None:
    export_web(solvers["blocks"], tmp_path / "page")
    graph = AdaptedGraph(tmp_path / "page" / "model.onnx")
    with pytest.raises(InvalidInputError) as error:
        graph.solve(Grid([[0, 1, 2]]))
    question = {"module": str(tmp_path / "page" / "task.js"), "inputs": [[[0, 1, 2]]]}
    sudoku = Path(__file__).parents[2] / "trm_sdk/pretrained/sudoku-4x4/model.onnx"
    models = [tmp_path / "page" / "model.onnx", sudoku]
    (tmp_path / "q.json").write_text(
        json.dumps([{**question, "model": str(model)} for model in models])
    )
    done = run(node, HERE / "task.mjs", tmp_path / "q.json", timeout=300)
    (refused,), (other,) = json.loads(done.stdout)
    assert refused == f"PuzzleError: {error.value}"
    assert other == f"ModelError: {sudoku} is not the graph of an adapted solver"


# --- the folder -------------------------------------------------------------------------------


def test_a_saved_solver_a_graph_and_the_command_line_make_the_same_page(
    solvers: dict[str, AdaptedSolver], tmp_path: Path
) -> None:
    solver = solvers["same"]
    report = export_web(solver, tmp_path / "page")
    assert report.domain == "arc"
    assert {path.name for path in (tmp_path / "page").iterdir()} == set(report.files)
    solver.save_pretrained(tmp_path / "saved")
    export_adapted(solver, tmp_path / "task.onnx")
    done = CliRunner().invoke(main, ["web", str(tmp_path / "saved"), "-o", str(tmp_path / "page2")])
    assert done.exit_code == 0, done.output
    export_web(tmp_path / "task.onnx", tmp_path / "page3")
    for other in ("page2", "page3"):
        for name in report.files:
            assert (tmp_path / other / name).read_bytes() == (
                tmp_path / "page" / name
            ).read_bytes(), name


def test_a_graph_of_before_pages_is_refused(
    solvers: dict[str, AdaptedSolver], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    path = export_adapted(solvers["same"], tmp_path / "task.onnx")
    graph = onnx.load(path)
    for entry in graph.metadata_props:
        if entry.key == "trm_spec":
            spec = json.loads(entry.value)
            del spec["coding"]
            entry.value = json.dumps(spec)
    onnx.save(graph, path)
    with pytest.raises(ExportError, match="export it again"):
        export_web(path, tmp_path / "page")


def test_what_the_page_can_not_check_is_refused(
    solvers: dict[str, AdaptedSolver], tmp_path: Path
) -> None:
    hashes = dict.fromkeys(RUNTIME_FILES, "sha256-" + "A" * 43 + "=")
    address = "https://example.org/dist"
    with pytest.raises(ExportError, match="can't check the files that a server sends"):
        export_web(solvers["same"], tmp_path / "page", runtime=address, integrity=hashes)
    assert not (tmp_path / "page").exists()


# --- in a browser -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(
    solvers: dict[str, AdaptedSolver],
    node: str,
    browser: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What `task_page.mjs` saw, and the graph that the page ran."""
    folder = tmp_path_factory.mktemp("page")
    export_web(solvers["blocks"], folder, runtime=PACKAGES / "onnxruntime-web" / "dist")
    address, server = serve(folder)
    done = run(node, HERE / "task_page.mjs", browser, address, timeout=600)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "failed" not in found, found["failed"]
    return found | {"graph": AdaptedGraph(folder / "model.onnx")}


def spoken(grid: Grid) -> str:
    rows = " ".join("".join(map(str, row)) for row in grid.tolist())
    return f"{grid.shape[0]} by {grid.shape[1]}, rows {rows}"


def test_the_page_shows_the_demonstrations_in_the_palette(seen: dict[str, Any]) -> None:
    expected = [grid for pair in seen["graph"].task.demonstrations for grid in pair]
    assert [label.split(": ")[1] for label in seen["pairs"]] == [spoken(one) for one in expected]
    assert set(seen["colours"]) == {
        "rgb(0, 0, 0)",
        "rgb(0, 116, 217)",
        "rgb(255, 65, 54)",
        "rgb(46, 204, 64)",
    }
    assert seen["complaints"] == []


def test_the_page_answers_what_python_answers(seen: dict[str, Any]) -> None:
    graph = seen["graph"]
    assert seen["before"] == "No answer yet"
    assert seen["answer"] == f"Answer: {spoken(graph.solve(graph.task.inputs[0]))}"
    assert seen["status"].endswith("Nothing here says whether that is right.")
    before, after = graph.task.demonstrations[1]
    answer = graph.solve(before)
    assert seen["demonstration"]["answer"] == f"Answer: {spoken(answer)}"
    assert seen["demonstration"]["status"].startswith("The" if answer == after else "Not the")


def test_inputs_are_drawn_by_mouse_and_keys_and_resized(seen: dict[str, Any]) -> None:
    assert seen["drawn"] == {
        "cell": "row 2, column 1: black",
        "answer": "No answer yet",
        "chosen": "",
    }
    assert seen["typed"] == "row 2, column 2: blue"
    assert seen["own"].startswith("Answered")
    # Nine columns are no two blocks.
    assert seen["resized"]["cells"] == 27
    assert "3x9 has no answer" in seen["resized"]["problem"]
    assert not seen["resized"]["playable"]
