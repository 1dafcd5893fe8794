"""The tables, in SQLAlchemy Core. migrations_db/ migrates to exactly these."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

metadata = MetaData()


def _word(name: str, *, primary_key: bool = False) -> Column[str]:
    """Text in byte order, whatever the database's locale: pages and ranges are in key order."""
    return Column(name, Text(collation="C"), nullable=False, primary_key=primary_key)


def _now() -> DateTime:
    return DateTime(timezone=True)


objects = Table(
    "objects",
    metadata,
    _word("resource", primary_key=True),
    _word("namespace", primary_key=True),
    _word("name", primary_key=True),
    Column("uid", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    comment="The newest version of every object. body is JSON, and keeps its bytes.",
)

populations = Table(
    "populations",
    metadata,
    _word("resource", primary_key=True),
    _word("namespace", primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    comment="How many objects there are. The stamp grows with every change of one. Kept by triggers of objects.",
    postgresql_with={"fillfactor": "10"},
)

changes = Table(
    "changes",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    _word("resource"),
    _word("namespace"),
    _word("name"),
    Column("body", LargeBinary, nullable=False),
    Column("previous_revision", BigInteger),
    Column("previous_body", LargeBinary),
    Column("at", _now(), nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint("type IN ('ADDED', 'MODIFIED', 'DELETED')", name="changes_type"),
    CheckConstraint("(type = 'ADDED') = (previous_body IS NULL)", name="changes_previous"),
    comment="Every change, in commit order. Older entries are compacted; log_floor says up to where.",
)

counter = Table(
    "counter",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("one", name="counter_one_row"),
    comment="The newest revision. The first row that any writer locks, so that writers commit in revision order.",
    postgresql_with={"fillfactor": "10"},
)

log_floor = Table(
    "log_floor",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("one", name="log_floor_one_row"),
    comment="The newest revision whose change was compacted: what is read from the log starts here or later.",
)

store_identity = Table(
    "store_identity",
    metadata,
    Column("one", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    CheckConstraint("one", name="store_identity_one_row"),
    comment="Tells this store from others: it stands in the metadata of the guests that this store manages.",
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    _word("resource"),
    _word("namespace"),
    _word("name"),
    Column("migration_uid", Uuid, nullable=False),
    Column("domain", Uuid, nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("plan", LargeBinary, nullable=False),
    Column("memory", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("lease_until", _now()),
    Column("former_lease_until", _now()),
    Column("cancelled", Boolean, nullable=False),
    Column("exit_code", Integer),
    Column("result", LargeBinary, nullable=False),
    Column("finished_at", _now()),
    CheckConstraint("state IN ('waiting', 'held', 'finished')", name="runs_state"),
    CheckConstraint("(state = 'finished') = (exit_code IS NOT NULL)", name="runs_exit_code"),
    comment="Attempts of migrations, and the queue of the workers. An unfinished one holds a slot.",
)
Index("runs_attempt", runs.c.migration_uid, runs.c.attempt, unique=True)
Index("runs_unfinished", runs.c.seq, postgresql_where=text("state <> 'finished'"))
Index("runs_failed", runs.c.finished_at, postgresql_where=text("exit_code <> 0"))
Index("runs_one_of_a_domain", runs.c.domain, unique=True, postgresql_where=text("state <> 'finished'"))

leases = Table(
    "leases",
    metadata,
    _word("name", primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("until", _now(), nullable=False),
    Column("former_until", _now()),
    comment="Who may act for something that has one owner. The token grows when the holder changes.",
)

log_lines = Table(
    "log_lines",
    metadata,
    Column("pod", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _now(), nullable=False),
    Column("text", Text, nullable=False),
    comment="What the processes of pods said.",
)

history = Table(
    "history",
    metadata,
    Column("uid", Uuid, primary_key=True),
    _word("namespace"),
    _word("name"),
    _word("subject"),
    Column("outcome", Text, nullable=False),
    Column("ended_at", _now(), nullable=False, server_default=text("clock_timestamp()")),
    Column("record", LargeBinary, nullable=False),
    comment="What is over, kept longer than its objects. record is JSON.",
)
Index("history_ended", history.c.ended_at)
Index("history_subject", history.c.namespace, history.c.subject, history.c.ended_at)

requests = Table(
    "requests",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("audit_id", Text, nullable=False),
    Column("object_uid", Text, nullable=False),
    Column("at", _now(), nullable=False),
    Column("verb", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("code", Integer, nullable=False),
    comment="Who asked for what the history tells of. groups is JSON.",
)
Index("requests_object", requests.c.object_uid)
Index("requests_at", requests.c.at)

works_with = Table(
    "works_with",
    metadata,
    Column("head", Text, primary_key=True),
    comment="Schema revisions whose programs can work with this schema: its own, and those of the release before.",
)
