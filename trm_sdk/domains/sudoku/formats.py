"""Forms in which only Sudokus are kept: programs' lines and files, links, pencil marks.

Read are lines of HoDoKu and Susser, links with the puzzle in them, files with sections (``.sdk``,
``.ss``), OpenSudoku's XML, and grids of candidates. Where a form tells placed digits from givens,
the givens are the puzzle.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.domains.sudoku import Sudoku

_LINK = re.compile(r"https?://|^www\.|\?\w+=", re.IGNORECASE)
_COMPRESSED = re.compile(r"[=/]S9[A-Z][0-9a-z]{20}", re.IGNORECASE)
#: ``:technique:candidate:`` before the cells, as HoDoKu's library has it.
_TECHNIQUE = re.compile(r"\s*:[0-9a-zA-Z-]*:[^:]*:")
_PLACED = re.compile(r"\+[1-9A-Za-z]")
_SECTION = re.compile(r"^[ \t]*\[(\w+)\][^\n]*$", re.MULTILINE)
#: Header lines of ``.sdk`` files, by their letter.
_HEADERS = {
    "A": "author",
    "D": "description",
    "C": "comment",
    "B": "date",
    "S": "source",
    "L": "level",
    "U": "url",
}
_HEADER = re.compile(r"^#([ADCBSLU])[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
_GAME = re.compile(r"<(?:game|sudoku|puzzle)\b([^>]*)>")
_ATTRIBUTE = re.compile(r"(?<![\w:-])([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_ELEMENT = re.compile(r"<(?:puzzle|grid|givens|board|data)\b[^>]*>\s*([^<]+?)\s*</")
_FRAME = re.compile(r"[|+*:'`=\u2500-\u257f]|-{2,}|\.-|-\.|\.$", re.MULTILINE)
#: Fewest givens of a 9x9 Sudoku with one solution (McGuire et al., 2012).
_FEWEST = 17
_SEARCHED = 20_000


# --- one puzzle ---------------------------------------------------------------------------------


def read_line(text: str, domain: Sudoku) -> Grid | None:
    """Return the givens of a line of HoDoKu or Susser, or of a link; None where it is neither.

    Raises
    ------
    InvalidInputError
        If it is a link whose puzzle is compressed.
    """
    if "\n" in text.strip():
        return None
    if _LINK.search(text):
        return _from_link(text, domain)
    if ":" not in text and "+" not in text:
        return None
    head = _TECHNIQUE.match(text)
    body = (text[head.end() :] if head else text).strip()
    cells, _, _ = body.partition(":")
    cells = cells.strip()
    if head is None and ":" not in body and not _PLACED.search(cells):
        return None
    return _whole(_PLACED.sub(".", cells), domain)


def _whole(cells: str, domain: Sudoku) -> Grid | None:
    """The board of as many characters as it has cells; None where they are others."""
    if len(cells) != domain.seq_len:
        return None
    found = [domain.vocabulary.value_of(cell) for cell in cells]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return None
    return Grid([values[i : i + domain.size] for i in range(0, domain.seq_len, domain.size)])


def _from_link(text: str, domain: Sudoku) -> Grid | None:
    for part in re.split(r"[/?&#=\s]", unquote_plus(text.strip())):
        found = _whole(part.strip("\"'<>()"), domain)
        if found is not None:
            return found
    if _COMPRESSED.search(text):
        raise InvalidInputError(
            "a link with a compressed puzzle (S9...) can't be read; export its "
            f"{domain.seq_len} characters"
        )
    if re.fullmatch(r"https?://\S+", text.strip(), re.IGNORECASE):
        raise InvalidInputError(
            f"the link holds no puzzle of {domain.name} in plain digits; open it, and copy the "
            f"{domain.seq_len} cells"
        )
    return None


def read_pencil_marks(text: str, domain: Sudoku) -> Grid | None:
    """Return the singles of a grid of candidates; None where the text is not such a grid.

    They are the puzzle where nothing else is said by the candidates: where those of the other cells
    are all that the singles leave, or where the singles have one solution, and it is among them.

    Raises
    ------
    InvalidInputError
        If the candidates say more than the singles.
    """
    if domain.size > 9:
        return None
    rows = [_FRAME.sub(" ", line).split() for line in text.splitlines()]
    rows = [row for row in rows if row]
    if [len(row) for row in rows] != [domain.size] * domain.size:
        return None
    cells = [cell for row in rows for cell in row]
    digits = "123456789"[: domain.size]
    marked = [set(cell.strip("{}()[]")) for cell in cells]
    if not all(mark <= set(digits) and mark for mark in marked) or max(map(len, marked)) < 2:
        return None
    candidates = [sum(1 << digits.index(one) for one in mark) for mark in marked]
    singles = [mask if mask.bit_count() == 1 else 0 for mask in candidates]
    if not _say_the_same(singles, candidates, domain):
        raise InvalidInputError(
            f"these are candidates (pencil marks), and their {sum(map(bool, singles))} single ones "
            "do not say which puzzle it is; give the puzzle itself"
        )
    values = [mask.bit_length() for mask in singles]
    size = domain.size
    return Grid([values[start : start + size] for start in range(0, len(values), size)])


def _say_the_same(singles: list[int], candidates: list[int], domain: Sudoku) -> bool:
    """Whether the singles have the solutions that the candidates have."""
    peers = _peers(domain)
    left = [mask & ~_seen(singles, around) for mask, around in zip(candidates, peers, strict=True)]
    everything = (1 << domain.size) - 1
    free = [everything & ~_seen(singles, around) for around in peers]
    if all(single or a == b for single, a, b in zip(singles, left, free, strict=True)):
        return True
    if domain.size == 9 and sum(map(bool, singles)) < _FEWEST:
        return False
    found: list[list[int]] = []
    finished = _search(list(singles), peers, everything, found, [_SEARCHED])
    return (
        finished
        and len(found) == 1
        and all(value & mask for value, mask in zip(found[0], candidates, strict=True))
    )


def _peers(domain: Sudoku) -> list[list[int]]:
    around: list[set[int]] = [set() for _ in range(domain.seq_len)]
    for relation in domain.distinct:
        for group in relation.groups_on(domain.shape):
            for cell in group:
                around[cell] |= set(group) - {cell}
    return [sorted(cells) for cells in around]


def _seen(cells: list[int], around: list[int]) -> int:
    mask = 0
    for cell in around:
        mask |= cells[cell]
    return mask


def _search(
    cells: list[int],
    peers: list[list[int]],
    everything: int,
    found: list[list[int]],
    left: list[int],
) -> bool:
    """Collect up to two solutions, depth first; False where `left` steps were too few."""
    left[0] -= 1
    if left[0] < 0:
        return False
    open_cells = [
        (everything & ~_seen(cells, peers[i]), i) for i, value in enumerate(cells) if not value
    ]
    if not open_cells:
        found.append(list(cells))
        return True
    mask, place = min(open_cells, key=lambda one: one[0].bit_count())
    while mask and len(found) < 2:
        bit = mask & -mask
        mask ^= bit
        cells[place] = bit
        if not _search(cells, peers, everything, found, left):
            return False
    cells[place] = 0
    return True


# --- files --------------------------------------------------------------------------------------


def read_file(text: str, name: str, domain: Sudoku) -> Iterator[Task | TRMError] | None:
    """Return the puzzles of a file with sections, or of OpenSudoku's XML; None for other files.

    Raises
    ------
    InvalidInputError
        If it is XML without a puzzle, or has sections without one.
    """
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("<"):
        return _from_xml(text, name, domain)
    sections = list(_SECTION.finditer(text))
    if sections and not text[: sections[0].start()].strip().startswith("[["):
        return _from_sections(text, sections, name, domain)
    return None


def _from_sections(
    text: str, sections: list[re.Match[str]], name: str, domain: Sudoku
) -> Iterator[Task | TRMError] | None:
    ends = [section.start() for section in sections[1:]] + [len(text)]
    found = [
        (section[1].lower(), text[section.end() : end], text.count("\n", 0, section.start()) + 1)
        for section, end in zip(sections, ends, strict=True)
    ]
    puzzles = [one for one in found if one[0] in ("puzzle", "givens", "clues")]
    puzzles = puzzles or [one for one in found if one[0] in ("state", "grid", "board")]
    if not puzzles:
        return None
    metadata = {_HEADERS[letter]: value for letter, value in _HEADER.findall(text) if value}
    alone = len(puzzles) == 1
    return (
        _task(body, name if alone else f"{name}:{number}", metadata, domain)
        for _, body, number in puzzles
    )


def _from_xml(text: str, name: str, domain: Sudoku) -> Iterator[Task | TRMError]:
    found: list[tuple[int, str, dict[str, str]]] = []
    for game in _GAME.finditer(text):
        facts = {
            key: html.unescape(one or other) for key, one, other in _ATTRIBUTE.findall(game[1])
        }
        data = facts.pop("data", None)
        if data is not None:
            found.append((game.start(), _opensudoku_cells(data, domain), facts))
    if not found:
        found = [(one.start(), html.unescape(one[1]), {}) for one in _ELEMENT.finditer(text)]
    if not found:
        kind = re.search(r"<([a-zA-Z][\w:-]*)", re.sub(r"<[?!][^>]*>", "", text))
        raise InvalidInputError(
            f"{name} is XML or HTML without a puzzle"
            + (f" (its first element is <{kind[1]}>)" if kind else "")
            + "; OpenSudoku's <game data=...> is read"
        )
    return _numbered(text, found, name, domain)


def _numbered(
    text: str, found: list[tuple[int, str, dict[str, str]]], name: str, domain: Sudoku
) -> Iterator[Task | TRMError]:
    line, before = 1, 0
    for start, body, facts in found:
        line += text.count("\n", before, start)
        before = start
        yield _task(body, f"{name}:{line}", facts, domain)


def _opensudoku_cells(data: str, domain: Sudoku) -> str:
    """The givens of OpenSudoku's data: cells, or ``version: n`` and ``value|note|editable|``."""
    if not data.lstrip().startswith("version"):
        return data
    body = re.sub(r"^\s*version:?\s*\d+\s*", "", data)
    parts = body.strip().strip("|").split("|")
    if len(parts) != 3 * domain.seq_len:
        return data
    values, editable = parts[0::3], parts[2::3]
    return " ".join(
        value.strip() if given.strip() == "0" and value.strip() != "0" else "."
        for value, given in zip(values, editable, strict=True)
    )


def _task(body: str, name: str, metadata: dict[str, str], domain: Sudoku) -> Task | TRMError:
    try:
        return Task(domain.parse(body).inputs, name=name, metadata=metadata)
    except TRMError as error:
        return InvalidInputError(f"{name}: {error}")


__all__ = ["read_file", "read_line", "read_pencil_marks"]
