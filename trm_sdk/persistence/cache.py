"""Where downloaded models are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown


def cache_folder() -> Path:
    """Return the folder of downloaded models.

    Raises
    ------
    InvalidInputError
        If ``TRM_SDK_CACHE`` begins with the home of a user that does not exist.
    """
    chosen = os.environ.get("TRM_SDK_CACHE")
    if chosen:
        return expanded(chosen, "TRM_SDK_CACHE")
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "trm_sdk"


def expanded(path: str, what: str) -> Path:
    """Return a path whose ``~`` is a home; `what` names it in the error."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InvalidInputError(f"{what} can't be {shown(path)}: there is no such home") from None
