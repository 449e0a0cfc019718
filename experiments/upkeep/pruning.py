"""Make room: forget candidates, or whole experiments, that ended long ago."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from bitfront.experiments.places import experiment_folder
from bitfront.experiments.store.base import MOST_PER_PAGE, Store
from bitfront.experiments.store.records import Experiment
from bitfront.experiments.store.statuses import Status
from bitfront.experiments.worker.recovery import experiments
from bitfront.supernet.errors import StorageError
from bitfront.supernet.progress import Progress

What = Literal["candidates", "experiment"]

_ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Prunable:
    """What may go of one experiment: only its candidates that are on no front and were not exported, or all of it.

    ``candidates``: how many go. ``size_bytes``: of the files that go with them.
    """

    experiment_id: str
    name: str
    status: Status
    finished_at: datetime
    what: What
    candidates: int
    size_bytes: int


def prunable(
    store: Store, home: Path, now: datetime, candidates_days: float | None, experiments_days: float | None
) -> list[Prunable]:
    """What ended so many days ago or more, newest first; None keeps all.

    Only COMPLETED experiments lose candidates, as others may still be resumed; INTERRUPTED ones lose nothing.
    """
    found = []
    for status in _ENDED:
        for one in experiments(store, status):
            if _is_old(one, now, experiments_days):
                count = store.count_candidates(one.id)
                found.append(_prunable(one, "experiment", count, _size(experiment_folder(home, one.id))))
            elif status is Status.COMPLETED and _is_old(one, now, candidates_days):
                count = store.count_candidates(one.id) - len(_kept(store, one.id))
                found += [_prunable(one, "candidates", count, 0)] if count else []
    return found


def prune(store: Store, home: Path, found: Sequence[Prunable], progress: Progress) -> None:
    """Let it go for good, and give the room back to the disk.

    Raises:
        StatusError: somebody resumed one of them in between; those before it are gone.
        StorageError: the store can not be written, or files can not be deleted.
    """
    for done, one in enumerate(found):
        progress(done, len(found))
        if one.what == "candidates":
            store.forget_candidates(one.experiment_id, expected=one.status)
        else:
            store.delete_experiment(one.experiment_id, expected=one.status)
            delete_files(home, one.experiment_id)
    if found:
        store.upkeep()
    progress(len(found), len(found))


def delete_files(home: Path, experiment_id: str) -> None:
    """Delete the files of an experiment that the store does not know any more.

    Raises:
        StorageError: some are left; it says where.
    """
    folder = experiment_folder(home, experiment_id)
    try:
        shutil.rmtree(folder, onerror=_unless_gone)
    except OSError as error:
        raise StorageError(
            f"{experiment_id} is deleted, but can not delete its files in {folder}: {error.strerror or error}. "
            "Delete that folder"
        ) from error


def _unless_gone(function: object, path: str, raised: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):  # it never was there, or somebody else deletes it too
        raise raised[1]


def _is_old(one: Experiment, now: datetime, days: float | None) -> bool:
    return days is not None and one.finished_at is not None and now - one.finished_at >= timedelta(days=days)


def _prunable(one: Experiment, what: What, count: int, size_bytes: int) -> Prunable:
    assert one.finished_at is not None
    return Prunable(one.id, one.name, one.status, one.finished_at, what, count, size_bytes)


def _kept(store: Store, experiment_id: str) -> set[int]:
    kept = {member.candidate.id for member in store.front(experiment_id)}
    kept |= {export.candidate_id for export in store.exports(experiment_id)}
    cursor: str | None = None
    while True:
        page = store.candidates(experiment_id, cursor, MOST_PER_PAGE, on_front=True)
        kept |= {candidate.id for candidate in page.items}
        cursor = page.next_cursor
        if cursor is None:
            return kept


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
