"""Reduced precisions: small files, weights once, and exactly the rounding that they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from export_models import model_of

from export import ExportError, build_graph, export_onnx
from export.exporter import rounded_model, state_arrays
from export.quantize import Int4, Int8, rounded_weights
from export.verify import verify_graph
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.spec import ModelSpec


@pytest.mark.parametrize("precision", ["fp16", "int8w", "int4", "int4n"])
@pytest.mark.parametrize("name", ["mlp_t", "attention-rope", "structured-axes", "structured-sets"])
def test_equals_pytorch_with_rounded_weights(name: str, precision: str) -> None:
    spec, model = model_of(name)
    graph = build_graph(spec, state_arrays(model), "loop", precision=precision)
    verify_graph(graph, rounded_model(spec, model, precision)).require()
    # And the rounding is real: against the weights as they were, the graph differs.
    assert verify_graph(graph, model, steps=1).final_difference > 1e-4


def test_int8_is_near(tmp_path: Path) -> None:
    source = model_of("attention-learned")
    report = export_onnx(source, tmp_path / "m.onnx", precision="int8")
    assert 1e-4 < report.max_difference < 0.5
    graph = onnx.load(report.path)
    assert any(node.op_type == "MatMulInteger" for node in graph.graph.node)
    stored = [tensor.data_type for tensor in graph.graph.initializer]
    assert onnx.TensorProto.INT8 in stored


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
    bars = {"fp32": 1.02, "fp16": 0.53, "int8w": 0.27, "int8": 0.27, "int4": 0.16, "int4n": 0.16}
    for precision, bar in bars.items():
        graph = build_graph(spec, weights, mode, max_steps=16, precision=precision)
        assert graph.ByteSize() <= bar * parameters, precision
