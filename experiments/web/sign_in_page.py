"""Showing a token once, so that a browser is known afterwards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from bitfront.experiments.service.auth import check_origin
from bitfront.experiments.service.context import Served
from bitfront.experiments.service.refusals import NotAuthenticatedError
from bitfront.experiments.service.routes.sessions import log_in
from bitfront.experiments.service.sessions import COOKIE
from bitfront.experiments.web.page_route import LONGEST_NEXT, SIGN_IN, PageRoute
from bitfront.experiments.web.rendering import page

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_HOME = "/experiments"


@router.get(SIGN_IN)
def ask(
    request: Request, next_path: Annotated[str, Query(alias="next", max_length=LONGEST_NEXT)] = _HOME
) -> Response:
    """The form."""
    return page(request, "sign_in.html", problem="", next=own_path(next_path))


@router.post(SIGN_IN)
def sign_in(
    request: Request,
    service: Served,
    token: Annotated[str, Form(max_length=500)] = "",
    next_path: Annotated[str, Form(alias="next", max_length=LONGEST_NEXT)] = _HOME,
) -> Response:
    """Let a cookie stand for the token, and go on to where the reader wanted to go."""
    check_origin(request)
    response = RedirectResponse(own_path(next_path), status_code=303)
    try:
        log_in(service, request, response, token)
    except NotAuthenticatedError as error:
        return page(request, "sign_in.html", status=401, problem=error.rule, next=own_path(next_path))
    return response


@router.post("/sign-out")
def sign_out(
    request: Request, service: Served, cookie: Annotated[str | None, Cookie(alias=COOKIE, max_length=200)] = None
) -> Response:
    """End the session."""
    check_origin(request)
    service.sessions.close(cookie)
    response = RedirectResponse(SIGN_IN, status_code=303)
    response.delete_cookie(COOKIE)
    return response


def own_path(path: str) -> str:
    """``path`` where it leads to one of our own pages, else the first page."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own and path != SIGN_IN else _HOME
