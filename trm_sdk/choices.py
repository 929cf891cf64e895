"""Named choices that the API, the command lines and the service offer alike; free to import."""

from __future__ import annotations

from typing import Literal

#: How later attempts differ from the first; see `SolveOptions`.
Explore = Literal["none", "noise", "symmetry", "guess", "tree"]
#: What runs a model; see `Solver.from_pretrained`.
RuntimeName = Literal["auto", "onnx", "torch"]
#: What PyTorch computes matrix products in; see `TorchRuntime`.
Precision = Literal["float32", "bfloat16"]
