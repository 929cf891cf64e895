"""A checkpoint as a model folder that a Solver reads."""

from __future__ import annotations

from click.testing import CliRunner

from export.cli import main
from trm_sdk import Solver
from trm_sdk.hub import resolve


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


def test_wrong_defaults_are_answered_in_one_line(tmp_path):
    result = CliRunner().invoke(
        main, ["bundle", "sudoku-4x4", "-o", str(tmp_path / "x"), "--max-steps", "-1"]
    )
    assert result.exit_code == 2
    assert "max_steps" in result.output
    assert not (tmp_path / "x").exists()
