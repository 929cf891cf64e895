"""Names of domains that a bundled model of another domain solves with the same weights.

A domain states that model itself (`Domain.base_model`); nothing is listed here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trm_sdk.domains import available_domains, get_domain
from trm_sdk.domains.base import Domain
from trm_sdk.errors import InvalidInputError, TRMError
from trm_sdk.persistence.hub import list_pretrained


def list_variants() -> dict[str, str]:
    """Return the domains, without sizes, that bundled models of others solve: name to model."""
    bundled = list_pretrained()
    found = {}
    for name in available_domains():
        if "{" in name or name in bundled:
            continue
        with suppress(TRMError, ImportError):  # of a package that is broken
            model = get_domain(name).base_model
            if model in bundled:
                found[name] = str(model)
    return found


def list_sized() -> list[str]:
    """Return the names that, with a size behind them, open the same weights on other boards."""
    known = available_domains()
    names = sorted({*list_pretrained(), *list_variants()} & set(known))
    return [
        name
        for name in names
        if f"{name}-{{rows}}x{{columns}}" in known and not get_domain(name).any_size
    ]


def model_for(
    name_or_path: str | os.PathLike[str], domain: Domain | None = None
) -> tuple[str | os.PathLike[str], Domain | None]:
    """Return the model to open for a name, and the domain to solve; None: the model's own.

    Parameters
    ----------
    name_or_path : str or path
        As `resolve` takes it, or the name of a domain with a `base_model`. Bundled names and
        existing paths come first.
    domain : Domain, optional
        Returned as it is, with the name.
    """
    if domain is not None or not isinstance(name_or_path, str):
        return name_or_path, domain
    if name_or_path in list_pretrained():
        return name_or_path, None
    try:
        named = get_domain(name_or_path)
    except InvalidInputError:
        return name_or_path, None
    if named.base_model is None or Path(name_or_path).exists():
        return name_or_path, None
    return named.base_model, named


__all__ = ["list_sized", "list_variants", "model_for"]
