"""What experiments with several devices keep of each: cost tables, and metrics named METRIC@DEVICE.

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
    """Add experiments.table_ids, candidates.by_device and front_members.by_device."""
    op.add_column("experiments", sa.Column("table_ids", sa.JSON))
    op.add_column("candidates", sa.Column("by_device", sa.JSON))
    op.add_column("front_members", sa.Column("by_device", sa.JSON))
