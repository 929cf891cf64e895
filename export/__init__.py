"""From checkpoint to deployable graph: ``trm-export`` and its Python API.

>>> from trm_sdk.export import export_onnx
>>> export_onnx("runs/sudoku/best.pt", "model.onnx", mode="step")  # doctest: +SKIP
"""

from trm_sdk.validation import require_extra

require_extra("export", "exporting", "torch", "onnx")

from .bundle import export_bundle
from .errors import ExportError
from .exporter import ExportReport, export_onnx
from .graph import build_graph
from .options import ExportOptions
from .page_folder import WebReport
from .verify import Verification, verify_graph
from .web import export_web

__all__ = [
    "ExportError",
    "ExportOptions",
    "ExportReport",
    "Verification",
    "WebReport",
    "build_graph",
    "export_bundle",
    "export_onnx",
    "export_web",
    "verify_graph",
]
