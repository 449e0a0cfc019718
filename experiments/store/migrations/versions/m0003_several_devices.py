"""What experiments with several devices keep of each: cost tables, metrics named METRIC@DEVICE, and exports.

Frozen: later changes are later revisions.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add experiments.table_ids, candidates.by_device, front_members.by_device and, to its key, exports.device."""
    op.add_column("experiments", sa.Column("table_ids", sa.JSON))
    op.add_column("candidates", sa.Column("by_device", sa.JSON))
    op.add_column("front_members", sa.Column("by_device", sa.JSON))
    with op.batch_alter_table("exports") as exports:
        exports.add_column(sa.Column("device", sa.Text, nullable=False, server_default=""))
        exports.drop_constraint("pk_exports", type_="primary")
        exports.create_primary_key("pk_exports", ["experiment_number", "candidate_number", "format", "device"])
