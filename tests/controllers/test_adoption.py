"""Guests that Drover did not make, on simulated hosts, with the real store: adopted, followed, let go, told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.controllers.pods import is_finished
from app.controllers.virtualmachine import strangers
from app.controllers.virtualmachine.strangers import ALARM_S
from app.hypervisor.base import Hypervisor, Job, Mark, Reason, State
from app.hypervisor.fake import MIB, FakeCloud, FakeHypervisors
from app.hypervisor.peer_probe import LEFT_OVER_S, probe_name
from app.kinds import NODE, POD, VIRTUAL_MACHINE
from app.machinery.objects import Document
from app.store.base import Key, Scope, Store, edit
from tests.controllers.world import FAST, World, condition, eventually, is_ready, running
from tests.store.builders import run

WEB = UUID("1a2b3c4d-0000-4000-8000-000000000001")
VM = Key(VIRTUAL_MACHINE.resource, "default", "web")


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    simulated = FakeCloud("node0", "node1")
    yield simulated
    await simulated.close()


@pytest.fixture
async def world(store: Store, cloud: FakeCloud) -> World:
    made = World(store)
    for name in ("node0", "node1"):
        await made.node(name, cloud[name].uri)
    return made


def definition(name: str = "web", uuid: UUID = WEB, metadata: str = "", more: str = "") -> str:
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><metadata>{metadata}</metadata>{more}"
        "<memory unit='MiB'>128</memory><vcpu>2</vcpu><os><type arch='x86_64'>hvm</type></os><devices/></domain>"
    )


async def at(cloud: FakeCloud, node: str) -> Hypervisor:
    return await FakeHypervisors(cloud).connect(cloud[node].uri)


async def start(cloud: FakeCloud, node: str = "node0", **domain: Any) -> None:
    """As somebody does with virsh."""
    await (await at(cloud, node)).define_and_start(definition(**domain))


async def adopted(world: World, name: str = "web", namespace: str = "default") -> Document:
    return await world.until(VIRTUAL_MACHINE, name, is_ready, namespace=namespace)


async def vms(store: Store) -> list[str]:
    return [stored.key.name for stored in (await store.objects.list(Scope(VIRTUAL_MACHINE.resource))).items]


async def foreign(world: World, node: str = "node0") -> str:
    told = await world.until(NODE, node, lambda document: condition(document, "ForeignGuests") != {})
    return str(condition(told, "ForeignGuests")["message"])


async def test_a_guest_that_already_runs_becomes_a_virtual_machine(world: World, cloud: FakeCloud) -> None:
    await start(cloud)

    async with running(world.store, FakeHypervisors(cloud)):
        vm = await adopted(world)
        pod = await world.until(
            POD, (await world.pods())[0]["metadata"]["name"], lambda p: p["status"]["phase"] == "Running"
        )

    status = vm["status"]
    assert (status["adopted"], status["domainUUID"], status["domainName"]) == (True, str(WEB), "web")
    assert (status["phase"], status["nodeName"]) == ("Running", "node0")
    assert vm["metadata"]["uid"] != str(WEB)
    assert vm["metadata"]["labels"] == {"kubevirt.io/adopted": "true", "kubevirt.io/nodeName": "node0"}
    assert vm["spec"]["domain"]["memory"] == {"value": 131072, "unit": "KiB"}
    assert condition(vm, "Synchronized")["reason"] == "Adopted"
    assert condition(vm, "LiveMigratable")["status"] == "True"
    assert (pod["spec"]["nodeName"], pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]) == ("node0", "2")
    assert cloud["node0"].guests[WEB].domain.mark is None
    assert await world.events("Adopted")


async def test_an_adopted_guest_reserves_the_huge_pages_that_it_has(world: World, cloud: FakeCloud) -> None:
    """Also when it is started again, and where somebody moved it by hand."""
    cloud["node0"].hugepages = cloud["node1"].hugepages = ((2 * MIB, 1 << 30),)
    more = "<memoryBacking><hugepages/></memoryBacking>"
    seen: list[list[tuple[str, str]]] = []

    async def reserved() -> list[tuple[str, str]]:
        pods = [pod for pod in await world.pods() if not is_finished(pod)]
        asked = [pod["spec"]["containers"][0]["resources"]["requests"] for pod in pods]
        return [(pod["spec"]["nodeName"], one.get("hugepages-2Mi", "")) for pod, one in zip(pods, asked, strict=True)]

    await start(cloud, more=more)
    async with running(world.store, FakeHypervisors(cloud)):
        await adopted(world)
        seen.append(await reserved())
        cloud.die("node0", WEB, Reason.SHUTDOWN)
        await world.phase("web", "Succeeded")
        await start(cloud, more=more)
        await adopted(world)
        await world.settles(reserved, [("node0", "128Mi")])
        cloud.die("node0", WEB, Reason.MIGRATED)
        await start(cloud, "node1", more=more)
        await world.settles(reserved, [("node1", "128Mi")])

    assert seen == [[("node0", "128Mi")]]


async def test_one_that_is_started_later_is_noticed_by_its_event(world: World, cloud: FakeCloud) -> None:
    async with running(world.store, FakeHypervisors(cloud), config=replace(FAST, sweep_s=600)):
        await world.until(NODE, "node0", is_ready)
        await start(cloud)
        vm = await adopted(world)

    assert vm["status"]["nodeName"] == "node0"


async def test_an_adopted_guest_is_followed_through_everything(world: World, cloud: FakeCloud) -> None:
    await start(cloud)
    host = await at(cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud), config=replace(FAST, sweep_s=600)):
        await adopted(world)
        await host.suspend(WEB)
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Paused") != {})
        await host.resume(WEB)
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Paused") == {})
        cloud.die("node0", WEB, Reason.SHUTDOWN)
        ended = await world.phase("web", "Succeeded")
        pods_after_the_end = [pod["status"]["phase"] for pod in await world.pods()]
        await host.define_and_start(definition())
        again = await adopted(world)
        pods = await world.pods()
        await host.destroy(WEB)
        destroyed = await world.phase("web", "Failed")

    assert condition(ended, "Ready")["reason"] == "GuestShutDown"
    assert pods_after_the_end == ["Succeeded"]
    assert again["metadata"]["uid"] == ended["metadata"]["uid"]
    assert len(pods) == 1 and pods[0]["status"]["phase"] != "Succeeded"
    assert condition(destroyed, "Ready")["reason"] == "GuestDestroyed"


async def test_deleting_an_adopted_vm_lets_the_guest_run_until_the_mark_goes(world: World, cloud: FakeCloud) -> None:
    await start(cloud)
    host = await at(cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        first = await adopted(world)
        await world.delete(VIRTUAL_MACHINE, "web")
        await world.until_gone(VIRTUAL_MACHINE, "web")
        released = (await host.look(WEB)).mark
        await start(cloud, name="other", uuid=UUID(int=9))
        await adopted(world, "other")
        after_release = await vms(world.store)
        node = await world.until(NODE, "node0", lambda node: bool(condition(node, "ForeignGuests")))
        cloud["node0"].guests[WEB].domain = replace(cloud["node0"].guests[WEB].domain, mark=None)
        again = await adopted(world)

    assert cloud["node0"].guests[WEB].domain.state is State.RUNNING
    assert released == Mark(str(world.store.id), "default/web", released=True)
    assert after_release == ["other"]
    assert condition(node, "ForeignGuests")["message"].startswith(
        "web: its VirtualMachine was deleted, so it is let alone"
    )
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert all(pod["metadata"]["labels"]["kubevirt.io/vmUID"] != first["metadata"]["uid"] for pod in await world.pods())


async def test_the_namespace_is_the_nodes_word(world: World, cloud: FakeCloud) -> None:
    await world.room("fleet")
    await annotate(world, "node0", "fleet")
    await annotate(world, "node1", "none")
    await start(cloud)
    await start(cloud, "node1", name="left", uuid=UUID(int=2))

    async with running(world.store, FakeHypervisors(cloud)):
        vm = await adopted(world, namespace="fleet")
        await world.until(NODE, "node1", is_ready)
        await annotate(world, "node1", "default")
        later = await adopted(world, "left")

    assert vm["metadata"]["namespace"] == "fleet"
    assert later["status"]["nodeName"] == "node1"


@pytest.mark.parametrize("moving", [False, True])
async def test_what_libvirt_starts_for_ever_is_told(
    world: World, cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch, moving: bool
) -> None:
    monkeypatch.setattr(strangers, "STARTING_S", 0.3)
    await start(cloud)
    guest = cloud["node0"].guests[WEB]
    guest.become(State.PAUSED, Reason.STARTING_UP)
    guest.work(Job.MIGRATION_IN)
    if moving:
        async with world.store.transaction() as tx:
            tx.start_run(run(domain=WEB, source="node1", target="node0"))

    async with running(world.store, FakeHypervisors(cloud)):
        await start(cloud, name="other", uuid=UUID(int=9))
        await adopted(world, "other")
        if not moving:
            message = await foreign(world)
            cloud["node0"].guests.pop(WEB)
            await world.until(NODE, "node0", lambda node: condition(node, "ForeignGuests") == {})
            assert "stop libvirtd, remove /run/libvirt/qemu/web.xml, start libvirtd" in message
        await asyncio.sleep(0.8)
        node = await world.until(NODE, "node0", is_ready)

    assert condition(node, "ForeignGuests") == {}
    assert await vms(world.store) == ["other"]


async def test_nothing_is_adopted_into_a_namespace_that_is_not_there(world: World, cloud: FakeCloud) -> None:
    await annotate(world, "node0", "nowhere")
    await start(cloud)

    async with running(world.store, FakeHypervisors(cloud)):
        message = await foreign(world)

    assert message == "web: it would be adopted in namespace nowhere, which is not there"
    assert await vms(world.store) == []


async def annotate(world: World, node: str, namespace: str) -> None:
    def change(document: Document) -> Document:
        document["metadata"]["annotations"] = {"kubevirt.io/adopt-namespace": namespace}
        return document

    await edit(world.store.objects, Key(NODE.resource, "", node), change)


async def test_other_managers_and_other_stores_guests_are_told_and_left(world: World, cloud: FakeCloud) -> None:
    nova = "<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'/>"
    await start(cloud, metadata=nova)
    await start(cloud, name="theirs", uuid=UUID(int=2))
    host = await at(cloud, "node0")
    await host.mark(UUID(int=2), Mark(store="another", vm="default/theirs"))

    async with running(world.store, FakeHypervisors(cloud)):
        message = await foreign(world)
        await host.destroy(WEB)
        await host.destroy(UUID(int=2))
        await world.until(NODE, "node0", lambda node: condition(node, "ForeignGuests") == {})

    assert message == "theirs: another Drover manages it; web: OpenStack manages it"
    assert await vms(world.store) == []
    assert len(await world.events("NotAdopted")) == 2


async def test_a_guest_whose_run_is_unfinished_is_not_adopted(world: World, cloud: FakeCloud) -> None:
    await start(cloud)
    async with world.store.transaction() as tx:
        tx.start_run(run(domain=WEB, source="node1", target="node0"))

    async with running(world.store, FakeHypervisors(cloud)):
        await start(cloud, name="other", uuid=UUID(int=9))
        await adopted(world, "other")

    assert await vms(world.store) == ["other"]


async def test_a_guest_that_is_moved_by_hand_is_followed(world: World, cloud: FakeCloud) -> None:
    """Somebody defined it anew on the other host, as a move past Drover leaves it."""
    await start(cloud)

    async with running(world.store, FakeHypervisors(cloud)):
        first = await adopted(world)
        move(cloud, WEB)
        vm = await world.until(VIRTUAL_MACHINE, "web", lambda vm: vm["status"]["nodeName"] == "node1" and is_ready(vm))
        pods = await world.pods()

    assert vm["metadata"]["uid"] == first["metadata"]["uid"]
    assert [pod["spec"]["nodeName"] for pod in pods] == ["node1"]
    assert await world.events("GuestMoved")


async def test_drovers_own_guest_that_is_moved_by_hand_is_followed_and_not_called_dead(
    world: World, cloud: FakeCloud
) -> None:
    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        move(cloud, UUID(made["metadata"]["uid"]))
        vm = await world.until(VIRTUAL_MACHINE, "testvm", lambda vm: vm["status"]["nodeName"] == "node1")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert vm["status"]["phase"] == "Running"
    assert (cloud["node0"].guests, cloud["node1"].guests) == ({}, {})


def move(cloud: FakeCloud, uuid: UUID) -> None:
    """Past Drover: it runs there at once, and is gone here."""
    guest = cloud["node0"].guests.pop(uuid)
    guest.become(State.RUNNING, Reason.MIGRATED)
    cloud["node1"].guests[uuid] = guest
    for name in ("node1", "node0"):
        cloud.disconnect(name)


async def test_a_guest_that_may_be_on_a_silent_host_is_unknown_and_not_failed(world: World, cloud: FakeCloud) -> None:
    await start(cloud)

    async with running(world.store, FakeHypervisors(cloud)):
        await adopted(world)
        cloud.cut_off("node1")
        await world.until(NODE, "node1", lambda node: not is_ready(node))
        host = await at(cloud, "node0")
        await host.destroy(WEB)
        await host.undefine(WEB)
        unknown = await world.phase("web", "Unknown")
        cloud.mend("node1")
        gone = await world.phase("web", "Failed")

    assert "node1" in condition(unknown, "Ready")["message"]
    assert condition(gone, "Ready")["reason"] == "GuestVanished"


async def test_a_guest_that_runs_twice_raises_an_alarm_until_one_of_them_ends(world: World, cloud: FakeCloud) -> None:
    await start(cloud)

    async with running(world.store, FakeHypervisors(cloud)):
        await adopted(world)
        await start(cloud, "node1")
        vm = await world.until(
            VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Duplicate") != {}, within_s=ALARM_S + 15
        )
        told = await world.events("RunsTwice")
        await (await at(cloud, "node1")).destroy(WEB)
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Duplicate") == {})

    assert (
        condition(vm, "Duplicate")["message"]
        == "web runs on node0 and on node1 at once: destroy one of the two by hand"
    )
    assert len(told) == 1
    assert cloud["node0"].guests[WEB].domain.state is State.RUNNING


async def test_a_guest_whose_object_was_taken_away_by_force_is_adopted(world: World, cloud: FakeCloud) -> None:
    async with running(world.store, FakeHypervisors(cloud), config=replace(FAST, sweep_s=600)):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        await world.store.objects.delete(Key(VIRTUAL_MACHINE.resource, "default", "testvm"))
        name = f"default-testvm-{made['metadata']['uid'][:5]}"
        vm = await adopted(world, name)
        (pod,) = await world.pods()

    assert vm["status"]["domainUUID"] == made["metadata"]["uid"]
    assert pod["metadata"]["labels"]["kubevirt.io/vmUID"] == vm["metadata"]["uid"]
    assert await world.events("Adopted")
    assert cloud["node0"].guests[UUID(made["metadata"]["uid"])].domain.state is State.RUNNING


async def test_where_nothing_is_adopted_one_whose_object_was_taken_away_is_told_and_runs_on(
    world: World, cloud: FakeCloud
) -> None:
    def alone(node: Document) -> Document:
        node["metadata"].setdefault("annotations", {})["kubevirt.io/adopt-namespace"] = "none"
        return node

    await edit(world.store.objects, Key(NODE.resource, "", "node0"), alone)

    async def told() -> int:
        return len(await world.events("NotAdopted"))

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        await world.store.objects.delete(Key(VIRTUAL_MACHINE.resource, "default", "testvm"))
        message = await foreign(world)
        await world.settles(told, 1)

    assert message == "default_testvm: its VirtualMachine is gone, and this Node adopts nothing"
    assert cloud["node0"].guests[UUID(made["metadata"]["uid"])].domain.state is State.RUNNING


async def test_one_of_ours_that_had_ended_and_was_started_again_is_told(world: World, cloud: FakeCloud) -> None:
    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        uuid = UUID(made["metadata"]["uid"])
        cloud.die("node0", uuid, Reason.SHUTDOWN)
        await world.phase("testvm", "Succeeded")
        host = await at(cloud, "node0")
        await host.define_and_start(await host.definition(uuid))
        message = await foreign(world)

    assert message.startswith("default_testvm: its VirtualMachine has succeeded")


async def test_what_a_migration_took_is_given_back_by_the_agent(world: World, cloud: FakeCloud) -> None:
    """The flag, and that the guest had no definition: noted in its mark, which outlives whoever took them."""
    await start(cloud)
    await start(cloud, name="brief", uuid=UUID(int=2))
    host = await at(cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await adopted(world)
        await adopted(world, "brief")
        mark = Mark(str(world.store.id), "default/web", "", 1, adopted=True)
        await host.mark(WEB, replace(mark, autostart=True))
        await host.mark(UUID(int=2), replace(mark, vm="default/brief", transient=True))
        await eventually(lambda: cloud["node0"].guests[WEB].domain.mark == mark)
        await eventually(lambda: cloud["node0"].guests[UUID(int=2)].domain.mark == replace(mark, vm="default/brief"))

    assert cloud["node0"].guests[WEB].domain.autostart
    brief = cloud["node0"].guests[UUID(int=2)].domain
    assert (brief.persistent, brief.state) == (False, State.RUNNING)


async def test_what_is_left_of_a_question_about_peers_goes_and_what_is_asked_now_stays(
    world: World, cloud: FakeCloud
) -> None:
    old, young = UUID(int=21), UUID(int=22)
    host = await at(cloud, "node0")
    for uuid, at_s in (old, time.time() - LEFT_OVER_S - 1), (young, time.time() + 3600):
        await start(cloud, name=probe_name(uuid, at_s), uuid=uuid)
        await host.destroy(uuid)

    async with running(world.store, FakeHypervisors(cloud)):
        await start(cloud)
        await adopted(world, "web")

    assert (old in cloud["node0"].guests, young in cloud["node0"].guests) == (False, True)


async def test_a_definition_that_somebody_else_made_is_not_a_leftover(world: World, cloud: FakeCloud) -> None:
    """It bears our mark, for it was moved once; nobody moved it away from here."""
    await start(cloud)
    host = await at(cloud, "node0")
    await host.mark(WEB, Mark(str(world.store.id), "default/web", adopted=True))
    await host.destroy(WEB)

    async with running(world.store, FakeHypervisors(cloud)):
        await start(cloud, name="other", uuid=UUID(int=9))
        await adopted(world, "other")

    assert WEB in cloud["node0"].guests
