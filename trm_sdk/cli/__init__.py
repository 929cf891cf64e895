"""``trm``: solve puzzles, watch one being solved, describe models, start a puzzle of your own.

Exit codes: 0, success; 1, a puzzle was not solved, or its answer differs from the file's; 2, bad
input.
"""

from __future__ import annotations

import click

from trm_sdk.cli.bench import bench, calibrate
from trm_sdk.cli.console import ErrorHandlingGroup
from trm_sdk.cli.models import info, models
from trm_sdk.cli.new_domain import new_domain
from trm_sdk.cli.solve import solve
from trm_sdk.cli.watch import watch


@click.group(cls=ErrorHandlingGroup)
@click.version_option(package_name="trm-sdk", prog_name="trm")
def main() -> None:
    """Solve puzzles with Tiny Recursion Models."""


for _command in (solve, watch, models, info, bench, calibrate, new_domain):
    main.add_command(_command)

__all__ = ["main"]
