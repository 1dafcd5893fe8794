"""Writing a group: take the counter, judge against what is stored, write it all in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from app.store.base import EventType, Revision
from app.store.changes import Change, Judge, Outcome, Write, keys_of, last_of_each
from app.store.driver import Execute
from app.store.reading import key_columns, versions_and_revision

CHANNEL = "drover"
"""What writers notify and feeds listen on: a wake-up; the payload is the newest revision."""

TAKE_COUNTER = "SELECT revision FROM counter FOR NO KEY UPDATE"

# The parts of one statement see the tables as they were before it, so none disturbs another: an object is either put or gone.
APPLY = text("""
WITH put AS (
    INSERT INTO objects (resource, namespace, name, uid, revision, body)
    SELECT * FROM unnest(CAST(:put_resources AS text[]), CAST(:put_namespaces AS text[]), CAST(:put_names AS text[]),
                         CAST(:put_uids AS text[]), CAST(:put_revisions AS bigint[]), CAST(:put_bodies AS bytea[]))
    ON CONFLICT (resource, namespace, name)
    DO UPDATE SET uid = excluded.uid, revision = excluded.revision, body = excluded.body
), gone AS (
    DELETE FROM objects WHERE ctid = ANY(ARRAY(
        SELECT o.ctid
        FROM unnest(CAST(:gone_resources AS text[]), CAST(:gone_namespaces AS text[]), CAST(:gone_names AS text[]))
             AS k(resource, namespace, name)
        CROSS JOIN LATERAL (
            SELECT ctid FROM objects o
            WHERE o.resource = k.resource AND o.namespace = k.namespace AND o.name = k.name LIMIT 1
        ) AS o))
), logged AS (
    INSERT INTO changes (resource, namespace, name, type, revision, body, previous_revision, previous_body)
    SELECT * FROM unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]), CAST(:names AS text[]),
                         CAST(:types AS text[]), CAST(:revisions AS bigint[]), CAST(:bodies AS bytea[]),
                         CAST(:previous_revisions AS bigint[]), CAST(:previous_bodies AS bytea[]))
), counted AS (
    UPDATE counter SET revision = :revision
)
SELECT 1
""")


@dataclass(frozen=True, slots=True)
class Group:
    """What became of writes that went together."""

    before: Revision
    """The newest revision before them."""
    changes: Sequence[Change]
    outcomes: Sequence[Outcome]


async def write_group(execute: Execute, writes: Sequence[Write]) -> Group:
    """Each write's own outcome; what some refuse, others of the group still do. In a transaction that has the counter."""
    before, current = await versions_and_revision(execute, keys_of(writes))
    judge = Judge(current, before)
    outcomes = [judge.take(write) for write in writes]
    await apply(execute, judge)
    return Group(before, judge.changes, outcomes)


async def apply(execute: Execute, judge: Judge) -> None:
    """Objects, log and counter, in one round trip."""
    if not judge.changes:
        return
    last = last_of_each(judge.changes)
    put = [change for change in last if change.type is not EventType.DELETED]
    gone = [change for change in last if change.type is EventType.DELETED]
    await execute(
        APPLY,
        {
            **{f"put_{name}": values for name, values in key_columns([change.stored.key for change in put]).items()},
            "put_uids": [change.uid for change in put],
            "put_revisions": [change.stored.revision for change in put],
            "put_bodies": [change.stored.body for change in put],
            **{f"gone_{name}": values for name, values in key_columns([change.stored.key for change in gone]).items()},
            **_log_entries(judge.changes),
            "revision": judge.revision,
        },
    )


def _log_entries(changes: Sequence[Change]) -> dict[str, object]:
    return {
        **key_columns([change.stored.key for change in changes]),
        "types": [change.type.value for change in changes],
        "revisions": [change.stored.revision for change in changes],
        "bodies": [change.stored.body for change in changes],
        "previous_revisions": [change.previous and change.previous.revision for change in changes],
        "previous_bodies": [change.previous and change.previous.body for change in changes],
    }
