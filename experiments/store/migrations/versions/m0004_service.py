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
