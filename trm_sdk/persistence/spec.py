"""ModelSpec: everything about a model but its weights; every checkpoint and graph carries it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trm_sdk.domains.base import Domain
from trm_sdk.errors import CheckpointError
from trm_sdk.messages import explain
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions

FORMAT = 1
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
    notes : mapping
        Free facts for people: recipe, steps trained, date. Nothing depends on them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    domain: str
    vocabulary: tuple[str, ...]
    grid_shape: tuple[_Size, _Size]
    model: ModelConfig
    solve: SolveOptions = Field(default_factory=SolveOptions)
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
        return self

    @classmethod
    def for_domain(
        cls, domain: Domain, model: ModelConfig, solve: SolveOptions | None = None, **notes: Any
    ) -> ModelSpec:
        """The spec of a model made for a domain."""
        return cls(
            domain=domain.name,
            vocabulary=domain.vocabulary,
            grid_shape=domain.shape,
            model=model,
            solve=solve or SolveOptions(max_steps=model.halt_max_steps),
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
        """The spec as JSON, with only what differs from the defaults of the model."""
        return self.model_dump_json(indent=indent, exclude_defaults=True)

    def check_domain(self, domain: Domain, source: str | Path = "the model") -> None:
        """Refuse a domain that this model was not made for.

        Raises
        ------
        CheckpointError
        """
        if (self.domain, self.vocabulary, self.grid_shape) != (
            domain.name,
            domain.vocabulary,
            domain.shape,
        ):
            raise CheckpointError(
                f"{source} is a model of {self.domain!r} "
                f"({self.grid_shape[0]}x{self.grid_shape[1]}, {len(self.vocabulary)} tokens), "
                f"not of {domain.name!r} "
                f"({domain.shape[0]}x{domain.shape[1]}, {len(domain.vocabulary)} tokens)"
            )
        model = self.model
        # Its nodes are (cell, value) pairs, and no weight tells how many values there are.
        by_value = model.structure is not None and model.structure.interchangeable_values
        if model.mixer == "structured" and by_value and model.output_offset != domain.answer_offset:
            raise CheckpointError(
                f"{source} answers with the tokens from {model.output_offset} on "
                f"(output_offset); the values of {domain.name!r} begin at {domain.answer_offset}"
            )
