"""How often an experiment was begun without getting any further: what crashes again and again is given up."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bitfront.experiments.places import experiment_folder, tuning_path
from bitfront.experiments.store.base import Store
from bitfront.experiments.store.records import Experiment
from bitfront.supernet.errors import BitfrontError, StorageError
from bitfront.supernet.files import read_json, write_json

MOST = 3
"""Tries without progress before an experiment that crashes is FAILED."""

_FILE = "tries.json"
_CHECKPOINTS = "checkpoint*.safetensors"


def begin_try(store: Store, home: Path, experiment: Experiment) -> None:
    """Remember, before work begins, that it begins; `forget_tries` when it ends in any other way than by a crash.

    Raises:
        StorageError: that can not be written.
    """
    write_json(_path(home, experiment.id), _Tries(home, experiment).one_more(store))


def tries_without_progress(store: Store, home: Path, experiment: Experiment) -> int:
    """How many tries in a row left the experiment no further than it was."""
    return _Tries(home, experiment).count(_mark(store, home, experiment))


def forget_tries(home: Path, experiment_id: str) -> None:
    """What comes next is a first try again.

    Raises:
        StorageError: the file that counts them can not be deleted.
    """
    path = _path(home, experiment_id)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"can not delete {path}: {error.strerror or error}. Make its folder writable"
        ) from error


class _Tries:
    """What the file says; a file that can not be read says nothing, as then the next try writes it anew."""

    def __init__(self, home: Path, experiment: Experiment) -> None:
        self._home, self._experiment = home, experiment
        try:
            stored: Any = read_json(_path(home, experiment.id))
        except BitfrontError:
            stored = {}
        self._stored: dict[str, Any] = stored if isinstance(stored, dict) else {}

    def count(self, mark: str) -> int:
        count = self._stored.get("count", 0)
        return int(count) if self._stored.get("mark") == mark and isinstance(count, int) else 0

    def one_more(self, store: Store) -> dict[str, Any]:
        mark = _mark(store, self._home, self._experiment)
        return {"mark": mark, "count": self.count(mark) + 1}


def _mark(store: Store, home: Path, experiment: Experiment) -> str:
    """How far an experiment is: a digest of what it keeps, which changes only by what it need not do again."""
    supernet_id = experiment.supernet_id
    found: dict[str, Any] = {
        "links": [supernet_id, experiment.predictor_id, experiment.table_id, experiment.table_ids],
        "generations": len(store.generations(experiment.id)),
        "measured": sum(member.top1_validation is not None for member in store.front(experiment.id)),
        "exports": len(store.exports(experiment.id)),
        # Which of these files are its own is not known before they are linked; then they are others' progress.
        "tuning": [] if experiment.predictor_id else _sizes(home, tuning_path(home).name),
        "tables": [] if experiment.table_id or experiment.table_ids else _sizes(home / "tables", "*.json"),
    }
    if supernet_id:
        record = store.supernet(supernet_id)
        found["supernet"] = record.state if record else None
        found["trials"] = [len(store.trials(supernet_id, split).top1) for split in ("validation", "test")]
        found["checkpoints"] = [
            status.st_mtime_ns for _, status in _files(home / "supernets" / supernet_id, _CHECKPOINTS)
        ]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _sizes(folder: Path, pattern: str) -> list[list[object]]:
    # Written again without anything new, a file has the same size, though not the same time.
    return [[name, status.st_size] for name, status in _files(folder, pattern)]


def _files(folder: Path, pattern: str) -> Iterator[tuple[str, os.stat_result]]:
    for path in sorted(folder.glob(pattern)):
        with suppress(FileNotFoundError):  # others replace and delete files meanwhile
            yield path.name, path.stat()


def _path(home: Path, experiment_id: str) -> Path:
    return experiment_folder(home, experiment_id) / _FILE
