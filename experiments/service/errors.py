"""Errors become answers in the one form; what nobody expected tells only where the log has it."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from bitfront.experiments.service.error_models import ErrorAnswer, ErrorBody, ErrorProblem
from bitfront.experiments.service.refusals import (
    BadRequestError,
    InternalError,
    InvalidRequestError,
    MediaTypeError,
    MethodError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    TooLargeError,
    UnavailableError,
)
from bitfront.experiments.service.told import file_names_only
from bitfront.experiments.spec_errors import Problem, SpecError, path_of, shown
from bitfront.experiments.store.errors import ConflictError, StatusError, StoreVersionError
from bitfront.supernet.errors import (
    BitfrontError,
    CorruptFileError,
    MissingFileError,
    StorageError,
    UnknownNameError,
)

LOG = logging.getLogger("bitfront.service")

_SECRETS = {"token", "csrf_token", "authorization", "cookie"}
_MOST_PROBLEMS = 100
_STATUSES: tuple[tuple[type[BitfrontError], int], ...] = (
    (StatusError, 409),
    (ConflictError, 409),
    (MissingFileError, 404),
)
_OURS = (StorageError, StoreVersionError, CorruptFileError)
"""Errors that are no fault of who asked, and whose words name files of the server."""

_RESOURCES = ("experiment", "candidate", "export", "device", "token", "predictor", "table")
_KINDS: dict[int, tuple[type[RefusedError], str]] = {
    400: (BadRequestError, "send a request that is as the documentation says"),
    404: (NotFoundError, "see /api/v1/openapi.json for what there is"),
    405: (MethodError, "see the header Allow for the methods that it takes"),
    413: (TooLargeError, "send less"),
    415: (MediaTypeError, "send a body of the documented type"),
}


def install(app: FastAPI) -> None:
    """Have every error of an app answered in the one form."""
    for kind in (BitfrontError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handled)


def told(error: Exception) -> JSONResponse:
    """An error of one of the three known kinds as an answer in the one form."""
    if isinstance(error, BitfrontError):
        return _bitfront(error)
    return _validation(error) if isinstance(error, RequestValidationError) else _http(error)


def for_reader(scope: Scope, made: Response) -> Response:
    """An error's answer as whoever asked reads it: a page for a browser, where there are pages, else unchanged."""
    as_page = getattr(scope["app"].state, "error_page", None)
    is_for_people = "text/html" in Headers(scope=scope).get("accept", "")
    if as_page is None or not is_for_people or scope["path"].startswith("/api/"):
        return made
    try:
        page: Response = as_page(Request(scope), made)
    except Exception as error:  # pages may be what is broken
        LOG.error("an error could not be shown as a page", exc_info=error)
        return made
    return page


def _handled(request: Request, error: Exception) -> Response:
    return for_reader(request.scope, told(error))


def answer(error: RefusedError, body: ErrorBody | None = None) -> JSONResponse:
    """A refusal as an answer."""
    content = ErrorAnswer(error=body or _body(error)).model_dump(mode="json")
    return JSONResponse(content, error.status, headers={"Cache-Control": "no-store", **error.headers})


def unexpected(error: BaseException) -> JSONResponse:
    """The answer to what nobody expected; its traceback goes to the log under the id that the answer names."""
    number = secrets.token_hex(8)
    LOG.error("unexpected error %s", number, exc_info=error, extra={"error_id": number})
    told = InternalError("something went wrong that nobody expected", f"look for {number} in the service's log")
    return answer(told, _body(told, number))


def _body(error: RefusedError, number: str | None = None) -> ErrorBody:
    failed = error.failed if isinstance(error, NotReadyError) else {}
    return ErrorBody(
        type=type(error).__name__,
        message=str(error),
        rule=error.rule,
        fix=error.fix,
        where=error.where,
        problems=[
            ErrorProblem(where=f"checks.{name}", value=None, rule=state, fix=error.fix)
            for name, state in failed.items()
        ],
        id=number,
    )


def _bitfront(error: BitfrontError) -> JSONResponse:
    if isinstance(error, RefusedError):
        return answer(error)
    if isinstance(error, _OURS):
        return _unavailable(error)
    message = file_names_only(str(error))
    rule, _sep, fix = message.partition(": ")
    problems = list(map(_problem, error.problems[:_MOST_PROBLEMS])) if isinstance(error, SpecError) else []
    body = ErrorBody(
        type=type(error).__name__,
        message=message,
        rule=rule,
        fix=fix or "see docs/rest.md",
        where=problems[0].where if problems else _where(error),
        problems=problems,
    )
    return JSONResponse(ErrorAnswer(error=body).model_dump(mode="json"), status_of(error))


def status_of(error: BitfrontError) -> int:
    """The HTTP status of an error that is not the service's own."""
    if isinstance(error, UnknownNameError):
        return 404 if _is_resource(error) else 422
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 422)


def _is_resource(error: UnknownNameError) -> bool:
    kind = str(error.args[0])
    return any(kind == one or kind.startswith(f"{one} of ") for one in _RESOURCES)


def _where(error: BitfrontError) -> str:
    return str(error.args[0]) if isinstance(error, UnknownNameError) else "request"


def _problem(problem: Problem) -> ErrorProblem:
    # The value is what was sent.
    rule, fix = file_names_only(problem.rule), file_names_only(problem.fix)
    return ErrorProblem(where=problem.path, value=problem.value, rule=rule, fix=fix)


def _unavailable(error: BitfrontError) -> JSONResponse:
    """What the disk or the database does: the words for people here may name files, and so stay in the log."""
    number = secrets.token_hex(8)
    LOG.error("the store failed %s: %s", number, error, exc_info=error, extra={"error_id": number})
    told = UnavailableError(
        "the service's store or disk does not do its part now",
        f"try again later; its keeper finds {number} in the service's log",
        headers={"Retry-After": "5"},
    )
    return answer(told, _body(told, number))


def _validation(error: RequestValidationError) -> JSONResponse:
    problems = [_problem_of(details) for details in error.errors()[:_MOST_PROBLEMS]]
    first = problems[0]
    told = InvalidRequestError(f"{first.where}: {first.rule}", first.fix, first.where)
    body = _body(told)
    body.problems = problems
    return answer(told, body)


def _problem_of(details: dict[str, Any]) -> ErrorProblem:
    place = details["loc"]
    hidden = details["type"] == "missing" or _SECRETS & {str(part).lower() for part in place}
    return ErrorProblem(
        where=path_of(place),
        value=None if hidden else shown(details.get("input")),
        rule=details["msg"],
        fix="give a value as /api/v1/openapi.json describes it",
    )


def _http(error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    cause = error.__cause__
    if isinstance(cause, RefusedError):  # raised while the body was read, and wrapped on its way
        return answer(cause)
    kind, fix = _KINDS.get(error.status_code, (BadRequestError, "see docs/rest.md"))
    told = kind(str(error.detail), fix, "request", dict(error.headers or {}))
    return answer(told)
