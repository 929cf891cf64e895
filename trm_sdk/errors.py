"""The errors that the SDK raises on purpose.

Every error names the value that was wrong and what is accepted instead, so that its text alone is
enough to mend the call. Each also derives from the built-in exception a caller would expect.
"""

from __future__ import annotations


class TRMError(Exception):
    """Base of every error raised on purpose by this project."""


class InvalidInputError(TRMError, ValueError):
    """A puzzle, array, text or option from outside is not acceptable."""


class ModelNotFoundError(TRMError, LookupError):
    """No model of that name or path can be had."""


class CheckpointError(TRMError, ValueError):
    """A checkpoint or graph on disk is missing a part, corrupt, or made for something else."""


class ConfigError(TRMError, ValueError):
    """A configuration is contradictory or has an unknown key."""


class MissingDependencyError(TRMError, ImportError):
    """An optional dependency is needed for this call and is not installed."""
