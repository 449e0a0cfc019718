"""Sessions of browsers."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response

from bitfront.experiments.service.auth import Principal, Reader, check_origin, hold
from bitfront.experiments.service.context import Served, Service
from bitfront.experiments.service.machine_models import NothingAnswer, SessionAnswer, SessionRequest
from bitfront.experiments.service.sessions import COOKIE

router = APIRouter(tags=["sessions"])


@router.get("/session", operation_id="getSession")
def who(me: Reader) -> SessionAnswer:
    """Who asks, and what they may."""
    word = me.session.csrf_token if me.session else None
    return SessionAnswer(name=me.name, scopes=sorted(me.scopes), csrf_token=word)


@router.post("/session", operation_id="openSession", status_code=201)
def open_session(request: Request, response: Response, wanted: SessionRequest, service: Served) -> SessionAnswer:
    """Let a cookie stand for a token, so that a browser needs to be told it once."""
    check_origin(request)
    return who(log_in(service, request, response, wanted.token))


@router.delete("/session", operation_id="closeSession")
def close_session(
    request: Request,
    response: Response,
    service: Served,
    cookie: Annotated[str | None, Cookie(alias=COOKIE, max_length=200)] = None,
) -> NothingAnswer:
    """End a browser's session."""
    check_origin(request)
    service.sessions.close(cookie)
    response.delete_cookie(COOKIE)
    return NothingAnswer()


def log_in(service: Service, request: Request, response: Response, token: str) -> Principal:
    """Open a session for a token and set its cookie; returns who holds the token, with the session.

    Raises:
        NotAuthenticatedError: there is no such token.
        RateLimitError: there were too many wrong ones from this address.
    """
    principal = hold(service, request, token)
    value, session = service.sessions.open(principal.sha256)
    set_cookie(service, response, value)
    return replace(principal, session=session)


def set_cookie(service: Service, response: Response, value: str) -> None:
    """Give a browser its session: not to scripts, and not to other sites."""
    response.set_cookie(
        COOKIE, value, httponly=True, samesite="strict", secure=service.settings.secure_cookies, path="/"
    )
