"""SolveOptions: how much computing a solve may spend, and on what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.messages import explain


def _no_stand_in(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("Input should be an integer")
    return value


#: Pydantic's, less the booleans and texts that it would turn into numbers.
_Int = Annotated[int, BeforeValidator(_no_stand_in)]


class SolveOptions(BaseModel):
    """Test-time compute. Every field left out takes the model's own default (see its card).

    Options can't be changed once made; ``options.model_copy(update={...})`` makes others, and
    checks nothing.

    Attributes
    ----------
    max_steps : int
        Supervision steps an attempt may take.
    attempts : int
        Attempts a puzzle may take; the first is always the plain one.
    explore : {"none", "noise", "symmetry", "guess"}
        How later attempts differ. ``noise``: Gaussian noise added to the latent z at every step
        (PTRM, arXiv 2605.19943). ``symmetry``: the puzzle under a random symmetry of its domain.
        ``guess``: one empty cell is filled in, a different way in each attempt: a cell that the
        plain attempt was unsure of when its `patience` ended (or it itself), with a value that it
        held likely there. The rules judge the answer by the puzzle as it was given; a wrong guess
        costs an attempt and nothing else.
    noise : float
        Standard deviation of that noise, in the middle of the attempts.
    noise_spread : float
        Attempts take deviations from ``noise / noise_spread`` to ``noise * noise_spread``, evenly
        in the logarithm: what helps one puzzle is too little or too much for another. 1: all alike.
    patience : int or None
        Steps that the plain attempt runs alone before others join it. 0: they start together. None,
        the default: the others wait until the plain attempt has failed.
    width : int or None
        Attempts at one puzzle under way at a time; when one ends, the next begins. None, the
        default: as many as make a batch that suits the model and the device (`Runtime.batch_size`).
        On a CPU a narrow search solves in less time: most puzzles need few attempts, and a wide one
        has begun many when the first succeeds. Where all attempts vote, all are under way.
    choose : {"auto", "confidence", "majority"}
        How to choose among the attempts' last answers where the rules confirm none: the halting
        head's favourite, or the most frequent one (ties: its highest confidence). ``auto`` takes
        the majority where there are no rules to check by and attempts are symmetries.
    halt_threshold : float
        Stop an attempt when the halting head's probability exceeds this. 1 never stops early.
        Where a domain has rules, an answer that they confirm stops it at once and one that they
        refute never counts as halted.
    verify : bool
        Use the domain's rules to stop and to choose. Without them the halting head decides alone,
        as in the paper.
    seconds : float or None
        Stop after so many seconds of wall-clock time and give the best answer so far.
    seed : int
        Of noise, symmetries and guesses. Equal seeds give equal answers, in whatever batch.

    Raises
    ------
    ConfigError
        Naming the field, the value and what is accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_steps: _Int = Field(default=16, ge=1, le=100_000)
    attempts: _Int = Field(default=1, ge=1, le=100_000)
    explore: Literal["none", "noise", "symmetry", "guess"] = "none"
    noise: float = Field(default=0.1, ge=0, le=100)
    noise_spread: float = Field(default=2.5, ge=1, le=100)
    patience: _Int | None = Field(default=None, ge=0)
    width: _Int | None = Field(default=None, ge=1)
    choose: Literal["auto", "confidence", "majority"] = "auto"
    halt_threshold: float = Field(default=1.0, ge=0, le=1)
    verify: bool = Field(default=True, strict=True)
    seconds: float | None = Field(default=None, gt=0)
    seed: _Int = Field(default=0, ge=0)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(explain(error, "SolveOptions", type(self).model_fields)) from None

    @classmethod
    def model_validate(cls, obj: Any, **settings: Any) -> SolveOptions:
        """Options of a mapping, refused as by the constructor."""
        try:
            return super().model_validate(obj, **settings)
        except ValidationError as error:
            raise ConfigError(explain(error, "SolveOptions", cls.model_fields)) from None

    def over(self, defaults: SolveOptions) -> SolveOptions:
        """These options, with `defaults` for every field that was not given."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return defaults.model_copy(update=given)


def check_on_error(on_error: str) -> None:
    """What to do about a puzzle that can't be taken on; see `Solver.solve_many`.

    Raises
    ------
    InvalidInputError
        If it is neither "raise" nor "yield".
    """
    if on_error not in ("raise", "yield"):
        raise InvalidInputError(f"on_error must be 'raise' or 'yield'; got {on_error!r}")
