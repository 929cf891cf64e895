"""Files of arrays: what numpy writes is read, all else is refused before it takes memory."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_sdk.array_files import read_array, read_arrays

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "other end": np.arange(5, dtype=">i4"),
    "words": np.array(["sudoku", "jigsaw-7x7"]),
    "truth": np.array(True),
    "empty": np.empty((0, 81), np.float32),
}


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", list(ARRAYS))
def test_an_array_comes_back(tmp_path: Path, name: str) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(npy(ARRAYS[name]))
    found = read_array(path)
    assert (found.dtype, found.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
    assert np.array_equal(found, ARRAYS[name])
    assert found.flags.writeable


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_by_name(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "arrays.npz"
    save(path, **ARRAYS)
    found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    assert all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin as numpy's files do"),
        (npy(np.arange(9))[:-1], "72 bytes of values are announced, 71 are there"),
        (npy(np.arange(9)) + b"x", "72 bytes of values are announced, 73 are there"),
        (npy(np.array([{}], object)), r"values of type object|bytes of values"),
        (npy(np.array([(1, 2.0)], "i4,f8")), "values of type"),
        (header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**15},)}}"), "announced"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "the shape"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}"), "the shape"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (3L,)}"), "."),  # Python 2
        (header("{'descr': '<f8', 'fortran_order': 1, 'shape': (0,)}"), "fortran_order 1"),
        (header("{'descr': '<f8', 'shape': (0,)}"), "fortran_order"),
        (header("(" * 900), "."),
        (header(" " * 60_000), "a header of 60001 bytes"),
        (npy(np.arange(3))[:6] + b"\x03\x00" + npy(np.arange(3))[8:], "does not begin"),
    ],
    ids=[
        "nothing", "cut", "longer", "objects", "records", "petabytes", "negative", "twice negative",
        "long integer", "no truth", "lacking", "nested", "long header", "other version",
    ],
)  # fmt: skip
def test_what_numpy_does_not_write_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_array(path)
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.npy", data)
    with pytest.raises(ValueError, match=message):
        read_arrays(path)


def test_what_grows_when_it_is_unpacked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, zeros=np.zeros(30 << 20, np.uint8))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(ValueError, match="it holds 31457408 bytes in"):
        read_arrays(path)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    for read in (read_array, read_arrays):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "none.npz")
        with pytest.raises(OSError, match=r"[Dd]irectory|denied"):
            read(tmp_path)


def test_damage_is_refused_whatever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()

    @settings(max_examples=600, deadline=None, derandomize=True)
    @given(
        st.integers(0, len(whole) - 1),
        st.integers(0, 40),
        st.binary(max_size=12),
    )
    def check(start: int, length: int, put: bytes) -> None:
        path.write_bytes(whole[:start] + put + whole[start + length :])
        try:
            found = read_arrays(path)
        except ValueError:
            return
        assert all(array.nbytes < 1 << 20 for array in found.values())

    check()
