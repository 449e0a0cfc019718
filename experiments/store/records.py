"""What a store takes and gives back: plain values that know nothing of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.statuses import Status
from bitfront.search.constraints import METRICS, base_metric, check_metric
from bitfront.supernet.errors import NumericalError
from bitfront.supernet.genes import Genomes

Split = Literal["validation", "test"]
TrialKind = Literal["fp32", "quantized"]
T = TypeVar("T")


def utc_now() -> datetime:
    """The present, with its time zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing; ``next_cursor`` asks for the next part and is None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of a stage is: ``done`` of ``total`` steps of what ``label`` says.

    Raises:
        ValueError: a number is negative or beyond 2**63 - 1.
    """

    label: str
    done: int
    total: int

    def __post_init__(self) -> None:
        if not (0 <= self.done < 2**63 and 0 <= self.total < 2**63):
            raise ValueError(f"progress of {self.label!r} is {self.done} of {self.total}: use numbers from 0")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One launched search. ``owner`` is the process that works on it, None when none does.

    ``table_id`` is its device's cost table; with several devices there are ``table_ids`` by name instead.
    ``key`` is the idempotency key that it was created with. ``progress`` is how far the present stage is, None
    where nobody said. ``forgotten`` is how many of its candidates were removed since; such an experiment can not
    be resumed.
    """

    id: str
    name: str
    spec: dict[str, Any]
    seed: int
    status: Status
    stage: str
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    owner: Owner | None
    supernet_id: str | None
    predictor_id: str | None
    table_id: str | None
    table_ids: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    progress: Progress | None = None
    forgotten: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """A step of the search. ``evaluations`` counts from the search's beginning."""

    index: int
    evaluations: int
    hypervolume: float
    created_at: datetime = field(default_factory=utc_now, compare=False)


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """Candidates to be stored: genomes (n, n_genes) and predicted metrics, each (n,), named as in `METRICS`, or
    METRIC@DEVICE.

    ``errors``: row to error of candidates that could not be scored; of these no metric is stored.

    Raises:
        ValueError: a metric is unknown or shapes do not match.
        InvalidConstraintError: what stands behind an @ can not be a device's name.
        NumericalError: a metric of another candidate is NaN or infinite.
    """

    genomes: Genomes
    predicted: Mapping[str, NDArray[np.float64]]
    errors: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_genomes(self.genomes)
        for metric, values in self.predicted.items():
            if base_metric(metric) not in METRICS:
                raise ValueError(f"unknown metric {metric!r}: known are {', '.join(METRICS)}, and METRIC@DEVICE")
            check_metric(metric)
            # What failed has no numbers; 0 stands in their place for the check alone.
            numbers = np.where(np.isin(np.arange(len(values)), list(self.errors)), 0.0, values)
            _check_numbers(metric, numbers, len(self.genomes))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored candidate. ``id`` ascends from 0 within its experiment, in the order of evaluation.

    ``genome`` holds the choice indices, one byte each. ``predicted`` has the metrics that were predicted, and none
    where ``error`` says why the candidate could not be scored.
    """

    id: int
    generation: int
    genome: bytes
    predicted: dict[str, float]
    on_front: bool
    error: str | None = None

    @property
    def array(self) -> NDArray[np.uint8]:
        """The genome as an array, shape (n_genes,)."""
        return np.frombuffer(self.genome, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was truly measured of one front member. None leaves what is stored as it is.

    Accuracies are fractions. ``error`` says why a measurement is missing. ``by_device``: METRIC@DEVICE to what was
    measured, where there are several devices.
    """

    candidate_id: int
    top1_validation: float | None = None
    top1_test: float | None = None
    latency_ms: float | None = None
    dominated: bool | None = None
    error: str | None = None
    by_device: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.by_device.items():
            _check_numbers(name, np.array([value]), 1)
        for name in ("top1_validation", "top1_test", "latency_ms"):
            value = getattr(self, name)
            if value is not None:
                _check_numbers(name, np.array([value]), 1)


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A front member: its candidate (with what was predicted) beside what was measured, None where not yet."""

    candidate: Candidate
    top1_validation: float | None
    top1_test: float | None
    latency_ms: float | None
    dominated: bool
    error: str | None
    by_device: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trials:
    """Truly measured candidates of one supernet: genomes (n, n_genes), top1 (n,) in 0..1, seconds each took.

    Raises:
        ValueError: shapes do not match.
        NumericalError: an accuracy is not in 0..1, or a number is NaN or infinite.
    """

    genomes: Genomes
    top1: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_genomes(self.genomes)
        _check_numbers("top1", self.top1, len(self.genomes))
        _check_numbers("seconds", self.seconds, len(self.genomes))

    def lookup(self) -> dict[bytes, float]:
        """Accuracy by genome."""
        return {row.tobytes(): float(top1) for row, top1 in zip(self.genomes, self.top1, strict=True)}


@dataclass(frozen=True, slots=True)
class SupernetRecord:
    """A supernet. ``id`` hashes all that decides its weights; ``state`` is ``"training"`` or ``"ready"``."""

    id: str
    space: str
    space_hash: str
    data: str
    data_hash: str
    training: dict[str, Any]
    path: str
    metrics: dict[str, Any]
    state: str
    created_at: datetime = field(default_factory=utc_now, compare=False)


@dataclass(frozen=True, slots=True)
class PredictorRecord:
    """An accuracy predictor of a supernet. ``kind`` is ``"fp32"``, ``"transferred"`` or ``"uploaded"``."""

    id: str
    supernet_id: str
    kind: str
    path: str
    metrics: dict[str, Any]
    created_at: datetime = field(default_factory=utc_now, compare=False)


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A device's cost table for a space. ``id`` is the table's hash."""

    id: str
    device: str
    space_hash: str
    path: str
    provenance: dict[str, Any]
    created_at: datetime = field(default_factory=utc_now, compare=False)


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """A candidate written as a model. ``top1_test`` is the model's own accuracy, None if not tested.

    ``path`` is the model's file, with its ``sha256``; where the model is several files it is the bundle's folder,
    with that of the zip file that is made of it.
    ``device``: in whose bit-width policy, where a candidate has one per device; else empty.
    """

    candidate_id: int
    format: str
    path: str
    sha256: str
    top1_test: float | None
    created_at: datetime = field(default_factory=utc_now, compare=False)
    device: str = ""


def _check_genomes(genomes: Genomes) -> None:
    if genomes.ndim != 2 or genomes.dtype != np.uint8:
        raise ValueError(f"genomes are uint8 arrays of shape (n, n_genes), got {genomes.dtype} {genomes.shape}")


def _check_numbers(name: str, values: NDArray[np.float64], n: int) -> None:
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {values.shape}")
    bad = ~np.isfinite(values)
    if name.startswith("top1"):
        bad |= (values < 0) | (values > 1)
    if bad.any():
        row = int(np.argmax(bad))
        rule = "a fraction from 0 to 1" if name.startswith("top1") else "a finite number"
        raise NumericalError(f"{name} of row {row} is {values[row]}, but must be {rule}: nothing was stored")
