"""Puzzles that bring groups of cells, from the graph's inputs to the Solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.bundle import export_bundle
from export.exporter import export_onnx
from export.graph import build_graph
from trm_sdk import CheckpointError, InvalidInputError, SolveOptions, Solver, get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.message import Membership
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Puzzles, Supervision, SupervisionSettings
from trm_sdk.persistence import hub
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.structure import Structure, groups, values
from trm_sdk.transfer import transfer

FOUR = get_domain("sudoku-4x4")


def message_model(domain: Domain, **fields: Any) -> tuple[ModelSpec, TRM]:
    """A small model of random weights whose answers follow from its groups."""
    vocabulary = domain.vocabulary
    config = ModelConfig(
        vocab_size=len(vocabulary),
        seq_len=domain.seq_len,
        mixer="structured",
        block="message",
        hidden_size=8,
        ffn_size=12,
        L_layers=1,
        H_cycles=1,
        L_cycles=2,
        answer_tokens=vocabulary.answer_tokens,
        given_tokens=vocabulary.given_tokens,
        structure=domain.structure,
        **fields,
    )
    torch.manual_seed(0)
    return ModelSpec.for_domain(domain, config, SolveOptions(max_steps=3)), TRM(config).eval()


@pytest.fixture(scope="module")
def four() -> tuple[ModelSpec, TRM]:
    return message_model(FOUR)


@pytest.fixture(scope="module")
def folder(four: tuple[ModelSpec, TRM], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "sudoku-4x4"
    export_bundle(four, path, groups="optional")
    return path


def jigsaws(n: int) -> Examples:
    return get_domain("jigsaw-4x4").examples(n, 0)


def batched(domain: Domain, examples: Examples, model: ModelConfig) -> dict[str, Any]:
    from trm_sdk.model.groups import complete_groups

    return complete_groups(examples.groups, model)


# --- the model ----------------------------------------------------------------------------------


def test_the_structure_s_own_groups_change_nothing(four: tuple[ModelSpec, TRM]) -> None:
    spec, model = four
    assert spec.model.structure is not None
    tokens = torch.from_numpy(FOUR.examples(3, 0).tokens)
    own = spec.model.structure.memberships()
    given = {key: torch.from_numpy(np.stack([one] * 3)) for key, one in own.items()}
    with torch.no_grad():
        plain = model(tokens, model.initial_state(3))
        told = model(tokens, model.initial_state(3), groups=given)
    for one, other in ((plain[0].y, told[0].y), (plain[1], told[1]), (plain[2], told[2])):
        torch.testing.assert_close(one, other)


def test_absent_groups_say_nothing() -> None:
    structure = Structure(shape=(1, 4), relations=(groups("g", [(0, 1), (2, 3)]), values()))
    padded = torch.tensor([[[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [0, 0, 1, 1]]])
    found = Membership.of_groups({"g": padded})
    assert found.gather.isfinite().all()
    assert (found.gather[0, 1] == 0).all()
    assert (found.spread[0, :, 1] == 0).all()
    own = Membership.of(structure)
    torch.testing.assert_close(found.gather[1], own.gather)
    torch.testing.assert_close(found.spread[1], own.spread)


def test_a_puzzle_s_answer_depends_on_its_own_groups_alone(four: tuple[ModelSpec, TRM]) -> None:
    spec, model = four
    made = jigsaws(4)
    given = {k: torch.from_numpy(v) for k, v in batched(FOUR, made, spec.model).items()}
    tokens = torch.from_numpy(made.tokens)
    with torch.no_grad():
        together = model(tokens, model.initial_state(4), groups=given)[1]
        for row in range(4):
            alone = {key: one[row : row + 1] for key, one in given.items()}
            logits = model(tokens[row : row + 1], model.initial_state(1), groups=alone)[1]
            torch.testing.assert_close(logits[0], together[row])
        plain = model(tokens, model.initial_state(4))[1]
    assert not torch.allclose(plain, together)


# --- the graphs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["optional", "required"])
@pytest.mark.parametrize("mode", ["step", "loop", "unroll"])
def test_graphs_with_groups_compute_what_pytorch_does(
    four: tuple[ModelSpec, TRM], tmp_path: Path, mode: str, how: str
) -> None:
    # `verify_graph` gives every row groups of its own, and one that is absent.
    report = export_onnx(four, tmp_path / "g.onnx", mode, groups=how)
    assert report.verification.final_difference < 1e-4
    graph = onnx.load(tmp_path / "g.onnx")
    names = [value.name for value in graph.graph.input]
    assert {"groups.line", "groups.box"} <= set(names)
    with_default = {one.name for one in graph.graph.initializer} & set(names)
    assert with_default == ({"groups.line", "groups.box"} if how == "optional" else set())


def test_verification_notices_groups_that_a_graph_ignores(four: tuple[ModelSpec, TRM]) -> None:
    from export import ExportError
    from export.verify import verify_graph

    spec, model = four
    weights = {name: one.numpy() for name, one in model.state_dict().items()}
    graph = build_graph(spec, weights, groups="optional")
    default = next(one for one in graph.graph.initializer if one.name == "groups.box")
    built_in = onnx.TensorProto()
    built_in.CopyFrom(default)
    built_in.name = "built_in"
    graph.graph.initializer.append(built_in)
    (node,) = [one for one in graph.graph.node if one.name == "groups/box/gather"]
    node.input[0] = "built_in"
    with pytest.raises(ExportError, match="differs from PyTorch"):
        verify_graph(graph, model).require()


def test_a_graph_of_fixed_groups_has_no_such_input(four: tuple[ModelSpec, TRM]) -> None:
    spec, model = four
    weights = {name: one.numpy() for name, one in model.state_dict().items()}
    assert [one.name for one in build_graph(spec, weights).graph.input] == ["tokens", "y", "z"]


def test_models_of_other_blocks_have_no_groups_to_give(tmp_path: Path) -> None:
    from export import ExportError

    with pytest.raises(ExportError, match="is for models of block 'message'"):
        export_onnx("sudoku-4x4", tmp_path / "g.onnx", groups="optional")


def test_a_graph_whose_groups_have_another_form_is_refused(
    four: tuple[ModelSpec, TRM], tmp_path: Path
) -> None:
    spec, model = four
    weights = {name: one.numpy() for name, one in model.state_dict().items()}
    graph = build_graph(spec, weights, groups="optional")
    graph.graph.initializer.remove(
        next(one for one in graph.graph.initializer if one.name == "groups.box")
    )
    onnx.save(graph, tmp_path / "half.onnx")
    with pytest.raises(CheckpointError, match="beside its other inputs"):
        OnnxRuntime(tmp_path / "half.onnx")


# --- runtimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["optional", "required"])
def test_runtimes_agree_while_slots_are_refilled(
    four: tuple[ModelSpec, TRM], tmp_path: Path, how: str
) -> None:
    spec, model = four
    export_onnx(four, tmp_path / "g.onnx", groups=how)
    made = jigsaws(6)
    given = batched(FOUR, made, spec.model)

    def part(rows: slice) -> tuple[Any, None, Any]:
        return made.tokens[rows], None, {key: one[rows] for key, one in given.items()}

    read = []
    for runtime in (OnnxRuntime(tmp_path / "g.onnx", threads=2), TorchRuntime(model, spec)):
        assert runtime.takes_groups
        state: Any = runtime.start(*part(slice(0, 3)))
        state = runtime.step(state).state
        state = runtime.restart(state, np.array([1]), *part(slice(3, 4)))
        state = runtime.concatenate([state, runtime.start(*part(slice(4, 6)))])
        state = runtime.select(state, np.array([4, 1, 0]))
        read.append(runtime.step(state).logits.copy())
    np.testing.assert_allclose(read[0], read[1], atol=1e-4)
    # The fourth puzzle in its first step, as if it had been alone.
    alone = TorchRuntime(model, spec)
    np.testing.assert_allclose(
        read[0][1], alone.step(alone.start(*part(slice(3, 4)))).logits[0], atol=1e-4
    )


def test_a_graph_that_must_be_given_groups_solves_the_model_s_own(
    four: tuple[ModelSpec, TRM], tmp_path: Path
) -> None:
    export_onnx(four, tmp_path / "g.onnx", groups="required")
    puzzle = FOUR.decode_task(FOUR.examples(1, 0).tokens[0])
    found = Solver.from_pretrained(tmp_path / "g.onnx").solve(puzzle)
    expected = Solver(TorchRuntime(four[1], four[0])).solve(puzzle)
    assert found.grid == expected.grid


# --- the Solver ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sudoku-x-4x4", "jigsaw-4x4"])
def test_one_model_solves_several_domains(
    four: tuple[ModelSpec, TRM], folder: Path, name: str
) -> None:
    domain = get_domain(name)
    tasks = [domain.generate(np.random.default_rng(i), clues_added=(2, 4)) for i in range(5)]
    options = SolveOptions(max_steps=3, attempts=4, explore="symmetry", patience=1)
    graph = Solver.from_pretrained(folder).for_domain(name)
    modules = Solver(TorchRuntime(four[1], four[0])).for_domain(domain)
    assert graph.domain.name == name
    found = list(graph.solve_many(tasks, options))
    expected = list(modules.solve_many(tasks, options))
    assert [one.grid for one in found] == [one.grid for one in expected]
    for solution, task in zip(found, tasks, strict=True):
        assert solution.verified == (domain.verify(task, solution.grid) is True)
    assert [step.grid for step in graph.stream(tasks[0], SolveOptions(attempts=1))]


def test_another_domain_by_argument_is_the_same(folder: Path) -> None:
    domain = get_domain("jigsaw-4x4")
    task = domain.generate(np.random.default_rng(0), clues_added=(2, 2))
    one = Solver.from_pretrained(folder, domain=domain).solve(task)
    assert one.grid == Solver.from_pretrained(folder).for_domain(domain).solve(task).grid


def test_a_domain_s_name_opens_the_model_that_shares_its_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BUNDLED", folder.parent)
    domain = get_domain("jigsaw-4x4")
    monkeypatch.setattr(domain, "base_model", "sudoku-4x4")
    assert Solver.from_pretrained("jigsaw-4x4").domain is domain


def test_what_a_model_can_t_take_is_named(
    four: tuple[ModelSpec, TRM], folder: Path, tmp_path: Path
) -> None:
    solver = Solver.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="boards of 4x4"):
        solver.for_domain("jigsaw")
    with pytest.raises(InvalidInputError, match="no domain named"):
        solver.for_domain("jigsow")
    with pytest.raises(CheckpointError, match="not of 'jigsaw-4x4'"):
        Solver.from_pretrained("sudoku-4x4").for_domain("jigsaw-4x4")
    export_onnx(four, tmp_path / "fixed.onnx")
    with pytest.raises(CheckpointError, match="--groups optional"):
        Solver.from_pretrained(tmp_path / "fixed.onnx").for_domain("jigsaw-4x4")


def test_weights_of_the_pool_block_move_to_diagonals_by_their_key() -> None:
    from trm_sdk.persistence.checkpoint import load_model

    spec, model = load_model(hub.BUNDLED / "sudoku-4x4")
    moved, weights = transfer(spec, dict(model.state_dict()), get_domain("sudoku-x-4x4"))
    other = TRM(moved.model)
    other.load_state_dict(weights)
    assert moved.domain == "sudoku-x-4x4"


# --- training -----------------------------------------------------------------------------------


def test_groups_are_carried_and_replaced_with_their_puzzles(four: tuple[ModelSpec, TRM]) -> None:
    spec, _ = four
    made = jigsaws(5)
    puzzles = Puzzles.of(made.rows(slice(0, 3)), spec.model)
    new = Puzzles.of(made.rows(slice(3, 5)), spec.model)
    after = puzzles.replaced(torch.tensor([2, 0]), new)
    assert after.groups is not None
    assert made.groups is not None
    wanted = made.groups["box"][[4, 1, 3]]
    assert (after.groups["box"].numpy() == wanted).all()
    assert after.rows(slice(1, 2)).groups["box"].shape == (1, 4, 16)  # type: ignore[index]


def test_supervision_teaches_by_each_puzzle_s_groups(four: tuple[ModelSpec, TRM]) -> None:
    spec, model = four
    puzzles = Puzzles.of(jigsaws(4), spec.model)
    supervision = Supervision(model, SupervisionSettings(grad_steps=2))
    fresh = torch.ones(4, dtype=torch.bool)
    state = model.initial_state(4)
    told = supervision(puzzles, state, fresh)
    untold = supervision(puzzles._replace(groups=None), state, fresh)
    assert told.loss != untold.loss
    settled = supervision.settle(puzzles, State(*state), fresh)
    torch.testing.assert_close(
        settled.y,
        model.recurse(
            model.network.embed(puzzles.tokens, None), state, groups=puzzles.groups
        ).y.detach(),
    )


def test_a_model_that_takes_no_groups_refuses_puzzles_that_bring_some() -> None:
    config = message_model(FOUR)[0].model.model_copy(update={"block": "pool"})
    with pytest.raises(InvalidInputError, match="only models of block 'message'"):
        Puzzles.of(jigsaws(1), config)


def test_examples_of_different_numbers_of_groups_are_padded_together() -> None:
    made = jigsaws(2)
    assert made.groups is not None
    more = made._replace(groups={"box": np.ones((2, 6, 16), np.uint8)})
    both = Examples.concatenate([made, more])
    assert both.groups is not None
    assert both.groups["box"].shape == (4, 6, 16)
    assert (both.groups["box"][:2, 4:] == 0).all()
    assert (both.rows(slice(2, 3)).groups or {})["box"].all()


def test_a_jigsaw_is_written_down_with_its_regions(folder: Path) -> None:
    domain = get_domain("jigsaw-4x4")
    text = "1.3...2......... 1112132233243444"
    solution = Solver.from_pretrained(folder, domain=domain).solve(text)
    assert solution.unique
    assert solution.to_dict()["puzzle"] == text
