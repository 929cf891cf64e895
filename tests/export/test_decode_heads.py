"""Heads that a domain decodes answers from are outputs of its step graphs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from export_models import model_of

from export.bundle import export_bundle
from export.cli import main
from export.exporter import Source, export_onnx
from export.options import ExportOptions
from export.web import export_web
from trm_sdk import Solver, get_domain
from trm_sdk.persistence.checkpoint import save_model


@pytest.fixture(scope="module")
def maze() -> Source:
    """A random model of mazes, with the head that their domain reads and another one."""
    spec, model = model_of("maze")
    names = get_domain("maze").vocabulary.names
    return spec.model_copy(update={"domain": "maze", "vocabulary": names}), model


def heads_in(path: Path) -> list[str]:
    outputs = [value.name for value in onnx.load(path).graph.output]
    return [name for name in outputs if name in ("direction", "distance")]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["direction"]),
        ({"precision": "int8s"}, ["direction"]),
        ({"heads": ()}, []),
        ({"heads": ("distance",)}, ["distance"]),
        ({"mode": "loop"}, []),
        ({"mode": "unroll", "max_steps": 1}, []),
        ({"mode": "loop", "heads": "direction"}, ["direction"]),
    ],
    ids=str,
)
def test_a_step_graph_has_them_unless_told_otherwise(
    maze: Source, tmp_path: Path, fields: dict[str, object], expected: list[str]
) -> None:
    export_onnx(maze, tmp_path / "m.onnx", **fields)
    assert heads_in(tmp_path / "m.onnx") == expected


def test_a_domain_that_is_not_registered_has_none(tmp_path: Path) -> None:
    source = model_of("maze")
    assert ExportOptions().heads_of(source[0]) == ()
    export_onnx(source, tmp_path / "m.onnx")
    assert heads_in(tmp_path / "m.onnx") == []


def test_a_bundle_solves_with_them(maze: Source, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert export_bundle(maze, folder).path == folder / "model.onnx"
    by_onnx, by_torch = (
        Solver.from_pretrained(folder, runtime=name, device="cpu", threads=1).runtime
        for name in ("onnx", "torch")
    )
    tokens = np.random.default_rng(0).integers(1, 6, (2, 4, 6), dtype=np.int32)
    ours, theirs = (one.step(one.start(tokens)).heads for one in (by_onnx, by_torch))
    assert set(ours) == set(theirs) == {"direction"}
    np.testing.assert_allclose(ours["direction"], theirs["direction"], atol=1e-4, rtol=0)


def test_a_page_has_the_head_and_the_walk(maze: Source, tmp_path: Path) -> None:
    spec, model = maze
    source = save_model(tmp_path / "model", spec, model.state_dict())
    export_web(source, tmp_path / "page")
    assert heads_in(tmp_path / "page" / "model.onnx") == ["direction"]
    assert json.loads((tmp_path / "page" / "model.json").read_text())["rules"] == "domain.js"
    assert "function alternatives" in (tmp_path / "page" / "domain.js").read_text()


def test_heads_from_the_command_line(maze: Source, tmp_path: Path) -> None:
    spec, model = maze
    source = save_model(tmp_path / "model", spec, model.state_dict())
    file = tmp_path / "m.onnx"
    for arguments, expected in (
        ((), ["direction"]),
        (("--no-heads",), []),
        (("--head", "distance"), ["distance"]),
        (("--mode", "loop"), []),
    ):
        made = call("onnx", source, "-o", file, *arguments)
        assert made.exit_code == 0, made.output
        assert heads_in(file) == expected
    both = call("onnx", source, "-o", file, "--no-heads", "--head", "distance")
    assert both.exit_code == 2
    assert "exclude each other" in both.stderr
    bundled = call("bundle", source, "-o", tmp_path / "mine")
    assert bundled.exit_code == 0, bundled.output
    assert heads_in(tmp_path / "mine" / "model.onnx") == ["direction"]
