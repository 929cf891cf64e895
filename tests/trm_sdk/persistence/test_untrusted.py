"""Checkpoints from a stranger: data, bounded by the file, or an error in one sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fresh_process import ROOT, probe
from small_models import random_model

from training import state as training_state
from trm_sdk.errors import CheckpointError, ModelNotFoundError
from trm_sdk.model.config import ModelConfig
from trm_sdk.persistence.checkpoint import build, load_model
from trm_sdk.persistence.hub import resolve
from trm_sdk.persistence.reference import convert_reference
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.torch_file import check_archive

SHARED = ROOT.parent / "shared" / "trust" / "checkpoint"
ARCH = {
    "L_layers": 1,
    "H_cycles": 1,
    "L_cycles": 1,
    "expansion": 4,
    "num_heads": 1,
    "seq_len": 81,
}


def saved(path: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
    spec, model = random_model()
    weights = dict(model.state_dict())
    if change is not None:
        change(weights)
    torch.save({"spec": spec.to_json(), "model": weights}, path)
    return path


# --- archives -------------------------------------------------------------------------------


def repacked(source: Path, target: Path, change: Callable[[zipfile.ZipInfo], None]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.infolist():
            data = old.read(member)
            change(member)
            new.writestr(member, data)
    return target


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    """A megabyte of them may be a gigabyte."""

    def compress(member: zipfile.ZipInfo) -> None:
        member.compress_type = zipfile.ZIP_DEFLATED

    whole = saved(tmp_path / "whole.pt")
    bomb = repacked(whole, tmp_path / "bomb.pt", compress)
    for read in (load_model, training_state.load, check_archive):
        with pytest.raises(CheckpointError, match=r"is compressed, which torch\.save never does"):
            read(bomb)
    load_model(repacked(whole, tmp_path / "same.pt", lambda member: None))


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A thousand entries of the directory may name the same stretch of the file."""
    path = tmp_path / "overlapping.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", bytes(5000))
        for number in range(50):
            copy = zipfile.ZipInfo(f"a/data/{number}")
            first = file.filelist[0]
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            copy.file_size = copy.compress_size = first.file_size
            file.filelist.append(copy)
    with pytest.raises(CheckpointError, match="members are larger than the file"):
        load_model(path)


def test_the_form_of_old_pytorch_is_refused(tmp_path: Path) -> None:
    spec, model = random_model()
    holds = {"spec": spec.to_json(), "model": model.state_dict()}
    torch.save(holds, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"not what torch\.save writes"):
        load_model(tmp_path / "old.pt")


# --- tensors --------------------------------------------------------------------------------


def name_of(weights: dict[str, Any]) -> str:
    return next(iter(weights))


def other(make: Callable[[torch.Tensor], object]) -> Callable[[dict[str, Any]], None]:
    def change(weights: dict[str, Any]) -> None:
        name = name_of(weights)
        weights[name] = make(weights[name])

    return change


def one_for_all(weights: dict[str, Any]) -> None:
    many = torch.zeros(100_000)
    weights |= {f"more{number}": many for number in range(100)}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other(lambda tensor: tensor.to_sparse()), "dense tensor .* got a sparse_coo one"),
        (other(lambda tensor: tensor.to("meta")), "got one without numbers"),
        (other(lambda tensor: tensor.to(torch.complex64)), "got complex64"),
        (other(lambda tensor: tensor.to(torch.int32)), "got int32"),
        (other(lambda tensor: tensor.bool()), "got bool"),
        (
            other(lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8)),
            "quantized|not a readable PyTorch",
        ),
        (other(lambda tensor: torch.zeros(1).expand(10**11)), "refers to 4 bytes, and needs 4000"),
        (one_for_all, "the same numbers under many names"),
    ],
)  # fmt: skip
def test_other_than_dense_floating_tensors_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    path = saved(tmp_path / "a.pt", change)
    with pytest.raises(CheckpointError, match=named):
        load_model(path)


# --- descriptions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"L_layers": 10**7},
        {"H_cycles": 10**5},
        {"L_cycles": 10**5},
        {"hidden_size": 10**19},
        {"hidden_size": 2**21},
        {"ffn_size": 2**21},
        {"seq_len": 2**21},
        {"vocab_size": 2**21},
        {"expansion": float("inf"), "ffn_size": None},
        {"expansion": float("nan"), "ffn_size": None},
        {"expansion": 1e300, "ffn_size": None},
        {"expansion": 1e-9, "ffn_size": None},
        {"rope_theta": float("inf")},
        {"rms_norm_eps": float("nan")},
        {"num_puzzle_identifiers": 2**40},
        {"mixer": "attention", "structure": None, "seq_len": 2**20, "hidden_size": 512},
    ],
)
def test_sizes_that_no_model_has_are_refused(changes: dict[str, Any]) -> None:
    _, model = random_model()
    fields = model.config.model_dump()
    ModelConfig.model_validate(fields)
    with pytest.raises(ValueError, match="validation error"):
        ModelConfig.model_validate(fields | changes)


@pytest.mark.parametrize("number", [0, -1])
def test_a_format_is_at_least_1(number: int) -> None:
    spec, _ = random_model()
    text = spec.to_json().replace('"format":2', f'"format":{number}')
    with pytest.raises(CheckpointError, match="format: Input should be greater than or equal to 1"):
        ModelSpec.from_json(text, "here")


def test_layers_are_compared_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, model = random_model()
    deep = spec.model_copy(
        update={"model": spec.model.model_copy(update={"L_layers": 9999, "ffn_size": 999})}
    )
    weights = model.state_dict()
    monkeypatch.setattr("trm_sdk.model.recursion.TRM", None)  # making one would be a TypeError
    with pytest.raises(CheckpointError, match="weights of 1 layers; its config asks for 9999"):
        build(deep, weights, "here")
    with pytest.raises(CheckpointError, match="lacks the weights of 9999 layers"):
        build(deep, {}, "here")


def test_whatever_a_network_raises_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(config: object) -> object:
        raise ZeroDivisionError("of two lines:\nsecond")

    spec, model = random_model()
    weights = model.state_dict()
    monkeypatch.setattr("trm_sdk.model.recursion.TRM", fails)
    with pytest.raises(CheckpointError, match=r"weights that can't exist: of two lines:$"):
        build(spec, weights, "here")


# --- the reference's ------------------------------------------------------------------------


def reference(folder: Path, text: str, name: str = "step_1", **weights: torch.Tensor) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "all_config.yaml").write_text(text, encoding="utf-8")
    torch.save(weights or {"embed_tokens.embedding_weight": torch.zeros(11, 8)}, folder / name)
    return folder / name


REST = "H_cycles: 1, L_cycles: 1, num_heads: 1"
LAUGHS = "\n".join(
    ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    + ["arch: {lol: *l8}"]
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (LAUGHS, "anchors and aliases"),
        ("arch: &a {me: *a}", "anchors and aliases"),
        ("arch: {a: !!bool foo}", "tags are not read"),
        ("arch: !!python/object/apply:os.system [ls]", "tags are not read"),
        ("arch: {a: 1, a: 2}", "'a' is given twice"),
        ("arch: {[1]: 2}", "key must be text"),
        ("arch: " + "[" * 5000, "nested at most"),
        (f"arch: {{{REST}, expansion: .inf, L_layers: 1}}", "finite"),
        (f"arch: {{{REST}, expansion: 4, L_layers: 10000000}}", "10000"),
        (f"arch: {{{REST}, expansion: 4, L_layers: []}}", "its architecture can't be read"),
        ("arch: 5", "no 'arch' section"),
        ("\x00", "can't be read"),
    ],
)  # fmt: skip
def test_a_reference_config_is_plain_data(tmp_path: Path, text: str, named: str) -> None:
    path = reference(tmp_path / "run", text)
    with pytest.raises(CheckpointError, match=named) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_an_architecture_in_a_circle_is_refused() -> None:
    arch: dict[str, Any] = dict(ARCH)
    arch["me"] = arch
    weights = {"embed_tokens.embedding_weight": torch.zeros(11, 8)}
    with pytest.raises(CheckpointError, match="its architecture can't be read: Circular"):
        convert_reference(arch, weights, "here")


def test_an_expanded_tensor_of_a_reference_is_refused(tmp_path: Path) -> None:
    huge = torch.zeros(1, 1).expand(11, 10**10)
    path = reference(
        tmp_path / "run", yaml.dump({"arch": ARCH}), **{"embed_tokens.embedding_weight": huge}
    )
    with pytest.raises(CheckpointError, match="refers to 4 bytes, and needs 440"):
        load_model(path)


def test_hrm_is_named_as_what_it_is(tmp_path: Path) -> None:
    weights = {
        f"_orig_mod.model.inner.{name}": torch.zeros(8, 8)
        for name in ("H_level.layers.0.mlp.down_proj.weight", "L_level.layers.0.x.weight")
    }
    path = reference(tmp_path / "run", yaml.dump({"arch": ARCH}), **weights)
    with pytest.raises(CheckpointError, match="is a checkpoint of HRM"):
        load_model(path)


@pytest.mark.parametrize("name", ["step_100", "step_100.pt", "step_100.5"])
def test_a_reference_checkpoint_may_have_any_ending(tmp_path: Path, name: str) -> None:
    path = reference(tmp_path / "run", yaml.dump({"arch": ARCH}), name)
    with pytest.raises(CheckpointError, match="lacks the weight 'network"):  # so it was converted
        load_model(path)


def test_the_folder_of_a_reference_run_names_its_last_checkpoint(tmp_path: Path) -> None:
    for name in ("step_9", "step_100", "step_20"):
        path = reference(tmp_path / "run", yaml.dump({"arch": ARCH}), name)
    for error, read in ((CheckpointError, load_model), (ModelNotFoundError, resolve)):
        with pytest.raises(error, match=f"such as {path.parent}/step_100$"):
            read(path.parent)


# --- the inputs of an audit -----------------------------------------------------------------


PROBE = """
import sys
import torch
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.errors import CheckpointError
torch.zeros(1)

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

before = peak()
try:
    load_model(sys.argv[1])
except CheckpointError as error:
    assert "\\n" not in str(error) and len(str(error)) < 1000
else:
    sys.exit("loaded")
assert peak() - before < 300 * 1024, peak()
"""


@pytest.mark.skipif(not SHARED.is_dir(), reason="no inputs of the audit")
@pytest.mark.parametrize(
    "path",
    sorted([*SHARED.glob("*.pt"), *SHARED.glob("*/step_1")]),
    ids=lambda path: str(path)[-20:],
)
def test_checkpoints_of_the_audit_are_refused_in_one_sentence(path: Path) -> None:
    probe(PROBE, path)
