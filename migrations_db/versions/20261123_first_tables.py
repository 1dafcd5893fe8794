"""Objects, their change log and its counter; runs, leases and the lines of pods."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261123_first_tables"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("namespace", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("previous_revision", sa.BigInteger(), nullable=True),
        sa.Column("previous_body", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("(type = 'ADDED') = (previous_body IS NULL)", name="changes_previous"),
        sa.CheckConstraint("type IN ('ADDED', 'MODIFIED', 'DELETED')", name="changes_type"),
        sa.PrimaryKeyConstraint("revision"),
        comment="Every change, in commit order. Older entries are compacted; log_floor says up to where.",
    )
    op.create_table(
        "counter",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one", name="counter_one_row"),
        sa.PrimaryKeyConstraint("one"),
        comment="The newest revision. The first row that any writer locks, so that writers commit in revision order.",
        postgresql_with={"fillfactor": "10"},
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("former_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
        comment="Who may act for something that has one owner. The token grows when the holder changes.",
    )
    op.create_table(
        "log_floor",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one", name="log_floor_one_row"),
        sa.PrimaryKeyConstraint("one"),
        comment="The newest revision whose change was compacted: what is read from the log starts here or later.",
    )
    op.create_table(
        "log_lines",
        sa.Column("pod", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pod", "seq"),
        comment="What the processes of pods said.",
    )
    op.create_table(
        "objects",
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("namespace", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "namespace", "name"),
        comment="The newest version of every object. body is JSON, and keeps its bytes.",
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("namespace", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("migration_uid", sa.Uuid(), nullable=False),
        sa.Column("domain", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("former_lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(state = 'finished') = (exit_code IS NOT NULL)", name="runs_exit_code"),
        sa.CheckConstraint("state IN ('waiting', 'held', 'finished')", name="runs_state"),
        sa.PrimaryKeyConstraint("id"),
        comment="Attempts of migrations, and the queue of the workers. An unfinished one holds a slot.",
    )
    op.create_index("runs_attempt", "runs", ["migration_uid", "attempt"], unique=True)
    op.create_index(
        "runs_one_of_a_domain", "runs", ["domain"], unique=True, postgresql_where=sa.text("state <> 'finished'")
    )
    op.create_index("runs_unfinished", "runs", ["seq"], unique=False, postgresql_where=sa.text("state <> 'finished'"))
    op.create_table(
        "store_identity",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.CheckConstraint("one", name="store_identity_one_row"),
        sa.PrimaryKeyConstraint("one"),
        comment="Tells this store from others: it stands in the metadata of the guests that this store manages.",
    )
    op.execute("INSERT INTO counter (revision) VALUES (0)")
    op.execute("INSERT INTO log_floor (revision) VALUES (0)")
    op.execute("INSERT INTO store_identity DEFAULT VALUES")


def downgrade() -> None:
    op.drop_table("store_identity")
    op.drop_index("runs_unfinished", table_name="runs", postgresql_where=sa.text("state <> 'finished'"))
    op.drop_index("runs_one_of_a_domain", table_name="runs", postgresql_where=sa.text("state <> 'finished'"))
    op.drop_index("runs_attempt", table_name="runs")
    op.drop_table("runs")
    op.drop_table("objects")
    op.drop_table("log_lines")
    op.drop_table("log_floor")
    op.drop_table("leases")
    op.drop_table("counter")
    op.drop_table("changes")
