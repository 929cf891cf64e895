"""From checkpoint to deployable graph: ``trm-export`` and its Python API.

>>> from export import export_onnx
>>> export_onnx("runs/sudoku/best.pt", "model.onnx", mode="step")  # doctest: +SKIP
"""

from export.bundle import export_bundle
from export.errors import ExportError
from export.exporter import ExportReport, export_onnx
from export.graph import build_graph
from export.options import ExportOptions
from export.verify import Verification, verify_graph
from export.web import WebReport, export_web

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
