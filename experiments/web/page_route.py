"""Routes that answer browsers: an error is a page, and who is not known is asked for a token."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from bitfront.experiments.service.refusals import NotAuthenticatedError
from bitfront.experiments.web.rendering import page
from bitfront.supernet.errors import BitfrontError

SIGN_IN = "/sign-in"
LONGEST_NEXT = 1000
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose errors become pages, with the status and the words that the REST service has for them."""

    def get_route_handler(self) -> _Handler:
        """What answers a request."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except NotAuthenticatedError as error:
                return _asked(request, error)
            except (BitfrontError, RequestValidationError, HTTPException) as error:
                return error_page(request, error)

        return handler


def _asked(request: Request, error: NotAuthenticatedError) -> Response:
    if request.method not in ("GET", "HEAD") or request.url.path.endswith(".json"):
        return error_page(request, error)
    path, query = request.url.path, request.url.query
    whole = f"{path}?{query}" if query else path
    wanted = whole if len(whole) <= LONGEST_NEXT else path  # half a query would ask for something else
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted)}", status_code=303)


def error_page(request: Request, error: Exception) -> Response:
    """A page that says what the REST service's error form says."""
    status, told, headers = error_told(request, error)
    found = page(request, "error.html", status=status, status_code=status, error=told)
    found.headers.update(headers)
    return found


def error_told(request: Request, error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """HTTP status, content and headers of the service's own answer to an error."""
    handlers = request.app.exception_handlers
    handler = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    answer = handler(request, error)
    kept = {name: value for name, value in answer.headers.items() if name in ("retry-after", "allow")}
    return answer.status_code, json.loads(answer.body)["error"], kept
