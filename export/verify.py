"""Does a graph compute what its model computes? Nothing is written before this says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import onnx
import torch
from torch import Tensor

from export.builder import Array
from export.errors import ExportError
from export.graph import GRAPH_FORMAT, STEPS, Mode
from export.networks import read_weights
from export.quantize import PRECISIONS, ROUNDS_ACTIVATIONS
from trm_sdk.errors import CheckpointError
from trm_sdk.messages import first_line
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.checkpoint import build
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.onnx import check_providers, choose_providers
from trm_sdk.runtimes.ort import import_onnxruntime
from trm_sdk.validation import checked_threads

if TYPE_CHECKING:
    import onnxruntime

#: Logits may differ by this much where rounding is all that differs.
TOLERANCE = 1e-4
#: Puzzles that are run at a time: small batches stay in the cache.
_PUZZLE_BATCH = 8
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
class PuzzleCheck:
    """How a graph compares with PyTorch on real puzzles, run as a Solver would run them.

    Attributes
    ----------
    puzzles, steps : int
        How many were compared, and the supervision steps that each could take.
    unsettled : int
        Those on which the graph differs, but PyTorch in float32 and in float64 disagree themselves,
        in the final answer or the halting step: rounding decides there, and nothing follows for
        the graph.
    answers, halting : int
        Among the others, those with an equal final answer, and with an equal halting step (a graph
        of mode ``unroll`` does not halt: all of them).
    precision : str
    """

    puzzles: int
    steps: int
    unsettled: int
    answers: int
    halting: int
    precision: str

    def require(self) -> None:
        """Refuse a graph that answers or halts differently; forms that round activations may.

        Raises
        ------
        ExportError
        """
        settled = self.puzzles - self.unsettled
        if self.precision not in ROUNDS_ACTIVATIONS and min(self.answers, self.halting) < settled:
            raise ExportError(
                f"of {settled} puzzles the graph answers {settled - self.answers} and halts on "
                f"{settled - self.halting} otherwise than PyTorch"
            )


def verify_puzzles(graph: onnx.ModelProto, model: TRM, tokens: Array) -> PuzzleCheck:
    """Compare final answers and halting steps on real puzzles.

    Parameters
    ----------
    graph : ModelProto
        Of any mode and precision, for a dynamic batch or for this one.
    model : TRM
        With the weights as the graph's precision rounds them.
    tokens : int32 array of shape (puzzles, N)

    Raises
    ------
    ExportError
        If the graph does not run.
    """
    properties = metadata(graph)
    options = ModelSpec.from_json(properties["trm_spec"], "the graph").solve
    mode, threshold = properties["trm_mode"], options.halt_threshold
    steps = int(properties["max_steps"]) if mode == "unroll" else options.max_steps
    fixed = fixed_batch(graph)
    if fixed:  # whole batches alone
        tokens = np.resize(tokens, (-(-len(tokens) // fixed) * fixed, tokens.shape[1]))
    identifiers = np.zeros(len(tokens), np.int32)

    def outcome(torch_model: TRM, part: Array) -> tuple[Array, Array]:
        run = Trajectory.of(torch_model, part, identifiers[: len(part)], steps)
        halted = run.halting_steps(1.0 if mode == "unroll" else threshold)
        last = torch.from_numpy(run.logits[halted - 1, np.arange(len(halted))])
        return model.answer(torch.from_numpy(part), last).numpy(), halted

    expected, stops = outcome(model, tokens)
    found, found_stops = [], []
    size = fixed or _PUZZLE_BATCH
    runner = _Runner(graph, {})
    for start in range(0, len(tokens), size):
        part = tokens[start : start + size]
        runner.feeds = {"tokens": part}
        if model.config.num_puzzle_identifiers > 1:
            runner.feeds["puzzle_identifiers"] = identifiers[: len(part)]
        if mode == "step":
            answer, stopped = _drive(runner, model, steps, threshold)
        elif mode == "unroll":
            answer, stopped = runner()["answer"], stops[start : start + size]
        else:
            out = runner(
                max_steps=np.array(steps, np.int64),
                halt_threshold=np.array(threshold, np.float32),
            )
            answer, stopped = out["answer"], out["steps"]
        found.append(answer)
        found_stops.append(stopped)
    same = (np.concatenate(found) == expected).all(1)
    same_stop = np.concatenate(found_stops) == stops
    settled = same & same_stop
    if not settled.all():  # float64 takes several times as long, and is asked only where it matters
        doubtful = np.flatnonzero(~settled)
        wide = TRM(model.config).double()
        wide.load_state_dict(model.state_dict())
        other, other_stops = outcome(wide, tokens[doubtful])
        agree = (other == expected[doubtful]).all(1) & (other_stops == stops[doubtful])
        settled[doubtful] = agree
    return PuzzleCheck(
        puzzles=len(tokens),
        steps=steps,
        unsettled=int((~settled).sum()),
        answers=int(same[settled].sum()),
        halting=int(same_stop[settled].sum()),
        precision=properties["precision"],
    )


def _drive(run: _Runner, model: TRM, steps: int, threshold: float) -> tuple[Array, Array]:
    """Answers and halting steps of a ``step`` graph, driven as a host would."""
    tokens = run.feeds["tokens"]
    y = z = np.zeros((len(tokens), *model.config.state_shape), np.float32)
    logits, halts = [], []
    for _ in range(steps):
        out = run(y=y, z=z)
        y, z = out["next_y"], out["next_z"]
        logits.append(out["logits"])
        halts.append(out["halt_logit"])
    seen = Trajectory([], np.stack(logits), np.stack(halts))
    halted = seen.halting_steps(threshold)
    last = torch.from_numpy(seen.logits[halted - 1, np.arange(len(tokens))])
    return model.answer(torch.from_numpy(tokens), last).numpy(), halted


def session(
    graph: onnx.ModelProto | str | Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    spin: bool = False,
) -> onnxruntime.InferenceSession:
    """An onnxruntime session.

    Parameters
    ----------
    graph : ModelProto or path
    threads : int, optional
        Within one operator; default: onnxruntime's own choice.
    device : {"cpu", "cuda", "tensorrt"}
    spin : bool
        Let threads spin between the operators of one call, as long as it lasts: faster on a
        machine with nothing else to do, several times slower on any other. `OnnxRuntime` does not.

    Raises
    ------
    ExportError
        If onnxruntime does not take the graph.
    InvalidInputError
        If the device is not to be had, or the number of threads is out of range.
    """
    ort = import_onnxruntime()
    providers = choose_providers(device, ort.get_available_providers())
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = checked_threads(threads)
    source: Any = graph.SerializeToString() if isinstance(graph, onnx.ModelProto) else str(graph)
    try:
        made = ort.InferenceSession(source, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"onnxruntime refuses the graph: {first_line(error)}") from None
    check_providers(device, providers, made.get_providers())
    return made


def run_session(
    made: onnxruntime.InferenceSession,
    feeds: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> list[Array]:
    """The outputs of a session's graph, by default all of them, in order.

    Raises
    ------
    ExportError
        If onnxruntime fails in it, as for want of memory.
    """
    try:
        values: list[Array] = made.run(outputs, dict(feeds))
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise ExportError(f"the graph does not run: {first_line(error)}") from None
    return values


def load_graph(path: str | Path) -> onnx.ModelProto:
    """Read a graph file.

    Raises
    ------
    ExportError
        If there is none, or it is no ONNX file.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"no graph at {path}")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own, by implementation
        raise ExportError(f"{path} is no ONNX file: {first_line(error)}") from None
    if not model.graph.node:
        raise ExportError(f"{path} is no ONNX file: it has no nodes")
    return model


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    """The metadata properties of a graph that this package wrote.

    Raises
    ------
    ExportError
        If one is missing, of another format, or none of the accepted.
    """
    properties = {item.key: item.value for item in model.metadata_props}
    if "trm_format" not in properties:
        raise ExportError("the graph was not written by trm-export: 'trm_format' is missing")
    if properties["trm_format"] != GRAPH_FORMAT:
        raise ExportError(
            f"the graph is of format {properties['trm_format']!r}; this version reads "
            f"{GRAPH_FORMAT!r}"
        )
    unrolled = properties.get("trm_mode") == "unroll"
    needed = ("trm_mode", "precision", "trm_spec", "weights_sha256")
    for key in (*needed, "max_steps") if unrolled else needed:
        if key not in properties:
            raise ExportError(f"the graph's metadata lacks {key!r}; export the model again")
    for key, accepted in (("trm_mode", get_args(Mode)), ("precision", PRECISIONS)):
        if properties[key] not in accepted:
            raise ExportError(
                f"the graph's {key} must be one of {', '.join(accepted)}; got {properties[key]!r}"
            )
    number = properties["max_steps"] if unrolled else "1"
    digits = number.isascii() and number.isdecimal() and len(number) <= len(str(STEPS[-1]))
    if not digits or int(number) not in STEPS:
        raise ExportError(
            f"the graph's max_steps must be from {STEPS[0]} to {STEPS[-1]}; got {number!r}"
        )
    return properties


def fixed_batch(model: onnx.ModelProto) -> int:
    """The batch size that a graph is made for; 0 where it takes any."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def check_graph(model: onnx.ModelProto) -> None:
    """onnx's own checker, with strict shape inference.

    Raises
    ------
    ExportError
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the graph is not valid ONNX: {first_line(error)}") from None


def model_of(model: onnx.ModelProto, source: str | Path = "the graph") -> tuple[ModelSpec, TRM]:
    """The PyTorch model that a float32 graph was built from, out of the graph alone.

    Raises
    ------
    ExportError
        If a weight is missing.
    CheckpointError
        If its description is no valid one.
    """
    spec = ModelSpec.from_json(metadata(model)["trm_spec"], source)
    shapes = {name: tuple(t.shape) for name, t in TRM(spec.model).state_dict().items()}
    weights = read_weights(model, shapes)
    return spec, build(
        spec, {name: torch.from_numpy(array.copy()) for name, array in weights.items()}, source
    )


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
        Puzzles to compare on, instead of random tokens.
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
        tokens = rng.integers(0, config.vocab_size, (examples, config.seq_len))
    tokens = np.resize(tokens, (examples, config.seq_len)).astype(np.int32)
    feeds: dict[str, Array] = {"tokens": tokens}
    identifiers = rng.integers(0, config.num_puzzle_identifiers, examples).astype(np.int32)
    if config.num_puzzle_identifiers > 1:
        feeds["puzzle_identifiers"] = identifiers
    run = _Runner(graph, feeds)
    reference = Trajectory.of(model, tokens, identifiers, steps)
    comparison = {"step": _verify_step, "loop": _verify_loop, "unroll": _verify_unroll}[mode]
    one, final, logits, halting = comparison(run, model, reference)
    noise = None
    if final > TOLERANCE:
        wide = TRM(config).double()
        wide.load_state_dict(model.state_dict())
        exact = Trajectory.of(wide, tokens, identifiers, steps)
        noise = max(
            float(np.abs(exact.logits[-1] - reference.logits[-1]).max()),
            float(np.abs(exact.halts[-1] - reference.halts[-1]).max()),
        )
    return Verification(
        mode=mode,
        precision=properties["precision"],
        examples=examples,
        steps=steps,
        max_difference=one,
        final_difference=final,
        noise=noise,
        answers=_agreement(logits, reference.logits[-1]),
        halting=halting,
        passes=config.passes,
    )


@dataclass(frozen=True)
class Trajectory:
    """A run of PyTorch: relative states before each step, and what each step read out.

    Attributes
    ----------
    states : list of (y, z), float32 arrays of shape (batch, *state_shape)
    logits : float array of shape (steps, batch, N, outputs)
    halts : float array of shape (steps, batch)
    """

    states: list[tuple[Array, Array]]
    logits: Array
    halts: Array

    @classmethod
    def of(cls, model: TRM, tokens: Array, identifiers: Array, steps: int) -> Trajectory:
        """Run a model for so many supervision steps."""
        states, logits, halts = [], [], []
        start = model.initial_state(len(tokens))
        state = start
        with torch.inference_mode():
            for _ in range(steps):
                states.append(((state.y - start.y).numpy(), (state.z - start.z).numpy()))
                state, logit, halt = model(
                    torch.from_numpy(tokens), state, torch.from_numpy(identifiers)
                )
                logits.append(logit.numpy())
                halts.append(halt.numpy())
        return cls(states, np.stack(logits), np.stack(halts))

    def halting_steps(self, threshold: float) -> Array:
        """The step at which each example halts, the last one if none."""
        halted = 1 / (1 + np.exp(-self.halts)) > threshold
        return np.where(halted.any(0), halted.argmax(0) + 1, len(halted)).astype(np.int32)


class _Runner:
    def __init__(self, graph: onnx.ModelProto, feeds: dict[str, Array]) -> None:
        self.session = session(graph)
        self.names = [output.name for output in self.session.get_outputs()]
        self.feeds = feeds

    def __call__(self, **feeds: Array) -> dict[str, Array]:
        return dict(
            zip(self.names, run_session(self.session, {**self.feeds, **feeds}), strict=True)
        )


_Outcome = tuple[float | None, float, Array, bool | None]


def _verify_step(run: _Runner, model: TRM, reference: Trajectory) -> _Outcome:
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


def _verify_loop(run: _Runner, model: TRM, reference: Trajectory) -> _Outcome:
    def call(limit: int, threshold: float) -> dict[str, Array]:
        return run(
            max_steps=np.array(limit, np.int64), halt_threshold=np.array(threshold, np.float32)
        )

    steps = len(reference.logits)
    one = _difference(call(1, 1.0), reference, 0)
    last = call(steps, 1.0)
    halting = bool((last["steps"] == steps).all()) and _same_answer(run, model, last)
    threshold = _parting_threshold(reference.halts)
    early = call(steps, threshold)
    halting &= bool((early["steps"] == reference.halting_steps(threshold)).all())
    return one, _difference(last, reference, -1), last["logits"], halting


def _verify_unroll(run: _Runner, model: TRM, reference: Trajectory) -> _Outcome:
    out = run()
    if not _same_answer(run, model, out):
        raise ExportError("the unroll graph's answer is not that of its logits")
    final = _difference(out, reference, -1)
    return (final if len(reference.logits) == 1 else None), final, out["logits"], None


def _same_answer(run: _Runner, model: TRM, out: dict[str, Array]) -> bool:
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
    return float(
        max(
            np.abs(out["logits"] - reference.logits[step]).max(),
            np.abs(out["halt_logit"] - reference.halts[step]).max(),
        )
    )


def _agreement(logits: Array, expected: Array) -> float:
    apart = np.abs(logits - expected).max()
    best = np.sort(expected, axis=-1)
    decided = best[..., -1] - best[..., -2] > 2 * apart
    same = logits.argmax(-1) == expected.argmax(-1)
    return float(same[decided].mean()) if decided.any() else 1.0


def check_weights(graph: onnx.ModelProto, expected_sha256: str, source: str | Path) -> None:
    """Refuse a graph that was made from other weights.

    Raises
    ------
    CheckpointError
    """
    found = metadata(graph)["weights_sha256"]
    if found != expected_sha256:
        raise CheckpointError(
            f"{source} was made from other weights: checksum {found[:12]}…, expected "
            f"{expected_sha256[:12]}…"
        )
