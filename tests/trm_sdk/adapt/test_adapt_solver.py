"""A task is learned, its answers ranked, and nothing is claimed that was not seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
from adapt_tasks import RECOLOUR, made

from trm_sdk import AdaptedSolver, AdaptOptions, Failure, Solver, solve_task
from trm_sdk.adapt.progress import Progress
from trm_sdk.errors import CheckpointError, ConfigError, InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

STEPS: dict[str, Any] = {"steps": 300, "snapshot_steps": 30, "settled": 3}


@pytest.fixture(scope="module")
def solver() -> AdaptedSolver:
    return Solver.adapt(RECOLOUR, **STEPS)


def test_a_recolouring_is_learned_from_three_pairs(solver: AdaptedSolver) -> None:
    solution = solver.solve(RECOLOUR)
    assert solution.correct is True
    assert solution.fitted is True
    assert solution.verified is None
    assert 0 < solution.confidence <= 1
    assert solution.steps == 300
    assert solution.attempts >= 2
    assert solution.stopped_by == "max_steps"


def test_candidates_are_ranked_and_their_confidences_are_shares(solver: AdaptedSolver) -> None:
    (several,) = solver.solve(RECOLOUR).candidates
    shares = [one.confidence for one in several]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1 + 1e-6
    assert len({one.grid for one in several}) == len(several)


def test_other_inputs_of_the_task_are_solved_too(solver: AdaptedSolver) -> None:
    other = Grid([[1, 0, 2, 1], [2, 1, 1, 0]])
    assert solver.solve(other).grid == Grid([[3, 0, 2, 3], [2, 3, 3, 0]])
    solutions = list(solver.solve_many([other, "99", RECOLOUR], on_error="yield"))
    assert [type(one).__name__ for one in solutions] == ["Solution", "Failure", "Solution"]
    with pytest.raises(InvalidInputError, match="other demonstrations"):
        solver.solve(made(lambda cells: cells, seed=1))


def test_equal_seeds_and_steps_give_equal_weights(solver: AdaptedSolver) -> None:
    again = Solver.adapt(RECOLOUR, **STEPS)
    for one, two in zip(solver.snapshots, again.snapshots, strict=True):
        np.testing.assert_array_equal(one.weights.flat, two.weights.flat)
    other = Solver.adapt(RECOLOUR, **STEPS, seed=1)
    assert not np.array_equal(other.snapshots[0].weights.flat, again.snapshots[0].weights.flat)


def test_fitted_is_false_where_the_demonstrations_are_not_reproduced() -> None:
    noise = np.random.default_rng(5)
    task = made(lambda cells: noise.choice((0, 1, 2), cells.shape), ((9, 9), (9, 8)))
    solution = solve_task(task, steps=4)
    assert solution.fitted is False
    assert solution.confidence < 0.5


def test_test_outputs_are_never_read() -> None:
    (before, after), *rest = RECOLOUR.demonstrations
    wrong = Task(RECOLOUR.inputs, ((before, after), *rest), (Grid([[8]]),), "made")
    assert solve_task(wrong, steps=20).answers == solve_task(RECOLOUR, steps=20).answers


def test_the_time_is_kept_and_progress_told() -> None:
    told: list[Progress] = []
    solution = solve_task(RECOLOUR, seconds=0.5, progress=told.append)
    assert solution.stopped_by == "seconds"
    assert told
    assert told[-1].spent == 1
    assert [one.steps for one in told] == sorted(one.steps for one in told)


def test_it_is_saved_and_loaded(solver: AdaptedSolver, tmp_path: Path) -> None:
    loaded = AdaptedSolver.load(solver.save_pretrained(tmp_path / "made"))
    assert loaded.solve(RECOLOUR).candidates == solver.solve(RECOLOUR).candidates
    assert loaded.options == solver.options
    (tmp_path / "made" / "weights.npy").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not a saved AdaptedSolver"):
        AdaptedSolver.load(tmp_path / "made")
    flat = np.stack([one.weights.flat for one in solver.snapshots])
    flat[0, 3] = np.nan
    np.save(tmp_path / "made" / "weights.npy", flat)
    with pytest.raises(CheckpointError, match="weights that are not finite"):
        AdaptedSolver.load(tmp_path / "made")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda about: about | {"format": 99}, "format 99; this version reads"),
        (lambda about: about | {"snapshots": []}, "snapshots"),
        (lambda about: about | {"snapshots": about["snapshots"][:-1]}, "shorter|longer"),
        (lambda about: about | {"seconds": 10**400}, "seconds"),
        (lambda about: about | {"steps": None}, "steps"),
        (
            lambda about: (
                about | {"snapshots": [[*one[:4], [1.0], one[5]] for one in about["snapshots"]]}
            ),
            "an accuracy for each",
        ),
        (lambda about: about | {"domain": "chess"}, "chess"),
        (lambda about: about | {"options": {"steps": -1}}, "steps"),
        (lambda about: {key: about[key] for key in about if key != "task"}, "task"),
        (lambda about: [], "list"),
    ],
)
def test_what_is_not_a_saved_solver_says_why(
    solver: AdaptedSolver, tmp_path: Path, change: Callable[[Any], Any], named: str
) -> None:
    file = solver.save_pretrained(tmp_path / "made") / "adapted.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(CheckpointError, match=f"is not a saved AdaptedSolver: .*({named})"):
        AdaptedSolver.load(file.parent)
    file.write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="is not a saved AdaptedSolver"):
        AdaptedSolver.load(file.parent)


def test_arguments_of_an_adapted_solver_are_checked(solver: AdaptedSolver) -> None:
    with pytest.raises(InvalidInputError, match="on_error must be 'raise' or 'yield'; got 'skip'"):
        solver.solve_many([RECOLOUR], "skip")  # at once, not at the first puzzle
    for index in (1, -1, "0", True):
        with pytest.raises(InvalidInputError, match="index must be a whole number from 0 to 0"):
            next(solver.stream(RECOLOUR, index))  # type: ignore[arg-type]
    for domain in (3, None):
        with pytest.raises(InvalidInputError, match="must be a Domain or its name; got"):
            Solver.adapt(RECOLOUR, domain, steps=1)  # type: ignore[arg-type]


def test_a_puzzle_that_fails_is_one_of_many(solver: AdaptedSolver) -> None:
    first, second = solver.solve_many(["no task", RECOLOUR], "yield")
    assert isinstance(first, Failure)
    assert isinstance(first.error, InvalidInputError)
    assert first.index == 0
    assert second.grid == solver.solve(RECOLOUR).grid
    with pytest.raises(InvalidInputError):
        list(solver.solve_many(["no task", RECOLOUR]))


def test_every_step_can_be_watched(solver: AdaptedSolver) -> None:
    steps = list(solver.stream(RECOLOUR))
    assert [step.index for step in steps] == list(range(1, solver.speaker()[1] + 1))
    assert steps[-1].grid == solver.solve(RECOLOUR).grid
    np.testing.assert_allclose(steps[-1].probabilities.sum(-1), 1, atol=1e-5)
    best = steps[-1].probabilities.argmax(-1)
    np.testing.assert_array_equal(best, steps[-1].grid.cells)


def test_the_network_that_speaks_for_all_answers_what_they_vote_for(
    solver: AdaptedSolver,
) -> None:
    untrained = Solver.adapt(RECOLOUR, steps=1).snapshots[0]
    alone = AdaptedSolver(RECOLOUR, solver.domain, solver.options, [untrained], 1, 1, 0.0)
    assert alone.solve(RECOLOUR).correct is False
    assert alone.speaker()[0] == 0
    snapshots = [untrained, *solver.snapshots]
    together = AdaptedSolver(RECOLOUR, solver.domain, solver.options, snapshots, 1, 1, 0.0)
    assert together.speaker()[0] > 0
    assert list(together.stream(RECOLOUR))[-1].grid == RECOLOUR.answers[0]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match=r"seconds.*greater than or equal to 0.1; got 0"):
        Solver.adapt(RECOLOUR, seconds=0)
    with pytest.raises(ConfigError, match="unknown key 'second'; did you mean 'seconds'"):
        Solver.adapt(RECOLOUR, second=3)
    with pytest.raises(InvalidInputError, match="needs demonstrations"):
        Solver.adapt(Grid([[1, 2]]))
    closed = Solver.adapt(RECOLOUR, steps=1)
    closed.close()
    with pytest.raises(TRMError, match="is closed"):
        closed.solve(RECOLOUR)


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", True), ("seconds", "30"), ("turns", 1), ("lasso", float("inf")), ("depths", ("4",))],
)
def test_options_are_not_converted_and_a_wrong_one_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        AdaptOptions(**{field: value})
    with pytest.raises(ConfigError, match=field):
        AdaptOptions.model_validate({field: value})


def test_arguments_are_checked_at_once_not_when_the_first_result_is_asked_for(
    solver: AdaptedSolver,
) -> None:
    wrong: Any
    for wrong in ("0", 1.0, -1, 1, True):
        with pytest.raises(InvalidInputError, match="index must be a whole number from 0 to 0"):
            solver.stream(RECOLOUR, wrong)
    for wrong in (RECOLOUR, "12", 3):
        with pytest.raises(InvalidInputError, match="iterable of puzzles"):
            solver.solve_many(wrong)
    wrong = "skip"
    with pytest.raises(InvalidInputError, match="on_error must be"):
        solver.solve_many([RECOLOUR], on_error=wrong)
    wrong = "yes"
    with pytest.raises(InvalidInputError, match="progress must be"):
        Solver.adapt(RECOLOUR, progress=wrong)


def test_what_a_reader_could_not_read_fails_alone(solver: AdaptedSolver) -> None:
    error = InvalidInputError("line 2: not a task")
    puzzles = [RECOLOUR, error, RECOLOUR]
    one, failure, other = solver.solve_many(puzzles, on_error="yield")
    assert failure == Failure(1, error)
    assert one == other == solver.solve(RECOLOUR)
    with pytest.raises(InvalidInputError, match="line 2"):
        list(solver.solve_many(puzzles))


def test_after_the_block_the_solver_is_closed(tmp_path: Path) -> None:
    with Solver.adapt(RECOLOUR, steps=1) as closed:
        assert closed.speaker()
    calls: list[Callable[[], object]] = [
        closed.speaker,
        lambda: closed.stream(RECOLOUR),
        lambda: closed.solve_many([RECOLOUR]),
        lambda: closed.save_pretrained(tmp_path),
    ]
    for call in calls:
        with pytest.raises(TRMError, match="is closed"):
            call()


def test_a_folder_that_can_not_be_written_is_named(solver: AdaptedSolver, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"file can't be written: "):
        solver.save_pretrained(tmp_path / "file")


def test_without_numba_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from trm_sdk import Solver, MissingDependencyError\n"
        "task = {'train': [{'input': [[1]], 'output': [[2]]}], 'test': [{'input': [[1]]}]}\n"
        "try: Solver.adapt(task)\n"
        "except MissingDependencyError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "learning a task needs numba" in done.stdout
    assert "pip install 'trm-sdk[train]'" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_learning_a_large_task_needs_less_than_a_gigabyte_and_no_torch() -> None:
    # VmHWM, since what getrusage says begins with the memory of the process that started this one.
    code = (
        "import re, sys, json, numpy as np\n"
        "from trm_sdk import solve_task, Task, Grid\n"
        "rng = np.random.default_rng(0)\n"
        "grid = lambda: Grid(rng.integers(0, 10, (30, 30)))\n"
        "solve_task(Task((grid(),), [(grid(), grid()) for _ in range(4)]), steps=2)\n"
        "most = re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]\n"
        "print(json.dumps([int(most), 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kilobytes, torch = json.loads(done.stdout)
    assert kilobytes < 1_000_000
    assert not torch
