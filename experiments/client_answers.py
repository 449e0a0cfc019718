"""What a client makes of answers that came: models, or an error where something else than bitfront answered."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import httpx2 as httpx
from pydantic import BaseModel, ValidationError

from bitfront.experiments.client_errors import not_bitfront

_LONGEST_WAIT = 30.0
M = TypeVar("M", bound=BaseModel)


class BusyError(Exception):
    """The service answered that it can not now; ``seconds``: when it said to come back, else 0."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.status_code)
        self.answer, self.seconds = answer, patience(answer)


def read(model: type[M], answer: httpx.Response) -> M:
    """An answer as a model; what a newer service says beside that is left out.

    Raises:
        NoAnswerError: it is no such answer.
    """
    try:
        return model.model_validate_json(answer.content, extra="ignore")
    except ValidationError as error:
        raise not_bitfront(answer) from error


def next_offset(answer: httpx.Response) -> int:
    """Where a log goes on.

    Raises:
        NoAnswerError: the answer does not say.
    """
    given = answer.headers.get("X-Next-Offset", "")
    if not given.isascii() or not given.isdigit():
        raise not_bitfront(answer)
    return int(given)


def check_type(answer: httpx.Response, wanted: str) -> None:
    """Refuse an answer of another type, such as a proxy's page.

    Raises:
        NoAnswerError: it is one.
    """
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != wanted:
        raise not_bitfront(answer)


def event_data(answer: httpx.Response, text: str) -> dict[str, Any]:
    """What an event says.

    Raises:
        NoAnswerError: it is no object.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise not_bitfront(answer) from error
    if not isinstance(found, dict):
        raise not_bitfront(answer)
    return found


def patience(answer: httpx.Response) -> float:
    """The seconds after which a service that is busy wants to be asked again, 30 at most; 0: it does not say."""
    given = answer.headers.get("Retry-After", "")
    return min(float(given), _LONGEST_WAIT) if given.isascii() and given.isdigit() else 0.0
