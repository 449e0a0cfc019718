"""First tables.

Frozen: later changes are later revisions. Nothing is imported from the schema, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    _supernets_and_tables()
    _experiments()
    _search()
    _results()


def _supernets_and_tables() -> None:
    op.create_table(
        "supernets",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("space_hash", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("data_hash", sa.Text, nullable=False),
        sa.Column("training", sa.JSON, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_supernets"),
    )
    op.create_table(
        "predictors",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("supernet_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_predictors"),
        sa.ForeignKeyConstraint(
            ["supernet_id"], ["supernets.id"], name="fk_predictors_supernet_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_predictors_supernet_id", "predictors", ["supernet_id"])
    op.create_table(
        "device_tables",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("space_hash", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_device_tables"),
    )
    op.create_index("ix_device_tables_device", "device_tables", ["device"])


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("heartbeat_at", sa.Double),
        sa.Column("host", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("process_started", sa.Text),
        sa.Column("supernet_id", sa.Text),
        sa.Column("predictor_id", sa.Text),
        sa.Column("table_id", sa.Text),
        sa.PrimaryKeyConstraint("number", name="pk_experiments"),
        sa.UniqueConstraint("id", name="uq_experiments_id"),
        sa.ForeignKeyConstraint(
            ["supernet_id"], ["supernets.id"], name="fk_experiments_supernet_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["predictor_id"], ["predictors.id"], name="fk_experiments_predictor_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["table_id"], ["device_tables.id"], name="fk_experiments_table_id", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_experiments_status", "experiments", ["status"])


def _search() -> None:
    op.create_table(
        "generations",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("evaluations", sa.BigInteger, nullable=False),
        sa.Column("hypervolume", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("experiment_number", "index", name="pk_generations"),
        _of_experiment("generations"),
    )
    op.create_table(
        "search_states",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("generation_index", sa.Integer, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("experiment_number", name="pk_search_states"),
        _of_experiment("search_states"),
    )
    metrics = ("top1", "latency_ms", "energy_mj", "size_bytes", "peak_memory_bytes", "macs", "bitops")
    op.create_table(
        "candidates",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("generation_index", sa.Integer, nullable=False),
        sa.Column("genome", sa.LargeBinary, nullable=False),
        *(sa.Column(metric, sa.Double) for metric in metrics),
        sa.Column("on_front", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("experiment_number", "number", name="pk_candidates"),
        sa.UniqueConstraint("experiment_number", "genome", name="uq_candidates_experiment_number_genome"),
        _of_experiment("candidates"),
    )
    op.create_index(
        "ix_candidates_on_front",
        "candidates",
        ["experiment_number", "number"],
        sqlite_where=sa.text("on_front = 1"),
        postgresql_where=sa.text("on_front"),
    )


def _results() -> None:
    op.create_table(
        "trials",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("supernet_id", sa.Text, nullable=False),
        sa.Column("genome", sa.LargeBinary, nullable=False),
        sa.Column("split", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("top1", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_trials"),
        sa.UniqueConstraint("supernet_id", "split", "genome", name="uq_trials_supernet_id_split_genome"),
        sa.CheckConstraint("top1 BETWEEN 0 AND 1", name=op.f("ck_trials_fraction")),
        sa.ForeignKeyConstraint(
            ["supernet_id"], ["supernets.id"], name="fk_trials_supernet_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "front_members",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("candidate_number", sa.Integer, nullable=False),
        sa.Column("top1_validation", sa.Double),
        sa.Column("top1_test", sa.Double),
        sa.Column("latency_ms", sa.Double),
        sa.Column("dominated", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("experiment_number", "candidate_number", name="pk_front_members"),
        _of_experiment("front_members"),
        _of_candidate("front_members"),
    )
    op.create_table(
        "exports",
        sa.Column("experiment_number", sa.Integer, nullable=False),
        sa.Column("candidate_number", sa.Integer, nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("top1_test", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("experiment_number", "candidate_number", "format", name="pk_exports"),
        _of_experiment("exports"),
        _of_candidate("exports"),
    )


def _of_experiment(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["experiment_number"],
        ["experiments.number"],
        name=f"fk_{table}_experiment_number",
        ondelete="CASCADE",
    )


def _of_candidate(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["experiment_number", "candidate_number"],
        ["candidates.experiment_number", "candidates.number"],
        name=f"fk_{table}_experiment_number_candidate_number",
        ondelete="CASCADE",
    )
