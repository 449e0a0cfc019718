"""What the endpoints share: the store, limits, sessions, metrics, jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from bitfront.experiments.service.events import Streams
from bitfront.experiments.service.jobs import Jobs
from bitfront.experiments.service.limits import RateLimiter
from bitfront.experiments.service.metrics import Metrics
from bitfront.experiments.service.sessions import Sessions
from bitfront.experiments.service.settings import Settings
from bitfront.experiments.store.base import Store

_FAILURES_PER_SECOND = 1 / 6
_MOST_FAILURES = 20
_PARSERS = 2


@dataclass(frozen=True)
class Service:
    """A running service's parts; ``failures`` counts tokens that were none, by address; ``parsing``
    are the few threads that read specs, so that long ones take no time from other requests.
    """

    settings: Settings
    store: Store
    metrics: Metrics
    sessions: Sessions
    jobs: Jobs
    streams: Streams
    reads: RateLimiter
    writes: RateLimiter
    failures: RateLimiter
    parsing: CapacityLimiter

    @property
    def home(self) -> Path:
        """Where experiments are kept."""
        return self.settings.home


def make_service(settings: Settings, store: Store) -> Service:
    """The parts of a service over a store."""
    s, metrics = settings, Metrics(store)
    return Service(
        settings=s,
        store=store,
        metrics=metrics,
        sessions=Sessions(),
        jobs=Jobs(s.home, s.most_jobs, s.job_seconds, s.job_memory, metrics.jobs),
        streams=Streams(s.most_streams, metrics.streams, s.most_streams_each),
        reads=RateLimiter(s.reads_per_second, s.reads_per_second * s.burst_seconds),
        writes=RateLimiter(s.writes_per_second, s.writes_per_second * s.burst_seconds),
        failures=RateLimiter(_FAILURES_PER_SECOND, _MOST_FAILURES),
        parsing=CapacityLimiter(_PARSERS),
    )


def service_of(request: Request) -> Service:
    """The service that serves a request."""
    return cast(Service, request.app.state.service)


Served = Annotated[Service, Depends(service_of)]
