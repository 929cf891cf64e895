"""Does a graph answer real puzzles as its model does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.spec import ModelSpec

from .builder import Array
from .errors import ExportError
from .graph_file import fixed_batch, metadata, needed_inputs
from .message import own_groups
from .puzzles import Puzzles
from .quantize import ROUNDS_ACTIVATIONS
from .sessions import Runner
from .verify import Trajectory

#: Puzzles that are run at a time: small batches stay in the cache.
_PUZZLE_BATCH = 8


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


def verify_puzzles(graph: onnx.ModelProto, model: TRM, puzzles: Sequence[Puzzles]) -> PuzzleCheck:
    """Compare final answers and halting steps on real puzzles.

    Parameters
    ----------
    graph : ModelProto
        Of any mode and precision, for a dynamic batch or for this one.
    model : TRM
        With the weights as the graph's precision rounds them.
    puzzles : sequence of Puzzles
        Each on boards of another shape.

    Raises
    ------
    ExportError
        If the graph does not run.
    """
    properties = metadata(graph)
    options = ModelSpec.from_json(properties["trm_spec"], "the graph").solve
    mode = properties["trm_mode"]
    steps = int(properties["max_steps"]) if mode == "unroll" else options.max_steps
    own = own_groups(model.config)
    runner = Runner(graph, {name: own[name] for name in needed_inputs(graph) if name in own})
    run = _Run(runner, model, mode, steps, options.halt_threshold, fixed_batch(graph))
    checks = [run.compare(some) for some in puzzles]
    return PuzzleCheck(
        puzzles=sum(len(settled) for settled, _, _ in checks),
        steps=steps,
        unsettled=sum(int((~settled).sum()) for settled, _, _ in checks),
        answers=sum(int(same[settled].sum()) for settled, same, _ in checks),
        halting=sum(int(stop[settled].sum()) for settled, _, stop in checks),
        precision=properties["precision"],
    )


@dataclass(frozen=True)
class _Run:
    """A graph and its model, as a host would run them."""

    runner: Runner
    model: TRM
    mode: str
    steps: int
    threshold: float
    fixed: int

    def compare(self, puzzles: Puzzles) -> tuple[Array, Array, Array]:
        """Return which puzzles are settled, answered alike, and halted alike: bool arrays."""
        tokens, identifiers = puzzles.tokens, puzzles.rows_of_embedding()
        if self.fixed:  # whole batches alone
            whole = -(-len(tokens) // self.fixed) * self.fixed
            tokens = np.resize(tokens, (whole, *tokens.shape[1:]))
            identifiers = np.resize(identifiers, whole)
        expected, stops = self._pytorch(self.model, tokens, identifiers)
        found, found_stops = [], []
        size = self.fixed or _PUZZLE_BATCH
        for start in range(0, len(tokens), size):
            rows = slice(start, start + size)
            answer, stopped = self._graph(tokens[rows], identifiers[rows])
            found.append(answer)
            found_stops.append(stops[rows] if stopped is None else stopped)
        same = (np.concatenate(found) == expected).reshape(len(tokens), -1).all(1)
        same_stop = np.concatenate(found_stops) == stops
        settled = same & same_stop
        if not settled.all():  # float64 takes several times as long: asked only where it matters
            doubtful = np.flatnonzero(~settled)
            wide = TRM(self.model.config).double()
            wide.load_state_dict(self.model.state_dict())
            other, other_stops = self._pytorch(wide, tokens[doubtful], identifiers[doubtful])
            agree = (other == expected[doubtful]).reshape(len(doubtful), -1).all(1)
            settled[doubtful] = agree & (other_stops == stops[doubtful])
        return settled, same, same_stop

    def _pytorch(self, model: TRM, tokens: Array, identifiers: Array) -> tuple[Array, Array]:
        run = Trajectory.of(model, tokens, identifiers, self.steps)
        halted = run.halting_steps(1.0 if self.mode == "unroll" else self.threshold)
        return self._answers(tokens, run, halted), halted

    def _answers(self, tokens: Array, run: Trajectory, halted: Array) -> Array:
        last = torch.from_numpy(run.logits[halted - 1, np.arange(len(halted))])
        answers: Array = self.model.answer(torch.from_numpy(tokens), last).numpy()
        return answers

    def _graph(self, tokens: Array, identifiers: Array) -> tuple[Array, Array | None]:
        """Answers, and halting steps where the graph halts."""
        run = self.runner
        run.feeds["tokens"] = tokens
        if self.model.config.num_puzzle_identifiers > 1:
            run.feeds["puzzle_identifiers"] = identifiers
        if self.mode == "step":
            return self._drive(tokens)
        if self.mode == "unroll":
            return run()["answer"], None
        out = run(
            max_steps=np.array(self.steps, np.int64),
            halt_threshold=np.array(self.threshold, np.float32),
        )
        return out["answer"], out["steps"]

    def _drive(self, tokens: Array) -> tuple[Array, Array]:
        """Answers and halting steps of a ``step`` graph, driven as a host would."""
        config = self.model.config
        board = (tokens.shape[1], tokens.shape[2]) if config.any_size else None
        shape = config.state_shape if board is None else config.state_shape_of(board)
        y = z = np.zeros((len(tokens), *shape), np.float32)
        read = []
        for _ in range(self.steps):
            out = self.runner(y=y, z=z)
            y, z = out["next_y"], out["next_z"]
            read.append({name: out[name] for name in ("logits", "halt_logit")})
        seen = Trajectory([], read)
        halted = seen.halting_steps(self.threshold)
        return self._answers(tokens, seen, halted), halted
