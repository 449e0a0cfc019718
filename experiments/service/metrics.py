"""What Prometheus reads: what is stored, what runs, and how requests fare."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bitfront.experiments.store.base import Store
from bitfront.experiments.store.statuses import Status

_MOST_RUNNING = 50
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0)


class Metrics:
    """One registry a service, so that several in one process do not meet."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "bitfront_request_seconds",
            "Duration of requests.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge("bitfront_event_streams", "Streams of events now.", registry=self.registry)
        self.jobs = Gauge("bitfront_jobs", "Exports and imports now.", registry=self.registry)
        self.refused = Counter("bitfront_refused", "Requests without leave.", ["why"], registry=self.registry)
        self.registry.register(_Stored(store))

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH") else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text form."""
        return generate_latest(self.registry)


class _Stored(Collector):
    """What the store says, asked when somebody looks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing, so that registering does not ask the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Counts, then how the running experiments stand."""
        counts = self._store.counts()
        experiments = GaugeMetricFamily("bitfront_experiments", "Experiments by status.", labels=["status"])
        for status in Status:
            experiments.add_metric([status.value], counts.experiments.get(status, 0))
        yield experiments
        yield GaugeMetricFamily("bitfront_queue", "Queued experiments.", counts.experiments.get(Status.QUEUED, 0))
        yield GaugeMetricFamily("bitfront_running", "Running ones.", counts.experiments.get(Status.RUNNING, 0))
        for name in ("candidates", "generations", "front_members", "exports", "trials", "supernets", "predictors"):
            yield GaugeMetricFamily(f"bitfront_{name}", f"Stored {name}.", getattr(counts, name))
        yield from self._running()

    def _running(self) -> Iterator[GaugeMetricFamily]:
        evaluations = GaugeMetricFamily(
            "bitfront_evaluations", "Candidates scored by a running experiment.", labels=["experiment"]
        )
        volume = GaugeMetricFamily("bitfront_hypervolume", "Hypervolume of its front.", labels=["experiment"])
        for one in self._store.list_experiments(limit=_MOST_RUNNING, status=Status.RUNNING).items:
            generations = self._store.generations(one.id)
            if generations:
                evaluations.add_metric([one.id], generations[-1].evaluations)
                volume.add_metric([one.id], generations[-1].hypervolume)
        yield evaluations
        yield volume
