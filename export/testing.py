"""`check_export`: whether models of a domain become graphs that answer as they do.

The second half of the conformance kit, beside `trm_sdk.testing.check_domain`, which knows nothing
of graphs. Needs the ``export`` extra.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trm_sdk.domains.base import Domain
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.solver import Solver
from trm_sdk.task import Task
from trm_sdk.testing import Samples
from trm_sdk.testing.training import tiny_model

from .exporter import export_onnx
from .options import Mode

_MODES: tuple[Mode, ...] = ("step", "loop", "unroll")
_STEPS = 2


def check_export(domain: Domain, *, tasks: Sequence[Task] = (), seed: int = 0) -> None:
    """Check that a tiny model of a domain exports in every mode, and solves alike as a graph.

    Parameters
    ----------
    domain : Domain
    tasks : sequence of Task, optional
        As for `check_domain`: needed where the domain has no generator.
    seed : int
        Of puzzles and weights. Default 0.

    Raises
    ------
    AssertionError
        If the graph's answers differ from PyTorch's.
    ExportError
        If a mode can't be exported, or its graph differs from the model.
    """
    samples = Samples.of(domain, tasks, seed)
    spec, model = tiny_model(domain, seed)
    options = SolveOptions(max_steps=_STEPS, attempts=1)
    heads = spec.solving_heads(domain)
    with tempfile.TemporaryDirectory() as folder:
        for mode in _MODES:
            steps = _STEPS if mode == "unroll" else None
            path = Path(folder) / f"{mode}.onnx"
            export_onnx((spec, model), path, mode, max_steps=steps, heads=heads)
        runtimes = (
            TorchRuntime(model, spec, device="cpu", heads=heads),
            OnnxRuntime(Path(folder) / "step.onnx", "cpu", 1),
        )
        for task in samples.tasks:
            ours, theirs = (Solver(runtime, domain).solve(task, options) for runtime in runtimes)
            same = all(
                np.array_equal(a.cells, b.cells)
                for a, b in zip(ours.answers, theirs.answers, strict=True)
            )
            assert same, (
                f"{domain.name}: a step graph must answer as PyTorch does for "
                f"{domain.to_line(task.inputs[0])!r}; got {theirs} instead of {ours}"
            )


__all__ = ["check_export"]
