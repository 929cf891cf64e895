"""The sections of a recipe: data, objective, optimiser, evaluation, model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trm_sdk.domains import Domain, get_domain
from trm_sdk.model.config import Block, HaltPool, Mixer, Positions

if TYPE_CHECKING:
    from trm_sdk.model.supervision import SupervisionSettings

#: Bounds beyond which a number could only be a slip, and would hang or overflow somewhere.
_MANY, _WIDE, _DEEP = 1_000_000, 1 << 16, 1024
_HUGE = 1e9

Fraction = Annotated[float, Field(ge=0, le=1)]
_Decay = Annotated[float, Field(ge=0, lt=1)]
_Weight = Annotated[float, Field(ge=0, le=_HUGE)]


def _as_written(value: Any) -> Any:
    """``off`` without quotes is a truth value in YAML, and so on a command line."""
    return "off" if value is False else value


class Strict(BaseModel):
    # Infinity would be lost on the way through a checkpoint's JSON, and means nothing anywhere.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Strict):
    """What all data sources have: their share of the mixture, and when they are in use."""

    weight: float = Field(default=1.0, gt=0, le=_HUGE)
    start: Fraction = 0.0
    end: Fraction = 1.0

    @model_validator(mode="after")
    def _has_a_time(self) -> Source:
        if self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class OfDomain(Source):
    """Examples that come from the domain itself, `Domain.source`.

    Attributes
    ----------
    options : mapping
        Of the domain's source; in a recipe they stand beside the others. See `Domain.Options`.
    domain : str or None
        Another domain that makes the puzzles, on the same boards: a model that takes groups of
        cells (block "message") learns Sudoku, X-Sudoku and jigsaws in one run. Default: the
        recipe's own.
    weight : float
        Share of this source in the mixture, relative to the others.
    start, end : float
        Part of the run, as fractions of its steps, in which the source is used.
    """

    options: dict[str, Any] = Field(default_factory=dict)
    domain: str | None = None

    def made_by(self, domain: Domain) -> Domain:
        """Return the domain that makes the puzzles, given that of the recipe."""
        return domain if self.domain is None else get_domain(self.domain)

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        options = {key: value for key, value in data.items() if key not in cls.model_fields}
        return own | {"options": {**own.get("options", {}), **options}}


class Generated(OfDomain):
    """Puzzles that the domain makes on the fly."""

    kind: Literal["generated"] = "generated"


class DataSet(OfDomain):
    """Examples of a data set in a form of the domain's own, which its options name (ARC's tasks).

    What the data set holds out is measured, unless `Evaluation.sets` or `files` name other sets.
    """

    kind: Literal["dataset"]


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
    limit: int | None = Field(default=None, gt=0, le=1 << 62)
    augment: bool = True


class Prepared(Source):
    """Puzzles that ``python -m training.prepare`` has drawn from a recipe's sources.

    What climbs to hard puzzles takes a core several milliseconds a puzzle, which a GPU would wait
    for.

    Attributes
    ----------
    path : str
        Of the ``.npz`` file.
    """

    kind: Literal["prepared"]
    path: str


DataSource = Annotated[Generated | DataSet | PuzzleFile | Prepared, Field(discriminator="kind")]


class Depth(Strict):
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
    H_cycles: int = Field(gt=0, le=_DEEP)
    L_cycles: int = Field(gt=0, le=_DEEP)
    max_steps: int | None = Field(default=None, gt=0, le=_MANY)


class Objective(Strict):
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
    dead_ends : float
        Share of the puzzles of which some more cells are filled in, every second one with one wrong
        value. The model gets a head that is taught to say which (`ModelConfig.dead_end_head`), for
        solving with ``explore="tree"``. For domains that keep givens and whose puzzles have one
        solution. Default 0: the model has no such head.
    dead_end_weight : float
        Weight of that head's binary cross-entropy.
    guesses : float
        Share of the puzzles that go on, where they would leave their slots unsolved, with a guess
        filled in and from the state that they are in: what an attempt of ``explore="tree"`` does.
        The cell is the one that the search would branch on; the value is right in one of two, else
        the likeliest that is wrong, which makes the puzzle a dead end. It stays for `min_steps`
        more, or twice as many, and may then go on with another. Default 0. Only with `dead_ends`,
        and ``refill="solved"``.
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
    long_stay : float
        Probability that a puzzle, once solved, stays for a stretch drawn uniformly from 0 to
        `long_stay_steps` instead, whatever its limit was: it teaches to keep an answer for long.
    exploration : float
        ``halting`` only: probability that a puzzle must stay for a random number of steps.
    noise, noise_share : float
        Standard deviation of Gaussian noise added to the latent before every supervision step, and
        the share of slots that get it, drawn anew at every optimiser step.
    random_start : float
        Standard deviation of Gaussian noise added to the initial state of every puzzle (EqR).
    targets : {"auto", "off"}
        ``auto``: the domain's targets in time, where it states some (`Domain.targets`), with a head
        of the model for each of its `Domain.heads`. A puzzle's `min_steps` and `max_steps` are then
        counted from the step at which all of it is due, except with ``last-step``. ``off``: the
        answer alone, at every step.
    head_weight : float or mapping from name to float
        Weight of the auxiliary heads' losses.
    timing : {"due", "final"}
        ``final``: ask for what is right in the end at every step, whenever it is due: an ablation.
    """

    scheme: Literal["deep", "last-step"] = "deep"
    grad_steps: int = Field(default=1, ge=1, le=_DEEP)
    grad_cycles: int = Field(default=1, ge=1, le=_DEEP)
    extra_cycle: Fraction = 0.0
    depth: tuple[Depth, ...] = ()
    loss: Literal["softmax", "stablemax"] = "softmax"
    cells: Literal["empty", "all"] = "empty"
    halting_weight: float = Field(default=0.2, ge=0, le=_HUGE)
    dead_ends: Fraction = 0.0
    dead_end_weight: float = Field(default=0.5, ge=0, le=_HUGE)
    guesses: Fraction = 0.0
    refill: Literal["solved", "halting"] = "solved"
    min_steps: int = Field(default=4, ge=1, le=_MANY)
    max_steps: int = Field(default=24, ge=1, le=_MANY)
    linger: int = Field(default=0, ge=0, le=_MANY)
    long_stay: Fraction = 0.0
    long_stay_steps: int = Field(default=80, ge=0, le=_MANY)
    exploration: Fraction = 0.1
    noise: float = Field(default=0.0, ge=0, le=_HUGE)
    noise_share: Fraction = 1.0
    random_start: float = Field(default=0.0, ge=0, le=_HUGE)
    targets: Annotated[Literal["auto", "off"], BeforeValidator(_as_written)] = "auto"
    head_weight: _Weight | dict[str, _Weight] = 1.0
    timing: Literal["due", "final"] = "due"

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
        if self.guesses and (by_halting or self.scheme != "deep" or not self.dead_ends):
            raise ValueError(
                "guesses are for scheme 'deep', refill 'solved' and dead_ends above 0; got "
                f"{self.scheme!r}, {self.refill!r} and {self.dead_ends}"
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

    def supervision(self, heads: Iterable[str] = ()) -> SupervisionSettings:
        """Return what `trm_sdk.model.supervision` needs of it, for a model with these heads."""
        from trm_sdk.model.supervision import SupervisionSettings

        weight = self.head_weight
        return SupervisionSettings(
            grad_steps=self.grad_steps,
            grad_cycles=self.grad_cycles,
            loss=self.loss,
            cells=self.cells,
            halting_weight=self.halting_weight,
            dead_end_weight=self.dead_end_weight,
            head_weights=(weight if isinstance(weight, dict) else dict.fromkeys(heads, weight)),
            timing=self.timing,
        )


class Optimizer(Strict):
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
    lr: float = Field(default=3e-3, gt=0, le=1e3)
    muon_lr: float = Field(default=0.01, gt=0, le=1e3)
    betas: tuple[_Decay, _Decay] = (0.9, 0.95)
    weight_decay: float = Field(default=0.05, ge=0, le=_HUGE)
    clip: float | None = Field(default=1.0, gt=0)
    puzzle_lr: float = Field(default=1e-4, gt=0, le=1e3)
    puzzle_weight_decay: float = Field(default=1.0, ge=0, le=_HUGE)
    warmup: int = Field(default=100, ge=0, le=_MANY)
    schedule: Literal["cosine", "constant", "trapezoid"] = "cosine"
    cooldown: Fraction = 0.3
    floor: Fraction = 0.02
    ema: _Decay = 0.995
    ema_warmup: bool = True


class Evaluation(Strict):
    """What is measured on held-out puzzles, during the run and at its end.

    Attributes
    ----------
    every : float
        Seconds between evaluations.
    puzzles : int
        Held-out puzzles a set while training (ten times as many at the end).
    sets : mapping from name to generator options
        Generated sets; see `Domain.Options`. ``domain`` among the options names another domain that
        makes the puzzles, as for a data source. Default: one, of the generator's own defaults,
        where the domain has a generator; and what the recipe's data sets hold out.
    files : mapping from name to path
        Sets from CSV files, for the end of the run; where no set is generated, `puzzles` of each
        are also measured during the run.
    steps : int
        Supervision steps.
    """

    every: float = Field(default=120.0, gt=0, le=_HUGE)
    puzzles: int = Field(default=100, gt=0, le=_MANY)
    sets: dict[str, Any] | None = None
    files: dict[str, str] = Field(default_factory=dict)
    steps: int = Field(default=16, gt=0, le=_MANY)

    @model_validator(mode="after")
    def _distinct(self) -> Evaluation:
        if both := sorted((self.sets or {}).keys() & self.files.keys()):
            raise ValueError(f"{both[0]!r} names both a generated set and a file")
        return self


class ModelChoice(Strict):
    """The parts of `ModelConfig` that a recipe chooses; the domain gives the rest.

    Attributes
    ----------
    heads : bool
        Give the model a head for each of `Domain.heads`, where the objective uses targets in time.
        Default true; the paper's mixers have none.
    """

    mixer: Mixer = "structured"
    hidden_size: int = Field(default=32, gt=0, le=_WIDE)
    ffn_size: int | None = Field(default=None, gt=0, le=1 << 20)
    L_layers: int = Field(default=1, gt=0, le=_DEEP)
    H_cycles: int = Field(default=1, gt=0, le=_DEEP)
    L_cycles: int = Field(default=2, gt=0, le=_DEEP)
    expansion: float = Field(default=4.0, gt=0, le=1024)
    num_heads: int = Field(default=8, gt=0, le=_WIDE)
    positions: Positions = "none"
    puzzle_emb_ndim: int = Field(default=0, ge=0, le=1 << 24)
    puzzle_emb_len: int = Field(default=0, ge=0, le=_WIDE)
    halt_pool: HaltPool = "mean"
    halt_max_steps: int = Field(default=16, gt=0, le=_MANY)
    block: Block = "pool"
    heads: bool = True
