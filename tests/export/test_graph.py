"""The graphs compute what PyTorch computes, in every mode, for every architecture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from export_models import CONFIGS, model_of, ranges_of
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export import ExportError, build_graph, verify_graph
from export.bench import feeds
from export.exporter import state_arrays
from export.graph_file import all_nodes, check_graph, load_graph, model_nodes
from export.graph_file import model_of as model_in
from export.weights import weights_sha256
from trm_sdk.persistence.checkpoint import build
from trm_sdk.persistence.spec import ModelSpec

MODES = {
    "step": {"mode": "step"},
    "loop": {"mode": "loop"},
    "nested": {"mode": "loop", "cycles": "loop"},
    "unroll": {"mode": "unroll", "max_steps": 2},
    "functions": {"mode": "unroll", "max_steps": 2, "functions": "on"},
}


def graph_of(name: str, *, wide: bool = False, **options: object) -> onnx.ModelProto:
    spec, model = model_of(name, wide=wide)
    if options.get("precision") == "int8s":
        options["ranges"] = ranges_of(name, wide=wide)
    return build_graph(spec, state_arrays(model), **options)


def run(graph: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_pytorch(name: str, mode: str) -> None:
    _, model = model_of(name)
    result = verify_graph(graph_of(name, **MODES[mode]), model, examples=3)
    assert result.final_difference <= 1e-4
    assert result.max_difference is None or result.max_difference <= 1e-4
    assert result.answers == 1
    assert result.halting is (True if MODES[mode]["mode"] == "loop" else None)
    result.require()


@pytest.mark.parametrize("opset", [14, 18, 21])
@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_other_opsets(name: str, opset: int) -> None:
    _, model = model_of(name)
    for options in ({"mode": "step"}, {"mode": "loop"}):
        graph = graph_of(name, opset=opset, **options)
        assert graph.opset_import[0].version == opset
        verify_graph(graph, model, steps=2).require()


def test_examples_halt_on_their_own() -> None:
    """Halted rows keep what they had, whatever the rest of the batch goes on to do."""
    _, model = model_of("structured-axes")
    graph = graph_of("structured-axes", mode="loop")
    inputs = feeds(graph, 8, 6)
    tokens = torch.from_numpy(inputs["tokens"])
    state = model.initial_state(8)
    seen = []
    with torch.inference_mode():
        for _ in range(6):
            state, logits, halt = model(tokens, state)
            seen.append((logits.numpy(), torch.sigmoid(halt).numpy()))
    threshold = float(np.quantile(np.stack([p for _, p in seen[:4]]), 0.7)) + 1e-4
    expected = [
        next((i for i, (_, p) in enumerate(seen) if p[row] > threshold), 5) for row in range(8)
    ]
    assert len(set(expected)) > 1  # or the test shows nothing
    out = run(graph, {**inputs, "halt_threshold": np.array(threshold, np.float32)})
    assert (out["steps"] == np.array(expected) + 1).all()
    for row, step in enumerate(expected):
        # A random network multiplies rounding from step to step.
        np.testing.assert_allclose(out["logits"][row], seen[step][0][row], atol=1e-3)


def test_loop_stops_when_all_have_halted() -> None:
    graph = graph_of("structured-axes", mode="loop")
    inputs = feeds(graph, 3, 10**9)
    out = run(graph, {**inputs, "halt_threshold": np.array(0, np.float32)})
    assert (out["steps"] == 1).all()


def test_rows_do_not_depend_on_their_batch() -> None:
    graph = graph_of("attention-rope", mode="unroll", max_steps=1)
    inputs = feeds(graph, 5, 1)
    inputs["puzzle_identifiers"] = np.arange(5, dtype=np.int32)
    whole = run(graph, inputs)["logits"]
    for row in range(5):
        alone = run(graph, {name: array[row : row + 1] for name, array in inputs.items()})
        np.testing.assert_allclose(alone["logits"][0], whole[row], atol=1e-5)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_fixed_batch() -> None:
    _, model = model_of("mlp_t")
    graph = graph_of("mlp_t", batch=2)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert verify_graph(graph, model).examples == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["mlp_t", "attention-rope", "structured-axes"])
def test_weights_are_stored_once(name: str, mode: str) -> None:
    _, model = model_of(name)
    arrays = state_arrays(model)
    graph = graph_of(name, **MODES[mode])
    stored = [t for t in graph.graph.initializer if not t.name.startswith("const/")]
    assert sum(numpy_helper.to_array(t).size for t in stored) == sum(
        array.size for array in arrays.values()
    )
    inside = [a for node in all_nodes(graph.graph) for a in node.attribute if a.HasField("g")]
    assert not any(len(attribute.g.initializer) for attribute in inside)
    assert not any(node.op_type == "Constant" for node in all_nodes(graph.graph))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8s", "int4", "int4n"])
def test_functions_compute_the_same(precision: str) -> None:
    options = {"mode": "unroll", "max_steps": 3, "precision": precision}
    options["wide"] = precision != "fp32"
    plain = graph_of("structured-axes", functions="off", **options)
    small = graph_of("structured-axes", functions="on", **options)
    check_graph(small)
    weights = sum(tensor.ByteSize() for tensor in plain.graph.initializer)
    assert small.ByteSize() - weights < 0.5 * (plain.ByteSize() - weights)
    inputs = feeds(plain, 2, 3)
    expected, found = run(plain, inputs), run(small, inputs)
    for output, array in expected.items():
        np.testing.assert_array_equal(found[output], array, err_msg=output)


def test_functions_are_used_where_they_save_much() -> None:
    short = graph_of("attention-rope", mode="unroll", max_steps=1)
    long = graph_of("attention-rope", mode="unroll", max_steps=12)
    assert not short.functions
    assert long.functions
    assert long.ir_version == 8
    assert long.ByteSize() < 1.5 * short.ByteSize()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_graph_gives_its_model_back(name: str) -> None:
    spec, model = model_of(name)
    found, again = model_in(graph_of(name, mode="loop", heads=tuple(spec.model.heads)))
    assert found == spec
    assert weights_sha256(state_arrays(again)) == weights_sha256(state_arrays(model))


def test_metadata() -> None:
    spec, model = model_of("structured-axes")
    graph = graph_of("structured-axes", mode="unroll", max_steps=3)
    properties = {item.key: item.value for item in graph.metadata_props}
    assert ModelSpec.from_json(properties["trm_spec"], "test") == spec
    assert json.loads(properties["vocabulary"]) == list(spec.vocabulary)
    assert json.loads(properties["grid_shape"]) == [4, 4]
    assert properties["weights_sha256"] == weights_sha256(state_arrays(model))
    assert {key: properties[key] for key in ("trm_format", "trm_mode", "domain")} == {
        "trm_format": "1",
        "trm_mode": "unroll",
        "domain": "test",
    }
    assert (properties["max_steps"], properties["L_cycles"], properties["L_layers"]) == tuple("322")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8w", "int8", "int8s", "int4"])
@pytest.mark.parametrize("mode", MODES)
def test_only_standard_operators(mode: str, precision: str) -> None:
    graph = graph_of("mlp_t", wide=True, precision=precision, **MODES[mode])
    check_graph(graph)
    own = {"trm"} if mode == "functions" else set()
    assert {node.domain for node in model_nodes(graph)} == {"", *own}
    assert {entry.domain for entry in graph.opset_import} == {"", *own}
    assert {function.name for function in graph.functions} == (
        {"Pass", "SupervisionStep"} if own else set()
    )
    has_flow = any(node.op_type in {"Loop", "If", "Scan"} for node in all_nodes(graph.graph))
    assert has_flow == (mode in {"loop", "nested"})
    if mode == "unroll":
        assert graph.ir_version <= 9  # what onnxruntime 1.17 reads


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_reference_evaluator_agrees(name: str, mode: str) -> None:
    """A second runtime, which shares no code with the first."""
    graph = graph_of(name, **MODES[mode])
    inputs = feeds(graph, 2, 2)
    expected = run(graph, inputs)
    found = ReferenceEvaluator(graph).run(list(expected), inputs)
    for value, (output, array) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(value, array, atol=1e-4, err_msg=output)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mode": "jump"}, "'jump'"),
        ({"opset": 9}, "got 9"),
        ({"batch": 0}, "got 0"),
        ({"batch": 10**10}, "from 1 to 4096.*got 10000000000"),
        ({"max_steps": 7}, "max_steps=7 applies only to mode 'unroll'; got mode 'step'"),
        ({"functions": "on"}, "functions='on' applies only to mode 'unroll'"),
        ({"mode": "unroll", "cycles": "loop"}, "cycles='loop' applies only to mode 'loop'"),
        ({"cycles": "foo"}, "cycles must be one of auto, loop, unroll; got 'foo'"),
        ({"mode": "unroll", "max_steps": 0}, "got 0"),
        ({"precision": "int3"}, "'int3'"),
        ({"functions": "maybe"}, "'maybe'"),
    ],
)
def test_bad_arguments(options: dict[str, object], named: str) -> None:
    with pytest.raises(ExportError, match=named):
        graph_of("mlp_t", **options)


@pytest.mark.parametrize("mode", MODES)
def test_a_graph_of_other_weights_is_refused(mode: str) -> None:
    spec, model = model_of("structured-axes")
    weights = model.state_dict()
    weights["network.layers.1.value.weight"] = weights["network.layers.1.value.weight"] * 1.01
    other = build(spec, weights, "test")
    result = verify_graph(graph_of("structured-axes", **MODES[mode]), other)
    assert result.final_difference > 1e-3
    with pytest.raises(ExportError, match="differs from PyTorch"):
        result.require()


@pytest.mark.parametrize("place", ["initializer", "constant", "body"])
def test_no_command_reads_other_files_for_a_graph(place: str, tmp_path: Path) -> None:
    """The file next to it holds what the weights ask for; it is not looked at."""
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    (tmp_path / "secret").write_bytes(b"0123456789abcdef")
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    constant = onnx.helper.make_node("Constant", [], ["w"], value=tensor)
    identity = onnx.helper.make_node("Identity", ["w"], ["y"])
    nodes, weights = [identity], [tensor]
    if place != "initializer":
        nodes, weights = [constant, identity], []
    graph = onnx.helper.make_graph(nodes, "g", [], [value], weights)
    if place == "body":
        choice = onnx.helper.make_tensor("c", onnx.TensorProto.BOOL, [], [True])
        branch = onnx.helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = onnx.helper.make_graph([branch], "g", [], [value], [choice])
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(ExportError, match="keeps weights in other files"):
        load_graph(path)
