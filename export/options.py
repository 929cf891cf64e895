"""ExportOptions: what a graph is to be like, checked once."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from trm_sdk.domains import get_domain
from trm_sdk.errors import InvalidInputError
from trm_sdk.messages import shown
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.validation import is_int

from .errors import ExportError
from .quantize import PRECISIONS, Precision

Mode = Literal["step", "loop", "unroll"]
Cycles = Literal["auto", "loop", "unroll"]
Functions = Literal["auto", "on", "off"]
Groups = Literal["auto", "fixed", "optional", "required"]

DEFAULT_OPSET = 17
#: Opsets that the graphs are valid in, as far as tried.
OPSETS = range(14, 22)
#: Fixed batch sizes and unrolled steps that are worth a graph.
BATCHES, STEPS = range(1, 4097), range(1, 100_001)


@dataclass(frozen=True)
class ExportOptions:
    """What a graph is to be like.

    Attributes
    ----------
    mode : {"step", "loop", "unroll"}
        One supervision step, a loop of them that halts, or a chain of them without control flow;
        inputs and outputs of each are in `export.graph.build_graph`.
    precision : {"fp32", "fp16", "int8w", "int8", "int8s", "int4", "int4n"}
        How weights are stored, and for ``int8`` and ``int8s`` multiplied; see `export.quantize`.
    max_steps : int, optional
        Supervision steps of ``unroll``; default the model's own ``spec.solve.max_steps``.
    batch : int, optional
        A fixed batch size, at most 4096; default dynamic.
    opset : int
        Of the standard operators; default 17.
    heads : tuple of str
        Further heads of the model (`ModelConfig.heads`) that the graph gives as outputs. Default:
        in ``step``, those that solving reads (`ModelSpec.solving_heads`);
        in the other modes none.
    cycles : {"auto", "loop", "unroll"}
        In ``loop``: the passes of one supervision step as Loops nested in the outer one, or written
        out in its body. ``auto`` writes them out: onnxruntime does not prepack weights used two
        Loops deep, which costs a quarter of the speed (the weights are stored once either way).
    functions : {"auto", "on", "off"}
        In ``unroll``: whether the network's pass and the supervision step are stored once, as
        functions of the model that are called, instead of being written out each time. Runtimes
        inline them while loading. ``auto`` does so where the nodes would weigh on the file's size;
        ``off`` is for runtimes that know no functions.
    groups : {"auto", "fixed", "optional", "required"}
        For models of block "message". ``fixed``: the groups of cells are part of the graph.
        ``optional``: they are inputs with the model's own as the default (initializers that inputs
        override), so that one graph takes puzzles that bring their own regions. ``required``: hosts
        must give them, for runtimes that can't override initializers (onnxruntime's for
        JavaScript). ``auto``: optional where the registered domain's puzzles bring groups
        (`Domain.own_groups`), else fixed.

    Raises
    ------
    ExportError
        If a value is out of range, or for another mode.
    """

    mode: Mode = "step"
    precision: Precision = "fp32"
    max_steps: int | None = None
    batch: int | None = None
    opset: int = DEFAULT_OPSET
    heads: tuple[str, ...] | None = None
    cycles: Cycles = "auto"
    functions: Functions = "auto"
    groups: Groups = "auto"

    @classmethod
    def of(cls, options: ExportOptions | str | None, fields_given: dict[str, Any]) -> ExportOptions:
        """Return options with some of their fields changed; a mode alone stands for its options.

        Raises
        ------
        ExportError
            If there is no such field, or its value is out of range.
        """
        known = [field.name for field in fields(cls)]
        for name in fields_given:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ExportError(f"no option named {name!r}{hint} (there are {', '.join(known)})")
        if isinstance(options, cls):
            return replace(options, **fields_given)
        if options is not None:
            fields_given = {"mode": options, **fields_given}
        return cls(**fields_given)

    def __post_init__(self) -> None:
        if self.heads is not None:
            heads = (self.heads,) if isinstance(self.heads, str) else tuple(self.heads)
            object.__setattr__(self, "heads", heads)
        self._one_of("precision", PRECISIONS)
        self._one_of("mode", get_args(Mode))
        self._one_of("groups", get_args(Groups))
        if not is_int(self.opset) or self.opset not in OPSETS:
            raise ExportError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}; got {shown(self.opset)}")
        if self.batch is not None and not (is_int(self.batch) and self.batch in BATCHES):
            raise ExportError(
                f"batch must be from {BATCHES[0]} to {BATCHES[-1]}, or None for a dynamic one; "
                f"got {shown(self.batch)}"
            )
        for name, accepted, of in (
            ("functions", get_args(Functions), "unroll"),
            ("cycles", get_args(Cycles), "loop"),
        ):
            value = self._one_of(name, accepted)
            if value not in ("auto", "off") and self.mode != of:
                raise ExportError(
                    f"{name}={value!r} applies only to mode {of!r}; got mode {self.mode!r}"
                )
        if self.max_steps is None:
            return
        if self.mode != "unroll":
            raise ExportError(
                f"max_steps={shown(self.max_steps)} applies only to mode 'unroll'; got mode "
                f"{self.mode!r}, whose host decides at every call"
            )
        check_steps(self.max_steps)

    def heads_of(self, spec: ModelSpec) -> tuple[str, ...]:
        """Return the names of the heads that a graph of this model gives."""
        if self.heads is not None:
            return self.heads
        return spec.solving_heads() if self.mode == "step" else ()

    def groups_of(self, spec: ModelSpec) -> Groups:
        """Return how a graph of this model takes groups: fixed, optional or required."""
        if self.groups != "auto":
            return self.groups
        try:
            brings = bool(get_domain(spec.domain).own_groups)
        except InvalidInputError:  # not registered: nothing is known of it
            return "fixed"
        return "optional" if brings and spec.model.takes_groups else "fixed"

    def _one_of(self, name: str, accepted: Collection[str]) -> str:
        value: str = getattr(self, name)
        if value not in accepted:
            raise ExportError(f"{name} must be one of {', '.join(accepted)}; got {shown(value)}")
        return value


def check_steps(steps: int) -> None:
    """Refuse a number of supervision steps that is out of range.

    Raises
    ------
    ExportError
    """
    if not is_int(steps) or steps not in STEPS:
        raise ExportError(f"max_steps must be from {STEPS[0]} to {STEPS[-1]}; got {shown(steps)}")
