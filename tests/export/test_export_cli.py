"""``trm-export`` and `export_onnx`: files, reports, and one line for what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from export_models import model_of

from export import ExportError, ExportOptions, export_onnx
from export.bench import in_turn
from export.cli import main
from export.exporter import load_source, state_arrays, verify_shallow
from export.graph import build_graph
from export.graph_file import metadata
from export.puzzles import Puzzles
from export.quantize import PRECISIONS
from export.report import compare, losses
from export.verify import verify_graph
from export.verify_puzzles import verify_puzzles
from export.weights import StateDict
from trm_sdk.domains import get_domain
from trm_sdk.model.cost import step_flops
from trm_sdk.persistence.checkpoint import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec, model = model_of("structured-axes")
    return save_model(tmp_path_factory.mktemp("model"), spec, model.state_dict())


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("mode", ["step", "loop", "unroll"])
def test_export_verify_info_bench(folder: Path, tmp_path: Path, mode: str) -> None:
    file = tmp_path / "model.onnx"
    steps = ["--max-steps", 2] if mode == "unroll" else []
    made = call("onnx", folder, "-o", file, "--mode", mode, *steps, "--json")
    assert made.exit_code == 0, made.output
    facts = json.loads(made.stdout)
    assert facts["bytes"] == file.stat().st_size
    assert facts["verification"]["max_difference"] <= 1e-4
    for arguments in (["verify", file], ["verify", file, "--against", folder]):
        verified = call(*arguments)
        assert verified.exit_code == 0, verified.output
        assert "equal answers 100.0%" in verified.stdout
    told = call("info", file).stdout
    assert f"trm_mode: {mode}" in told
    assert "input: tokens int32 (batch, 16)" in told
    assert "memory for one puzzle, at least: " in told
    steps = ["--steps", 2] if mode == "loop" else []
    timed = call("bench", file, "--seconds", 0.05, *steps, "--batch", 3, "--json")
    timing = json.loads(timed.stdout)
    assert timing["batch"] == 3
    assert timing["steps"] == (1 if mode == "step" else 2)
    assert 0 < timing["fastest"] <= timing["p50"] <= timing["p99"]


def test_reduced_precision_is_verified_against_its_model(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    assert call("onnx", folder, "-o", file, "--precision", "int4").exit_code == 0
    alone = call("verify", file)
    assert alone.exit_code == 2
    assert "--against" in alone.stderr
    assert call("verify", file, "--against", folder).exit_code == 0


def test_a_bundled_model_by_name(tmp_path: Path) -> None:
    result = call("onnx", "sudoku-4x4", "-o", tmp_path / "m.onnx", "--mode", "loop")
    assert result.exit_code == 0, result.output
    assert "equal halting steps" in result.stdout


@pytest.mark.parametrize("mode", ["step", "loop", "unroll"])
def test_real_puzzles(tmp_path: Path, mode: str) -> None:
    file, puzzles = tmp_path / "m.onnx", tmp_path / "puzzles.txt"
    puzzles.write_text("12..341221434321\n1...........43.1\n.2..3.1.....4..1\n")
    arguments = ["--mode", mode, "--puzzles", puzzles]
    arguments += ["--max-steps", 3] if mode == "unroll" else []
    made = call("onnx", "sudoku-4x4", "-o", file, *arguments)
    assert made.exit_code == 0, made.output
    assert "on 3 puzzles" in made.stdout
    assert "equal answers 3 of 3, equal halting steps 3 of 3" in made.stdout
    verified = call("verify", file, "--puzzles", puzzles, "--limit", 2)
    assert "equal answers 2 of 2" in verified.stdout, verified.output
    puzzles.write_text("12..341221434329\n")
    assert call("verify", file, "--puzzles", puzzles).exit_code == 2
    assert "can't be read" in call("verify", file, "--puzzles", tmp_path / "none").stderr


def test_other_answers_on_puzzles_are_refused() -> None:
    spec, model = load_source("sudoku-4x4")
    graph = build_graph(spec, state_arrays(model))
    with torch.no_grad():
        model.network.lm_head.weight.neg_()
    tokens = np.ones((3, 16), np.int32)
    tokens[:, :4] = [2, 3, 4, 1]
    check = verify_puzzles(graph, model, [Puzzles(tokens)])
    assert check.answers < check.puzzles == 3
    with pytest.raises(ExportError, match="of 3 puzzles the graph answers"):
        check.require()


def test_a_chaotic_network_is_verified_over_two_passes(tmp_path: Path) -> None:
    """Its first step amplifies rounding beyond the tolerance, here as in PyTorch itself."""
    spec, model = model_of("mlp_t")
    weights = state_arrays(model)
    graph = build_graph(spec, weights)
    deep = verify_graph(graph, model)
    loud = replace(deep, max_difference=1.0)
    shallow = verify_shallow(loud, graph, spec, weights, model)
    assert shallow.passes == 2
    assert shallow.max_difference is not None
    assert shallow.max_difference < 1e-4
    assert verify_shallow(deep, graph, spec, weights, model) is deep


def test_nothing_is_written_where_the_graph_differs(tmp_path: Path) -> None:
    output = tmp_path / "m.onnx"
    with pytest.raises(ExportError, match="differs from PyTorch"):
        export_onnx(model_of("mlp_t"), output, tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []


def test_changed_weights_are_found(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    assert call("onnx", folder, "-o", file).exit_code == 0
    graph = onnx.load(file)
    tensor = next(t for t in graph.graph.initializer if t.name == "y_init")
    tensor.raw_data = tensor.raw_data[::-1]
    onnx.save(graph, file)
    result = call("verify", file)
    assert result.exit_code == 2
    assert "checksum" in result.stderr


def test_another_models_graph_is_refused(folder: Path, tmp_path: Path) -> None:
    spec, other = model_of("structured-axes", seed=1)
    file = tmp_path / "other.onnx"
    onnx.save(build_graph(spec, state_arrays(other)), file)
    result = call("verify", file, "--against", folder)
    assert result.exit_code == 2
    assert "other weights" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["onnx", "no-such-model", "-o", "{out}"], "no-such-model"),
        (["onnx", "{junk}", "-o", "{out}"], "junk.pt"),
        (["onnx", "{model}", "-o", "{out}", "--mode", "jump"], "jump"),
        (["onnx", "{model}", "-o", "{out}", "--opset", "9"], "got 9"),
        (["onnx", "{model}", "-o", "{out}", "--batch", "-3"], "-3"),
        (["onnx", "{model}", "-o", "{out}", "--mode", "unroll", "--max-steps", "0"], "got 0"),
        (["onnx", "{model}", "-o", "{out}/no/folder.onnx"], "folder.onnx"),
        (["onnx", "{model}", "-o", ""], "got ''"),
        (["onnx", "{model}", "-o", "{out}", "--batch", "1" + 22 * "0"], "from 1 to 4096"),
        (["onnx", "{model}", "-o", "{out}", "--batch", "²"], "'²' is neither"),
        (
            ["onnx", "{model}", "-o", "{out}", "--calibration", "{junk}"],
            "applies only to precision 'int8s'",
        ),
        (["bench", "{step}", "--batch", "2", "--steps", "9"], "takes steps=1; got steps=9"),
        (["bench", "{step}", "--seconds", "nan"], "got nan"),
        (["bench", "{step}", "--seconds", "inf"], "got inf"),
        (["bench", "{step}", "--threads", "100000"], "1<=x<=1024"),
        (["bench", "{step}", "--batch", "1" + 22 * "0"], "1<=x<=4096"),
        (["verify", "{step}", "--examples", "5"], "batches of 2; got examples=5"),
        (["web", "{step}", "-o", "{out}"], "fixed batch of 2"),
        (["web", "sudoku-4x4", "-o", ""], "got ''"),
        (["web", "sudoku-4x4", "-o", "{out}", "--runtime", 'https://x/"></script>'], "plain URL"),
        (["ort", "{step}", "-o", ""], "got ''"),
        (["report", "sudoku-4x4", "-o", ""], "got ''"),
        (["report", "sudoku-4x4", "-o", "{out}/no/report"], "there is no folder"),
        (["verify", "{out}"], "no graph"),
        (["verify", "{junk}"], "junk.pt"),
        (["info", "{plain}"], "trm_format"),
        (["bench", "{junk}"], "junk.pt"),
        (["report", "sudoku-4x4", "--puzzles", "{out}"], "can't be read"),
        (["report", "{model}"], "'test'"),
        (["onnx", "{model}", "-o", "{out}", "--precision", "int8s"], "'test'"),
        (
            ["onnx", "sudoku-4x4", "-o", "{out}", "--precision", "int8s", "--calibration", "{out}"],
            "can't be read",
        ),
    ],
)
def test_bad_input(folder: Path, tmp_path: Path, arguments: list[str], named: str) -> None:
    junk = tmp_path / "junk.pt"
    junk.write_bytes(b"not a checkpoint")
    plain = tmp_path / "plain.onnx"
    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    value = [onnx.helper.make_tensor_value_info(n, 1, [1]) for n in "ab"]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", *[[v] for v in value])), plain
    )
    spec, model = model_of("structured-axes")
    step = tmp_path / "step.onnx"
    onnx.save(build_graph(spec, state_arrays(model), batch=2), step)
    names = {
        "out": tmp_path / "out.onnx",
        "junk": junk,
        "model": folder,
        "plain": plain,
        "step": step,
    }
    result = call(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2
    assert named in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        *((key, None, f"lacks '{key}'") for key in ("trm_mode", "precision", "trm_spec")),
        ("weights_sha256", None, "lacks 'weights_sha256'"),
        ("max_steps", None, "lacks 'max_steps'"),
        ("trm_mode", "zz", "trm_mode must be one of .*got 'zz'"),
        ("precision", "fp8", "precision must be one of .*got 'fp8'"),
        *(("max_steps", value, "max_steps must be from 1") for value in ("x", "²", "0", 9 * "9")),
    ],
)
def test_metadata_is_checked_as_a_whole(
    tmp_path: Path, key: str, value: str | None, named: str
) -> None:
    spec, model = model_of("structured-axes")
    graph = build_graph(spec, state_arrays(model), "unroll", max_steps=2)
    facts = {item.key: item.value for item in graph.metadata_props} | {key: value}
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, {k: v for k, v in facts.items() if v is not None})
    onnx.save(graph, tmp_path / "m.onnx")
    for command in ("info", "verify", "bench"):
        result = call(command, tmp_path / "m.onnx")
        assert result.exit_code == 2, result.output
        assert re.search(named, result.stderr)


def test_a_bundled_name_comes_before_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sudoku-4x4").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_source("sudoku-4x4")[0].domain == "sudoku-4x4"
    result = call("web", "sudoku-4x4", "-o", "page")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_that_are_not_finite_are_named(
    tmp_path: Path, precision: str, recwarn: pytest.WarningsRecorder
) -> None:
    spec, model = model_of("structured-axes")
    with torch.no_grad():
        model.network.q_head.weight[0, 0] = torch.nan
    with pytest.raises(ExportError, match=r"'network\.q_head\.weight' has numbers .* not finite"):
        export_onnx((spec, model), tmp_path / "m.onnx", precision=precision)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]
    assert not list(tmp_path.iterdir())


def test_report_judges_by_solved_puzzles(tmp_path: Path) -> None:
    puzzles = tmp_path / "four.csv"
    puzzles.write_text(
        "question,answer\n1234341221434321,1234341221434321\n12..341221434321,1234341221434321\n"
    )
    rows = compare("sudoku-4x4", puzzles, max_steps=8, seconds=0.02)
    assert [row.precision for row in rows] == [
        "fp32",
        "fp16",
        "int8w",
        "int8",
        "int8s",
        "int4",
        "int4n",
    ]
    assert rows[0].solved == 1
    assert rows[0].puzzles == 2
    for row in rows[1:]:
        assert all(row.bytes[mode] < rows[0].bytes[mode] for mode in ("step", "loop", "unroll"))


def test_a_report_on_generated_puzzles_is_written(tmp_path: Path) -> None:
    output = tmp_path / "made" / "report.v1"
    arguments = ["--limit", 3, "--max-steps", 2, "--seconds", 0.01, "--threads", 1, "-o", output]
    assert call("report", "sudoku-4x4", *arguments).exit_code == 2  # no such folder
    output.parent.mkdir()
    result = call("report", "sudoku-4x4", *arguments)
    assert result.exit_code == 0, result.output
    assert "solved of 3 (2 steps)" in result.stdout
    assert output.with_name("report.v1.md").read_text() == result.stdout
    rows = json.loads(output.with_name("report.v1.json").read_text())
    assert [row["precision"] for row in rows] == list(PRECISIONS)
    assert all(row["puzzles"] == 3 and row["eager_ratio"] > 0 for row in rows)


def test_a_loss_is_named() -> None:
    assert losses({"fp32": 0.9, "int8": 0.896}).startswith("No precision")
    assert losses({"fp32": 0.9, "int8": 0.91, "int4": 0.894}).endswith("lost by int4 (0.6 points).")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_refused(folder: Path, tmp_path: Path, device: str) -> None:
    file = tmp_path / "model.onnx"
    assert call("onnx", folder, "-o", file).exit_code == 0
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = call("bench", file, "--device", device)
    assert result.exit_code == 2
    assert f"device={device!r} is " in result.stderr


def test_a_head_and_a_board_from_the_command_line(tmp_path: Path) -> None:
    spec, model = model_of("maze")
    source = save_model(tmp_path / "model", spec, model.state_dict())
    file = tmp_path / "maze.onnx"
    made = call("onnx", source, "-o", file, "--mode", "loop", "--head", "direction")
    assert made.exit_code == 0, made.output
    told = call("info", file).stdout
    assert "input: tokens int32 (batch, rows, columns)" in told
    assert "output: direction float (batch, rows, columns, 5)" in told
    assert "distance" not in told.partition("input: ")[2]
    assert call("verify", file, "--against", source).exit_code == 0
    alone = call("verify", file)
    assert alone.exit_code == 2
    assert "leaves out heads of its model (distance)" in alone.stderr
    timed = call("bench", file, "--board", "3x8", "--steps", 1, "--seconds", 0.01)
    assert timed.exit_code == 0, timed.output
    assert "'3 by 8' is not a size" in call("bench", file, "--board", "3 by 8").stderr
    assert "no head named 'way'" in call("onnx", source, "-o", file, "--head", "way").stderr


def test_options_are_named_and_kept_together(tmp_path: Path) -> None:
    options = ExportOptions(mode="unroll", max_steps=2)
    source = model_of("structured-axes")
    report = export_onnx(source, tmp_path / "m.onnx", options, precision="fp16")
    assert (report.mode, report.precision) == ("unroll", "fp16")
    with pytest.raises(ExportError, match="no option named 'precison'; did you mean 'precision'"):
        export_onnx(source, tmp_path / "m.onnx", precison="fp16")
    with pytest.raises(ExportError, match="max_steps=2 applies only to mode 'unroll'"):
        ExportOptions(max_steps=2)


def test_the_checksum_of_a_model_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many graphs an export builds: an unrolled one is compared with a shorter one, too."""
    counted: list[int] = []
    whole = StateDict.sha256.func

    def counting(self: StateDict) -> str:
        counted.append(1)
        return whole(self)

    monkeypatch.setattr(StateDict.sha256, "func", counting)
    export_onnx(model_of("structured-axes"), tmp_path / "m.onnx", "unroll", max_steps=2)
    assert counted == [1]


def test_the_domain_is_described_where_it_is_known(tmp_path: Path) -> None:
    export_onnx("sudoku-4x4", tmp_path / "m.onnx")
    about = json.loads(metadata(onnx.load(tmp_path / "m.onnx"))["domain_description"])
    assert about == json.loads(json.dumps(get_domain("sudoku-4x4").describe()))
    spec, model = model_of("structured-axes")
    assert "domain_description" not in metadata(build_graph(spec, state_arrays(model)))


def test_bench_takes_calls_in_turn() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = in_turn(calls, seconds=0, least=2)
    assert "".join(order) == "aaaabbbb" * 2
    assert [len(values) for values in times.values()] == [6, 6]


def test_flops_of_the_papers_model() -> None:
    from trm_sdk.model.config import ModelConfig

    config = ModelConfig(vocab_size=11, seq_len=81, puzzle_emb_len=16, puzzle_emb_ndim=512)
    assert step_flops(config) == pytest.approx(25.7e9, rel=0.01)
