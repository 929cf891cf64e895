"""Files that are compressed, or in another encoding than UTF-8."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.files import decoded_lines, open_lines, opening, read_file
from trm_sdk.task import Task

ONE, TWO = "1.34341..14343.1", "2.......1......."
TEXT = f"puzzle,x\r\n{ONE},ä\r\n{TWO},2\r\n"
DOMAIN = get_domain("sudoku-4x4")


def puzzles(path: Path) -> list[str]:
    tasks = list(read_file(path, DOMAIN))
    assert all(isinstance(task, Task) for task in tasks), tasks
    return [DOMAIN.to_line(task.grid) for task in tasks if isinstance(task, Task)]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InvalidInputError) as caught:
        puzzles(path)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", ["", ".gz", ".zip"])
def test_encodings_and_compression(tmp_path: Path, encoding: str, packed: str) -> None:
    data = TEXT.encode(encoding)
    path = tmp_path / f"p.csv{packed}"
    if packed == ".zip":
        zipped(path, {"p/": b"", "p/puzzles.csv": data, "__MACOSX/._p.csv": b"x"})
    else:
        path.write_bytes(gzip.compress(data) if packed else data)
    assert puzzles(path) == [ONE, TWO]
    assert next(iter(open_lines(path))) == "puzzle,x\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(f"{ONE}\n{TWO}\n".encode(encoding))
    assert puzzles(path) == [ONE, TWO]


def test_a_stream_that_can_not_be_rewound(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.data = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            return self.data.readinto(buffer)  # type: ignore[arg-type]

    for data in (
        gzip.compress(TEXT.encode()),
        zipped(tmp_path / "p.zip", {"p.csv": TEXT.encode()}).read_bytes(),
    ):
        lines = decoded_lines(Pipe(data), "pipe")  # type: ignore[arg-type]
        assert "".join(lines) == TEXT.replace("\r\n", "\n")


def test_archives_of_several_files_are_refused(tmp_path: Path) -> None:
    several = zipped(tmp_path / "a.zip", {"one.csv": b"x", "two.csv": b"y"})
    message = "a.zip must be a zip archive of one file; got 2: ['one.csv', 'two.csv']"
    assert refusal(several) == message
    sheet = zipped(tmp_path / "a.xlsx", {"[Content_Types].xml": b"x", "xl/workbook.xml": b"y"})
    assert refusal(sheet) == "a.xlsx is an Office document, not text; save the sheet as CSV"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"%PDF-1.7\n...", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"PAR1....PAR1", "a Parquet file"),
        (b"\x93NUMPY\x01\x00", "a NumPy array file"),
    ],
)
def test_what_is_not_text_is_named(tmp_path: Path, data: bytes, named: str) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(data)
    assert refusal(path) == f"p.txt is {named}, not text; export the puzzles as CSV"


def test_archives_that_are_told_further_in_and_pointers_are_named(tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("puzzles.txt")
        entry.size = 81
        archive.addfile(entry, io.BytesIO(b"." * 81))
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("puzzles.txt", "." * 81)
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as packed:
        packed.writestr("puzzles.zip", inner.getvalue())
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 9\n" % (b"a" * 64)
    for data, named in (
        (tar.getvalue(), "is a tar archive, not text; unpack it first"),
        (gzip.compress(tar.getvalue()), "is a tar archive, not text; unpack it first"),
        (gzip.compress(gzip.compress(b"." * 81)), "is an archive in an archive"),
        (outer.getvalue(), "is an archive in an archive"),
        (pickle.dumps([1, 2]), "is a Python pickle"),
        (pickle.dumps({"a": 1}, protocol=2), "is a Python pickle"),
        (pointer, "is a pointer of Git LFS, not the file itself; fetch that with git lfs pull"),
    ):
        path = tmp_path / "puzzles"
        path.write_bytes(data)
        with pytest.raises(InvalidInputError, match=named):
            list(read_file(path, get_domain("sudoku")))


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress((TEXT * 3000).encode())
    for name, data in (
        ("a.gz", whole[:12]),
        ("a.zip", b"PK\x03\x04" + b"x" * 40),
        ("a.txt", b"\xff\xfe" * 20),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        assert f"{name} can't be read as text" in refusal(path)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(f"{ONE}\n".encode() * 50_000, 0)[:-2000])
    *tasks, error = read_file(cut, DOMAIN)
    assert len(tasks) > 10_000
    assert "cut.gz can't be read as text: it is damaged" in str(error)


def test_bytes_that_are_not_utf_8_spoil_their_own_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_bytes(f"{ONE}\n".encode() + b"\xff\n" + f"{TWO}\n".encode())
    one, bad, two = read_file(path, DOMAIN)
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert str(bad) == "p.txt:2 can't be read as text: it is not UTF-8"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (pickle.dumps({"puzzle": ONE}, protocol=1), "a binary file"),
        (bytes(range(16)) * 8, "a binary file"),
        (b"ARROW1\x00\x00", "an Arrow file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (rb"{\rtf1 " + ONE.encode() + b"}", "an RTF document"),
    ],
)
def test_binary_files_are_refused_by_what_they_begin_with(
    tmp_path: Path, data: bytes, named: str
) -> None:
    path = tmp_path / "p"
    path.write_bytes(data)
    assert named in refusal(path)


def test_what_old_programs_leave_at_the_end_of_a_text_is_no_puzzle(tmp_path: Path) -> None:
    for end in (b"\x1a", b"\x00" * 600):
        path = tmp_path / "p.txt"
        path.write_bytes(f"{ONE}\n{TWO}\n".encode() + end)
        assert puzzles(path) == [ONE, TWO]


def test_a_title_that_is_not_utf_8_does_not_spoil_the_board_below(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    rows = "\n".join(ONE[start : start + 4] for start in range(0, 16, 4))
    path.write_bytes("R\u00e4tsel f\u00fcr Anf\u00e4nger\n".encode("cp1252") + rows.encode())
    assert puzzles(path) == [ONE]


@pytest.mark.parametrize("unit", [b"0", b"\n", b"[1,"])
def test_what_grows_without_measure_is_refused(tmp_path: Path, unit: bytes) -> None:
    """A megabyte of them may be a gigabyte."""
    data = unit * (20_000_000 // len(unit))
    (tmp_path / "p.gz").write_bytes(gzip.compress(data, 6))
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p.txt", data)
    for name in ("p.gz", "p.zip"):
        message = refusal(tmp_path / name)
        assert "more than 100 times as large" in message or "in its first 262,145 lines" in message


def test_puzzles_repeated_a_hundred_thousand_times_are_no_such_thing(tmp_path: Path) -> None:
    path = tmp_path / "p.gz"
    path.write_bytes(gzip.compress(f"{ONE}\n".encode() * 100_000))
    assert sum(1 for _ in open_lines(path)) == 100_000


def test_a_line_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_LONGEST_LINE", 1000)
    (tmp_path / "p.txt").write_text(f"{ONE}\n" + "1" * 1000)
    first, second = read_file(tmp_path / "p.txt", DOMAIN)
    assert isinstance(first, Task)
    assert "line 2 is longer than 1,000 characters" in str(second)
