"""What a model costs by its operations: floating-point work, and memory."""

from __future__ import annotations

import torch

from training.objective import Supervision
from training.recipe import Recipe
from trm_sdk.model.cost import Work, work
from trm_sdk.model.recursion import TRM


def optimiser_step(recipe: Recipe, one: Work, depth: tuple[int, int], history: float) -> float:
    """Operations of an optimiser step.

    Parameters
    ----------
    recipe : Recipe
    one : Work
    depth : (H_cycles, L_cycles)
    history : float
        Supervision steps without gradient before the differentiated ones.
    """
    objective = recipe.objective
    differentiated = objective.grad_steps * one.step(*depth, objective.grad_cycles)
    return recipe.batch_size * (differentiated + history * one.step(*depth, 0, loss=False))


def mean_step(recipe: Recipe) -> float:
    """Operations of an optimiser step at the model's full depth, on average over its history."""
    model, objective = recipe.model, recipe.objective
    history = 0.0
    if objective.scheme == "last-step":
        history = (objective.min_steps + objective.max_steps) / 2 - objective.grad_steps
    depth = (model.H_cycles, model.L_cycles)
    return optimiser_step(recipe, work(recipe.spec().model), depth, history)


def memory(recipe: Recipe) -> dict[str, int]:
    """Bytes that training needs, by what for; activations are those without compiling, at most.

    Activations are what autograd keeps for the backward pass of one micro-batch, counted by
    running one puzzle on the meta device.
    """
    dtype = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        holders.append(tensor)  # or its storage's address would be used again
        return tensor

    holders: list[torch.Tensor] = []
    with torch.device("meta"):
        model = TRM(recipe.spec().model)
        tokens = torch.ones(1, model.config.seq_len, dtype=torch.int32)
        state = model.initial_state(1)
        fresh = torch.ones(1, dtype=torch.bool)
        supervision = Supervision(model, recipe.objective, dtype)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            supervision(tokens, tokens, *state, fresh, torch.empty(0))
    weights = 4 * sum(p.numel() for p in model.parameters())
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    activations = sum(size for key, size in kept.items() if key not in own)
    states = 2 * state.y.numel() * dtype.itemsize
    return {
        "weights, gradients, average": 3 * weights,
        "optimiser": (1 if recipe.optimizer.name == "muon" else 2) * weights,
        "carried states": recipe.batch_size * states,
        "activations, at most": (recipe.micro_batch or recipe.batch_size) * activations,
    }
