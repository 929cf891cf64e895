"""Opening puzzle files: compression and text encoding, told by what a file begins with."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import first_line, shown
from trm_sdk.validation import LFS_HINT, LFS_POINTER

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
#: UTF-32 before UTF-16, whose mark it begins with.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Versions of pickle's protocol, and what comes next: a frame, or in old ones a container.
_PICKLES = ((2, 0x5D), (2, 0x7D), (3, 0x5D), (3, 0x7D), (4, 0x95), (5, 0x95))
#: What is not text, by its first bytes.
_BINARY = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"ARROW1", "an Arrow file"),
    (b"FEA1", "a Feather file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"{\\rtf", "an RTF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    *((bytes((0x80, version, marker)), "a Python pickle") for version, marker in _PICKLES),
)
#: What no text has: the zero byte and most other control characters.
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x19]")
#: A file is binary where more than one byte in so many is one of them.
_ONE_IN = 64
#: What old programs, and disks that were full, leave at the end of a text.
_PADDING = "\x00\x1a"
#: Where a tar archive says what it is.
_TAR, _TAR_AT = b"ustar", 257
#: What is compressed may become so many bytes, and beyond that so many times its size.
_FREELY, _MOST_TIMES = 1 << 24, 100
#: Characters of a line: JSON of a hundred thousand puzzles stands on one.
_LONGEST_LINE = 1 << 26
_PEEKED = 512
#: Of them, what tells UTF-16 without a mark.
_TOLD = 64


def open_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a puzzle file, read as they are asked for.

    Accepted: text in UTF-8, and in UTF-16 or UTF-32 with a byte order mark (UTF-16 also without);
    the same compressed with gzip, or as the only file of a zip archive.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InvalidInputError
        If it is a binary file of a known kind, or an archive of several files.
    OSError
        If it can't be read; if what is compressed is damaged, or becomes more than 16 MiB and a
        hundred times its size; or if a line is longer than 64 Mi characters.
    """
    with path.open("rb") as file:
        yield from decoded_lines(file, path.name)


def decoded_lines(file: IO[bytes], name: str) -> Iterator[str]:
    """Yield the lines of an open binary file; see `open_lines`.

    A byte that is not UTF-8 becomes a surrogate, so that it spoils its own line alone.
    """
    try:
        yield from _unpacked(file, name, 0)
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise OSError(f"it is damaged: {first_line(error)}") from None


def _unpacked(file: IO[bytes], name: str, depth: int) -> Iterator[str]:
    raw = cast(io.BufferedReader, file if hasattr(file, "peek") else io.BufferedReader(file))
    head = raw.peek(_PEEKED)[:_PEEKED]
    if head.startswith(_GZIP) and depth == 0:
        packed = _Counted(raw)
        with gzip.GzipFile(fileobj=cast(IO[bytes], packed)) as inner:
            bounded = io.BufferedReader(_Bounded(inner, packed))
            yield from _unpacked(cast(IO[bytes], bounded), name, 1)
    elif head.startswith((_ZIP, b"PK\x05\x06")) and depth == 0:
        seekable = raw if raw.seekable() else io.BytesIO(raw.read())
        with zipfile.ZipFile(seekable) as archive, archive.open(_only_file(archive, name)) as inner:
            yield from _unpacked(inner, name, 1)
    else:
        _refuse_binary(head, name, depth)
        encoding = _encoding(head[:_TOLD])
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        text = io.TextIOWrapper(raw, encoding=encoding, errors=errors)
        try:
            for number, line in enumerate(iter(partial(text.readline, _LONGEST_LINE), "")):
                if len(line) == _LONGEST_LINE:
                    raise OSError(f"line {number + 1} is longer than {_LONGEST_LINE:,} characters")
                # Any bytes are UTF-16, but no text has the mark all over.
                if errors == "strict" and "\ufeff" in (line[1:] if number == 0 else line):
                    raise OSError(f"it begins as {encoding.upper()} does, and is not")
                if line.strip(_PADDING) or not line:
                    yield line
        finally:
            text.detach()  # whoever opened the file closes it


def _refuse_binary(head: bytes, name: str, depth: int) -> None:
    """Refuse what begins like something that is not text."""
    if head[_TAR_AT:].startswith(_TAR):
        raise InvalidInputError(f"{name} is a tar archive, not text; unpack it first")
    if head.startswith((_GZIP, _ZIP)) and depth:
        raise InvalidInputError(f"{name} is an archive in an archive; unpack it first")
    if head.startswith(LFS_POINTER):
        raise InvalidInputError(f"{name} {LFS_HINT}")
    for magic, kind in _BINARY:
        if head.startswith(magic):
            raise InvalidInputError(f"{name} is {kind}, not text; export the puzzles as CSV")
    # A stray one spoils its line alone.
    found = len(_CONTROL.findall(head.rstrip(_PADDING.encode())))
    if found * _ONE_IN > len(head) and _encoding(head[:_TOLD]).startswith("utf-8"):
        raise InvalidInputError(
            f"{name} is a binary file, not text ({found} of its first {len(head)} bytes are "
            "control characters); export the puzzles as CSV"
        )


def _only_file(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    entries = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir()
        and not entry.filename.startswith("__MACOSX/")
        and not entry.filename.endswith(".DS_Store")
    ]
    names = [entry.filename for entry in entries]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise InvalidInputError(f"{name} is an Office document, not text; save the sheet as CSV")
    if len(entries) != 1:
        raise InvalidInputError(
            f"{name} must be a zip archive of one file; got {len(entries)}: {shown(names)}"
        )
    if entries[0].flag_bits & 1:
        raise InvalidInputError(f"{name} is a zip archive with a password; unpack it first")
    _check_growth(entries[0].file_size, entries[0].compress_size)
    return entries[0]


class _Counted:
    """A file of which is counted what has been read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(size)
        self.size += len(found)
        return found


class _Bounded(io.RawIOBase):
    """What is unpacked, as long as it grows no more than a text does."""

    def __init__(self, file: gzip.GzipFile, packed: _Counted) -> None:
        self._file, self._packed = file, packed
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._file.read(len(buffer))
        self._size += len(found)
        _check_growth(self._size, self._packed.size)
        buffer[: len(found)] = found
        return len(found)


def _check_growth(size: int, packed: int) -> None:
    if size > max(_FREELY, _MOST_TIMES * packed):
        raise OSError(f"unpacked, it is more than {_MOST_TIMES} times as large; unpack it first")


def _encoding(head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    # Text of digits and punctuation in UTF-16 has a zero in every other byte.
    even, odd = head[0::2], head[1::2]
    if len(head) >= 4 and not any(odd) and all(even):
        return "utf-16-le"
    if len(head) >= 4 and not any(even) and all(odd):
        return "utf-16-be"
    return "utf-8"


__all__ = ["decoded_lines", "open_lines"]
