"""Recipes: what a training run is, as YAML checked by pydantic and by the domain."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.base import Shape
from trm_sdk.errors import ConfigError, TRMError
from trm_sdk.messages import explain, shown
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.persistence.yaml import load_yaml

from .settings import (
    DataSet,
    DataSource,
    Evaluation,
    Generated,
    ModelChoice,
    Objective,
    OfDomain,
    Optimizer,
    Prepared,
    Source,
    Strict,
)

RECIPES = Path(__file__).parent / "recipes"


class Recipe(Strict):
    """A training run.

    Attributes
    ----------
    name, domain : str
    expected : str
        What the recipe reaches and what it costs, for people; measured, not hoped for.
    model, objective, optimizer, data, evaluation
        See their classes.
    start_from : str or None
        Another model whose weights the run starts from: a bundled one, a folder, a checkpoint, or
        ``owner/name`` on the Hub. The recipe's network may be wider than its. Default: none.
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

    name: Annotated[str, Field(pattern=r"^\w[\w .+-]*$", max_length=100)]
    domain: str
    expected: str = ""
    model: ModelChoice = ModelChoice()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    data: tuple[DataSource, ...] = Field(default=(Generated(),), min_length=1)
    evaluation: Evaluation = Evaluation()
    start_from: Annotated[str, Field(min_length=1)] | None = None
    steps: int = Field(default=10_000, gt=0, le=1 << 40)
    batch_size: int = Field(default=32, gt=0, le=1 << 24)
    micro_batch: int | None = Field(default=None, gt=0, le=1 << 24)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    compile: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    solve: SolveOptions | None = None
    checkpoint_every: float = Field(default=120.0, gt=0, le=1e9)

    @model_validator(mode="before")
    @classmethod
    def _generated_by_default(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "data" not in data:
            return data
        given = data["data"]
        sources = given if isinstance(given, list | tuple) else [given]
        if any(not isinstance(one, dict | Source) for one in sources):
            raise ValueError(
                "data: must be sources, such as [{kind: file, path: train.csv}]; "
                f"got {shown(given)}"
            )
        kinds = [{"kind": "generated", **one} if isinstance(one, dict) else one for one in sources]
        return {**data, "data": kinds}

    @model_validator(mode="after")
    def _divisible(self) -> Recipe:
        if self.micro_batch is not None and self.batch_size % self.micro_batch:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}"
            )
        return self

    @model_validator(mode="after")
    def _measures_something(self) -> Recipe:
        """Puzzles may be prepared for a machine that has no generator, and judged elsewhere."""
        nothing = self.evaluation.sets == {} and not self.evaluation.files
        if nothing and not any(isinstance(source, Prepared) for source in self.data):
            raise ValueError("evaluation must name a set or a file; got sets={}, files={}")
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
        shapes = {}
        for number, source in enumerate(self.data):
            if isinstance(source, OfDomain):
                own = [name for name in type(source).model_fields if name != "options"]
                made_by = self._domain_named(source.domain, domain, f"data.{number}")
                options = _generator_options(made_by, source.options, f"data.{number}", own)
                shapes[number] = made_by.shape_of(options)
                self.check_board(domain, shapes[number], f"data.{number}")
            elif not domain.any_size:  # else known when the file is read
                shapes[number] = domain.shape
        check_shapes(self.data, shapes)
        for name, options in (self.evaluation.sets or {}).items():
            where = f"evaluation.sets.{name}"
            name, rest = parted_options(options)
            made_by = self._domain_named(name, domain, where)
            checked = _generator_options(made_by, rest, where, ["domain"])
            self.check_board(domain, made_by.shape_of(checked), where)
        if domain.own_groups and self.model.block != "message":
            raise ValueError(
                f"model.block: puzzles of {domain.name} bring groups of cells, which only models "
                f"of block 'message' take; got {self.model.block!r}"
            )
        if isinstance(self.objective.head_weight, dict):
            for name in self.objective.head_weight:
                if name not in domain.heads:
                    raise ValueError(
                        f"objective.head_weight: {domain.name} has no head {name!r}"
                        f"{_meant(name, list(domain.heads))}"
                    )
        return self

    def _domain_named(self, name: object, domain: Domain, where: str) -> Domain:
        """The domain that makes a source's puzzles, checked: the recipe's where none is named."""
        if name is None:
            return domain
        try:
            made_by = get_domain(name)  # type: ignore[arg-type]
            if made_by.name != domain.name:
                self.spec(domain).check_variant(made_by, "the recipe's model")
        except TRMError as error:
            raise ValueError(f"{where}: {error}") from None
        return made_by

    def check_board(self, domain: Domain, shape: Shape, where: str) -> None:
        """Refuse boards that the model does not take.

        Raises
        ------
        ConfigError
            Beginning with `where` in the recipe they are asked for.
        """
        structure = domain.structure if self.model.mixer == "structured" else None
        if shape != domain.shape and not (structure is not None and structure.any_size):
            raise ConfigError(
                f"{where} has boards of {shape[0]}x{shape[1]}, and a model with "
                f"mixer={self.model.mixer!r} of {domain.name} takes only "
                f"{domain.shape[0]}x{domain.shape[1]}"
            )

    def canonical_data(self, domain: Domain) -> list[dict[str, Any]]:
        """Return the data sources with every option of the generator, for comparing recipes."""
        return [
            source.model_dump()
            | (
                {"options": source.made_by(domain).generator_options(source.options)}
                if isinstance(source, OfDomain)
                else {}
            )
            for source in self.data
        ]

    def trained_domain(self) -> Domain:
        """Return the domain as the trained model sees it: with the names that data sets give.

        Raises
        ------
        InvalidInputError
            If a data set can't be read.
        """
        domain = get_domain(self.domain)
        for source in self.data:
            if isinstance(source, DataSet):
                domain = domain.trained_on(source.options)
        return domain

    def spec(self, domain: Domain | None = None) -> ModelSpec:
        """Return the model that this recipe trains."""
        domain = domain or get_domain(self.domain)
        structured = self.model.mixer == "structured"
        timed = structured and self.model.heads and self.objective.targets == "auto"
        embedded = self.model.puzzle_emb_ndim > 0
        try:
            model = ModelConfig(
                vocab_size=len(domain.vocabulary),
                seq_len=domain.seq_len,
                answer_tokens=domain.vocabulary.answer_tokens if structured else None,
                given_tokens=(
                    domain.vocabulary.given_tokens if self.objective.cells == "empty" else ()
                ),
                structure=domain.structure if structured else None,
                heads=dict(domain.heads) if timed else {},
                dead_end_head=self.objective.dead_ends > 0,
                num_puzzle_identifiers=domain.identifiers if embedded else 1,
                **self.model.model_dump(exclude={"heads"}),
            )
        except ValidationError as error:
            raise ConfigError(explain(error, "model", ModelConfig.model_fields)) from None
        return ModelSpec.for_domain(domain, model, self.solve, recipe=self.name)


def parted_options(options: Any) -> tuple[Any, Any]:
    """Return the name of the domain that a generated set is of, or None, and its other options."""
    if not isinstance(options, Mapping) or "domain" not in options:
        return None, options
    return options["domain"], {key: one for key, one in options.items() if key != "domain"}


def _generator_options(
    domain: Domain, options: Any, where: str, own: Sequence[str] = ()
) -> dict[str, Any]:
    """Options of a domain's generator, checked; `own` keys may stand beside them.

    Raises
    ------
    ValueError
        Beginning with where they stand in the recipe.
    """
    accepted = list(domain.Options.model_fields)
    if isinstance(options, Mapping):
        for key in options:
            if key not in accepted:
                raise ValueError(f"{where}: unknown key {key!r}{_meant(key, [*accepted, *own])}")
    try:
        return domain.generator_options(options)
    except TRMError as error:
        message = str(error).removeprefix(f"generator options of {domain.name}: ")
        raise ValueError(f"{where}: {message}") from None


def _meant(name: object, accepted: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), accepted, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (there are {sorted(accepted)})"


def check_shapes(sources: Sequence[Source], shapes: Mapping[int, Shape]) -> None:
    """Refuse sources of boards of different shapes that are in use at the same time.

    Parameters
    ----------
    sources : sequence of Source
    shapes : mapping from number to (rows, columns)
        Of the sources whose shape is known.

    Raises
    ------
    ConfigError
        Naming two such sources.
    """
    for first, one in shapes.items():
        for second, other in shapes.items():
            a, b = sources[first], sources[second]
            if first < second and one != other and max(a.start, b.start) < min(a.end, b.end):
                raise ConfigError(
                    f"data.{first} has boards of {one[0]}x{one[1]} and data.{second} of "
                    f"{other[0]}x{other[1]}, both between {max(a.start, b.start):.0%} and "
                    f"{min(a.end, b.end):.0%} of the run; boards of one time must be of one shape"
                )


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe by name (of those in ``recipes``) or path, with ``key=value`` changes.

    Parameters
    ----------
    name_or_path : str
        ``sudoku-4x4``, ``sudoku/sudoku-4x4``, or the path of a YAML file.
    overrides : tuple of str
        Such as ``optimizer.lr=1e-3``; values are YAML.

    Raises
    ------
    ConfigError
        Naming the recipe, key or value that is wrong, with the closest one that exists.
    """
    path = _find(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"there is no recipe file {path}") from None
    except OSError as error:
        raise ConfigError(f"recipe {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    data = _located(str(path), load_yaml, text)
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold keys and values; got {type(data).__name__}")
    data.setdefault("name", path.stem)
    for override in overrides:
        _set(data, override)
    return parse_recipe(data, str(path.stem))


def recipe_files() -> Iterator[Path]:
    """Yield the recipes that come with the package: ``recipes/DOMAIN/NAME.yaml``."""
    yield from sorted(RECIPES.glob("*/*.yaml"))


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return [file.stem for file in recipe_files()]


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        return path
    known = {
        recipe.relative_to(RECIPES).with_suffix("").as_posix(): recipe for recipe in recipe_files()
    }
    by_stem = {recipe.stem: recipe for recipe in known.values()}
    found = known.get(name_or_path) or by_stem.get(name_or_path)
    if found is None:
        raise ConfigError(f"no recipe {name_or_path!r}{_meant(name_or_path, list(by_stem))}")
    return found


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


def _located(where: str, read: Callable[[str], Any], text: str) -> Any:
    """What `read` makes of a text; its errors begin with where the text stands."""
    try:
        return read(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"an override is key=value (optimizer.lr=1e-3); got {shown(override)}")
    value = _located(key, load_yaml, text)
    *parents, last = key.split(".")
    for parent in parents:
        child = data.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{key}: {parent!r} is not a group of keys")
        data = child
    data[last] = value
