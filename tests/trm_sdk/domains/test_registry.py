"""The registry of domains: names, some with sizes, imported on first use."""

from __future__ import annotations

import numpy as np
import pytest

from trm_sdk.domains import (
    BoardDomain,
    Domain,
    Vocabulary,
    available_domains,
    get_domain,
    register_domain,
    registry,
)
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.errors import InvalidInputError
from trm_sdk.structure import columns, rows


class Latin(BoardDomain):
    vocabulary = Vocabulary.numbers(2)
    distinct = (rows(), columns())

    def __init__(self, rows: int = 2, columns: int = 2) -> None:
        self.name, self.shape = f"latin-{rows}x{columns}", (rows, columns)


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registry as it was."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_made", dict(registry._made))


def test_domains_register() -> None:
    register_domain("latin", Latin)
    domain = get_domain("latin")
    assert get_domain("latin") is domain
    assert "latin" in available_domains()
    tokens = np.tile(domain.encode(domain.parse("1...")).tokens, (2, 1))
    answers = np.array([[2, 3, 3, 2], [2, 2, 2, 2]])
    assert domain.verify_tokens(tokens, answers).tolist() == [True, False]
    with pytest.raises(InvalidInputError, match="already registered"):
        register_domain("latin", Latin)


def test_a_name_may_carry_a_size() -> None:
    register_domain("latin-{rows}x{columns}", Latin)
    assert get_domain("latin-3x12").shape == (3, 12)
    assert get_domain("sudoku-6x6").shape == (6, 6)
    for name in ("latin-0x3", "latin-3", "latin-3x3x3", "latin-٣x3", "latin-3x123456"):
        with pytest.raises(InvalidInputError, match="no domain named"):
            get_domain(name)


def test_what_a_domain_refuses_is_passed_on() -> None:
    with pytest.raises(InvalidInputError, match=r"must be square.*got 5x6"):
        get_domain("sudoku-5x6")


def test_an_unknown_domain_is_named_with_close_matches() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'sudoku'"):
        get_domain("sudko")
    with pytest.raises(InvalidInputError, match=r"sudoku-\{rows\}x\{columns\}"):
        get_domain("zzz")


def test_what_is_not_a_domain_is_refused() -> None:
    for name in (5, [], None):
        with pytest.raises(InvalidInputError, match="name must be text"):
            get_domain(name)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="name must be text"):
            register_domain(name, Sudoku)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="by a function that makes it; got None"):
        register_domain("foo", None)  # type: ignore[arg-type]
    register_domain("five", lambda: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidInputError, match="'five' does not make a Domain; got 5"):
        get_domain("five")


def test_without_symmetries_generator_or_sizes_the_error_says_so() -> None:
    domain: Domain = Latin()
    for call, named in (
        (lambda: domain.random_symmetry(np.random.default_rng(0)), "states no symmetries"),
        (lambda: domain.generate(np.random.default_rng(0)), "can't be generated"),
        (lambda: domain.resized((3, 3)), "takes boards of 2x2; got 3x3"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            call()
