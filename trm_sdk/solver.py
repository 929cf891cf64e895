"""Solver: the facade, and the one place where domain, runtime and search meet."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, NoReturn, overload

import numpy as np

from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.grid import Grid
from trm_sdk.limits import MAX_BATCH
from trm_sdk.options import SolveOptions, check_on_error
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.runtimes.base import Runtime
from trm_sdk.search.answers import Answers, confidence_of
from trm_sdk.search.attempts import Guess, begin, check_options, draw_guesses
from trm_sdk.search.scheduler import Job, Search
from trm_sdk.solution import Failure, Solution, Step
from trm_sdk.task import Task
from trm_sdk.validation import checked_count

#: Solved puzzles that may wait, in batches, for an earlier one that takes longer.
_LOOKAHEAD = 64


class Solver:
    """Solves the puzzles of one domain with one model. Safe to share between threads.

    Use `Solver.from_pretrained`; the constructor is for models and runtimes made by hand.

    Parameters
    ----------
    runtime : Runtime
        An `OnnxRuntime` or a `TorchRuntime`.
    domain : Domain, optional
        Default: the registered domain that the model's spec names.
    source : path, optional
        The model folder or file that the runtime was made from, for `save_pretrained`.

    Raises
    ------
    InvalidInputError
        If the spec names a domain that is not registered, or `domain` is none.
    CheckpointError
        If the model was made for another domain.

    Notes
    -----
    A solver may go on in a forked process, but for models of more than 2 MB with several threads;
    see `OnnxRuntime`. It can't be pickled: every process that is started afresh loads its own.

    Examples
    --------
    >>> solver = Solver.from_pretrained("sudoku-4x4")        # doctest: +SKIP
    >>> print(solver.solve("1...  ..3.  .4..  ...2").grid)   # doctest: +SKIP
    """

    def __init__(
        self,
        runtime: Runtime,
        domain: Domain | None = None,
        source: str | os.PathLike[str] | None = None,
    ) -> None:
        domain = get_domain(runtime.spec.domain) if domain is None else domain
        if not isinstance(domain, Domain):
            raise InvalidInputError(f"domain must be a Domain, as of get_domain; got {domain!r}")
        runtime.spec.check_domain(domain, "the model" if source is None else Path(source))
        self._runtime = runtime
        self._domain = domain
        self._source = None if source is None else Path(source)
        self._closed = False

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        runtime: Literal["auto", "onnx", "torch"] = "auto",
        device: str = "auto",
        threads: int | None = None,
        domain: Domain | None = None,
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        compile: bool = False,
        revision: str | None = None,
        subfolder: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Solver:
        """A solver from a bundled model, a local one, or one on the Hugging Face Hub.

        Parameters
        ----------
        name_or_path : str or path
            A bundled name (see `list_pretrained`), a model folder, a ``.onnx`` graph, a checkpoint
            (``.safetensors``, ``.pt``, or the reference's ``step_N``; these need PyTorch), or
            ``owner/name[@revision]`` on the Hub.
        runtime : {"auto", "onnx", "torch"}
            ``auto`` takes onnxruntime, except where ``device="cuda"`` is asked for and PyTorch has
            it, or where the model has no graph.
        device : {"auto", "cpu", "cuda", "tensorrt"}
        threads : int, optional
            Default: as many as this process may use cores.
        domain : Domain, optional
            Default: the registered domain that the model names.
        precision : {"float32", "bfloat16"}
            Of the matrix products, in PyTorch; see `TorchRuntime`.
        compile : bool
            Fuse a step with ``torch.compile``, in PyTorch.
        revision, subfolder, cache_dir, token, local_files_only, force_download
            Of a model on the Hub, as `huggingface_hub` has them; see `download_model`.

        Raises
        ------
        ModelNotFoundError
            If there is no such model; the message names close matches.
        CheckpointError
            If a file of the model is missing, corrupt, or made for something else.
        MissingDependencyError
            If the runtime needs a package that is not installed.
        InvalidInputError
            If an argument is not one of the accepted, or not to be had.
        """
        from trm_sdk.persistence.hub import resolve
        from trm_sdk.runtimes.select import open_runtime

        path = resolve(
            name_or_path,
            revision,
            subfolder,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        opened = open_runtime(path, runtime, device, threads, precision, compile)
        return cls(opened, domain, path)

    @property
    def domain(self) -> Domain:
        """The puzzles that this solver takes."""
        return self._domain

    @property
    def runtime(self) -> Runtime:
        """What runs the model."""
        return self._runtime

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self._runtime.spec

    @property
    def options(self) -> SolveOptions:
        """The model's own defaults; options given to a call go over them field by field."""
        return self._runtime.spec.solve

    def solve(self, puzzle: object, options: SolveOptions | None = None) -> Solution:
        """Solve one puzzle.

        Parameters
        ----------
        puzzle : Task, Grid, str, or array-like of shape (rows, columns) or (N,)
            In any form that `Domain.parse` reads.
        options : SolveOptions, optional
            Fields left out take the model's own defaults (`Solver.options`).

        Returns
        -------
        Solution
            Also where no answer was confirmed: look at ``verified`` and ``stopped_by``.

        Raises
        ------
        InvalidInputError
            If the puzzle can't be read or breaks the rules.
        ConfigError
            If the options contradict each other.
        """
        options = self.complete(options)
        task = self.parse(puzzle)
        rows = min(options.attempts, options.width or self._runtime.batch_size)
        search = Search(self._domain, self._runtime, rows)
        job = search.add(task, options)
        while job.solution is None:
            search.turn()
        return job.solution

    @overload
    def solve_many(
        self,
        puzzles: Iterable[object],
        options: SolveOptions | None = None,
        batch_size: int | None = None,
        progress: bool = False,
        on_error: Literal["raise"] = "raise",
    ) -> Iterator[Solution]: ...

    @overload
    def solve_many(
        self,
        puzzles: Iterable[object],
        options: SolveOptions | None = None,
        batch_size: int | None = None,
        progress: bool = False,
        *,
        on_error: Literal["yield"],
    ) -> Iterator[Solution | Failure]: ...

    def solve_many(
        self,
        puzzles: Iterable[object],
        options: SolveOptions | None = None,
        batch_size: int | None = None,
        progress: bool = False,
        on_error: Literal["raise", "yield"] = "raise",
    ) -> Iterator[Solution | Failure]:
        """Solve puzzles lazily, and yield their solutions in order.

        Parameters
        ----------
        puzzles : iterable
            Of any length; read as rows of the batch become free. A `TRMError` among them, as
            `read_tasks` yields it, is treated like a puzzle that can't be taken on.
        options : SolveOptions, optional
            As in `solve`, for every puzzle.
        batch_size : int, optional
            Attempts that run at the same time. Default: what suits the model and the device
            (`Runtime.batch_size`).
        progress : bool
            Show a progress bar on standard error.
        on_error : {"raise", "yield"}
            What to do about a puzzle that can't be taken on: raise its error when its turn to be
            yielded comes, or yield a `Failure` in its place.

        Raises
        ------
        InvalidInputError
            If an argument is not one of the accepted (at once), or for a puzzle.
        ConfigError
            If the options contradict each other (at once).
        Exception
            Whatever `puzzles` raises, when all that came before it has been yielded.
        """
        check_puzzles(puzzles)
        if batch_size is None:
            batch_size = self._runtime.batch_size
        batch_size = checked_count("batch_size", batch_size, MAX_BATCH)
        check_on_error(on_error)
        search = Search(self._domain, self._runtime, batch_size)
        complete = self.complete(options)
        check_options(complete, self._domain, self.spec.model)
        results = self._results(search, puzzles, complete, on_error)
        if not progress:
            return results
        return _with_progress(results, len(puzzles) if isinstance(puzzles, Sized) else None)

    def _results(
        self,
        search: Search,
        puzzles: Iterable[object],
        options: SolveOptions,
        on_error: str,
    ) -> Iterator[Solution | Failure]:
        source = enumerate(puzzles)
        in_order: deque[Job | Failure] = deque()
        exhausted, broken = False, None
        while True:
            while (
                not exhausted and search.wants_more and len(in_order) < _LOOKAHEAD * search.capacity
            ):
                try:
                    index, puzzle = next(source, (-1, None))
                except Exception as error:  # the source's own; what it gave before is solved first
                    index, broken = -1, error
                if index < 0:
                    exhausted = True
                    break
                try:
                    if isinstance(puzzle, TRMError):  # what a reader could not read
                        raise puzzle
                    in_order.append(search.add(self.parse(puzzle), options))
                except TRMError as error:
                    in_order.append(Failure(index, error))
            search.turn()
            while in_order:
                first = in_order[0]
                if isinstance(first, Failure):
                    if on_error == "raise":
                        raise first.error
                    yield first
                elif first.solution is not None:
                    yield first.solution
                else:
                    break
                in_order.popleft()
            if exhausted and not in_order:
                if broken is not None:
                    raise broken
                return

    def stream(self, puzzle: object, options: SolveOptions | None = None) -> Iterator[Step]:
        """Yield every refinement of a puzzle, one attempt after another.

        Ends after the step whose answer the rules confirm, at which the halting head crosses its
        threshold (where there are no rules), or after ``max_steps`` of the last attempt.

        Parameters
        ----------
        puzzle : as in `solve`
        options : SolveOptions, optional
            As in `solve`, but for ``width`` and ``choose``: attempts take turns here.
            ``attempts=1`` shows the plain one alone.

        Raises
        ------
        InvalidInputError
            At once, if the puzzle can't be read or breaks the rules.
        ConfigError
            At once, if the options contradict each other.
        """
        complete = self.complete(options)
        check_options(complete, self._domain, self.spec.model)
        return self._steps(self.parse(puzzle), complete)

    def _steps(self, task: Task, options: SolveOptions) -> Iterator[Step]:
        model, domain, runtime = self.spec.model, self._domain, self._runtime
        encoded = domain.encode(task)
        reading = Answers(model, domain.vocabulary)
        patience = min(options.patience or options.max_steps, options.max_steps)
        guesses: list[Guess] = []
        started = perf_counter()
        for number in range(options.attempts):
            attempt = begin(number, domain, task, encoded, options, guesses)
            tokens, back = attempt.tokens[None], None
            if attempt.symmetry is not None:
                back = attempt.symmetry.inverse()
            columns = domain.shape[1]
            first = domain.vocabulary.first
            made = tuple((*divmod(cell, columns), token - first) for cell, token in attempt.guesses)
            state = runtime.start(tokens)
            for index in range(1, options.max_steps + 1):
                if attempt.noise:
                    scale = np.array([attempt.noise], np.float32)
                    state = runtime.perturb(state, scale, [attempt.rng])
                state, logits, halt_logit = runtime.step(state)
                if number == 0 and options.explore == "guess" and index == patience:
                    guesses = draw_guesses(model, domain, encoded, logits[0], options)
                grid = domain.decode(reading.tokens(tokens, attempt.given[None], logits)[0])
                board = encoded._replace(tokens=attempt.tokens, given=attempt.given)
                probabilities = reading.probabilities(board, logits[0])
                if back is not None:
                    grid = back.apply(grid)
                    values = domain.vocabulary.answer_values
                    probabilities = back.apply_to_probabilities(probabilities, values)
                verified = domain.verify(task, grid)
                confidence = float(confidence_of(halt_logit[0]))
                yield Step(
                    index=index,
                    grid=grid,
                    confidence=confidence,
                    probabilities=probabilities,
                    verified=verified,
                    attempt=number + 1,
                    guesses=made,
                )
                judged = options.verify and verified is not None
                if verified if judged else confidence > options.halt_threshold:
                    return
                if options.seconds is not None and perf_counter() - started >= options.seconds:
                    return

    def parse(self, puzzle: object) -> Task:
        """Read a puzzle as `Domain.parse` does, and make sure that this solver can take it on.

        Raises
        ------
        InvalidInputError
            Also if the task has several inputs: each is a puzzle of its own.
        TRMError
            If the solver is closed.
        """
        if self._closed:
            raise TRMError(f"{self!r} is closed")
        task = self._domain.parse(puzzle)
        if len(task.inputs) != 1:
            raise InvalidInputError(
                f"a task with {len(task.inputs)} inputs can't be solved as one puzzle; solve them "
                "one at a time"
            )
        return task

    def complete(self, options: SolveOptions | None) -> SolveOptions:
        """Options with the model's defaults for every field left out.

        Raises
        ------
        InvalidInputError
            If they are no `SolveOptions`.
        """
        if options is None:
            return self.options
        if not isinstance(options, SolveOptions):
            raise InvalidInputError(
                f"options must be SolveOptions, as in SolveOptions(max_steps=8); got {options!r}"
            )
        return options.over(self.options)

    def save_pretrained(self, path: str | os.PathLike[str]) -> Path:
        """Write the model as a folder that `from_pretrained` reads.

        A model that came from disk is copied with everything that belongs to it (graph, weights,
        card); one made in PyTorch is written as ``config.json`` and ``model.safetensors``.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InvalidInputError
            If `path` is empty, can't be written, or is the folder that the model itself lives in.
        """
        from trm_sdk.runtimes.select import save_runtime

        if not os.fspath(path):
            raise InvalidInputError(f"a model is saved as a folder; got {path!r}")
        return save_runtime(self._runtime, self._source, Path(path))

    def close(self) -> None:
        """Release the runtime. A solver that is no longer used needs no closing; this is sooner."""
        self._closed = True
        self._runtime.close()

    def __enter__(self) -> Solver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        """Neither `pickle` nor `copy` can take a loaded model along."""
        raise TRMError(
            f"{self!r} can't be pickled or copied: call Solver.from_pretrained in every process, "
            "and share one Solver between threads"
        )

    def __repr__(self) -> str:
        source = "" if self._source is None else f" from {str(self._source)!r}"
        runtime = self._runtime
        return f"<Solver of {self._domain.name} on {runtime.name} ({runtime.device}){source}>"


def check_puzzles(puzzles: object, kinds: tuple[type, ...] = (Iterable,)) -> None:
    """Refuse what is no collection of puzzles, and one puzzle in the place of many.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(puzzles, (str, bytes, Task, Grid)) or not isinstance(puzzles, kinds):
        raise InvalidInputError(
            f"solve_many takes an iterable of puzzles; got {type(puzzles).__name__} (solve takes "
            "one puzzle)"
        )


def _with_progress(
    results: Iterator[Solution | Failure], total: int | None
) -> Iterator[Solution | Failure]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("solving"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task("solving", total=total, rate="")
        confirmed = 0
        for result in results:
            confirmed += isinstance(result, Solution) and result.verified is True
            bar.update(shown, advance=1, rate=f"{confirmed} verified")
            yield result
