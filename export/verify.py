"""Does a graph compute what its model computes? Nothing is written before this says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from trm_sdk.model.recursion import TRM
from trm_sdk.model.structured import StructuredNetwork
from trm_sdk.runtimes.graph_session import group_input, heads_given

from .builder import Array
from .errors import ExportError
from .graph_file import check_graph, fixed_batch, metadata
from .quantize import ROUNDS_ACTIVATIONS
from .sessions import Runner

#: Logits may differ by this much where rounding is all that differs.
TOLERANCE = 1e-4
#: Where the network itself amplifies rounding, by this many times what PyTorch differs from itself.
_NOISE_FACTOR = 10.0


@dataclass(frozen=True)
class Verification:
    """How a graph compares with PyTorch.

    Attributes
    ----------
    mode, precision : str
    examples, steps : int
        Size of the comparison: a batch of so many, over so many supervision steps.
    max_difference : float or None
        Largest absolute difference of logits and halting logits over one supervision step, both
        sides starting from the same state. None for an unrolled graph of several steps, which
        does not show its first one; `export_onnx` compares a graph of one step beside it.
    final_difference : float
        The same after `steps` supervision steps of their own.
    noise : float or None
        What PyTorch in float32 differs from PyTorch in float64 after as many steps: a network may
        amplify rounding from step to step, whoever computes it. Measured only where
        `final_difference` is not small.
    answers : float
        Share of cells with the same answer, among those whose best two logits lie further apart
        than the sides differ.
    halting : bool or None
        Whether every example halted at the same step (``loop`` only).
    passes : int
        Passes of the network that `max_difference` is over: a supervision step's, or 2 where the
        network amplifies rounding too much within one.
    """

    mode: str
    precision: str
    examples: int
    steps: int
    max_difference: float | None
    final_difference: float
    noise: float | None
    answers: float
    halting: bool | None
    passes: int

    def require(self, tolerance: float = TOLERANCE) -> None:
        """Refuse a graph that differs.

        Raises
        ------
        ExportError
            Naming the largest difference.
        """
        if self.precision in ROUNDS_ACTIVATIONS:
            # Rounded activations are a difference by design: only nonsense can be told from here.
            if not np.isfinite(self.final_difference):
                raise ExportError(f"the {self.mode} graph's logits are not finite")
            return
        if self.max_difference is not None and not self.max_difference <= tolerance:
            raise ExportError(
                f"the {self.mode} graph differs from PyTorch by {self.max_difference:.2e} over "
                f"{self.passes} passes; {tolerance:.0e} is allowed"
            )
        allowed = max(tolerance, _NOISE_FACTOR * (self.noise or 0.0))
        if not self.final_difference <= allowed:
            raise ExportError(
                f"the {self.mode} graph differs from PyTorch by {self.final_difference:.2e} after "
                f"{self.steps} supervision steps; {allowed:.1e} is allowed"
            )
        if self.answers < 1:
            raise ExportError(
                f"the {self.mode} graph gives other answers than PyTorch in "
                f"{1 - self.answers:.1%} of the cells"
            )
        if self.halting is False:
            raise ExportError(f"the {self.mode} graph halts at other steps than PyTorch")


@dataclass(frozen=True)
class Trajectory:
    """A run of PyTorch: relative states before each step, and what each step read out.

    Attributes
    ----------
    states : list of (y, z), float32 arrays of shape (batch, *state_shape)
    read : list of dict from output to array
        Logits, halting logits and those of further heads of each step, as a graph names them.
    """

    states: list[tuple[Array, Array]]
    read: list[dict[str, Array]]

    @classmethod
    def of(
        cls,
        model: TRM,
        tokens: Array,
        identifiers: Array,
        steps: int,
        heads: Sequence[str] = (),
        groups: Mapping[str, Array] | None = None,
    ) -> Trajectory:
        """Run a model for so many supervision steps."""
        given: dict[str, Tensor] | None = None
        if groups is not None:
            given = {key: torch.from_numpy(one) for key, one in groups.items()}
        states, read = [], []
        board = (tokens.shape[1], tokens.shape[2]) if model.config.any_size else None
        start = model.initial_state(len(tokens), board)
        state = start
        with torch.inference_mode():
            for _ in range(steps):
                states.append(((state.y - start.y).numpy(), (state.z - start.z).numpy()))
                state, logits, halt = model(
                    torch.from_numpy(tokens), state, torch.from_numpy(identifiers), given
                )
                values = {"logits": logits, "halt_logit": halt}
                if heads:
                    assert isinstance(model.network, StructuredNetwork)  # others have no heads
                    auxiliary = model.network.auxiliary(state.y)
                    values |= {name: auxiliary[name] for name in heads}
                read.append({name: value.numpy() for name, value in values.items()})
        return cls(states, read)

    @property
    def logits(self) -> Array:
        """Of all steps: (steps, batch, *cells, outputs)."""
        return np.stack([one["logits"] for one in self.read])

    @property
    def halts(self) -> Array:
        """Halting logits of all steps: (steps, batch)."""
        return np.stack([one["halt_logit"] for one in self.read])

    def halting_steps(self, threshold: float) -> Array:
        """Return the step at which each example halts, the last one if none."""
        halted = 1 / (1 + np.exp(-self.halts)) > threshold
        return np.where(halted.any(0), halted.argmax(0) + 1, len(halted)).astype(np.int32)


def verify_graph(
    graph: onnx.ModelProto,
    model: TRM,
    *,
    examples: int | None = None,
    steps: int | None = None,
    tokens: Array | None = None,
    seed: int = 0,
) -> Verification:
    """Compare a graph with PyTorch on the same puzzles.

    A graph of any size is compared on boards of its model's usual shape and of another one.

    Parameters
    ----------
    graph : ModelProto
        Of any mode and precision.
    model : TRM
    examples : int, optional
        Random inputs to compare on; default 2, or as many as a graph of a fixed batch takes.
    steps : int, optional
        Supervision steps; default 3, or as many as an unrolled graph takes.
    tokens : integer array of shape (batch, N), optional
        Puzzles to compare on, instead of random tokens; (batch, rows, columns) for a graph of any
        size.
    seed : int

    Raises
    ------
    ExportError
        If the graph is invalid, does not run, or is for another number of examples or steps.
    """
    check_graph(graph)
    properties = metadata(graph)
    mode = properties["trm_mode"]
    own = int(properties["max_steps"]) if mode == "unroll" else None
    if own is not None and steps not in (None, own):
        raise ExportError(f"the graph takes {own} steps; got steps={steps}")
    steps = own or steps or 3
    config = model.config
    fixed = fixed_batch(graph)
    if fixed and examples not in (None, fixed):
        raise ExportError(f"the graph is made for batches of {fixed}; got examples={examples}")
    examples = fixed or examples or (2 if tokens is None else len(tokens))
    rng = np.random.default_rng(seed)
    if tokens is None:
        inputs = [rng.integers(0, config.vocab_size, (examples, *b)) for b in _boards(model)]
    else:
        inputs = [np.resize(tokens, (examples, *tokens.shape[1:]))]
    runner = Runner(graph, {})
    found = [_compare(runner, mode, model, part.astype(np.int32), steps, rng) for part in inputs]
    noises = [one.noise for one in found if one.noise is not None]
    return Verification(
        mode=mode,
        precision=properties["precision"],
        examples=examples,
        steps=steps,
        max_difference=_largest([one.first for one in found]),
        final_difference=float(np.max([one.final for one in found])),
        noise=max(noises) if noises else None,
        answers=min(one.answers for one in found),
        halting=None if mode != "loop" else all(one.halting for one in found),
        passes=config.passes,
    )


def _boards(model: TRM) -> list[tuple[int, ...]]:
    """Shapes of the tokens of one puzzle to compare on."""
    config = model.config
    if not config.any_size or config.structure is None:
        return [(config.seq_len,)]
    rows, columns = config.structure.shape
    return [(rows, columns), (rows + 1, columns + 3)]


def _largest(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.max(known)) if known else None  # unlike max, not deaf to nan


@dataclass(frozen=True)
class _Comparison:
    """How a graph compares with PyTorch on one batch; see `Verification`."""

    first: float | None
    final: float
    noise: float | None
    answers: float
    halting: bool | None


def _compare(
    run: Runner, mode: str, model: TRM, tokens: Array, steps: int, rng: np.random.Generator
) -> _Comparison:
    config = model.config
    run.feeds = {"tokens": tokens}
    identifiers = rng.integers(0, config.num_puzzle_identifiers, len(tokens)).astype(np.int32)
    if config.num_puzzle_identifiers > 1:
        run.feeds["puzzle_identifiers"] = identifiers
    heads = heads_given(run.names, config)
    groups = _random_groups(run, model, len(tokens), rng)
    if groups is not None:
        run.feeds |= {group_input(key): one for key, one in groups.items()}
    reference = Trajectory.of(model, tokens, identifiers, steps, heads, groups)
    by_mode = {"step": _verify_step, "loop": _verify_loop, "unroll": _verify_unroll}[mode]
    one, final, logits, halting = by_mode(run, model, reference)
    noise = None
    if final > TOLERANCE:
        wide = TRM(config).double()
        wide.load_state_dict(model.state_dict())
        exact = Trajectory.of(wide, tokens, identifiers, steps, heads, groups)
        noise = max(
            float(np.abs(exact.read[-1][name] - value).max())
            for name, value in reference.read[-1].items()
        )
    return _Comparison(one, final, noise, _agreement(logits, reference.logits[-1]), halting)


def _random_groups(
    run: Runner, model: TRM, batch: int, rng: np.random.Generator
) -> dict[str, Array] | None:
    """Groups of each puzzle's own, where the graph takes them: the model's, with cells shuffled,
    and one that is absent."""
    structure = model.config.structure
    named = {value.name for value in run.session.get_inputs()}
    named |= {value.name for value in run.session.get_overridable_initializers()}
    if structure is None or not any(group_input(key) in named for key in structure.memberships()):
        return None
    cells = [rng.permutation(structure.cells) for _ in range(batch)]
    found = {}
    for key, one in structure.memberships().items():
        found[key] = np.stack([one[:, order] for order in cells]).astype(np.float32)
        found[key][0, -1] = 0
    return found


_Outcome = tuple[float | None, float, Array, bool | None]


def _verify_step(run: Runner, model: TRM, reference: Trajectory) -> _Outcome:
    one = 0.0
    for number, (y, z) in enumerate(reference.states):
        out = run(y=y.astype(np.float32), z=z.astype(np.float32))
        one = max(one, _difference(out, reference, number))
        if number + 1 < len(reference.states):
            # A wrong state would show only one step later, and never for the last output.
            after = reference.states[number + 1]
            for name, expected in zip(("next_y", "next_z"), after, strict=True):
                one = max(one, float(np.abs(out[name] - expected).max()))
    y = z = np.zeros_like(reference.states[0][0], np.float32)
    for _ in reference.states:
        out = run(y=y, z=z)
        y, z = out["next_y"], out["next_z"]
    return one, _difference(out, reference, -1), out["logits"], None


def _verify_loop(run: Runner, model: TRM, reference: Trajectory) -> _Outcome:
    def call(limit: int, threshold: float) -> dict[str, Array]:
        return run(
            max_steps=np.array(limit, np.int64), halt_threshold=np.array(threshold, np.float32)
        )

    steps = len(reference.read)
    one = _difference(call(1, 1.0), reference, 0)
    last = call(steps, 1.0)
    halting = bool((last["steps"] == steps).all()) and _same_answer(run, model, last)
    threshold = _parting_threshold(reference.halts)
    early = call(steps, threshold)
    halting &= bool((early["steps"] == reference.halting_steps(threshold)).all())
    return one, _difference(last, reference, -1), last["logits"], halting


def _verify_unroll(run: Runner, model: TRM, reference: Trajectory) -> _Outcome:
    out = run()
    if not _same_answer(run, model, out):
        raise ExportError("the unroll graph's answer does not match its logits")
    final = _difference(out, reference, -1)
    return (final if len(reference.read) == 1 else None), final, out["logits"], None


def _same_answer(run: Runner, model: TRM, out: dict[str, Array]) -> bool:
    """Whether a graph's answer is what PyTorch would make of the graph's logits."""
    tokens: Tensor = torch.from_numpy(run.feeds["tokens"])
    expected = model.answer(tokens, torch.from_numpy(out["logits"])).numpy()
    return bool((out["answer"] == expected).all())


def _parting_threshold(halts: Array) -> float:
    """A threshold in the widest gap between halting probabilities, so that rounding can't cross."""
    probabilities = np.sort(1 / (1 + np.exp(-halts.astype(np.float64))).reshape(-1))
    gaps = np.diff(probabilities)
    if not len(gaps) or gaps.max() < 1e-3:
        return 1.0
    widest = int(gaps.argmax())
    return float((probabilities[widest] + probabilities[widest + 1]) / 2)


def _difference(out: dict[str, Array], reference: Trajectory, step: int) -> float:
    """Largest absolute difference; nan where either side is not finite."""
    expected = reference.read[step]
    return float(np.max([np.abs(out[name] - value).max() for name, value in expected.items()]))


def _agreement(logits: Array, expected: Array) -> float:
    apart = np.abs(logits - expected).max()
    best = np.sort(expected, axis=-1)
    decided = best[..., -1] - best[..., -2] > 2 * apart
    same = logits.argmax(-1) == expected.argmax(-1)
    return float(same[decided].mean()) if decided.any() else 1.0
