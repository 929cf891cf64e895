"""Command lines answer bad input with one line and exit code 2, never with a traceback."""

from __future__ import annotations

import errno
import io
import sys
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
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends quietly where nobody reads on
                raise
            _let_go_of_output()
            raise InputError(str(error)) from None


def _let_go_of_output() -> None:
    """Of output that can't be written, or the interpreter tries, and complains, once more."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = io.StringIO()


class ErrorHandlingCommand(_ErrorHandling):
    """A click command that turns each `TRMError` and `OSError` into one line and exit code 2."""


class ErrorHandlingGroup(_ErrorHandling, click.Group):
    """A click group that does so for all of its commands."""
