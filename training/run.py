"""A training run in memory, and its way to disk and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.data import Examples
from trm_sdk.errors import CheckpointError, ConfigError, TRMError
from trm_sdk.messages import explain, first_line
from trm_sdk.model.recursion import TRM
from trm_sdk.model.supervision import Supervision
from trm_sdk.persistence.checkpoint import build
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.torch_file import check_weights

from . import state
from .data.mixture import during_the_run, make_held_out, make_stream
from .distributed import World
from .initial import start_from
from .objective import Carry
from .optim import EMA, make_optimizers
from .recipe import Recipe, parse_recipe
from .settings import Depth


class _Line(BaseModel):
    """What a checkpoint says of the run at one time: the shares of what it had solved, too."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    step: NonNegativeInt
    seconds: float = Field(ge=0)
    loss: float
    __pydantic_extra__: dict[str, float | None]


class _Progress(BaseModel):
    """How far a checkpoint says that the run had come."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    step: NonNegativeInt
    seconds: float = Field(ge=0)
    history: list[_Line]
    averages: tuple[float, float, float] | None = None  # earlier versions wrote none


@dataclass
class Run:
    """A training run in memory: everything that a checkpoint holds."""

    recipe: Recipe
    domain: Domain
    model: TRM
    supervision: Supervision
    optimizers: list[torch.optim.Optimizer]
    ema: EMA
    carry: Carry
    #: Sets that are measured during the run, and at its end.
    held_out: dict[str, Examples]
    final_sets: dict[str, Examples]
    noise: torch.Generator
    world: World
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    #: Loss, share of right cells and gradient norm, averaged over about fifty steps.
    averages: tuple[float, float, float] | None = None

    @classmethod
    def start(cls, recipe: Recipe, device: torch.device, world: World | None = None) -> Run:
        """A run at its first step; with a `World`, this process's part of it."""
        run = cls._made(recipe, device, world)
        if recipe.start_from is not None:
            run._take_weights(recipe.start_from)
        run.carry.begin(0.0)
        return run

    @classmethod
    def _made(
        cls, recipe: Recipe, device: torch.device, world: World | None, restarted: int = 0
    ) -> Run:
        """A run whose slots are still empty; from step `restarted` on with new puzzles."""
        world = world or World()
        torch.manual_seed(recipe.seed)  # equal weights in every process
        domain = recipe.trained_domain()
        model = TRM(recipe.spec(domain).model).to(device)
        if recipe.model.puzzle_emb_ndim:
            model.network.sparse_gradient = True  # `SparseSignSGD` takes it
        final_sets = make_held_out(recipe, domain)
        slots, noises, data = np.random.SeedSequence((recipe.seed, restarted)).spawn(3)
        stream = make_stream(recipe, domain, final_sets, data)
        noise = _seeded(torch.Generator(device), noises)
        dtype = torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32
        objective, settings = recipe.objective, recipe.optimizer
        targets = domain.targets if objective.targets == "auto" else None
        return cls(
            recipe=recipe,
            domain=domain,
            model=model,
            supervision=Supervision(model, objective.supervision(model.config.heads), dtype),
            optimizers=make_optimizers(model, settings),
            ema=EMA(model, settings.ema, warmup=settings.ema_warmup),
            carry=Carry(model, objective, stream, recipe.batch_size, slots, world, dtype, targets),
            held_out=during_the_run(recipe, final_sets),
            final_sets=final_sets,
            noise=noise,
            world=world,
        )

    def _take_weights(self, source: str) -> None:
        fresh = self.model.state_dict()
        weights = start_from(source, self.recipe.spec(self.domain), fresh)
        self.model.load_state_dict(weights)
        self.ema.load(weights)

    def state_dict(self) -> dict[str, Any]:
        """All of it, for `state.save`; to be called by every process together."""
        return {
            "spec": self.recipe.spec(self.domain).to_json(),
            "recipe": self.recipe.model_dump_json(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "ema": self.ema.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "carry": self.carry.state_dict(),
            "noise": self.noise.get_state(),
            "averages": self.averages,
        }

    def load_state_dict(
        self, saved: dict[str, Any], progress: _Progress, *, new_data: bool = False
    ) -> None:
        """Go on where `state_dict` was taken; `new_data`: with new puzzles, of the recipe's.

        Raises
        ------
        CheckpointError
            If the rows of its puzzle embedding have other names than the data sets'.
        """
        spec = saved.get("spec")  # checkpoints of earlier versions may have none
        names = () if spec is None else ModelSpec.from_json(spec, "the checkpoint").identifiers
        if names != self.recipe.spec(self.domain).identifiers:
            raise CheckpointError(
                f"the checkpoint knows {len(names)} puzzles by other names than the recipe's data, "
                f"which has {len(self.domain.names)}: the rows of its puzzle embedding would not "
                "be theirs; use --fresh to start over or another --out"
            )
        self.step, self.seconds = progress.step, progress.seconds
        self.history = [line.model_dump() for line in progress.history]
        self.averages = progress.averages
        self.model.load_state_dict(saved["model"])
        self.ema.load(saved["ema"])
        for optimizer, one in zip(self.optimizers, saved["optimizers"], strict=True):
            # The recipe's rates, decays and betas win over the file's: they may be changed on the
            # way, and the checkpoints that follow hold this recipe.
            own = [
                {key: value for key, value in group.items() if key != "params"}
                for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(one)
            for group, settings in zip(optimizer.param_groups, own, strict=True):
                group.update(settings)
        if not new_data:
            self.carry.load_state_dict(saved["carry"])
        if new_data or "tensors" not in saved["carry"]:  # it has travelled: see `state`
            self.carry.begin(self.step / self.recipe.steps)
        if saved["noise"].shape == self.noise.get_state().shape:
            self.noise.set_state(saved["noise"])
        else:  # another kind of device, which draws in its own way
            _seeded(self.noise, np.random.SeedSequence((self.recipe.seed, self.step)))

    def save(self, path: Path) -> None:
        """Write a checkpoint; every process takes part, the first one writes.

        Raises
        ------
        ConfigError
            If weights are not finite: the last checkpoint that was right stays.
        CheckpointError
            If it can't be written.
        """
        saved = self.state_dict()
        if not (_are_finite(saved["model"]) and _are_finite(saved["ema"])):
            stays = f"; {path} stays as it was before" if path.is_file() else ""
            raise ConfigError(
                f"weights are not finite at step {self.step}: the run diverges; lower optimizer.lr "
                f"(now {self.recipe.optimizer.lr}){stays}"
            )
        if self.world.first:
            state.save(path, saved)

    def averaged_model(self) -> TRM:
        """The model with its averaged weights, on the device of training."""
        spec = self.recipe.spec(self.domain)
        return build(spec, self.ema.weights, "the run").to(next(self.model.parameters()).device)

    def set_depth(self) -> None:
        """Recurse as deep as the curriculum asks for at this step."""
        depth = depth_at(self.recipe, self.step)
        self.supervision.H_cycles, self.supervision.L_cycles = depth.H_cycles, depth.L_cycles
        self.carry.max_steps = depth.max_steps or self.recipe.objective.max_steps
        self.carry.passes_per_step = self.supervision.passes_per_step


def _are_finite(tensors: dict[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _seeded(generator: torch.Generator, seed: np.random.SeedSequence) -> torch.Generator:
    return generator.manual_seed(int(seed.generate_state(1)[0]))


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
    resume: bool = False,
    world: World | None = None,
) -> Run:
    """Start a run, or go on from its checkpoint in `out`.

    Parameters
    ----------
    fresh : bool
        Start over, even where a checkpoint is.
    resume : bool
        There must be a checkpoint. Default False: a run without one starts.
    new_data : bool
        Go on with the recipe's data sources and batch size, whatever the checkpoint's were:
        weights, optimiser and schedule stay, all puzzles are drawn anew.

    Raises
    ------
    ConfigError
        If the checkpoint is of another domain, model, scheme or optimiser, or of another batch
        size or data, unless `fresh` or, as to the last two, `new_data`; or if `new_data` or
        `resume` finds no checkpoint to go on from. Whatever else a recipe says may change on the
        way.
    CheckpointError
        If the checkpoint can't be read.
    """
    path = out / state.LATEST
    if (new_data or resume) and not path.is_file():
        option = "--new-data" if new_data else "--resume"
        raise ConfigError(f"{option} goes on from a checkpoint, and there is none at {path}")
    if fresh or not path.is_file():
        return Run.start(recipe, device, world)
    saved = _read(path)
    if "packed" in saved:
        raise CheckpointError(
            f"{path} is in its compact form: `python -m {__package__}.state import` turns it back"
        )
    try:
        there = parse_recipe(json.loads(saved["recipe"]), str(path))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no recipe that can be read: {error}") from None
    _check_same(there, recipe, path, new_data=new_data)
    try:
        progress = _Progress.model_validate(saved)
    except ValidationError as error:
        raise CheckpointError(explain(error, str(path), _Progress.model_fields)) from None
    # With new data other seeds than the run began with, or it would see its first puzzles again.
    run = Run._made(recipe, device, world, progress.step if new_data else 0)
    try:
        run.load_state_dict(saved, progress, new_data=new_data)
    except TRMError:
        raise
    except Exception as error:  # torch and numpy raise whatever other values make them
        raise CheckpointError(
            f"{path} is not a checkpoint that this run can go on from: {first_line(error)}"
        ) from None
    return run


def _read(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint; where it can't be, say how to go on without losing more."""
    try:
        saved = state.load(path)
        check_weights(saved["model"], path)
        if not _are_finite(saved["model"]):
            raise CheckpointError(f"{path} holds weights that are not finite")
    except CheckpointError as error:
        previous = path.with_name(state.PREVIOUS)
        if not previous.is_file():
            raise
        raise CheckpointError(
            f"{error}; the checkpoint before it is {previous.name}: copy it over {path.name} to go "
            "on from there"
        ) from None
    return saved


def _check_same(there: Recipe, here: Recipe, path: Path, *, new_data: bool) -> None:
    """Refuse to go on with a recipe that the checkpoint's tensors don't fit, or mean no more."""
    before, now = _flat(there.model_dump()), _flat(here.model_dump())
    if there.domain == here.domain:  # whether or not a recipe writes the generator's defaults out
        domain = get_domain(here.domain)
        before["data"], now["data"] = (one.canonical_data(domain) for one in (there, here))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) == now.get(key):
            continue
        if key == "domain" or key.startswith("model.") or key in _FIXED:
            way = ""
        elif key in ("batch_size", "data") and not new_data:
            way = "--new-data to go on with the recipe's, "
        else:
            continue
        if key == "data":
            what = "other data than the recipe's"
        else:
            what = f"{key}={before.get(key)!r}, the recipe says {now.get(key)!r}"
        raise ConfigError(
            f"{path} was trained with {what}; use {way}another --out, or --fresh, which gives up "
            "the run that is there"
        )


#: Beside domain and model, what can't change within a run.
_FIXED = ("objective.scheme", "objective.cells", "objective.targets", "optimizer.name")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat
