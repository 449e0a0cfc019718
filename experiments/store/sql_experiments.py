"""Experiments in SQL: creation, listing, status and ownership."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, select, update

from bitfront.experiments.store.base import LONGEST_KEY, MOST_PER_PAGE, SILENCE
from bitfront.experiments.store.cursors import LARGEST_NUMBER, decode_cursor, encode_cursor
from bitfront.experiments.store.engine import reading, writing
from bitfront.experiments.store.errors import ConflictError, StatusError
from bitfront.experiments.store.inserting import insert_new
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import Experiment, Page, Progress
from bitfront.experiments.store.retry import repeatable, repeatable_if_undone
from bitfront.experiments.store.schema import device_tables
from bitfront.experiments.store.schema import experiments as table
from bitfront.experiments.store.statuses import Status, check_transition
from bitfront.supernet.errors import UnknownNameError

_LISTING = "experiments"
_LONGEST_SLUG = 40
_ID_BYTES = 3
_NEAR = 1000  # how many of the newest ids are looked through for the nearest name
_APART = timedelta(minutes=1)  # how far the clocks of two hosts may be apart before it is seen
_FREE = {"host": None, "pid": None, "process_started": None}
_NO_PROGRESS = {"progress_label": None, "progress_done": None, "progress_total": None}


class ExperimentsSql:
    """The part of a store that is about experiments as a whole."""

    _engine: Engine
    _patience: float
    _clock: Callable[[], datetime]

    def create_experiment(
        self, name: str, spec: Mapping[str, Any], seed: int, key: str | None = None
    ) -> Experiment:
        """See `Store.create_experiment`."""
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            raise ValueError(f"an idempotency key has 1 to {LONGEST_KEY} characters, this one has {len(key)}")
        values = {
            "name": name,
            "spec": dict(spec),
            "seed": seed,
            "status": Status.QUEUED,
            "stage": "",
            "reason": "",
            "created_at": self._clock(),
            "key": key,
        }
        return self._create_once(values) if key is None else self._create(values)

    @repeatable_if_undone
    def _create_once(self, values: Mapping[str, Any]) -> Experiment:
        with writing(self._engine) as connection:
            return _created(connection, values)

    @repeatable
    def _create(self, values: Mapping[str, Any]) -> Experiment:
        with writing(self._engine) as connection:
            return _created(connection, values)

    @repeatable
    def get(self, experiment_id: str) -> Experiment:
        """See `Store.get`."""
        with reading(self._engine) as connection:
            return _experiment(row_of(connection, experiment_id))

    @repeatable
    def list_experiments(
        self, cursor: str | None = None, limit: int = 50, status: Status | None = None
    ) -> Page[Experiment]:
        """See `Store.list_experiments`."""
        check_limit(limit)
        query = select(table).order_by(table.c.number.desc()).limit(limit + 1)
        if status is not None:
            query = query.where(table.c.status == status)
        if cursor is not None:
            query = query.where(table.c.number < decode_cursor(_LISTING, cursor, 1, LARGEST_NUMBER)[0])
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        more = len(rows) > limit
        following = encode_cursor(_LISTING, [rows[limit - 1].number]) if more else None
        return Page(tuple(_experiment(row) for row in rows[:limit]), following)

    def claim(self, experiment_id: str, owner: Owner | None = None) -> Experiment:
        """See `Store.claim`."""
        return self._claim(experiment_id, owner or Owner.current(), self._clock())

    @repeatable
    def _claim(self, experiment_id: str, owner: Owner, now: datetime) -> Experiment:
        with writing(self._engine) as connection:
            old = _experiment(row_of(connection, experiment_id, lock=True))
            if (old.status, old.owner, old.heartbeat_at) == (Status.RUNNING, owner, now):
                return old  # this very claim was stored before the answer was lost
            if old.status is not Status.QUEUED or old.forgotten:
                raise StatusError(_why_not(old))
            return _claimed(connection, old, owner, now)

    def claim_next(self, owner: Owner | None = None) -> Experiment | None:
        """See `Store.claim_next`."""
        return self._claim_next(owner or Owner.current(), self._clock())

    @repeatable
    def _claim_next(self, owner: Owner, now: datetime) -> Experiment | None:
        whole = (table.c.status == Status.QUEUED, table.c.forgotten == 0)
        queued = select(table).where(*whole).order_by(table.c.number).limit(1)
        # This very claim may have been stored before the answer was lost.
        mine = select(table).where(
            table.c.status == Status.RUNNING,
            table.c.heartbeat_at == now,
            table.c.process_started == owner.started,
            table.c.host == owner.host,
            table.c.pid == owner.pid,
        )
        # Workers ask every moment; where nothing is to be done they keep no writer waiting.
        with reading(self._engine) as connection:
            if (row := connection.execute(mine).first()) is not None:
                return _experiment(row)
            if connection.execute(queued).first() is None:
                return None
        with writing(self._engine) as connection:
            row = connection.execute(queued.with_for_update(skip_locked=True)).first()
            return None if row is None else _claimed(connection, _experiment(row), owner, now)

    @repeatable_if_undone
    def set_status(
        self,
        experiment_id: str,
        status: Status,
        reason: str = "",
        expected: Status | None = None,
        owner: Owner | None = None,
    ) -> Experiment:
        """See `Store.set_status`."""
        with writing(self._engine) as connection:
            old = _experiment(held_by(owner, row_of(connection, experiment_id, lock=True)))
            if expected not in (None, old.status):
                raise StatusError(f"experiment {experiment_id!r} is {old.status}, not {expected} any more")
            check_transition(experiment_id, old.status, status)
            if status is Status.RUNNING:
                raise StatusError(
                    f"experiment {experiment_id!r} becomes RUNNING by claim(), which names its owner"
                )
            if status is Status.QUEUED and old.forgotten:
                raise StatusError(_why_not(old))
            return _changed(connection, experiment_id, self._moved(old, status, reason))

    @repeatable
    def set_stage(self, experiment_id: str, stage: str, owner: Owner | None = None) -> None:
        """See `Store.set_stage`."""
        with writing(self._engine) as connection:
            held_by(owner, row_of(connection, experiment_id, lock=owner is not None))
            _changed(connection, experiment_id, {"stage": stage, **_NO_PROGRESS})

    @repeatable
    def link(
        self,
        experiment_id: str,
        *,
        supernet_id: str | None = None,
        predictor_id: str | None = None,
        table_id: str | None = None,
        table_ids: Mapping[str, str] | None = None,
        owner: Owner | None = None,
    ) -> None:
        """See `Store.link`."""
        links: dict[str, Any] = {
            "supernet_id": supernet_id,
            "predictor_id": predictor_id,
            "table_id": table_id,
            "table_ids": None if table_ids is None else dict(table_ids),
        }
        given = {name: value for name, value in links.items() if value is not None}
        with writing(self._engine) as connection:
            held_by(owner, row_of(connection, experiment_id, lock=owner is not None))
            _check_tables(connection, table_ids or {})
            if given:
                _changed(connection, experiment_id, given)

    @repeatable
    def heartbeat(
        self, experiment_id: str, owner: Owner | None = None, progress: Progress | None = None
    ) -> Status:
        """See `Store.heartbeat`."""
        owner = owner or Owner.current()
        with writing(self._engine) as connection:
            held_by(owner, row_of(connection, experiment_id, lock=True))
            values = {"heartbeat_at": self._clock(), **_progress_columns(progress)}
            return _changed(connection, experiment_id, values).status

    @repeatable
    def mark_interrupted(self) -> tuple[str, ...]:
        """See `Store.mark_interrupted`."""
        held = (
            select(table).where(table.c.status.in_([Status.RUNNING, Status.CANCELLING])).order_by(table.c.number)
        )
        with reading(self._engine) as connection:
            found = [_experiment(row) for row in connection.execute(held)]
            if not any(self._is_orphan(one) or self._is_ahead(one) for one in found):
                return ()
        with writing(self._engine) as connection:
            found = [_experiment(row) for row in connection.execute(held.with_for_update()).all()]
            orphans = [experiment for experiment in found if self._is_orphan(experiment)]
            for orphan in orphans:
                status = Status.INTERRUPTED if orphan.status is Status.RUNNING else Status.CANCELLED
                _changed(connection, orphan.id, self._moved(orphan, status, f"{orphan.owner} is gone"))
            for one in filter(self._is_ahead, found):
                _changed(connection, one.id, {"heartbeat_at": self._clock()})
        return tuple(orphan.id for orphan in orphans)

    def _is_ahead(self, experiment: Experiment) -> bool:
        return experiment.heartbeat_at is not None and experiment.heartbeat_at - self._clock() > _APART

    def _is_orphan(self, experiment: Experiment) -> bool:
        owner, last = experiment.owner, experiment.heartbeat_at or experiment.started_at
        if owner is None:
            return False
        if owner.is_here:
            return not owner.is_alive
        return last is not None and self._clock() - last > SILENCE

    def _moved(self, old: Experiment, status: Status, reason: str) -> dict[str, Any]:
        values: dict[str, Any] = {"status": status, "reason": reason}
        if status.is_over:
            # Nothing ends before it began, whatever the clock says.
            finished_at = max(self._clock(), old.started_at or old.created_at)
            values |= {"finished_at": finished_at, **_FREE, **_NO_PROGRESS}
        elif status is Status.QUEUED:
            values |= {"finished_at": None, **_FREE}
        return values


def check_limit(limit: int) -> None:
    """Refuse a page of no rows or of too many.

    Raises:
        ValueError: ``limit`` is outside 1 .. `MOST_PER_PAGE`.
    """
    if not 1 <= limit <= MOST_PER_PAGE:
        raise ValueError(f"limit is {limit}, but must be from 1 to {MOST_PER_PAGE}")


def row_of(connection: Connection, experiment_id: str, lock: bool = False) -> Row[Any]:
    """The experiment's row; ``lock`` keeps it from others until the transaction ends.

    Raises:
        UnknownNameError: there is no such experiment.
    """
    query: Select[Any] = select(table).where(table.c.id == experiment_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        newest = select(table.c.id).order_by(table.c.number.desc()).limit(_NEAR)
        raise UnknownNameError("experiment", experiment_id, connection.execute(newest).scalars().all())
    return row


def held_by(owner: Owner | None, row: Row[Any]) -> Row[Any]:
    """The row of an experiment, where ``owner`` works on it or nobody in particular must.

    Raises:
        StatusError: another process has it, or none.
    """
    if owner is not None:
        found = _experiment(row)
        if not found.status.is_held or found.owner != owner:
            raise StatusError(
                f"experiment {found.id!r} is {found.status} and not held by {owner} any more: "
                "this process must stop working on it"
            )
    return row


def held_number(connection: Connection, experiment_id: str, owner: Owner | None) -> int:
    """As `number_of`, where ``owner`` works on the experiment, which nobody else gets until the transaction ends.

    Raises:
        StatusError: as `held_by`.
    """
    return int(held_by(owner, row_of(connection, experiment_id, lock=owner is not None)).number)


def number_of(connection: Connection, experiment_id: str) -> int:
    """What an experiment's rows in other tables carry."""
    return int(row_of(connection, experiment_id).number)


def _changed(connection: Connection, experiment_id: str, values: Mapping[str, Any]) -> Experiment:
    connection.execute(update(table).where(table.c.id == experiment_id).values(**values))
    return _experiment(row_of(connection, experiment_id))


def _claimed(connection: Connection, old: Experiment, owner: Owner, now: datetime) -> Experiment:
    values = {
        "status": Status.RUNNING,
        "reason": "",
        "started_at": old.started_at or now,
        "heartbeat_at": now,
        "host": owner.host,
        "pid": owner.pid,
        "process_started": owner.started,
    }
    return _changed(connection, old.id, values)


def _new_id(connection: Connection, name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG].strip("-") or "experiment"
    while True:
        experiment_id = f"{slug}-{secrets.token_hex(_ID_BYTES)}"
        taken = select(table.c.number).where(table.c.id == experiment_id)
        if connection.execute(taken).first() is None:
            return experiment_id


def _created(connection: Connection, values: Mapping[str, Any]) -> Experiment:
    experiment_id = _new_id(connection, values["name"])
    if insert_new(connection, table, [{"id": experiment_id, **values}]):
        return _experiment(row_of(connection, experiment_id))
    return _same(connection, values)


def _same(connection: Connection, values: Mapping[str, Any]) -> Experiment:
    row = connection.execute(select(table).where(table.c.key == values["key"])).one_or_none()
    if row is None:  # another experiment got the same id in this moment
        raise ConflictError("the new experiment's id was taken just now: ask again")
    found, spec = _experiment(row), json.loads(json.dumps(values["spec"]))
    if (found.name, found.spec, found.seed) != (values["name"], spec, values["seed"]):
        raise ConflictError(
            f"the idempotency key {values['key']!r} was used for {found.id!r}, which has another name, "
            "spec or seed: use a new key for a new experiment"
        )
    return found


def _progress_columns(progress: Progress | None) -> dict[str, Any]:
    if progress is None:
        return {}
    return dict(zip(_NO_PROGRESS, (progress.label, progress.done, progress.total), strict=True))


def _check_tables(connection: Connection, table_ids: Mapping[str, str]) -> None:
    known = set(connection.execute(select(device_tables.c.id)).scalars()) if table_ids else set()
    for name, table_id in table_ids.items():
        if table_id not in known:
            raise ConflictError(f"table {table_id!r} of device {name!r} is not stored, so nothing was stored")


def _why_not(experiment: Experiment) -> str:
    if experiment.forgotten:
        return (
            f"experiment {experiment.id!r} can not be resumed, as {experiment.forgotten} of its candidates were "
            "forgotten: launch a new one"
        )
    start = f"experiment {experiment.id!r} is {experiment.status}"
    if experiment.status.is_held:
        return f"{start} and held by {experiment.owner}: wait for it"
    if experiment.status is Status.COMPLETED:
        return f"{start}: launch a new one"
    return f"{start} and not QUEUED: resume it to queue it again"


def _experiment(row: Row[Any]) -> Experiment:
    owner = None if row.host is None else Owner(row.host, row.pid, row.process_started)
    told = (row.progress_label, row.progress_done, row.progress_total)
    progress = None if row.progress_label is None else Progress(*told)
    return Experiment(
        id=row.id,
        name=row.name,
        spec=row.spec,
        seed=row.seed,
        status=Status(row.status),
        stage=row.stage,
        reason=row.reason,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        heartbeat_at=row.heartbeat_at,
        owner=owner,
        supernet_id=row.supernet_id,
        predictor_id=row.predictor_id,
        table_id=row.table_id,
        table_ids=row.table_ids or {},
        key=row.key,
        progress=progress,
        forgotten=row.forgotten,
    )
