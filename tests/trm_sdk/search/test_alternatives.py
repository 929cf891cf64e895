"""Answers decoded from heads: mazes whose directions are right and whose path is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from trm_sdk.domains.maze import Maze, rules
from trm_sdk.domains.symmetry import Turn
from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import ModelConfig
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.base import StepOutput
from trm_sdk.search.tasks import Search
from trm_sdk.solver import Solver

MAZES = (
    "S #    \n# # ## \n  #  # \n ##### \n      G",
    "S      \n###### \n       \n ######\n      G",
    "G  #   \n ##  # \n #  ## \n   #   \nS#    #",
)


class Wave:
    """A model that learns the directions of `speed` more moves with every step, and no path.

    Boards in `drawn` get their path right at once; of boards in `unseen` it learns nothing.
    """

    name, device, batch_size = "stub", "cpu", 4

    def __init__(
        self,
        speed: int = 3,
        heads: tuple[str, ...] = ("direction",),
        drawn: Sequence[np.ndarray] = (),
        unseen: Sequence[np.ndarray] = (),
    ) -> None:
        self.spec = ModelSpec.for_domain(Maze(), _config())
        self.speed, self.heads, self.drawn, self.unseen = speed, heads, drawn, unseen
        self.steps = 0

    def start(self, tokens: Any, identifiers: Any = None) -> Any:
        return tokens.copy(), np.zeros(len(tokens), int)

    def step(self, state: Any, deadline: float | None = None) -> StepOutput:
        tokens, age = state[0], state[1] + 1
        self.steps += 1
        boards = tokens - 1
        field = rules.distances(boards)
        seen = field <= self.speed * age[:, None, None]
        path, _ = rules.shortest_path(boards)
        answer = np.full(boards.shape, rules.FREE)
        for row, board in enumerate(boards):
            if any(np.array_equal(board, one) for one in self.drawn):
                answer[row] = path[row]
            if any(np.array_equal(board, one) for one in self.unseen):
                seen[row] = False
        moves = np.where(seen, rules.directions(field), rules.NO_MOVE).reshape(len(tokens), -1)
        columns = (answer.reshape(len(tokens), -1) == rules.PATH).astype(int)  # free, path
        heads = {name: np.eye(5, dtype=np.float32)[moves] for name in self.heads}
        logits = np.eye(2, dtype=np.float32)[columns]
        return StepOutput((tokens, age), logits, np.full(len(tokens), -1, np.float32), heads)

    def restart(self, state: Any, rows: Any, tokens: Any, identifiers: Any = None) -> Any:
        state[0][rows], state[1][rows] = tokens, 0
        return state

    def select(self, state: Any, rows: Any) -> Any:
        return state[0][rows], state[1][rows]

    def concatenate(self, states: Sequence[Any]) -> Any:
        return tuple(np.concatenate(parts) for parts in zip(*states, strict=True))

    def perturb(self, state: Any, scale: Any, rngs: Any) -> Any:
        return state

    def close(self) -> None:
        pass


def _config() -> ModelConfig:
    domain = Maze()
    return ModelConfig(
        vocab_size=len(domain.vocabulary),
        seq_len=domain.seq_len,
        mixer="structured",
        structure=domain.structure,
        answer_tokens=domain.vocabulary.answer_tokens,
        given_tokens=domain.vocabulary.given_tokens,
        hidden_size=8,
        ffn_size=8,
        heads=dict(domain.heads),
    )


class Noting(Maze):
    """Mazes that note how often they are asked, about how many answers and which puzzles."""

    def __init__(self, *shape: int) -> None:
        super().__init__(*shape)
        self.judged: list[int] = []
        self.asked: list[np.ndarray] = []

    def resized(self, shape: tuple[int, int]) -> Noting:
        other = type(self)(*shape)
        other.judged, other.asked = self.judged, self.asked
        return other

    def verify_tokens(self, tokens: Any, answers: Any, shape: Any = None) -> Any:
        self.judged.append(len(tokens))
        return super().verify_tokens(tokens, answers, shape)

    def alternatives(self, tokens: Any, heads: Mapping[str, Any], shape: Any = None) -> Any:
        self.asked += [one.reshape(shape) - 1 for one in tokens]
        return super().alternatives(tokens, heads, shape)


def boards() -> list[np.ndarray]:
    return [Maze().read(text).cells for text in MAZES]


def moves(board: np.ndarray) -> int:
    return int(rules.lengths(board[None])[0])


ONE = SolveOptions(max_steps=20, attempts=1)


def solver_of(domain: Maze | None = None, **settings: Any) -> Solver:
    return Solver(Wave(**settings), domain or Maze())


@pytest.mark.parametrize("text", MAZES)
def test_the_walk_is_the_answer_as_soon_as_it_is_known(text: str) -> None:
    board = Maze().read(text).cells
    solution = solver_of().solve(text, ONE)
    assert solution.verified is True
    assert solution.stopped_by == "verified"
    assert solution.steps == -(-moves(board) // 3)
    expected, _ = rules.shortest_path(board[None])
    assert np.array_equal(solution.grid.cells, expected[0])


def test_many_in_one_batch_are_what_they_are_alone() -> None:
    solver = solver_of()
    alone = [solver.solve(text, ONE) for text in MAZES * 2]
    for batch_size in (2, 4):
        together = list(solver.solve_many(MAZES * 2, options=ONE, batch_size=batch_size))
        assert [one.grid for one in together] == [one.grid for one in alone]
        assert [one.steps for one in together] == [one.steps for one in alone]


def test_alternatives_are_read_where_the_answer_was_refuted() -> None:
    drawn, *others = boards()
    domain = Noting()
    found = list(solver_of(domain, drawn=[drawn]).solve_many(MAZES, options=ONE))
    assert all(one.verified for one in found)
    assert found[0].steps == 1
    assert domain.asked
    assert not any(np.array_equal(one, drawn) for one in domain.asked)
    assert all(any(np.array_equal(one, other) for one in domain.asked) for other in others)


@pytest.mark.parametrize("count", [1, 3])
def test_the_rules_are_not_asked_twice_about_the_same_answers(count: int) -> None:
    domain = Noting()
    solver = solver_of(domain, unseen=boards())
    found = list(solver.solve_many(MAZES[:count], options=ONE))
    assert [one.stopped_by for one in found] == ["max_steps"] * count
    assert domain.judged == [count, count]  # the best tokens once, and the walks
    assert all((one.grid.cells != rules.PATH).all() for one in found)


def test_without_the_rules_the_best_tokens_stand() -> None:
    domain = Noting()
    solution = solver_of(domain).solve(MAZES[0], ONE.model_copy(update={"verify": False}))
    assert (solution.steps, solution.verified) == (20, False)
    assert domain.asked == []


def test_a_runtime_that_lacks_the_head_is_used_without() -> None:
    domain = Noting()
    solution = solver_of(domain, heads=("another",)).solve(MAZES[0], ONE)
    assert (solution.steps, solution.verified) == (20, False)
    assert domain.asked == []


def test_an_attempt_on_a_turned_maze_is_read_turned_and_answered_upright() -> None:
    """The maze itself shows the model nothing: what is found was found on an image of it."""
    square = "S # \n  # \n#   \n  #G"
    board = Maze().read(square).cells
    fixed = [t for t in range(8) if np.array_equal(Turn(t).apply(Maze().read(square)).cells, board)]
    assert fixed == [0]
    options = SolveOptions(max_steps=5, attempts=8, explore="symmetry", patience=1)
    solution = solver_of(unseen=[board]).solve(square, options)
    assert solution.verified is True
    assert solution.attempts > 1
    assert rules.judge(board[None], solution.grid.cells[None]).tolist() == [rules.OPTIMAL]


def test_a_stream_ends_with_the_alternative() -> None:
    solver = solver_of()
    solution = solver.solve(MAZES[1], ONE)
    *before, last = solver.stream(MAZES[1], ONE)
    assert (last.verified, last.grid, last.index) == (True, solution.grid, solution.steps)
    assert [step.verified for step in before] == [False] * (solution.steps - 1)


class Failing(Maze):
    """Mazes whose alternatives break on one of them."""

    def resized(self, shape: tuple[int, int]) -> Failing:
        return type(self)(*shape)

    def alternatives(self, tokens: Any, heads: Mapping[str, Any], shape: Any = None) -> Any:
        if any(np.array_equal(one.reshape(shape) - 1, boards()[1]) for one in tokens):
            raise ZeroDivisionError("on the second")
        return super().alternatives(tokens, heads, shape)


def test_an_alternative_that_fails_fails_its_own_puzzle() -> None:
    solver = solver_of(Failing())
    search = Search(solver.domain, solver.runtime, 4)
    added = [search.add(solver.parse(text), ONE.over(solver.options)) for text in MAZES]
    while not search.idle:
        search.step()
    assert [type(one.error) for one in added] == [type(None), ZeroDivisionError, type(None)]
    assert [one.solution is not None and one.solution.verified for one in added] == [1, 0, 1]
    with pytest.raises(ZeroDivisionError):
        solver.solve(MAZES[1], ONE)


class Misshapen(Maze):
    """Mazes whose alternatives are boards, not rows of tokens."""

    def resized(self, shape: tuple[int, int]) -> Misshapen:
        return type(self)(*shape)

    def alternatives(self, tokens: Any, heads: Mapping[str, Any], shape: Any = None) -> Any:
        return [tokens.reshape(len(tokens), *shape)]


def test_what_is_not_an_answer_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"alternatives of maze.* of shape \(1, 35\)"):
        solver_of(Misshapen()).solve(MAZES[0], ONE)


class Several(Maze):
    """Square mazes with two alternatives before the walk: the puzzle itself, the walk mirrored."""

    def resized(self, shape: tuple[int, int]) -> Several:
        return type(self)(*shape)

    def alternatives(self, tokens: Any, heads: Mapping[str, Any], shape: Any = None) -> Any:
        (walk,) = super().alternatives(tokens, heads, shape)
        mirrored = walk.reshape(-1, *shape).transpose(0, 2, 1).reshape(walk.shape)
        return [tokens, mirrored, walk]


def test_the_first_alternative_that_is_right_is_the_answer() -> None:
    text = "S  \n   \n  G"  # both ways around are shortest
    one, other = (solver_of(domain).solve(text, ONE) for domain in (Maze(), Several()))
    assert one.verified is other.verified is True
    assert one.grid != other.grid
    assert np.array_equal(one.grid.cells.T, other.grid.cells)


def test_maze_alternatives_are_the_walk_along_the_directions() -> None:
    rng = np.random.default_rng(4)
    domain = Maze(5, 7)
    mazes = np.stack(boards())
    for _ in range(20):
        logits = rng.normal(size=(3, 35, 5)).astype(np.float32)
        tokens = mazes.reshape(3, 35).astype(np.int32) + domain.vocabulary.first
        (found,) = domain.alternatives(tokens, {"direction": logits}, (5, 7))
        expected, _ = rules.walk(mazes, logits.argmax(-1).reshape(3, 5, 7))
        assert np.array_equal(found.reshape(3, 5, 7) - domain.vocabulary.first, expected)
