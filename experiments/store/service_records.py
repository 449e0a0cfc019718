"""What a store keeps and answers for the service alone: plots, comparisons, tokens, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bitfront.experiments.store.records import Candidate
from bitfront.experiments.store.statuses import Status


@dataclass(frozen=True, slots=True)
class Thinned:
    """Candidates that stand for all of an experiment in a plot over two metrics.

    ``candidates``: by id; every member of the predicted front is among them. ``stands_for``, one each: how many
    candidates of the same part of the plot it stands for, itself among them; 0 for members of the front beside the
    one that stands for their part. ``total``: how many there are in all, the sum of ``stands_for``.
    """

    candidates: tuple[Candidate, ...]
    stands_for: tuple[int, ...]
    total: int


@dataclass(frozen=True, slots=True)
class ComparedMember:
    """A member of the predicted front of one of several experiments, as seen on one device.

    ``device`` is empty where the experiment's metrics name none. ``predicted`` has one number for every objective
    that was asked for; ``measured`` those of them that were measured (top1 on the validation split).
    ``dominated``: whether a member of any of the compared fronts, on whichever device, is no worse in every
    predicted objective and better in one.
    """

    experiment_id: str
    device: str
    candidate: Candidate
    predicted: Mapping[str, float]
    measured: Mapping[str, float]
    dominated: bool


@dataclass(frozen=True, slots=True)
class Token:
    """Leave to use the service: only the SHA-256 (64 hexadecimal digits) of what its holder shows is stored."""

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor past its end."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is stored. ``experiments`` has every status."""

    experiments: Mapping[Status, int]
    generations: int
    candidates: int
    front_members: int
    exports: int
    trials: int
    supernets: int
    predictors: int
    tables: int
