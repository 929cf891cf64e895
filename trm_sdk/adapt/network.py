"""The network that learns one task: nodes are (example, colour, cell), in numpy and numba.

It is a TRM of two latents, `y` (the answer) and `z`, that share one block, and its weights depend
neither on the size of a grid nor on which colour is which. `trm_sdk.model.structured` can't express
it, for there a node belongs to one board with one set of values; here colours are those that occur
in the task, every example has a size of its own, input and output are two layers of one node, and
the task itself is in weights of its own (`TASK`).

A task is learned in half a minute from about a thousand nodes a step. At that size PyTorch spends
most of a step between its operations, so here the loops are numba's, the products numpy's, and the
gradients written out; the tests compare them with finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.adapt import kernels
from trm_sdk.adapt.kernels import HIDDEN, POOLED, SEEN, WIDTH
from trm_sdk.adapt.nodes import Batch

Float32 = npt.NDArray[np.float32]

#: Width of the vectors of pairs of colours before they are projected.
PAIR = 4
#: Logits by which the input speaks for itself at the start: copying it is the prior.
COPY = 4.0
#: Weights that hold the task; they start at zero.
TASK = ("task", "colours", "pairs")
#: Relations that `Network.relations` can leave out for a step, and the weights they live in.
RELATIONS = ("offsets", "lines", "grids")


class Sizes(NamedTuple):
    """What the shapes of the weights depend on.

    Attributes
    ----------
    colours : int
        That occur in the task.
    features : int
        Of a node; see `nodes.Batch.features`.
    views : int
        Of the input; see `nodes.Batch.views`.
    """

    colours: int
    features: int
    views: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each weight, by name, in the order of `Network.flat`."""
        both = 2 * HIDDEN
        return {
            "embed": (self.features, WIDTH),
            "y": (WIDTH,),
            "z": (WIDTH,),
            "seen": (SEEN, both),
            "directions": (8, WIDTH),
            "lines": (POOLED, both),
            "lines_apart": (POOLED, both),
            "cells": (POOLED, both),
            "grids": (POOLED, both),
            "everything": (POOLED, both),
            "bias": (both,),
            "down": (HIDDEN, WIDTH),
            "head": (WIDTH, 1),
            "head_bias": (1,),
            "copy": (self.views,),
            "pair_projection": (PAIR, WIDTH),
            "task": (WIDTH,),
            "colours": (self.colours, WIDTH),
            "pairs": (self.colours + 1, self.colours, PAIR),
        }


class Weights:
    """All weights in one flat array, and views of it by name."""

    def __init__(self, sizes: Sizes, flat: Float32 | None = None) -> None:
        shapes = sizes.shapes()
        total = sum(math.prod(shape) for shape in shapes.values())
        self.sizes = sizes
        self.flat = np.zeros(total, np.float32) if flat is None else flat
        if self.flat.shape != (total,):
            raise ValueError(f"weights of {sizes} are {total} numbers; got {self.flat.shape}")
        self.by_name: dict[str, Float32] = {}
        start = 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            self.by_name[name] = self.flat[start:end].reshape(shape)
            start = end

    def __getitem__(self, name: str) -> Float32:
        return self.by_name[name]

    def copy(self) -> Weights:
        """Return weights of their own with the same values."""
        return Weights(self.sizes, self.flat.copy())

    @classmethod
    def initial(cls, sizes: Sizes, rng: np.random.Generator, copy: Float32) -> Weights:
        """Draw weights to start from.

        Directional ones start at zero, as does everything that tells one task from another: what
        the demonstrations do not ask for stays out.

        Parameters
        ----------
        sizes : Sizes
        rng : numpy Generator
        copy : float32 array of shape (views,)
            How far each view of the input is copied at the start, 1 for fully.
        """
        made = cls(sizes)

        def draw(name: str, std: float) -> None:
            made[name][...] = std * rng.standard_normal(made[name].shape, np.float32)

        # Six relations add up in a block.
        inside = 1 / math.sqrt(6 * WIDTH)
        draw("embed", 0.3)
        draw("y", 1.0)
        draw("z", 1.0)
        draw("seen", inside)
        made["seen"][WIDTH : 3 * WIDTH] *= 0.5
        made["seen"][3 * WIDTH :] = 0
        draw("directions", 0.5)
        for name in ("lines", "cells", "grids", "everything"):
            draw(name, inside / math.sqrt(2))
        draw("down", 1 / math.sqrt(HIDDEN))
        draw("head", 0.15)
        draw("pair_projection", 0.5)
        made["copy"][:] = copy
        return made


def _five(arrays: Iterable[Any]) -> tuple[Any, Any, Any, Any, Any]:
    row, column, cell, grid, everything = arrays
    return row, column, cell, grid, everything


class _Tape:
    """What a pass of the block leaves for the way back, in arrays that are used again."""

    def __init__(self, batch: Batch) -> None:
        n = batch.nodes
        self.seen = np.empty((n, SEEN), np.float32)
        self.pools = {
            "rows": np.empty((batch.rows, POOLED), np.float32),
            "columns": np.empty((batch.columns, POOLED), np.float32),
            "cells": np.empty((batch.cells, POOLED), np.float32),
            "grids": np.empty((batch.grids, POOLED), np.float32),
            "everything": np.empty((batch.examples, POOLED), np.float32),
        }
        self.tops = _five(np.empty((len(one), WIDTH), np.int32) for one in self.pools.values())
        self.split = _five(one.reshape(-1, 2, WIDTH) for one in self.pools.values())
        self.x = np.empty((n, WIDTH), np.float32)
        self.u = np.empty((n, 2 * HIDDEN), np.float32)
        self.hidden = np.empty((n, HIDDEN), np.float32)
        self.out = np.empty((n, WIDTH), np.float32)
        self.scale = np.empty(n, np.float32)


class Workspace:
    """Arrays for one batch: a tape for each pass of a step, and scratch for the way back."""

    def __init__(self, batch: Batch, passes: int) -> None:
        n, both = batch.nodes, 2 * HIDDEN
        self.tapes = [_Tape(batch) for _ in range(passes)]
        self.e = np.empty((n, WIDTH), np.float32)
        self.logits = np.empty(n, np.float32)
        self.change = np.empty((n, WIDTH), np.float32)
        self.d_u = np.empty((n, both), np.float32)
        self.d_seen = np.empty((n, SEEN), np.float32)
        self.d_hidden = np.empty((n, HIDDEN), np.float32)
        self.d_x = np.empty((n, WIDTH), np.float32)
        self.d_logits = np.empty(n, np.float32)
        self.d_sums = [
            np.empty((rows, both), np.float32)
            for rows in (batch.rows, batch.columns, batch.cells, batch.grids)
        ]


class Network:
    """Runs and differentiates the network.

    Parameters
    ----------
    weights : Weights
    inner : int
        Times that z is refined before y is, in a step. Default 2.
    """

    def __init__(self, weights: Weights, inner: int = 2) -> None:
        self.weights, self.inner = weights, inner
        self.gradient = Weights(weights.sizes)
        self.on: Mapping[str, bool] = dict.fromkeys(RELATIONS, True)

    # --- forwards ------------------------------------------------------------------------------

    def prepare(self, on: Mapping[str, bool] | None = None) -> None:
        """Work out what a step needs of the weights; to be called whenever they have changed.

        Parameters
        ----------
        on : mapping from name of a relation to bool, optional
            Those of `RELATIONS` to use in this step. Default all.
        """
        weights = self.weights
        self.on = dict.fromkeys(RELATIONS, True) if on is None else on
        self._seen = weights["seen"]
        if not self.on["offsets"]:
            self._seen = self._seen.copy()
            self._seen[WIDTH:] = 0
        lines = np.float32(self.on["lines"])
        self._rows = (weights["lines"] + weights["lines_apart"]) * lines
        self._columns = (weights["lines"] - weights["lines_apart"]) * lines
        grids = np.float32(self.on["grids"])
        self._grids, self._everything = weights["grids"] * grids, weights["everything"] * grids
        self._pairs = weights["pairs"] @ weights["pair_projection"]
        self._vectors = weights["colours"] + weights["task"]

    def embed(self, batch: Batch, work: Workspace) -> Float32:
        """Return the embedding of the inputs, float32 of shape (nodes, WIDTH)."""
        np.matmul(batch.features, self.weights["embed"], out=work.e)
        layout = (batch.counts, batch.areas, batch.members, batch.sources)
        kernels.condition(work.e, *layout, self._vectors, self._pairs)
        return work.e

    def start(self, batch: Batch) -> tuple[Float32, Float32]:
        """Return the initial y and z, float32 of shape (nodes, WIDTH) each."""
        y = np.broadcast_to(self.weights["y"], (batch.nodes, WIDTH)).copy()
        z = np.broadcast_to(self.weights["z"], (batch.nodes, WIDTH)).copy()
        return y, z

    def step(self, batch: Batch, work: Workspace, y: Float32, z: Float32) -> None:
        """Take one step from y and z, with `work.e`; the new ones stand in the last two tapes."""
        tapes = work.tapes
        for tape in tapes[: self.inner]:
            np.add(y, z, out=tape.x)
            tape.x += work.e
            self._block(batch, work, tape)
            z = tape.out
        np.add(y, z, out=tapes[self.inner].x)
        self._block(batch, work, tapes[self.inner])

    def _block(self, batch: Batch, work: Workspace, tape: _Tape) -> None:
        weights, pools = self.weights, tape.pools
        layout = (batch.counts, batch.heights, batch.widths)
        kernels.see(tape.x, *layout, weights["directions"], tape.seen, *tape.split, *tape.tops)
        np.matmul(tape.seen, self._seen, out=tape.u)
        grids = (pools["everything"] @ self._everything + weights["bias"]).repeat(batch.counts, 0)
        grids += pools["grids"] @ self._grids
        kernels.gate(
            tape.u,
            *layout,
            pools["rows"] @ self._rows,
            pools["columns"] @ self._columns,
            pools["cells"] @ weights["cells"],
            grids,
            tape.hidden,
        )
        np.matmul(tape.hidden, weights["down"], out=work.change)
        kernels.normalise(tape.x, work.change, tape.out, tape.scale)

    def logits(self, batch: Batch, work: Workspace) -> Float32:
        """Return the logits of each node after a step, float32 of shape (nodes,)."""
        y = work.tapes[-1].out
        np.matmul(y, self.weights["head"][:, 0], out=work.logits)
        work.logits += batch.views @ (COPY * self.weights["copy"])
        work.logits += self.weights["head_bias"]
        return work.logits

    def run(self, batch: Batch, work: Workspace, depths: tuple[int, ...]) -> list[Float32]:
        """Return the logits after each of these numbers of steps, from the start."""
        self.prepare()
        self.embed(batch, work)
        y, z = self.start(batch)
        found = []
        for step in range(1, max(depths) + 1):
            self.step(batch, work, y, z)
            y[:] = work.tapes[-1].out
            z[:] = work.tapes[-2].out
            if step in depths:
                found.append(self.logits(batch, work).copy())
        return found

    # --- backwards -----------------------------------------------------------------------------

    def learn(
        self, batch: Batch, work: Workspace, y: Float32, z: Float32, first: bool
    ) -> tuple[float, Float32]:
        """Take one step, and write the gradient of its loss into `gradient`.

        Parameters
        ----------
        batch : Batch
            With targets.
        work : Workspace
        y, z : float32 arrays of shape (nodes, WIDTH)
            As `start` or the step before has left them; replaced by the new ones.
        first : bool
            Whether they are the initial ones, which learn, too.

        Returns
        -------
        loss : float
        logits : float32 array of shape (nodes,)
        """
        weights, gradient = self.weights, self.gradient.by_name
        self.gradient.flat[:] = 0
        self.embed(batch, work)
        self.step(batch, work, y, z)
        logits = self.logits(batch, work)
        loss = kernels.cross_entropy(
            logits, batch.counts, batch.areas, batch.targets, batch.shares, work.d_logits
        )
        last = work.tapes[-1]
        gradient["head"][:, 0] = work.d_logits @ last.out
        gradient["head_bias"][0] = work.d_logits.sum()
        gradient["copy"][:] = COPY * (work.d_logits @ batch.views)
        d_out = np.outer(work.d_logits, weights["head"][:, 0])
        self._block_back(batch, work, last, d_out)
        d_y = work.d_x.copy()
        d_e = np.zeros_like(d_y)
        d_z = work.d_x.copy()
        for tape in reversed(work.tapes[:-1]):
            self._block_back(batch, work, tape, d_z)
            d_z[:] = work.d_x
            d_y += d_z
            d_e += d_z
        if first:
            gradient["y"][:] = d_y.sum(0)
            gradient["z"][:] = d_z.sum(0)
        self._embed_back(batch, d_e)
        y[:] = last.out
        z[:] = work.tapes[-2].out
        return loss, logits

    def _block_back(self, batch: Batch, work: Workspace, tape: _Tape, d_out: Float32) -> None:
        """Write the gradient of a block's input into `work.d_x`, and add those of its weights."""
        weights, gradient, pools = self.weights, self.gradient.by_name, tape.pools
        layout = (batch.counts, batch.heights, batch.widths)
        kernels.normalise_back(d_out, tape.out, tape.scale, work.d_x)
        np.matmul(work.d_x, weights["down"].T, out=work.d_hidden)
        gradient["down"] += tape.hidden.T @ work.d_x
        kernels.gate_back(tape.u, *layout, work.d_hidden, work.d_u, *work.d_sums)
        by_row, by_column, by_cell, by_grid = work.d_sums
        d_seen_weights = tape.seen.T @ work.d_u
        if not self.on["offsets"]:
            d_seen_weights[WIDTH:] = 0
        gradient["seen"] += d_seen_weights
        np.matmul(work.d_u, self._seen.T, out=work.d_seen)
        by_example = np.add.reduceat(by_grid, np.cumsum(batch.counts) - batch.counts)
        gradient["bias"] += by_example.sum(0)
        gradient["cells"] += pools["cells"].T @ by_cell
        if self.on["lines"]:
            d_rows, d_columns = pools["rows"].T @ by_row, pools["columns"].T @ by_column
            gradient["lines"] += d_rows + d_columns
            gradient["lines_apart"] += d_rows - d_columns
        if self.on["grids"]:
            gradient["grids"] += pools["grids"].T @ by_grid
            gradient["everything"] += pools["everything"].T @ by_example
        kernels.see_back(
            tape.x,
            *layout,
            weights["directions"],
            work.d_seen,
            (by_row @ self._rows.T).reshape(-1, 2, WIDTH),
            (by_column @ self._columns.T).reshape(-1, 2, WIDTH),
            (by_cell @ weights["cells"].T).reshape(-1, 2, WIDTH),
            (by_grid @ self._grids.T).reshape(-1, 2, WIDTH),
            (by_example @ self._everything.T).reshape(-1, 2, WIDTH),
            *tape.tops,
            work.d_x,
            gradient["directions"],
        )

    def _embed_back(self, batch: Batch, d_e: Float32) -> None:
        weights, gradient = self.weights, self.gradient.by_name
        gradient["embed"][...] = batch.features.T @ d_e
        d_pairs = np.empty((*weights["pairs"].shape[:2], WIDTH), np.float32)
        layout = (batch.counts, batch.areas, batch.members, batch.sources)
        kernels.condition_back(d_e, *layout, gradient["colours"], d_pairs)
        gradient["task"][:] = gradient["colours"].sum(0)
        gradient["pairs"][...] = d_pairs @ weights["pair_projection"].T
        flat = d_pairs.reshape(-1, WIDTH)
        gradient["pair_projection"][...] = weights["pairs"].reshape(-1, PAIR).T @ flat


__all__ = ["RELATIONS", "TASK", "Network", "Sizes", "Weights", "Workspace"]
