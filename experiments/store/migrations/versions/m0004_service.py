"""What the service needs: idempotency keys, progress, retention, tokens, and an order that no clock decides.

Frozen: later changes are later revisions.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from math import nan
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to experiments, number predictors and device_tables, create tokens and metrics by column."""
    _experiments()
    if op.get_bind().dialect.name == "sqlite":
        _order_candidates()
    else:
        op.drop_constraint("uq_candidates_experiment_number_genome", "candidates")
    _metric_blocks()
    for table in ("predictors", "device_tables"):
        _number(table)
    op.create_table(
        "tokens",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("last_used_at", sa.Double),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("number", name="pk_tokens"),
        sa.UniqueConstraint("name", name="uq_tokens_name"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )


def _experiments() -> None:
    op.add_column("experiments", sa.Column("key", sa.Text))
    op.add_column("experiments", sa.Column("progress_label", sa.Text))
    op.add_column("experiments", sa.Column("progress_done", sa.BigInteger))
    op.add_column("experiments", sa.Column("progress_total", sa.BigInteger))
    op.add_column("experiments", sa.Column("forgotten", sa.Integer, nullable=False, server_default="0"))
    op.create_index("uq_experiments_key", "experiments", ["key"], unique=True)


def _number(table: str) -> None:
    op.add_column(table, sa.Column("number", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE {table} SET number = (SELECT count(*) FROM {table} AS older WHERE older.created_at < "
        f"{table}.created_at OR (older.created_at = {table}.created_at AND older.id <= {table}.id))"
    )


def _order_candidates() -> None:
    """Store SQLite's candidates in the order of their key."""
    # Dropping a table empties it first, which would empty those that refer to it: they step aside.
    for table in ("front_members", "exports"):
        op.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
        op.drop_table(table)
    op.drop_index("ix_candidates_on_front", "candidates")
    op.rename_table("candidates", "kept_candidates")
    for table, statement in _SQLITE_TABLES.items():
        op.execute(statement)
        op.execute(f"INSERT INTO {table} SELECT {_COLUMNS[table]} FROM kept_{table} ORDER BY 1, 2")
        op.drop_table(f"kept_{table}")
    op.execute("CREATE INDEX ix_candidates_on_front ON candidates (experiment_number, number) WHERE on_front = 1")


def _metric_blocks() -> None:
    op.create_table(
        "metric_blocks",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("experiment_number", "metric", "first", name="pk_metric_blocks"),
        sa.ForeignKeyConstraint(
            ["experiment_number"],
            ["experiments.number"],
            name="fk_metric_blocks_experiment_number",
            ondelete="CASCADE",
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Numbers do not get smaller by packing, and elsewhere than in the row they are read slowly.
        op.execute("ALTER TABLE metric_blocks ALTER COLUMN packed SET STORAGE PLAIN")
        op.execute("ALTER TABLE search_states ALTER COLUMN state SET STORAGE EXTERNAL")  # it is packed already
    connection = op.get_bind()
    for (number,) in connection.execute(sa.text("SELECT number FROM experiments")).all():
        _fill_blocks(connection, number)


def _fill_blocks(connection: sa.Connection, experiment: int) -> None:
    names = ", ".join(_METRICS)
    query = sa.text(
        f"SELECT number, genome, by_device, {names} FROM candidates WHERE experiment_number = :experiment "
        "AND number > :last ORDER BY number LIMIT 480"
    )
    statement = sa.text("INSERT INTO metric_blocks VALUES (:experiment, :metric, :first, :packed)")
    last = -1
    while rows := connection.execute(query, {"experiment": experiment, "last": last}).all():
        for metric, packed in _packed(rows).items():
            values = {"experiment": experiment, "metric": metric, "first": rows[0].number, "packed": packed}
            connection.execute(statement, values)
        last = rows[-1].number


def _packed(rows: Sequence[sa.Row[Any]]) -> dict[str, bytes]:
    devices = [json.loads(one) if isinstance(one, str) else one or {} for one in (row.by_device for row in rows)]
    columns = {name: [getattr(row, name) for row in rows] for name in _METRICS}
    columns |= {name: [one.get(name) for one in devices] for name in sorted(set().union(*devices))}
    return {
        "number": struct.pack(f"<{len(rows)}q", *(row.number for row in rows)),
        "digest": b"".join(hashlib.sha256(row.genome).digest()[:8] for row in rows),
        **{
            metric: struct.pack(f"<{len(rows)}d", *(nan if value is None else value for value in values))
            for metric, values in columns.items()
            if any(value is not None for value in values)
        },
    }


_METRICS = ("top1", "latency_ms", "energy_mj", "size_bytes", "peak_memory_bytes", "macs", "bitops")
_COLUMNS = {
    "candidates": "experiment_number, number, generation_index, genome, top1, latency_ms, energy_mj, "
    "size_bytes, peak_memory_bytes, macs, bitops, on_front, error, by_device",
    "front_members": "experiment_number, candidate_number, top1_validation, top1_test, latency_ms, dominated, "
    "error, by_device",
    "exports": "experiment_number, candidate_number, format, path, sha256, top1_test, created_at, device",
}
_OF_EXPERIMENT = """FOREIGN KEY(experiment_number) REFERENCES experiments (number) ON DELETE CASCADE"""
_OF_CANDIDATE = """FOREIGN KEY(experiment_number, candidate_number)
    REFERENCES candidates (experiment_number, number) ON DELETE CASCADE"""
_SQLITE_TABLES = {
    "candidates": f"""
CREATE TABLE candidates (
    experiment_number INTEGER NOT NULL,
    number INTEGER NOT NULL,
    generation_index INTEGER NOT NULL,
    genome BLOB NOT NULL,
    top1 DOUBLE,
    latency_ms DOUBLE,
    energy_mj DOUBLE,
    size_bytes DOUBLE,
    peak_memory_bytes DOUBLE,
    macs DOUBLE,
    bitops DOUBLE,
    on_front BOOLEAN NOT NULL,
    error TEXT,
    by_device JSON,
    CONSTRAINT pk_candidates PRIMARY KEY (experiment_number, number),
    CONSTRAINT fk_candidates_experiment_number {_OF_EXPERIMENT}
) WITHOUT ROWID""",
    "front_members": f"""
CREATE TABLE front_members (
    experiment_number INTEGER NOT NULL,
    candidate_number INTEGER NOT NULL,
    top1_validation DOUBLE,
    top1_test DOUBLE,
    latency_ms DOUBLE,
    dominated BOOLEAN NOT NULL,
    error TEXT,
    by_device JSON,
    CONSTRAINT pk_front_members PRIMARY KEY (experiment_number, candidate_number),
    CONSTRAINT fk_front_members_experiment_number {_OF_EXPERIMENT},
    CONSTRAINT fk_front_members_experiment_number_candidate_number {_OF_CANDIDATE}
)""",
    "exports": f"""
CREATE TABLE exports (
    experiment_number INTEGER NOT NULL,
    candidate_number INTEGER NOT NULL,
    format TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    top1_test DOUBLE,
    created_at DOUBLE NOT NULL,
    device TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_exports PRIMARY KEY (experiment_number, candidate_number, format, device),
    CONSTRAINT fk_exports_experiment_number {_OF_EXPERIMENT},
    CONSTRAINT fk_exports_experiment_number_candidate_number {_OF_CANDIDATE}
)""",
}
