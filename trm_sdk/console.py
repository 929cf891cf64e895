"""Command lines answer bad input with one line and exit code 2, never with a traceback."""

from __future__ import annotations

from typing import Any

import click

from trm_sdk.errors import TRMError


class InputError(click.ClickException):
    """A `TRMError` on its way to the terminal."""

    exit_code = 2


class _ErrorHandling(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TRMError as error:
            raise InputError(str(error)) from None


class ErrorHandlingCommand(_ErrorHandling):
    """A click command that turns every `TRMError` into one line on stderr and exit code 2."""


class ErrorHandlingGroup(_ErrorHandling, click.Group):
    """A click group that does so for all of its commands."""
