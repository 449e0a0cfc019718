"""The service's errors, as the errors of the Python API that they were."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
from pydantic import ValidationError

# Their classes are looked up by name: those that the service answers with must be there.
from bitfront.experiments.service import refusals
from bitfront.experiments.service.error_models import ErrorAnswer, ErrorBody
from bitfront.experiments.spec_errors import Problem, SpecError
from bitfront.supernet.errors import BitfrontError

__all__ = ["ApiError", "NoAnswerError", "raise_for", "refusals"]


class NoAnswerError(BitfrontError):
    """The service does not answer, or what answers is no bitfront."""


class ApiError(BitfrontError):
    """An error that a service answered; it is also of the class that the service named, where that is known.

    ``status`` is HTTP's, ``body`` all that was said.
    """

    def __init__(self, status: int, body: ErrorBody) -> None:
        Exception.__init__(self, status, body)
        self.status, self.body = status, body
        self.rule, self.fix, self.where = body.rule, body.fix, body.where
        self.problems = tuple(Problem(one.where, one.value, one.rule, one.fix) for one in body.problems)

    def __str__(self) -> str:
        return self.body.message


def raise_for(answer: httpx.Response) -> None:
    """Raise what an answer says is wrong, if anything.

    Raises:
        ApiError: it says what; also of its class's kind.
        NoAnswerError: it is an error of something that is no bitfront, or leads elsewhere.
    """
    if not answer.is_success:
        raise error_of(answer)


def error_of(answer: httpx.Response) -> BitfrontError:
    """The error in an answer that is none of success."""
    if not answer.is_error:
        where = answer.headers.get("Location", "elsewhere")
        return NoAnswerError(f"{place_of(answer.url)} leads to {where} ({answer.status_code}): give that URL")
    try:
        body = ErrorAnswer.model_validate_json(answer.content).error
    except ValidationError:
        return not_bitfront(answer)
    return _kind(body.type)(answer.status_code, body)


def not_bitfront(answer: httpx.Response) -> NoAnswerError:
    """The error for an answer that bitfront does not give."""
    words = f"{place_of(answer.url)} answers {answer.status_code}, and not as bitfront does: check the URL"
    return NoAnswerError(words)


def place_of(url: httpx.URL) -> str:
    """A URL for messages, without a password or a query in it."""
    return f"{url.scheme}://{url.netloc.decode()}{url.path.rstrip('/')}"


def _kind(name: str) -> type[ApiError]:
    kinds: tuple[type[BitfrontError], ...] = (SpecError, *_below(BitfrontError))
    for known in kinds:
        if known.__name__ == name and not issubclass(known, ApiError):
            return type(name, (ApiError, known), {})
    return ApiError


def _below(kind: type[BitfrontError]) -> Iterator[type[BitfrontError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)
