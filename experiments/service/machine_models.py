"""What the service answers about devices, tables, predictors, specs and itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from bitfront.experiments.service.models import Answer

Formats = dict[str, list[list[str]]]
"""Operator to the [weight format, activation format] pairs that a device executes."""


class DeviceAnswer(Answer):
    """A device that a spec can name; ``problem`` says why it can not be used here, else null."""

    name: str = Field(examples=["host-onnxruntime"])
    kind: str | None = Field(examples=["measured"])
    costs: list[str] = Field(examples=[["latency_ms"]])
    formats: Formats
    tables: int = Field(description="How many tables it has here.")
    problem: str | None


class DeviceList(Answer):
    """All devices."""

    items: list[DeviceAnswer]


class DeviceTable(Answer):
    """A table of a device here."""

    file: str
    space: str | None
    date: str | None
    unfinished: bool
    problem: str | None = None


class DeviceDetails(Answer):
    """A device with its options and where its numbers come from."""

    name: str
    kind: str
    about: str
    costs: list[str]
    options: dict[str, Any]
    formats: Formats
    provenance: dict[str, Any]
    tables: list[DeviceTable]


class TableAnswer(Answer):
    """A device's cost table for a space, as experiments used it."""

    id: str
    device: str
    space_hash: str
    file: str
    is_there: bool
    provenance: dict[str, Any]
    created_at: datetime


class TableList(Answer):
    """All tables, oldest first."""

    items: list[TableAnswer]


class ImportedTable(Answer):
    """What became of an uploaded table: the device that a spec can name, and what was said while it was read."""

    device: str
    space: str
    format: str
    sha256: str
    size_bytes: int


class PredictorAnswer(Answer):
    """An accuracy predictor: of an experiment, or ``uploaded``."""

    id: str
    kind: str = Field(examples=["transferred"])
    uploaded: bool
    space: str | None
    data: str | None
    is_there: bool
    created_at: datetime | None
    metrics: dict[str, float]


class PredictorList(Answer):
    """All predictors: those of experiments, oldest first, then uploaded ones."""

    items: list[PredictorAnswer]


class UploadedPredictor(Answer):
    """What became of an uploaded predictor."""

    id: str
    kind: str
    space: str
    sha256: str
    size_bytes: int


class SpecAnswer(Answer):
    """A spec that is acceptable, with all its defaults."""

    spec: dict[str, Any]
    hash: str


class Health(Answer):
    """Whether the service answers."""

    status: str = Field(examples=["ok"])


class Readiness(Answer):
    """That it can work: each part with ``ok``."""

    ready: bool
    checks: dict[str, str] = Field(examples=[{"store": "ok", "disk": "ok"}])


class SessionAnswer(Answer):
    """Who asks, what they may, and the word that a browser's changes must carry."""

    name: str
    scopes: list[str]
    csrf_token: str | None


class SessionRequest(Answer):
    """A token that a browser's session shall stand for."""

    token: str = Field(min_length=1, max_length=200)


class NothingAnswer(Answer):
    """It is done."""

    done: bool = True
