"""Command lines answer bad input with one line and exit code 2, never with a traceback."""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

import click

from trm_sdk.errors import TRMError


class InputError(click.ClickException):
    """One line on standard error, and exit code 2."""

    exit_code = 2


class _ErrorHandling(click.Command):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TRMError as error:
            raise InputError(str(error)) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly where nobody reads on
                raise
            _drop_output()
            raise InputError(str(error)) from None


def _drop_output() -> None:
    """Discard output that can't be written; the interpreter would try again, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = io.StringIO()


class ErrorHandlingCommand(_ErrorHandling):
    """Click command that turns each `TRMError` and `OSError` into one line and exit code 2."""


class ErrorHandlingGroup(_ErrorHandling, click.Group):
    """Click group that does so for all of its commands."""
