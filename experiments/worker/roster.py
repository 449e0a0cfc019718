"""Which workers a home has: each keeps a file there, so that others know of it and of its children."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bitfront.experiments.store.owner import Owner
from bitfront.supernet.errors import BitfrontError
from bitfront.supernet.files import read_json, write_json

SILENT_SECONDS = 120.0
"""A worker of another host is taken for dead when it has not been heard of for so long."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker, how many experiments it runs at once at most, and its children, of which some may be gone."""

    owner: Owner
    slots: int
    children: tuple[Owner, ...] = ()


def write_record(home: Path, record: WorkerRecord) -> None:
    """Keep a worker's record, or replace it.

    Raises:
        StorageError: it can not be written.
    """
    write_json(_path(home, record.owner), asdict(record))


def touch_record(home: Path, owner: Owner) -> None:
    """Say that the worker lives; where that can not be said, others hear of it when it is said again."""
    with suppress(OSError):
        os.utime(_path(home, owner))


def remove_record(home: Path, owner: Owner) -> None:
    """The worker is gone, and so are its children, or another has them."""
    with suppress(OSError):
        _path(home, owner).unlink(missing_ok=True)


def records(home: Path) -> list[tuple[WorkerRecord, bool]]:
    """All workers that left a record, with whether each is alive; files that can not be read are left out."""
    found = []
    for path in sorted(_folder(home).glob("*.json")):
        with suppress(BitfrontError, OSError, KeyError, TypeError):
            record = _record(read_json(path))
            found.append((record, _is_alive(record.owner, path)))
    return found


def living_workers(home: Path) -> list[WorkerRecord]:
    """The workers that are alive."""
    return [record for record, alive in records(home) if alive]


def dead_workers(home: Path) -> list[WorkerRecord]:
    """Workers of this host that are gone; their records are to be removed once somebody has their children."""
    return [record for record, alive in records(home) if not alive and record.owner.is_here]


def _is_alive(owner: Owner, path: Path) -> bool:
    if owner.is_here:
        return owner.is_alive
    return abs(time.time() - path.stat().st_mtime) < SILENT_SECONDS


def _record(value: Any) -> WorkerRecord:
    children: Iterable[Any] = value["children"]
    return WorkerRecord(Owner(**value["owner"]), int(value["slots"]), tuple(Owner(**one) for one in children))


def _folder(home: Path) -> Path:
    return home / "workers"


def _path(home: Path, owner: Owner) -> Path:
    return _folder(home) / f"{owner.host}-{owner.pid}.json"
