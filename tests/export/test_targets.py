"""The same graph in other runtimes' forms computes the same."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from export_models import model_of

from export import build_graph
from export.bench import feeds
from export.cli import main
from export.exporter import state_arrays
from export.targets import to_openvino
from trm_sdk.errors import MissingDependencyError
from trm_sdk.persistence.hub import BUNDLED

MODES = {
    "step": {"mode": "step"},
    "loop": {"mode": "loop"},
    "unroll": {"mode": "unroll", "max_steps": 2},
    "functions": {"mode": "unroll", "max_steps": 2, "functions": "on"},
}


def write(folder: Path, name: str, mode: str) -> Path:
    spec, model = model_of(name)
    path = folder / f"{name}.onnx"
    onnx.save(build_graph(spec, state_arrays(model), **MODES[mode]), path)
    return path


@pytest.mark.parametrize("mode", MODES)
def test_ort_format(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path, "structured-axes", mode)
    result = CliRunner().invoke(main, ["ort", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "structured-axes.ort"))
    graph = onnx.load(path)
    inputs = feeds(graph, 2, 2)
    expected = onnxruntime.InferenceSession(str(path)).run(["logits"], inputs)[0]
    assert abs(session.run(["logits"], inputs)[0] - expected).max() <= 1e-4
    operators = (tmp_path / "out" / "structured-axes.required_operators.config").read_text()
    assert "MatMul" in operators
    assert ("Loop" in operators) == (mode == "loop")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "structured-axes.onnx"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_openvino(tmp_path: Path, name: str, mode: str) -> None:
    pytest.importorskip("openvino")
    path = write(tmp_path, name, mode)
    result = CliRunner().invoke(main, ["openvino", str(path), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert path.with_suffix(".xml").stat().st_size > 1000


@pytest.mark.parametrize("name", ["graph", "graph.v1"])
def test_a_graph_needs_no_suffix(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "structured-axes", "step").rename(tmp_path / name)
    result = CliRunner().invoke(main, ["ort", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.output.splitlines()] == [
        str(tmp_path / "out" / f"{name}.ort"),
        str(tmp_path / "out" / f"{name}.required_operators.config"),
        "logits differ from the ONNX file's by 0.0e+00",
    ]
    assert not caplog.records


@pytest.mark.parametrize("command", ["ort", "openvino"])
def test_bad_input(tmp_path: Path, command: str) -> None:
    if command == "openvino":
        pytest.importorskip("openvino")
    result = CliRunner().invoke(main, [command, str(tmp_path / "no.onnx"), "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "no.onnx" in result.stderr


def test_without_openvino_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trm-sdk\[targets\]'"):
        to_openvino(BUNDLED / "sudoku-4x4" / "model.onnx", tmp_path)
