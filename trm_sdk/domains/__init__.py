"""Puzzle domains: one folder each, on the contract of `base`, found through `registry`."""

from trm_sdk.domains.base import Domain
from trm_sdk.domains.board import BoardDomain
from trm_sdk.domains.registry import available_domains, get_domain, register_domain
from trm_sdk.domains.symmetry import Symmetry
from trm_sdk.domains.vocabulary import Token, Vocabulary

__all__ = [
    "BoardDomain",
    "Domain",
    "Symmetry",
    "Token",
    "Vocabulary",
    "available_domains",
    "get_domain",
    "register_domain",
]
