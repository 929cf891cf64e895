"""Exact accuracy on held-out sets: at every supervision step, and by the rules along the way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trm_sdk.domains import Domain
from trm_sdk.domains.data import Examples
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Puzzles

from .distributed import World

#: Rows evaluated at once: small batches stay in a CPU's cache and are several times faster.
CPU_BATCH = 8
GPU_BATCH = 2048


class Accuracy(NamedTuple):
    """Exact accuracies in 0..1, one a supervision step.

    Attributes
    ----------
    last : float array (steps,)
        The whole answer is right at this step, but for cells that are padding.
    verified : float array (steps,)
        The rules confirmed an answer at this step or before: what a `Solver` gets in one attempt.
    halting : float
        Share of puzzles whose halting head is right (at 0.5) about the last answer.
    answers : int32 array (n, N)
        Each puzzle's first answer that the rules confirmed, else its last.
    confirmed : bool array (n,)
        The rules confirmed an answer.
    """

    last: npt.NDArray[np.float64]
    verified: npt.NDArray[np.float64]
    halting: float
    answers: npt.NDArray[np.int32]
    confirmed: npt.NDArray[np.bool_]


@torch.inference_mode()
def evaluate(
    model: TRM, examples: Examples, domain: Domain, steps: int, world: World | None = None
) -> Accuracy:
    """Exact accuracy of a model over a set.

    Parameters
    ----------
    model : TRM
        On the device to use.
    examples : Examples
    domain : Domain
    steps : int
        Supervision steps.
    world : World, optional
        Processes that share the work; each gets the whole result.
    """
    world = world or World()
    device = next(model.parameters()).device
    board = examples.shape if model.config.any_size else None
    size = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    exact = np.zeros((steps, len(examples.tokens)), dtype=bool)
    verified = np.zeros_like(exact)
    halting = np.zeros(len(examples.tokens), dtype=bool)
    kept = np.zeros(examples.tokens.shape, dtype=np.int32)
    # Batches are dealt out in turn; a process's result is zero where another one works.
    for start in range(world.rank * size, len(examples.tokens), size * world.size):
        rows = slice(start, start + size)
        some = examples.rows(rows)
        puzzles = Puzzles.of(some, model.config, device=device)
        x = model.network.embed(puzzles.tokens, puzzles.identifiers)
        state: State = model.initial_state(len(some.tokens), board)
        for step in range(steps):
            state = model.recurse(x, state)
            logits, halt_logit = model.network.readout(state.y)
            answers = model.answer(puzzles.tokens, logits).flatten(1).cpu().numpy()
            exact[step, rows] = ((answers == some.answers) | ~some.mask).all(1)
            verdict = exact[step, rows]
            if domain.has_rules:
                verdict = domain.verify_tokens(some.tokens, answers, examples.shape)
            verified[step, rows] = verdict | verified[max(step - 1, 0), rows]
            settled = verified[step - 1, rows] if step else np.zeros(len(some.tokens), dtype=bool)
            kept[rows] = np.where(settled[:, None], kept[rows], answers)
        halting[rows] = (halt_logit.cpu().numpy() > 0) == exact[-1, rows]
    exact, verified, halting, kept = (
        world.sum(torch.from_numpy(part.astype(np.int32)).to(device)).cpu().numpy()
        for part in (exact, verified, halting, kept)
    )
    return Accuracy(
        exact.mean(1), verified.mean(1), float(halting.mean()), kept, verified[-1].astype(bool)
    )


def summary(accuracies: dict[str, Accuracy]) -> dict[str, float]:
    """Three figures a set."""
    result: dict[str, float] = {}
    for name, accuracy in accuracies.items():
        result[f"{name}/last"] = round(float(accuracy.last[-1]), 4)
        result[f"{name}/verified"] = round(float(accuracy.verified[-1]), 4)
        result[f"{name}/halting"] = round(accuracy.halting, 4)
    return result
