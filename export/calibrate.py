"""Ranges of activations for ``int8s``, from the states that a model's recursion really visits.

A recursive network's activations change from step to step: ranges taken from the first step alone
would clip what the tenth one needs. So the float32 graph itself is run from the start, step after
step, and what goes into each linear layer is looked at in every pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from trm_sdk.persistence.spec import ModelSpec

from .builder import Array
from .graph import observed_graph
from .puzzles import Puzzles
from .quantize import affine
from .sessions import run_session, session

#: Numbers of each layer's input kept of each run of the graph, drawn at random.
_KEPT = 2048
#: Shares of the full range that are tried.
_SHARES = np.linspace(0.2, 1.0, 33)

Ranges = dict[str, tuple[float, float]]


def calibrate(
    spec: ModelSpec,
    weights: Mapping[str, Array],
    puzzles: Sequence[Puzzles],
    *,
    steps: int | None = None,
    seed: int = 0,
) -> Ranges:
    """Return for each linear layer the input range that loses least when cut into 255 levels.

    Parameters
    ----------
    weights : mapping from name to float32 array
    puzzles : sequence of Puzzles
        To solve; a few dozen are plenty.
    steps : int, optional
        Supervision steps of each; default the model's own, at most 16.
    seed : int
        Of the numbers that are kept to compare ranges by.

    Returns
    -------
    dict from a layer's PyTorch name, without ``network.`` and ``.weight``, to (lowest, highest)

    Raises
    ------
    ExportError
        If the graph does not run.
    """
    graph, inputs = observed_graph(spec, weights)
    run = session(graph)
    state = ["next_y", "next_z"]
    observed = list(dict.fromkeys(value for values in inputs.values() for value in values))
    rng = np.random.default_rng(seed)
    kept: dict[str, list[Array]] = {layer: [] for layer in inputs}
    limits = dict.fromkeys(inputs, (0.0, 0.0))
    for feed in _one_by_one(spec, puzzles):
        y, z = feed.pop("y"), feed.pop("z")
        for _ in range(steps or min(spec.solve.max_steps, 16)):
            y, z, *seen = run_session(run, {**feed, "y": y, "z": z}, [*state, *observed])
            values = dict(zip(observed, seen, strict=True))
            for layer, names in inputs.items():
                share = max(_KEPT // len(names), 1)
                for name in dict.fromkeys(names):
                    flat = values[name].reshape(-1)
                    low, high = limits[layer]
                    limits[layer] = min(low, float(flat.min())), max(high, float(flat.max()))
                    kept[layer].append(flat[rng.integers(0, len(flat), share)])
    return {layer: _best_range(np.concatenate(kept[layer]), *limits[layer]) for layer in inputs}


def _one_by_one(spec: ModelSpec, puzzles: Sequence[Puzzles]) -> Iterator[dict[str, Array]]:
    """The inputs of a step graph for each puzzle, at its start."""
    config = spec.model
    for some in puzzles:
        for tokens, identifier in zip(some.tokens, some.rows_of_embedding(), strict=True):
            board = (tokens.shape[0], tokens.shape[1]) if config.any_size else None
            shape = config.state_shape if board is None else config.state_shape_of(board)
            state = np.zeros((1, *shape), np.float32)
            feed = {"tokens": tokens[None], "y": state, "z": state}
            if config.num_puzzle_identifiers > 1:
                feed["puzzle_identifiers"] = np.array([identifier], np.int32)
            yield feed


def _best_range(sample: Array, lowest: float, highest: float) -> tuple[float, float]:
    """The share of the full range with the smallest squared error over a sample.

    Clipping the rarest large numbers often costs less than coarser levels for all the others.
    """
    best, least = (lowest, highest), np.inf
    for share in _SHARES:
        scale, zero = affine(share * lowest, share * highest)
        codes = np.clip(np.rint(sample / scale) + zero, 0, 255)
        loss = float(np.square((codes - zero) * scale - sample).sum())
        if loss < least:
            best, least = (float(share * lowest), float(share * highest)), loss
    return best
