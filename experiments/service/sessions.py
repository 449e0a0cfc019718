"""Sessions of browsers: a cookie that stands for a token, and the word that other sites can not know."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bitfront.experiments.service.tokens import token_hash

COOKIE = "bitfront_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
_SECONDS = 12 * 3600.0
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is known. ``token_sha256`` is its token's, or empty for one on this machine without token."""

    token_sha256: str
    csrf_token: str
    ends: float

    def has(self, csrf_token: str | None) -> bool:
        """Whether a form or header shows this session's word."""
        return csrf_token is not None and hmac.compare_digest(csrf_token.encode(), self.csrf_token.encode())


class Sessions:
    """All sessions, in memory by the hash of their cookie: a restart ends them.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, token_sha256: str = "") -> tuple[str, Session]:
        """A new session; returns the value of its cookie with it."""
        value = secrets.token_urlsafe(32)
        session = Session(token_sha256, secrets.token_urlsafe(32), self._clock() + _SECONDS)
        with self._lock:
            self._known[token_hash(value)] = session
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return value, session

    def of(self, value: str | None) -> Session | None:
        """The session behind a cookie's value; None where there is none, or it is over."""
        if not value:
            return None
        with self._lock:
            session = self._known.get(token_hash(value))
        return session if session is not None and self._clock() < session.ends else None

    def close(self, value: str | None) -> None:
        """End a session."""
        with self._lock:
            self._known.pop(token_hash(value or ""), None)
