"""The Solver: one puzzle, many, a stream; defaults, errors, saving, and threads."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from search_doubles import Counting
from small_models import random_model, text_of

from trm_sdk.domains import get_domain
from trm_sdk.domains.text import line_of, read_numbers
from trm_sdk.errors import (
    CheckpointError,
    ConfigError,
    InvalidInputError,
    ModelNotFoundError,
    TRMError,
)
from trm_sdk.options import SolveOptions
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.solution import Failure, Solution
from trm_sdk.solver import Solver
from trm_sdk.task import Task

Puzzles = tuple[list[str], list[str]]
STEPS = SolveOptions(max_steps=16)
EMPTY = read_numbers("." * 16)


def test_a_puzzle_in_any_form_gets_the_same_solution(solver: Solver, puzzles: Puzzles) -> None:
    text, answer = puzzles[0][0], puzzles[1][0]
    grid = read_numbers(text)
    for puzzle in (text, grid, Task((grid,)), grid.tolist(), np.asarray(grid).ravel()):
        solution = solver.solve(puzzle, STEPS)
        assert line_of(solution.grid) == answer
        assert solution.verified is True
        assert solution.stopped_by == "verified"
        assert solution.steps >= 1
        assert solution.attempts == 1
        assert 0 <= solution.confidence <= 1
        assert solution.seconds > 0
        assert solution.correct is None
    task = Task((grid,), answers=(read_numbers(answer),))
    assert solver.solve(task, STEPS).correct is True


def test_both_runtimes_solve_alike(solver: Solver, torch_solver: Solver, puzzles: Puzzles) -> None:
    for puzzle in puzzles[0][:50]:
        one, other = solver.solve(puzzle), torch_solver.solve(puzzle)
        assert (one.grid, one.steps) == (other.grid, other.steps)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_the_models_own_options_are_the_defaults(untrained: Solver) -> None:
    assert untrained.options.max_steps == 8
    assert untrained.solve("." * 15 + "1").steps == 8
    assert untrained.solve("." * 15 + "1", SolveOptions(verify=False)).steps == 8
    assert untrained.solve("." * 15 + "1", SolveOptions(max_steps=3)).steps == 3


def test_bad_puzzles_and_options_are_refused_before_anything_runs(solver: Solver) -> None:
    with pytest.raises(InvalidInputError, match="expected 16 cells"):
        solver.solve("123")
    with pytest.raises(InvalidInputError, match="contradicting givens"):
        solver.solve("11..............")
    with pytest.raises(InvalidInputError, match="contradicting givens"):
        solver.stream("11..............")
    with pytest.raises(ConfigError, match="same attempt"):
        solver.solve_many([], SolveOptions(attempts=2))
    with pytest.raises(InvalidInputError, match=r"batch_size .* got 0"):
        solver.solve_many([], batch_size=0)
    with pytest.raises(InvalidInputError, match=r"on_error .* got 'ignore'"):
        solver.solve_many([], on_error="ignore")  # type: ignore[call-overload]
    for options in ({"attempts": 2}, 3):
        with pytest.raises(InvalidInputError, match="must be SolveOptions"):
            solver.solve("." * 16, options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="must be a Domain"):
        Solver(solver.runtime, "sudoku-4x4")  # type: ignore[arg-type]
    for index in (1, -1, True, "0", None):
        with pytest.raises(InvalidInputError, match="index must be a whole number from 0 to 0"):
            solver.stream("." * 16, index=index)  # type: ignore[arg-type]


# --- many -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_many_come_back_in_order(solver: Solver, puzzles: Puzzles, batch_size: int) -> None:
    solutions = list(solver.solve_many(puzzles[0], STEPS, batch_size))
    assert [line_of(s.task.grid) for s in solutions] == puzzles[0]
    right = [line_of(s.grid) == answer for s, answer in zip(solutions, puzzles[1], strict=True)]
    assert [s.verified for s in solutions] == right
    assert sum(right) >= 190


def test_many_are_read_lazily(solver: Solver, puzzles: Puzzles) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for puzzle in itertools.cycle(puzzles[0]):
            taken += 1
            yield puzzle

    results = solver.solve_many(endless(), STEPS, batch_size=4)
    assert taken == 0
    first = list(itertools.islice(results, 5))
    assert [line_of(s.task.grid) for s in first] == puzzles[0][:5]
    assert taken <= 5 + 4 * 16


def test_one_hard_puzzle_does_not_let_the_others_pile_up(
    untrained: Solver, puzzles: Puzzles
) -> None:
    """Solutions that wait for an earlier puzzle are bounded, however long it takes."""
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for puzzle in itertools.chain(["1" + "." * 15], itertools.cycle([puzzles[1][0]])):
            taken += 1
            yield puzzle

    results = untrained.solve_many(source(), SolveOptions(max_steps=3000), batch_size=2)
    assert next(results).verified is False
    assert taken <= 64 * 2 + 1


def test_one_bad_puzzle_among_many(solver: Solver, puzzles: Puzzles) -> None:
    mixed: list[object] = [*puzzles[0][:3], "bad", *puzzles[0][3:5], None, TRMError("unreadable")]
    results = list(solver.solve_many(mixed, STEPS, batch_size=2, on_error="yield"))
    kinds = [type(result) for result in results]
    assert kinds == [Solution] * 3 + [Failure] + [Solution] * 2 + [Failure] * 2
    failures = [result for result in results if isinstance(result, Failure)]
    assert [failure.index for failure in failures] == [3, 6, 7]
    assert "16 cells" in str(failures[0].error)
    assert "NoneType" in str(failures[1].error)
    assert str(failures[2].error) == "unreadable"
    raising = solver.solve_many(mixed, STEPS, batch_size=2)
    before = [next(raising) for _ in range(3)]
    assert [line_of(s.task.grid) for s in before] == puzzles[0][:3]
    with pytest.raises(InvalidInputError, match="16 cells"):
        next(raising)


@pytest.mark.parametrize("batch_size", [True, 1.5, "3", 10**12])
def test_batch_sizes_are_whole_numbers(solver: Solver, batch_size: Any) -> None:
    with pytest.raises(InvalidInputError, match="batch_size must be a whole number"):
        solver.solve_many([], batch_size=batch_size)


@pytest.mark.parametrize("puzzles", [None, 3, "." * 16, EMPTY, Task((EMPTY,))])
def test_many_are_no_single_puzzle(solver: Solver, puzzles: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"got {type(puzzles).__name__}"):
        solver.solve_many(puzzles)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_an_error_of_the_source_comes_after_what_it_gave(
    solver: Solver, puzzles: Puzzles, batch_size: int
) -> None:
    def source() -> Iterator[str]:
        yield from puzzles[0][:5]
        raise OSError("disk gone")

    results = solver.solve_many(source(), STEPS, batch_size, on_error="yield")
    before = list(itertools.islice(results, 5))
    assert [line_of(s.task.grid) for s in before if isinstance(s, Solution)] == puzzles[0][:5]
    with pytest.raises(OSError, match="disk gone"):
        next(results)


def test_progress_shows_and_changes_nothing(
    solver: Solver, puzzles: Puzzles, capsys: pytest.CaptureFixture[str]
) -> None:
    solutions = list(solver.solve_many(puzzles[0][:20], STEPS, progress=True))
    assert [line_of(s.task.grid) for s in solutions] == puzzles[0][:20]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "20/20" in captured.err


def test_none_at_all(solver: Solver) -> None:
    assert list(solver.solve_many([])) == []


# --- stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mixer", ["structured", "mlp_t"])
def test_steps_are_whole(mixer: str, puzzles: Puzzles) -> None:
    spec, model = random_model(mixer)
    solver = Solver(TorchRuntime(model, spec, device="cpu"))
    puzzle = puzzles[0][0]
    steps = list(solver.stream(puzzle, SolveOptions(max_steps=4)))
    assert [step.index for step in steps] == [1, 2, 3, 4]
    given = read_numbers(puzzle).cells
    for step in steps:
        assert step.probabilities.shape == (4, 4, 4)
        assert step.probabilities.dtype == np.float32
        np.testing.assert_allclose(step.probabilities.sum(-1), 1, atol=1e-5)
        likely = step.probabilities.argmax(-1) + 1
        if mixer == "structured":
            assert (likely == step.grid.cells).all()
            assert (step.probabilities.max(-1)[given > 0] == 1).all()
            assert (step.grid.cells[given > 0] == given[given > 0]).all()
        else:  # it may answer "empty" as well, which is no value
            filled = step.grid.cells > 0
            assert (likely == step.grid.cells)[filled].all()


def test_a_stream_stops_where_it_should(solver: Solver, puzzles: Puzzles) -> None:
    right = [list(solver.stream(puzzle, STEPS))[-1].verified for puzzle in puzzles[0][:30]]
    assert sum(right) >= 28
    puzzle = puzzles[0][0]
    assert len(list(solver.stream(puzzle, SolveOptions(halt_threshold=0, verify=False)))) == 1
    long = SolveOptions(max_steps=6, halt_threshold=1, verify=False)
    assert len(list(solver.stream(puzzle, long))) == 6
    brief = SolveOptions(max_steps=100_000, verify=False, seconds=0.02)
    assert 1 <= len(list(solver.stream(puzzle, brief))) < 100_000


@pytest.mark.parametrize("explore", ["noise", "symmetry", "guess"])
def test_a_stream_shows_every_attempt_of_a_solve(
    solver: Solver, puzzles: Puzzles, explore: Any
) -> None:
    """The attempts, one after another, that `solve` makes with a width of one."""
    for patience in (None, 2):
        options = SolveOptions(
            max_steps=3, attempts=4, explore=explore, patience=patience, width=1, verify=False
        ).over(SolveOptions(choose="confidence"))
        for puzzle in puzzles[0][:8]:
            solution = solver.solve(puzzle, options)
            steps = list(solver.stream(puzzle, options))
            assert [(step.attempt, step.index) for step in steps] == [
                (attempt, index) for attempt in (1, 2, 3, 4) for index in (1, 2, 3)
            ]
            best = max(steps[2::3], key=lambda step: step.confidence)
            assert best.confidence == pytest.approx(solution.confidence, abs=1e-5)
            assert best.grid == solution.grid
            for step in steps:
                assert (step.guesses != ()) == (explore == "guess" and step.attempt > 1)
                for row, column, value in step.guesses:
                    assert read_numbers(puzzle).cells[row, column] == 0
                    assert step.grid.cells[row, column] == value
                # Probabilities stand where the answer does, whatever the symmetry.
                assert (step.probabilities.argmax(-1) + 1 == step.grid.cells).all()


def test_a_stream_goes_on_until_an_attempt_is_right(solver: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(max_steps=1, attempts=16, explore="guess")
    later = 0
    for puzzle in puzzles[0][:60]:
        steps = list(solver.stream(puzzle, options))
        assert [step.verified for step in steps[:-1]] == [False] * (len(steps) - 1)
        later += steps[-1].verified is True and steps[-1].attempt > 1
    assert later >= 3


def test_a_stream_s_options_are_checked_at_once(solver: Solver) -> None:
    with pytest.raises(ConfigError, match="the same attempt"):
        solver.stream("." * 16, SolveOptions(attempts=2, explore="none"))


# --- from and to disk -----------------------------------------------------------------------


def test_every_kind_of_file_is_a_model(
    model_folder: Path, tmp_path: Path, puzzles: Puzzles
) -> None:
    from trm_sdk.persistence.checkpoint import load_model

    spec, model = load_model(model_folder)
    torch.save({"spec": spec.to_json(), "ema": model.state_dict()}, tmp_path / "c.pt")
    expected = Solver.from_pretrained(model_folder).solve(puzzles[0][0])
    for path, runtime in (
        (model_folder, "onnx"),
        (str(model_folder), "onnx"),
        (model_folder / "model.onnx", "onnx"),
        (model_folder / "model.safetensors", "torch"),
        (tmp_path / "c.pt", "torch"),
    ):
        solver = Solver.from_pretrained(path, device="cpu", threads=1)
        assert solver.runtime.name == runtime
        assert solver.spec == spec
        solution = solver.solve(puzzles[0][0])
        assert (solution.grid, solution.steps) == (expected.grid, expected.steps)
        assert repr(solver) == f"<Solver of sudoku-4x4 on {runtime} (cpu) from {str(path)!r}>"


@pytest.mark.parametrize("form", ["folder", "graph", "weights"])
def test_a_saved_solver_comes_back(
    model_folder: Path, tmp_path: Path, puzzles: Puzzles, form: str
) -> None:
    source = {
        "folder": model_folder,
        "graph": model_folder / "model.onnx",
        "weights": model_folder / "model.safetensors",
    }[form]
    solver = Solver.from_pretrained(source, device="cpu", threads=1)
    folder = solver.save_pretrained(tmp_path / "deep" / "copy")
    files = {path.name for path in folder.iterdir()}
    expected = {
        "folder": {"config.json", "model.onnx", "model.safetensors", "README.md"},
        "graph": {"config.json", "model.onnx"},
        "weights": {"config.json", "model.safetensors"},
    }[form]
    assert files == expected
    again = Solver.from_pretrained(folder, device="cpu", threads=1)
    assert again.spec == solver.spec
    for puzzle in puzzles[0][:5]:
        assert again.solve(puzzle).grid == solver.solve(puzzle).grid


def test_a_solver_is_not_saved_where_it_must_not_be(
    solver: Solver, model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="is a file"):
        solver.save_pretrained(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="where this model was read from"):
        solver.save_pretrained(model_folder)
    with pytest.raises(InvalidInputError, match="runtime alone"):
        Solver(solver.runtime).save_pretrained(tmp_path / "x")
    with pytest.raises(InvalidInputError, match="got ''"):
        solver.save_pretrained("")
    for source in (solver, Solver.from_pretrained(model_folder / "model.onnx", threads=1)):
        with pytest.raises(InvalidInputError, match=r"file/x can't be written: Not a directory"):
            source.save_pretrained(tmp_path / "file" / "x")


def test_models_that_are_not_there(model_folder: Path, tmp_path: Path) -> None:
    for name, named in (
        ("sudoku-5x5", "no model named 'sudoku-5x5'"),
        (tmp_path / "none", "no model named"),
        (tmp_path, "holds no model"),
        ("../nowhere/at/all", "no model named"),
    ):
        with pytest.raises(ModelNotFoundError, match=named):
            Solver.from_pretrained(name)
    for name in ("", 3):
        with pytest.raises(InvalidInputError, match="by name or path"):
            Solver.from_pretrained(name)  # type: ignore[arg-type]
    (tmp_path / "broken.pt").write_bytes(b"\0" * 64)
    with pytest.raises(CheckpointError, match=r"broken\.pt"):
        Solver.from_pretrained(tmp_path / "broken.pt")
    with pytest.raises(CheckpointError, match="is a model of 'sudoku-4x4'"):
        Solver.from_pretrained(model_folder, domain=get_domain("sudoku"))


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_a_closed_solver_has_let_go(model_folder: Path, runtime: Any) -> None:
    with Solver.from_pretrained(model_folder, runtime, "cpu", threads=1) as solver:
        assert solver.solve("1...............").grid[0, 0] == 1
        steps = solver.stream("1...............", SolveOptions(verify=False, halt_threshold=1))
        next(steps)
        solver.close()  # and once more on leaving
    with pytest.raises(TRMError, match="closed"):
        solver.solve("1...............")
    with pytest.raises(TRMError, match="the model is closed"):
        next(steps)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_solver_is_not_copied(solver: Solver, take: Callable[[Solver], object]) -> None:
    with pytest.raises(TRMError, match="can't be pickled or copied: call Solver"):
        take(solver)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_forked_child_goes_on(model_folder: Path, puzzles: Puzzles) -> None:
    """As under ``gunicorn --preload``: the threads of the parent are not there."""
    solver = Solver.from_pretrained(model_folder, "onnx", threads=2)
    options = SolveOptions(max_steps=2, attempts=4, explore="noise", patience=0, verify=False)
    expected = solver.solve(puzzles[0][0], options).grid
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # the end of one that hangs
        os._exit(0 if solver.solve(puzzles[0][0], options).grid == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert solver.solve(puzzles[0][0], options).grid == expected
    solver.close()


# --- threads --------------------------------------------------------------------------------


def test_threads_share_a_solver(solver: Solver, puzzles: Puzzles) -> None:
    """Eight threads at once, in single solves, batches and streams: every row is the right one."""
    expected = [s.grid for s in solver.solve_many(puzzles[0], STEPS)]
    wrong: list[str] = []

    def work(number: int) -> None:
        order = np.random.default_rng(number).permutation(len(puzzles[0]))[:60]
        mine = [puzzles[0][i] for i in order]
        if number % 3 == 0:
            grids = [solver.solve(puzzle, STEPS).grid for puzzle in mine]
        elif number % 3 == 1:
            grids = [s.grid for s in solver.solve_many(mine, STEPS, batch_size=5)]
        else:
            grids = [list(solver.stream(puzzle, STEPS))[-1].grid for puzzle in mine]
        wrong.extend(
            puzzles[0][i] for i, grid in zip(order, grids, strict=True) if grid != expected[i]
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_symmetric_vote_of_a_network_that_is_not_equivariant(puzzles: Puzzles) -> None:
    """Attempts really differ where the network does not undo the symmetry by itself."""
    spec, model = random_model("mlp_t")
    torch.nn.init.normal_(model.network.q_head.weight)  # a fresh one is equally sure of everything
    solver = Solver(TorchRuntime(model, spec, device="cpu"))
    options = SolveOptions(max_steps=2, attempts=5, explore="symmetry", choose="confidence")
    plain = [solver.solve(p, SolveOptions(max_steps=2)).grid for p in puzzles[0][:20]]
    other = [solver.solve(p, options).grid for p in puzzles[0][:20]]
    assert plain != other
    assert text_of(other[0].cells.ravel()) == line_of(other[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, True) for name in ("noise", "seconds", "steps_per_cell", "halt_threshold")),
        ("seconds", "1"),
        ("seconds", float("inf")),
        ("noise_spread", float("nan")),
    ],
)
def test_options_are_finite_numbers_and_nothing_that_could_be_made_one(
    field: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"SolveOptions: {field}: Input should be"):
        SolveOptions(**{field: value})  # type: ignore[arg-type]


def test_options_from_json_are_refused_as_the_constructor_does() -> None:
    assert SolveOptions.model_validate_json('{"max_steps": 3}').max_steps == 3
    for text in ('{"max_steps": "3"}', "nonsense"):
        with pytest.raises(ConfigError, match="SolveOptions: "):
            SolveOptions.model_validate_json(text)


def test_thousands_of_attempts_do_not_share_one_batch(solver: Solver) -> None:
    counting = Counting(solver.runtime)
    options = SolveOptions(attempts=2000, width=2000, patience=0, explore="noise", max_steps=1)
    Solver(counting).solve("." * 16, options)
    assert counting.batches == [1024, 976]
