"""What a doctor looks at where workers work: the workers, the queue, the database, and who may read it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from bitfront.experiments.doctor import Check
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.home import open_store, store_url
from bitfront.experiments.store.records import Experiment, utc_now
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.recovery import experiments
from bitfront.experiments.worker.roster import living_workers

_SILENT = timedelta(minutes=5)
_NONE = "none yet"


def _workers(home: Path) -> Iterator[Check]:
    living = living_workers(home)
    if living:
        words = ", ".join(f"{one.owner} ({len(one.children)} of {one.slots} slots taken)" for one in living)
        yield Check("service", "worker", words)
    elif waiting := _counts(home).get(Status.QUEUED, 0):
        how = "start one with 'bitfront worker'"
        yield Check("service", "worker", f"none, though {waiting} experiments wait: {how}", "doubtful")
    else:
        yield Check("service", "worker", "none, and nothing waits for one")


def _queue(home: Path) -> Iterator[Check]:
    if not home.is_dir():
        yield Check("service", "queue", _NONE)
        return
    words = ", ".join(f"{count} {status}" for status, count in _counts(home).items() if count)
    yield Check("service", "queue", words or "empty")
    with open_store(home) as store:
        silent = [one.id for one in _held(store) if _is_silent(one)]
    if silent:
        # It may be busy with something long, or stuck; its worker ends it if somebody cancels it.
        words = (
            f"no heartbeat of {', '.join(silent)} for {_SILENT.seconds // 60} minutes: see its log, or cancel it"
        )
        yield Check("service", "heartbeats", words, "doubtful")


def _database(home: Path) -> Iterator[Check]:
    if (path := _file(home)) is not None and not path.is_file():
        yield Check("service", "database", _NONE)
        return
    with open_store(home) as store:
        counts = store.counts()
    files: Iterable[Path] = path.parent.glob(f"{path.name}*") if path else ()
    where = f"{sum(one.stat().st_size for one in files) / 2**20:,.1f} MiB" if path else "PostgreSQL"
    words = f"{where}, {counts.generations:,} generations, {counts.candidates:,} candidates"
    yield Check("service", "database", words)


def _privacy(home: Path) -> Iterator[Check]:
    """Hashes of tokens are in the database, and specs may say more than everybody should know."""
    path = _file(home)
    if path is None or not path.is_file():
        yield Check("service", "tokens", _NONE if path else "in PostgreSQL, which says who may read them")
        return
    others = stat.S_IRWXO & path.stat().st_mode & ~(0 if _may_enter(path.parent) else stat.S_IRWXO)
    with open_store(home) as store:
        count = sum(token.is_valid(utc_now()) for token in store.tokens())
    if others and count:
        words = f"{count} valid, and every user of this machine can read {path}: chmod -R o= {path.parent}"
        yield Check("service", "tokens", words, "doubtful")
    else:
        yield Check("service", "tokens", f"{count} valid")


LOOKS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "worker": _workers,
    "queue": _queue,
    "database": _database,
    "tokens": _privacy,
}
"""What is looked at, by name."""


def _file(home: Path) -> Path | None:
    """Where a SQLite store is, or would be; None where the store is PostgreSQL."""
    url = store_url(home)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _may_enter(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _counts(home: Path) -> dict[Status, int]:
    if not home.is_dir():
        return {}
    with open_store(home) as store:
        return dict(store.counts().experiments)


def _held(store: Store) -> list[Experiment]:
    return [*experiments(store, Status.RUNNING), *experiments(store, Status.CANCELLING)]


def _is_silent(one: Experiment) -> bool:
    return one.heartbeat_at is not None and utc_now() - one.heartbeat_at > _SILENT
