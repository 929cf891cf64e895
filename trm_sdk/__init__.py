"""trm_sdk: embeddable puzzle solvers built on Tiny Recursion Models.

>>> from trm_sdk import Solver
>>> solver = Solver.from_pretrained("sudoku")             # doctest: +SKIP
>>> print(solver.solve("53..7....6..195....98....").grid)   # doctest: +SKIP

Names are loaded when first used: importing the package costs next to nothing, and PyTorch is never
imported unless a call needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trm_sdk.adapt.options import AdaptOptions
    from trm_sdk.adapt.solver import AdaptedSolver, solve_task
    from trm_sdk.aio import AsyncSolver
    from trm_sdk.domains import available_domains, get_domain, register_domain
    from trm_sdk.domains.base import Domain
    from trm_sdk.domains.board import BoardDomain
    from trm_sdk.domains.symmetry import Symmetry
    from trm_sdk.domains.vocabulary import Token, Vocabulary
    from trm_sdk.errors import (
        CheckpointError,
        ConfigError,
        InvalidInputError,
        MissingDependencyError,
        ModelNotFoundError,
        TRMError,
    )
    from trm_sdk.grid import Grid
    from trm_sdk.options import SolveOptions
    from trm_sdk.persistence.hub import list_pretrained
    from trm_sdk.persistence.hub_client import push_to_hub
    from trm_sdk.solution import Candidate, Failure, Solution, Step
    from trm_sdk.solver import Solver
    from trm_sdk.task import Task

__version__ = "0.1.0"

_HOMES = {
    "AdaptOptions": "adapt.options",
    "AdaptedSolver": "adapt.solver",
    "AsyncSolver": "aio",
    "Candidate": "solution",
    "CheckpointError": "errors",
    "ConfigError": "errors",
    "Domain": "domains.base",
    "Failure": "solution",
    "Grid": "grid",
    "InvalidInputError": "errors",
    "MissingDependencyError": "errors",
    "ModelNotFoundError": "errors",
    "Solution": "solution",
    "SolveOptions": "options",
    "Solver": "solver",
    "Step": "solution",
    "Symmetry": "domains.symmetry",
    "Token": "domains.vocabulary",
    "Vocabulary": "domains.vocabulary",
    "BoardDomain": "domains.board",
    "TRMError": "errors",
    "Task": "task",
    "available_domains": "domains",
    "get_domain": "domains",
    "list_pretrained": "persistence.hub",
    "push_to_hub": "persistence.hub_client",
    "register_domain": "domains",
    "solve_task": "adapt.solver",
}

__all__ = [
    "AdaptOptions",
    "AdaptedSolver",
    "AsyncSolver",
    "BoardDomain",
    "Candidate",
    "CheckpointError",
    "ConfigError",
    "Domain",
    "Failure",
    "Grid",
    "InvalidInputError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "Solution",
    "SolveOptions",
    "Solver",
    "Step",
    "Symmetry",
    "TRMError",
    "Task",
    "Token",
    "Vocabulary",
    "__version__",
    "available_domains",
    "get_domain",
    "list_pretrained",
    "push_to_hub",
    "register_domain",
    "solve_task",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
