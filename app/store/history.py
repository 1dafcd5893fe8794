"""What is remembered of what is over, longer than its objects are kept; and who asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import orjson
from sqlalchemy import text

from app.machinery.objects import Document
from app.store.base import Asked, Past
from app.store.driver import Execute
from app.store.lines import Lines

REMEMBER = text("""
INSERT INTO history (uid, namespace, name, subject, outcome, record)
VALUES (:uid, :namespace, :name, :subject, :outcome, :record)
ON CONFLICT (uid) DO NOTHING
""")

ASKED = text("""
INSERT INTO requests (audit_id, object_uid, at, verb, username, groups, address, agent, code)
SELECT * FROM unnest(CAST(:audit_ids AS text[]), CAST(:uids AS text[]), CAST(CAST(:times AS text[]) AS timestamptz[]),
                     CAST(:verbs AS text[]), CAST(:usernames AS text[]), CAST(:groups AS text[]),
                     CAST(:addresses AS text[]), CAST(:agents AS text[]), CAST(CAST(:codes AS text[]) AS integer[]))
""")

RECORDS = text("""
SELECT h.uid, h.namespace, h.name, h.subject, h.outcome, h.ended_at, h.record
FROM history h
WHERE (CAST(:namespace AS text) IS NULL OR h.namespace = :namespace)
  AND (CAST(:subject AS text) IS NULL OR h.subject = :subject)
  AND (CAST(:name AS text) IS NULL OR h.name = :name)
  AND (CAST(:outcome AS text) IS NULL OR h.outcome = :outcome)
ORDER BY h.ended_at DESC, h.uid LIMIT :limit
""")

REQUESTS = text("""
SELECT audit_id, object_uid, at, verb, username, groups, address, agent, code FROM requests
WHERE object_uid = ANY(CAST(:uids AS text[])) ORDER BY at
""")

FORGET = (
    text("DELETE FROM history WHERE ended_at < clock_timestamp() - CAST(:older_than AS interval)"),
    text("DELETE FROM requests WHERE at < clock_timestamp() - CAST(:older_than AS interval)"),
)


class PostgresHistory:
    """The port's History."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def read(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        name: str | None = None,
        outcome: str | None = None,
        limit: int = 100,
    ) -> Sequence[Past]:
        values = {"namespace": namespace, "subject": subject, "name": name, "outcome": outcome, "limit": limit}
        rows = await self._lines.read(lambda execute: execute(RECORDS, values))
        return [Past(**{**row, "record": orjson.loads(row["record"])}) for row in rows]

    async def requests(self, uids: Sequence[UUID]) -> Sequence[Asked]:
        values = {"uids": [str(uid) for uid in uids]}
        rows = await self._lines.read(lambda execute: execute(REQUESTS, values))
        return [Asked(**{**row, "groups": tuple(orjson.loads(row["groups"]))}) for row in rows]

    async def asked(self, requests: Sequence[Asked]) -> None:
        values = {
            "audit_ids": [one.audit_id for one in requests],
            "uids": [one.object_uid for one in requests],
            "times": [one.at for one in requests],
            "verbs": [one.verb for one in requests],
            "usernames": [one.username for one in requests],
            "groups": [orjson.dumps(one.groups).decode() for one in requests],
            "addresses": [one.address for one in requests],
            "agents": [one.agent for one in requests],
            "codes": [one.code for one in requests],
        }
        await self._lines.at_once(lambda execute: execute(ASKED, values))

    async def forget(self, older_than: timedelta) -> None:
        async def work(execute: Execute) -> None:
            for statement in FORGET:
                await execute(statement, {"older_than": older_than})

        await self._lines.transaction(work)


async def remember(execute: Execute, past: Past) -> None:
    """Twice is harmless: the first word counts."""
    record: Document = past.record
    await execute(
        REMEMBER,
        {
            "uid": past.uid,
            "namespace": past.namespace,
            "name": past.name,
            "subject": past.subject,
            "outcome": past.outcome,
            "record": orjson.dumps(record),
        },
    )
