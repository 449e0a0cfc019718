"""Running a store in SQL: tokens, counts, retention, upkeep, backup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, select, text, update

from bitfront.experiments.store.backups import write_backup
from bitfront.experiments.store.engine import outside_transactions, reading, writing
from bitfront.experiments.store.errors import ConflictError, StatusError
from bitfront.experiments.store.inserting import insert_new
from bitfront.experiments.store.metric_blocks import count_in_blocks, forget_in_blocks
from bitfront.experiments.store.retry import repeatable, repeatable_if_undone
from bitfront.experiments.store.schema import (
    candidates,
    device_tables,
    experiments,
    exports,
    front_members,
    generations,
    predictors,
    supernets,
    tokens,
    trials,
)
from bitfront.experiments.store.service_records import Counts, Token
from bitfront.experiments.store.sql_experiments import row_of
from bitfront.experiments.store.statuses import Status
from bitfront.supernet.errors import UnknownNameError

_AT_ONCE = 20_000  # candidates that go in one transaction: about a quarter of a second
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DELETING = "it is being deleted"
_MINUTE = timedelta(minutes=1)
_COUNTED = {
    "generations": generations,
    "front_members": front_members,
    "exports": exports,
    "trials": trials,
    "supernets": supernets,
    "predictors": predictors,
    "tables": device_tables,
}


class OperationsSql:
    """The part of a store that is about running it."""

    _engine: Engine
    _patience: float
    _clock: Callable[[], datetime]

    def ping(self) -> None:
        """See `Operations.ping`."""
        with reading(self._engine) as connection:
            connection.execute(text("SELECT version_num FROM alembic_version"))  # reads the file too

    @repeatable_if_undone
    def add_token(
        self, name: str, scopes: Sequence[str], sha256: str, expires_at: datetime | None = None
    ) -> Token:
        """See `Operations.add_token`."""
        if not name or not scopes:
            raise ValueError("a token needs a name and at least one scope")
        if _SHA256.fullmatch(sha256) is None:
            raise ValueError("a token is stored by its SHA-256: 64 lower-case hexadecimal digits")
        made = Token(name, tuple(scopes), sha256, self._clock(), None, expires_at)
        row = {
            "name": name,
            "scopes": list(scopes),
            "sha256": sha256,
            "created_at": made.created_at,
            "expires_at": expires_at,
        }
        with writing(self._engine) as connection:
            if not insert_new(connection, tokens, [row]):
                raise ConflictError(f"there is a token {name!r} already, or one with the same secret: use another")
        return made

    @repeatable
    def token_by_hash(self, sha256: str) -> Token | None:
        """See `Operations.token_by_hash`."""
        with reading(self._engine) as connection:
            row = connection.execute(select(tokens).where(tokens.c.sha256 == sha256)).one_or_none()
        return None if row is None else _token(row)

    @repeatable
    def touch_token(self, name: str) -> None:
        """See `Operations.touch_token`."""
        now = self._clock()
        with reading(self._engine) as connection:
            last = connection.execute(select(tokens.c.last_used_at).where(tokens.c.name == name)).scalar()
        if last is None or abs(now - last) >= _MINUTE:
            with writing(self._engine) as connection:
                connection.execute(update(tokens).where(tokens.c.name == name).values(last_used_at=now))

    @repeatable
    def tokens(self) -> tuple[Token, ...]:
        """See `Operations.tokens`."""
        with reading(self._engine) as connection:
            return tuple(map(_token, connection.execute(select(tokens).order_by(tokens.c.number))))

    @repeatable
    def revoke_token(self, name: str) -> Token:
        """See `Operations.revoke_token`."""
        mine = tokens.c.name == name
        with writing(self._engine) as connection:
            if connection.execute(select(tokens.c.number).where(mine)).first() is None:
                raise UnknownNameError("token", name, connection.execute(select(tokens.c.name)).scalars())
            values = {"revoked_at": func.coalesce(tokens.c.revoked_at, self._clock().timestamp())}
            connection.execute(update(tokens).where(mine).values(**values))
            return _token(connection.execute(select(tokens).where(mine)).one())

    @repeatable
    def counts(self) -> Counts:
        """See `Operations.counts`."""
        by_status = select(experiments.c.status, func.count()).group_by(experiments.c.status)
        with reading(self._engine) as connection:
            found = {Status(status): n for status, n in connection.execute(by_status)}
            sizes = {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in _COUNTED.items()
            }
            sizes["candidates"] = count_in_blocks(connection)
        return Counts({status: found.get(status, 0) for status in Status}, **sizes)

    @repeatable_if_undone
    def delete_experiment(self, experiment_id: str, expected: Status | None = None) -> None:
        """See `Operations.delete_experiment`."""
        with writing(self._engine) as connection:
            status = self._dequeued(
                connection, _as_expected(row_of(connection, experiment_id, lock=True), expected)
            )
        sum(self._removed(experiment_id, [], status))
        with writing(self._engine) as connection:
            _as_expected(row_of(connection, experiment_id, lock=True), status)
            connection.execute(delete(experiments).where(experiments.c.id == experiment_id))

    def forget_candidates(
        self, experiment_id: str, keep_front: bool = True, expected: Status | None = None
    ) -> int:
        """See `Operations.forget_candidates`."""
        # Asked again, a part that was forgotten is not found; what the store counts knows of it.
        before = self._forgotten(experiment_id)
        self._forget(experiment_id, _not_needed(keep_front), expected)
        return self._forgotten(experiment_id) - before

    def upkeep(self) -> None:
        """See `Operations.upkeep`."""
        outside_transactions(self._engine, "VACUUM", "ANALYZE")

    def backup(self, path: Path) -> None:
        """See `Operations.backup`."""
        write_backup(self._engine, path)

    @repeatable
    def _forget(self, experiment_id: str, which: Sequence[ColumnElement[bool]], expected: Status | None) -> None:
        with reading(self._engine) as connection:
            status = _over(_as_expected(row_of(connection, experiment_id), expected))
        sum(self._removed(experiment_id, which, status))

    @repeatable
    def _forgotten(self, experiment_id: str) -> int:
        with reading(self._engine) as connection:
            return int(row_of(connection, experiment_id).forgotten)

    def _dequeued(self, connection: Connection, row: Row[Any]) -> Status:
        """The status in which an experiment is removed: one that somebody may claim any moment is made another."""
        status = _not_held(row)
        if status is not Status.QUEUED:
            return status
        values = {"status": Status.CANCELLED, "reason": _DELETING, "finished_at": self._clock()}
        connection.execute(update(experiments).where(experiments.c.id == row.id).values(**values))
        return Status.CANCELLED

    def _removed(self, experiment_id: str, which: Sequence[ColumnElement[bool]], status: Status) -> Iterator[int]:
        """Remove candidates some at a time, as long as the experiment has this status; how many each time."""
        with reading(self._engine) as connection:
            number = row_of(connection, experiment_id).number
            mine = candidates.c.experiment_number == number
            newest = connection.execute(select(func.max(candidates.c.number)).where(mine)).scalar()
        for start in range(0, 0 if newest is None else newest + 1, _AT_ONCE):
            part = candidates.c.number.between(start, start + _AT_ONCE - 1)
            with writing(self._engine) as connection:
                _as_expected(row_of(connection, experiment_id, lock=True), status)
                n = connection.execute(delete(candidates).where(mine, part, *which)).rowcount
                if n:
                    forget_in_blocks(connection, number, start, start + _AT_ONCE - 1)
                    _count_forgotten(connection, experiment_id, n)
            yield n


def _count_forgotten(connection: Connection, experiment_id: str, n: int) -> None:
    more = {"forgotten": experiments.c.forgotten + n}
    connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(**more))


def _not_needed(keep_front: bool) -> list[ColumnElement[bool]]:
    """Candidates that neither the measured front nor an export needs, nor the predicted front where it is kept."""
    needed = [
        select(table.c.candidate_number)
        .where(
            table.c.experiment_number == candidates.c.experiment_number,
            table.c.candidate_number == candidates.c.number,
        )
        .exists()
        for table in (front_members, exports)
    ]
    return [~one for one in needed] + ([candidates.c.on_front.is_(False)] if keep_front else [])


def _as_expected(row: Row[Any], expected: Status | None) -> Row[Any]:
    if expected not in (None, Status(row.status)):
        raise StatusError(
            f"experiment {row.id!r} is {row.status} and not {expected} any more: look at it, and ask again"
        )
    return row


def _not_held(row: Row[Any]) -> Status:
    status = Status(row.status)
    if status.is_held:
        raise StatusError(f"experiment {row.id!r} is {status}: cancel it and wait until it has ended")
    return status


def _over(row: Row[Any]) -> Status:
    status = Status(row.status)
    if not status.is_over:
        raise StatusError(f"experiment {row.id!r} is {status}: it needs its candidates until it is over")
    return status


def _token(row: Row[Any]) -> Token:
    return Token(
        row.name,
        tuple(row.scopes),
        row.sha256,
        row.created_at,
        row.last_used_at,
        row.expires_at,
        row.revoked_at,
    )
