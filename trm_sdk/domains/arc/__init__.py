"""ARC: tasks that a few demonstrations explain, on grids of ten colours up to 30x30."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from trm_sdk.domains.arc import canvas
from trm_sdk.domains.arc.augment import Augmentation, by_task, split_name
from trm_sdk.domains.arc.score import PASS_AT
from trm_sdk.domains.arc.tasks import grid_of, parse_json, read_tasks, task_of, tasks_in
from trm_sdk.domains.base import Domain, Shape
from trm_sdk.domains.data import Encoded, Examples
from trm_sdk.domains.vocabulary import Token, Vocabulary
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.messages import shown
from trm_sdk.task import Task

if TYPE_CHECKING:
    from trm_sdk.domains.arc.builder import Build
    from trm_sdk.domains.data import Source, Tokens
    from trm_sdk.domains.evaluation import Evaluation
    from trm_sdk.render.picture import Picture

#: Name and fill of each colour, as on arcprize.org.
PALETTE = (
    ("black", "#000000"),
    ("blue", "#0074d9"),
    ("red", "#ff4136"),
    ("green", "#2ecc40"),
    ("yellow", "#ffdc00"),
    ("grey", "#aaaaaa"),
    ("magenta", "#f012be"),
    ("orange", "#ff851b"),
    ("azure", "#7fdbff"),
    ("maroon", "#870c25"),
)
_COLOURS = tuple(range(canvas.COLOURS))


class SubsetOptions(BaseModel):
    """Tasks of a data set; see `builder.Subset`.

    Attributes
    ----------
    path : str
        A file or folder that `read_tasks` takes.
    solutions : str or None
        Default: beside the file, see `read_tasks`.
    evaluation : bool
        Whether test pairs are held out. Default False.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    solutions: str | None = None
    evaluation: bool = False


class ArcOptions(BaseModel):
    """A data set of augmented tasks to draw from; see `builder.build` and `data.ArcSource`.

    Attributes
    ----------
    subsets : tuple of SubsetOptions
        In the order in which they are built.
    augmentations, build_seed : int
        Defaults 1000 and 42.
    epochs_per_iter : int
        Epochs that share an iteration. Default 1.
    folder : str or None
        Where the build is kept, for the next time. Default None: it is made anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subsets: tuple[SubsetOptions, ...] = Field(min_length=1)
    augmentations: int = Field(default=1000, ge=0)
    build_seed: int = Field(default=42, ge=0)
    epochs_per_iter: int = Field(default=1, ge=1)
    folder: str | None = None


class ArcEvaluationOptions(BaseModel):
    """How a model's answers to ARC tasks are judged; see `evaluation.ArcEvaluation`.

    Attributes
    ----------
    augmentations : int or None
        At most this many of those that the model knows vote, beside each task itself. Default None:
        all.
    pass_at : tuple of int
        Default 1, 2, 5, 10, 100, 1000.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    augmentations: int | None = Field(default=None, ge=0)
    pass_at: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=PASS_AT, min_length=1)


class Arc(Domain):
    """Say what a grid becomes, from a few pairs of grids and what they became.

    Networks see every grid on a canvas of 30x30; see `trm_sdk.domains.arc.canvas`. A network of
    the paper's kind sees no demonstrations: it knows a task by the row of its puzzle embedding
    that training on them has given it.

    Parameters
    ----------
    names : sequence of str
        Of the rows of the model's puzzle embedding, the first being blank: `Build.names`, or the
        list in a reference data set's ``identifiers.json``. Default: the blank one alone.

    Raises
    ------
    InvalidInputError
        If `names` are not texts, all different.
    """

    name = "arc"
    shape = (canvas.SIDE, canvas.SIDE)
    vocabulary = Vocabulary(
        (
            Token("pad", " ", ("pad",)),
            Token("eos", " ", ("pad",)),
            # Not "given": nothing of an input need stand in its answer.
            *(
                Token(name, str(value), ("answer",), colour=fill)
                for value, (name, fill) in enumerate(PALETTE)
            ),
        )
    )
    has_rules = False
    has_symmetries = True
    adapts = True
    tries = 2
    has_data_sets = True
    comment = None
    Options = ArcOptions
    EvaluationOptions = ArcEvaluationOptions

    def __init__(self, names: Sequence[str] = ("<blank>",)) -> None:
        self.names = tuple(names)
        if (
            isinstance(names, str)
            or not self.names
            or not all(isinstance(name, str) for name in self.names)
        ):
            raise InvalidInputError(f"names must be texts, the blank one first; got {shown(names)}")
        # The reference fills rows that it leaves out with the blank name.
        known = [name for name in self.names if name != self.names[0]]
        if len(set(known)) < len(known):
            raise InvalidInputError("names must be distinct; one appears twice")
        self._rows = {name: row for row, name in enumerate(self.names) if name != self.names[0]}
        self.identifiers = len(self.names)
        #: Data sets that `trained_on` has built or loaded, which takes minutes, by their options.
        self._builds: dict[str, Build] = {}

    def with_names(self, names: Sequence[str]) -> Arc:
        """Return the domain as a model sees it whose puzzle embedding has these names."""
        return type(self)(names)

    @cached_property
    def _by_task(self) -> dict[str, list[int]]:
        return by_task(self.names)

    # --- what a task is --------------------------------------------------------------------------

    def verify(self, task: Task, answer: Grid, index: int = 0) -> bool | None:
        """Return None: no rule says what is right."""
        return None

    def check(self, task: Task) -> None:
        """Raise `InvalidInputError` where a grid is no ARC grid: size or colours."""
        for number, pair in enumerate(task.demonstrations, start=1):
            for grid, side in zip(pair, ("input", "output"), strict=True):
                _check(grid, f"train pair {number}, {side}")
        for number, grid in enumerate(task.inputs, start=1):
            _check(grid, f"test pair {number}, input")
        for number, grid in enumerate(task.answers or (), start=1):
            _check(grid, f"test pair {number}, output")

    def random_symmetry(self, rng: np.random.Generator) -> Augmentation:
        """Turn or mirror, and rename colours; black stays."""
        return Augmentation.random(rng)

    def symmetry_for(self, task: Task, rng: np.random.Generator) -> Augmentation:
        """Draw one of the augmentations under which the model knows a task.

        Raises
        ------
        InvalidInputError
            If the model knows tasks by name, and not this one.
        """
        if self.identifiers == 1:
            return self.random_symmetry(rng)
        known = self.augmentations(task)
        return known[int(rng.integers(len(known)))]

    def augmentations(self, task: Task) -> list[Augmentation]:
        """Return the augmentations of a task that are among `names`, the task itself first.

        Raises
        ------
        InvalidInputError
            If there are none.
        """
        places = self._by_task.get(task.name or "")
        if not places:
            raise self._unknown(task)
        return [split_name(self.names[place])[1] for place in places]

    def _unknown(self, task: Task) -> InvalidInputError:
        base = split_name(task.name or "")[0]
        if base in self._by_task:
            return InvalidInputError(
                f"task {task.name!r}: this model was trained on {base} under "
                f"{len(self._by_task[base])} augmentations, and this is not among them; "
                "Arc.augmentations lists them"
            )
        return InvalidInputError(
            f"task {task.name!r} is not among the {len(self.names)} names that this model was "
            "trained on; a new task needs training (adapt)"
        )

    # --- from the outside world to a task ----------------------------------------------------

    def parse(self, puzzle: object) -> Task:
        """Read a task in any accepted form and check it.

        Parameters
        ----------
        puzzle : Task, dict, Grid, str, or array-like of shape (rows, columns)
            A dict, and text that begins with ``{``, is a task as in ARC's files; other text is read
            by `read`. A grid alone is a task without demonstrations.

        Raises
        ------
        InvalidInputError
            If it can't be read, is larger than 30x30, or holds other values than 0 to 9.
        """
        if isinstance(puzzle, str) and puzzle.lstrip("\ufeff \t\r\n").startswith("{"):
            puzzle = parse_json(puzzle.lstrip("\ufeff"), "the text")
            if isinstance(puzzle, dict) and not {"train", "test"} & set(puzzle):
                if len(puzzle) != 1:
                    raise InvalidInputError(
                        f"one task is needed; got {len(puzzle)}: read several with read_tasks"
                    )
                ((name, data),) = puzzle.items()
                return task_of(data, name)
        if isinstance(puzzle, dict):
            return task_of(puzzle, None)
        task = puzzle if isinstance(puzzle, Task) else Task((self._grid(puzzle),))
        self.check(task)
        return task

    def read_file(
        self, text: str, name: str, path: Path | None = None
    ) -> Iterator[Task | TRMError] | None:
        """Read ARC's JSON files; solutions of a combined file are looked for beside it."""
        body = text.lstrip("\ufeff \t\r\n")
        if body.startswith("{"):
            return iter(tasks_in(parse_json(body, name), name, path))
        if body.startswith("[") and '"input"' in body:
            return iter(tasks_in(parse_json(body, name), name, path))
        return None

    def parse_answer(self, answer: object) -> Grid:
        """Read an answer in the forms that `parse` takes for a grid."""
        grid = self._grid(answer)
        _check(grid, "an answer")
        return grid

    def read(self, text: str) -> Grid:
        """Read a grid from text: a JSON list of rows, or digits, rows separated by lines or ``/``.

        Raises
        ------
        InvalidInputError
            Naming the character, or the lengths of the rows.
        """
        body = text.lstrip("\ufeff").strip()
        if body.startswith("["):
            return grid_of(parse_json(body, "the text"), "a grid")
        return super().read(body.replace("/", "\n"))

    # --- between tasks and tokens ----------------------------------------------------------------

    def encode(self, task: Task, index: int = 0) -> Encoded:
        """Return input `index` of a task as a network takes it, with the task's identifier.

        Raises
        ------
        InvalidInputError
            If the model knows tasks by name, and not this one: a blank identifier solves nothing.
        """
        row = self._rows.get(task.name or "", 0)
        if row == 0 and self.identifiers > 1:
            raise self._unknown(task)
        tokens = self.encode_grid(task.inputs[index])
        return Encoded(tokens, np.zeros(tokens.shape, bool), self.shape, row)

    def encode_grid(self, grid: Grid) -> Tokens:
        """Return a grid in the corner of the canvas, as int32 tokens of shape (900,)."""
        _check(grid, "a grid")
        return canvas.encode(grid.cells)

    def decode(self, tokens: npt.NDArray[np.integer[Any]], shape: Shape | None = None) -> Grid:
        """Return the largest rectangle of colours in the corner of the canvas.

        Where there is none, one black cell: see `canvas.decode` to tell.
        """
        if shape not in (None, self.shape):
            raise InvalidInputError(f"the canvas of ARC is 30x30; got {shown(shape)}")
        found = canvas.decode(tokens)
        return Grid([[0]]) if found is None else found

    def encode_examples(self, tasks: Sequence[Task]) -> Examples:
        """Return test inputs with their answers; where the answer's canvas is empty is masked."""
        made = super().encode_examples(tasks)
        return made._replace(mask=made.answers != canvas.PAD)

    # --- for training ------------------------------------------------------------------------

    def examples(self, n: int, seed: int, options: Mapping[str, Any] | None = None) -> Examples:
        """Return the first n training examples of a data set; see `source`."""
        return self.source(options or {}, seed).draw(n)

    def source(self, options: Mapping[str, Any], seed: int) -> Source:
        """Return an endless source of training examples from a data set of augmented tasks.

        Parameters
        ----------
        options : mapping
            Fields of `ArcOptions`.
        seed : int
            Of the order in which they are drawn.

        Raises
        ------
        InvalidInputError
            If the domain has names, and those of the data set are others; see `trained_on`. Or if
            the tasks can't be read, or can't be built on; see `builder.build`.
        """
        from trm_sdk.domains.arc.data import ArcSource

        made = self._build(options)
        if self.identifiers > 1 and self.names != made.names:
            raise InvalidInputError(
                f"the data set has other names ({len(made.names)}) than this domain "
                f"({len(self.names)}): identifiers would not be the model's"
            )
        return ArcSource(made, seed, int(self.generator_options(options)["epochs_per_iter"]))

    def held_out(self, options: Mapping[str, Any]) -> Examples | None:
        """Return the test inputs of a data set's evaluation tasks that have answers, as they are.

        Without augmentations and votes: an exact answer to one of them is a solved test input with
        one attempt. Placed in the corner of the canvas, as in evaluation.
        """
        made = self._build(options)
        tasks = [task for task in made.evaluation_tasks if task.answers is not None]
        return self.with_names(made.names).encode_examples(tasks) if tasks else None

    def evaluation(
        self, tasks: Sequence[Task], options: Mapping[str, Any] | None = None
    ) -> Evaluation:
        """Return what has the augmentations of each task vote; see `evaluation.ArcEvaluation`.

        Parameters
        ----------
        tasks : sequence of Task
            Those without answers are answered, and no score is given.
        options : mapping, optional
            Fields of `ArcEvaluationOptions`.
        """
        from trm_sdk.domains.arc.evaluation import ArcEvaluation

        return ArcEvaluation(tasks, self.names, **self.evaluation_options(options or {}))

    def trained_on(self, options: Mapping[str, Any]) -> Arc:
        """Return the domain as a model sees it that is trained on a data set: with its names.

        Parameters
        ----------
        options : mapping
            Fields of `ArcOptions`; with ``folder``, the data set is built only once.
        """
        made = self._build(options)
        named = self.with_names(made.names)
        named._builds = {_key(ArcOptions.model_validate(self.generator_options(options))): made}
        return named

    def _build(self, options: Mapping[str, Any]) -> Build:
        from trm_sdk.domains.arc.builder import Subset, build
        from trm_sdk.domains.arc.saved_build import cached_build

        chosen = ArcOptions.model_validate(self.generator_options(options))
        key = _key(chosen)
        if key in self._builds:
            return self._builds[key]
        subsets = [
            Subset(read_tasks(one.path, one.solutions), one.evaluation) for one in chosen.subsets
        ]
        count, seed = chosen.augmentations, chosen.build_seed
        if chosen.folder is None:
            return build(subsets, augmentations=count, seed=seed)
        return cached_build(chosen.folder, subsets, augmentations=count, seed=seed)

    def generator_options(self, options: Any) -> dict[str, Any]:
        """Return options of `source` with their defaults, checked, as plain data."""
        checked = super().generator_options(options)
        return checked | {"subsets": [one.model_dump() for one in checked["subsets"]]}

    # --- for people --------------------------------------------------------------------------

    def to_line(self, grid: Grid) -> str:
        """Return a grid on one line, rows separated by ``/``, as `parse` reads it."""
        return self.format(grid).replace("\n", "/")

    def submission(self, tasks: Sequence[Task], attempts: Mapping[str, Any]) -> Any:
        """Return a submission as on Kaggle; see `submission.make_submission`."""
        from trm_sdk.domains.arc.submission import make_submission

        return make_submission(tasks, attempts)

    def demonstrations(self, task: Task) -> list[tuple[Picture, Picture]]:
        """Return what is drawn of each demonstration: input and output."""
        return [
            (self.picture(Task((before,))), self.picture(Task((after,))))
            for before, after in task.demonstrations
        ]


def _key(options: ArcOptions) -> str:
    """All that a data set depends on."""
    return options.model_dump_json(exclude={"epochs_per_iter", "folder"})


def _check(grid: Grid, where: str) -> None:
    """Raise `InvalidInputError` where a grid is too large or has other values than colours."""
    if max(grid.shape) > canvas.SIDE:
        rows, columns = grid.shape
        raise InvalidInputError(f"{where}: a grid must be at most 30x30; got {rows}x{columns}")
    wrong = np.argwhere((grid.cells < 0) | (grid.cells >= canvas.COLOURS))
    if len(wrong):
        row, column = (int(index) for index in wrong[0])
        raise InvalidInputError(
            f"{where}, row {row + 1}, column {column + 1}: a colour must be a whole number from 0 "
            f"to 9; got {grid[row, column]}"
        )


__all__ = [
    "PALETTE",
    "Arc",
    "ArcEvaluationOptions",
    "ArcOptions",
    "Augmentation",
    "SubsetOptions",
    "read_tasks",
]
