"""Tokens: what their holders show, and what of it is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.service_records import Token
from bitfront.supernet.errors import UnknownNameError

SCOPES = ("read", "write", "admin")
"""From least to most: each includes those before it."""

_BYTES = 32
_PREFIX = "bft_"


def new_token(
    store: Store, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[str, Token]:
    """Make a token of 256 random bits; returns what its holder shows, which is kept nowhere, and what is stored.

    Raises:
        UnknownNameError: there is no such scope.
        ConflictError: a token has this name, revoked ones included.
    """
    for scope in scopes:
        if scope not in SCOPES:
            raise UnknownNameError("scope", scope, SCOPES)
    shown = _PREFIX + secrets.token_urlsafe(_BYTES)
    return shown, store.add_token(name, list(scopes), token_hash(shown), expires_at)


def token_hash(shown: str) -> str:
    """What is stored of a token: SHA-256 suffices for 256 random bits, which nobody can try through."""
    return hashlib.sha256(shown.encode()).hexdigest()


def with_lesser(scopes: Sequence[str]) -> frozenset[str]:
    """Scopes, and those that they include."""
    highest = max((SCOPES.index(scope) for scope in scopes if scope in SCOPES), default=-1)
    return frozenset(SCOPES[: highest + 1])
