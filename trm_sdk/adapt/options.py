"""AdaptOptions: how long and how a network learns one task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trm_sdk.options import Float, Int, Options

_Share = Annotated[Float, Field(ge=0, lt=1)]


class AdaptOptions(Options):
    """How a network is trained on the demonstrations of one task.

    Attributes
    ----------
    seconds : float
        Wall-clock time to learn in, 0.1 to 86,400. Default 30. Not counted: compiling, which the
        first call after an installation does, and answering.
    steps : int or None
        Learn for so many optimiser steps instead, whatever time that takes; then the result
        depends on the seed alone. Default None.
    clock : {"wall", "cpu"}
        Which seconds those are; "cpu" counts only those in which this process computes, for
        measurements on a busy machine. Default "wall".
    seed : int
        Default 0.
    unit : int
        Nodes (cells times colours) a step, in whole demonstrations. Default 300.
    turns : bool
        Let every second run learn the demonstrations in all eight orientations. Default True.
    learning_rate, weight_decay : float
        Of AdamW. Defaults 0.004 and 0.05.
    lasso : float
        How strongly the vectors that tell colours apart are drawn to zero (group lasso). Default 1.
    relation_dropout : float
        Probability that a step does without neighbours, without lines, or without pools of whole
        grids. Default 0.25.
    max_age : int
        Steps from the start after which a state is dropped, at most. Default 6.
    depths : tuple of int
        Steps after which an answer is read out. Default (4, 6).
    average : float
        Rate of the moving average of the weights, which are the ones that answer. Default 0.98.
    settled : int
        Snapshots in a row that reproduce all demonstrations, after which learning starts anew with
        other initial weights. Default 5.
    snapshot_steps : int
        Steps between snapshots, at most. Default 250.
    snapshots : int
        Snapshots that the budget is long enough for, at least. Default 24.

    Raises
    ------
    ConfigError
        Naming the field, the value and what is accepted.
    """

    seconds: Float = Field(default=30.0, ge=0.1, le=86_400)
    steps: Int | None = Field(default=None, ge=1, le=10_000_000)
    clock: Literal["wall", "cpu"] = "wall"
    seed: Int = Field(default=0, ge=0)
    unit: Int = Field(default=300, ge=1)
    turns: bool = Field(default=True, strict=True)
    learning_rate: Float = Field(default=0.004, gt=0, le=1)
    weight_decay: Float = Field(default=0.05, ge=0, le=1)
    lasso: Float = Field(default=1.0, ge=0)
    relation_dropout: _Share = 0.25
    max_age: Int = Field(default=6, ge=1, le=64)
    depths: tuple[Annotated[Int, Field(ge=1, le=64)], ...] = Field(default=(4, 6), min_length=1)
    average: _Share = 0.98
    settled: Int = Field(default=5, ge=1)
    snapshot_steps: Int = Field(default=250, ge=1)
    snapshots: Int = Field(default=24, ge=1)


__all__ = ["AdaptOptions"]
