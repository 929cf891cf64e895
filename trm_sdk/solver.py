"""Solver: the facade, and the one place where domain, runtime and search meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Literal, NoReturn, overload

from trm_sdk.adapt.solver import AdaptedSolver, Progress, adapt
from trm_sdk.arguments import check_on_error, check_puzzles, checked_input
from trm_sdk.choices import Precision, RuntimeName
from trm_sdk.closing import Closes
from trm_sdk.domains import get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.in_order import solve_in_order
from trm_sdk.limits import MAX_BATCH
from trm_sdk.messages import shown
from trm_sdk.options import SolveOptions
from trm_sdk.persistence.spec import ModelSpec
from trm_sdk.progress import ProgressBar
from trm_sdk.runtimes.base import Runtime
from trm_sdk.runtimes.select import check_model, open_runtime, save_runtime
from trm_sdk.search.attempts import check_options
from trm_sdk.search.stream import stream
from trm_sdk.search.tasks import Search
from trm_sdk.solution import Failure, Solution, Step
from trm_sdk.task import Task
from trm_sdk.validation import checked_count

#: Attempts at one puzzle that share a batch, at most: more take memory and save no time.
_MOST_SLOTS = 1024


class Solver(Closes):
    """Solves the puzzles of one domain with one model. Safe to share between threads.

    Use `Solver.from_pretrained`; the constructor is for runtimes that you made yourself.

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
        If the spec names a domain that is not registered, or `domain` is not a `Domain`.
    CheckpointError
        If the model was made for another domain.

    Notes
    -----
    A solver on the CPU keeps working in a forked process; see `OnnxRuntime`. It can't be pickled:
    every new process loads its own.

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
        _check_domain(domain)
        domain = runtime.spec.made_for() if domain is None else domain
        check_model(runtime, domain, "the model" if source is None else Path(source))
        self._runtime = runtime
        self._domain = domain
        self._source = None if source is None else Path(source)
        self._closed = False

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        runtime: RuntimeName = "auto",
        device: str = "auto",
        threads: int | None = None,
        domain: Domain | None = None,
        *,
        precision: Precision = "float32",
        compile: bool = False,
        revision: str | None = None,
        subfolder: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Solver:
        """Return a solver of a bundled model, a local one, or one on the Hugging Face Hub.

        Parameters
        ----------
        name_or_path : str or path
            A bundled name (see `list_pretrained`), the name of a domain that a bundled model solves
            by the same weights (`Domain.base_model`; on boards of another size, such as those of
            ``sudoku-6x6``, PyTorch runs it), a model folder, a ``.onnx`` graph, a checkpoint
            (``.safetensors``, ``.pt``, or the reference's ``step_N``; these need PyTorch), or
            ``owner/name[@revision]`` on the Hub.
        runtime : {"auto", "onnx", "torch"}
            ``auto`` takes onnxruntime, except where ``device="cuda"`` is asked for and PyTorch has
            it, or where the model has no graph.
        device : {"auto", "cpu", "cuda", "tensorrt"}
        threads : int, optional
            Default: as many as the process may use at once, by its cores, by its container's quota
            of processor time, and by ``OMP_NUM_THREADS``.
        domain : Domain, optional
            Default: the registered domain that the model names.
        precision : {"float32", "bfloat16"}
            Precision of the matrix products, in PyTorch. Default float32; see `TorchRuntime`.
        compile : bool
            Fuse each step with ``torch.compile``, in PyTorch. Default False.
        revision, subfolder, cache_dir, token, local_files_only, force_download
            For a model on the Hub, as in `huggingface_hub`; see `download_model`.

        Raises
        ------
        ModelNotFoundError
            If there is no such model; the message names close matches.
        CheckpointError
            If a file of the model is missing, corrupt, or made for another domain.
        MissingDependencyError
            If the runtime needs a package that is not installed.
        InvalidInputError
            If an argument has an invalid value, or the device is unavailable.
        """
        from trm_sdk.persistence.hub import resolve
        from trm_sdk.persistence.variants import model_for

        _check_domain(domain)
        name, domain = model_for(name_or_path, domain)
        path = resolve(
            name,
            revision,
            subfolder,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        opened = open_runtime(path, runtime, device, threads, precision, compile, domain)
        return cls(opened, domain, path)

    def for_domain(self, domain: str | Domain) -> Solver:
        """Return a solver of other puzzles by the same weights, such as jigsaws by Sudoku's.

        For models of block "message", on boards of the same shape and vocabulary: the groups of
        cells that the domain states, or that its puzzles bring, take the places of the model's.
        The runtime is shared; closing one solver closes both.

        Parameters
        ----------
        domain : str or Domain
            A name is that of a registered domain.

        Raises
        ------
        InvalidInputError
            If there is no such domain.
        CheckpointError
            If the model lacks weights for its groups, or the graph has its own built in.

        Examples
        --------
        >>> solver = Solver.from_pretrained("sudoku").for_domain("jigsaw")   # doctest: +SKIP
        """
        if isinstance(domain, str):
            domain = get_domain(domain)
        return Solver(self._runtime, domain, self._source)

    @staticmethod
    def adapt(
        puzzle: object,
        domain: Domain | str = "arc",
        *,
        progress: bool | Callable[[Progress], None] = False,
        **options: Any,
    ) -> AdaptedSolver:
        """Learn a task from its demonstrations, and return a solver of that task.

        Nothing pre-trained is needed: small networks are trained from scratch until the time is up,
        and vote. See the page "ARC" of the documentation for what that solves.

        Parameters
        ----------
        puzzle : Task, dict or str
            A task with demonstrations, as `Domain.parse` reads it.
        domain : Domain or str
            Default "arc".
        progress : bool or callable
            Show a progress bar on standard error, or call this with a `Progress` from time to time.
            Default False.
        **options
            ``seconds`` (default 30), ``seed``, and the other fields of `AdaptOptions`.

        Returns
        -------
        AdaptedSolver
            With `solve`, `solve_many` and `stream` as here.

        Raises
        ------
        MissingDependencyError
            Without numba (``pip install 'trm-sdk[train]'``).
        InvalidInputError
            If the task can't be read or has no demonstrations, or its answers' sizes don't follow
            from them.
        ConfigError
            If an option is unknown or has an invalid value.
        """
        return adapt(puzzle, domain, progress=progress, **options)

    @property
    def domain(self) -> Domain:
        """Kind of puzzle that this solver takes."""
        return self._domain

    @property
    def runtime(self) -> Runtime:
        """Runtime that steps the model."""
        return self._runtime

    @property
    def spec(self) -> ModelSpec:
        """Description of the model."""
        return self._runtime.spec

    @property
    def options(self) -> SolveOptions:
        """The model's own defaults; options given to a call override them field by field."""
        return self._runtime.spec.solve

    def solve(self, puzzle: object, options: SolveOptions | None = None) -> Solution:
        """Solve one puzzle.

        Parameters
        ----------
        puzzle : Task, Grid, str, or array-like of shape (rows, columns) or (N,)
            In any form that `Domain.parse` reads. All inputs of a task are solved together; each
            has the steps and attempts of the options to itself.
        options : SolveOptions, optional
            Fields left out take the model's own defaults (`Solver.options`).

        Returns
        -------
        Solution
            Even where no answer was confirmed: see ``verified`` and ``stopped_by``.

        Raises
        ------
        InvalidInputError
            If the puzzle can't be read or breaks the rules.
        ConfigError
            If the options contradict each other.
        Exception
            Whatever the domain's own code raises.
        """
        options = self.complete(options)
        task = self.parse(puzzle)
        batch_size = self._runtime.batch_size
        slots = min(options.attempts, options.width or batch_size)
        if len(task.inputs) > 1:
            slots = max(slots, min(slots * len(task.inputs), batch_size))
        slots = min(slots, max(_MOST_SLOTS, batch_size))
        search = Search(self._domain, self._runtime, slots)
        submission = search.add(task, options)
        while submission.solution is None:
            search.step()
            if submission.error is not None:
                raise submission.error
        return submission.solution

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
            Puzzles as in `solve`, any number of them; read as slots of the batch become free. A
            `TRMError` among them, as `read_tasks` yields it, counts as a puzzle that failed.
        options : SolveOptions, optional
            As in `solve`, for every puzzle.
        batch_size : int, optional
            Attempts in flight at a time. Default: what suits the model and the device
            (`Runtime.batch_size`). Boards of different shapes share it.
        progress : bool
            Show a progress bar on standard error, with puzzles per second and, where the number of
            puzzles is known, the time left. Default False.
        on_error : {"raise", "yield"}
            What to do about a puzzle that fails, because it can't be read or the domain's own code
            raises an exception: raise the error when the puzzle's turn comes, which is the default,
            or yield a `Failure` in its place. The other puzzles are not affected.

        Raises
        ------
        InvalidInputError
            If an argument has an invalid value (at once), or for a puzzle.
        ConfigError
            If the options contradict each other (at once).
        Exception
            Whatever `puzzles` raises, after everything before it has been yielded; and whatever the
            domain's own code raises for a puzzle.
        """
        check_puzzles(puzzles)
        if batch_size is None:
            batch_size = self._runtime.batch_size
        batch_size = checked_count("batch_size", batch_size, MAX_BATCH)
        check_on_error(on_error)
        search = Search(self._domain, self._runtime, batch_size)
        complete = self.complete(options)
        check_options(complete, self._domain, self.spec.model, self._runtime.heads)
        results = solve_in_order(search, puzzles, self.parse, complete, on_error)
        if not progress:
            return results
        return ProgressBar(len(puzzles) if isinstance(puzzles, Sized) else None).track(results)

    def stream(
        self, puzzle: object, options: SolveOptions | None = None, index: int = 0
    ) -> Iterator[Step]:
        """Yield every refinement of one input of a puzzle, one attempt after another.

        This is the search of `solve`, watched. It ends after the step whose answer the rules
        confirm, at which the halting head crosses its threshold (where the rules aren't used), or
        after ``max_steps`` of the last attempt; of the first, where the rules then prove that there
        is no solution (`Step.refuted`).

        Parameters
        ----------
        puzzle : as in `solve`
        options : SolveOptions, optional
            As in `solve`, but ``choose`` is ignored, and attempts take turns, whatever ``width``.
            ``attempts=1`` shows the plain one alone.
        index : int
            Which input of a task that has several. Default 0, the first.

        Raises
        ------
        InvalidInputError
            At once, if the puzzle can't be read or breaks the rules, or has no such input.
        ConfigError
            At once, if the options contradict each other.
        Exception
            Whatever the domain's own code raises.
        """
        complete = self.complete(options)
        check_options(complete, self._domain, self.spec.model, self._runtime.heads)
        task = self.parse(puzzle)
        return stream(self._domain, self._runtime, task, checked_input(task, index), complete)

    def parse(self, puzzle: object) -> Task:
        """Read a puzzle as `Domain.parse` does.

        Raises
        ------
        InvalidInputError
            If it can't be read, or breaks the rules.
        TRMError
            If the solver is closed.
        """
        if self._closed:
            raise TRMError(f"{self!r} is closed")
        return self._domain.parse(puzzle)

    def complete(self, options: SolveOptions | None) -> SolveOptions:
        """Return options with the model's defaults for every field left out.

        Raises
        ------
        InvalidInputError
            If they are not `SolveOptions`.
        """
        if options is None:
            return self.options
        if not isinstance(options, SolveOptions):
            raise InvalidInputError(
                "options must be SolveOptions, as in SolveOptions(max_steps=8); got "
                f"{shown(options)}"
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
        if not os.fspath(path):
            raise InvalidInputError(f"a model is saved as a folder; got {shown(path)}")
        return save_runtime(self._runtime, self._source, Path(path))

    def close(self) -> None:
        """Release the runtime now, rather than when the solver is garbage-collected."""
        self._closed = True
        self._runtime.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: a loaded model can't be."""
        raise TRMError(
            f"{self!r} can't be pickled or copied: call Solver.from_pretrained in every process, "
            "and share one Solver between threads"
        )

    def __repr__(self) -> str:
        source = "" if self._source is None else f" from {str(self._source)!r}"
        runtime = self._runtime
        return f"<Solver of {self._domain.name} on {runtime.name} ({runtime.device}){source}>"


def _check_domain(domain: object) -> None:
    if domain is not None and not isinstance(domain, Domain):
        raise InvalidInputError(f"domain must be a Domain, as of get_domain; got {shown(domain)}")
