"""Events are counted, guards refuse in the deleting transaction, old Events go: with the real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.controllers.birth import Birth
from app.controllers.config import HostConfig
from app.controllers.events import Recorder
from app.controllers.guards import namespace_guard, node_guard
from app.controllers.sweeps import Sweeps
from app.controllers.tools import Tools
from app.kinds import EVENT, MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.machinery.errors import ApiError
from app.machinery.lifecycle import validate_create
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, edit
from tests.controllers.world import World

EARLIER = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


async def events_in(store: Store) -> list[Document]:
    return [stored.document for stored in (await store.objects.list(Scope(EVENT.resource))).items]


async def test_the_same_event_again_is_counted_and_another_is_not(store: Store) -> None:
    world, recorder = World(store), Recorder()
    vm = await world.vm("testvm")

    for message in ("started", "started", "stopped"):
        await recorder.record_alone(store, vm, "Told", message)

    told = sorted((event["message"], event["count"]) for event in await events_in(store))
    assert told == [("started", 2), ("stopped", 1)]


async def test_an_event_is_one_that_the_api_would_take(store: Store) -> None:
    world, recorder = World(store), Recorder()
    node = await world.node("node0", "qemu:///session")

    await recorder.record_alone(store, node, "Told", "hello", "Warning")

    [event] = await events_in(store)
    assert validate_create(EVENT, event) == []
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["uid"] == node["metadata"]["uid"]


async def test_an_event_happens_only_with_the_rest_of_its_transaction(store: Store) -> None:
    world, recorder = World(store), Recorder()
    vm = await world.vm("testvm")

    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as tx:
            await recorder.record(tx, vm, "Told", "never")
            raise ZeroDivisionError

    assert await events_in(store) == []


async def test_events_older_than_an_hour_go(store: Store) -> None:
    world = World(store)
    vm = await world.vm("testvm")
    await Recorder(birth=Birth(now=lambda: EARLIER)).record_alone(store, vm, "Old", "old")
    await Recorder(birth=Birth(now=lambda: EARLIER + timedelta(minutes=30))).record_alone(store, vm, "New", "new")
    later = Tools(store, birth=Birth(now=lambda: EARLIER + timedelta(minutes=61)))

    await Sweeps(later, HostConfig()).sweep()

    assert [event["reason"] for event in await events_in(store)] == ["New"]


async def test_an_event_of_long_ago_that_was_told_just_now_stays(store: Store) -> None:
    world = World(store)
    told = Recorder(birth=Birth(now=lambda: EARLIER + timedelta(hours=2)))
    await told.record_alone(store, await world.vm("testvm"), "Told", "told")
    key = (await store.objects.list(Scope(EVENT.resource))).items[0].key
    await edit(store.objects, key, lambda event: {**event, "lastTimestamp": EARLIER.isoformat()})
    later = Tools(store, birth=Birth(now=lambda: EARLIER + timedelta(hours=2, minutes=5)))

    await Sweeps(later, HostConfig()).sweep()

    assert len(await events_in(store)) == 1


async def refusal_of_node(store: Store, name: str = "node0") -> ApiError | None:
    async with store.transaction(serial=True) as tx:
        node = (await tx.get(Key(NODE.resource, "", name))).document
        try:
            await node_guard(tx, node)
        except ApiError as error:
            return error
    return None


async def on_node(store: Store, name: str, node: str, phase: str) -> None:
    world = World(store)
    vm = world.birth.document(VIRTUAL_MACHINE, "default", name, spec={}, status={"phase": phase, "nodeName": node})
    await store.objects.create(Key(VIRTUAL_MACHINE.resource, "default", name), vm)


async def test_a_node_with_guests_is_not_deleted_and_five_are_named(store: Store) -> None:
    await World(store).node("node0", "qemu:///session")
    for number in range(7):
        await on_node(store, f"vm{number}", "node0", "Running")
    await on_node(store, "over", "node0", "Succeeded")
    await on_node(store, "elsewhere", "node1", "Running")

    refused = await refusal_of_node(store)

    assert refused is not None
    assert (refused.code, refused.reason) == (409, "Conflict")
    named = "default/vm0, default/vm1, default/vm2, default/vm3, default/vm4 and 2 more"
    assert f"7 guests ({named})" in refused.message


async def test_a_node_that_a_guest_moves_to_is_not_deleted(store: Store) -> None:
    world = World(store)
    await world.node("node0", "qemu:///session")
    state = {"sourceNode": "node1", "targetNode": "node0"}
    move = world.birth.document(
        MIGRATION,
        "default",
        "move",
        spec={"selector": {"name": "testvm"}},
        status={"phase": "Running", "migrationState": state},
    )
    labels = {"kubevirt.io": "virt-launcher", "kubevirt.io/migrationUID": move["metadata"]["uid"]}
    pod = world.birth.document(
        POD, "default", "target", labels=labels, spec={"nodeName": "node0"}, status={"phase": "Pending"}
    )
    await store.objects.create(Key(MIGRATION.resource, "default", "move"), move)
    await store.objects.create(Key(POD.resource, "default", "target"), pod)

    refused = await refusal_of_node(store)

    assert refused is not None
    assert "1 arriving guest (default/target)" in refused.message
    assert "1 unfinished migration (default/move)" in refused.message


async def test_an_empty_node_may_go(store: Store) -> None:
    await World(store).node("node0", "qemu:///session")
    await on_node(store, "over", "node0", "Failed")

    assert await refusal_of_node(store) is None


async def test_events_of_a_namespace_that_has_gone_go(store: Store) -> None:
    world = World(store)
    await world.room("room")
    for namespace in ("default", "room", "gone"):
        vm = world.birth.document(VIRTUAL_MACHINE, namespace, "testvm", spec={})
        await Recorder().record_alone(store, vm, "Told", "told")

    await Sweeps(Tools(store), HostConfig()).sweep()

    assert sorted(event["metadata"]["namespace"] for event in await events_in(store)) == ["default", "room"]


async def test_the_default_namespace_never_goes(store: Store) -> None:
    world = World(store)
    room, default = await world.room("room"), await world.room("default")

    async with store.transaction(serial=True) as tx:
        await namespace_guard(tx, room)
        with pytest.raises(ApiError) as forbidden:
            await namespace_guard(tx, default)

    assert forbidden.value.code == 403
