"""The model: its initialisation, its recursion, and what the structured mixer promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import random_model, small_config

from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import CheckpointError, InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.structured import AxisPool, SetPool, Taps, factorise
from trm_sdk.persistence.checkpoint import build, load_model, save_model
from trm_sdk.structure import Structure, board, boxes, columns, groups, offsets, rows, values


def tokens_of(n: int, cells: int = 16, vocabulary: int = 6, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(1, vocabulary, (n, cells), dtype=np.int32))


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (3, 3), (4, 4)])
def test_sudoku_factorises_into_axes(box: tuple[int, int]) -> None:
    structure = Sudoku(*box).structure
    assert structure is not None
    shape, axes = factorise(structure)
    assert int(np.prod(shape)) == structure.cells
    assert set(axes) == {"row", "column", "box"}


def test_what_is_no_product_of_axes_is_not_taken_for_one() -> None:
    jigsaw = groups("jigsaw", ((0, 1, 2, 4), (3, 7, 11, 6), (5, 8, 9, 10)))
    diagonal = groups("diagonal", ((0, 5, 10, 15),))
    structure = Structure(shape=(4, 4), relations=(rows(), jigsaw, diagonal))
    _, axes = factorise(structure)
    assert set(axes) == {"row"}


@pytest.mark.parametrize("name", ["sudoku-4x4", "sudoku-6x6", "sudoku"])
def test_pooling_over_axes_and_over_sets_agree(name: str) -> None:
    structure = get_domain(name).structure
    assert structure is not None
    shape, axes = factorise(structure)
    nodes = torch.randn(2, *shape, 3, 5)
    for relation in structure.over_cells:
        sets = relation.groups_on(structure.shape)
        by_axis = AxisPool(axes[relation.name])
        by_set = SetPool(shape, sets, neighbourhood=False)
        one = by_axis.spread(by_axis(nodes)).expand(2, *shape, 3, 10)
        other = by_set.spread(by_set(nodes))
        torch.testing.assert_close(one, other)


def test_a_neighbourhood_reaches_its_own_cell_alone() -> None:
    pool = SetPool((4,), ((1, 3), (0, 2), (1, 3), ()), neighbourhood=True)
    nodes = torch.arange(1.0, 5).view(1, 4, 1, 1)
    heard = pool.spread(pool(nodes))[0, :, 0]
    root = 2**0.5
    expected = torch.tensor([[6 / root, 4], [4 / root, 3], [6 / root, 4], [0, 0]])
    torch.testing.assert_close(heard, expected)


def test_overlapping_groups_add_up() -> None:
    pool = SetPool((3,), ((0, 1), (1, 2)), neighbourhood=False)
    nodes = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    heard = pool.spread(pool(nodes))[0, :, 0, 1]
    assert heard.tolist() == [2.0, 6.0, 4.0]


@pytest.mark.parametrize("block", ["pool", "message"])
def test_the_structured_model_is_equivariant_to_every_symmetry_of_its_domain(block: str) -> None:
    domain = get_domain("sudoku-4x4")
    _, model = random_model(block=block)
    rng = np.random.default_rng(3)
    tokens = tokens_of(1, seed=1)
    state = model.initial_state(1)
    for _ in range(2):
        state, logits, halt = model(tokens, state)
    for _ in range(10):
        symmetry = domain.random_symmetry(rng)
        assert symmetry is not None
        turned = domain.encode_grid(symmetry.apply(domain.decode(tokens[0].numpy())))[None]
        other = model.initial_state(1)
        for _ in range(2):
            other, moved, halt_moved = model(torch.from_numpy(turned), other)
        expected = torch.empty_like(moved)
        assert symmetry.values is not None
        expected[:, :, symmetry.values[1:] - 1] = logits[:, symmetry.cells]
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(halt_moved, halt, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("block", ["pool", "message"])
def test_weights_of_a_small_board_run_on_a_large_one(block: str) -> None:
    _, small = random_model(block=block)
    large = get_domain("sudoku-6x6")
    # 6x6 boxes are not square, so its rows and columns do not share weights as 4x4's do.
    shared = large.structure
    assert shared is not None
    relations = tuple(
        r.model_copy(update={"weights": "line" if r.name in ("row", "column") else None})
        for r in shared.relations
    )
    answers = large.vocabulary.answer_tokens
    model = TRM(
        small_config(
            vocab_size=8,
            seq_len=36,
            answer_tokens=answers,
            given_tokens=answers,
            structure=shared.model_copy(update={"relations": relations}),
            block=block,
        )
    )
    model.load_state_dict(small.state_dict())
    _, logits, _ = model(tokens_of(2, 36, 8), model.initial_state(2))
    assert logits.shape == (2, 36, 6)


def any_size_config(*, by_value: bool, **changes: Any) -> ModelConfig:
    """A model that hears its neighbours, lines and the board, on boards of any size."""
    near = offsets(name="near")
    far = offsets((-2, 0), (2, 0), (0, -3), (0, 3), name="far")
    relations = (near, far, rows("line"), columns("line"), board())
    answers = (2, 3, 4)
    return ModelConfig(
        vocab_size=5,
        seq_len=12,
        mixer="structured",
        structure=Structure(
            shape=(3, 4), relations=(*relations, values()) if by_value else relations
        ),
        answer_tokens=answers,
        given_tokens=answers,
        hidden_size=8,
        ffn_size=12,
        L_layers=2,
        H_cycles=1,
        L_cycles=2,
        **changes,
    )


@pytest.mark.parametrize("by_value", [False, True])
def test_one_model_takes_boards_of_every_size(by_value: bool) -> None:
    torch.manual_seed(5)
    model = TRM(any_size_config(by_value=by_value)).eval()
    for shape in ((3, 4), (9, 9), (15, 20), (1, 7)):
        tokens = torch.randint(1, 5, (2, *shape), generator=torch.Generator().manual_seed(1))
        state, logits, halt = model(tokens, model.initial_state(2, shape))
        assert logits.shape == (2, *shape, 3)
        assert halt.shape == (2,)
        assert state.y.shape == (2, *shape, 3 if by_value else 1, 8)
        assert model.answer(tokens, logits).shape == (2, *shape)


@pytest.mark.parametrize("by_value", [False, True])
def test_offsets_are_a_weighted_sum_of_neighbours_and_zeros_beyond_the_edge(by_value: bool) -> None:
    torch.manual_seed(6)
    relation = offsets((0, 1), (-1, 0), (2, -1))
    taps = Taps(relation, channels=5)
    nodes = torch.randn(2, 4, 6, 3 if by_value else 1, 5)
    expected = torch.zeros_like(nodes)
    for number, (down, right) in enumerate(relation.offsets):
        for row in range(4):
            for column in range(6):
                if 0 <= row + down < 4 and 0 <= column + right < 6:
                    heard = nodes[:, row + down, column + right]
                    expected[:, row, column] += heard * taps.weight[:, number]
    torch.testing.assert_close(taps(nodes), expected)


def test_a_board_among_blank_ones_is_solved_alike_whatever_stands_beside_it_in_the_batch() -> None:
    torch.manual_seed(7)
    model = TRM(any_size_config(by_value=False)).eval()
    tokens = torch.randint(1, 5, (3, 5, 6))
    together = model(tokens, model.initial_state(3, (5, 6)))[1]
    alone = model(tokens[1:2], model.initial_state(1, (5, 6)))[1]
    torch.testing.assert_close(together[1:2], alone)


def test_renaming_values_renames_the_answers_of_a_model_of_interchangeable_values() -> None:
    torch.manual_seed(8)
    model = TRM(any_size_config(by_value=True)).eval()
    tokens = torch.randint(1, 5, (1, 6, 5))
    renamed = torch.tensor([0, 1, 3, 4, 2])[tokens]
    logits = model(tokens, model.initial_state(1, (6, 5)))[1]
    other = model(renamed, model.initial_state(1, (6, 5)))[1]
    torch.testing.assert_close(other[..., [1, 2, 0]], logits)


def test_further_heads_and_a_wider_look_of_the_halting_head() -> None:
    torch.manual_seed(9)
    config = any_size_config(by_value=False, heads={"direction": 5}, halt_pool="mean_max")
    model = TRM(config).eval()
    state, _, halt = model(torch.ones(2, 4, 4, dtype=torch.long), model.initial_state(2, (4, 4)))
    (direction,) = model.network.auxiliary(state.y).values()
    assert direction.shape == (2, 4, 4, 5)
    assert halt.shape == (2,)
    with pytest.raises(ValueError, match="heads need a structure whose nodes are cells"):
        any_size_config(by_value=True, heads={"direction": 5})


def test_the_message_block_takes_groups_alone() -> None:
    with pytest.raises(ValueError, match="needs a structure of one size"):
        any_size_config(by_value=True, block="message")
    near = Structure(shape=(3, 4), relations=(boxes(3, 2), offsets(name="near")))
    with pytest.raises(ValueError, match="'near' is of kind 'offsets'"):
        small_config(seq_len=12, structure=near, answer_tokens=None, block="message")
    with pytest.raises(ValueError, match="block and dead_end_head are for mixer='structured'"):
        small_config("attention", block="message")


@pytest.mark.parametrize("mixer", ["structured", "mlp_t", "attention"])
def test_rows_of_a_batch_do_not_see_each_other(mixer: str) -> None:
    _, model = random_model(mixer)
    tokens = tokens_of(3)
    state, logits, halt = model(tokens, model.initial_state(3))
    assert logits.dtype == halt.dtype == torch.float32
    assert state.y.shape == (3, *model.config.state_shape)
    for row in range(3):
        _, alone, halt_alone = model(tokens[row : row + 1], model.initial_state(1))
        torch.testing.assert_close(alone[0], logits[row])
        torch.testing.assert_close(halt_alone[0], halt[row])


def test_a_step_is_the_recursion_of_the_paper() -> None:
    """T = 2 times: n = 3 updates of z from x + y + z, then one of y from y + z."""
    _, model = random_model("attention", H_cycles=2, L_cycles=3)
    network, tokens = model.network, tokens_of(2)
    x = network.embed(tokens, None)
    y, z = model.initial_state(2)
    for _ in range(2):
        for _ in range(3):
            z = network(x + y + z)
        y = network(y + z)
    state, _, _ = model(tokens, model.initial_state(2))
    torch.testing.assert_close(state.y, y)
    torch.testing.assert_close(state.z, z)


def test_only_the_last_cycle_is_differentiated() -> None:
    _, model = random_model("mlp_t", H_cycles=3)
    x = model.network.embed(tokens_of(1), None).detach()
    start = State(*(torch.randn(1, *model.config.state_shape) for _ in range(2)))
    start.y.requires_grad_(True)
    state = model.recurse(x, start)
    assert state.y.requires_grad  # through the weights
    assert torch.autograd.grad(state.y.sum(), start.y, allow_unused=True) == (None,)
    state = model.recurse(x, start, grad_cycles=3)
    (gradient,) = torch.autograd.grad(state.y.sum(), start.y)
    assert gradient.abs().sum() > 0


def test_answers_keep_the_givens() -> None:
    _, model = random_model()
    tokens = tokens_of(2)
    tokens[:, ::2] = 1
    logits = torch.zeros(2, 16, 4)
    logits[..., 3] = 1
    answer = model.answer(tokens, logits)
    assert (answer[:, ::2] == 5).all()
    assert (answer[:, 1::2] == torch.where(tokens >= 2, tokens, 5)[:, 1::2]).all()


def test_a_fresh_model_thinks_rather_than_stops() -> None:
    for mixer in ("structured", "mlp_t", "attention"):
        _, model = random_model(mixer)
        _, _, halt = model(tokens_of(2), model.initial_state(2))
        assert (halt == -5).all()


# --- checkpoints ----------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", ["structured", "mlp_t", "attention"])
def test_a_saved_model_gives_the_same_logits(tmp_path: Path, mixer: str) -> None:
    spec, model = random_model(mixer)
    folder = save_model(tmp_path / "m", spec, model.state_dict())
    tokens = tokens_of(2)
    _, expected, _ = model(tokens, model.initial_state(2))
    for path in (folder, folder / "model.safetensors"):
        found, again = load_model(path)
        _, logits, _ = again(tokens, again.initial_state(2))
        assert found == spec
        assert torch.equal(logits, expected)
        assert not again.training


def test_a_training_checkpoint_gives_its_averaged_weights(tmp_path: Path) -> None:
    spec, model = random_model()
    averaged = {name: value + 1 for name, value in model.state_dict().items()}
    data = {"spec": spec.to_json(), "model": model.state_dict(), "ema": averaged}
    torch.save(data, tmp_path / "c.pt")
    _, loaded = load_model(tmp_path / "c.pt")
    torch.testing.assert_close(dict(loaded.state_dict()), averaged)


def test_broken_checkpoints_name_the_file_and_the_fault(tmp_path: Path) -> None:
    spec, model = random_model()
    weights = dict(model.state_dict())
    name = next(iter(weights))
    without = {key: value for key, value in weights.items() if key != name}
    with pytest.raises(CheckpointError, match=f"here lacks the weight '{name}'"):
        build(spec, without, "here")
    with pytest.raises(CheckpointError, match=f"weight '{name}' has shape"):
        build(spec, weights | {name: torch.zeros(1, 1)}, "here")
    with pytest.raises(CheckpointError, match="'surplus'"):
        build(spec, weights | {"surplus": torch.zeros(1)}, "here")
    for size, named in ((10**6, "has shape"), (10**12, "weights that can't exist")):
        huge = small_config().model_copy(update={"hidden_size": size, "ffn_size": None})
        with pytest.raises(CheckpointError, match=named):  # and not for want of memory
            build(spec.model_copy(update={"model": huge}), weights, "here")

    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 100)
    (tmp_path / "noise.pt").write_bytes(b"\x00" * 100)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    for name in ("graph.onnx", "graph", "graph.ort"):
        (tmp_path / name).write_bytes(b"\x08\x08")
    for name, holds in (
        ("empty", {"ema": {}}),
        ("numbers", {"ema": {"a": 1}}),
        ("list", {"ema": [1]}),
        ("keys", {"model": {3: torch.zeros(1)}}),
        ("five", {"spec": 5, "ema": {}}),
    ):
        torch.save({"spec": spec.to_json(), **holds}, tmp_path / f"{name}.pt")
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, named in (
        (tmp_path / "none.pt", "no checkpoint at"),
        (tmp_path / "noise.safetensors", "not a readable .safetensors"),
        (tmp_path / "noise.pt", "not a readable PyTorch checkpoint"),
        (tmp_path / "text.pt", "not what torch.save writes"),
        (tmp_path / "graph.onnx", "is a graph; here a checkpoint"),
        (tmp_path / "other.pt", "not a checkpoint of trm-fit"),
        (folder, "not a model folder"),
        (tmp_path / "graph", "its name must end in .onnx"),
        (tmp_path / "graph.ort", "ORT format"),
        (tmp_path / "empty.pt", "lacks the weight"),
        (tmp_path / "numbers.pt", "a weight is a name and a tensor; got 'a' and int"),
        (tmp_path / "list.pt", "no weights by name; got list"),
        (tmp_path / "keys.pt", "a name and a tensor; got 3 and Tensor"),
        (tmp_path / "five.pt", "must be JSON text; got 5"),
        (tmp_path / ("a" * 300), "no checkpoint at"),
    ):
        with pytest.raises(CheckpointError, match=named):
            load_model(path)
    (folder / "config.json").write_text(spec.to_json(), encoding="utf-8")
    with pytest.raises(CheckpointError, match="no weights at"):
        load_model(folder)
    (folder / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"config\.json is not UTF-8 text"):
        load_model(folder)


@pytest.mark.parametrize("path", ["", None, 5])
def test_what_is_no_path_is_refused(path: Any) -> None:
    spec, model = random_model()
    with pytest.raises(InvalidInputError, match="a path is needed"):
        load_model(path)
    with pytest.raises(InvalidInputError, match="a path is needed"):
        save_model(path, spec, model.state_dict())


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    spec, model = random_model()
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InvalidInputError, match=f"{folder} can't be made a folder"):
            save_model(folder, spec, model.state_dict())
    (tmp_path / "taken" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match=r"model\.safetensors can't be written"):
        save_model(tmp_path / "taken", spec, model.state_dict())
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["model.safetensors"]


def test_a_checkpoint_can_not_run_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"spec": "{}", "model": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not a readable PyTorch checkpoint"):
        load_model(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()
