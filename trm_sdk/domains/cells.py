"""Boards as data: nested sequences of numbers, text and nothing, and the source code they stand in.

What text accepts, arrays of text accept: rows as strings, cells as strings, and None, NaN or an
empty string for an empty cell.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains.vocabulary import Vocabulary
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import as_array
from trm_sdk.messages import shown

#: ``name =``, perhaps with a type before it and ``new int[][]`` after it.
_ASSIGNED = re.compile(
    r"(?:[\w\])>]\s*(?::?=|<-)\s*(?:new\s+[\w\[\],<> ]+)?|return\s+|export\s+default\s+)"
    r"(?:[\w.]+(?=[({]))?(?=[\[({\"'])"
)
_COMMENT = re.compile(
    r"(\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')|//[^\n]*|#[^\n]*|/\*(?s:.*?)\*/"
)
_BRACKET = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[\[({\])}]")
#: ``key:`` of a JavaScript object, and what JSON and JavaScript call the values of Python.
_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)")
_CONSTANTS = {"true": "True", "false": "False"}
#: Literals of one text that are looked at.
_MOST_LITERALS = 10_000
_STRING = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'")
_WORDS = {"null": "None", "nil": "None", "undefined": "None", "NaN": "None", "nan": "None"}
_WORD = re.compile(r"\b(?:np\.|math\.|float\(['\"])?(" + "|".join(_WORDS) + r")\b(?:['\"]\))?")
_BRACES = str.maketrans("{}()", "[][]")
#: Text that stands for an empty cell, beside what the vocabulary reads as one.
_BLANKS = ("-", "x", "X", "\u00b7", "None", "null", "nan", "NaN")
_MISSING = ("<NA>", "NaT")


def rows_of_text(value: object) -> list[str] | None:
    """Return the rows of a board given as a sequence of strings; None where it is not one.

    Strings of one character are cells, unless there is only one of them.
    """
    items = as_array(value).tolist() if hasattr(value, "__array__") else value
    if not isinstance(items, (list, tuple)) or not items:
        return None
    if not all(isinstance(item, str) for item in items):
        return None
    longer = any(len(item.strip()) > 2 for item in items)
    return list(items) if longer else None


def cells_of(value: Any, vocabulary: Vocabulary) -> npt.NDArray[Any]:
    """Return the cell values of an array-like, whatever its shape.

    Parameters
    ----------
    value : array-like
        Of whole numbers; of symbols of the vocabulary, or numbers, as text; None, NaN and an empty
        string are an empty cell.
    vocabulary : Vocabulary

    Raises
    ------
    InvalidInputError
        If rows differ in length, or a cell is none of these.
    """
    array = as_array(value)
    if array.dtype.kind == "f" and np.isnan(array).any() and array.ndim:
        wanted = np.isnan(array)
        filled = np.where(wanted, _blank(vocabulary, float("nan")), array)
        _refuse_two_blanks(filled, wanted, vocabulary)
        return filled
    if array.dtype.kind not in "USO" or not array.ndim:
        return array
    # Not the array that numpy made: it writes numbers beside text as text.
    mixed = np.array(array.tolist() if hasattr(value, "__array__") else value, dtype=object)
    cells = np.array([_value(cell, vocabulary) for cell in mixed.reshape(-1)], np.int64)
    zeros = np.array([str(cell).strip() in ("0", "0.0") for cell in mixed.reshape(-1)], bool)
    _refuse_two_blanks(cells, ~zeros & (cells == 0), vocabulary)
    return cells.reshape(mixed.shape)


def _refuse_two_blanks(
    cells: npt.NDArray[Any], missing: npt.NDArray[np.bool_], vocabulary: Vocabulary
) -> None:
    """Refuse 0 beside cells left out: 0 may be the first of the values, unless the last is there.

    As in text, only where there are ten values or more, which people also write as 0-9 A-F.
    """
    last = vocabulary.values - 1
    if not vocabulary.is_numbers or last <= 9 or not missing.any():
        return
    if (~missing & (cells == 0)).any() and not (cells == last).any():
        raise InvalidInputError(
            f"both 0 and cells left empty stand in a board of {last} values: 0 may be an empty "
            f"cell or the first of 0-{last - 1}; write empty cells in one way and values as "
            f"1-{last}"
        )


def _blank(vocabulary: Vocabulary, cell: object) -> int:
    blanks = vocabulary.having("blank")
    if len(blanks) != 1:
        raise InvalidInputError(
            f"{shown(cell)} is not a cell: this domain has no single value for an empty cell"
        )
    return blanks[0] - vocabulary.first


def _value(cell: object, vocabulary: Vocabulary) -> int:
    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is None or str(cell) in _MISSING or (isinstance(cell, float) and math.isnan(cell)):
        return _blank(vocabulary, cell)
    if isinstance(cell, str):
        value = vocabulary.value_of(cell)
        text = cell.strip()
        if value is None:
            value = _blank(vocabulary, cell) if not text else vocabulary.value_of(text)
        if value is not None:
            return value
        if vocabulary.is_numbers and re.fullmatch(r"-?[0-9]{1,3}", text):
            return int(text)
        if vocabulary.is_numbers and text in _BLANKS:
            return _blank(vocabulary, cell)
    elif isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) < 1_000_000:
        return cell
    elif isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e6:
        return int(cell)
    raise InvalidInputError(
        f"a grid holds integers, or cells as text ({vocabulary.readable()!r}); got {shown(cell)}"
    )


def data_in(text: str) -> Any:
    """Return the data that JSON, or a literal pasted from source code, holds; None if it has none.

    Read: JSON; lists as Python, C, Java, JavaScript and MATLAB write them, perhaps assigned to a
    name; a printed numpy array; strings that stand one under the other.
    """
    body = text.lstrip("\ufeff").strip()
    if body.startswith(("[", "{", '"')):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    if not re.search(r"[\[({\"']", body):
        return None
    body = _COMMENT.sub(lambda match: match[1] or "", body).strip()
    if body.startswith(("[", "{")):  # JSON below a comment
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            pass
    assigned = _ASSIGNED.search(body)
    code = body[assigned.end() if assigned else 0 :].strip().rstrip(";, \n")
    code = re.sub(r"^[A-Za-z_][\w.]*(?=\()", "", code)  # array(...), as numpy writes it
    if not code or code[0] not in "[({\"'":
        return None
    literal = _literal(code)
    if literal is None and assigned:
        literal = _literals(body)
    if literal is not None:
        return literal
    strings = [one or other for one, other in _STRING.findall(code)]
    return strings if strings and not _STRING.sub("", code).strip("[](){}+,;\\ \t\r\n") else None


def _literals(body: str) -> Any:
    """The lists, objects and texts assigned somewhere in source code; the only one alone."""
    found: list[Any] = []
    end = 0
    for number, assigned in enumerate(_ASSIGNED.finditer(body)):
        if number == _MOST_LITERALS:
            break
        if assigned.end() < end:
            continue  # inside the last one
        depth = end = 0
        for mark in _BRACKET.finditer(body, assigned.end()):
            depth += {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}.get(mark[0], 0)
            if depth <= 0:
                end = mark.end()
                literal = _literal(body[assigned.end() : end]) if depth == 0 else None
                if literal:
                    found.append(literal)
                break
        if not end:  # nor will another be closed
            break
    return found[0] if len(found) == 1 else found or None


def _literal(code: str) -> Any:
    if ":" in code:  # an object
        named = re.sub(r"\b(?:true|false)\b", lambda match: _CONSTANTS[match[0]], code)
        named = _KEY.sub(r"\1'\2'\3", _WORD.sub(lambda match: _WORDS[match[1]], named))
        try:
            return ast.literal_eval(named.strip("()") if named.startswith("({") else named)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pass
    listed = _WORD.sub(lambda match: _WORDS[match[1]], code).translate(_BRACES)
    listed = re.sub(r"\[\s*\||\|\s*\]", lambda match: "[" if match[0][0] == "[" else "]", listed)
    listed = listed.replace("|", ";")  # rows, as MiniZinc parts them
    # numpy prints no commas, and MATLAB ends rows by semicolons.
    spaced = re.sub(r"(?<=[\w\]'\"])\s+(?=[\w\['\"-])", ", ", listed)
    rowed = "[" + re.sub(r"\s*;\s*", "],[", spaced) + "]"
    for written in (listed, spaced, re.sub(r"\]\s*,?\s*\[", "],[", spaced), rowed):
        try:
            data = ast.literal_eval(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return _unwrapped(data)
    return None


def _unwrapped(data: Any) -> Any:
    """Without the brackets that a call such as ``array([...])`` leaves around a list."""
    while isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
        data = data[0]
    return data


__all__ = ["cells_of", "data_in", "rows_of_text"]
