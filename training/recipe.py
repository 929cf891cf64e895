"""Recipes: what a training run is, as YAML checked by pydantic."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trm_sdk.domains import Domain, get_domain
from trm_sdk.errors import ConfigError
from trm_sdk.messages import explain, first_line
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec

RECIPES = Path(__file__).parent / "recipes"
Fraction = Annotated[float, Field(ge=0, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class _Strict(BaseModel):
    # Infinity would be lost on the way through a checkpoint's JSON, and means nothing anywhere.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Strict):
    """What all data sources have: their share of the mixture, and when they are in use."""

    weight: float = Field(default=1.0, gt=0)
    start: Fraction = 0.0
    end: Fraction = 1.0

    @model_validator(mode="after")
    def _has_a_time(self) -> Source:
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class Generated(Source):
    """Puzzles that the domain makes on the fly.

    Attributes
    ----------
    options : mapping
        Of the domain's generator; in a recipe they stand beside the others. See `Domain.Options`.
    weight : float
        Share of this source in the mixture, relative to the others.
    start, end : float
        Part of the run, as fractions of its steps, in which the source is used.
    """

    kind: Literal["generated"] = "generated"
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        options = {key: value for key, value in data.items() if key not in cls.model_fields}
        return own | {"options": {**own.get("options", {}), **options}}


class PuzzleFile(Source):
    """Puzzles of a CSV file with the columns ``question`` and ``answer``, of any domain.

    Attributes
    ----------
    path : str
        Sudoku-Extreme's files, for example: ``source,question,answer,rating``.
    limit : int or None
        Use only so many puzzles, drawn with `seed` (the paper: 1,000).
    augment : bool
        Draw every puzzle under a random symmetry of its domain (Sudoku: relabelling, permutations,
        transposition).
    """

    kind: Literal["file"]
    path: str
    limit: int | None = Field(default=None, gt=0)
    augment: bool = True


DataSource = Annotated[Generated | PuzzleFile, Field(discriminator="kind")]


class Depth(_Strict):
    """A milestone of a depth curriculum: from here on, recurse so deep.

    Attributes
    ----------
    start : float
        Fraction of the run's steps at which it sets in.
    H_cycles, L_cycles : int
        T and n in training from here on.
    max_steps : int or None
        From here on the objective's `max_steps`; None: the objective's own.
    """

    start: Fraction
    H_cycles: int = Field(gt=0)
    L_cycles: int = Field(gt=0)
    max_steps: int | None = Field(default=None, gt=0)


class Objective(_Strict):
    """How supervision is given.

    Attributes
    ----------
    scheme : {"deep", "last-step"}
        ``deep``: deep supervision (arXiv 2510.04871). Every optimiser step takes the puzzles one
        stretch further from a carried state, and every stretch has its loss. ``last-step`` (RSM,
        arXiv 2603.15641): every optimiser step takes new puzzles from the first state, through a
        history without gradient, and has one loss, at the end.
    grad_steps : int
        Supervision steps that one gradient spans; the loss is the mean over them. The paper: 1.
    grad_cycles : int
        Of the T cycles in a supervision step, how many are differentiated. The paper: 1.
    extra_cycle : float
        Probability, an optimiser step, that one more cycle is differentiated (RSM: 0.01).
    depth : tuple of Depth
        Depth curriculum (CGAR, arXiv 2511.08653; RSM), by ascending `start`, up to the model's own
        depth. Before the first milestone, and by default, the model's own.
    loss : {"softmax", "stablemax"}
        Cross-entropy over the values of a cell; stablemax is the reference's.
    cells : {"empty", "all"}
        Which cells are supervised. The reference: all.
    halting_weight : float
        Weight of the halting head's binary cross-entropy ("is the whole answer right?").
    refill : {"solved", "halting"}
        When a puzzle leaves its slot: once solved, after `linger` more steps that teach the network
        to stay; or when the halting head says so, with exploration, as in the reference.
    min_steps, max_steps : int
        A puzzle leaves after a number of supervision steps drawn uniformly from this range
        whatever happens. ``halting`` uses only `max_steps`. With ``last-step``, stochastic depth:
        the supervision steps of an optimiser step, history and differentiated ones together, are
        drawn from this range.
    linger : int
        Most supervision steps that a solved puzzle stays on. After every stretch in which it is
        solved a stay is drawn uniformly from 0 to this, and the earliest end counts.
    exploration : float
        ``halting`` only: probability that a puzzle must stay for a random number of steps.
    noise : float
        Standard deviation of Gaussian noise added to the latent before every supervision step.
    """

    scheme: Literal["deep", "last-step"] = "deep"
    grad_steps: int = Field(default=1, ge=1)
    grad_cycles: int = Field(default=1, ge=1)
    extra_cycle: Fraction = 0.0
    depth: tuple[Depth, ...] = ()
    loss: Literal["softmax", "stablemax"] = "softmax"
    cells: Literal["empty", "all"] = "empty"
    halting_weight: float = Field(default=0.2, ge=0)
    refill: Literal["solved", "halting"] = "solved"
    min_steps: int = Field(default=4, ge=1)
    max_steps: int = Field(default=24, ge=1)
    linger: int = Field(default=0, ge=0)
    exploration: Fraction = 0.1
    noise: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Objective:
        by_halting = self.scheme == "deep" and self.refill == "halting"
        if self.min_steps > self.max_steps and not by_halting:
            raise ValueError(f"min_steps {self.min_steps} is above max_steps {self.max_steps}")
        if self.scheme == "last-step" and self.min_steps < self.grad_steps:
            raise ValueError(
                f"min_steps {self.min_steps} is below grad_steps {self.grad_steps}, the steps that "
                "scheme 'last-step' differentiates"
            )
        starts = [milestone.start for milestone in self.depth]
        if starts != sorted(set(starts)):
            raise ValueError(f"depth must have ascending starts; got {starts}")
        for milestone in self.depth:
            most = milestone.max_steps
            if most is not None and most < self.min_steps and not by_halting:
                raise ValueError(
                    f"depth from {milestone.start} has max_steps {most}, below "
                    f"min_steps {self.min_steps}"
                )
        return self


class Optimizer(_Strict):
    """Optimiser and schedule.

    Attributes
    ----------
    name : {"adamw", "muon", "adam_atan2"}
        Muon (torch.optim) takes the two-dimensional weights inside the network, AdamW the rest.
        AdamATan2 (arXiv 2407.05872) is the reference's: Adam without epsilon.
    lr : float
        Peak learning rate (of AdamW's part; Muon's is ``muon_lr``).
    betas, weight_decay, clip
        As usual; `clip` bounds the global gradient norm; None, as in the reference: no bound.
    puzzle_lr, puzzle_weight_decay : float
        Of the puzzle embedding, which is trained by sparse sign-SGD whatever `name` says: only the
        rows of the puzzles at hand move. The reference's for Sudoku: 1e-4 and 1.
    warmup : int
        Steps of linear warm-up.
    schedule : {"cosine", "constant", "trapezoid"}
        After warm-up; the trapezoid is constant, then falls linearly over the last `cooldown` of
        the steps, so that a run can be lengthened up to there.
    cooldown : float
        As a fraction of all steps.
    floor : float
        Where cosine and trapezoid end, as a fraction of the peak.
    ema : float
        Decay of the weights' exponential moving average, which is what is kept; 0: none.
    ema_warmup : bool
        Let the decay rise from 0.1, so that the first weights are soon forgotten; the reference
        does without.
    """

    name: Literal["adamw", "muon", "adam_atan2"] = "adamw"
    lr: float = Field(default=3e-3, gt=0)
    muon_lr: float = Field(default=0.01, gt=0)
    betas: tuple[_Decay, _Decay] = (0.9, 0.95)
    weight_decay: float = Field(default=0.05, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    puzzle_lr: float = Field(default=1e-4, gt=0)
    puzzle_weight_decay: float = Field(default=1.0, ge=0)
    warmup: int = Field(default=100, ge=0)
    schedule: Literal["cosine", "constant", "trapezoid"] = "cosine"
    cooldown: Fraction = 0.3
    floor: Fraction = 0.02
    ema: _Decay = 0.995
    ema_warmup: bool = True


class Evaluation(_Strict):
    """What is measured on held-out puzzles, during the run and at its end.

    Attributes
    ----------
    every : float
        Seconds between evaluations.
    puzzles : int
        Held-out puzzles a set while training (ten times as many at the end).
    sets : mapping from name to generator options
        Generated sets; see `Domain.Options`. Default: one, of the generator's own defaults, where
        the domain has a generator.
    files : mapping from name to path
        Sets from CSV files, for the end of the run; where no set is generated, `puzzles` of each
        are also measured during the run.
    steps : int
        Supervision steps.
    """

    every: float = Field(default=120.0, gt=0)
    puzzles: int = Field(default=100, gt=0)
    sets: dict[str, Any] | None = None
    files: dict[str, str] = Field(default_factory=dict)
    steps: int = Field(default=16, gt=0)

    @model_validator(mode="after")
    def _distinct(self) -> Evaluation:
        if both := sorted((self.sets or {}).keys() & self.files.keys()):
            raise ValueError(f"{both[0]!r} names both a generated set and a file")
        return self


class ModelChoice(_Strict):
    """The parts of `ModelConfig` that a recipe chooses; the domain gives the rest."""

    mixer: Literal["mlp_t", "attention", "structured"] = "structured"
    hidden_size: int = 32
    ffn_size: int | None = None
    L_layers: int = 1
    H_cycles: int = 1
    L_cycles: int = 2
    expansion: float = 4.0
    num_heads: int = 8
    positions: Literal["rope", "learned", "none"] = "none"
    puzzle_emb_ndim: int = 0
    puzzle_emb_len: int = 0
    halt_max_steps: int = 16


class Recipe(_Strict):
    """A training run.

    Attributes
    ----------
    name, domain : str
    expected : str
        What the recipe reaches and what it costs, for people; measured, not hoped for.
    model, objective, optimizer, data, evaluation
        See their classes.
    steps : int
        Optimiser steps.
    batch_size : int
        Puzzle slots.
    micro_batch : int or None
        Slots that are run at once, gradients added up: small ones stay in a CPU's cache. None: all.
    seed : int
    compile : bool
        Fuse with ``torch.compile`` (needs a C++ compiler on CPU): the whole supervision step with
        the structured mixer, one pass of the network with the paper's.
    precision : {"float32", "bfloat16"}
        bfloat16 runs the recursion in bfloat16, weights and their gradients staying in float32, as
        the reference does. On a CPU it pays where there is AMX or AVX512-BF16.
    solve : SolveOptions
        Defaults for solving that are stored with the model.
    checkpoint_every : float
        Seconds between checkpoints: the most work that a killed run loses.
    """

    name: str
    domain: str
    expected: str = ""
    model: ModelChoice = ModelChoice()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    data: tuple[DataSource, ...] = Field(default=(Generated(),), min_length=1)
    evaluation: Evaluation = Evaluation()
    steps: int = Field(default=10_000, gt=0)
    batch_size: int = Field(default=32, gt=0)
    micro_batch: int | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    compile: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    solve: SolveOptions | None = None
    checkpoint_every: float = Field(default=120.0, gt=0)

    @model_validator(mode="after")
    def _divisible(self) -> Recipe:
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}"
            )
        return self

    @model_validator(mode="after")
    def _ends_at_full_depth(self) -> Recipe:
        last = self.objective.depth[-1:]
        own = (self.model.H_cycles, self.model.L_cycles)
        if last and (last[0].H_cycles, last[0].L_cycles) != own:
            raise ValueError(
                f"objective.depth ends at H_cycles, L_cycles = "
                f"{last[0].H_cycles, last[0].L_cycles}; it must end at the model's own, {own} "
                "(objective.depth=[] for no curriculum)"
            )
        return self

    @model_validator(mode="after")
    def _differentiates_what_there_is(self) -> Recipe:
        if self.objective.grad_cycles > self.model.H_cycles:
            raise ValueError(
                f"objective.grad_cycles {self.objective.grad_cycles} is above model.H_cycles "
                f"{self.model.H_cycles}"
            )
        return self

    @model_validator(mode="after")
    def _has_data_throughout(self) -> Recipe:
        covered = 0.0
        for source in sorted(self.data, key=lambda source: source.start):
            if source.start <= covered:
                covered = max(covered, source.end)
        if covered < 1:
            raise ValueError(f"no data source covers the run from {covered:.0%} on")
        return self

    @model_validator(mode="after")
    def _fits_the_domain(self) -> Recipe:
        domain = get_domain(self.domain)
        for source in self.data:
            if isinstance(source, Generated):
                domain.generator_options(source.options)
        for options in (self.evaluation.sets or {}).values():
            domain.generator_options(options)
        return self

    def spec(self, domain: Domain | None = None) -> ModelSpec:
        """The model that this recipe trains."""
        domain = domain or get_domain(self.domain)
        structured = self.model.mixer == "structured"
        try:
            model = ModelConfig(
                vocab_size=len(domain.vocabulary),
                seq_len=domain.seq_len,
                answer_tokens=domain.vocabulary.answer_tokens if structured else None,
                given_tokens=(
                    domain.vocabulary.given_tokens if self.objective.cells == "empty" else ()
                ),
                structure=domain.structure if structured else None,
                **self.model.model_dump(),
            )
        except ValidationError as error:
            raise ConfigError(explain(error, "model", ModelConfig.model_fields)) from None
        return ModelSpec.for_domain(domain, model, self.solve, recipe=self.name)


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by name (of `training/recipes`) or path, with ``key=value`` changes.

    Parameters
    ----------
    name_or_path : str
    overrides : tuple of str
        Such as ``optimizer.lr=1e-3``; values are YAML.

    Raises
    ------
    ConfigError
        Naming the recipe, key or value that is wrong, with the closest one that exists.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = RECIPES / f"{name_or_path}.yaml"
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        names = sorted(recipe.stem for recipe in RECIPES.glob("*.yaml"))
        close = difflib.get_close_matches(name_or_path, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f" (there are {names})"
        raise ConfigError(f"no recipe {name_or_path!r}{hint}") from None
    except OSError as error:
        raise ConfigError(f"recipe {path} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
        raise ConfigError(f"{path} is no valid YAML: {_problem(error)}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold keys and values; got {type(data).__name__}")
    data.setdefault("name", path.stem)
    for override in overrides:
        _set(data, override)
    return parse_recipe(data, str(path.stem))


def parse_recipe(data: dict[str, Any], source: str) -> Recipe:
    """Check a recipe that is already a mapping."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, f"recipe {source}", _keys(Recipe))) from None


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of a model and of the models in it, dotted, for suggestions."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models(field.annotation):
            keys += _keys(inner, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation such as ``tuple[A | B, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


class _Loader(yaml.SafeLoader):
    """YAML in which no key may be given twice: the first one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _problem(error: Exception) -> str:
    """What is wrong with a YAML text, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
    return first_line(error)


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"an override is key=value (optimizer.lr=1e-3); got {override!r}")
    try:
        value = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{key}: {text!r} is no valid YAML: {_problem(error)}") from None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-3, which people write, as text
            value = float(value)
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{key}: {parent!r} is no group of keys")
        data = child
    data[last] = value
