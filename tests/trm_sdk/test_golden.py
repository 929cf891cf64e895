"""Parity with the reference implementation, on recorded runs with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from trm_sdk.errors import CheckpointError
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import build, load_model
from trm_sdk.persistence.reference import convert_reference

GOLDEN = Path(__file__).parents[1] / "golden"
STEPS = 4
TOLERANCE = 1e-4


def read(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    weights = {
        key.removeprefix("w/"): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith("w/")
    }
    return json.loads(str(arrays["config"])), arrays, weights


def run(model: TRM, arrays: dict[str, Any], dtype: torch.dtype) -> list[tuple[Any, Any]]:
    """Logits and halting logits of every step."""
    model = model.to(dtype)
    tokens = torch.from_numpy(arrays["inputs"])
    identifiers = torch.from_numpy(arrays["puzzle_identifiers"])
    x = model.network.embed(tokens, identifiers)
    state = model.initial_state(len(tokens))
    outputs = []
    with torch.inference_mode():
        for _ in range(STEPS):
            state = model.recurse(x, state)
            logits, halt = model.network.readout(state.y)
            outputs.append((logits.numpy(), halt.numpy()))
    return outputs


def load(name: str) -> tuple[TRM, dict[str, Any]]:
    config, arrays, weights = read(name)
    spec, converted = convert_reference(config, weights, name)
    return build(spec, converted, name), arrays


@pytest.mark.parametrize("name", ["attention_rope", "attention_learned"])
def test_every_step_equals_the_reference(name: str) -> None:
    model, arrays = load(name)
    for step, (logits, halt) in enumerate(run(model, arrays, torch.float32)):
        np.testing.assert_allclose(logits, arrays[f"logits_{step}"], atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(halt, arrays[f"q_halt_{step}"], atol=TOLERANCE, rtol=0)


def test_mlp_t_equals_the_reference_as_far_as_rounding_lets_it() -> None:
    """The random weights of this file make a chaotic map: a supervision step multiplies rounding
    errors about fortyfold, so that float32 and float64 runs of the same weights part company too.
    Only kernels that round bit for bit alike could agree with the file at every step. What can be
    asked is that we agree at the first step, and later differ by no more than rounding explains.
    """
    model, arrays = load("mlp_t")
    single = run(model, arrays, torch.float32)
    double = run(model, arrays, torch.float64)
    for step in range(STEPS):
        expected = arrays[f"logits_{step}"]
        rounding = np.abs(single[step][0] - double[step][0]).max()
        bound = TOLERANCE if step == 0 else 10 * rounding
        assert np.abs(single[step][0] - expected).max() <= bound
        assert np.abs(double[step][0] - expected).max() <= bound
        halting = TOLERANCE if step == 0 else bound
        assert np.abs(single[step][1] - arrays[f"q_halt_{step}"]).max() <= halting


def test_a_wrong_recursion_would_be_noticed() -> None:
    """The first step of the chaotic file tells one cycle more or less from rounding."""
    config, arrays, weights = read("mlp_t")
    spec, converted = convert_reference(config | {"L_cycles": 5}, weights, "mlp_t")
    logits, _ = run(build(spec, converted, "mlp_t"), arrays, torch.float32)[0]
    assert np.abs(logits - arrays["logits_0"]).max() > 100 * TOLERANCE


@pytest.mark.parametrize("prefix", ["_orig_mod.model.", "model."])
@pytest.mark.parametrize("name", ["attention_rope", "attention_learned", "mlp_t"])
def test_reference_checkpoints_load_from_disk(tmp_path: Path, name: str, prefix: str) -> None:
    config, arrays, weights = read(name)
    torch.save({prefix + key: value for key, value in weights.items()}, tmp_path / "step_123")
    arch = {key: value for key, value in config.items() if key != "batch_size"}
    text = yaml.safe_dump({"arch": arch, "lr": 1e-4})
    (tmp_path / "all_config.yaml").write_text(text, encoding="utf-8")
    spec, model = load_model(tmp_path / "step_123")
    assert spec.model.mixer == name.split("_r")[0].split("_l")[0]
    logits, _ = run(model, arrays, torch.float32)[0]
    np.testing.assert_allclose(logits, arrays["logits_0"], atol=TOLERANCE, rtol=0)


def test_reference_sizes_are_read_off_the_weights() -> None:
    """On disk the reference's arch section lacks what it takes from the data set."""
    config, _, weights = read("mlp_t")
    derived = {"seq_len", "vocab_size", "num_puzzle_identifiers", "batch_size"}
    arch = {key: value for key, value in config.items() if key not in derived}
    spec, _ = convert_reference(arch, weights, "mlp_t")
    assert spec.model.seq_len == config["seq_len"]
    assert spec.model.vocab_size == config["vocab_size"]
    assert spec.model.num_puzzle_identifiers == config["num_puzzle_identifiers"]


def test_a_reference_checkpoint_that_lacks_a_weight_is_refused() -> None:
    config, _, weights = read("attention_rope")
    del weights["inner.lm_head.weight"]
    spec, converted = convert_reference(config, weights, "broken")
    with pytest.raises(CheckpointError, match="lm_head"):
        build(spec, converted, "broken")
    with pytest.raises(CheckpointError, match="H_cycles"):
        convert_reference(
            {key: value for key, value in config.items() if key != "H_cycles"}, weights, "broken"
        )


@pytest.mark.parametrize(
    ("config", "state", "named"),
    [
        (b"arch: {L_layers: 2}", [torch.zeros(1)], "no weights by name; got list"),
        (b"arch: {L_layers: 2}", {1: torch.zeros(1)}, "a name and a tensor; got 1 and Tensor"),
        (b"\xff\xfe", {}, "all_config.yaml can't be read"),
        (b"arch: {a: [1\n x: :", {}, "all_config.yaml can't be read"),
        (b"arch: " + b"[" * 5000, {}, "all_config.yaml can't be read"),
    ],
)
def test_what_is_no_reference_checkpoint_is_refused_in_one_line(
    tmp_path: Path, config: bytes, state: object, named: str
) -> None:
    (tmp_path / "all_config.yaml").write_bytes(config)
    torch.save(state, tmp_path / "step_1")
    with pytest.raises(CheckpointError, match=named) as caught:
        load_model(tmp_path / "step_1")
    assert "\n" not in str(caught.value)


def test_a_reference_architecture_that_can_not_be_is_refused_in_one_line() -> None:
    config, _, weights = read("attention_rope")
    for changes, named in (
        ({"num_heads": 7}, "not a multiple"),
        ({"L_layers": 0}, "L_layers.*got 0"),
    ):
        with pytest.raises(CheckpointError, match=f"broken: arch: .*{named}") as caught:
            convert_reference(config | changes, weights, "broken")
        assert "\n" not in str(caught.value)
