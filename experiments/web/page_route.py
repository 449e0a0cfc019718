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

from bitfront.experiments.service.errors import told
from bitfront.experiments.service.refusals import NotAuthenticatedError
from bitfront.experiments.web.rendering import page
from bitfront.supernet.errors import BitfrontError

SIGN_IN = "/sign-in"
LONGEST_NEXT = 1000
_KEPT = ("retry-after", "allow", "cache-control")
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route whose errors become pages, with the status and the words that the REST service has for them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.methods and "GET" in self.methods:
            self.methods.add("HEAD")  # the server leaves the content out

    def get_route_handler(self) -> _Handler:
        """What answers a request."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except NotAuthenticatedError as error:
                return _asked(request, error)
            except (BitfrontError, RequestValidationError, HTTPException) as error:
                return as_page(request, told(error))

        return handler


def _asked(request: Request, error: NotAuthenticatedError) -> Response:
    if request.method not in ("GET", "HEAD") or request.url.path.endswith(".json"):
        return as_page(request, told(error))
    path, query = request.url.path, request.url.query
    whole = f"{path}?{query}" if query else path
    wanted = whole if len(whole) <= LONGEST_NEXT else path  # half a query would ask for something else
    return RedirectResponse(f"{SIGN_IN}?next={quote(wanted)}", status_code=303)


def as_page(request: Request, answer: Response) -> Response:
    """A page that says what an answer in the REST service's error form says."""
    error = json.loads(bytes(answer.body))["error"]
    found = page(request, "error.html", status=answer.status_code, status_code=answer.status_code, error=error)
    found.headers.update({name: value for name, value in answer.headers.items() if name in _KEPT})
    return found
