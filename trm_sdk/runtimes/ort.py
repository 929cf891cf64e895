"""The one place where onnxruntime is imported, with its telemetry switched off."""

from __future__ import annotations

import os
from typing import Any

from trm_sdk.errors import MissingDependencyError

#: Read by onnxruntime while it is imported.
TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Import onnxruntime without its telemetry.

    Since 1.29 onnxruntime writes a device id and a database into the user's home and contacts a
    server, and the threads that do so make a forked process abort or hang at its end. Whoever wants
    that sets ``ORT_DISABLE_TELEMETRY=0``: a value that is set is left alone.

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If onnxruntime is not installed.
    """
    os.environ.setdefault(TELEMETRY_SWITCH, "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(
            "runtime='onnx' needs onnxruntime: pip install onnxruntime (or onnxruntime-gpu)"
        ) from None
    return onnxruntime
