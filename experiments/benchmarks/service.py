"""The service with a million candidates: how fast they are stored, and how long those who ask must wait.

Everything is asked of the service over HTTP, as a process of its own, of a store of each kind: a file of SQLite,
and PostgreSQL where its server is installed, writing to disk as by default. Waits are those of the caller, to the
end of the answer. Three questions are judged: the predicted front, candidates that meet drawn conditions on any
metrics in the order of any metric, and the page of a candidate with its layers and what each costs; the others
are told.

Then a search stores candidates without a pause, while fifty readers ask these questions, each again a second
after an answer (a page that is open asks every two). At last, a page of an experiment with 100,000 candidates is
opened in Chromium, each time anew, until its plot is drawn.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from bitfront.experiments.benchmarks.drawn_page import seconds_until_drawn
from bitfront.experiments.benchmarks.many_candidates import (
    DEVICE,
    GENERATION,
    SPACE,
    Stored,
    begun,
    finished,
    stored,
)
from bitfront.experiments.benchmarks.result import BenchResult
from bitfront.experiments.benchmarks.served import Question, seconds_of, seconds_of_many, served
from bitfront.experiments.benchmarks.throwaway_postgresql import throwaway_postgresql
from bitfront.experiments.device_places import table_path
from bitfront.experiments.reporter import Reporter
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store
from bitfront.experiments.store.records import TableRecord
from bitfront.experiments.store.sql import SqlStore
from bitfront.latency_lut.devices import DEVICES
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.spaces import SPACES

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

_METRICS = ("top1", "latency_ms", "energy_mj", "size_bytes", "peak_memory_bytes", "macs", "bitops")
_JUDGED = ("front", "filtered", "candidate_page")
_PHONES = ("phone", "tablet")
_PAUSE_S = 0.02
_READERS, _READERS_PAUSE_S = 50, 1.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Candidates: in all, on the page that is drawn, of several devices; questions of a kind and seed; seconds."""

    candidates: int
    drawn: int
    of_devices: int
    questions: int
    seconds: float
    pages: int


FULL, QUICK = Sizes(1_000_000, 100_000, 100_000, 100, 10.0, 5), Sizes(5_000, 2_000, 2_000, 5, 2.0, 1)


@dataclass(frozen=True)
class Filled:
    """A store with all that is asked for."""

    url: str | None
    home: Path
    large: Stored
    drawn: Stored
    of_devices: Stored


def run(quick: bool, seeds: int, reporter: Reporter) -> BenchResult:
    """Each seed draws other questions; candidates are stored once for each kind of store."""
    sizes = QUICK if quick else FULL
    figures: dict[str, float] = {"candidates": float(sizes.candidates)}
    figures |= _of_store("sqlite", None, sizes, seeds, reporter)
    try:
        with throwaway_postgresql(durable=True) as url:
            figures |= _of_store("postgresql", url.format("postgres"), sizes, seeds, reporter)
    except UnsupportedError as error:
        reporter.say(f"PostgreSQL is not measured: {error}")
    return BenchResult.of("service", seeds, figures, _goals(figures))


def _goals(figures: Mapping[str, float]) -> list[str]:
    goals = {
        **{f"{name}_ms_p95": "<= 100" for name in _JUDGED},
        "stored_per_second": ">= 30000",
        "readers_ms_p95": "<= 300",
        "searches_that_failed": "<= 0",
        "page_drawn_seconds": "<= 2",
    }
    return [f"{kind}_{name} {goal}" for kind in ("sqlite", "postgresql") for name, goal in goals.items()
            if f"{kind}_{name}" in figures]  # fmt: skip


def _of_store(kind: str, url: str | None, sizes: Sizes, seeds: int, reporter: Reporter) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bitfront-service-") as folder:
        home = Path(folder)
        filled = _filled(home, url, sizes, reporter, kind)
        large = filled.large
        figures = {
            "stored_per_second": large.candidates / large.seconds,
            "stored_per_process_second": large.candidates / large.process_seconds,
            "members_of_the_front": float(large.front),
        }
        with served(home, url) as address:
            figures |= _waits(address, filled, sizes, seeds, reporter.progress(f"asking with {kind}"))
            figures |= _waits_of_many(address, filled, sizes, seeds, reporter.progress(f"50 readers of {kind}"))
            figures |= _page(address, filled, sizes, reporter)
    return {f"{kind}_{name}": value for name, value in figures.items()}


@contextmanager
def _opened(home: Path, url: str | None) -> Iterator[Store]:
    with SqlStore(url) if url else open_store(home) as store:
        yield store


def _filled(home: Path, url: str | None, sizes: Sizes, reporter: Reporter, kind: str) -> Filled:
    rng = np.random.default_rng(0)
    with _opened(home, url) as store:
        table = _table(store, home)

        def fill(name: str, n: int, devices: tuple[str, ...] = ()) -> Stored:
            experiment = begun(store, name, devices)
            store.link(
                experiment.id, **({"table_ids": dict.fromkeys(devices, table)} if devices else {"table_id": table})
            )
            progress = reporter.progress(f"storing {n:,} candidates with {kind}")
            for found in stored(store, experiment, n, rng, devices):
                progress(found.candidates, n)
            finished(store, experiment.id)
            return found

        return Filled(
            url,
            home,
            drawn=fill("drawn", sizes.drawn),
            of_devices=fill("devices", sizes.of_devices, _PHONES),
            large=fill("large", sizes.candidates),
        )


def _table(store: Store, home: Path) -> str:
    device = DEVICES.get(DEVICE)()
    space = device.restrict(SPACES.get(SPACE)())
    path = table_path(home, DEVICE, {}, space.hash())
    path.parent.mkdir(parents=True, exist_ok=True)
    table = device.table(space, None, np.random.default_rng(0))
    table.save(path)
    store.put_table(TableRecord("costs", DEVICE, space.hash(), str(path), dict(table.provenance)))
    return "costs"


def _questions(filled: Filled) -> dict[str, Question]:
    large, devices = filled.large, filled.of_devices
    api, pages = f"/api/v1/experiments/{large.id}", f"/experiments/{large.id}"
    whole = urlencode({"experiments": f"{large.id},{filled.drawn.id}"})
    return {
        "front": lambda rng: f"{api}/front?kind=predicted",
        "filtered": lambda rng: _filtered(large, rng, _METRICS),
        "candidate_page": lambda rng: f"{pages}/candidates/{rng.integers(large.candidates)}",
        "candidate": lambda rng: f"{api}/candidates/{rng.integers(large.candidates)}",
        "front_page": lambda rng: pages,
        "compare": lambda rng: f"/api/v1/compare?{whole}",
        "devices_filtered": lambda rng: _filtered(devices, rng, [name for name in devices.values if "@" in name]),
    }


def _filtered(asked: Stored, rng: np.random.Generator, metrics: Any) -> str:
    """One or two conditions that keep a thousandth to a half of all, in the order of some metric, either way."""
    chosen = rng.choice(metrics, 2, replace=False)[: rng.integers(1, 3)]
    conditions = []
    for metric in chosen:
        kept = float(10 ** rng.uniform(-3, np.log10(0.5)))
        best_is_large = metric == "top1"
        limit = asked.quantile(metric, 1 - kept if best_is_large else kept)
        conditions.append(f"{metric} {'>=' if best_is_large else '<='} {limit!r}")
    order = f"{rng.choice(['', '-'])}{rng.choice(metrics)}"
    query = urlencode({"where": " and ".join(conditions), "order": order, "limit": 100})
    return f"/api/v1/experiments/{asked.id}/candidates?{query}"


def _waits(
    address: str, filled: Filled, sizes: Sizes, seeds: int, progress: Callable[[int, int], None]
) -> dict[str, float]:
    questions = _questions(filled)
    found: dict[str, list[float]] = {name: [] for name in questions}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for i, (name, question) in enumerate(questions.items()):
            found[name] += seconds_of(address, question, sizes.questions, rng, _PAUSE_S)
            progress(seed * len(questions) + i + 1, seeds * len(questions))
    shares = {"p95": 0.95, "median": 0.5}
    return {
        f"{name}_ms_{share}": 1e3 * float(np.quantile(values, q))
        for name, values in found.items()
        for share, q in shares.items()
    }


def _waits_of_many(
    address: str, filled: Filled, sizes: Sizes, seeds: int, progress: Callable[[int, int], None]
) -> dict[str, float]:
    questions = _questions(filled)
    asked = [questions[name] for name in _JUDGED]
    waits, rates, failed = [], [], 0
    for seed in range(seeds):
        with _searching(filled, seed) as outcome:
            waits.append(seconds_of_many(address, asked, _READERS, sizes.seconds, _READERS_PAUSE_S, seed))
        failed += "error" in outcome
        rates.append(outcome.get("rate", 0.0))
        progress(seed + 1, seeds)
    each = [1e3 * float(np.quantile(one, 0.95)) for one in waits]
    return {
        "readers_ms_p95": float(np.median(each)),
        "readers_ms_p95_most": max(each),
        "readers_answers_per_second": sum(map(len, waits)) / (seeds * sizes.seconds),
        "stored_per_second_beside_readers": float(np.median(rates)),
        "searches_that_failed": float(failed),
    }


@contextmanager
def _searching(filled: Filled, seed: int) -> Iterator[dict[str, Any]]:
    """While another process stores candidates as fast as it can; afterwards its rate, or its error."""
    context = multiprocessing.get_context("spawn")
    enough, begun_, results = context.Event(), context.Event(), context.SimpleQueue()
    process = context.Process(
        target=_store_on, args=(filled.url, filled.home, seed, enough, begun_, results), daemon=True
    )
    outcome: dict[str, Any] = {}
    process.start()
    try:
        begun_.wait(120)
        yield outcome
    finally:
        enough.set()
        outcome.update(results.get())
        process.join()


def _store_on(url: str | None, home: Path, seed: int, enough: Event, begun_: Event, results: Any) -> None:
    try:
        with _opened(home, url) as store:
            experiment = begun(store, f"beside-{seed}")
            begun_.set()
            rng = np.random.default_rng([7, seed])
            steps = stored(store, experiment, 10**9 * GENERATION, rng)
            found = next(one for one in steps if enough.is_set())
            finished(store, experiment.id)
        results.put({"rate": found.candidates / found.seconds})
    except BaseException as error:
        begun_.set()
        results.put({"error": repr(error)})


def _page(address: str, filled: Filled, sizes: Sizes, reporter: Reporter) -> dict[str, float]:
    try:
        seconds = seconds_until_drawn(f"{address}/experiments/{filled.drawn.id}", sizes.pages)
    except UnsupportedError as error:
        reporter.say(f"no page is drawn: {error}")
        return {}
    return {"page_drawn_seconds": float(np.median(seconds)), "page_drawn_seconds_most": max(seconds)}
