"""What reaching the Hub depends on: variables, the server's address, and what its failures mean."""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import Any

from trm_sdk.errors import InvalidInputError, MissingDependencyError
from trm_sdk.messages import clipped, first_line, shown
from trm_sdk.persistence.cache import expanded

_TRUE = ("1", "true", "yes", "on")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def import_hub(purpose: str) -> Any:
    """Return huggingface_hub, which `purpose` needs.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors  # which its own top level loads no sooner than asked
    except ImportError:
        raise MissingDependencyError(
            f"{purpose} needs huggingface_hub: pip install 'trm-sdk[hub]'"
        ) from None
    return huggingface_hub


def is_offline() -> bool:
    """Return whether ``HF_HUB_OFFLINE`` is set."""
    from huggingface_hub import constants

    # As huggingface_hub read it when it was imported, or as it is now.
    return constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def cache_folder(cache_dir: str | os.PathLike[str] | None) -> str | None:
    """Return the cache to use; None: that of huggingface_hub."""
    if cache_dir is not None:
        if not isinstance(cache_dir, (str, os.PathLike)):
            raise InvalidInputError(f"cache_dir must be a path; got {shown(cache_dir)}")
        return str(expanded(os.fspath(cache_dir), "cache_dir"))
    chosen = os.environ.get("TRM_SDK_CACHE")
    return str(expanded(chosen, "TRM_SDK_CACHE") / "hub") if chosen else None


def endpoint_address() -> str:
    """Return the server's address, without a slash at its end.

    Raises
    ------
    InvalidInputError
        If ``HF_ENDPOINT`` is not an http(s) address.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        parts = urllib.parse.urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets that don't close, a port that is no number
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", endpoint):
        raise InvalidInputError(
            f"HF_ENDPOINT must be an http(s) address; got {shown(without_password(endpoint))}"
        )
    return endpoint.rstrip("/")


def without_password(endpoint: str) -> str:
    """Return an address without the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", endpoint)


def is_of_the_network(error: Exception) -> bool:
    """Return whether an error may pass: the server is out of reach, or overloaded."""
    import huggingface_hub as hub

    status = getattr(getattr(error, "response", None), "status_code", None)
    missing = (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError)
    return not isinstance(error, missing) and (status is None or status >= 429)


def reason(error: Exception, endpoint: str) -> str:
    """Return why, in one line, and which setting it may lie in."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    text = clipped(first_line(error).replace(endpoint, without_password(endpoint)), 200)
    if status is not None:
        return f"HTTP {status}: {text}"
    proxies = [name for name in _PROXIES if os.environ.get(name)]
    if "certificate" in text.lower():
        return f"{text} (SSL_CERT_FILE names a file of further certificates)"
    if proxies:
        return f"{text} (through the proxy that {proxies[0]} names)"
    return text


__all__ = [
    "cache_folder",
    "endpoint_address",
    "import_hub",
    "is_of_the_network",
    "is_offline",
    "reason",
    "without_password",
]
