"""What every request passes first: who it is addressed to, how large it is, and what every answer carries."""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitfront.experiments.service.errors import LOG, answer, for_reader, unexpected
from bitfront.experiments.service.limits import RateLimiter, limited, too_large
from bitfront.experiments.service.metrics import Metrics
from bitfront.experiments.service.refusals import BadRequestError, InvalidRequestError, NotFoundError, RefusedError
from bitfront.experiments.service.settings import Settings, as_address, host_name, is_loopback

CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_GONE = 499
"""In the log and the metrics, as servers have it by custom: who asked went away before all was sent."""

UPLOADS = ("/api/v1/tables", "/api/v1/predictors")


class Guard:
    """The outermost layer of the app.

    It refuses requests for names that are not the service's (so that no other site's name, pointed here, opens
    it), bodies that are too large, and addresses that ask too often. It adds the headers that browsers heed,
    counts and logs every request (never its headers, query or body), and turns what nobody expected into an
    answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        rate = 2 * settings.reads_per_second
        self._limiter = RateLimiter(rate, rate * settings.burst_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _Sending(send)
        begun = time.monotonic()
        try:
            await self._served(scope, receive, sending)
        except ClientDisconnect:  # nobody is there to be answered
            sending.status = sending.status or _GONE
        except Exception as error:
            if sending.status:  # half an answer is out; the connection must not look whole
                LOG.error("an answer broke off", exc_info=error)
                raise
            response = answer(error) if isinstance(error, RefusedError) else unexpected(error)
            await for_reader(scope, response)(scope, receive, sending)
        finally:
            self._note(scope, sending.status, time.monotonic() - begun)

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        check_host(headers.get("host", ""), self._settings)
        _check_address(scope)
        client = scope.get("client")
        self._limiter.take(client[0] if client else "")
        uploading = scope["method"] == "POST" and scope["path"].rstrip("/") in UPLOADS
        most = self._settings.most_upload if uploading else self._settings.most_body
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise BadRequestError("the header Content-Length is no number", "leave it to the client", "header")
        if int(length) > most:
            raise too_large(most)
        await self._app(scope, limited(receive, most), send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", "none")  # the template: an address has ids in it, and no end
        self._metrics.served(scope["method"], path, status, seconds)
        facts = {"method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1e3, 1)}
        facts["who"] = scope.get("state", {}).get("who", "")
        words = "%(method)s %(path)s %(status)s in %(ms)s ms" + (" by %(who)s" if facts["who"] else "")
        LOG.info(words, facts, extra=facts)


def _check_address(scope: Scope) -> None:
    """Refuse zero bytes, which no name of anything has, and no database takes.

    Raises:
        NotFoundError, InvalidRequestError: there is one in the path, or in the query.
    """
    if "\x00" in scope["path"]:
        raise NotFoundError("there is no such thing: the path has a zero byte", "leave it out", "path")
    if b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
        raise InvalidRequestError("the query has a zero byte", "leave it out", "query")


class _Sending:
    """Passes an answer on with the headers; ``status`` is 0 until it begins."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def check_host(host: str, settings: Settings) -> None:
    """Refuse a request that is addressed to somebody else.

    A name must be known. An address may be any where the service listens beyond this machine: no site can make a
    browser send an address instead of the site's own name.

    Raises:
        BadRequestError: ``host``, the header, is none of the service's.
    """
    name = host_name(host)
    known = is_loopback(name) if settings.is_loopback else as_address(name) is not None or is_loopback(name)
    if not known and name.lower() not in {one.lower() for one in (*settings.names, settings.host)}:
        raise BadRequestError(
            "the header Host names another service",
            "ask by an address that it listens at, or start it with --name NAME",
            "header.host",
        )
