"""`trm new-domain`: a package with a puzzle of your own, ready to edit."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown

#: Template, and the name of the file that it becomes.
_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "module.py.txt": "$module.py",
    "recipe.yaml.txt": "$module.yaml",
    "test.py.txt": "test_$module.py",
}


@click.command("new-domain", short_help="Write a package for a puzzle of your own.")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to write it.  [default: ./NAME]"
)
def new_domain(name: str, folder: Path | None) -> None:
    """Write a package with a puzzle of your own: module, recipe and test, which pass as they stand.

    NAME is what its models will be named by, such as 'futoshiki'.
    """
    words = _checked(name)
    folder = Path(name) if folder is None else folder
    for path in _write(folder, words):
        click.echo(path)
    click.echo(f"\nnext: cd {folder} && pip install -e . && python -m pytest")


def _checked(name: str) -> dict[str, str]:
    """The words that the templates need, of a name that can be a package's and a module's."""
    from trm_sdk.domains.registry import available_domains

    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*", name) or len(name) > 50:
        raise InvalidInputError(
            "a domain's name must be lower-case letters and digits, with dashes between words, as "
            f"'number-place'; got {shown(name)}"
        )
    module = name.replace("-", "_")
    families = {known.partition("-{")[0] for known in available_domains()}
    if name in families:
        raise InvalidInputError(f"there is a domain named {shown(name)} already")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module == "trm_sdk":
        raise InvalidInputError(f"{shown(module)} is a reserved name in Python; choose another one")
    title = name.replace("-", " ").capitalize()
    class_name = "".join(word.capitalize() for word in name.split("-"))
    return {"name": name, "module": module, "class_name": class_name, "title": title}


def _write(folder: Path, words: dict[str, str]) -> list[Path]:
    """Write the package, refusing to write over anything."""
    texts = {
        folder / Template(target).substitute(words): Template(
            (files("trm_sdk.cli") / "template" / source).read_text(encoding="utf-8")
        ).substitute(words)
        for source, target in _FILES.items()
    }
    for path in texts:
        if path.exists():
            raise InvalidInputError(f"{path} exists; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


__all__ = ["new_domain"]
