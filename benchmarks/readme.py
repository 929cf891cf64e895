"""Parts of the README that a benchmark writes: what stands between two comments."""

from __future__ import annotations

from pathlib import Path

from trm_sdk.errors import InvalidInputError

README = Path(__file__).parents[1] / "README.md"


def fill(readme: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end name -->``.

    Raises
    ------
    InvalidInputError
        If the file has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    old = readme.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InvalidInputError(f"{readme} has no lines {begin} and {end} to write between")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
