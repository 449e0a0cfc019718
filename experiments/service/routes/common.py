"""What endpoints have in common: parameters, and the errors that all of them may answer with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from bitfront.experiments.service.error_models import ErrorAnswer
from bitfront.experiments.service.models import ID

_ERRORS = {
    400: "The request can not be read, or is addressed to another host.",
    401: "A token is needed.",
    403: "The token has not the scope, or the request comes from another site.",
    404: "There is no such thing.",
    405: "The address does not take this method.",
    409: "It does not go with what is there.",
    413: "The body is too large.",
    415: "The body is of another type than is taken.",
    422: "A parameter or the body does not follow its rule.",
    429: "Too much is asked at once; `Retry-After` says when to come back.",
    503: "The store or the disk does not do its part now.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": words} for status, words in _ERRORS.items()
}
"""What every endpoint may answer beside what it says of itself."""

PREFIX = "/api/v1"

ExperimentId = Annotated[str, Path(max_length=100, description="The experiment's id.", examples=[ID])]
CandidateId = Annotated[int, Path(ge=0, lt=2**31, description="The candidate's number.", examples=[0])]
Cursor = Annotated[
    str | None,
    Query(max_length=1000, description="Where the page before ended: its `next_cursor`.", examples=[None]),
]
Where = Annotated[
    str,
    Query(
        max_length=2000,
        description="A condition on metrics.",
        examples=["latency_ms <= 5 and top1 >= 0.9"],
    ),
]


def binary(media_type: str, words: str) -> dict[int | str, dict[str, Any]]:
    """The description of an answer that is a file."""
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": words, "content": {media_type: {"schema": schema}}}}
