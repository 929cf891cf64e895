"""Solving on a GPU gives what solving on the CPU gives. Skipped where there is no GPU."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trm_sdk import Solution, SolveOptions, Solver
from trm_sdk.aio import AsyncSolver
from trm_sdk.domains.data import stacked_groups
from trm_sdk.errors import InvalidInputError
from trm_sdk.model.groups import complete_groups
from trm_sdk.runtimes.torch import TorchRuntime, choose_device

DEVICE = "cuda"
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    # That a step could not be recorded, or had to run without a graph, is a warning.
    pytest.mark.filterwarnings("error::RuntimeWarning"),
]

PUZZLES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("puzzles.json").read_text(encoding="utf-8")
)
FOUR = "1...  ..3.  .4..  ...2"
#: How many attempts share a batch depends on the device unless it is said.
WIDTH = 4


def on(device: str, model: str = "sudoku", **options: Any) -> Solver:
    return Solver.from_pretrained(model, "torch", device, **options)


def course(solution: Solution) -> tuple[Any, ...]:
    """What must not depend on where a puzzle was solved."""
    return (
        solution.verified,
        solution.answers,
        solution.steps,
        solution.attempts,
        solution.stopped_by,
    )


CASES = {
    "sudoku": ("sudoku", "sudoku", {"seed": 3}),
    "sudoku by noise": ("sudoku", "sudoku", {"explore": "noise", "attempts": 6, "max_steps": 32}),
    "sudoku by guesses": ("sudoku", "sudoku", {"explore": "guess", "attempts": 8}),
    "sudoku-x": ("sudoku-x", "sudoku-x", {}),
    "windoku": ("windoku", "windoku", {}),
    "jigsaw": ("jigsaw", "jigsaw", {}),
    "maze 11x11": ("maze", "maze-11", {"seed": 5}),
    "maze 17x17": ("maze", "maze-17", {"explore": "noise"}),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_steps_and_attempts_are_those_of_the_cpu(case: str) -> None:
    model, key, given = CASES[case]
    options = SolveOptions(**{"attempts": 64, "width": WIDTH, **given})
    found, expected = (
        [course(one) for one in on(device, model).solve_many(PUZZLES[key], options, 8)]
        for device in (DEVICE, "cpu")
    )
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    print(f"{case}: {same} of {len(found)} puzzles took the same course")
    both = [(one, other) for one, other in zip(found, expected, strict=True) if one[0] and other[0]]
    assert len(both) >= 0.8 * len(found)
    if key.startswith("maze"):  # which may have several shortest paths
        assert sum(one[1] == other[1] for one, other in both) >= 0.9 * len(both)
    else:
        assert all(one[1] == other[1] for one, other in both)
    # Sums are taken in another order; where two values are equally likely that may turn a choice.
    assert same >= 0.9 * len(found) - 1


def tokens_of(solver: Solver, lines: list[str]) -> tuple[Any, Any]:
    """Tokens and groups of puzzles of one shape, as a runtime takes them."""
    encoded = [solver.domain.encode(solver.parse(line)) for line in lines]
    config = solver.runtime.spec.model
    tokens = np.stack([one.tokens for one in encoded])
    tokens = tokens.reshape(len(tokens), *config.token_shape_of(encoded[0].shape))
    groups = complete_groups(stacked_groups([one.groups for one in encoded]), config)
    return tokens, groups or None


def steps_of(solver: Solver, lines: list[str], steps: int) -> list[list[Any]]:
    """Logits, halting logits and heads after each step."""
    tokens, groups = tokens_of(solver, lines)
    state, seen = solver.runtime.start(tokens, groups=groups), []
    for _ in range(steps):
        out = solver.runtime.step(state)
        state = out.state
        seen.append([out.logits, out.halt_logit, *out.heads.values()])
    return seen


def assert_close(found: list[list[Any]], expected: list[list[Any]], tolerance: float) -> float:
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        for value, truth in zip(one, other, strict=True):
            assert value.shape == truth.shape
            assert value.dtype == np.float32
            worst = max(worst, float(np.abs(value - truth).max() / max(np.abs(truth).max(), 1)))
    print(f"largest difference of logits: {worst:.2e} of the largest logit")
    assert worst < tolerance
    return worst


@pytest.mark.parametrize(
    ("model", "key", "rows"),
    [
        ("sudoku", "sudoku", 1),
        ("sudoku", "sudoku", 24),
        ("jigsaw", "jigsaw", 5),
        ("maze", "maze-11", 12),
        ("maze", "maze-17", 3),
    ],
)
def test_logits_of_eight_steps_are_close_to_the_cpus(model: str, key: str, rows: int) -> None:
    lines = PUZZLES[key][:rows]
    assert_close(
        steps_of(on(DEVICE, model), lines, 8), steps_of(on("cpu", model), lines, 8), tolerance=2e-3
    )


@pytest.mark.parametrize(("model", "key"), [("sudoku", "sudoku"), ("maze", "maze-11")])
def test_bfloat16_is_near_float32(model: str, key: str) -> None:
    lines = PUZZLES[key][:8]
    rounded = on(DEVICE, model, precision="bfloat16")
    assert_close(steps_of(rounded, lines, 2), steps_of(on("cpu", model), lines, 2), tolerance=0.2)
    solved = [one.verified for one in rounded.solve_many(PUZZLES[key])]
    assert sum(map(bool, solved)) >= 0.8 * len(solved)


def test_every_batch_size_is_recorded_once_and_replayed() -> None:
    solver = on(DEVICE)
    for rows in (1, 2, 3, 9, 24):
        steps_of(solver, (PUZZLES["sudoku"] * 2)[:rows], 2)
    runtime = solver.runtime
    assert isinstance(runtime, TorchRuntime)
    assert sorted(key[0] for key in runtime._buffers) == [1, 2, 4, 16, 64]
    assert all(one._graph is not None for one in runtime._buffers.values())


def test_states_that_share_buffers_do_not_disturb_one_another() -> None:
    solver = on(DEVICE)
    expected = steps_of(solver, PUZZLES["sudoku"][:3], 6)
    runtime = solver.runtime
    tokens, _ = tokens_of(solver, PUZZLES["sudoku"][:3])
    others, _ = tokens_of(solver, PUZZLES["sudoku"][3:7])
    state, other = runtime.start(tokens), runtime.start(others)
    for step in range(6):
        out = runtime.step(state)
        state = out.state
        other = runtime.step(other).state
        if step == 2:  # rows leave, come back and are started anew in between
            other = runtime.restart(other, np.array([1]), others[:1])
            other = runtime.select(other, np.array([2, 0]))
            other = runtime.concatenate([other, runtime.start(others[:2])])
        np.testing.assert_allclose(out.logits, expected[step][0], atol=1e-4)


def test_noise_is_that_of_the_cpu() -> None:
    scale = np.array([0.0, 0.5, 0.1], np.float32)
    states = []
    for device in (DEVICE, "cpu"):
        solver = on(device)
        tokens, _ = tokens_of(solver, PUZZLES["sudoku"][:3])
        state = solver.runtime.step(solver.runtime.start(tokens)).state
        before = state.z.clone()
        rngs = [np.random.default_rng(number) for number in range(3)]
        after = solver.runtime.perturb(state, scale, rngs)
        states.append((after.z - before).cpu().numpy())
    np.testing.assert_allclose(states[0], states[1], atol=1e-5)
    assert not states[0][0].any()
    assert states[0][1].std() == pytest.approx(0.5, rel=0.1)


def test_one_by_one_and_in_batches_of_any_size() -> None:
    solver, options = on(DEVICE), SolveOptions(attempts=32, width=WIDTH)
    alone = [course(solver.solve(line, options)) for line in PUZZLES["sudoku"]]
    for size in (1, 7, 256):
        together = [course(one) for one in solver.solve_many(PUZZLES["sudoku"], options, size)]
        assert sum(a == b for a, b in zip(together, alone, strict=True)) >= len(alone) - 2
        assert all(a[1] == b[1] for a, b in zip(together, alone, strict=True) if a[0] and b[0]), (
            size
        )


def test_mazes_of_two_sizes_share_a_stream() -> None:
    lines = [
        line for pair in zip(PUZZLES["maze-11"], PUZZLES["maze-17"], strict=True) for line in pair
    ]
    solutions = list(on(DEVICE, "maze").solve_many(lines, SolveOptions(width=WIDTH)))
    assert all(one.verified for one in solutions)
    assert {one.grid.shape for one in solutions} == {(11, 11), (17, 17)}


def test_how_a_gpu_is_named() -> None:
    assert on("auto").runtime.device == "cuda"
    assert Solver.from_pretrained("sudoku-4x4", device="cuda").runtime.name == "torch"
    assert Solver.from_pretrained("sudoku-4x4").runtime.name == "onnx"
    for name in ("cuda:0", "cuda:00"):
        assert choose_device(name) == torch.device("cuda", 0)
        solver = on(name, "sudoku-4x4")
        assert solver.solve(FOUR).verified
        assert "(cuda)" in repr(solver)
    for ask in (choose_device, on, lambda name: Solver.from_pretrained("sudoku", device=name)):
        with pytest.raises(InvalidInputError, match="'cuda:99' is unavailable: the last CUDA"):
            ask("cuda:99")
    for name in ("cuda:", "cuda:-1", "cuda:x", "gpu"):
        with pytest.raises(InvalidInputError, match="must be 'auto', 'cpu', 'cuda' or 'cuda:N'"):
            choose_device(name)


def test_threads_solve_at_once_on_one_solver_and_on_several() -> None:
    shared, options = on(DEVICE), SolveOptions(attempts=32, width=WIDTH)
    expected = [one.grid for one in shared.solve_many(PUZZLES["sudoku"], options)]
    failures: list[str] = []

    def work(solver: Solver | None) -> None:
        try:
            solver = solver or on(DEVICE)  # records its graphs while the others run theirs
            found = [one.grid for one in solver.solve_many(PUZZLES["sudoku"], options, 8)]
            if sum(a == b for a, b in zip(found, expected, strict=True)) < len(expected) - 1:
                failures.append("other answers")
        except BaseException as error:
            failures.append(repr(error))

    crew = [threading.Thread(target=work, args=(one,)) for one in (shared, shared, None, None)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in crew)
    assert not failures


def test_the_asynchronous_solver_runs_there_too() -> None:
    async def work() -> list[bool | None]:
        async with AsyncSolver.from_pretrained("sudoku-4x4", "torch", DEVICE) as solver:
            found = await asyncio.gather(*(solver.solve(FOUR) for _ in range(5)))
        return [one.verified for one in found]

    assert asyncio.run(work()) == [True] * 5


FORK = """
import os, sys
from trm_sdk import Solver, TRMError

solver = Solver.from_pretrained("sudoku-4x4", "torch", "cuda")
assert solver.solve(sys.argv[1]).verified
pid = os.fork()
if pid == 0:
    try:
        solver.solve(sys.argv[1])
    except TRMError as error:
        print(error, flush=True)
        sys.exit(7)
    sys.exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert solver.solve(sys.argv[1]).verified
"""


def test_a_forked_process_is_told_that_the_gpu_is_its_parents() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, FOUR], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "a forked process can't use its parent's GPU: load the model in it"
    )


def _allocated() -> int:
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()  # one for each stream that a product has run on
    return torch.cuda.memory_allocated()


def test_closing_gives_the_memory_back() -> None:
    def use() -> None:
        with on(DEVICE) as solver:
            list(solver.solve_many(PUZZLES["sudoku"], SolveOptions(explore="noise", attempts=4)))
            assert torch.cuda.memory_allocated() > before + 100_000

    before = _allocated()
    use()
    after_one = _allocated()
    use()
    assert _allocated() <= after_one + 100_000
    assert after_one <= before + 1_000_000


def test_a_model_on_a_gpu_is_saved_and_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from export import export_onnx

    solver = on(DEVICE)
    runtime = solver.runtime
    assert isinstance(runtime, TorchRuntime)
    weights = runtime.model.state_dict()
    Solver(runtime).save_pretrained(tmp_path / "saved")
    graph = tmp_path / "model.onnx"
    export_onnx((runtime.spec, runtime.model), graph)
    assert {value.device.type for value in weights.values()} == {DEVICE}  # where it was
    back = on("cpu", str(tmp_path / "saved")).runtime
    assert isinstance(back, TorchRuntime)
    for name, value in back.model.state_dict().items():
        assert torch.equal(value, weights[name].cpu()), name
    lines = PUZZLES["sudoku"][:4]
    exported = Solver.from_pretrained(graph, "onnx", "cpu")
    assert_close(steps_of(solver, lines, 4), steps_of(exported, lines, 4), tolerance=2e-3)


def test_the_command_line_solves_on_a_gpu() -> None:
    from click.testing import CliRunner

    from trm_sdk.cli import main

    arguments = ["solve", FOUR, "--model", "sudoku-4x4", "--device", DEVICE, "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["verified"] is True
