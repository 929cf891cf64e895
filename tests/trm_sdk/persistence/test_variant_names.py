"""Names of domains stand for the bundled model that solves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trm_sdk.domains import get_domain, registry
from trm_sdk.domains.sudoku.variants import Windoku
from trm_sdk.errors import InvalidInputError
from trm_sdk.persistence.variants import list_variants, model_for


class _Own(Windoku):
    """A domain of someone else's, solved by a bundled model."""

    _family = "own"


def _broken() -> Windoku:
    raise InvalidInputError("not today")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "own", _Own)
    monkeypatch.setitem(registry._registered, "broken", _broken)
    monkeypatch.setattr(registry, "_made", {})


def test_domains_say_which_model_solves_them(registered: None) -> None:
    names = ("jigsaw", "own", "sudoku-x", "windoku")
    assert list_variants() == dict.fromkeys(names, "sudoku")


def test_a_name_opens_that_model_for_that_domain(registered: None) -> None:
    assert model_for("own") == ("sudoku", get_domain("own"))
    for name in ("sudoku-6x6", "jigsaw-4x4"):  # on boards of another size
        assert model_for(name) == ("sudoku", get_domain(name))
    for name in ("sudoku", "sudoku-4x4", "sudoku-20x20", "arc", "broken", "nothing"):
        assert model_for(name) == (name, None)
    given = get_domain("windoku")
    assert model_for("own", given) == ("own", given)


def test_what_lies_on_the_disk_comes_before_the_name_of_a_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_for("windoku")[0] == "sudoku"
    (tmp_path / "windoku").mkdir()
    assert model_for("windoku") == ("windoku", None)
    assert model_for(Path("jigsaw")) == (Path("jigsaw"), None)
