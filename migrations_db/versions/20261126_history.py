"""What is over is remembered longer than its objects, and who asked for it. Code of the release before writes none of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261126_history"
down_revision = "20261126_when_runs_finished"
branch_labels = None
depends_on = None

WORKS_WITH = ("20261126_when_runs_finished",)
"""Programs of these heads work with this schema too: they only do not write the new tables."""


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("uid", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("subject", sa.Text(collation="C"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        comment="What is over, kept longer than its objects. record is JSON.",
    )
    op.create_index("history_ended", "history", ["ended_at"])
    op.create_index("history_subject", "history", ["namespace", "subject", "ended_at"])
    op.create_table(
        "requests",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("audit_id", sa.Text(), nullable=False),
        sa.Column("object_uid", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("groups", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        comment="Who asked for what the history tells of. groups is JSON.",
    )
    op.create_index("requests_object", "requests", ["object_uid"])
    op.create_index("requests_at", "requests", ["at"])
    op.create_table(
        "works_with",
        sa.Column("head", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("head"),
        comment="Schema revisions whose programs can work with this schema: its own, and those of the release before.",
    )


def downgrade() -> None:
    op.drop_table("works_with")
    op.drop_table("requests")
    op.drop_table("history")
