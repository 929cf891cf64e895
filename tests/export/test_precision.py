"""Reduced precisions: small files, weights once, and exactly the rounding that they promise."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export_models import model_of, ranges_of

from export import ExportError, build_graph, export_onnx
from export.bench import feeds
from export.calibrate import _best_range
from export.exporter import rounded_model, state_arrays
from export.graph import observed_graph
from export.graph_file import all_nodes
from export.quantize import Int4, Int8, alike, rounded_weights
from export.sessions import session
from export.verify import verify_graph
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec


@pytest.mark.parametrize("precision", ["fp16", "int8w", "int4", "int4n"])
@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_equals_pytorch_with_rounded_weights(name: str, precision: str) -> None:
    spec, model = model_of(name, wide=True)
    graph = build_graph(spec, state_arrays(model), "loop", precision=precision)
    verify_graph(graph, rounded_model(spec, model, precision)).require()
    # And the rounding is real: against the weights as they were, the graph differs.
    assert verify_graph(graph, model, steps=1).final_difference > 1e-4


def test_int8_is_near(tmp_path: Path) -> None:
    source = model_of("attention-learned", wide=True)
    report = export_onnx(source, tmp_path / "m.onnx", precision="int8")
    assert 1e-4 < report.max_difference < 0.5
    graph = onnx.load(report.path)
    assert any(node.op_type == "MatMulInteger" for node in graph.graph.node)
    stored = [tensor.data_type for tensor in graph.graph.initializer]
    assert onnx.TensorProto.INT8 in stored


@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_calibrated_int8_is_near(name: str) -> None:
    spec, model = model_of(name, wide=True)
    weights = state_arrays(model)
    rounded = rounded_model(spec, model, "int8s")
    differences = {}
    wrong = defaultdict(lambda: (-0.1, 0.1))
    for kind, ranges in (("right", ranges_of(name, wide=True)), ("wrong", wrong)):
        graph = build_graph(spec, weights, "loop", precision="int8s", ranges=ranges)
        assert {n.op_type for n in all_nodes(graph.graph)} >= {"QuantizeLinear", "DequantizeLinear"}
        differences[kind] = verify_graph(graph, rounded, steps=1).final_difference
    assert 1e-4 < differences["right"] < 0.3 * differences["wrong"]


@pytest.mark.parametrize("precision", ["int8", "int8s", "int4", "int4n"])
def test_layers_over_few_inputs_are_only_stored_in_8_bits(precision: str) -> None:
    spec, model = model_of("structured-axes")
    weights = state_arrays(model)
    graph = build_graph(spec, weights, precision=precision, ranges={})
    stored = build_graph(spec, weights, precision="int8w")
    assert [node.op_type for node in graph.graph.node] == [n.op_type for n in stored.graph.node]
    assert graph.graph.initializer == stored.graph.initializer


def test_precisions_are_grouped_by_what_they_store() -> None:
    few, many = (state_arrays(model_of("structured-axes", wide=wide)[1]) for wide in (False, True))
    assert alike(few) == [("fp32",), ("fp16",), ("int8w", "int8", "int8s", "int4", "int4n")]
    assert alike(few, ["int4", "fp16"]) == [("int4",), ("fp16",)]
    assert len(alike(many)) == 7


def test_ranges_must_be_given() -> None:
    spec, model = model_of("mlp_t", wide=True)
    with pytest.raises(ExportError, match="needs the ranges"):
        build_graph(spec, state_arrays(model), precision="int8s")
    with pytest.raises(ExportError, match="no range is given"):
        build_graph(spec, state_arrays(model), precision="int8s", ranges={})


@pytest.mark.parametrize(
    "name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets", "local-values"]
)
def test_calibration_sees_what_goes_into_every_layer(name: str) -> None:
    """Of every pass of the recursion, as PyTorch's own hooks see it."""
    spec, model = model_of(name)
    seen: dict[str, list[float]] = {}
    for full, module in model.network.named_modules():
        linear = "head" not in full and ".taps." not in full  # kernels stay float32
        if full and linear and hasattr(module, "weight"):
            peaks = seen.setdefault(full, [])
            module.register_forward_pre_hook(
                lambda _, inputs, peaks=peaks: peaks.append(float(inputs[0].abs().max()))
            )
    graph, inputs = observed_graph(spec, state_arrays(model))
    assert set(inputs) == set(seen)
    # Where PyTorch uses a layer's weights without calling it, its hook is silent.
    checked = 0
    feed = feeds(graph, 2, 1)
    with torch.inference_mode():
        model(torch.from_numpy(feed["tokens"]), model.initial_state(2))
    run = session(graph)
    for layer, values in inputs.items():
        if not seen[layer]:
            continue
        checked += 1
        found = run.run(list(dict.fromkeys(values)), feed)
        assert len(found) >= spec.model.passes
        peak = max(float(np.abs(array).max()) for array in found)
        assert peak == pytest.approx(max(seen[layer]), rel=1e-4), layer
    assert checked >= 2


def test_a_range_leaves_out_what_is_rare_and_far() -> None:
    rng = np.random.default_rng(0)
    even = rng.uniform(-1, 1, 100_000)
    low, high = _best_range(even, float(even.min()), float(even.max()))
    assert low < -0.96
    assert high > 0.96
    odd = np.append(rng.normal(size=100_000), [9.0])
    low, high = _best_range(odd, float(odd.min()), 9.0)
    assert 2 < high < 8.5
    assert _best_range(np.zeros(3), 0.0, 0.0) == (0.0, 0.0)


@pytest.mark.parametrize("shape", [(5, 64), (3, 97), (4, 7), (2, 2)])
def test_rounding_is_within_half_a_level(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    matrix[0] = 0
    whole = Int8.of(matrix)
    assert (np.abs(whole.restored() - matrix) <= whole.scale / 2 + 1e-6).all()
    four = Int4.of(matrix)
    assert four.restored().shape == shape
    assert four.packed.dtype == np.uint8
    assert four.packed.size <= matrix.size / 2 + 2 * len(matrix) * four.scale.shape[1]
    error = np.square(four.restored() - matrix).mean() / np.square(matrix).mean()
    assert error < 0.02
    assert not four.restored()[0].any()


def test_half_precision_that_overflows_is_refused() -> None:
    _, model = model_of("mlp_t")
    weights = state_arrays(model)
    weights["network.lm_head.weight"] = weights["network.lm_head.weight"] + 1e6
    with pytest.raises(ExportError, match="lm_head"):
        rounded_weights(weights, "fp16")


def test_a_puzzle_embedding_is_stored_in_half_where_weights_are_rounded() -> None:
    spec, model = model_of("attention-rope")
    name = "network.puzzle_emb"
    weights = state_arrays(model)
    stored = {}
    for precision in ("fp32", "fp16", "int8w"):
        graph = build_graph(spec, weights, precision=precision)
        (tensor,) = (one for one in graph.graph.initializer if one.name == "puzzle_emb")
        stored[precision] = onnx.numpy_helper.to_array(tensor)
    assert stored["fp32"].dtype == np.float32
    for precision in ("fp16", "int8w"):
        assert stored[precision].dtype == np.float16
        rounded = rounded_weights(weights, precision)[name]
        np.testing.assert_array_equal(stored[precision].astype(np.float32), rounded)


def test_weights_beyond_what_an_onnx_file_holds_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec, model = model_of("attention-rope")
    table = state_arrays(model)["network.puzzle_emb"]
    config = spec.model.model_copy(update={"num_puzzle_identifiers": 50_000})
    spec = spec.model_copy(update={"model": config})
    large = TRM(config)
    monkeypatch.setattr("export.builder.LARGEST_FILE", 50_000 * table.shape[1] * 4)
    with pytest.raises(ExportError, match=r"'puzzle_emb' alone takes .* GiB.*fp16"):
        export_onnx((spec, large), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
    report = export_onnx((spec, large), tmp_path / "model.onnx", precision="fp16")
    assert report.bytes < 50_000 * table.shape[1] * 4


@pytest.mark.parametrize("mode", ["step", "loop", "unroll"])
def test_file_sizes(mode: str) -> None:
    """The bars of the paper's model, on one with a quarter of its layers' size."""
    config = ModelConfig(
        vocab_size=11, seq_len=81, hidden_size=384, L_cycles=1, H_cycles=1, puzzle_emb_len=16
    )
    weights = state_arrays(TRM(config))
    spec = ModelSpec(
        domain="test",
        vocabulary=tuple(map(str, range(11))),
        grid_shape=(9, 9),
        model=config,
    )
    parameters = 4 * sum(array.size for array in weights.values())
    bars = {"fp32": 1.02, "fp16": 0.53, "int4": 0.16, "int4n": 0.16}
    bars |= dict.fromkeys(("int8w", "int8", "int8s"), 0.27)
    ranges = defaultdict(lambda: (-1.0, 1.0))
    for precision, bar in bars.items():
        graph = build_graph(spec, weights, mode, precision=precision, ranges=ranges)
        assert graph.ByteSize() <= bar * parameters, precision
