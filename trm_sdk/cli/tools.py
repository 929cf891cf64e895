"""``trm-fit`` and ``trm-export``: scripts of the parts that have extras of their own.

Without the extra they say so in one sentence, as every command does.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from trm_sdk.errors import MissingDependencyError


def fit() -> None:
    """Run ``trm-fit``."""
    _run("trm_sdk.training.fit")


def export() -> None:
    """Run ``trm-export``."""
    _run("trm_sdk.export.cli")


def _run(module: str) -> None:
    try:
        main = import_module(module).main
    except MissingDependencyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    main()
