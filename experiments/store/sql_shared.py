"""Trials, supernets, predictors, cost tables and exports in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, Row, Select, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from bitfront.experiments.store.engine import reading, writing
from bitfront.experiments.store.inserting import insert_new
from bitfront.experiments.store.owner import Owner
from bitfront.experiments.store.records import (
    ExportRecord,
    PredictorRecord,
    Split,
    SupernetRecord,
    TableRecord,
    TrialKind,
    Trials,
)
from bitfront.experiments.store.retry import repeatable
from bitfront.experiments.store.schema import device_tables, exports, predictors, supernets
from bitfront.experiments.store.schema import trials as trials_table
from bitfront.experiments.store.sql_experiments import held_number, number_of


class SharedSql:
    """The part of a store that is about what experiments share and what they give away."""

    _engine: Engine
    _patience: float
    _clock: Callable[[], datetime]

    @repeatable
    def add_trials(self, supernet_id: str, split: Split, kind: TrialKind, trials: Trials) -> int:
        """See `Store.add_trials`."""
        common = {"supernet_id": supernet_id, "split": split, "kind": kind, "created_at": self._clock()}
        measured = zip(trials.genomes, trials.top1.tolist(), trials.seconds.tolist(), strict=True)
        rows = [
            {**common, "genome": genome.tobytes(), "top1": top1, "seconds": seconds}
            for genome, top1, seconds in measured
        ]
        with writing(self._engine) as connection:
            return insert_new(connection, trials_table, rows)

    @repeatable
    def trials(self, supernet_id: str, split: Split, kind: TrialKind | None = None) -> Trials:
        """See `Store.trials`."""
        t = trials_table.c
        query = select(t.genome, t.top1, t.seconds).where(t.supernet_id == supernet_id, t.split == split)
        if kind is not None:
            query = query.where(t.kind == kind)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(t.number)).all()
        genomes = np.frombuffer(b"".join(row.genome for row in rows), dtype=np.uint8)
        return Trials(
            genomes.reshape(len(rows), len(rows[0].genome) if rows else 0),
            np.array([row.top1 for row in rows], dtype=np.float64),
            np.array([row.seconds for row in rows], dtype=np.float64),
        )

    @repeatable
    def put_supernet(self, record: SupernetRecord) -> None:
        """See `Store.put_supernet`."""
        with writing(self._engine) as connection:
            _put(connection, supernets, {"id": record.id}, asdict(record))

    @repeatable
    def supernet(self, supernet_id: str) -> SupernetRecord | None:
        """See `Store.supernet`."""
        row = self._one(supernets, supernet_id)
        return None if row is None else SupernetRecord(**row._mapping)

    @repeatable
    def put_predictor(self, record: PredictorRecord) -> None:
        """See `Store.put_predictor`."""
        with writing(self._engine) as connection:
            _put(connection, predictors, {"id": record.id}, asdict(record))

    @repeatable
    def predictor(self, predictor_id: str) -> PredictorRecord | None:
        """See `Store.predictor`."""
        row = self._one(predictors, predictor_id)
        return None if row is None else PredictorRecord(**_fields(row))

    @repeatable
    def predictors(self, supernet_id: str | None = None) -> tuple[PredictorRecord, ...]:
        """See `Store.predictors`."""
        query = _listed(predictors)
        if supernet_id is not None:
            query = query.where(predictors.c.supernet_id == supernet_id)
        with reading(self._engine) as connection:
            return tuple(PredictorRecord(**_fields(row)) for row in connection.execute(query))

    @repeatable
    def put_table(self, record: TableRecord) -> None:
        """See `Store.put_table`."""
        with writing(self._engine) as connection:
            _put(connection, device_tables, {"id": record.id}, asdict(record))

    @repeatable
    def table(self, table_id: str) -> TableRecord | None:
        """See `Store.table`."""
        row = self._one(device_tables, table_id)
        return None if row is None else TableRecord(**_fields(row))

    @repeatable
    def tables(self, device: str | None = None) -> tuple[TableRecord, ...]:
        """See `Store.tables`."""
        query = _listed(device_tables)
        if device is not None:
            query = query.where(device_tables.c.device == device)
        with reading(self._engine) as connection:
            return tuple(TableRecord(**_fields(row)) for row in connection.execute(query))

    @repeatable
    def put_export(self, experiment_id: str, record: ExportRecord, owner: Owner | None = None) -> None:
        """See `Store.put_export`."""
        values = asdict(record)
        with writing(self._engine) as connection:
            key = {
                "experiment_number": held_number(connection, experiment_id, owner),
                "candidate_number": values.pop("candidate_id"),
                "format": values.pop("format"),
                "device": values.pop("device"),
            }
            _put(connection, exports, key, values, kept=())

    @repeatable
    def exports(self, experiment_id: str) -> tuple[ExportRecord, ...]:
        """See `Store.exports`."""
        with reading(self._engine) as connection:
            query = select(exports).where(exports.c.experiment_number == number_of(connection, experiment_id))
            order = (exports.c.candidate_number, exports.c.format, exports.c.device)
            rows = connection.execute(query.order_by(*order)).all()
        return tuple(
            ExportRecord(
                row.candidate_number, row.format, row.path, row.sha256, row.top1_test, row.created_at, row.device
            )
            for row in rows
        )

    def _one(self, table: Table, key: str) -> Row[Any] | None:
        with reading(self._engine) as connection:
            return connection.execute(select(table).where(table.c.id == key)).one_or_none()


def _put(
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    kept: Collection[str] = ("created_at",),
) -> None:
    """Insert a row, or, where there is one with this key, update all of that but what is ``kept``."""
    order = {"number": _next(table)} if "number" in table.c else {}
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    changed = {name: made.excluded[name] for name in values if name not in {*key, *kept}}
    whole = made.values(**{**values, **key, **order})
    connection.execute(whole.on_conflict_do_update(index_elements=list(key), set_=changed))


def _next(table: Table) -> Any:
    return select(func.coalesce(func.max(table.c.number), 0) + 1).scalar_subquery()


def _listed(table: Table) -> Select[Any]:
    # Two that came at once may have one number.
    return select(table).order_by(table.c.number, table.c.id)


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name != "number"}
