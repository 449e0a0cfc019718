"""Why a candidate of a search over true evaluations has no metrics.

Frozen: later changes are later revisions.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add candidates.error."""
    op.add_column("candidates", sa.Column("error", sa.Text))
