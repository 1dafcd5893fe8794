"""The short form: a round of faults while guests move; and the seeds that once found something."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.kinds import MIGRATION
from tests.chaos.faults import SHORT_BLOWS, Moment
from tests.chaos.parts import Part
from tests.chaos.report import summary
from tests.chaos.sights import Sight
from tests.chaos.site import NAMESPACED, Site, site
from tests.chaos.story import Plan, Story

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.xdist_group("chaos")]

SHORT = Plan(seed=7, faults=12, minutes=3, round=12, guests=4, hot=0, blows=SHORT_BLOWS, clean=False)


@pytest.mark.timeout(300)
async def test_nothing_is_lost_whoever_dies() -> None:
    told = await Story(SHORT, print).run()

    assert told.wrong == []
    assert len(told.struck) >= 10, summary(told)
    assert told.ended["Succeeded/Moved"] >= 3, summary(told)


@pytest.mark.timeout(180)
async def test_a_killed_workers_migration_is_followed_within_ten_seconds_and_succeeds() -> None:
    async with site(1, guests=1, hot=0) as stood:
        (guest,) = stood.guests.values()
        struck: list[Sight] = []
        followed: list[Sight] = []

        await throttled(stood, guest.name)
        assert await stood.sights.strike(at("m", Moment.COPYING), lambda sight: kill(stood, sight, struck), 30)
        assert await stood.sights.strike(at("m", Moment.TAKEN_OVER), followed.append, 30)
        status = await ended(stood, "m")

        assert followed[0].at - struck[0].at < 10
        assert followed[0].part != struck[0].part
        assert status["phase"] == "Succeeded", status
        (holder,) = stood.hosts.holders()[guest.uuid]
        assert holder.node == status["migrationState"]["targetNode"]
        guest.listen()
        assert guest.broken == []


async def throttled(stood: Site, vm: str) -> None:
    """20 MiB of busy memory at 1 MiB/s: it is still under way when the worker's lease has lapsed."""
    spec = {"selector": {"name": vm}, "options": {"bandwidthPerMigration": "1Mi"}}
    body = {"apiVersion": "kubevirt.io/v1alpha1", "kind": "Migration", "metadata": {"name": "m"}, "spec": spec}
    assert await stood.create(f"{NAMESPACED}/migrations", MIGRATION.resource, body)


def at(migration: str, moment: Moment) -> Callable[[Sight], bool]:
    return lambda sight: (sight.migration, sight.moment) == (migration, moment)


def kill(stood: Site, sight: Sight, struck: list[Sight]) -> None:
    worker: Part = next(one for one in stood.workers if one.name == sight.part)
    worker.send(signal.SIGKILL)
    struck.append(Sight(sight.moment, sight.migration, sight.part, time.monotonic()))


async def ended(stood: Site, name: str) -> dict[str, Any]:
    """Its status once it is over. Its cap is lifted when it has been followed."""
    path = f"{NAMESPACED}/migrations/{name}"
    await stood.surely("PATCH", path, {"spec": {"options": {"bandwidthPerMigration": "64Mi"}}})
    async with asyncio.timeout(60):
        while True:
            status: dict[str, Any] = (await stood.surely("GET", path)).json().get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed"):
                return status
            await asyncio.sleep(0.2)
