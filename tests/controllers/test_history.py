"""Finished Migrations go: by their own time, or as the oldest of too many of one VirtualMachine and outcome."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.controllers.config import Kept
from app.controllers.history import Expiry, expired
from app.kinds import MIGRATION
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, Stored
from app.store.body import encoded
from tests.controllers.migration.world import migration_document, migration_key
from tests.controllers.world import World, leading

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def over(name: str, phase: str, ended: datetime, *, evacuation: bool = False, **spec: Any) -> Document:
    """A Migration that ended then."""
    document = migration_document(name, **spec)
    document["metadata"].pop("finalizers")
    if evacuation:
        document["metadata"]["labels"] = {"kubevirt.io/evacuationMigration": "node0"}
    document["status"] = {"phase": phase, "migrationState": {"endTimestamp": ended.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}
    return document


def stored(*args: Any, **more: Any) -> Stored:
    document = over(*args, **more)
    return Stored(migration_key(document["metadata"]["name"]), 1, encoded(document).at(1))


def names(expiry: Expiry) -> list[str]:
    return sorted(one.key.name for one in expiry.gone)


def test_the_oldest_of_each_outcome_go() -> None:
    finished = [stored(f"s{n}", "Succeeded", NOW - timedelta(hours=n)) for n in range(4)]
    finished += [stored(f"f{n}", "Failed", NOW - timedelta(hours=n)) for n in range(3)]

    expiry = expired(finished, Kept(succeeded=2, failed=1), NOW)

    assert names(expiry) == ["f1", "f2", "s2", "s3"]
    assert expiry.again_after_s is None


def test_one_that_names_its_time_goes_then_and_is_not_counted() -> None:
    finished = [
        stored("over", "Succeeded", NOW - timedelta(seconds=60), ttlSecondsAfterFinished=60),
        stored("later", "Failed", NOW - timedelta(seconds=60), ttlSecondsAfterFinished=90),
        stored("counted", "Succeeded", NOW - timedelta(days=1)),
    ]

    expiry = expired(finished, Kept(succeeded=1, failed=0), NOW)

    assert (names(expiry), expiry.again_after_s) == (["over"], 30.0)


def test_the_record_that_a_drain_counts_by_outlives_the_limit() -> None:
    recent = stored("e1", "Failed", NOW - timedelta(minutes=9), evacuation=True)
    old = stored("e2", "Failed", NOW - timedelta(minutes=11), evacuation=True)

    expiry = expired([recent, old], Kept(failed=0), NOW)

    assert (names(expiry), expiry.again_after_s) == (["e2"], 60.0)


@pytest.mark.postgres
async def test_finished_migrations_go_from_the_store(store: Store) -> None:
    now = World(store).birth.now()
    documents = [over(f"m{n:02}", "Succeeded", now - timedelta(hours=n)) for n in range(12)]
    documents += [over("short", "Failed", now, ttlSecondsAfterFinished=0), migration_document("unfinished")]
    for document in documents:
        await store.objects.create(Key(MIGRATION.resource, "default", document["metadata"]["name"]), document)

    async def left() -> list[str]:
        return [one.key.name for one in (await store.objects.list(Scope(MIGRATION.resource))).items]

    async with leading(store):
        await World(store).settles(left, [*(f"m{n:02}" for n in range(10)), "unfinished"])
