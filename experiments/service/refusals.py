"""What the service itself refuses, each kind with its HTTP status."""

from __future__ import annotations

from collections.abc import Mapping

from bitfront.supernet.errors import BitfrontError

_LATER = "try again later; its keeper finds more in the service's log"


class RefusedError(BitfrontError):
    """A request that is not served; ``where`` names the part of it that is meant."""

    status = 422

    def __init__(self, rule: str, fix: str, where: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(rule, fix, where)
        self.rule, self.fix, self.where = rule, fix, where
        self.headers = headers or {}

    def __str__(self) -> str:
        return f"{self.rule}: {self.fix}"


class InvalidRequestError(RefusedError):
    """A parameter or the body does not follow its rule."""


class BadRequestError(RefusedError):
    """The request itself can not be read, or is addressed to somebody else."""

    status = 400


class NotFoundError(RefusedError):
    """There is no such thing."""

    status = 404


class MethodError(RefusedError):
    """The address does not take this method."""

    status = 405


class NotAuthenticatedError(RefusedError):
    """Nobody, or somebody unknown, asks for what needs a token."""

    status = 401


class ForbiddenError(RefusedError):
    """Who asks may not do that, or another site asks in their name."""

    status = 403


class TooLargeError(RefusedError):
    """The body is larger than what is taken."""

    status = 413


class MediaTypeError(RefusedError):
    """The body is of a kind that is not taken."""

    status = 415


class RateLimitError(RefusedError):
    """Too much is asked at once."""

    status = 429


class UnavailableError(RefusedError):
    """The service can not do its work now: the store or the disk does not let it."""

    status = 503


class NotReadyError(UnavailableError):
    """The service can not work now. ``failed``: what does not do its part, and how."""

    def __init__(self, failed: Mapping[str, str]) -> None:
        rule = ", ".join(f"the {name} {state}" for name, state in failed.items())
        super().__init__(rule, _LATER, "checks", {"Retry-After": "5"})
        self.failed = dict(failed)


class InternalError(RefusedError):
    """Something nobody expected; the log has it."""

    status = 500
