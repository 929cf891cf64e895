"""The weights of a structured model on another board.

No weight of the structured network depends on the number of cells, of groups or (where values are
interchangeable) of values, so a model trained on one board runs on another as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from trm_sdk.domains.base import Domain
from trm_sdk.errors import CheckpointError, ConfigError
from trm_sdk.persistence.checkpoint import build
from trm_sdk.persistence.spec import ModelSpec

if TYPE_CHECKING:
    from trm_sdk.model.recursion import TRM

Weight = TypeVar("Weight")


def transfer(
    spec: ModelSpec, weights: Mapping[str, Weight], domain: Domain
) -> tuple[ModelSpec, dict[str, Weight]]:
    """Return spec and weights of a structured model for another domain of the same kind.

    Parameters
    ----------
    spec : ModelSpec
        Of a model with the structured mixer and interchangeable values.
    weights : mapping from name to array or Tensor
    domain : Domain
        Each of its relations must have a namesake in the model's structure, whose weights it takes,
        or state a weights key that the model has; relations of the model that the domain lacks are
        dropped.

    Raises
    ------
    ConfigError
        If the model or the domain has no such structure, or a relation has no namesake.
    """
    source, target = spec.model.structure, domain.structure
    if spec.model.mixer != "structured" or source is None or not source.interchangeable_values:
        raise ConfigError(
            "only structured models with interchangeable values run on other boards; this one has "
            f"mixer={spec.model.mixer!r}"
        )
    if target is None or not target.interchangeable_values:
        raise ConfigError(f"the domain {domain.name!r} states no interchangeable values")
    keys = {relation.name: relation.weights_key for relation in source.over_cells}
    wanted: dict[str, str] = {}
    for relation in target.over_cells:
        if relation.name not in keys and relation.weights_key in keys.values():
            wanted[relation.weights_key] = relation.weights_key
            continue
        if relation.name not in keys:
            raise ConfigError(
                f"the model has weights for the relations {sorted(keys)}; {domain.name!r} has "
                f"{relation.name!r}"
            )
        wanted[relation.weights_key] = keys[relation.name]
    moved: dict[str, Weight] = {}
    for name, weight in weights.items():
        before, marker, rest = name.partition(".relations.")
        if not marker:
            moved[name] = weight
            continue
        key, _, tail = rest.partition(".")
        for new, old in wanted.items():
            if old == key:
                moved[f"{before}.relations.{new}.{tail}"] = weight
    model = spec.model.model_copy(
        update={
            "vocab_size": len(domain.vocabulary),
            "seq_len": domain.seq_len,
            "answer_tokens": domain.vocabulary.answer_tokens,
            "given_tokens": domain.vocabulary.given_tokens,
            "structure": target,
        }
    )
    return ModelSpec.for_domain(domain, model, spec.solve, transferred_from=spec.domain), moved


def solving(
    spec: ModelSpec, model: TRM, domain: Domain, source: str | os.PathLike[str] = "the model"
) -> tuple[ModelSpec, TRM]:
    """Return a model that solves another domain with the same weights.

    The weights are moved to the domain's boards where they have to be (`ModelSpec.moves_to`); else
    its groups of cells take the places of the model's own.

    Raises
    ------
    CheckpointError
        If it has no weights for the domain's groups, or the block is not "message".
    """
    if not spec.moves_to(domain):
        spec.check_variant(domain, os.fspath(source))
        config = spec.model.model_copy(update={"structure": domain.structure})
        moved = spec.model_copy(update={"domain": domain.name, "model": config})
        return moved, build(moved, model.state_dict(), f"{source} for {domain.name}")
    try:
        moved, weights = transfer(spec, model.state_dict(), domain)
    except ConfigError as error:
        raise CheckpointError(f"{source} can't solve {domain.name!r}: {error}") from None
    return moved, build(moved, weights, f"{source} for {domain.name}")
