"""Creating a group in one statement, where the newest revision is known: one round trip in the place of four."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from app.store.base import EventType, Revision, Stored
from app.store.changes import Change, Create, Judge, Outcome, Write, is_storable, keys_of
from app.store.driver import Execute
from app.store.reading import key_columns, versions_and_revision
from app.store.writing import Group, apply

# Whoever writes objects moves the counter. If it stands where it was expected, then nobody has written since, also while
# this waited for its lock, and what the statement sees is the newest: no key of these is there, and every room is there
# and shows no sign of its end. Otherwise nothing at all is done.
CREATE = text(f"""
WITH moved AS (
    UPDATE counter SET revision = :revision
    WHERE revision = :before
      AND NOT EXISTS (
        SELECT FROM unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]), CAST(:names AS text[]))
                    AS k(resource, namespace, name)
        CROSS JOIN LATERAL (
            SELECT 1 FROM objects o
            WHERE o.resource = k.resource AND o.namespace = k.namespace AND o.name = k.name LIMIT 1
        ) AS o)
      AND CAST(:rooms AS bigint) = (
        SELECT count(*)
        FROM unnest(CAST(:room_resources AS text[]), CAST(:room_namespaces AS text[]), CAST(:room_names AS text[]))
             AS k(resource, namespace, name)
        CROSS JOIN LATERAL (
            SELECT o.body FROM objects o
            WHERE o.resource = k.resource AND o.namespace = k.namespace AND o.name = k.name LIMIT 1
        ) AS o
        WHERE position(CAST('"deletionTimestamp"' AS bytea) IN o.body) = 0)
    RETURNING revision
), put AS (
    INSERT INTO objects (resource, namespace, name, uid, revision, body)
    SELECT o.resource, o.namespace, o.name, o.uid, :before + o.place, o.body FROM moved CROSS JOIN
        unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]), CAST(:names AS text[]),
               CAST(:uids AS text[]), CAST(:bodies AS bytea[]))
        WITH ORDINALITY AS o(resource, namespace, name, uid, body, place)
), logged AS (
    INSERT INTO changes (resource, namespace, name, type, revision, body)
    SELECT o.resource, o.namespace, o.name, '{EventType.ADDED.value}', :before + o.place, o.body FROM moved CROSS JOIN
        unnest(CAST(:resources AS text[]), CAST(:namespaces AS text[]), CAST(:names AS text[]), CAST(:bodies AS bytea[]))
        WITH ORDINALITY AS o(resource, namespace, name, body, place)
)
SELECT revision FROM moved
""")


def creates(writes: Sequence[Write]) -> Sequence[Create]:
    """All of them, where they are nothing but creates of different objects; or else none."""
    found = [write for write in writes if isinstance(write, Create)]
    alone = len(found) == len(writes) == len({write.key for write in found})
    return found if alone and all(write.within is None or is_storable(write.within) for write in found) else ()


async def create_group(execute: Execute, writes: Sequence[Create], before: Revision) -> Group | None:
    """All of them, if `before` is the newest revision and nothing stands against any; None, and nothing done, otherwise."""
    stored = [Stored(write.key, revision, write.body.at(revision)) for revision, write in enumerate(writes, before + 1)]
    rooms = {write.within for write in writes if write.within is not None}
    done = await execute(
        CREATE,
        {
            "before": before,
            "revision": before + len(stored),
            **key_columns([one.key for one in stored]),
            "uids": [write.uid for write in writes],
            "bodies": [one.body for one in stored],
            "rooms": len(rooms),
            **{f"room_{name}": values for name, values in key_columns(rooms).items()},
        },
    )
    if not done:
        return None
    changes = [Change(EventType.ADDED, one, None, write.uid) for one, write in zip(stored, writes, strict=True)]
    return Group(before, changes, stored)


# A commit waits for a synchronous standby only if it has something to write: what is found here may have reached this
# server alone, when the connection broke.
TOUCH = text("UPDATE counter SET revision = revision")


async def create_again(execute: Execute, writes: Sequence[Create]) -> Group:
    """The same creates, after a time of which nobody knows whether it did anything: an object that is there under the uid
    of its create was made by it. Each write's own outcome. In a transaction that has the counter."""
    before, current = await versions_and_revision(execute, keys_of(writes))
    judge = Judge(current, before)
    outcomes: list[Outcome] = []
    for write in writes:
        there = current.get(write.key)
        ours = there is not None and bool(write.uid) and there.document["metadata"].get("uid") == write.uid
        outcomes.append(there if there is not None and ours else judge.take(write))
    await apply(execute, judge)
    await execute(TOUCH, {})
    return Group(before, judge.changes, outcomes)
