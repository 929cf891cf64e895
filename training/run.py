"""A training run in memory, and its way to disk and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training import state
from training.config import Depth, Recipe, parse_recipe
from training.data.base import Examples, make_held_out, make_stream
from training.distributed import World
from training.objective import Carry, Supervision
from training.optim import EMA, make_optimizers
from trm_sdk.checkpoint import build
from trm_sdk.domains import get_domain
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM


@dataclass
class Run:
    """A training run in memory: everything that a checkpoint holds."""

    recipe: Recipe
    model: TRM
    supervision: Supervision
    optimizers: list[torch.optim.Optimizer]
    ema: EMA
    carry: Carry
    held_out: dict[str, Examples]
    noise: torch.Generator
    world: World
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe, device: torch.device, world: World | None = None) -> Run:
        """A run at its first step; with a `World`, this process's part of it."""
        world = world or World()
        torch.manual_seed(recipe.seed)  # equal weights in every process
        domain = get_domain(recipe.domain)
        model = TRM(recipe.spec(domain).model).to(device)
        held_out = make_held_out(recipe, domain)
        stream = make_stream(recipe, domain, make_held_out(recipe, domain, whole=True))
        noise = torch.Generator(device)
        noise.manual_seed(recipe.seed)
        dtype = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
        objective, settings = recipe.objective, recipe.optimizer
        return cls(
            recipe=recipe,
            model=model,
            supervision=Supervision(model, objective, dtype),
            optimizers=make_optimizers(model, settings),
            ema=EMA(model, settings.ema, warmup=settings.ema_warmup),
            carry=Carry(model, objective, stream, recipe.batch_size, recipe.seed, world, dtype),
            held_out=held_out,
            noise=noise,
            world=world,
        )

    def state_dict(self) -> dict[str, Any]:
        """All of it, for `state.save`; to be called by every process together."""
        return {
            "spec": self.recipe.spec().to_json(),
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "ema": self.ema.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "carry": self.carry.state_dict(),
            "noise": self.noise.get_state(),
        }

    def load_state_dict(self, saved: dict[str, Any], *, new_data: bool = False) -> None:
        """Go on where `state_dict` was taken; `new_data`: with new puzzles, of the recipe's."""
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.history = saved["history"]
        self.model.load_state_dict(saved["model"])
        self.ema.load(saved["ema"])
        for optimizer, one in zip(self.optimizers, saved["optimizers"], strict=True):
            # The recipe's peaks win over the file's, so that a rate can be changed on the way.
            peaks = [group["peak"] for group in optimizer.param_groups]
            optimizer.load_state_dict(one)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak"] = peak
        if not new_data:
            self.carry.load_state_dict(saved["carry"])
        self.noise.set_state(saved["noise"])

    def save(self, path: Path) -> None:
        """Write a checkpoint; every process takes part, the first one writes."""
        saved = self.state_dict()
        if self.world.first:
            state.save(path, saved)

    def averaged_model(self) -> TRM:
        """The model with its averaged weights, on the device of training."""
        spec = self.recipe.spec()
        return build(spec, self.ema.weights, "the run").to(next(self.model.parameters()).device)

    def set_depth(self) -> None:
        """Recurse as deep as the curriculum asks for at this step."""
        depth = depth_at(self.recipe, self.step)
        self.supervision.H_cycles, self.supervision.L_cycles = depth.H_cycles, depth.L_cycles
        self.carry.max_steps = depth.max_steps or self.recipe.objective.max_steps


def depth_at(recipe: Recipe, step: int) -> Depth:
    """The last milestone of the depth curriculum that a step has reached, or the model's depth."""
    reached = [one for one in recipe.objective.depth if one.start * recipe.steps <= step]
    model = recipe.model
    return (
        reached[-1] if reached else Depth(start=0, H_cycles=model.H_cycles, L_cycles=model.L_cycles)
    )


def open_run(
    recipe: Recipe,
    out: Path,
    device: torch.device,
    *,
    fresh: bool,
    new_data: bool = False,
    world: World | None = None,
) -> Run:
    """Start a run, or go on from its checkpoint in `out`.

    Parameters
    ----------
    fresh : bool
        Start over, even where a checkpoint is.
    new_data : bool
        Go on with the recipe's data sources and batch size, whatever the checkpoint's were:
        weights, optimiser and schedule stay, all puzzles are drawn anew.

    Raises
    ------
    ConfigError
        If the checkpoint is of another model, domain, batch size or data, unless `fresh` or, as to
        the last two, `new_data`; or if `new_data` finds no checkpoint to go on from.
    """
    path = out / state.LATEST
    if new_data and not path.is_file():
        raise ConfigError(f"--new-data goes on from a checkpoint, and there is none at {path}")
    run = Run.start(recipe, device, world)
    if fresh or not path.is_file():
        return run
    saved = state.load(path)
    there = parse_recipe(json.loads(saved["recipe"]), str(path))
    for name in ("domain", "model", *(() if new_data else ("batch_size", "data"))):
        if getattr(there, name) != getattr(recipe, name):
            going_on = "--new-data to go on with the recipe's, " if name == "data" else ""
            raise ConfigError(
                f"{path} was trained with {name}={getattr(there, name)!r}, the recipe says "
                f"{getattr(recipe, name)!r}; use {going_on}--fresh to start over or another --out"
            )
    run.load_state_dict(saved, new_data=new_data)
    return run
