"""How boards come in where a domain says nothing else: text of symbols, arrays, nested lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trm_sdk.domains.cells import cells_of, rows_of_text
from trm_sdk.domains.vocabulary import Role
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown, times

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain


def read_symbols(domain: Domain, text: str) -> Grid:
    """Read one symbol a cell, on one line or a line a row; see `Domain.read`.

    Raises
    ------
    InvalidInputError
    """
    lines = text.lstrip("\ufeff").splitlines()
    if domain.vocabulary.value_of(" ") is None:
        lines = ["".join(line.split()) for line in lines]
    lines = [line for line in lines if line]
    if not lines:
        raise InvalidInputError(f"no cells in the text {shown(text)}")
    rows = [[_value(domain, character, text) for character in line] for line in lines]
    if len(rows) == 1 and len(rows[0]) == domain.seq_len:
        return Grid(np.array(rows).reshape(domain.shape))
    if len({len(row) for row in rows}) > 1:
        raise InvalidInputError(
            f"rows must be of equal length; got {[len(row) for row in rows]} in {shown(text)}"
        )
    return Grid(rows)


def _value(domain: Domain, character: str, text: str) -> int:
    value = domain.vocabulary.value_of(character)
    if value is None:
        raise InvalidInputError(
            f"unexpected character {character!r} in {shown(text)}; a cell of {domain.name} is "
            f"one of {domain.vocabulary.readable()!r}"
        )
    return value


def grid_of(domain: Domain, value: object) -> Grid:
    """Return a board in any form that `Domain.parse` takes but a task; text is read by the domain.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(value, Grid):
        return value
    if isinstance(value, str):
        return domain.read(value)
    if isinstance(value, (bytes, bytearray, dict, set)) or value is None:
        raise InvalidInputError(
            "a puzzle must be a Task, a Grid, a str, or an array of integers; "
            f"got {type(value).__name__}"
        )
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(object), None)  # what is hidden is an empty cell
    rows = rows_of_text(value)
    if rows is not None:
        return domain.read("\n".join(rows))
    array = cells_of(value, domain.vocabulary)
    # One row or column of a table, or a batch of one board.
    if array.size == domain.seq_len and sum(size > 1 for size in array.shape) == 1:
        array = array.reshape(domain.shape)
    elif array.ndim > 2 and array.squeeze().ndim == 2:
        array = array.squeeze()
    return Grid(array)


def check_grid(domain: Domain, grid: Grid, roles: Sequence[Role], what: str) -> None:
    """Refuse a board of a shape that the domain does not take, or with values of other roles.

    Parameters
    ----------
    what : str
        What the board is, for the error: "a puzzle".

    Raises
    ------
    InvalidInputError
    """
    if grid.shape != domain.shape and not domain.any_size:
        raise InvalidInputError(
            f"{domain.name} takes boards of {times(domain.shape)}; got {times(grid.shape)}"
        )
    vocabulary = domain.vocabulary
    allowed = {token - vocabulary.first for role in roles for token in vocabulary.having(role)}
    others = set(grid.cells.reshape(-1).tolist()) - allowed  # five times as fast as np.isin
    if others:
        row, column = np.argwhere(np.isin(grid.cells, list(others)))[0].tolist()
        names = vocabulary.value_names()
        accepted = ", ".join(f"{value} ({names[value]})" for value in sorted(allowed))
        raise InvalidInputError(
            f"{what} of {domain.name} holds {accepted}; got {grid[row, column]} in row {row + 1}, "
            f"column {column + 1}"
        )


__all__ = ["check_grid", "grid_of", "read_symbols"]
