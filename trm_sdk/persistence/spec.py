"""ModelSpec: everything about a model but its weights; every checkpoint and graph carries it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import CheckpointError, InvalidInputError
from trm_sdk.messages import explain, shown
from trm_sdk.model.config import DEAD_END, ModelConfig
from trm_sdk.options import SolveOptions

FORMAT = 2
_Size = Annotated[int, Field(gt=0)]


class ModelSpec(BaseModel):
    """What a file of weights is for.

    Attributes
    ----------
    format : int
        Version of this description.
    domain : str
        Name of the puzzle domain.
    vocabulary : tuple of str
        Token names, in order.
    grid_shape : (rows, columns)
    model : ModelConfig
    solve : SolveOptions
        The model's own defaults for solving, from its accuracy-against-compute curve.
    identifiers : tuple of str
        Names of the rows of the puzzle embedding, by which the domain finds the row of a puzzle
        (`Domain.with_names`). Default none: they have no names.
    notes : mapping
        Free facts for people: recipe, steps trained, date. Nothing depends on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, ge=1)
    domain: str
    vocabulary: tuple[str, ...]
    grid_shape: tuple[_Size, _Size]
    model: ModelConfig
    solve: SolveOptions = Field(default_factory=SolveOptions)
    identifiers: tuple[str, ...] = ()
    notes: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        model = self.model
        if len(self.vocabulary) != model.vocab_size:
            raise ValueError(
                f"vocabulary has {len(self.vocabulary)} tokens, model.vocab_size is "
                f"{model.vocab_size}"
            )
        rows, columns = self.grid_shape
        if rows * columns != model.seq_len:
            raise ValueError(
                f"grid_shape {rows}x{columns} has {rows * columns} cells, model.seq_len is "
                f"{model.seq_len}"
            )
        if self.identifiers and len(self.identifiers) != model.num_puzzle_identifiers:
            raise ValueError(
                f"there are {len(self.identifiers)} names of identifiers, "
                f"model.num_puzzle_identifiers is {model.num_puzzle_identifiers}"
            )
        return self

    @classmethod
    def for_domain(
        cls, domain: Domain, model: ModelConfig, solve: SolveOptions | None = None, **notes: Any
    ) -> ModelSpec:
        """Return the spec of a model made for a domain."""
        return cls(
            format=FORMAT,
            domain=domain.name,
            vocabulary=domain.vocabulary.names,
            grid_shape=domain.shape,
            model=model,
            solve=solve or SolveOptions(max_steps=model.halt_max_steps),
            identifiers=domain.names if model.num_puzzle_identifiers > 1 else (),
            notes=notes,
        )

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> ModelSpec:
        """Read a spec; `source` names the file in the error.

        Raises
        ------
        CheckpointError
            If the text is no valid spec, or of a newer format.
        """
        try:
            spec = cls.model_validate_json(text)
        except ValidationError as error:
            raise CheckpointError(
                f"{source} holds no valid model description: "
                + explain(error, "spec", cls.model_fields)
            ) from None
        if spec.format > FORMAT:
            raise CheckpointError(
                f"{source} is of format {spec.format}; this version reads up to {FORMAT}"
            )
        return spec

    def to_json(self, indent: int | None = None) -> str:
        """Return the spec as JSON, with only what differs from the defaults of the model."""
        data = self.model_dump(mode="json", exclude_defaults=True) | {"format": FORMAT}
        if indent is None:
            return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return _short_lists_on_a_line(json.dumps(data, ensure_ascii=False, indent=indent))

    def made_for(self) -> Domain:
        """Return the registered domain, with the names that the model knows puzzles by.

        Raises
        ------
        InvalidInputError
            If no domain of that name is registered.
        """
        domain = get_domain(self.domain)
        return domain.with_names(self.identifiers) if self.identifiers else domain

    def solving_heads(self, domain: Domain | None = None) -> tuple[str, ...]:
        """Return the heads of the model that solving reads.

        Those that its domain decodes answers from, and the dead-end head.

        Parameters
        ----------
        domain : Domain, optional
            Default: the registered domain that the spec names; of one that is not registered
            nothing is known, and so it decodes from none.
        """
        own = (DEAD_END,) if self.model.dead_end_head else ()
        if domain is None:
            try:
                domain = get_domain(self.domain)
            except InvalidInputError:
                return own
        decoded = (name for name in domain.decode_heads if name in self.model.heads)
        return *decoded, *own

    def moves_to(self, domain: Domain) -> bool:
        """Return whether the weights run on a domain's boards once they are moved there.

        Those of block "message" with interchangeable values do: on boards of another shape, and
        where rows, columns and boxes have other keys of weights, as where boxes are not square
        (`trm_sdk.transfer`). Without moving them, models take other groups under the keys that they
        have (`check_variant`).
        """
        own, structure = self.model.structure, domain.structure
        if not self.model.takes_groups or self.model.any_size or own is None or structure is None:
            return False
        if not (own.interchangeable_values and structure.interchangeable_values):
            return False
        if self.grid_shape != domain.shape:
            return True
        names = {relation.name for relation in own.over_cells}
        return not set(structure.groups_by_key()) <= set(own.groups_by_key()) and all(
            relation.name in names for relation in structure.over_cells
        )

    def check_variant(self, domain: Domain, source: str | Path = "the model") -> None:
        """Refuse a domain whose groups of cells this model's weights can't be used for.

        Models of block "message" take any groups, of the keys of weights that they have, on boards
        of their own shape and vocabulary.

        Raises
        ------
        CheckpointError
        """
        model, structure = self.model, domain.structure
        own = model.structure
        if not model.takes_groups or own is None:
            raise CheckpointError(
                f"{source} is a model of {self.domain!r} only: models of block 'message' "
                f"take other groups of cells, such as those of {domain.name!r}"
            )
        same = self.grid_shape == domain.shape and self.vocabulary == domain.vocabulary.names
        same &= model.output_tokens == domain.vocabulary.answer_tokens
        if not same:
            raise CheckpointError(
                f"{source} is a model of boards of {self.grid_shape[0]}x{self.grid_shape[1]} with "
                f"{len(self.vocabulary)} tokens; {domain.name!r} has others"
            )
        known = own.groups_by_key()
        stated = {} if structure is None else structure.groups_by_key()
        missing = sorted({*stated, *domain.own_groups} - set(known))
        if not stated or missing:
            raise CheckpointError(
                f"{source} has weights for the groups {sorted(known)}; {domain.name!r} has "
                f"{missing or 'none'}"
            )

    def check_domain(self, domain: Domain, source: str | Path = "the model") -> None:
        """Refuse a domain that this model was not made for.

        A model of any size takes every board of its domain's family.

        Raises
        ------
        CheckpointError
        """
        names = domain.vocabulary.names
        same = (self.domain, self.grid_shape) == (domain.name, domain.shape)
        if self.model.any_size and not same:
            same = self.domain.partition("-")[0] == domain.family.partition("-")[0]
        if not same or self.vocabulary != names:
            raise CheckpointError(
                f"{source} is a model of {self.domain!r} "
                f"({self.grid_shape[0]}x{self.grid_shape[1]}, {len(self.vocabulary)} tokens), "
                f"not of {domain.name!r} ({domain.shape[0]}x{domain.shape[1]}, {len(names)} tokens)"
            )
        model = self.model
        # Its nodes are (cell, value) pairs, and no weight tells how many values there are.
        by_value = model.structure is not None and model.structure.interchangeable_values
        answers = domain.vocabulary.answer_tokens
        if model.mixer == "structured" and by_value and model.output_tokens != answers:
            raise CheckpointError(
                f"{source} answers with the tokens {shown(model.output_tokens)}; "
                f"answers of {domain.name!r} are made of {shown(answers)}"
            )


def _short_lists_on_a_line(text: str) -> str:
    """Return JSON whose lists of plain values, and of such lists, stand on one line each."""
    plain = r'(?:"(?:[^"\\]|\\.)*"|[-\w.]+)'
    flat = rf"\[\s*{plain}(?:,\s*{plain})*\s*\]"
    for item in (plain, flat):
        text = re.sub(
            rf"\[\s*({item}(?:,\s*{item})*)\s*\]",
            lambda found: "[" + re.sub(r",\s*(?=[\"\w\[-])", ", ", found[1]) + "]",
            text,
        )
    return text
