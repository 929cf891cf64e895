"""What a model costs by its operations: floating-point work, and memory."""

from __future__ import annotations

import itertools
import math

import torch

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.base import Shape
from trm_sdk.model.cost import Work, work
from trm_sdk.model.recursion import TRM
from trm_sdk.model.supervision import Puzzles, Supervision

from .recipe import Recipe
from .settings import OfDomain, Source


def optimiser_step(recipe: Recipe, one: Work, depth: tuple[int, int], history: float) -> float:
    """Return the operations of an optimiser step.

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
    """Return the operations of an optimiser step at full depth, on average over its history."""
    model, objective = recipe.model, recipe.objective
    history = 0.0
    if objective.scheme == "last-step":
        history = (objective.min_steps + objective.max_steps) / 2 - objective.grad_steps
    depth = (model.H_cycles, model.L_cycles)
    domain = get_domain(recipe.domain)
    cells = mean_cells(recipe, domain) / domain.seq_len
    return cells * optimiser_step(recipe, work(recipe.spec(domain).model), depth, history)


def board_of(source: Source, domain: Domain) -> Shape:
    """Return the shape of a source's boards; for a file, the domain's usual one."""
    if isinstance(source, OfDomain):
        made_by = source.made_by(domain)
        return made_by.shape_of(made_by.generator_options(source.options))
    return domain.shape


def mean_cells(recipe: Recipe, domain: Domain) -> float:
    """Return the mean number of cells of a board over the run's schedule."""
    times = sorted({time for source in recipe.data for time in (source.start, source.end)} | {0, 1})
    total = 0.0
    for start, end in itertools.pairwise(times):
        middle = (start + end) / 2
        active = [source for source in recipe.data if source.start <= middle <= source.end]
        total += (end - start) * math.prod(board_of(active[0], domain))
    return total


def largest_board(recipe: Recipe, domain: Domain) -> Shape:
    """Return the shape of the boards with the most cells."""
    return max((board_of(source, domain) for source in recipe.data), key=math.prod)


def memory(recipe: Recipe) -> dict[str, int]:
    """Return the bytes that training needs, by purpose; activations without compiling, at most.

    Activations are what autograd keeps for the backward pass of one micro-batch, counted by
    running one puzzle on the meta device.
    """
    domain = get_domain(recipe.domain)
    dtype = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        holders.append(tensor)  # or its storage's address would be used again
        return tensor

    holders: list[torch.Tensor] = []
    with torch.device("meta"):
        model = TRM(recipe.spec(domain).model)
        board = largest_board(recipe, domain)
        tokens = torch.ones(1, *model.config.token_shape_of(board), dtype=torch.int32)
        flat, none = tokens.flatten(1), torch.zeros(1, dtype=torch.int32)
        puzzles = Puzzles(tokens, flat, none, torch.ones_like(flat, dtype=torch.bool))
        state = model.initial_state(1, board if model.config.any_size else None)
        fresh = torch.ones(1, dtype=torch.bool)
        supervision = Supervision(model, recipe.objective.supervision(), dtype)
        with (
            torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            supervision(puzzles, state, fresh)
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
