"""Files of numpy arrays from somewhere else: data alone, and no more memory than they can fill."""

from __future__ import annotations

import ast
import io
import struct
import zipfile
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from trm_sdk.messages import clipped, first_line, shown

#: How many times the size of the file its arrays may have. Puzzles shrink to a tenth at best; zeros
#: shrink to a thousandth.
_MOST_GROWTH = 64
#: Bytes that the arrays of any file may have, however small it is.
_ALWAYS_FIT = 1 << 20
#: What arrays hold: truth values, numbers, text. Never objects, which numpy would unpickle.
_KINDS = "biufU"
_MAGIC = b"\x93NUMPY"
#: How the length of a header stands in each version of the format.
_LENGTHS = {1: "<H", 2: "<I"}
_LONGEST_HEADER = 10_000


def read_array(path: Path) -> npt.NDArray[Any]:
    """Read the array of a ``.npy`` file.

    Raises
    ------
    ValueError
        If it is not what `numpy.save` writes, or is cut off.
    OSError
        If it can't be read.
    """
    with path.open("rb") as file:
        try:
            return _array(file, path.stat().st_size)
        except Exception as error:  # the header goes through Python's parser
            raise ValueError(_said(error)) from None


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a ``.npz`` file, by name.

    Raises
    ------
    ValueError
        If it is not what `numpy.savez` or `numpy.savez_compressed` writes, is damaged, or grows
        more than arrays do when it is unpacked.
    OSError
        If it can't be read.
    """
    with path.open("rb") as file:
        try:
            return _members(file, path.stat().st_size)
        except Exception as error:  # of zipfile, struct, zlib, and Python's parser
            raise ValueError(_said(error)) from None


def _members(file: BinaryIO, size: int) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        held = sum(member.file_size for member in members)
        if held > max(_MOST_GROWTH * size, _ALWAYS_FIT):
            raise ValueError(f"it holds {held} bytes in {size}")
        return {one.filename.removesuffix(".npy"): _member(archive, one) for one in members}


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        data = file.read(member.file_size)
        if len(data) < member.file_size or file.read(1):
            raise ValueError(f"{member.filename} does not have the {member.file_size} bytes stated")
    return _array(io.BytesIO(data), len(data))


def _array(file: BinaryIO, size: int) -> npt.NDArray[Any]:
    """Return the array of a file of `size` bytes, which must be what its header announces."""
    shape, by_column, dtype = _header(file)
    announced, there = prod(shape) * dtype.itemsize, size - file.tell()
    if announced != there:
        raise ValueError(f"{announced} bytes of values are announced, {there} are there")
    values = np.frombuffer(bytearray(file.read()), dtype)
    return values.reshape(shape, order="F" if by_column else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether values stand by column, and type, as `numpy.lib.format` writes them.

    numpy's own reader mends what Python 2 wrote, takes objects, and trusts the numbers.
    """
    begins = file.read(len(_MAGIC) + 2)
    if begins[:-2] != _MAGIC or begins[-2] not in _LENGTHS:
        raise ValueError("it does not begin as numpy's files do")
    length = struct.Struct(_LENGTHS[begins[-2]])
    (bytes_of_header,) = length.unpack(file.read(length.size))
    if bytes_of_header > _LONGEST_HEADER:
        raise ValueError(f"a header of {bytes_of_header} bytes")
    said = ast.literal_eval(file.read(bytes_of_header).decode("latin-1").strip())
    shape, by_column, name = said["shape"], said["fortran_order"], said["descr"]
    if not (isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError(f"the shape {shown(shape)}")
    if type(by_column) is not bool or not isinstance(name, str):
        raise ValueError(f"values of type {shown(name)}, fortran_order {shown(by_column)}")
    dtype = np.dtype(name)
    if dtype.kind not in _KINDS:
        raise ValueError(f"values of type {dtype}")
    return shape, by_column, dtype


def _said(error: Exception) -> str:
    return clipped(first_line(error), 200)


__all__ = ["read_array", "read_arrays"]
