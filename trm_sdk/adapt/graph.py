"""AdaptedGraph: an exported network of one task, run by onnxruntime; needs neither numba nor torch.

The graph (`export.adapted`) takes one example: ``features`` (colours, features, rows, columns),
``members`` (colours,) and ``sources`` (rows, columns), as `nodes.Batch` has them, and the states
``y`` and ``z`` (colours, channels, rows, columns), zeros at the start. It gives ``next_y``,
``next_z`` and ``logits`` (colours, rows, columns). Its metadata hold the task.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.tasks import blank_value, task_from_json
from trm_sdk.domains import get_domain
from trm_sdk.errors import CheckpointError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import first_line, shown
from trm_sdk.runtimes.graph_file import read_graph
from trm_sdk.runtimes.ort import import_onnxruntime
from trm_sdk.task import Task
from trm_sdk.validation import checked_count, checked_threads

#: What such graphs call themselves.
MODE = "adapted-step"
_MOST_STEPS = 64


class AdaptedGraph:
    """Answers inputs of the task that a graph was made for.

    Parameters
    ----------
    path : path
        A graph written by `export.adapted.export_adapted`.
    threads : int
        CPU threads, 1 to 1024. Default 1.

    Attributes
    ----------
    task : Task
        Whose demonstrations were learned.
    steps : int
        Steps after which an answer is read out.
    accuracy : float
        Share of the demonstrations that the network reproduces.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or is not such a graph.
    InvalidInputError
        If `threads` is out of range.
    MissingDependencyError
        Without onnxruntime.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        threads = checked_threads(threads)
        ort = import_onnxruntime()
        graph = read_graph(path)
        if graph.metadata["trm_mode"] != MODE or graph.subgraphs or graph.functions:
            mode = shown(graph.metadata["trm_mode"])
            raise CheckpointError(f"{path} is a graph of mode {mode}, not of an adapted solver")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            spec = json.loads(graph.metadata["trm_spec"])
            self.task: Task = task_from_json(spec["task"])
            self.domain = get_domain(spec["domain"])
            self.steps: int = checked_count("steps", spec["steps"], _MOST_STEPS)
            self.accuracy = float(spec["accuracy"])
            self._coding = Coding(self.task, blank_value(self.domain))
            self._session: Any = ort.InferenceSession(
                graph.data, options, providers=["CPUExecutionProvider"]
            )
            sizes = {one.name: one.shape[1] for one in self._session.get_inputs()[:4:3]}
            self._width = int(sizes["y"])
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise CheckpointError(f"{path} is not a runnable graph: {first_line(error)}") from None

    def logits(self, grid: Grid, steps: int | None = None) -> Any:
        """Return the logits of an input's answer, float32 of shape (colours, rows, columns).

        Parameters
        ----------
        grid : Grid
        steps : int, optional
            1 to 64. Default `AdaptedGraph.steps`.

        Raises
        ------
        InvalidInputError
            If `steps` is out of range, or the grid is none that the task takes.
        """
        chosen = self.steps if steps is None else checked_count("steps", steps, _MOST_STEPS)
        return self._run(self._coding.batch([grid]), chosen)

    def solve(self, puzzle: object) -> Grid:
        """Return the answer to an input.

        Parameters
        ----------
        puzzle : Grid, str, or array-like
            As `Domain.parse` reads it; of a task with several inputs, the first.

        Raises
        ------
        InvalidInputError
            If it can't be read, has a colour that the task has not, or a size that the
            demonstrations give no answer for.
        """
        batch = self._coding.batch([self.domain.parse(puzzle).inputs[0]])
        logits = self._run(batch, self.steps)
        return self._coding.grids(batch, logits.ravel())[0]

    def _run(self, batch: Any, steps: int) -> Any:
        count, rows, columns = (int(one[0]) for one in (batch.counts, batch.heights, batch.widths))
        features = batch.features.reshape(count, rows, columns, -1)
        state = np.zeros((count, self._width, rows, columns), np.float32)
        feeds = {
            "features": np.ascontiguousarray(features.transpose(0, 3, 1, 2)),
            "members": batch.members,
            "sources": batch.sources.reshape(rows, columns),
            "y": state,
            "z": state,
        }
        logits = None
        try:
            for _ in range(steps):
                feeds["y"], feeds["z"], logits = self._session.run(
                    ["next_y", "next_z", "logits"], feeds
                )
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise TRMError(f"onnxruntime failed in a step: {first_line(error)}") from None
        return logits

    def __repr__(self) -> str:
        return f"<AdaptedGraph of {self.domain.name}, {self.task.name}>"


__all__ = ["MODE", "AdaptedGraph"]
