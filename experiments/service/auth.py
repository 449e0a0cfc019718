"""Who asks, and whether they may.

Where tokens were ever made, everybody shows one: as ``Authorization: Bearer TOKEN``, or as a browser's session
that was opened with one. Where none was, whoever is on this machine may do everything, if the service listens
to this
machine alone. Browsers are asked for more, as other sites can make them send requests: see `check_origin` and
`check_word`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bitfront.experiments.service.context import Service, service_of
from bitfront.experiments.service.refusals import ForbiddenError, NotAuthenticatedError
from bitfront.experiments.service.sessions import COOKIE, CSRF_FIELD, CSRF_HEADER, Session
from bitfront.experiments.service.settings import Settings, host_name, is_loopback
from bitfront.experiments.service.tokens import SCOPES, token_hash, with_lesser
from bitfront.experiments.store.base import Store
from bitfront.supernet.errors import UnsupportedError

SAFE = ("GET", "HEAD", "OPTIONS")
_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_BEARER = HTTPBearer(auto_error=False, description="A token that 'bitfront token add' printed.")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="bitfront"'}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the name of a token, or ``this machine``; ``session`` where a browser's cookie told,
    ``sha256`` of the token.
    """

    name: str
    scopes: frozenset[str]
    session: Session | None = None
    sha256: str = ""


def needs(scope: str) -> Callable[..., Principal]:
    """What a route depends on that may be used with ``scope``."""

    def check(
        request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None
    ) -> Principal:
        return _checked(request, shown, scope, request.headers.get(CSRF_HEADER))

    return check


def form_needs(scope: str) -> Callable[..., Awaitable[Principal]]:
    """As `needs`, for a route that takes a form: the session's word is its field `CSRF_FIELD`."""

    async def check(request: Request) -> Principal:
        word = (await request.form()).get(CSRF_FIELD)
        return await run_in_threadpool(_checked, request, None, scope, word if isinstance(word, str) else None)

    return check


def _checked(
    request: Request, shown: HTTPAuthorizationCredentials | None, scope: str, word: str | None
) -> Principal:
    service = service_of(request)
    principal = _who(service, request, shown)
    request.state.who = principal.name
    limiter = service.reads if request.method in SAFE else service.writes
    limiter.take(key_of(principal, request))
    if shown is None and request.method not in SAFE:
        check_origin(request)
        if principal.session is not None:
            check_word(principal.session, word)
    if scope not in principal.scopes:
        raise ForbiddenError(
            f"token {principal.name!r} has no scope {scope!r}", f"use one with {scope!r}", "header.authorization"
        )
    return principal


Reader = Annotated[Principal, Depends(needs("read"))]
Writer = Annotated[Principal, Depends(needs("write"))]
Admin = Annotated[Principal, Depends(needs("admin"))]


def check_origin(request: Request) -> None:
    """Refuse a change that another site may have made a browser ask for.

    Browsers say where a request comes from (``Sec-Fetch-Site``, ``Origin``); other programs need not.

    Raises:
        ForbiddenError: it comes from another site.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = {f"{scheme}://{request.headers.get('host', '')}".lower() for scheme in _schemes(request)}
    if site not in (None, "same-origin", "none") or (origin is not None and origin.lower() not in own):
        raise ForbiddenError(
            "the request comes from another site",
            "ask from the service's own pages, or with a token",
            "header.origin",
        )


def _schemes(request: Request) -> tuple[str, ...]:
    """Those that the service's own pages come with."""
    if not service_of(request).settings.secure_cookies:
        return (request.url.scheme,)
    # A proxy that speaks HTTPS with browsers speaks plain HTTP with the service. On the machine itself its pages
    # can be opened without the proxy.
    direct = is_loopback(host_name(request.headers.get("host", ""))) and not _is_passed_on(request)
    return ("https", "http") if direct else ("https",)


def _is_passed_on(request: Request) -> bool:
    return any(name in request.headers for name in _PROXIES)


def check_word(session: Session, word: str | None) -> None:
    """Refuse a change that lacks the word of a session, whose cookie a browser sends by itself.

    Raises:
        ForbiddenError: ``word`` is not the session's.
    """
    if not session.has(word):
        raise ForbiddenError(
            "the request lacks the session's CSRF token",
            f"send it in {CSRF_HEADER}, or as the form's field",
            "header",
        )


def _who(service: Service, request: Request, shown: HTTPAuthorizationCredentials | None) -> Principal:
    if shown is not None:
        return _holder(service, request, token_hash(shown.credentials))
    if "authorization" in request.headers:
        raise _stranger("the header Authorization is not of the form 'Bearer TOKEN'")
    session = service.sessions.of(request.cookies.get(COOKIE))
    if session is not None and session.token_sha256:
        return _holder(service, request, session.token_sha256, session)
    if not is_open_to(service, request):
        raise _stranger("a token is needed")
    return Principal("this machine", frozenset(SCOPES), session)


def _holder(service: Service, request: Request, sha256: str, session: Session | None = None) -> Principal:
    token = service.store.token_by_hash(sha256)
    if token is None or not token.is_valid(datetime.now(UTC)):
        service.metrics.refused.labels("unknown token").inc()
        if session is None:
            # Whoever holds a good token is let in all the same: many may share the address of a proxy.
            service.failures.take(_address(request))
        else:  # its token ended since, which is no guess
            service.sessions.close(request.cookies.get(COOKIE))
        raise _stranger("the token is unknown, has ended or was revoked")
    service.store.touch_token(token.name)
    return Principal(token.name, with_lesser(token.scopes), session, sha256)


def hold(service: Service, request: Request, token: str) -> Principal:
    """Whoever holds a token.

    Raises:
        NotAuthenticatedError: there is no such token, or not any more.
        RateLimitError: there were too many wrong ones from this address.
    """
    return _holder(service, request, token_hash(token))


def is_open_to(service: Service, request: Request) -> bool:
    """Whether who asks needs no token: the service and they are on this machine, and no token was ever made.

    What a proxy passes on does not come from this machine, whatever its address looks like.
    """
    if not service.settings.is_loopback or _is_passed_on(request):
        return False
    if not service.settings.trust_everyone and not is_loopback(_address(request)):
        return False
    return not service.store.tokens()


def check_address(store: Store, settings: Settings) -> None:
    """Refuse to be reached from beyond this machine before there is a token.

    A proxy asks from this machine whoever asks it, and not every one says so in a header.

    Raises:
        UnsupportedError: no valid token exists, and the service would listen beyond this machine's loopback, or
            is told of a proxy or of names that others call it by.
    """
    now = datetime.now(UTC)
    if any(token.is_valid(now) for token in store.tokens()):
        return
    make = "there is no token: make one with 'bitfront token add NAME', or"
    if not settings.is_loopback:
        raise UnsupportedError(
            f"the service would listen at {settings.host}, where others reach it, and {make} listen at 127.0.0.1"
        )
    for option, given in (("--https", settings.secure_cookies), ("--name", settings.names)):
        if given:
            raise UnsupportedError(
                f"with {option} others reach the service through a proxy, and {make} leave {option} out"
            )


def _stranger(rule: str) -> NotAuthenticatedError:
    fix = "send 'Authorization: Bearer TOKEN' with one that 'bitfront token add' printed"
    return NotAuthenticatedError(rule, fix, "header.authorization", _CHALLENGE)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def key_of(principal: Principal, request: Request) -> str:
    """By what somebody's requests are counted: their token, or the address where there is none."""
    return principal.name if principal.name != "this machine" else _address(request)
