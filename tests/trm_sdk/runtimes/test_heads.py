"""Heads of a model, as both runtimes give them with every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.exporter import export_onnx
from trm_sdk import Solver
from trm_sdk.domains.maze import Maze
from trm_sdk.errors import CheckpointError, InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import save_model
from trm_sdk.persistence.spec import FORMAT, ModelSpec
from trm_sdk.runtimes.base import Runtime
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.structure import Structure, boxes, offsets, rows

#: Boards of any size, and of one.
STRUCTURES = {
    "any": Structure(shape=(4, 5), relations=(offsets(), rows())),
    "one": Structure(shape=(4, 4), relations=(boxes(2, 2), rows())),
}


def model_of(kind: str, domain: str = "test") -> tuple[ModelSpec, TRM]:
    structure = STRUCTURES[kind]
    torch.manual_seed(2)
    config = ModelConfig(
        vocab_size=6,
        seq_len=structure.shape[0] * structure.shape[1],
        mixer="structured",
        structure=structure,
        answer_tokens=(2, 5),
        given_tokens=(1, 3, 4),
        hidden_size=8,
        ffn_size=12,
        L_layers=1,
        H_cycles=1,
        L_cycles=2,
        heads={"direction": 5, "distance": 3},
    )
    vocabulary = ("pad", "wall", "free", "start", "goal", "path")
    spec = ModelSpec(
        format=FORMAT,
        domain=domain,
        vocabulary=vocabulary,
        grid_shape=structure.shape,
        model=config,
    )
    return spec, TRM(config).eval()


def heads_of(runtime: Runtime, tokens: Any, steps: int = 3) -> list[dict[str, np.ndarray]]:
    state, seen = runtime.start(tokens), []
    for _ in range(steps):
        state, logits, _, heads = runtime.step(state)
        assert all(one.shape[:2] == logits.shape[:2] for one in heads.values())
        assert all(one.dtype == np.float32 for one in heads.values())
        seen.append({name: one.copy() for name, one in heads.items()})
    return seen


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("names", [("direction",), ("distance", "direction")])
def test_the_runtimes_give_equal_heads(kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    spec, model = model_of(kind)
    path = export_onnx((spec, model), tmp_path / "step.onnx", heads=names).path
    by_torch = TorchRuntime(model, spec, "cpu", heads=names)
    shape = (3, 6) if kind == "any" else (16,)
    for batch in (1, 5):  # one call, or rows side by side
        tokens = np.random.default_rng(batch).integers(1, 6, (batch, *shape), dtype=np.int32)
        expected = heads_of(by_torch, tokens)
        for threads in (1, 2):
            by_onnx = OnnxRuntime(path, "cpu", threads)
            assert set(by_onnx.heads) == set(names)
            for ours, theirs in zip(heads_of(by_onnx, tokens), expected, strict=True):
                assert set(ours) == set(theirs) == set(names)
                for name in names:
                    assert ours[name].shape == (batch, tokens[0].size, spec.model.heads[name])
                    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, rtol=0)


def test_heads_that_nobody_asked_for_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, model = model_of("any")
    asked: list[tuple[str, ...]] = []
    auxiliary = model.network.auxiliary

    def noting(y: Any, names: Any = None) -> Any:
        asked.append(tuple(names))
        return auxiliary(y, names)

    monkeypatch.setattr(model.network, "auxiliary", noting)
    tokens = np.ones((2, 4, 5), np.int32)
    assert heads_of(TorchRuntime(model, spec, "cpu"), tokens) == [{}, {}, {}]
    assert asked == []
    heads_of(TorchRuntime(model, spec, "cpu", heads=("distance",)), tokens, 1)
    assert asked == [("distance",)]


def test_a_compiled_step_gives_heads_of_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    spec, model = model_of("any")
    tokens = np.random.default_rng(0).integers(1, 6, (3, 4, 5), dtype=np.int32)
    plain, compiled = (
        heads_of(TorchRuntime(model, spec, "cpu", compile=c, heads=("direction",)), tokens)
        for c in (False, True)
    )
    for one, other in zip(plain, compiled, strict=True):
        assert one["direction"].shape == other["direction"].shape == (3, 20, 5)
        np.testing.assert_allclose(one["direction"], other["direction"], atol=1e-4)


@pytest.mark.parametrize("heads", [("way",), "direction"])
def test_a_head_that_the_model_lacks_is_named(heads: Any) -> None:
    spec, model = model_of("any")
    with pytest.raises(InvalidInputError, match=r"heads must .*'direction', 'distance'"):
        TorchRuntime(model, spec, "cpu", heads=heads)


def test_a_head_of_another_width_is_a_damaged_graph(tmp_path: Path) -> None:
    path = export_onnx(model_of("one"), tmp_path / "step.onnx", heads=("direction",)).path
    graph = onnx.load(path)
    for entry in graph.metadata_props:
        if entry.key == "trm_spec":
            spec = json.loads(entry.value)
            spec["model"]["heads"]["direction"] = 4
            entry.value = json.dumps(spec)
    onnx.save(graph, path)
    with pytest.raises(CheckpointError, match="output 'direction'"):
        OnnxRuntime(path, "cpu", 1)


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_solver_has_the_heads_that_its_domain_decodes_from(runtime: Any, tmp_path: Path) -> None:
    spec, model = model_of("any", "maze")
    folder = save_model(tmp_path / "model", spec, model.state_dict())
    export_onnx(folder, folder / "model.onnx")

    class Plain(Maze):
        decode_heads = ()

    solver = Solver.from_pretrained(folder, runtime=runtime, device="cpu", threads=1)
    assert solver.runtime.heads == ("direction",)  # type: ignore[attr-defined]
    if runtime == "torch":
        plain = Solver.from_pretrained(folder, runtime="torch", device="cpu", domain=Plain())
        assert plain.runtime.heads == ()  # type: ignore[attr-defined]
    with pytest.raises(InvalidInputError, match="domain must be a Domain"):
        Solver.from_pretrained(folder, runtime=runtime, domain="maze")  # type: ignore[arg-type]


def test_both_runtimes_solve_alike_by_the_walk(tmp_path: Path) -> None:
    """A model whose directions are constant: down, which is the way through this maze."""
    spec, model = model_of("any", "maze")
    with torch.no_grad():
        head = model.network.heads["direction"]
        head.weight.zero_()
        head.bias.copy_(torch.tensor([1.0, 0, 0, 0, 0]))
        model.network.lm_head.weight.zero_()  # and no path
    folder = save_model(tmp_path / "model", spec, model.state_dict())
    export_onnx(folder, folder / "model.onnx")
    found = [
        Solver.from_pretrained(folder, runtime=name, device="cpu", threads=1).solve(text)
        for name in ("onnx", "torch")
        for text in ("S #\n  #\n  #\nG #", "S  \n## \n  G")
    ]
    assert [one.verified for one in found] == [True, False, True, False]
    assert found[0].steps == found[2].steps == 1
    assert found[0].grid == found[2].grid
