"""Vocabulary: the tokens of a domain, each with a name, a symbol, a colour and its roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.validation import is_int

#: ``pad``: fills a canvas around a board. ``blank``: a cell that wants an answer. ``given``: stands
#: in the answer as it stands in the puzzle. ``answer``: may stand in an answer.
Role = Literal["pad", "blank", "given", "answer"]

#: Digits, then letters: one character for each of the values 1 to 35.
_DIGITS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BLANK, _BLANK_ALIASES = ".", "0_*?"


@dataclass(frozen=True)
class Token:
    """One token.

    Attributes
    ----------
    name : str
        As in checkpoints; unique within its vocabulary.
    symbol : str
        One character that stands for it in text.
    roles : tuple of {"pad", "blank", "given", "answer"}
        At least one; a token may be both given and answer, as Sudoku's digits are.
    colour : str or None
        ``#rrggbb`` that fills its cells in pictures; None, the default: its symbol is written.
    aliases : str
        Further characters that are read as this token. Default none.

    Raises
    ------
    InvalidInputError
        If a part is not of its form.
    """

    name: str
    symbol: str
    roles: tuple[Role, ...]
    colour: str | None = None
    aliases: str = ""

    def __post_init__(self) -> None:
        roles = (self.roles,) if isinstance(self.roles, str) else tuple(self.roles)
        object.__setattr__(self, "roles", roles)
        if not (isinstance(self.name, str) and self.name):
            raise InvalidInputError(f"a token's name must be text; got {shown(self.name)}")
        if not (isinstance(self.symbol, str) and len(self.symbol) == 1):
            raise InvalidInputError(
                f"token {self.name!r}: symbol must be one character; got {shown(self.symbol)}"
            )
        if not roles or set(roles) - set(get_args(Role)):
            raise InvalidInputError(
                f"token {self.name!r}: roles must be among {', '.join(get_args(Role))}; "
                f"got {shown(self.roles)}"
            )
        if self.colour is not None and not _is_colour(self.colour):
            raise InvalidInputError(
                f"token {self.name!r}: colour must be '#rrggbb' or None; got {shown(self.colour)}"
            )


def _is_colour(text: object) -> bool:
    digits = set("0123456789abcdefABCDEF")
    return isinstance(text, str) and len(text) == 7 and text[0] == "#" and set(text[1:]) <= digits


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a domain, in order.

    Padding comes first, and grids know nothing of it: the cell value v is token ``v + first``.

    Attributes
    ----------
    tokens : tuple of Token

    Raises
    ------
    InvalidInputError
        If there are none but padding, padding stands elsewhere than first, or two tokens share a
        name or, but for padding, a character.

    Examples
    --------
    >>> Vocabulary.numbers(4).names
    ('pad', 'empty', '1', '2', '3', '4')
    """

    tokens: tuple[Token, ...]
    _values: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        pads = ["pad" in token.roles for token in self.tokens]
        if not self.tokens or all(pads) or pads != sorted(pads, reverse=True):
            raise InvalidInputError(
                "a vocabulary must have tokens, those of padding first; "
                f"got {shown([token.name for token in self.tokens])}"
            )
        if len(set(self.names)) < len(self.tokens):
            raise InvalidInputError(f"two tokens share a name in {shown(self.names)}")
        values: dict[str, int] = {}
        for value, token in enumerate(self.tokens[self.first :]):
            for character in token.symbol + token.aliases:
                if character in values:
                    raise InvalidInputError(
                        f"the character {character!r} stands for two tokens, "
                        f"{self.tokens[values[character] + self.first].name!r} and {token.name!r}"
                    )
                values[character] = value
        object.__setattr__(self, "_values", values)

    @classmethod
    def numbers(cls, count: int) -> Vocabulary:
        """Return the vocabulary of a board of numbers: pad, empty, then 1 to `count`.

        Empty cells are written ``.`` and read from any of ``. 0 _ * ?``; the values 10 and up are
        letters from A. Every number may be given and may stand in an answer.

        Raises
        ------
        InvalidInputError
            If `count` is not an integer from 1 to 35.
        """
        if not is_int(count) or not 1 <= count <= len(_DIGITS):
            raise InvalidInputError(
                f"count must be a whole number from 1 to {len(_DIGITS)}; got {shown(count)}"
            )
        return cls(
            (
                Token("pad", " ", ("pad",)),
                Token("empty", _BLANK, ("blank",), aliases=_BLANK_ALIASES),
                *(
                    Token(str(value), digit, ("given", "answer"), aliases=_lower(digit))
                    for value, digit in enumerate(_DIGITS[:count], start=1)
                ),
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The tokens' names, in order."""
        return tuple(token.name for token in self.tokens)

    @cached_property
    def first(self) -> int:
        """Number of padding tokens: the cell value v is token ``v + first``."""
        return sum("pad" in token.roles for token in self.tokens)

    @property
    def values(self) -> int:
        """Number of values that a cell may have: 0 to ``values - 1``."""
        return len(self.tokens) - self.first

    def having(self, role: Role) -> tuple[int, ...]:
        """Return the tokens that have a role, ascending."""
        return tuple(i for i, token in enumerate(self.tokens) if role in token.roles)

    @cached_property
    def answer_tokens(self) -> tuple[int, ...]:
        """Tokens that may stand in an answer."""
        return self.having("answer")

    @cached_property
    def given_tokens(self) -> tuple[int, ...]:
        """Tokens that stand in the answer as they stand in the puzzle."""
        return self.having("given")

    @cached_property
    def answer_values(self) -> tuple[int, ...]:
        """Cell values that may stand in an answer."""
        return tuple(token - self.first for token in self.answer_tokens)

    @cached_property
    def is_given(self) -> npt.NDArray[np.bool_]:
        """Whether a token is a given one; bool of shape (tokens,), read-only."""
        mask = np.zeros(len(self.tokens), bool)
        mask[list(self.given_tokens)] = True
        mask.flags.writeable = False
        return mask

    @cached_property
    def given_values(self) -> npt.NDArray[np.bool_]:
        """Whether a cell value is a given one; bool of shape (values,), read-only."""
        return self.is_given[self.first :]

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The symbol of each cell value."""
        return tuple(token.symbol for token in self.tokens[self.first :])

    @cached_property
    def colours(self) -> tuple[str | None, ...]:
        """The fill colour of each cell value, None where its symbol is written instead."""
        return tuple(token.colour for token in self.tokens[self.first :])

    @cached_property
    def is_numbers(self) -> bool:
        """Whether cells are written as numbers are: the symbols are those of `numbers`."""
        return self.symbols == (_BLANK, *_DIGITS)[: self.values]

    def value_names(self) -> tuple[str, ...]:
        """Return the name of each cell value."""
        return self.names[self.first :]

    def value_of(self, character: str) -> int | None:
        """Return the cell value that a character stands for; None where there is none."""
        return self._values.get(character)

    def readable(self) -> str:
        """Return all characters that can be read, for error messages."""
        return "".join(self._values)

    def describe(self) -> list[dict[str, Any]]:
        """Return the tokens as plain data, for JSON."""
        return [
            {
                "name": token.name,
                "symbol": token.symbol,
                "roles": list(token.roles),
                **({"colour": token.colour} if token.colour else {}),
                **({"aliases": token.aliases} if token.aliases else {}),
            }
            for token in self.tokens
        ]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    def __getitem__(self, token: int) -> Token:
        return self.tokens[token]

    def __contains__(self, name: object) -> bool:
        return name in self.names


def _lower(character: str) -> str:
    return character.lower() if character.isalpha() else ""


def line_of(symbols: Sequence[str], values: npt.NDArray[Any]) -> str:
    """Return cell values as one line of symbols, row by row."""
    return "".join(symbols[int(value)] for value in values.flat)


__all__ = ["Role", "Token", "Vocabulary", "line_of"]
