"""The tree of guesses: its order, and what becomes of it on real models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from search_doubles import Watching, run, solve_all

from export.errors import ExportError
from export.exporter import export_onnx
from trm_sdk.domains import get_domain
from trm_sdk.domains.sudoku import Sudoku
from trm_sdk.domains.text import line_of
from trm_sdk.errors import ConfigError
from trm_sdk.model.recursion import TRM
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.checkpoint import load_model
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.onnx import OnnxRuntime
from trm_sdk.runtimes.torch import TorchRuntime
from trm_sdk.search.slots import Slot
from trm_sdk.search.tasks import Search
from trm_sdk.search.tree import Guess, Tree, branching_cell
from trm_sdk.solver import Solver

FOUR = Sudoku(2, 2)
Puzzles = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def model(model_folder: Path) -> tuple[ModelSpec, TRM]:
    """The trained 4x4 model, with a dead-end head that has learned nothing."""
    spec, trained = load_model(model_folder)
    config = spec.model.model_copy(update={"dead_end_head": True})
    model = TRM(config)
    missing = model.load_state_dict(trained.state_dict(), strict=False).missing_keys
    assert missing == ["network.dead_end_head.weight", "network.dead_end_head.bias"]
    return spec.model_copy(update={"model": config}), model.eval()


@pytest.fixture(scope="module")
def guided(model: tuple[ModelSpec, TRM]) -> Solver:
    spec, network = model
    return Solver(TorchRuntime(network, spec, device="cpu", threads=1))


def _tree(given: int = 0) -> Tree:
    spec = ModelSpec.for_domain(FOUR, _config(), SolveOptions())
    return Tree(FOUR, spec.model, np.arange(16) < given)


def _config():
    from training.recipe import load_recipe

    return load_recipe("sudoku-4x4", ("objective.dead_ends=0.5",)).spec().model


def _logits(**sure: list[float]) -> np.ndarray:
    """Logits of 16 cells that are sure of the first value, but for some (``c5=[...]``)."""
    p = np.tile([0.97, 0.01, 0.01, 0.01], (16, 1))
    for name, values in sure.items():
        p[int(name[1:])] = values
    return np.log(p + 1e-9).astype(np.float32)


def test_the_cell_to_branch_on_is_torn_between_two_values():
    p = np.array([[0.9, 0.1, 0, 0], [0.4, 0.3, 0.3, 0], [0.55, 0.44, 0.01, 0], [0.25] * 4])
    assert branching_cell(p) == 2
    assert branching_cell(p[[0, 3]]) == 0  # not the one of which nothing is known
    assert branching_cell(np.array([[0.9, 0.1], [0.6, 0.4]])) == 1  # of two values


def test_with_peers_the_cell_is_one_that_tells_them_something():
    peers = ~np.eye(4, dtype=bool)
    torn, sure = [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]
    # Both are torn; what the second is torn between, the others hold for possible.
    p = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 0.9, 0.1], [0.0, 0.9, 0.1]])
    assert branching_cell(p, peers) == 1
    assert branching_cell(p[[1, 0, 2, 3]], peers) == 0
    # What is decided, and what has no peer, is no news to anyone.
    assert branching_cell(np.array([sure, torn, sure, torn]), peers) in (1, 3)
    alone = peers.copy()
    alone[1] = alone[:, 1] = False
    assert branching_cell(np.array([torn, torn, torn, sure]), alone) in (0, 2)
    # Three values are worth more attempts than two only if they tell more.
    p = np.array([[1 / 3] * 3, torn, torn, torn])
    assert branching_cell(p, peers) in (1, 2, 3)


def test_the_search_knows_the_peers_of_the_puzzle_at_hand(guided: Solver) -> None:
    asked = []

    class Asked(Sudoku):
        def peers(self, task, index=0):
            asked.append(super().peers(task, index))
            return asked[-1]

    Solver(guided.runtime, Asked(2, 2)).solve(
        "1" + "." * 15, SolveOptions(attempts=2, explore="tree")
    )
    (found,) = asked
    row, column = np.divmod(np.arange(16), 4)
    box = 2 * (row // 2) + column // 2
    same = [one[:, None] == one for one in (row, column, box)]
    np.testing.assert_array_equal(found, np.logical_or.reduce(same) & ~np.eye(16, dtype=bool))
    jigsaw = get_domain("jigsaw")
    ragged = jigsaw.peers(jigsaw.generate(np.random.default_rng(0)))
    assert ragged.sum(1).min() >= 16
    assert (ragged == ragged.T).all()
    assert len(set(ragged.sum(1).tolist())) > 1  # regions meet rows and columns as they like


def test_the_first_wave_are_the_likely_values_of_one_cell():
    tree = _tree()
    assert tree.next_wave(8) == range(1, 1)  # the root is under way
    assert tree.grow(0, _logits(c5=[0.15, 0.5, 0.349, 0.001]), 3.0)
    assert tree.next_wave(8) == range(1, 4)
    assert [tree.path(n) for n in (0, 1, 2, 3)] == [(), ((5, 3),), ((5, 4),), ((5, 2),)]
    assert [tree.parent(n) for n in (0, 1, 2, 3)] == [0, 0, 0, 0]
    assert tree.next_wave(8) == range(4, 4)  # until all of them have failed


def test_a_wave_is_no_wider_than_asked_for():
    tree = _tree()
    tree.grow(0, _logits(c5=[0.1, 0.4, 0.4, 0.1]), 0.0)
    assert tree.next_wave(3) == range(1, 4)
    assert [tree.path(n) for n in (1, 2, 3)] == [((5, 3),), ((5, 4),), ((5, 2),)]


def test_children_of_the_less_suspect_attempt_come_first():
    tree = _tree()
    tree.grow(0, _logits(c5=[0.01, 0.5, 0.48, 0.01]), 0.0)
    assert tree.next_wave(2) == range(1, 3)
    tree.grow(1, _logits(c7=[0.5, 0.48, 0.01, 0.01]), 4.0)
    assert not tree.next_wave(8)
    tree.grow(2, _logits(c9=[0.5, 0.48, 0.01, 0.01]), -4.0)
    wave = tree.next_wave(4)
    assert [tree.path(n) for n in wave] == [((5, 4), (9, 2)), ((5, 4), (9, 3))]
    assert [tree.parent(n) for n in wave] == [2, 2]


def test_if_all_children_look_like_dead_ends_their_parent_does():
    """And what was said of the parent alone no longer counts for much."""
    tree = _tree()
    tree.grow(0, _logits(c5=[0.01, 0.5, 0.48, 0.01]), 0.0)
    tree.next_wave(2)
    tree.grow(1, _logits(c7=[0.5, 0.48, 0.01, 0.01]), -1.0)
    tree.grow(2, _logits(c9=[0.5, 0.48, 0.01, 0.01]), 1.0)
    first = tree.next_wave(2)
    assert [tree.path(n)[0] for n in first] == [(5, 3), (5, 3)]
    for number in first:
        tree.grow(number, _logits(c8=[0.5, 0.48, 0.01, 0.01]), 9.0)
    assert [tree.path(n)[0] for n in tree.next_wave(2)] == [(5, 4), (5, 4)]


def test_the_only_child_left_is_right_if_its_parent_is():
    tree = _tree()
    tree.grow(0, _logits(c5=[0.6, 0.37, 0.02, 0.01]), 0.0)
    assert [tree.path(n) for n in tree.next_wave(2)] == [((5, 2),), ((5, 3),)]
    tree.grow(1, _logits(), 9.0)
    tree.grow(2, _logits(), 9.0)
    assert [tree.path(n) for n in tree.next_wave(1)] == [((5, 4),)]


def test_what_the_head_refuses_is_made_in_the_end():
    """The head may be wrong about the answer's branch, and the network sure below another one."""
    tree = _tree()
    tree.grow(0, _logits(c5=[0.4, 0.35, 0.25, 0]), 0.0)
    assert tree.next_wave(3) == range(1, 4)
    for number, dead_end in ((1, -5.0), (2, -5.0), (3, 50.0)):
        tree.grow(number, _logits(), dead_end)
    begun: list[object] = []
    while ((5, 4), (0, 2)) not in begun:
        for number in tree.next_wave(2):
            begun.append(tree.path(number))
            tree.grow(number, _logits(), -5.0)
        assert len(begun) < 30


def test_the_order_in_which_a_wave_fails_does_not_matter():
    def paths(order: tuple[int, ...]) -> list[object]:
        tree = _tree()
        tree.grow(0, _logits(c5=[0.1, 0.4, 0.4, 0.1]), 0.0)
        assert tree.next_wave(4) == range(1, 5)
        for number in order:
            tree.grow(number, _logits(c7=[0.5, 0.5, 0, 0]), 0.0)
        return [tree.path(n) for n in tree.next_wave(16)]

    assert paths((1, 2, 3, 4)) == paths((4, 2, 1, 3))


def test_givens_and_guesses_are_never_guessed_and_a_tree_ends():
    tree = _tree(given=15)
    for number in range(5):
        tree.grow(number, _logits(c0=[0.5, 0.5, 0, 0]), 0.0)
        if number == 0:
            assert tree.next_wave(9) == range(1, 5) or not tree.is_exhausted
    while wave := tree.next_wave(9):
        for number in wave:
            assert [cell for cell, _ in tree.path(number)] == [15]
            tree.grow(number, _logits(), 0.0)
    assert tree.is_exhausted
    assert sorted(tree.path(n)[0][1] for n in range(1, 5)) == [2, 3, 4, 5]


@pytest.mark.parametrize("capacity", [1, 3, 64])
def test_guesses_on_guesses_solve_what_the_plain_attempt_does_not(
    guided: Solver, puzzles: Puzzles, capacity: int
) -> None:
    plain, _ = solve_all(guided, puzzles[0], SolveOptions(max_steps=1), 64)
    options = SolveOptions(max_steps=1, attempts=40, explore="tree")
    tried, _ = solve_all(guided, puzzles[0], options, capacity)
    failed = [i for i, solution in enumerate(plain) if not solution.verified]
    assert len(failed) >= 10
    assert sum(tried[i].verified is True for i in failed) >= 0.9 * len(failed)
    for solution, before, answer in zip(tried, plain, puzzles[1], strict=True):
        assert solution.verified == (line_of(solution.grid) == answer)
        assert (solution.attempts > 1) == (before.verified is False)
        assert solution.attempts <= 40


def test_a_puzzles_tree_is_the_same_in_whatever_batch(guided: Solver, puzzles: Puzzles) -> None:
    options = SolveOptions(max_steps=1, attempts=40, explore="tree")
    alone = [guided.solve(puzzle, options) for puzzle in puzzles[0]]
    for capacity in (2, 1024):
        together, _ = solve_all(guided, puzzles[0], options, capacity)
        for one, other in zip(alone, together, strict=True):
            assert (one.verified, one.grid) == (other.verified, other.grid)
            if capacity == 1024:  # else the rest of a wave may still have waited for a slot
                assert (one.attempts, one.steps) == (other.attempts, other.steps)


def test_an_attempt_fills_in_its_parents_guesses_and_one_more(guided: Solver) -> None:
    watching = Watching(guided.runtime)
    options = SolveOptions(max_steps=1, attempts=60, explore="tree", verify=True)
    search = Search(Lawful(2, 2), watching, 64)
    search.add(FOUR.parse("." * 16), options)
    run(search)
    first, *others = watching.seen
    made = [frozenset((i, t) for i, t in enumerate(row) if t != first[i]) for row in others]
    assert len(made) == len(set(made)) == 59
    assert all(len(one) == 1 or any(one > parent for parent in made) for one in made)
    assert max(map(len, made)) > 1


@pytest.mark.parametrize("warm", [True, False])
def test_an_attempt_goes_on_from_the_state_of_its_parent(guided: Solver, warm: bool) -> None:
    puzzle = FOUR.parse("1" + "." * 15)
    options = SolveOptions(max_steps=3, attempts=30, explore="tree", warm_start=warm)
    search = Search(Lawful(2, 2), guided.runtime, 64, observer := Noting())
    search.add(puzzle, options)
    run(search)
    runtime = guided.runtime
    plain = FOUR.encode(puzzle).tokens
    root = runtime.start(plain[None])
    for _ in range(3):
        root = runtime.step(root).state
    firsts = [seen for seen in observer.seen if seen[1] == 1 and len(seen[2]) == 1]
    assert firsts
    for _, _, guesses, logits in firsts:
        tokens = plain.copy()
        for cell, token in guesses:
            tokens[cell] = token
        state = runtime.start(tokens[None])
        if warm:
            state = runtime.inherit(state, np.array([0]), runtime.select(root, np.array([0])))
        np.testing.assert_allclose(logits, runtime.step(state).logits[0], atol=1e-4)


class Noting:
    """Notes the attempt, the step, the guesses and the logits of every step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, tuple[Guess, ...], np.ndarray]] = []

    def __call__(self, slot: Slot, steps: int, logits: np.ndarray, halt_logit: float) -> None:
        self.seen.append((slot.number, steps, slot.attempt.guesses, logits.copy()))


def test_states_of_failed_attempts_are_kept_for_the_latest_and_only_while_solving(
    guided: Solver,
) -> None:
    search = Search(Lawful(2, 2), guided.runtime, 64)
    options = SolveOptions(max_steps=1, attempts=200, explore="tree")
    (request,) = search.add(FOUR.parse("." * 16), options).requests
    most, oldest = 0, []
    while not search.idle:
        search.step()
        most = max(most, len(request.states))
        oldest.append(min(request.states, default=0))
    assert request.attempts == 200
    assert 16 <= most <= 16 + 8
    assert oldest[-2] > 150
    assert not request.states


class Lawful(Sudoku):
    """4x4 Sudoku of which no answer is ever right."""

    def verify_tokens(self, tokens, answers, shape=None):
        return np.zeros(len(tokens), bool)

    def rules_out(self, answer):
        return True

    def count_solutions(self, task, index=0, limit=2):
        return None


def test_the_graph_gives_what_pytorch_does(
    model: tuple[ModelSpec, TRM], guided: Solver, puzzles: Puzzles, tmp_path: Path
) -> None:
    spec, network = model
    with torch.no_grad():
        torch.nn.init.normal_(network.network.dead_end_head.weight)
    path = export_onnx((spec, network), tmp_path / "model.onnx", mode="step").path
    runtime = OnnxRuntime(path, threads=1)
    assert runtime.heads == guided.runtime.heads == ("dead_end",)
    tokens = FOUR.examples(6, 3).tokens
    state, other = runtime.start(tokens), guided.runtime.start(tokens)
    for _ in range(3):
        one, two = runtime.step(state), guided.runtime.step(other)
        state, other = one.state, two.state
        assert one.heads["dead_end"].shape == (6,)
        np.testing.assert_allclose(one.heads["dead_end"], two.heads["dead_end"], atol=1e-4)
    options = SolveOptions(max_steps=1, attempts=40, explore="tree")
    for puzzle in puzzles[0][:40]:
        one, two = Solver(runtime).solve(puzzle, options), guided.solve(puzzle, options)
        assert (one.grid, one.attempts, one.steps) == (two.grid, two.attempts, two.steps)


def test_in_a_loop_graph_the_head_is_given_only_if_asked_for(
    model: tuple[ModelSpec, TRM], tmp_path: Path
) -> None:
    import onnx

    def outputs(**options: object) -> set[str]:
        path = export_onnx(model, tmp_path / "m.onnx", mode="loop", **options).path
        return {value.name for value in onnx.load(path).graph.output}

    assert "dead_end" not in outputs()
    assert "dead_end" in outputs(heads="dead_end")


def test_models_and_graphs_without_the_head_refuse_it(
    solver: Solver, model_folder: Path, model: tuple[ModelSpec, TRM], tmp_path: Path
) -> None:
    tree = SolveOptions(attempts=3, explore="tree")
    with pytest.raises(ConfigError, match="dead_end_head"):
        solver.solve("." * 16, tree)
    path = export_onnx(model, tmp_path / "m.onnx", mode="step", heads=()).path
    with pytest.raises(ConfigError, match="its graph leaves it out"):
        Solver(OnnxRuntime(path)).solve("." * 16, tree)
    with pytest.raises(ExportError, match="no head named 'dead_end'"):
        export_onnx(model_folder, tmp_path / "n.onnx", mode="step", heads="dead_end")


@pytest.mark.parametrize(
    ("fields", "match"), [({"patience": 0}, "patience=0"), ({"choose": "majority"}, "majority")]
)
def test_trees_that_can_not_grow_are_refused(guided: Solver, fields, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        guided.solve("." * 16, SolveOptions(attempts=3, explore="tree", **fields))


class Counting:
    """Counts those of some answers that have the guesses of a path, and notes what was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = [*answers]
        self.asked = []

    def __call__(self, path, limit):
        self.asked.append((path, limit))
        fitting = (all(one[cell] == str(token - 1) for cell, token in path) for one in self.answers)
        return min(sum(fitting), limit)


ANSWERS = ("1234341221434321", "1234341243212143", "2134431212433421")


def _counted(count: Counting | None) -> Tree:
    spec = ModelSpec.for_domain(FOUR, _config(), SolveOptions())
    return Tree(FOUR, spec.model, np.zeros(16, bool), count)


def test_several_solutions_are_looked_for_one_attempt_after_the_other():
    count, unsure = Counting(*ANSWERS), np.zeros((16, 4), np.float32)
    tree = _counted(count)
    tree.grow(0, unsure, 0.0)
    wave = [*tree.next_wave(8)]
    assert len(wave) == 4
    assert not count.asked  # most puzzles never come so far
    for depth in range(2, 17):
        for number in wave:
            tree.grow(number, unsure, 5.0)
        wave = [*tree.next_wave(8)]
        (path,) = map(tree.path, wave)
        assert len(path) == depth
        assert count(path, 1) == 1
    assert count.asked[0] == ((), 2)


def test_where_all_that_is_left_is_wrong_nothing_begins():
    count, unsure = Counting(*ANSWERS), np.zeros((16, 4), np.float32)
    tree = _counted(count)
    tree.grow(0, unsure, 0.0)
    for _ in range(3):
        (*wave,) = tree.next_wave(8)
        for number in wave:
            tree.grow(number, unsure, 0.0)
    count.answers.clear()
    assert not tree.next_wave(8)
    assert tree.is_exhausted


def test_a_puzzle_with_one_solution_is_searched_as_ever():
    count = Counting(ANSWERS[0])
    trees = [_counted(one) for one in (None, count)]
    rng = np.random.default_rng(0)
    wave = [0]
    for _ in range(6):
        for number in wave:
            logits, dead_end = rng.normal(size=(16, 4)).astype(np.float32), float(rng.normal())
            for tree in trees:
                tree.grow(number, logits, dead_end)
        first, wave = (list(tree.next_wave(8)) for tree in trees)
        assert first == wave
        assert [trees[0].path(n) for n in wave] == [trees[1].path(n) for n in wave]
    assert count.asked == [((), 2)]


@pytest.mark.parametrize("puzzle", ["." * 81, "1" + "." * 80, "123456789" + "." * 72])
def test_nearly_empty_boards_are_solved(puzzle):
    """They used up all attempts: a network is sure of nothing where everything is possible."""
    solution = Solver.from_pretrained("sudoku").solve(puzzle, SolveOptions(attempts=128))
    assert solution.verified
    assert solution.unique is False
