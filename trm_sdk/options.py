"""SolveOptions: how much computing a solve may spend, and on what."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from trm_sdk.choices import Explore
from trm_sdk.errors import ConfigError
from trm_sdk.messages import explain


def _an_integer(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("Input should be an integer")
    return value


def _a_number(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("Input should be a number")
    return value


#: The largest number of a field that has no bound of its own: what files and languages agree on.
_LARGEST = 2**63 - 1
#: An int, without the booleans and strings that pydantic would convert.
Int = Annotated[int, BeforeValidator(_an_integer)]
#: A finite float, without them.
Float = Annotated[float, BeforeValidator(_a_number), Field(allow_inf_nan=False)]


class Options(BaseModel):
    """Immutable options; whatever is wrong with one is a `ConfigError` that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise self._refusal(error) from None

    @classmethod
    def model_validate(cls, obj: Any, **settings: Any) -> Self:
        """Return options from a mapping; errors as in the constructor."""
        try:
            return super().model_validate(obj, **settings)
        except ValidationError as error:
            raise cls._refusal(error) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **settings: Any) -> Self:
        """Return options from JSON; errors as in the constructor."""
        try:
            return super().model_validate_json(json_data, **settings)
        except ValidationError as error:
            raise cls._refusal(error) from None

    @classmethod
    def _refusal(cls, error: ValidationError) -> ConfigError:
        return ConfigError(explain(error, cls.__name__, cls.model_fields))


class SolveOptions(Options):
    """How much test-time compute a solve may spend, and on what.

    Every field left out takes the model's own default (see its card). Options are immutable;
    ``options.model_copy(update={...})`` makes changed copies, unchecked.

    Attributes
    ----------
    max_steps : int
        Supervision steps per attempt. Default 16.
    later_steps : int or None
        Supervision steps of every attempt but the plain one. Those that go on from others
        (`warm_start`) need fewer. None, the default: as many. Options that give ``max_steps`` alone
        leave it out.
    steps_per_cell : float
        On large boards news has further to travel: an attempt may take as many steps as
        ``max_steps`` or as this says, whichever is more. Default 0. Options that give ``max_steps``
        alone leave it out.
    attempts : int
        Attempts per input; the first is always the plain one. Default 1.
    explore : {"none", "noise", "symmetry", "guess", "tree"}
        How later attempts differ. Default "none".

        - ``noise``: Gaussian noise is added to the latent z before every step (PTRM, arXiv
          2605.19943).
        - ``symmetry``: the puzzle is solved under a random symmetry of its domain.
        - ``guess``: one empty cell is filled in, a different one or with another value in each
          attempt. Cells that the plain attempt was unsure of at the end of its `patience`, and
          values that it held likely there, are drawn most often. The rules judge the answer by the
          puzzle as it was given: a wrong guess costs an attempt and nothing else.
        - ``tree``: guesses follow on guesses. Where an attempt fails, the cell that has most to
          tell others is filled in with each of its values; those are tried first that the model's
          dead-end head holds for possible (a model trained with ``objective.dead_ends``).
    warm_start : bool
        With ``tree``: an attempt begins in the latents y and z in which its parent failed, not in
        the model's initial ones. What the parent has found out is not found out again; the model
        must have learned to recover from any state (``objective.random_start``). Default True.
    noise : float
        Standard deviation of the noise, in the middle of the attempts. Default 0.1.
    noise_spread : float
        Attempts take standard deviations from ``noise / noise_spread`` to ``noise * noise_spread``,
        evenly spaced in the logarithm: what helps one puzzle is too little or too much for another.
        1 gives all the same. Default 2.5.
    patience : int or None
        Steps that the plain attempt runs alone before others join it. 0: all start together. None,
        the default: the others wait until the plain attempt has failed.
    width : int or None
        Attempts per input in flight at a time; when one ends, the next begins. None, the default:
        as many as make a batch that suits the model and the device (`Runtime.batch_size`); with
        ``explore="tree"``, 8, the most that one wave begins. On a CPU
        a narrow search takes less time: most puzzles need few attempts, and a wide search has begun
        many by the time the first succeeds. Where all attempts vote, all are in flight. No more
        than 1024 share a batch, or the batch size where that is more; others wait for a slot.
    choose : {"auto", "confidence", "majority"}
        How to choose among the attempts' last answers where the rules confirm none: the one that
        the halting head gives the highest probability, or the most frequent one (ties: the highest
        probability). "auto", the default, takes the majority where there are no rules to check by
        and attempts are symmetries.
    halt_threshold : float
        Probability of the halting head above which an attempt stops; 1, the default, never stops
        early. Where a domain has rules, an answer that they confirm always stops the solve, and one
        that they refute never counts as halted.
    verify : bool
        Use the domain's rules to stop and to choose. If False, the halting head decides alone, as
        in the paper. Default True.
    seconds : float or None
        Wall-clock time after which a solve stops and gives the best answer so far; onnxruntime is
        interrupted in the middle of a step, PyTorch finishes it. Default None: no limit.
    candidates : int
        Most distinct answers per input that `Solution.candidates` keeps. Default 16.
    seed : int
        Seed of noise, symmetries and drawn guesses. Equal seeds give equal attempts, in whatever
        batch. Default 0.

    Raises
    ------
    ConfigError
        Naming the field, the value and what is accepted.
    """

    max_steps: Int = Field(default=16, ge=1, le=100_000)
    later_steps: Int | None = Field(default=None, ge=1, le=100_000)
    steps_per_cell: Float = Field(default=0, ge=0, le=100)
    attempts: Int = Field(default=1, ge=1, le=100_000)
    explore: Explore = "none"
    warm_start: bool = Field(default=True, strict=True)
    noise: Float = Field(default=0.1, ge=0, le=100)
    noise_spread: Float = Field(default=2.5, ge=1, le=100)
    patience: Int | None = Field(default=None, ge=0, le=_LARGEST)
    width: Int | None = Field(default=None, ge=1, le=_LARGEST)
    choose: Literal["auto", "confidence", "majority"] = "auto"
    halt_threshold: Float = Field(default=1.0, ge=0, le=1)
    verify: bool = Field(default=True, strict=True)
    seconds: Float | None = Field(default=None, gt=0)
    candidates: Int = Field(default=16, ge=1, le=100_000)
    seed: Int = Field(default=0, ge=0, le=_LARGEST)

    def over(self, defaults: SolveOptions) -> SolveOptions:
        """Return these options with `defaults` for every field that was not given."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "max_steps" in given:  # who says how many steps means it, whatever the board
            given.setdefault("steps_per_cell", 0.0)
            given.setdefault("later_steps", None)
        return defaults.model_copy(update=given)

    def steps_of(self, number: int) -> int:
        """Return the most supervision steps of an attempt; 0 is the plain one."""
        return self.max_steps if number == 0 or self.later_steps is None else self.later_steps

    def on_board(self, cells: int) -> SolveOptions:
        """Return these options with the `max_steps` that hold for a board of so many cells."""
        steps = max(self.max_steps, math.ceil(self.steps_per_cell * cells))
        return self if steps == self.max_steps else self.model_copy(update={"max_steps": steps})
