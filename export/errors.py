"""The error of a failed export; like every other of this project it derives from `TRMError`."""

from __future__ import annotations

from trm_sdk.errors import TRMError


class ExportError(TRMError, ValueError):
    """A graph can't be made as asked, or does not compute what its model computes."""
