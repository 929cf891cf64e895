"""Graphs of boards of any size: one file, every board, in every mode and several precisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_models import CONFIGS, model_of

from export import ExportError, build_graph, export_onnx, verify_graph
from export.bench import bench_graph, feeds, memory
from export.calibrate import calibrate
from export.exporter import rounded_model, state_arrays
from export.graph_file import all_nodes
from export.graph_file import model_of as model_in
from export.puzzles import Puzzles
from export.verify_puzzles import verify_puzzles
from trm_sdk import SolveOptions
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec

ANY_SIZE = [name for name, config in CONFIGS.items() if config.any_size]
BOARDS = [(9, 9), (15, 20), (40, 40)]
MODES = {
    "step": {"mode": "step"},
    "loop": {"mode": "loop"},
    "nested": {"mode": "loop", "cycles": "loop"},
    "unroll": {"mode": "unroll", "max_steps": 2},
    "functions": {"mode": "unroll", "max_steps": 2, "functions": "on"},
}


def run(graph: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def expected(model: TRM, tokens: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """What PyTorch gives after so many steps."""
    board, values = torch.from_numpy(tokens), {}
    state = model.initial_state(len(tokens), tokens.shape[1:])
    with torch.inference_mode():
        for _ in range(steps):
            state, values["logits"], values["halt_logit"] = model(board, state)
        values["answer"] = model.answer(board, values["logits"])
        values |= model.network.auxiliary(state.y)
    return {name: value.numpy() for name, value in values.items()}


def test_some_models_are_of_any_size() -> None:
    assert set(ANY_SIZE) == {"maze", "local", "local-values", "local-pools"}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8w"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["local", "local-values", "maze"])
def test_one_graph_runs_on_every_board(name: str, mode: str, precision: str) -> None:
    spec, model = model_of(name)
    heads = tuple(spec.model.heads)
    graph = build_graph(spec, state_arrays(model), precision=precision, heads=heads, **MODES[mode])
    model = rounded_model(spec, model, precision)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    outputs = [output.name for output in session.get_outputs()]
    steps = 1 if mode == "step" else 2
    for board in BOARDS:
        inputs = feeds(graph, 3, steps, board=board)
        found = dict(zip(outputs, session.run(None, inputs), strict=True))
        wanted = expected(model, inputs["tokens"], steps)
        for output in ("logits", "halt_logit", *heads):
            np.testing.assert_allclose(found[output], wanted[output], atol=1e-4, err_msg=output)
        if mode != "step":
            # Where the two best logits lie apart, the answer is the same.
            ordered = np.sort(wanted["logits"], axis=-1)
            decided = ordered[..., -1] - ordered[..., -2] > 2e-4
            assert decided.mean() > 0.9
            assert (found["answer"] == wanted["answer"])[decided].all()
            assert found["answer"].dtype == np.int32
        assert found["logits"].shape == (3, *board, spec.model.outputs)
        for head in heads:
            assert found[head].shape == (3, *board, spec.model.heads[head])


def test_all_dimensions_have_names() -> None:
    spec, model = model_of("local-values")
    graph = build_graph(spec, state_arrays(model))
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    board = ["batch", "rows", "columns"]
    assert dims == {
        "tokens": board,
        **{name: [*board, 4, 16] for name in ("y", "z", "next_y", "next_z")},
        "logits": [*board, 4],
        "halt_logit": ["batch"],
    }
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.graph.input}
    float32 = onnx.TensorProto.FLOAT
    assert kinds == {"tokens": onnx.TensorProto.INT32, "y": float32, "z": float32}


@pytest.mark.parametrize("name", ["local", "structured-plane"])
def test_offsets_are_convolutions(name: str) -> None:
    spec, model = model_of(name)
    graph = build_graph(spec, state_arrays(model))
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == spec.model.passes
    stored = {tensor.name: tensor for tensor in graph.graph.initializer}
    assert {stored[node.input[1]].name.split(".")[2] for node in convolutions} == {"taps"}
    inside_passes = [node for node in graph.graph.node if node.name.startswith("step/H")]
    gathers = [node for node in inside_passes if node.op_type == "Gather"]
    assert bool(gathers) == (name == "structured-plane"), "boxes alone are gathered"


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1)])
@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_smallest_boards(name: str, shape: tuple[int, int]) -> None:
    """A row of one cell is a row; sizes of 1 are not taken for axes that were pooled over."""
    spec, model = model_of(name)
    graph = build_graph(spec, state_arrays(model), "loop")
    inputs = feeds(graph, 2, 2, board=shape)
    found, wanted = run(graph, inputs), expected(model, inputs["tokens"], 2)
    np.testing.assert_allclose(found["logits"], wanted["logits"], atol=1e-4)


@pytest.mark.parametrize("precision", ["int8", "int8s", "int4", "int4n"])
@pytest.mark.parametrize("name", ["local", "local-values", "structured-plane"])
def test_other_precisions(name: str, precision: str) -> None:
    spec, model = model_of(name, wide=True)
    weights = state_arrays(model)
    shape = (2, *spec.model.token_shape_of((6, 6)))
    tokens = np.random.default_rng(1).integers(0, spec.model.vocab_size, shape).astype(np.int32)
    ranges = calibrate(spec, weights, [Puzzles(tokens)], steps=2) if precision == "int8s" else None
    graph = build_graph(spec, weights, "loop", precision=precision, ranges=ranges)
    result = verify_graph(graph, rounded_model(spec, model, precision), steps=1)
    if precision in ("int8", "int8s"):
        # Of logits up to 4: where rounding does not decide, answers are the same.
        assert result.final_difference < 1
        assert result.answers == 1
    else:
        result.require()


def test_heads_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    source = model_of("maze")
    for heads, mode in (((), "step"), (("distance",), "loop"), (("direction", "distance"), "step")):
        report = export_onnx(source, tmp_path / "m.onnx", mode, heads=heads)
        graph = onnx.load(report.path)
        outputs = [value.name for value in graph.graph.output]
        assert [name for name in outputs if name in source[0].model.heads] == list(heads)
        stored = {tensor.name for tensor in graph.graph.initializer}
        assert {f"heads.{name}.weight" for name in heads} == {
            name for name in stored if name.startswith("heads.") and name.endswith(".weight")
        }


def test_a_wrong_head_is_refused() -> None:
    spec, model = model_of("maze")
    with pytest.raises(ExportError, match=r"named 'way' \(there are: direction, distance\)"):
        build_graph(spec, state_arrays(model), heads=("way",))
    clash = spec.model_copy(update={"model": spec.model.model_copy(update={"heads": {"y": 2}})})
    with pytest.raises(ExportError, match="named 'y' can't be an output"):
        build_graph(clash, state_arrays(TRM(clash.model)), heads=("y",))


def test_a_head_that_differs_is_found() -> None:
    spec, model = model_of("maze")
    graph = build_graph(spec, state_arrays(model), "loop", heads=("distance",))
    with torch.no_grad():
        model.network.heads["distance"].bias += 0.01
    assert verify_graph(graph, model).max_difference == pytest.approx(0.01, rel=0.01)
    with torch.no_grad():
        model.network.heads["direction"].bias += 0.01  # which the graph leaves out
        model.network.heads["distance"].bias -= 0.01
    verify_graph(graph, model).require()


def test_a_graph_without_its_heads_does_not_give_its_model_back() -> None:
    spec, model = model_of("maze")
    with pytest.raises(ExportError, match=r"direction, distance.*--against"):
        model_in(build_graph(spec, state_arrays(model)))


def test_wrong_pools_are_found_on_another_board() -> None:
    """A graph that is right on the usual board alone: its size is built in."""
    spec, model = model_of("local")
    graph = build_graph(spec, state_arrays(model))
    for node in all_nodes(graph.graph):
        if node.op_type == "Mul" and node.input[1] == "board/columns/pool_scale":
            node.input[1] = "nine"
    nine = np.array(1 / 3, np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(nine, "nine"))
    usual = np.zeros((2, 9, 9), np.int32)
    verify_graph(graph, model, tokens=usual).require()
    with pytest.raises(ExportError, match="differs from PyTorch"):
        verify_graph(graph, model).require()


@pytest.mark.parametrize("mode", ["step", "loop", "unroll"])
def test_identifiers_tell_puzzles_apart(mode: str) -> None:
    """In every mode, and in the comparison on puzzles."""
    spec, model = model_of("attention-rope")
    spec = spec.model_copy(update={"solve": SolveOptions(max_steps=2)})
    with torch.no_grad():
        model.network.puzzle_emb *= 20
    graph = build_graph(spec, state_arrays(model), mode)
    tokens = np.random.default_rng(0).integers(0, 11, (4, 16)).astype(np.int32)
    identifiers = np.array([0, 2, 4, 2], np.int32)
    inputs = feeds(graph, 4, 1, np.repeat(tokens[:1], 4, 0), identifiers=identifiers)
    logits = run(graph, inputs)["logits"]
    np.testing.assert_allclose(logits[1], logits[3], atol=1e-5)
    assert min(np.abs(logits[0] - logits[1]).max(), np.abs(logits[2] - logits[1]).max()) > 1e-3
    check = verify_puzzles(graph, model, [Puzzles(tokens, identifiers)])
    check.require()
    assert (check.answers, check.unsettled) == (4, 0)
    # Others than PyTorch was given: what the graph answers is not what was expected.
    with torch.no_grad():
        model.network.puzzle_emb[2] = model.network.puzzle_emb[1]
    check = verify_puzzles(graph, model, [Puzzles(tokens, identifiers)])
    assert check.answers == 2
    verify_puzzles(graph, model, [Puzzles(tokens)]).require()  # identifier 0 is as it was


def test_puzzles_of_several_shapes_are_compared() -> None:
    spec, model = model_of("local")
    rng = np.random.default_rng(0)
    boards = [rng.integers(0, 6, (2, *board)).astype(np.int32) for board in ((4, 4), (3, 7))]
    for mode in ("step", "loop"):
        graph = build_graph(spec, state_arrays(model), mode)
        check = verify_puzzles(graph, model, [Puzzles(tokens) for tokens in boards])
        assert check.puzzles == 4
        check.require()


def test_bench_takes_a_board() -> None:
    spec, model = model_of("local")
    graph = build_graph(spec, state_arrays(model))
    small = bench_graph(graph, seconds=0, board=(2, 2))
    large = bench_graph(graph, seconds=0, board=(60, 60))
    assert small.fastest < large.fastest
    assert memory(graph).activations > 0
    fixed = build_graph(*_fixed())
    with pytest.raises(ExportError, match="this one does not"):
        bench_graph(fixed, seconds=0, board=(2, 2))


def _fixed() -> tuple[ModelSpec, dict[str, np.ndarray]]:
    spec, model = model_of("structured-axes")
    return spec, state_arrays(model)
