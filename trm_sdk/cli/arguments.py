"""What the commands of `trm` share: options, the model, and puzzles from the command line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.shell_completion import CompletionItem

from trm_sdk.choices import Explore, RuntimeName
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.limits import MAX_THREADS

if TYPE_CHECKING:
    from trm_sdk.domains.base import Domain
    from trm_sdk.options import SolveOptions
    from trm_sdk.solver import Solver
    from trm_sdk.task import Task

_F = TypeVar("_F", bound=Callable[..., Any])


class NameOrFile(click.ParamType):  # type: ignore[type-arg]
    """Text that shells complete from a list of names, and where none begins like it, from files."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]] = tuple) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin like what was typed, or say that a file is meant."""
        found = [name for name in self._names() if name.startswith(incomplete)]
        return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]


class PuzzleArgument(NameOrFile):
    """A puzzle, or a file of them."""


class ModelName(NameOrFile):
    """A bundled model, a domain that one solves, or a path."""

    def __init__(self) -> None:
        super().__init__(_bundled)


def _bundled() -> Iterable[str]:
    from trm_sdk.persistence.hub import list_pretrained
    from trm_sdk.persistence.variants import list_variants

    return sorted({*list_pretrained(), *list_variants()})


def model_option(command: _F) -> _F:
    """Add ``--model`` to a command that solves."""
    return click.option(
        "-m",
        "--model",
        type=ModelName(),
        default="sudoku",
        show_default=True,
        help="Name (see trm models) or path.",
    )(command)


def model_options(command: _F) -> _F:
    """Add the options of every command that runs a model."""
    for option in (
        click.option(
            "--threads",
            type=click.IntRange(1, MAX_THREADS),
            help="CPU threads. Default: all that the process may use.",
        ),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda or tensorrt."
        ),
        click.option(
            "--runtime",
            type=click.Choice(get_args(RuntimeName)),
            default="auto",
            show_default=True,
            help="Library that runs the model.",
        ),
    ):
        command = option(command)
    return command


def search_options(command: _F) -> _F:
    """Add the options of every command that solves; left out, the model's defaults hold."""
    for option in (
        click.option("--seed", type=int, help="Seed of noise, symmetries and guesses."),
        click.option("--seconds", type=float, help="Time limit per puzzle."),
        click.option("--patience", type=int, help="Steps that the first attempt runs alone."),
        click.option("--width", type=int, help="Attempts in flight per puzzle."),
        click.option("--noise", type=float, help="Standard deviation for --explore noise."),
        click.option(
            "--explore",
            type=click.Choice(get_args(Explore)),
            help="How later attempts differ from the first.",
        ),
        click.option("--attempts", type=int, help="Maximum attempts per puzzle."),
        click.option("--later-steps", type=int, help="Maximum steps of attempts but the first."),
        click.option("--steps", "max_steps", type=int, help="Maximum steps per attempt."),
    ):
        command = option(command)
    return command


def solve_options(given: dict[str, Any]) -> SolveOptions:
    """Return the search options that were given, checked."""
    from trm_sdk.options import SolveOptions

    return SolveOptions(**{name: value for name, value in given.items() if value is not None})


def load(model: str, runtime: Any, device: str, threads: int | None) -> Solver:
    """Load a model by name or path."""
    from trm_sdk.solver import Solver

    return Solver.from_pretrained(model, runtime=runtime, device=device, threads=threads)


def read_argument(argument: str, domain: Domain) -> tuple[Iterator[Task | TRMError], bool]:
    """Return the puzzles that the command line names, and whether they may be many."""
    from trm_sdk.files import decoded_lines, read_file, read_tasks

    if not argument:
        raise InvalidInputError("a puzzle, a file or - for standard input is needed; got ''")
    if argument == "-":
        if sys.stdin is None:
            raise InvalidInputError("standard input is closed; there is nothing to read from it")
        if isinstance(sys.stdin, io.TextIOWrapper):
            lines: Iterable[str] = decoded_lines(sys.stdin.buffer, "standard input")
        else:
            lines = sys.stdin
        return read_tasks(lines, domain, "standard input"), True
    path = Path(argument)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # longer than a file name may be: a puzzle
        is_file = is_folder = False
    if is_folder:
        raise InvalidInputError(f"{argument} is a folder; a file of puzzles is needed")
    if is_file:
        return read_file(path, domain), True
    try:
        return iter([domain.parse(argument)]), False
    except InvalidInputError as error:
        pasted = _pasted(argument, domain)
        if pasted:
            return iter(pasted), len(pasted) > 1
        if path.suffix[1:].isalpha() or "/" in argument:
            raise InvalidInputError(
                f"no file {argument!r}, and it is not a puzzle either: {error}"
            ) from None
        raise


def count_in_background(argument: str, domain: Domain) -> Callable[[], int | None]:
    """Begin to count the puzzles of a file, and return a function that tells how many there are.

    It returns None until they are counted, and for what can't be read twice. Counting takes a few
    per cent of the time of solving, so nothing waits for it.
    """
    from threading import Thread

    from trm_sdk.files import read_file

    counted: list[int] = []

    def count() -> None:
        with suppress(Exception):  # what is wrong with the file is said by whoever solves it
            counted.append(sum(1 for _ in read_file(path, domain)))

    path = Path(argument)
    with suppress(OSError, ValueError):
        if argument != "-" and path.is_file():
            Thread(target=count, daemon=True).start()
    return lambda: counted[0] if counted else None


def _pasted(argument: str, domain: Domain) -> list[Task]:
    """The puzzles of an argument that has other things beside them; none where one is wrong."""
    from trm_sdk.files import read_tasks
    from trm_sdk.task import Task

    try:
        found = list(read_tasks(argument.splitlines(keepends=True), domain, "the argument"))
    except InvalidInputError:
        return []
    tasks = [task for task in found if isinstance(task, Task)]
    return tasks if len(tasks) == len(found) else []


__all__ = [
    "ModelName",
    "NameOrFile",
    "PuzzleArgument",
    "count_in_background",
    "load",
    "model_option",
    "model_options",
    "read_argument",
    "search_options",
    "solve_options",
]
