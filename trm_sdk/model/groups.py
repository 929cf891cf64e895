"""Groups of cells that come with puzzles, as a model takes them. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from trm_sdk.errors import InvalidInputError
from trm_sdk.model.config import ModelConfig

Groups = npt.NDArray[np.uint8]


def complete_groups(groups: Mapping[str, Groups] | None, config: ModelConfig) -> dict[str, Groups]:
    """Return groups for every key that a model has weights for, the structure's own where absent.

    Parameters
    ----------
    groups : mapping from weights key to uint8 array of shape (n, groups, cells), or None
    config : ModelConfig

    Returns
    -------
    dict from weights key to uint8 array of shape (n, groups, cells)
        Empty where `groups` is None.

    Raises
    ------
    InvalidInputError
        If the model takes no groups, or has no weights for one of them.
    """
    if groups is None:
        return {}
    if not config.takes_groups or config.structure is None:
        raise InvalidInputError(
            "these puzzles bring groups of their own, which only models of block 'message' take; "
            f"this one has mixer={config.mixer!r}, block={config.block!r}"
        )
    own = config.structure.memberships()
    for key, one in groups.items():
        if key not in own or one.shape[-1] != config.seq_len:
            raise InvalidInputError(
                f"this model has weights for groups of {sorted(own)} over {config.seq_len} cells; "
                f"got {key!r} over {one.shape[-1]}"
            )
    n = len(next(iter(groups.values()))) if groups else 0
    return {
        key: groups[key] if key in groups else np.broadcast_to(one, (n, *one.shape)).copy()
        for key, one in own.items()
    }


__all__ = ["complete_groups"]
