"""Model files that are only pointers of Git LFS, and descriptions with a byte order mark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trm_sdk import Solver
from trm_sdk.errors import CheckpointError
from trm_sdk.persistence.checkpoint import load_model, read_spec
from trm_sdk.persistence.hub import BUNDLED

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 9\n" % (b"a" * 64)
SENTENCE = "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(BUNDLED / "sudoku-4x4", tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("config.json", "onnx"), ("model.onnx", "onnx"), ("model.safetensors", "torch")],
)
def test_a_pointer_in_a_folder_is_named(folder: Path, name: str, runtime: str) -> None:
    if runtime == "torch":
        pytest.importorskip("torch")
    (folder / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=f"{name} {SENTENCE}"):
        Solver.from_pretrained(folder, runtime)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx"])
def test_a_pointer_for_a_checkpoint_is_named(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("torch")
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=SENTENCE):
        Solver.from_pretrained(path) if suffix == ".onnx" else load_model(path)


def test_a_description_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    expected = read_spec(folder)
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_spec(folder) == expected
