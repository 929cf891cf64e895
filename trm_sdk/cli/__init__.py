"""``trm``: solve puzzles, watch one being solved, look at models, begin a puzzle of one's own.

Exit codes: 0, all well; 1, some puzzle was not solved, or its answer is not that of the file; 2,
bad input.
"""

from __future__ import annotations

import click

from trm_sdk.cli.bench import bench, calibrate
from trm_sdk.cli.console import ErrorHandlingGroup
from trm_sdk.cli.models import info, models
from trm_sdk.cli.new_domain import new_domain
from trm_sdk.cli.solve import solve
from trm_sdk.cli.watch import watch


@click.group(cls=ErrorHandlingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trm-sdk", prog_name="trm")
def main() -> None:
    """Solve puzzles with Tiny Recursion Models."""


for _command in (solve, watch, models, info, bench, calibrate, new_domain):
    main.add_command(_command)

__all__ = ["main"]
