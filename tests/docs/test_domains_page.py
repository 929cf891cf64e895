"""What docs/domains.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trm_sdk.domains import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "domains.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _as_an_author(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takuzu can be imported, and the registry is left as it was."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "custom_domain"))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_made", dict(registry._made))


def test_every_python_block_runs() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    assert len(blocks("python")) > 8
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"docs/domains.md, block {number}", "exec"), names)


def test_the_recipe_is_one_and_the_entry_point_names_a_domain() -> None:
    yaml = pytest.importorskip("yaml")
    from takuzu import Takuzu

    from training.recipe import parse_recipe

    registry.register_domain("takuzu-{rows}x{columns}", Takuzu)
    (text,) = blocks("yaml")
    recipe = parse_recipe(yaml.safe_load(text) | {"name": "takuzu"}, "takuzu")
    assert recipe.spec().grid_shape == (6, 6)
    (entry,) = blocks("toml")
    assert entry.strip() in (ROOT / "examples/custom_domain/pyproject.toml").read_text("utf-8")


def test_commands_are_those_that_there_are() -> None:
    from trm_sdk.cli import main

    lines = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    for command in (line for line in lines if line and line[0] == "trm"):
        known = main.commands[command[1]]
        options = {name for one in known.params for name in one.opts}
        assert {word for word in command if word.startswith("-")} <= options
