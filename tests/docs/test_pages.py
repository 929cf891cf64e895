"""What the README and the pages of docs show runs as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from trm_sdk.domains import registry

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
#: Packages beside the core that a page's blocks import.
NEEDS = {"docs/domains.md": ("torch",), "docs/graphs.md": ("torch", "onnx")}
NEEDS["docs/arc.md"] = ("numba", "onnx")
NEEDS["docs/variants.md"] = ("numba",)
NEEDS["docs/how-it-works.md"] = ("torch", "onnx")
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [match[2] for match in _BLOCK.finditer(read(page)) if match[1] == language]


def program(text: str) -> str:
    """The Python blocks of a page, each at the lines where it stands in the page."""
    lines = [""] * len(text.splitlines())
    for match in _BLOCK.finditer(text):
        if match[1] == "python":
            start = text.count("\n", 0, match.start(2))
            for number, line in enumerate(match[2].splitlines()):
                lines[start + number] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_blocks_of_a_page_run_one_after_another(page: str, tmp_path: Path) -> None:
    for package in NEEDS.get(page, ()):
        pytest.importorskip(package)
    script = tmp_path / f"{Path(page).stem}_blocks.py"
    script.write_text(program(read(page)), encoding="utf-8")
    places = [str(ROOT), str(ROOT / "examples" / "custom_domain")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}, at the lines of the page:\n{done.stderr}"


def test_a_wrong_block_is_noticed_at_its_line() -> None:
    text = "one\n```python\nx = 1\n```\n```sh\nls\n```\n```python\nassert x == 2\n```\n"
    assert program(text).splitlines()[2] == "x = 1"
    assert program(text).splitlines()[8] == "assert x == 2"
    assert "ls" not in program(text)


def test_most_pages_show_code() -> None:
    assert sum(bool(blocks(page, "python")) for page in PAGES) >= 7
    assert len(blocks("docs/domains.md", "python")) > 8


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")])
def test_commands_and_their_options_exist(page: str) -> None:
    from trm_sdk.cli import main

    groups: dict[str, click.Command] = {"trm": main}
    try:
        from export.cli import main as export_main
        from training.fit import main as fit

        groups |= {"trm-export": export_main, "trm-fit": fit}
    except ImportError:
        pass  # without PyTorch: those of `trm` alone
    for command in _commands(page):
        if command[0] not in groups or len(command) == 1:
            continue
        known, words = groups[command[0]], command[1:]
        if isinstance(known, click.Group):
            if words[0].startswith("-"):
                continue
            assert words[0] in known.commands, command
            known = known.commands[words[0]]
        options = {name for one in known.params for name in (*one.opts, *one.secondary_opts)}
        assert {word for word in words if re.match("--?[a-z]", word)} <= options | {"--help"}


def _commands(page: str) -> list[list[str]]:
    found = []
    for block in blocks(page, "sh"):
        for line in re.split(r"\n|&&|;", block.replace("\\\n", " ")):
            words = shlex.split(line, comments=True)
            for module in {"training.fit", "trm_sdk.training.fit"} & {*words}:
                words = ["trm-fit", *words[words.index(module) + 1 :]]
            if words:
                found.append([Path(words[0]).name, *words[1:]])
    return found


@pytest.mark.parametrize("page", PAGES)
def test_recipes_that_a_page_names_are_in_the_package(page: str) -> None:
    pytest.importorskip("yaml")
    pytest.importorskip("torch")
    from training.recipe import load_recipe

    for command in _commands(page):
        if command[0] == "trm-fit" and not command[1].endswith(".yaml"):
            load_recipe(command[1], tuple(word for word in command[2:] if "=" in word))


def test_the_recipe_of_the_domains_page_is_one_and_the_entry_point_names_a_domain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yaml = pytest.importorskip("yaml")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "custom_domain"))
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.setattr(registry, "_made", dict(registry._made))
    from takuzu import Takuzu

    from training.recipe import parse_recipe

    registry.register_domain("takuzu-{rows}x{columns}", Takuzu)
    (text,) = blocks("docs/domains.md", "yaml")
    recipe = parse_recipe(yaml.safe_load(text) | {"name": "takuzu"}, "takuzu")
    assert recipe.spec().grid_shape == (6, 6)
    (entry,) = blocks("docs/domains.md", "toml")
    assert entry.strip() in (ROOT / "examples/custom_domain/pyproject.toml").read_text("utf-8")


def test_the_data_of_the_training_page_are_a_recipes() -> None:
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("torch")
    from training.recipe import parse_recipe

    mixed, own = blocks("docs/training.md", "yaml")
    recipe = parse_recipe(yaml.safe_load(mixed) | {"name": "x", "domain": "sudoku"}, "x")
    assert [source.kind for source in recipe.data] == ["generated", "file"]
    recipe = parse_recipe(yaml.safe_load(own) | {"name": "x", "domain": "arc"}, "x")
    assert [source.kind for source in recipe.data] == ["dataset"]
