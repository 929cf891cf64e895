"""A checkpoint as a model folder that a Solver reads."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from export_models import model_of

import export.exporter
from export import ExportError
from export.bundle import export_bundle
from export.cli import main
from export.exporter import load_source
from trm_sdk import Solver
from trm_sdk.persistence.hub import resolve


def test_a_bundle_is_a_model_folder_with_its_own_defaults(tmp_path):
    folder = tmp_path / "mine"
    weights = str(resolve("sudoku-4x4") / "model.safetensors")
    result = CliRunner().invoke(
        main,
        f"bundle {weights} -o {folder} --max-steps 9 --explore noise --width 3".split(),
    )
    assert result.exit_code == 0, result.output
    solver = Solver.from_pretrained(folder, runtime="onnx")
    options = solver.options
    assert (options.max_steps, options.explore, options.width) == (9, "noise", 3)
    assert solver.solve("1.....3..4.....2").verified


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--max-steps", "-1"], "max_steps"),
        (["--attempts", "5", "--explore", "none"], "the same attempt"),
        (["--attempts", "5", "--explore", "guess", "--patience", "0"], "patience=0"),
    ],
)
def test_wrong_defaults_are_answered_in_one_line(tmp_path, arguments, named):
    result = CliRunner().invoke(
        main, ["bundle", "sudoku-4x4", "-o", str(tmp_path / "x"), *arguments]
    )
    assert result.exit_code == 2
    assert named in result.output
    assert not (tmp_path / "x").exists()


def test_a_bundle_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    """Neither half a folder, nor new weights beside an old graph."""
    folder = tmp_path / "model"
    model = load_source("sudoku-4x4")
    export_bundle(model, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"config.json", "model.onnx", "model.safetensors"}
    monkeypatch.setitem(export.exporter.export_onnx.__kwdefaults__, "tolerance", 1e-12)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(ExportError, match="differs from PyTorch"):
            export_bundle(model_of("mlp_t"), target)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_bundle_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    for target, named in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "x", "file/x can't be written: Not a directory"),
        ("", "got ''"),
    ):
        with pytest.raises(ExportError, match=named):
            export_bundle("sudoku-4x4", target)
