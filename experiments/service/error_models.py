"""The one JSON form in which the service says that something is wrong."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ErrorProblem(BaseModel):
    """One of several things that are wrong: where, the value as text, the rule and what helps."""

    where: str = Field(examples=["search.population"])
    value: str | None = Field(examples=["1"])
    rule: str = Field(examples=["must be at least 2"])
    fix: str = Field(examples=["give 2 or more"])


class ErrorBody(BaseModel):
    """What went wrong. ``type`` names the kind for programs, ``message`` says all of it to people."""

    type: str = Field(examples=["UnknownNameError"])
    message: str = Field(examples=["unknown experiment 'digits-7f3a2d': did you mean 'digits-7f3a2c'?"])
    rule: str = Field(description="What does not hold.", examples=["unknown experiment 'digits-7f3a2d'"])
    fix: str = Field(description="What helps.", examples=["did you mean 'digits-7f3a2c'?"])
    where: str = Field(description="The part of the request that is meant.", examples=["path.experiment_id"])
    problems: list[ErrorProblem] = Field(
        default=[], description="Each thing that is wrong, where there are several."
    )
    id: str | None = Field(
        default=None, description="With this the service's log tells more.", examples=["c0ffee0123456789"]
    )


class ErrorAnswer(BaseModel):
    """Every answer with a status of 400 or more."""

    error: ErrorBody
