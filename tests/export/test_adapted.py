"""The network of an adapted solver, exported, gives what it gives, without numba and torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("onnx")
from export.adapted import export_adapted
from export.errors import ExportError
from trm_sdk import AdaptedSolver, Grid, Solver, Task
from trm_sdk.adapt.graph import AdaptedGraph
from trm_sdk.adapt.network import Network, Workspace
from trm_sdk.errors import CheckpointError, InvalidInputError


def task_of(shrink: bool) -> Task:
    rng = np.random.default_rng(0)
    grids = [rng.integers(0, 4, shape) for shape in ((4, 6), (3, 4), (5, 8))]
    outputs = [g[:, : g.shape[1] // 2] if shrink else np.where(g == 1, 5, g) for g in grids]
    pairs = tuple((Grid(a), Grid(b)) for a, b in zip(grids, outputs, strict=True))
    return Task((pairs[0][0],), pairs, name="exported")


@pytest.fixture(scope="module", params=[False, True], ids=["same", "blocks"])
def solver(request: pytest.FixtureRequest) -> AdaptedSolver:
    return Solver.adapt(task_of(request.param), steps=60, snapshot_steps=20)


@pytest.mark.parametrize("shape", [(4, 6), (1, 2), (7, 12)])
def test_the_graph_gives_the_logits_of_the_network_on_any_size(
    solver: AdaptedSolver, shape: tuple[int, int], tmp_path: Path
) -> None:
    graph = AdaptedGraph(export_adapted(solver, tmp_path / "task.onnx", snapshot=0))
    grid = Grid(np.random.default_rng(1).integers(0, 4, shape))
    batch = solver.coding.batch([grid])
    network = Network(solver.snapshots[0].weights)
    depths = (1, 2, 4)
    expected = network.run(batch, Workspace(batch, network.inner + 1), depths)
    for steps, logits in zip(depths, expected, strict=True):
        np.testing.assert_allclose(graph.logits(grid, steps).ravel(), logits, atol=2e-3)


def test_it_answers_as_the_network_does_and_knows_its_task(
    solver: AdaptedSolver, tmp_path: Path
) -> None:
    graph = AdaptedGraph(export_adapted(solver, tmp_path / "task.onnx"))
    assert graph.task.demonstrations == solver.task.demonstrations
    place, steps = solver.speaker()
    assert graph.steps == steps
    batch = solver.coding.batch([solver.task.inputs[0]])
    network = Network(solver.snapshots[place].weights)
    (logits,) = network.run(batch, Workspace(batch, network.inner + 1), (steps,))
    assert graph.solve(solver.task.inputs[0]) == solver.coding.grids(batch, logits)[0]
    with pytest.raises(InvalidInputError, match="the value 9"):
        graph.solve(Grid([[9, 9]]))


def test_it_runs_without_numba_torch_and_onnx(solver: AdaptedSolver, tmp_path: Path) -> None:
    path = export_adapted(solver, tmp_path / "task.onnx")
    code = (
        "import sys\n"
        "from trm_sdk.adapt.graph import AdaptedGraph\n"
        f"graph = AdaptedGraph({str(path)!r})\n"
        "print(graph.solve(graph.task.inputs[0]).shape)\n"
        "assert not {'numba', 'torch', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("(4, 6)", "(4, 3)")


def test_other_files_are_refused(solver: AdaptedSolver, tmp_path: Path) -> None:
    wrong: Any
    for wrong in (999, -1, "0", True):
        with pytest.raises(ExportError, match="snapshot must be from 0"):
            export_adapted(solver, tmp_path / "task.onnx", snapshot=wrong)
    graph = export_adapted(solver, tmp_path / "task.onnx")
    for wrong in (0, 1025, "2"):
        with pytest.raises(InvalidInputError, match="threads must be a whole number from 1"):
            AdaptedGraph(graph, threads=wrong)
    for wrong in (0, 65, 1.5):
        with pytest.raises(InvalidInputError, match="steps must be a whole number from 1 to 64"):
            AdaptedGraph(graph).logits(solver.task.inputs[0], wrong)
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(CheckpointError):
        AdaptedGraph(path)
    with pytest.raises(CheckpointError, match="mode 'step', not of an adapted solver"):
        AdaptedGraph(Path(__file__).parents[2] / "trm_sdk/pretrained/sudoku-4x4/model.onnx")
