"""How many objects there are of each resource in each namespace, counted by the database itself whoever writes them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "20261126_populations"
down_revision = "20261123_first_tables"
branch_labels = None
depends_on = None

COUNT = """
INSERT INTO populations AS p (resource, namespace, count, stamp)
SELECT resource, namespace, sum(n), 1 FROM ({changed}) AS changed GROUP BY resource, namespace
ORDER BY resource, namespace
ON CONFLICT (resource, namespace) DO UPDATE SET count = p.count + excluded.count, stamp = p.stamp + 1;
"""
CAME = "SELECT resource, namespace, 1 AS n FROM came"
WENT = "SELECT resource, namespace, -1 AS n FROM went"

FUNCTION = f"""
CREATE FUNCTION count_population() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        {COUNT.format(changed=CAME)}
    ELSIF TG_OP = 'DELETE' THEN
        {COUNT.format(changed=WENT)}
    ELSIF TG_OP = 'UPDATE' THEN
        {COUNT.format(changed=f"{CAME} UNION ALL {WENT}")}
    ELSE
        UPDATE populations SET count = 0, stamp = stamp + 1;
    END IF;
    RETURN NULL;
END $$
"""

TRIGGERS = {
    "INSERT": "REFERENCING NEW TABLE AS came",
    "UPDATE": "REFERENCING NEW TABLE AS came OLD TABLE AS went",
    "DELETE": "REFERENCING OLD TABLE AS went",
    "TRUNCATE": "",
}


def upgrade() -> None:
    op.create_table(
        "populations",
        sa.Column("resource", sa.Text(collation="C"), nullable=False),
        sa.Column("namespace", sa.Text(collation="C"), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "namespace"),
        comment="How many objects there are. The stamp grows with every change of one. Kept by triggers of objects.",
        postgresql_with={"fillfactor": "10"},
    )
    op.execute(FUNCTION)
    for event, tables in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER population_{event.lower()} AFTER {event} ON objects {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_population()"
        )
    op.execute(
        "INSERT INTO populations SELECT resource, namespace, count(*), 1 FROM objects GROUP BY resource, namespace"
    )


def downgrade() -> None:
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER population_{event.lower()} ON objects")
    op.execute("DROP FUNCTION count_population()")
    op.drop_table("populations")
