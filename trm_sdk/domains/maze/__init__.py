"""Mazes of any size: find a shortest path from the start to the goal.

Rules, text and pictures need numpy alone; making mazes and targets needs numba.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trm_sdk.domains.base import Domain, Shape
from trm_sdk.domains.data import Examples, Head, Targets, Tokens
from trm_sdk.domains.maze import rules
from trm_sdk.domains.maze.text import check_maze, format_maze, parse_maze, refuse_swapped
from trm_sdk.domains.symmetry import Turn
from trm_sdk.domains.vocabulary import Token, Vocabulary
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.structure import Structure, offsets
from trm_sdk.task import Task
from trm_sdk.validation import is_int

_Side = Annotated[int, Field(ge=2, le=4096)]
_Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["dfs", "wilson", "prim", "braided", "walls", "open", "climbed"]

#: Passes that a cell of the path may take to light up once the wave has come and gone: the wave
#: travels from the goal to the start, and the path back from there, a cell a pass at best.
_SLOWER, _SLACK = 1.25, 10
#: How much more a cell of the path weighs in the loss than one beside it: there are few of them.
_PATH_WEIGHT = 3.0

_VOCABULARY = Vocabulary(
    (
        Token("pad", "_", ("pad",)),
        Token("wall", "#", ("given",), colour="#27303f"),
        Token("free", " ", ("blank", "answer"), colour="#f6f5f0"),
        Token("start", "S", ("given",), colour="#2b8a57"),
        Token("goal", "G", ("given",), colour="#c8442f"),
        Token("path", "o", ("answer",), colour="#f2b134"),
    )
)


class MazeOptions(BaseModel):
    """How mazes are made; see `engine.generate`.

    Attributes
    ----------
    rows, columns : int or None
        Of the board. Default: the domain's own rows, and as many columns as rows where only these
        are given.
    kinds : mapping from kind to weight
        ``dfs``, ``wilson``, ``prim`` (perfect mazes), ``braided`` (with loops), ``walls`` (random
        ones), ``open`` (few walls), ``climbed`` (random walls made to wind). Default: a mixture.
    walls : (low, high)
        Share of walls in ``walls`` and ``climbed``, drawn uniformly. Default 0.28 to 0.45.
    braid : (low, high)
        Share of the walls between rooms that ``braided`` removes. Default 0.02 to 0.3.
    farthest : float
        Share of mazes whose start and goal are as far apart as they can be. Default 0.7.
    min_length : int
        Fewest moves of a shortest path. Default 1.
    smallest : (rows, columns) or None
        Draw each maze's size between this and the board's, with walls around it. Default None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    rows: _Side | None = None
    columns: _Side | None = None
    kinds: dict[Kind, Annotated[float, Field(ge=0)]] | None = None
    walls: tuple[_Share, _Share] = (0.28, 0.45)
    braid: tuple[_Share, _Share] = (0.02, 0.3)
    farthest: _Share = 0.7
    min_length: int = Field(default=1, ge=1)
    smallest: tuple[_Side, _Side] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> MazeOptions:
        for name in ("walls", "braid"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high; got {low, high}")
        if self.kinds is not None and not sum(self.kinds.values()):
            raise ValueError("kinds must give some kind a weight above 0")
        return self


class Maze(Domain):
    """Mark a shortest path from the start S to the goal G with o.

    Moves go to the four neighbours. An answer is verified where its marks are one shortest path,
    whichever it is; the *canonical* one, which the labels of Maze-Hard are and models are trained
    on, prefers the moves down, left, right, up (`rules.shortest_path`).

    Parameters
    ----------
    rows, columns : int, optional
        Of the usual board; default 30, and as many columns as rows. Boards of every size are taken.

    Raises
    ------
    InvalidInputError
        If these are not integers from 2 to 4096.
    """

    vocabulary = _VOCABULARY
    has_symmetries = True
    any_size = True
    comment = None  # "#" is a wall
    heads = {"direction": len(rules.MOVES) + 1}  # noqa: RUF012 - read only, as the base class says
    decode_heads = ("direction",)
    Options = MazeOptions

    def __init__(self, rows: int | None = None, columns: int | None = None) -> None:
        sized = rows is not None
        rows = 30 if rows is None else rows
        columns = rows if columns is None else columns
        for side in (rows, columns):
            if not is_int(side) or not 2 <= side <= 4096:
                raise InvalidInputError(
                    f"a maze's sides must be 2 to 4096; got {shown(rows)}x{shown(columns)}"
                )
        self.shape = (rows, columns)
        self.name = f"maze-{rows}x{columns}" if sized else "maze"
        self.structure = Structure(shape=self.shape, relations=(offsets(),))

    @property
    def family(self) -> str:
        """Name without a size."""
        return "maze"

    def resized(self, shape: Shape) -> Maze:
        """Return mazes whose usual board has another shape."""
        return self if shape == self.shape else Maze(*shape)

    # --- rules ---------------------------------------------------------------------------------

    def check(self, task: Task) -> None:
        """Refuse a maze without one start and one goal, or without a way between them."""
        for grid in task.inputs:
            check_maze(grid.cells)

    def count_solutions(self, task: Task, index: int = 0, limit: int = 2) -> int:
        """Return the number of shortest paths, at most `limit`."""
        return rules.count_paths(task.inputs[index].cells, limit)

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool:
        """Return whether the marks of an answer are one shortest path."""
        puzzle = task.inputs[index]
        if answer.shape != puzzle.shape:
            return False
        verdict = rules.judge(puzzle.cells[None], answer.cells[None])
        return bool(verdict[0] == rules.OPTIMAL)

    def verify_tokens(
        self, tokens: Tokens, answers: npt.NDArray[np.integer[Any]], shape: Shape | None = None
    ) -> npt.NDArray[np.bool_]:
        """Verify a batch of encoded mazes and answers, each of shape (batch, N)."""
        board = (len(tokens), *(self.shape if shape is None else shape))
        first = self.vocabulary.first
        verdicts = rules.judge(tokens.reshape(board) - first, answers.reshape(board) - first)
        optimal: npt.NDArray[np.bool_] = verdicts == rules.OPTIMAL
        return optimal

    def random_symmetry(self, rng: np.random.Generator) -> Turn:
        """Turn and mirror: shortest paths stay shortest, but the canonical one becomes another."""
        return Turn(int(rng.integers(8)))

    def alternatives(
        self,
        tokens: Tokens,
        heads: Mapping[str, npt.NDArray[np.float32]],
        shape: Shape | None = None,
    ) -> tuple[npt.NDArray[np.integer[Any]]]:
        """Return the walk from the start along the direction of each cell, drawn as an answer.

        Directions are known a cell a pass, from the goal on; the path has to come all the way back.
        So the walk is often right long before the path is drawn, and also where that has a gap.
        """
        board = (len(tokens), *(self.shape if shape is None else shape))
        first = self.vocabulary.first
        directions = heads["direction"].argmax(-1).reshape(board)
        answers, _ = rules.walk(tokens.reshape(board) - first, directions)
        return (answers.reshape(tokens.shape).astype(np.int32) + first,)

    # --- text ----------------------------------------------------------------------------------

    def read(self, text: str) -> Grid:
        """Read a maze in any of the usual forms; see `trm_sdk.domains.maze.text.parse_maze`."""
        rows, columns = self.shape
        if rows != columns and len(text) == rows * columns and not set("\r\n") & set(text):
            text = "\n".join(
                text[start : start + columns] for start in range(0, len(text), columns)
            )
        return Grid(parse_maze(text))

    def from_data(self, data: Any) -> Any:
        """Return a matrix of numbers in a file as its text, in which 1 is a wall and 0 free."""
        rows = data if isinstance(data, list) else []
        cells = [cell for row in rows if isinstance(row, list) for cell in row]
        return json.dumps(data) if any(map(is_int, cells)) else data

    def _grid(self, value: object) -> Grid:
        grid = super()._grid(value)
        if not isinstance(value, (str, Grid)):
            refuse_swapped(grid.cells, "in arrays 0 is a wall and 1 free; write a Grid, or text")
        return grid

    def format(self, grid: Grid) -> str:
        """Return a maze as lines of ``# SGo``."""
        return format_maze(grid.cells)

    # --- for training: what is made by numba, which solving does without -------------------------

    def generate(self, rng: np.random.Generator, **options: Any) -> Task:
        """Make one maze with its canonical shortest path."""
        made = self.examples(1, int(rng.integers(2**63)), options)
        puzzle, answer = (self.decode(row[0], made.shape) for row in (made.tokens, made.answers))
        return Task((puzzle,), answers=(answer,))

    def examples(self, n: int, seed: int, options: Mapping[str, Any] | None = None) -> Examples:
        """Return the first n of an endless list of generated mazes, one list a seed."""
        from trm_sdk.domains.maze.engine import distances, generate

        chosen = self.generator_options(dict(options or {}))
        shape = self.shape_of(chosen)
        made = generate.generate(
            n,
            seed,
            shape,
            kinds=chosen["kinds"] or generate.MIXTURE,
            walls=chosen["walls"],
            braid=chosen["braid"],
            farthest=chosen["farthest"],
            min_length=chosen["min_length"],
            smallest=chosen["smallest"],
        )
        answers, _ = distances.shortest_path(made.puzzles)
        first = self.vocabulary.first
        tokens, wanted = (
            boards.reshape(n, -1).astype(np.int32) + first for boards in (made.puzzles, answers)
        )
        return Examples.of(tokens, wanted, shape)

    def shape_of(self, options: Mapping[str, Any]) -> Shape:
        """Return the shape of the boards that `generate` makes with these options."""
        rows, columns = options["rows"], options["columns"]
        if rows is None and columns is None:
            return self.shape
        rows = rows or columns
        return rows, columns or rows

    def targets(self, examples: Examples) -> Targets:
        """Return breadth-first search, step by step: what each cell can know, as soon as it can.

        The direction to the goal is known once the wave from the goal has come, a cell a pass; the
        path once the wave has reached the start and the path has come back from there.
        """
        from trm_sdk.domains.maze.engine import distances

        n, first = len(examples.tokens), self.vocabulary.first
        boards = (examples.tokens - first).reshape(n, *examples.shape).astype(np.uint8)
        found = distances.targets(boards)
        far, order = (part.reshape(n, -1) for part in (found.distances, found.positions))
        lengths = found.lengths[:, None]
        on = (order > 0) & (far > 0)  # between start and goal
        due = np.where(on, lengths + np.ceil(_SLOWER * order) + _SLACK, 0).astype(np.int32)
        weight = np.where(on, _PATH_WEIGHT, 1).astype(np.float32)
        direction = Head(
            classes=found.directions.reshape(n, -1).astype(np.int32),
            due=np.maximum(far, 0),
            before=rules.NO_MOVE,
            mask=boards.reshape(n, -1) != rules.WALL,
        )
        return Targets(due, weight, {"direction": direction})

    def fingerprint(self, tokens: Tokens, shape: Shape | None = None) -> npt.NDArray[np.uint64]:
        """Return a hash that is equal for mazes that are equal up to turning and mirroring."""
        boards = tokens.reshape(len(tokens), *(self.shape if shape is None else shape))
        weights = _weights(boards.shape[1], boards.shape[2])
        sums = [
            (turned.astype(np.uint64) * weights[turned.shape[1:]]).sum((1, 2))
            for turned in _turned(boards)
        ]
        least: npt.NDArray[np.uint64] = np.min(np.stack(sums), axis=0)
        return least


def _turned(boards: npt.NDArray[np.int32]) -> Sequence[npt.NDArray[np.int32]]:
    """The eight images of a batch of boards."""
    both = (boards, boards[:, :, ::-1])
    return [np.rot90(one, quarter, (1, 2)) for one in both for quarter in range(4)]


def _weights(rows: int, columns: int) -> dict[Shape, npt.NDArray[np.uint64]]:
    """A random number a cell for boards of a shape, and of the turned one."""
    return {
        shape: np.random.default_rng((0x3A2E, *shape)).integers(2**64, size=shape, dtype=np.uint64)
        for shape in {(rows, columns), (columns, rows)}
    }


__all__ = ["Maze", "MazeOptions"]
