"""When a run finished, for what is judged by recent failures. Code of the release before leaves it null: not counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261126_when_runs_finished"
down_revision = "20261126_populations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("runs_failed", "runs", ["finished_at"], postgresql_where=sa.text("exit_code <> 0"))


def downgrade() -> None:
    op.drop_index("runs_failed", table_name="runs")
    op.drop_column("runs", "finished_at")
