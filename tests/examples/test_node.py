"""trm.js and the Node example compute what the SDK computes."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from own_domains import Latin, Walls
from programs import EXAMPLES, PUZZLES, ROOT, UNSOLVABLE, run

from export.exporter import export_onnx, load_source
from export.web import export_web
from trm_sdk import InvalidInputError, SolveOptions, Solver
from trm_sdk.domains import get_domain, registry
from trm_sdk.domains.base import Domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.deduction import Deduction
from trm_sdk.domains.maze import rules as maze_rules
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.sudoku.variants import jigsaw
from trm_sdk.domains.sudoku.variants.jigsaw import Jigsaw
from trm_sdk.domains.text import line_of, read_numbers
from trm_sdk.grid import Grid
from trm_sdk.model.config import ModelConfig
from trm_sdk.model.recursion import TRM
from trm_sdk.persistence.hub import BUNDLED
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.structure import Structure, board, offsets, rows
from trm_sdk.task import Task

#: Twenty-three givens, and nothing to go by at first: takes more than a step or two.
HARD = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3.."


def ask(node: str, question: str, *arguments: str | Path) -> Any:
    """What trm.mjs answers."""
    result = run(node, Path(__file__).with_name("trm.mjs"), question, *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def about(domain: Domain, folder: Path, **questions: Any) -> Any:
    """What puzzle.js says of a domain, asked in one go."""
    file = folder / "questions.json"
    file.write_text(json.dumps({"description": domain.describe(), **questions}))
    program = shutil.which("node")
    assert program is not None  # the fixture `node` skips without it
    return ask(program, "domain", file)


# --- the model --------------------------------------------------------------------------------


@pytest.mark.parametrize("puzzle", [*PUZZLES, HARD])
def test_every_step_is_python_s(node: str, model: Path, solver: Solver, puzzle: str) -> None:
    limit = {"maxSteps": 8, "attempts": 1}
    steps = ask(node, "steps", model / "model.onnx", puzzle, json.dumps(limit))["steps"]
    expected = list(solver.stream(puzzle, SolveOptions(max_steps=8, attempts=1)))
    assert len(steps) == len(expected)
    for ours, step in zip(steps, expected, strict=True):
        assert (ours["index"], ours["attempt"]) == (step.index, 1)
        probabilities = np.reshape(ours["probabilities"], step.probabilities.shape)
        # Rounding differs from build to build of onnxruntime, and grows from step to step.
        np.testing.assert_allclose(probabilities, step.probabilities, atol=5e-3)
        assert ours["confidence"] == pytest.approx(step.confidence, abs=5e-3)
        certain = step.probabilities.max(-1) > 0.51
        text = np.reshape(list(ours["text"]), certain.shape)
        assert (text[certain] == np.array(step.grid.cells, str)[certain]).all()
        assert ours["verified"] == step.verified
    assert any(step["verified"] for step in steps) == any(step.verified for step in expected)


def test_later_attempts_differ_and_can_be_repeated(node: str, model: Path) -> None:
    options = {"maxSteps": 2, "attempts": 3, "explore": "noise", "noise": 0.5}
    first, again, other = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({**options, "seed": seed}))
        for seed in (5, 5, 6)
    )
    assert first == again
    assert [step["attempt"] for step in first["steps"]] == [1, 1, 2, 2, 3, 3]
    assert [step["total"] for step in first["steps"]] == [1, 2, 3, 4, 5, 6]
    plain, second, third = (first["steps"][i]["probabilities"] for i in (1, 3, 5))
    assert plain != second != third
    assert first["steps"][1] == other["steps"][1], "the first attempt is the plain one"
    assert first["steps"][3] != other["steps"][3]


def test_later_attempts_fill_in_what_the_first_was_unsure_of(node: str, model: Path) -> None:
    options = {"maxSteps": 3, "attempts": 40, "explore": "guess"}
    first, again, other = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({**options, "seed": seed}))
        for seed in (5, 5, 6)
    )
    assert first == again
    steps = first["steps"]
    assert len(steps) == 120
    assert [step["guess"] for step in steps[:3]] == [None] * 3
    guesses = [(step["guess"]["cell"], step["guess"]["value"]) for step in steps[3::3]]
    assert len(set(guesses)) == 39
    assert all(HARD[cell] == "." for cell, _ in guesses)
    for step in steps[3:]:
        cell, value = step["guess"]["cell"], step["guess"]["value"]
        assert step["values"][cell] == value
        assert step["probabilities"][9 * cell + value - 1] == 1
    # They are what the first attempt thought likely: much likelier than chance.
    believed = [steps[2]["probabilities"][9 * cell + value - 1] for cell, value in guesses]
    assert sum(believed) / len(believed) > 0.2
    assert [step["guess"] for step in other["steps"]] != [step["guess"] for step in steps]


def test_guesses_solve_what_one_attempt_does_not(node: str, model: Path, solver: Solver) -> None:
    plain, more = (
        ask(node, "steps", model / "model.onnx", HARD, json.dumps({"maxSteps": 16, **options}))
        for options in ({"attempts": 1}, {"attempts": 100, "explore": "guess"})
    )
    assert not plain["steps"][-1]["verified"]
    assert more["steps"][-1]["verified"]
    assert more["steps"][-1]["text"] == line_of(
        solver.solve(HARD, SolveOptions(max_steps=16, attempts=100, explore="guess")).grid
    )


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as a graph, with a dead-end head of random weights."""
    spec, trained = load_source("sudoku")
    config = spec.model.model_copy(update={"dead_end_head": True})
    torch.manual_seed(0)
    model = TRM(config)
    model.load_state_dict(trained.state_dict(), strict=False)
    torch.nn.init.normal_(model.network.dead_end_head.weight, std=0.3)
    path = tmp_path_factory.mktemp("guided") / "model.onnx"
    export_onnx((spec.model_copy(update={"model": config}), model.eval()), path, mode="step")
    return path


@pytest.mark.parametrize("warm", [True, False])
def test_a_tree_of_guesses_is_python_s(node: str, guided: Path, warm: bool) -> None:
    options = {"maxSteps": 2, "attempts": 40, "explore": "tree", "warmStart": warm}
    steps = ask(node, "steps", guided, HARD, json.dumps(options))["steps"]
    with Solver.from_pretrained(guided, threads=1) as solver:
        options = SolveOptions(max_steps=2, attempts=40, explore="tree", warm_start=warm)
        taken = list(solver.stream(HARD, options))
    assert [step["guess"] for step in steps[:2]] == [None] * 2
    ours = {
        step["attempt"]: tuple((one["cell"], one["value"]) for one in step["guesses"])
        for step in steps
    }
    expected = {
        step.attempt: tuple((9 * r + c, value) for r, c, value in step.guesses) for step in taken
    }
    assert ours == expected
    assert max(map(len, ours.values())) > 2
    assert len(set(ours.values())) == len(ours) > 10


def test_a_nearly_empty_board_is_solved(node: str, model: Path) -> None:
    """One guess after the other, as in Python; which ones, rounding may decide."""
    puzzle = "1........2" + "." * 71
    steps = ask(node, "steps", model / "model.onnx", puzzle, json.dumps({"attempts": 128}))["steps"]
    last = steps[-1]
    assert last["verified"]
    sudoku = get_domain("sudoku")
    assert sudoku.verify(sudoku.parse(puzzle), sudoku.read(last["text"]))
    depths = [len(step["guesses"]) for step in steps]
    assert depths == sorted(depths)
    assert depths[-1] > 10


def test_a_tree_needs_the_head(node: str) -> None:
    graph = BUNDLED / "sudoku-4x4" / "model.onnx"
    options = json.dumps({"attempts": 4, "explore": "tree"})
    program = Path(__file__).with_name("trm.mjs")
    result = run(node, program, "steps", graph, "1...............", options)
    assert result.returncode != 0
    assert "needs a graph with the output dead_end" in result.stderr


def test_options_come_from_the_model(node: str, model: Path, solver: Solver) -> None:
    options = ask(node, "steps", model / "model.onnx", PUZZLES[0])["options"]
    ours = solver.options
    assert options["maxSteps"] == ours.max_steps
    assert options["attempts"] == ours.attempts
    assert options["noise"] == ours.noise
    assert options["explore"] == ours.explore
    assert options["haltThreshold"] == ours.halt_threshold


def test_the_description_stands_for_the_metadata(node: str, model: Path, tmp_path: Path) -> None:
    export_web(model, tmp_path)
    by_description = ask(node, "steps", tmp_path / "model.json", PUZZLES[0])
    by_metadata = ask(node, "steps", tmp_path / "model.onnx", PUZZLES[0])
    assert by_description["steps"] == by_metadata["steps"]
    for name in ("maxSteps", "attempts", "noise", "haltThreshold", "seed"):
        assert by_description["options"][name] == by_metadata["options"][name]


def test_solves_at_the_same_time_do_not_mix(node: str, model: Path, solver: Solver) -> None:
    answers = ask(node, "together", model / "model.onnx", *PUZZLES, *PUZZLES)
    assert answers == [line_of(solver.solve(puzzle).grid) for puzzle in PUZZLES * 2]


def test_a_solve_can_be_called_off(node: str, model: Path) -> None:
    assert ask(node, "abort", model / "model.onnx", HARD) == {"steps": 2, "error": "AbortError"}


def test_what_is_no_model_is_named(node: str, model: Path, tmp_path: Path) -> None:
    broken, loop, cut = (tmp_path / name for name in ("broken.onnx", "loop.onnx", "cut.onnx"))
    broken.write_bytes(b"not a graph at all")
    export_onnx(model, loop, "loop")
    whole = (model / "model.onnx").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    missing = tmp_path / "missing.onnx"
    for path, message in (
        (broken, "not an ONNX file"),
        (cut, "not an ONNX file"),
        (loop, 'mode "loop"'),
        (missing, "ENOENT"),
    ):
        answer = ask(node, "load", path)
        assert answer["error"] == "ModelError"
        assert str(path) in answer["message"]
        assert message in answer["message"]


# --- the rules --------------------------------------------------------------------------------


DOMAINS = [get_domain("sudoku-4x4"), get_domain("sudoku-6x6"), get_domain("sudoku"), Latin()]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_groups_are_python_s(node: str, domain: BoardDomain) -> None:
    expected = [list(group) for one in domain.distinct for group in one.groups_on(domain.shape)]
    assert ask(node, "groups", json.dumps(domain.describe())) == expected


@pytest.mark.parametrize(
    "text",
    [
        PUZZLES[0],
        PUZZLES[0].replace(".", "0"),
        "\n".join(PUZZLES[0][i : i + 9] for i in range(0, 81, 9)),
        "# comment\n" + " ".join(PUZZLES[0]),
        get_domain("sudoku").format(read_numbers(PUZZLES[0])),
    ],
)
def test_reads_what_python_reads(node: str, tmp_path: Path, text: str) -> None:
    expected = read_numbers(text, (9, 9)).cells.reshape(-1).tolist()
    (read,) = about(get_domain("sudoku"), tmp_path, puzzles=[text])["parsed"]
    assert read == {"values": expected, "rows": 9, "columns": 9, "text": PUZZLES[0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PUZZLES[0][1:], "81 cells; got 80"),
        ("@" + PUZZLES[0][1:], '"@" in place 1'),
        ("55" + "." * 79, "contradicting givens: 5 appears 2 times in row 1"),
        ("5........5" + "." * 71, "contradicting givens: 5 appears 2 times in column 1"),
        ("5.........5" + "." * 70, "contradicting givens: 5 appears 2 times in box 1"),
    ],
)
def test_refuses_what_python_refuses(node: str, tmp_path: Path, text: str, message: str) -> None:
    (answer,) = about(get_domain("sudoku"), tmp_path, puzzles=[text])["parsed"]
    assert answer["error"] == "PuzzleError"
    assert message in answer["message"]
    with pytest.raises(InvalidInputError):
        get_domain("sudoku").parse(text)


#: What JSON can't say.
_NUMBERS = {"NaN": math.nan, "Infinity": math.inf}


def _spoilt_puzzles(domain: Domain, rng: np.random.Generator) -> list[list[Any]]:
    """Arrays that are puzzles, or nearly."""
    board = [0] * domain.seq_len
    for cell in rng.choice(domain.seq_len, 3, replace=False):
        board[cell] = int(rng.integers(1, domain.vocabulary.values))
    found: list[list[Any]] = [board, board[:-1], [*board, 0], []]
    odd = (-1, 1.5, domain.vocabulary.values, 2**33 + 1, "NaN", "Infinity", "1", None, True)
    return found + [[value, *board[1:]] for value in odd]


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_takes_the_arrays_of_integers_that_python_takes(
    node: str, tmp_path: Path, domain: Domain
) -> None:
    """Python also reads texts, None and NaN as cells; here they are refused rather than guessed."""
    rng = np.random.default_rng(3)
    puzzles = [puzzle for _ in range(40) for puzzle in _spoilt_puzzles(domain, rng)]
    parsed = about(domain, tmp_path, puzzles=puzzles)["parsed"]
    taken = 0
    for puzzle, read in zip(puzzles, parsed, strict=True):
        real = [
            {"NaN": math.nan, "Infinity": math.inf}.get(v, v) if type(v) is str else v
            for v in puzzle
        ]
        try:
            task = domain.parse(real)
        except InvalidInputError:
            task = None
        if task is None or any(type(value) is not int for value in real):
            assert read.get("error") == "PuzzleError", puzzle
        else:
            taken += 1
            assert read["values"] == task.inputs[0].cells.reshape(-1).tolist()
            assert read["text"] == domain.to_line(task.inputs[0])
    assert 0 < taken < len(puzzles) / 5


def test_refuses_the_puzzles_without_solution_that_python_refuses(
    node: str, tmp_path: Path
) -> None:
    """Puzzles with one wrong clue, of which singles refute most; 35 values are beyond 32 bits."""
    refused = 0
    for domain in (get_domain("sudoku-4x4"), get_domain("sudoku"), Sudoku(5, 7)):
        rng = np.random.default_rng(4)
        puzzles = []
        for _ in range(20):
            puzzle = np.where(rng.random(domain.seq_len) < 0.4, _solution(domain, rng), 0)
            puzzles.append(puzzle.tolist())
            puzzle[rng.choice(np.flatnonzero(puzzle == 0))] = rng.integers(1, domain.size + 1)
            puzzles.append(puzzle.tolist())
        parsed = about(domain, tmp_path, puzzles=puzzles)["parsed"]
        for puzzle, read in zip(puzzles, parsed, strict=True):
            said = None
            try:
                domain.parse(puzzle)
            except InvalidInputError as error:
                said = str(error)
            assert read.get("message") == said
            refused += "has no solution: no " in (said or "")
    assert refused > 3


@pytest.mark.parametrize(
    ("name", "share", "number", "found"),
    [("sudoku", 0.27, 24, {0, 1, 2}), ("sudoku-25x25", 0.4, 4, {0, None})],
)
def test_counts_solutions_as_python_does(
    node: str, tmp_path: Path, name: str, share: float, number: int, found: set[int | None]
) -> None:
    """Guess by guess: they give up on the same boards too."""
    domain = get_domain(name)
    assert isinstance(domain, BoardDomain)
    groups = [list(group) for one in domain.distinct for group in one.groups_on(domain.shape)]
    size, rng = domain.shape[0], np.random.default_rng(6)
    boards = []
    for which in range(number):
        solved = Grid(_solution(domain, rng).reshape(domain.shape))
        right = domain.random_symmetry(rng).apply(solved)
        board = np.where(rng.random(right.shape) < share, right.cells, 0).reshape(-1)
        if which % 2:
            board[rng.choice(np.flatnonzero(board == 0))] = rng.integers(1, size + 1)
        boards.append([1 << (value - 1) if value else (1 << size) - 1 for value in board.tolist()])
    expected = counted_alike(node, tmp_path, size, groups, boards)
    assert {count for counts in expected for count in counts} == found


def counted_alike(
    node: str, folder: Path, values: int, groups: list[list[int]], boards: list[list[int]]
) -> list[list[int | None]]:
    """Return the counts of solutions, up to 1 and up to 2, in which Python and Node agree."""
    deduction = Deduction(len(boards[0]), values, groups)
    expected = [[deduction.count(board, limit) for limit in (1, 2)] for board in boards]
    facts = {"values": values, "groups": groups, "boards": boards, "limits": [1, 2]}
    file = folder / "boards.json"
    file.write_text(json.dumps(facts))
    assert ask(node, "counts", file) == expected
    return expected


def test_proves_what_guesses_at_cells_alone_do_not(node: str, tmp_path: Path) -> None:
    """A jigsaw of few givens that takes some hundred guesses, at the places of values too."""
    jigsaw = get_domain("jigsaw")
    assert isinstance(jigsaw, BoardDomain)
    task = jigsaw.parse(
        "...............3...4...............93...6.2.1.....76.......2.....2.8...6..6...... "
        "111111112133334222333554226335544276555542276584444776888888766989998766999997776"
    )
    own = jigsaw.for_puzzle(task)
    groups = [list(map(int, group)) for one in own.distinct for group in one.groups_on(own.shape)]
    board = [1 << (value - 1) if value else 511 for value in task.grid.cells.reshape(-1).tolist()]
    assert counted_alike(node, tmp_path, 9, groups, [board]) == [[0, 0]]


def test_ends_where_the_rules_prove_that_there_is_no_solution(
    node: str, model: Path, solver: Solver
) -> None:
    limit = json.dumps({"maxSteps": 3, "attempts": 9, "explore": "guess"})
    steps = ask(node, "steps", model / "model.onnx", UNSOLVABLE, limit)["steps"]
    assert [(step["attempt"], step["refuted"]) for step in steps] == [(1, i == 2) for i in range(3)]
    ours = solver.solve(UNSOLVABLE, SolveOptions(max_steps=3, attempts=9, explore="guess"))
    assert (ours.stopped_by, ours.steps) == ("refuted", 3)
    solvable = ask(node, "steps", model / "model.onnx", HARD, limit)["steps"]
    assert len(solvable) == 27
    assert not any(step["refuted"] for step in solvable)


def _solution(domain: BoardDomain, rng: np.random.Generator) -> np.ndarray:
    """A board that obeys the rules: a pattern, renamed."""
    size = domain.shape[0]
    high = next((one.size[0] for one in domain.distinct if one.kind == "boxes"), 1)
    wide = size // high
    r, c = np.indices(domain.shape)
    pattern = (wide * (r % high) + r // high + c) % size
    return (rng.permutation(size) + 1)[pattern].reshape(-1)


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)
def test_verifies_as_python_does(node: str, tmp_path: Path, domain: BoardDomain) -> None:
    """Right answers, and answers that are right but for a little."""
    rng = np.random.default_rng(7)
    right = _solution(domain, rng)
    puzzle = np.where(rng.random(right.size) < 0.3, right, 0)
    other = _solution(domain, rng)
    answers: list[list[Any]] = [right.tolist(), other.tolist()]
    for _ in range(200):
        spoilt = right.copy()
        cells = rng.choice(right.size, 2, replace=False)
        spoilt[cells] = spoilt[cells[::-1]] if rng.random() < 0.5 else rng.integers(-1, 12, 2)
        answers.append(spoilt.tolist())
    shape = domain.shape
    task = domain.parse(puzzle.tolist())
    expected = [domain.verify(task, Grid(np.reshape(answer, shape))) for answer in answers]
    assert expected[0] is True
    assert 1 <= sum(expected) < len(expected) / 5
    whole = right.tolist()
    broken: list[Any] = [
        [],
        whole[: shape[0]],
        [*whole, 1],
        [value + 100 for value in whole],
        [-value for value in whole],
        [value + 0.5 for value in whole],
        [str(value) for value in whole],
        ["NaN", *whole[1:]],
        [None, *whole[1:]],
        domain.to_line(Grid(right.reshape(shape))),
    ]
    asked = about(domain, tmp_path, puzzle=puzzle.tolist(), answers=answers + broken)
    assert asked["verdicts"] == [*expected, *[False] * len(broken)]


def test_text_is_by_symbols_and_aliases(node: str, tmp_path: Path) -> None:
    domain = Latin()
    texts = ["r" + "~" * 15, "r   \n    \n  b \n    ", "r  b"]
    parsed = about(domain, tmp_path, puzzles=texts)["parsed"]
    for text, read in zip(texts[:2], parsed[:2], strict=True):
        assert read["values"] == domain.parse(text).inputs[0].cells.reshape(-1).tolist()
    assert parsed[2]["error"] == "PuzzleError"


def test_boards_of_any_size_are_read_and_written(node: str, tmp_path: Path) -> None:
    domain = Walls()
    texts = ["....##......", "..#\n#..", ".#.#.", "..\n.", "o...........", [[0, 1], [0, 0]]]
    usual, small, line, ragged, answered, array = about(domain, tmp_path, puzzles=texts)["parsed"]
    assert (usual["rows"], usual["columns"], usual["text"]) == (3, 4, texts[0])
    assert (small["rows"], small["columns"], small["text"]) == (2, 3, texts[1])
    assert (line["rows"], line["columns"], line["text"]) == (1, 5, texts[2])
    assert ragged["message"] == "rows must be of equal length; got 2 and 1"
    assert "holds 0 (floor), 1 (wall); got 2" in answered["message"]
    assert (array["rows"], array["columns"]) == (2, 2)
    for text, read in zip(texts[:3], (usual, small, line), strict=True):
        expected = domain.parse(text).inputs[0]
        assert (read["rows"], read["columns"]) == expected.shape
        assert read["values"] == expected.cells.reshape(-1).tolist()


def test_rules_that_javascript_does_not_know_give_no_verdict(node: str, tmp_path: Path) -> None:
    asked = about(Walls(), tmp_path, puzzle="............", answers=[[0] * 12, [2] * 11])
    assert asked["verdicts"] == [None, None]


def test_rules_may_be_brought_along(node: str, model: Path) -> None:
    found = ask(node, "rules", model / "model.onnx", PUZZLES[0])
    expected = "".join(cell if cell != "." else "1" for cell in PUZZLES[0])
    assert found == {"text": expected, "verified": True, "steps": 1}


def test_logits_of_another_length_are_refused(node: str, model: Path) -> None:
    answer = ask(node, "logits", model / "model.onnx", PUZZLES[0])
    assert answer["error"] == "ModelError"
    assert "gives 728 logits; 81 cells of 9 tokens have 729" in answer["message"]


def test_older_graphs_are_run_without_rules(node: str, model: Path, tmp_path: Path) -> None:
    """They have no description of the domain, and say by offsets what tokens are for."""
    graph = onnx.load(model / "model.onnx")
    facts = {item.key: item.value for item in graph.metadata_props}
    del facts["domain_description"]
    spec = json.loads(facts["trm_spec"])
    spec["model"] = {
        name: value
        for name, value in spec["model"].items()
        if name not in ("answer_tokens", "given_tokens")
    } | {"output_offset": 2, "givens_from": 2}
    facts["trm_spec"] = json.dumps(spec)
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, facts)
    old = tmp_path / "old.onnx"
    onnx.save(graph, old)
    limit = json.dumps({"maxSteps": 3, "attempts": 1})
    found = ask(node, "steps", old, PUZZLES[0], limit)["steps"]
    expected = ask(node, "steps", model / "model.onnx", PUZZLES[0], limit)["steps"]
    assert [step["verified"] for step in found] == [None] * 3
    for ours, theirs in zip(found, expected, strict=False):
        assert ours["text"] == theirs["text"]
        assert ours["probabilities"] == theirs["probabilities"]


def test_boards_of_any_size_are_solved_with_heads_and_identifiers(
    node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._registered, "walls-3x4", Walls)
    monkeypatch.setattr(registry, "_made", {})
    config = ModelConfig(
        vocab_size=3,
        seq_len=12,
        mixer="structured",
        structure=Structure(shape=(3, 4), relations=(rows(), board(), offsets())),
        hidden_size=8,
        ffn_size=16,
        L_layers=1,
        H_cycles=1,
        L_cycles=2,
        heads={"direction": 5},
        given_tokens=(1,),
        answer_tokens=(0, 2),
        num_puzzle_identifiers=3,
    )
    torch.manual_seed(0)
    network = TRM(config).eval()
    spec = ModelSpec.for_domain(Walls(), config, SolveOptions(max_steps=2))
    file = tmp_path / "walls.onnx"
    export_onnx((spec, network), file, heads=("direction",))
    found = ask(node, "steps", file, "..#..\n#...#", json.dumps({"identifier": 2}))["steps"]
    tokens = torch.tensor([[[0, 0, 1, 0, 0], [1, 0, 0, 0, 1]]], dtype=torch.int32)
    state = network.initial_state(1, (2, 5))
    with torch.inference_mode():
        for step in found:
            state, logits, _ = network(tokens, state)
            shares = logits.softmax(-1).reshape(-1, 2).numpy()
            shares[tokens.reshape(-1) == 1] = 0
            np.testing.assert_allclose(step["probabilities"], shares.reshape(-1), atol=1e-4)
            direction = network.network.auxiliary(state.y)["direction"].reshape(-1).numpy()
            np.testing.assert_allclose(step["heads"]["direction"], direction, atol=1e-4)
    assert len(found) == 2


def test_mazes_are_judged_as_python_does(node: str, tmp_path: Path) -> None:
    """By the module in the domain's folder: right paths, and paths that are nearly right."""
    maze = pytest.importorskip("trm_sdk.domains.maze.rules")
    pytest.importorskip("numba")
    domain = get_domain("maze-9x9")
    made = domain.examples(12, 5)
    rng = np.random.default_rng(0)
    rules = Path(maze.__file__).with_name("web.js")
    right = 0
    for tokens, solved in zip(made.tokens, made.answers, strict=True):
        task = domain.decode_task(tokens, made.shape)
        answers = [domain.decode(solved, made.shape).cells.reshape(-1)]
        open_cells = np.flatnonzero(task.inputs[0].cells.reshape(-1) == 1)
        for _ in range(12):
            other = answers[0].copy()
            cells = rng.choice(open_cells, int(rng.integers(1, 3)))
            other[cells] = np.where(other[cells] == 4, 1, 4)
            answers.append(other)
        answers.append(task.inputs[0].cells.reshape(-1))
        verdicts = [domain.verify(task, Grid(one.reshape(made.shape))) for one in answers]
        assert verdicts[0]
        right += sum(verdicts)
        questions = {
            "rules": str(rules),
            "puzzle": task.inputs[0].cells.tolist(),
            "answers": [*(one.tolist() for one in answers), answers[0].tolist()[1:]],
        }
        assert about(domain, tmp_path, **questions)["verdicts"] == [*verdicts, False]
    assert right < 40, "most of what is nearly right is wrong"


def test_jigsaws_are_read_and_judged_as_python_does(bare_node: str, tmp_path: Path) -> None:
    """With the regions of each puzzle, in every form in which they are written."""
    domain = get_domain("jigsaw")
    assert isinstance(domain, Jigsaw)
    task = domain.parse(domain.showcase[0][1])
    line = domain.to_text(task)
    cells, regions = line.split()
    board, below = (
        "\n".join(text[start : start + 9] for start in range(0, 81, 9)) for text in (cells, regions)
    )
    forms = [
        line,
        f"{cells}\n{regions.translate(str.maketrans('123456789', 'ihgfedcba'))}\n",
        f"{board}\n{below}",
        f"{board}\n\n{below}\n".replace("\n", "\r\n"),
        domain.draw(task),
        "".join(f"  {row}\n" for row in domain.draw(task).splitlines()),
    ]
    wrong = [cells, line[:-1], f"{cells} {'1' * 81}", "5" + line[1:3] + "5" + line[4:]]
    assert line[:4] == "5..."
    answer = _solved(domain, task)
    swapped = answer.copy()
    swapped[[0, 1]] = answer[[1, 0]]
    shifted = np.roll(answer.reshape(9, 9), 1, axis=0).reshape(-1)  # keeps rows and columns alone
    answers = [answer, swapped, shifted]
    found = about(
        domain,
        tmp_path,
        rules=str(Path(jigsaw.__file__).with_name("web.js")),
        puzzles=[*forms, *wrong],
        puzzle=domain.to_text(dataclasses.replace(task, inputs=(Grid(np.zeros((9, 9), int)),))),
        answers=[one.tolist() for one in answers],
    )
    groups = [np.flatnonzero(row).tolist() for row in domain.groups_of(task)["box"]]
    for parsed in found["parsed"][: len(forms)]:
        assert parsed["text"] == line
        assert parsed["groups"] == groups
    for refused in found["parsed"][len(forms) :]:
        assert refused["error"] == "PuzzleError", refused
    assert "of 1 cells" not in found["parsed"][len(forms) + 2]["message"]
    assert "5 appears 2 times in row 1" in found["parsed"][-1]["message"]
    assert found["verdicts"] == [True, False, False]
    empty = Task((Grid(np.zeros((9, 9), int)),), metadata=task.metadata)
    verdicts = [domain.verify(empty, Grid(one.reshape(9, 9))) for one in answers]
    assert verdicts == found["verdicts"]


def _solved(domain: Jigsaw, task: Task) -> np.ndarray:
    """The only solution of a jigsaw, cell by cell."""
    from trm_sdk.domains.sudoku import engine

    sets = [group for kind in domain.for_puzzle(task).distinct for group in kind.groups_on((9, 9))]
    _, _, solutions = engine.solve_count(task.grid.cells.reshape(1, -1), groups=sets)
    return np.asarray(solutions[0]).reshape(-1).astype(int)


@pytest.fixture
def bare_node() -> str:
    """Node, which needs no packages where no graph is run."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed")
    return program


def _mazes(shape: tuple[int, int], n: int) -> np.ndarray:
    rng = np.random.default_rng(shape)
    mazes = (rng.random((n, *shape)) > 0.25).astype(np.uint8)
    for maze in mazes:
        start, goal = rng.choice(maze.size, 2, replace=False)
        maze.flat[start], maze.flat[goal] = 2, 3
    return mazes


def test_the_walk_along_directions_is_python_s(bare_node: str, tmp_path: Path) -> None:
    """Along right directions, spoilt ones, and mere noise; on boards of several shapes."""
    rng = np.random.default_rng(1)
    domain = get_domain("maze")
    cases, expected = [], []
    for shape in ((9, 9), (4, 11), (13, 2)):
        mazes = _mazes(shape, 20)
        right = maze_rules.directions(maze_rules.distances(mazes))
        for maze, way in zip(mazes, right, strict=True):
            for noise in (0.0, 0.4, 50.0):
                logits = np.eye(5)[way] + rng.normal(0, 1, (*shape, 5)) * noise
                logits = logits.astype(np.float32)
                heads = {"direction": logits.reshape(-1).tolist()}
                cases.append({"puzzle": maze.tolist(), "heads": heads})
                tokens = maze.reshape(1, -1).astype(np.int32) + 1
                flat = {"direction": logits.reshape(1, -1, 5)}
                (walk,) = domain.alternatives(tokens, flat, shape)
                found = domain.verify_tokens(tokens, walk, shape)[0]
                walked = (walk[0] - 1).tolist()
                expected.append({"found": [walked], "right": walked if found else None})
    file = tmp_path / "cases.json"
    module = Path(maze_rules.__file__).with_name("web.js")
    about = {"description": domain.describe(), "rules": str(module), "cases": cases}
    file.write_text(json.dumps(about))
    assert ask(bare_node, "alternatives", file) == expected
    shares = [sum(one["right"] is not None for one in expected[i::3]) for i in range(3)]
    assert shares[0] > 40 > shares[1] > shares[2]


def test_a_step_ends_with_the_walk_where_the_path_is_wrong(bare_node: str, tmp_path: Path) -> None:
    domain = get_domain("maze")
    config = ModelConfig(
        vocab_size=6,
        seq_len=900,
        mixer="structured",
        structure=domain.structure,
        answer_tokens=(2, 5),
        given_tokens=(1, 3, 4),
        hidden_size=8,
        ffn_size=8,
        L_layers=1,
        H_cycles=1,
        L_cycles=1,
        heads={"direction": 5},
    )
    graph = export_onnx(
        (ModelSpec.for_domain(domain, config), TRM(config).eval()), tmp_path / "m.onnx"
    ).path
    maze = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 3]])
    way = maze_rules.directions(maze_rules.distances(maze[None]))[0]
    nothing, path = np.eye(2)[np.zeros(9, int)], np.eye(2)[[0, 1, 0, 0, 1, 1, 0, 0, 0]]

    def result(logits: Any, moves: Any) -> dict[str, list[float]]:
        state = np.zeros(9).tolist()
        read = {"logits": logits.reshape(-1).tolist(), "halt_logit": [0.0]}
        heads = {} if moves is None else {"direction": np.eye(5)[moves].reshape(-1).tolist()}
        return {"next_y": state, "next_z": state, **read, **heads}

    unknown = np.full((3, 3), 4)
    module = Path(maze_rules.__file__).with_name("web.js")
    solved = [2, 4, 0, 0, 4, 4, 0, 0, 3]
    for rules, script, verdicts in (
        (module, [(nothing, unknown), (nothing, way), (nothing, way)], [False, True]),
        (module, [(nothing, None), (path, None), (nothing, None)], [False, True]),
        ("none", [(nothing, way), (nothing, way)], [None, None]),
    ):
        file = tmp_path / "script.json"
        file.write_text(json.dumps([result(*one) for one in script]))
        steps = ask(bare_node, "scripted", graph, rules, "S #\n#  \n##G", file)
        assert [step["verified"] for step in steps] == verdicts
        assert (steps[-1]["values"] == solved) is (verdicts[-1] is True)
        assert steps[0]["values"] == maze.reshape(-1).tolist()


# --- the example ------------------------------------------------------------------------------


def test_the_example_solves(node: str, model: Path, solver: Solver) -> None:
    result = run(node, EXAMPLES / "node" / "solve.mjs", model / "model.onnx", *PUZZLES)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["answer"] for line in lines] == [
        line_of(solver.solve(puzzle).grid) for puzzle in PUZZLES
    ]
    assert all(line["verified"] for line in lines)


def test_the_example_solves_mazes_of_any_size(node: str, maze: Path, tmp_path: Path) -> None:
    """By the rules that an exported page has; by a graph alone, without a verdict."""
    solver = Solver.from_pretrained(maze, runtime="onnx", threads=1)
    domain, puzzles = solver.domain, []
    for seed, shape in enumerate(((7, 12), (15, 15), (30, 9))):
        made = domain.examples(1, seed, {"rows": shape[0], "columns": shape[1]})
        puzzles.append(domain.decode(made.tokens[0], made.shape))
    export_web(maze, tmp_path)
    texts = [domain.format(puzzle) for puzzle in puzzles]
    program = EXAMPLES / "node" / "solve.mjs"
    result = run(node, program, tmp_path / "model.json", *texts)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    for line, puzzle in zip(lines, puzzles, strict=True):
        solution = solver.solve(puzzle)
        assert line["verified"] is solution.verified is True
        assert domain.verify(solution.task, domain.parse_answer(line["answer"]))
        assert line["steps"] == solution.steps
    alone = run(node, program, maze / "model.onnx", texts[0])
    assert json.loads(alone.stdout)["verified"] is None
    ragged = run(node, program, maze / "model.onnx", "S #\nG")
    assert ragged.returncode == 2
    assert "rows must be of equal length" in ragged.stderr


@pytest.mark.parametrize("puzzle", ["123", "55" + "." * 79])
def test_the_example_names_a_bad_puzzle(node: str, model: Path, puzzle: str) -> None:
    result = run(node, EXAMPLES / "node" / "solve.mjs", model / "model.onnx", puzzle)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: ")
    assert "81 cells; got 3" in result.stderr or "5 appears 2 times in row 1" in result.stderr


def test_both_package_files_want_the_same_onnxruntime() -> None:
    ours = json.loads((EXAMPLES / "package.json").read_text())["dependencies"]
    shipped = json.loads((ROOT / "export" / "web_assets" / "package.json").read_text())
    assert shipped["dependencies"]["onnxruntime-web"] == ours["onnxruntime-web"]


def test_no_download_address_is_locked() -> None:
    lock = json.loads((EXAMPLES / "package-lock.json").read_text())
    assert len(lock["packages"]) > 3
    assert not any("resolved" in package for package in lock["packages"].values())
