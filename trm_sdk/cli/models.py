"""`trm models` and `trm info`: which models there are, and what one is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trm_sdk.cli.arguments import ModelName

if TYPE_CHECKING:
    from trm_sdk.persistence.spec import ModelSpec


@click.command(short_help="List the bundled models.")
def models() -> None:
    """List the models that come with the package, and the domains whose names open them."""
    from rich.console import Console
    from rich.table import Table

    from trm_sdk.persistence.checkpoint import read_spec
    from trm_sdk.persistence.hub import BUNDLED, list_pretrained
    from trm_sdk.persistence.variants import list_sized, list_variants

    opened = {name: name for name in list_pretrained()} | list_variants()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "domain", "weights of", "board", "parameters", "KB"):
        right = heading in ("parameters", "KB")
        table.add_column(heading, justify="right" if right else "left")
    for name, model in sorted(opened.items()):
        spec, graph = read_spec(BUNDLED / model), BUNDLED / model / "model.onnx"
        table.add_row(
            name,
            spec.domain if name == model else name,
            "" if name == model else model,
            _board(spec),
            _parameters(BUNDLED / model / "model.safetensors"),
            f"{graph.stat().st_size / 1000:.0f}" if graph.is_file() else "-",
        )
    Console().print(table)
    if sized := list_sized():
        click.echo(
            f"\nWith another size ({sized[-1]}-6x6), {', '.join(sized)} open the same weights; "
            "PyTorch runs\nthese boards, or `trm-export bundle` writes a model of its own for them."
        )


def _board(spec: ModelSpec) -> str:
    size = "x".join(map(str, spec.grid_shape))
    return f"{size}, or any" if spec.model.any_size else size


def _parameters(weights: Path) -> str:
    """Numbers in a file of weights, by its header alone; see the format of safetensors."""
    try:
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError):
        return "-"
    shapes = (entry["shape"] for name, entry in header.items() if name != "__metadata__")
    return f"{sum(map(math.prod, shapes)):,}"


@click.command(short_help="Describe a model.")
@click.argument("model", type=ModelName())
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(model: str, as_json: bool) -> None:
    """Show what a model is, what it was made for, and how it is run by default."""
    from trm_sdk.info import describe

    facts = describe(model)
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name}={item}" for name, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        click.echo(f"{key:<{width}}  {value}")


__all__ = ["info", "models"]
