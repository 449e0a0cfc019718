"""What the service needs: idempotency keys, progress, retention, tokens, and an order that no clock decides.

Frozen: later changes are later revisions.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to experiments, number predictors and device_tables, create tokens and indexes to sort by."""
    _experiments()
    if op.get_bind().dialect.name == "sqlite":
        _order_candidates()
    _sorted_by_metrics()
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


def _sorted_by_metrics() -> None:
    others = ["energy_mj", "size_bytes", "peak_memory_bytes", "macs", "bitops"]
    key = ("experiment_number", "number")
    for metric, other in (("top1", "latency_ms"), ("latency_ms", "top1")):
        op.create_index(f"ix_candidates_{metric}", "candidates", [key[0], metric, key[1], other, *others])


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
    CONSTRAINT uq_candidates_experiment_number_genome UNIQUE (experiment_number, genome),
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
