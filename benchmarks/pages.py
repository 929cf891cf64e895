"""Parts of the documentation that a benchmark writes: what stands between two comments."""

from __future__ import annotations

from pathlib import Path

from trm_sdk.errors import InvalidInputError

_DOCS = Path(__file__).parents[1] / "docs"
#: Where `benchmarks.solve` and `benchmarks.export` write.
PAGE = _DOCS / "benchmarks.md"
#: Where `benchmarks.classical` writes.
LIMITS = _DOCS / "limits.md"
#: Where `benchmarks.transfer` writes.
VARIANTS = _DOCS / "variants.md"


def fill(page: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end name -->``.

    Raises
    ------
    InvalidInputError
        If the file has no such markers.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    old = page.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InvalidInputError(f"{page} has no lines {begin} and {end} to write between")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
