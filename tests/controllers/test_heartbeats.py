"""When the conditions of a Node say that they were last observed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.controllers.nodestatus import is_news, with_observed, with_ready
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.kinds import NODE
from app.kinds.node import ConditionType, Reason
from app.machinery.objects import Document
from app.store.base import Key, Store, edit
from tests.controllers.migration.world import node_document
from tests.controllers.world import World, condition, is_ready, running

NOW = datetime(2026, 11, 27, 4, tzinfo=UTC)


def seen(after_s: float = 0, message: str = "libvirt answers", node: Document | None = None) -> Document:
    node = node_document("node0") if node is None else node
    return with_ready(node, "True", Reason.HOST_READY, message, stamp(NOW + timedelta(seconds=after_s)))


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_heartbeat_alone_is_told_every_five_minutes() -> None:
    told = seen()

    assert condition(told, "Ready")["lastHeartbeatTime"] == "2026-11-27T04:00:00Z"
    assert not is_news(told, seen(299, node=told))
    assert is_news(told, seen(300, node=told))


def test_what_changes_is_told_at_once_with_its_heartbeat() -> None:
    told = seen()

    changed = seen(5, "libvirt answers slowly", told)

    assert is_news(told, changed)
    assert condition(changed, "Ready")["lastHeartbeatTime"] == "2026-11-27T04:00:05Z"
    assert condition(changed, "Ready")["lastTransitionTime"] == "2026-11-27T04:00:00Z"


def test_a_condition_of_an_earlier_release_gets_its_heartbeat_at_once() -> None:
    told = seen()
    before = {**told, "status": {"conditions": [{**condition(told, "Ready"), "lastHeartbeatTime": None}]}}

    assert is_news(before, seen(1, node=before))


def test_each_condition_has_its_own_heartbeat() -> None:
    told = with_observed(seen(), ConditionType.DRAINED, "True", Reason.EMPTY, "no guest is left", stamp(NOW))

    later = seen(300, node=told)

    assert condition(later, "Drained")["lastHeartbeatTime"] == stamp(NOW)
    assert is_news(told, later)


def test_what_is_unknown_keeps_the_heartbeat_of_who_saw_it_last() -> None:
    def unknown(node: Document) -> Document:
        return with_ready(node, "Unknown", Reason.HEARTBEAT_MISSED, "nobody asks", stamp(NOW + timedelta(hours=1)))

    never = {**node_document("node0"), "metadata": {"name": "node0", "creationTimestamp": "2026-11-01T00:00:00Z"}}

    assert condition(unknown(seen()), "Ready")["lastHeartbeatTime"] == stamp(NOW)
    assert condition(unknown(never), "Ready")["lastHeartbeatTime"] == "2026-11-01T00:00:00Z"
    assert unknown(unknown(never)) == unknown(never)


async def test_an_agent_renews_an_old_heartbeat(store: Store) -> None:
    cloud, world = FakeCloud("node0"), World(store)
    await world.node("node0", cloud["node0"].uri)
    old = stamp(datetime.now(UTC) - timedelta(minutes=6))

    async with running(store, FakeHypervisors(cloud)):
        ready = await world.until(NODE, "node0", is_ready)
        await edit(store.objects, Key(NODE.resource, "", "node0"), lambda node: _beaten(node, old))
        renewed = await world.until(
            NODE, "node0", lambda node: condition(node, "Ready").get("lastHeartbeatTime", "") > old
        )

    assert condition(ready, "Ready")["lastHeartbeatTime"] > old
    assert condition(renewed, "Ready")["lastTransitionTime"] == condition(ready, "Ready")["lastTransitionTime"]


def _beaten(node: Document, at: str) -> Document:
    conditions = [{**one, "lastHeartbeatTime": at} for one in node["status"]["conditions"]]
    return {**node, "status": {**node["status"], "conditions": conditions}}
