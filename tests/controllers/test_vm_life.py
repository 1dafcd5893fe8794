"""The life of VirtualMachines and Nodes on simulated hosts, with the real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.controllers.guards import node_guard
from app.controllers.nodestatus import host_uuid
from app.hypervisor import domain_xml
from app.hypervisor.base import Mark, Reason, State
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.fake.cloud import Faults
from app.kinds import MIGRATION, NODE, POD, VIRTUAL_MACHINE
from app.machinery.objects import Document
from app.store.base import Key, Past, Store, edit
from tests.controllers.world import SMALL, World, condition, eventually, is_ready, leading, running
from tests.store.builders import run


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    simulated = FakeCloud("node0", "node1", "node2")
    yield simulated
    await simulated.close()


@pytest.fixture
async def world(store: Store) -> World:
    return World(store)


async def register(world: World, cloud: FakeCloud, *names: str) -> None:
    for name in names:
        await world.node(name, cloud[name].uri)


def uuid_of(vm: Document) -> UUID:
    return UUID(vm["metadata"]["uid"])


async def test_a_vm_is_placed_started_and_told_with_its_pod(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        vm = await world.phase("testvm", "Running")

    [pod] = await world.pods()
    guest = cloud["node0"].guests[uuid_of(made)].domain
    assert (guest.name, guest.state, guest.autostart) == ("default_testvm", State.RUNNING, False)
    assert guest.mark == Mark(store=str(world.store.id), vm="default/testvm")
    assert vm["status"]["nodeName"] == vm["metadata"]["labels"]["kubevirt.io/nodeName"] == "node0"
    assert condition(vm, "LiveMigratable")["status"] == "True"
    assert pod["metadata"]["name"].startswith("virt-launcher-testvm-")
    assert pod["metadata"]["labels"] == {
        "kubevirt.io": "virt-launcher",
        "kubevirt.io/domain": "testvm",
        "kubevirt.io/vmUID": made["metadata"]["uid"],
    }
    assert (pod["spec"]["nodeName"], pod["status"]["phase"]) == ("node0", "Running")
    assert pod["metadata"]["ownerReferences"][0] == {
        "apiVersion": "kubevirt.io/v1alpha1",
        "kind": "VirtualMachine",
        "name": "testvm",
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


async def test_a_node_tells_what_its_host_is(world: World, cloud: FakeCloud) -> None:
    annotations = {"kubevirt.io/allocatable-memory": "2Gi", "kubevirt.io/allocatable-cpu": "3"}
    await world.node("node0", cloud["node0"].uri, annotations=annotations)
    await world.node("node1", cloud["node1"].uri)

    async with running(world.store, FakeHypervisors(cloud)):
        capped = await world.until(NODE, "node0", is_ready)
        whole = await world.until(NODE, "node1", is_ready)

    assert capped["status"]["capacity"] == {"cpu": "8", "memory": "16Gi"}
    assert capped["status"]["allocatable"] == {"cpu": "3", "memory": "2Gi"}
    assert whole["status"]["allocatable"] == {"cpu": "80", "memory": "16Gi"}
    assert host_uuid(whole) == str(cloud["node1"].uuid)
    assert whole["metadata"]["labels"] == {
        "kubernetes.io/hostname": "node1",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "cpu-model.node.kubevirt.io/EPYC": "true",
        "machine-type.node.kubevirt.io/pc": "true",
        "machine-type.node.kubevirt.io/q35": "true",
    }


async def test_a_node_that_stays_as_it_is_is_not_written(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        before = await world.until(NODE, "node0", is_ready)
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    after = (await world.store.objects.get(Key(NODE.resource, "", "node0"))).document
    assert before == after


async def test_a_vm_that_fits_nowhere_says_why_and_starts_when_a_node_comes(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.until(NODE, "node0", is_ready)
        await world.vm("testvm", nodeSelector={"disktype": "ssd"})
        waiting = await world.phase("testvm", "Scheduling")
        told = await world.events("FailedScheduling")
        await world.node("node1", cloud["node1"].uri, labels={"disktype": "ssd", "kubernetes.io/hostname": "node1"})
        vm = await world.phase("testvm", "Running")

    message = "0/1 nodes are available: 1 node(s) didn't match the node selector disktype=ssd."
    assert condition(waiting, "Ready")["reason"] == "Unschedulable"
    assert condition(waiting, "Ready")["message"] == message
    assert told[0]["message"].startswith(message)
    assert vm["status"]["nodeName"] == "node1"


async def test_no_node_is_overbooked(world: World, cloud: FakeCloud) -> None:
    await world.node("node0", cloud["node0"].uri, annotations={"kubevirt.io/allocatable-memory": "2Gi"})
    large = {**SMALL, "memory": {"value": 800, "unit": "MiB"}}

    async with running(world.store, FakeHypervisors(cloud)):
        await world.until(NODE, "node0", is_ready)
        for name in ("a", "b"):
            await world.vm(name, domain=large)
            await world.phase(name, "Running")
        await world.vm("c", domain=large)
        waiting = await world.phase("c", "Scheduling")
        await world.delete(VIRTUAL_MACHINE, "a")
        await world.phase("c", "Running")

    assert condition(waiting, "Ready")["message"] == "0/1 nodes are available: 1 Insufficient memory."


ENDINGS = {
    Reason.SHUTDOWN: ("Succeeded", "GuestShutDown", "Succeeded"),
    Reason.CRASHED: ("Failed", "GuestCrashed", "Failed"),
    Reason.DESTROYED: ("Failed", "GuestDestroyed", "Failed"),
}


@pytest.mark.parametrize("reason", ENDINGS)
async def test_a_guest_that_ends_is_told_once_and_for_all(world: World, cloud: FakeCloud, reason: Reason) -> None:
    await register(world, cloud, "node0")
    phase, word, pod_phase = ENDINGS[reason]

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        cloud.die("node0", uuid_of(made), reason)
        vm = await world.phase("testvm", phase)
        [pod] = await world.pods()
        cloud.disconnect("node0")
        await world.vm("another")
        await world.phase("another", "Running")

    assert condition(vm, "Ready")["reason"] == word
    assert pod["status"]["phase"] == pod_phase
    assert cloud["node0"].guests[uuid_of(made)].domain.state is State.SHUTOFF


async def test_a_vm_that_was_replaced_without_its_label_gets_it_again(world: World, cloud: FakeCloud) -> None:
    def relabelled(vm: Document) -> Document:
        return {**vm, "metadata": {**vm["metadata"], "labels": {"mine": "1"}}}

    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        await edit(world.store.objects, Key(VIRTUAL_MACHINE.resource, "default", "testvm"), relabelled)
        vm = await world.until(VIRTUAL_MACHINE, "testvm", lambda vm: len(vm["metadata"]["labels"]) == 2)

    assert vm["metadata"]["labels"] == {"mine": "1", "kubevirt.io/nodeName": "node0"}


async def test_a_paused_guest_is_running_with_a_condition(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")
    hypervisors = FakeHypervisors(cloud)

    async with running(world.store, hypervisors):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        by_hand = await hypervisors.connect(cloud["node0"].uri)
        await by_hand.suspend(uuid_of(made))
        paused = await world.until(VIRTUAL_MACHINE, "testvm", lambda vm: bool(condition(vm, "Paused")))
        await by_hand.resume(uuid_of(made))
        await world.until(VIRTUAL_MACHINE, "testvm", lambda vm: not condition(vm, "Paused"))
        told = [event["message"] for event in await world.events("GuestPaused")]

    assert paused["status"]["phase"] == "Running"
    assert told == ["the guest is paused (node0)"]


async def test_a_vm_whose_host_is_away_is_unknown_and_started_nowhere_else(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        await register(world, cloud, "node1")
        await world.until(NODE, "node1", is_ready)
        cloud.cut_off("node0")
        lost = await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)
        unknown = await world.phase("testvm", "Unknown")
        cloud.mend("node0")
        back = await world.phase("testvm", "Running")
        told = [event["involvedObject"]["name"] for event in await world.events("NodeNotReady")]

    assert condition(lost, "Ready")["status"] == "False"
    assert "no host answers" in condition(lost, "Ready")["message"]
    assert condition(unknown, "Ready")["reason"] == "NodeUnreachable"
    assert back["status"]["nodeName"] == "node0"
    assert told == ["node0"]
    assert uuid_of(made) not in cloud["node1"].guests


async def test_an_unknown_guest_says_why_it_is_so_now(world: World, cloud: FakeCloud) -> None:
    """Its host was away, and answers again; but the guest is not there any more, and another host is away."""
    await register(world, cloud, "node0", "node1")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        cloud.cut_off("node0")
        before = await world.phase("testvm", "Unknown")
        cloud.cut_off("node1")
        del cloud["node0"].guests[uuid_of(made)]
        cloud.mend("node0")
        after = await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: condition(vm, "Ready").get("reason") != "NodeUnreachable", within_s=15
        )

    assert condition(before, "Ready")["reason"] == "NodeUnreachable"
    assert (after["status"]["phase"], condition(after, "Ready")["reason"]) == ("Unknown", "GuestVanished")
    assert "node1, which may have it, does not answer" in condition(after, "Ready")["message"]


async def test_a_host_that_was_declared_to_be_off_loses_its_guests_and_can_go(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")
    node = Key(NODE.resource, "", "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        cloud.cut_off("node0")
        await world.phase("testvm", "Unknown")
        await edit(world.store.objects, node, _out_of_service)
        vm = await world.phase("testvm", "Failed")
        async with world.store.transaction(serial=True) as tx:
            await node_guard(tx, (await tx.get(node)).document)
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert condition(vm, "Ready")["reason"] == "NodeLost"
    assert await world.pods() == []


def _out_of_service(node: Document) -> Document:
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    return {**node, "spec": {**node["spec"], "taints": [taint]}}


async def test_a_host_that_answers_no_more_is_not_ready_within_its_deadline(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.until(NODE, "node0", is_ready)
        cloud["node0"].faults.slow_s = 60
        lost = await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)
        cloud.mend("node0")
        await world.until(NODE, "node0", is_ready)

    assert condition(lost, "Ready")["reason"] == "HostUnreachable"


async def test_a_host_without_a_free_worker_is_not_ready_and_takes_work_again_later(
    world: World, cloud: FakeCloud
) -> None:
    await register(world, cloud, "node0")
    hypervisors = FakeHypervisors(cloud)

    async with running(world.store, hypervisors):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        cloud["node0"].faults.workers_busy = True
        busy = await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)
        unknown = await world.phase("testvm", "Unknown")
        cloud["node0"].faults.workers_busy = False
        await world.until(NODE, "node0", is_ready)
        await world.phase("testvm", "Running")

    assert condition(busy, "Ready")["reason"] == "HostUnreachable"
    assert "takes no work" in condition(busy, "Ready")["message"]
    assert condition(unknown, "Ready")["status"] == "Unknown"


async def test_a_host_that_answers_with_an_error_is_not_ready_and_says_it(world: World, cloud: FakeCloud) -> None:
    """From its registration on, and when it comes later."""
    await register(world, cloud, "node0")
    cloud["node0"].faults.ails = "Cannot find suitable emulator for x86_64"

    async with running(world.store, FakeHypervisors(cloud)):
        first = await world.until(NODE, "node0", lambda node: condition(node, "Ready") != {}, within_s=15)
        cloud.mend("node0")
        await world.until(NODE, "node0", is_ready)
        cloud["node0"].faults.ails = "Cannot find suitable emulator for x86_64"
        later = await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)

    for node in (first, later):
        told = condition(node, "Ready")
        assert (told["status"], told["message"]) == ("False", "Cannot find suitable emulator for x86_64")


@pytest.mark.parametrize("fault", [{"workers_busy": True}, {"ails": "Cannot find suitable emulator"}], ids=str)
async def test_a_host_that_answers_is_not_believed_to_be_off(
    world: World, cloud: FakeCloud, fault: dict[str, Any]
) -> None:
    """Whatever it answers: its guest runs, and Failed would be final."""
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        await edit(world.store.objects, Key(NODE.resource, "", "node0"), _out_of_service)
        cloud["node0"].faults = Faults(**fault)
        await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)
        seen = await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: vm["status"]["phase"] in ("Unknown", "Failed"), within_s=15
        )

    assert seen["status"]["phase"] == "Unknown"


async def test_deleting_a_vm_leaves_nothing_of_it(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Running")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert cloud["node0"].guests == {}
    assert await world.pods() == []


async def test_a_vm_that_fits_nowhere_can_be_deleted(world: World, cloud: FakeCloud) -> None:
    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        await world.phase("testvm", "Scheduling")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")


async def test_deleting_a_vm_waits_for_its_host_and_says_so(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        cloud.cut_off("node0")
        await world.phase("testvm", "Unknown")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        waiting = await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: condition(vm, "Ready").get("reason") == "BeingDeleted"
        )
        assert uuid_of(made) in cloud["node0"].guests
        cloud.mend("node0")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert "does not answer" in condition(waiting, "Ready")["message"]
    assert cloud["node0"].guests == {}


async def test_deleting_a_vm_says_that_its_guest_cannot_be_ended(world: World, cloud: FakeCloud) -> None:
    """It is tried again."""
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm", terminationGracePeriodSeconds=0)
        await world.phase("testvm", "Running")
        cloud["node0"].faults.cannot_end = "failed to terminate process 4711: Device or resource busy"
        await world.delete(VIRTUAL_MACHINE, "testvm")
        waiting = await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: "4711" in condition(vm, "Ready").get("message", ""), within_s=10
        )
        cloud.mend("node0")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert condition(waiting, "Ready")["reason"] == "BeingDeleted"
    assert cloud["node0"].guests == {}


async def test_a_vm_that_is_deleted_waits_for_its_migrations_to_end(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        migration = world.birth.document(MIGRATION, "default", "move", spec={"selector": {"name": "testvm"}})
        await world.store.objects.create(Key(MIGRATION.resource, "default", "move"), migration)
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until(
            VIRTUAL_MACHINE, "testvm", lambda vm: "being cancelled" in condition(vm, "Ready").get("message", "")
        )
        assert cloud["node0"].guests[uuid_of(made)].domain.state is State.RUNNING
        await edit(world.store.objects, Key(MIGRATION.resource, "default", "move"), _failed)
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert cloud["node0"].guests == {}
    record = await world.store.objects.get(Key(MIGRATION.resource, "default", "move"))
    assert "deletionTimestamp" not in record.document["metadata"]


def _failed(migration: Document) -> Document:
    return {**migration, "status": {"phase": "Failed"}}


async def test_a_bad_domain_is_refused_in_the_hosts_own_words(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")
    cloud["node0"].faults.refuses_to_start = "XML error: no such thing"

    async with running(world.store, FakeHypervisors(cloud)):
        await world.vm("testvm")
        vm = await world.phase("testvm", "Failed")
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    told = condition(vm, "Synchronized")
    assert (told["status"], told["reason"], told["message"]) == ("False", "DomainRefused", "XML error: no such thing")


async def test_a_second_node_of_the_same_host_is_told_and_gets_nothing(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        await world.until(NODE, "node0", is_ready)
        await world.node("twin", cloud["node0"].uri)
        twin = await world.until(NODE, "twin", lambda node: condition(node, "Ready") != {})
        first = await world.until(NODE, "node0", is_ready)

    assert condition(twin, "Ready")["reason"] == "DuplicateHost"
    assert "node0" in condition(twin, "Ready")["message"]
    assert is_ready(first)


async def test_a_leftover_of_a_guest_that_lives_elsewhere_is_removed_when_its_host_returns(
    world: World, cloud: FakeCloud
) -> None:
    """The foreign definitions beside it, and another store's, stay."""
    await register(world, cloud, "node0", "node1")
    hypervisors = FakeHypervisors(cloud)

    async with running(world.store, hypervisors):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        await leave_behind(hypervisors, cloud, "node1", uuid_of(made), str(world.store.id), "testvm")
        await leave_behind(hypervisors, cloud, "node1", UUID(int=7), str(world.store.id), "gone")
        await leave_behind(hypervisors, cloud, "node1", UUID(int=8), "another store", "theirs")
        cloud.disconnect("node1")
        await eventually(lambda: set(cloud["node1"].guests) == {UUID(int=8)})

    assert cloud["node0"].guests[uuid_of(made)].domain.state is State.RUNNING


async def test_a_leftover_on_a_third_host_goes_also_while_the_guest_is_between_two_others(
    world: World, cloud: FakeCloud
) -> None:
    """A guest may be held there until nobody else knows it; that of the migration's own target is the migration's."""
    nodes = ("node0", "node1", "node2")
    await register(world, cloud, *nodes)
    hypervisors = FakeHypervisors(cloud)

    async with running(world.store, hypervisors):
        made = await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node0"})
        await world.phase("testvm", "Running")
        async with world.store.transaction() as tx:
            tx.start_run(run(domain=uuid_of(made), source="node0", target="node1"))
        await edit(world.store.objects, Key(VIRTUAL_MACHINE.resource, "default", "testvm"), _migrating)
        for node in nodes[1:]:
            await leave_behind(hypervisors, cloud, node, uuid_of(made), str(world.store.id), "testvm")
            await leave_behind(hypervisors, cloud, node, UUID(int=7), str(world.store.id), "gone")
            cloud.disconnect(node)
        await eventually(lambda: all(UUID(int=7) not in cloud[node].guests for node in nodes))
        await eventually(lambda: uuid_of(made) not in cloud["node2"].guests)

    assert uuid_of(made) in cloud["node1"].guests


async def leave_behind(
    hypervisors: FakeHypervisors, cloud: FakeCloud, node: str, uuid: UUID, store_id: str, name: str
) -> None:
    """A definition that is shut off, with that mark."""
    host = await hypervisors.connect(cloud[node].uri)
    mark = Mark(store=store_id, vm=f"default/{name}")
    await host.define_and_start(domain_xml.definition({"domain": SMALL}, name=f"default_{name}", uuid=uuid, mark=mark))
    await host.destroy(uuid)
    await host.close()


async def test_a_guest_that_was_started_before_its_agent_died_is_not_started_again(
    world: World, cloud: FakeCloud
) -> None:
    await register(world, cloud, "node0")
    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
    await edit(world.store.objects, Key(VIRTUAL_MACHINE.resource, "default", "testvm"), _scheduled)
    cloud.die("node0", uuid_of(made), Reason.SHUTDOWN)

    async with running(world.store, FakeHypervisors(cloud), identity="two"):
        await world.phase("testvm", "Succeeded")

    assert cloud["node0"].guests[uuid_of(made)].domain.state is State.SHUTOFF


def _scheduled(vm: Document) -> Document:
    return {**vm, "status": {"phase": "Scheduled", "nodeName": "node0"}}


async def test_a_vm_in_the_hands_of_a_migration_is_left_alone(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")

    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        await edit(world.store.objects, Key(VIRTUAL_MACHINE.resource, "default", "testvm"), _migrating)
        cloud.die("node0", uuid_of(made), Reason.MIGRATED)
        await world.vm("another")
        await world.phase("another", "Running")

    vm = (await world.store.objects.get(Key(VIRTUAL_MACHINE.resource, "default", "testvm"))).document
    assert vm["status"]["phase"] == "Migrating"
    assert uuid_of(made) in cloud["node0"].guests


def _migrating(vm: Document) -> Document:
    return {**vm, "status": {**vm["status"], "phase": "Migrating"}}


@pytest.mark.parametrize(
    ("reason", "later", "phase"), [("Lost", 0, "Failed"), ("Lost", 3, "Failed"), ("HostUnreachable", 0, "Unknown")]
)
async def test_a_guest_whose_migration_found_it_nowhere_is_lost(
    world: World, cloud: FakeCloud, reason: str, later: int, phase: str
) -> None:
    """libvirt says of what is left on the source only that the guest was sent away. Later Migrations never touched it."""
    await register(world, cloud, "node0")
    migration = uuid4()
    async with running(world.store, FakeHypervisors(cloud)):
        made = await world.vm("testvm")
        await world.phase("testvm", "Running")
        guest = cloud["node0"].guests[uuid_of(made)]
        guest.domain = replace(guest.domain, mark=replace(guest.domain.mark, migration=str(migration)))  # type: ignore[type-var]
        async with world.store.transaction() as tx:
            told = {"reason": reason, "message": "neither host has the guest"}
            tx.remember(Past(migration, "default", "m0", "testvm", "Failed", told))
        for number in range(later):
            async with world.store.transaction() as tx:
                refused = {"reason": "VMNotRunning", "message": "it does not run"}
                tx.remember(Past(uuid4(), "default", f"later{number}", "testvm", "Failed", refused))
        cloud.die("node0", uuid_of(made), Reason.MIGRATED)
        vm = await world.phase("testvm", phase)

    ready = next(one for one in vm["status"]["conditions"] if one["type"] == "Ready")
    assert ready["reason"] == "GuestVanished"
    assert ("Migration m0 lost the guest: neither host has the guest" in ready["message"]) is (reason == "Lost")


async def test_hosts_are_shared_by_processes_and_move_when_one_ends(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0", "node1")

    async def holders() -> list[str]:
        return sorted(lease.holder for lease in await world.store.leases.held() if lease.name.startswith("node/"))

    async with running(world.store, FakeHypervisors(cloud), identity="one"):
        await world.until(NODE, "node1", is_ready)
        async with running(world.store, FakeHypervisors(cloud), identity="two"):
            await world.settles(holders, ["one", "two"])
        await world.settles(holders, ["one", "one"])
        await world.vm("testvm", nodeSelector={"kubernetes.io/hostname": "node1"})
        await world.phase("testvm", "Running")


async def test_a_node_that_nobody_serves_is_unknown(world: World, cloud: FakeCloud) -> None:
    await register(world, cloud, "node0")
    ready = {"conditions": [{"type": "Ready", "status": "True", "reason": "HostReady"}]}
    await edit(world.store.objects, Key(NODE.resource, "", "node0"), lambda node: {**node, "status": ready})

    async with leading(world.store):
        node = await world.until(NODE, "node0", lambda n: not is_ready(n))

    assert (condition(node, "Ready")["status"], condition(node, "Ready")["reason"]) == ("Unknown", "HeartbeatMissed")


async def test_what_a_dead_owner_leaves_is_removed_but_never_a_running_guests_pod(
    world: World, cloud: FakeCloud
) -> None:
    dead = world.birth.document(MIGRATION, "default", "dead", spec={"selector": {"name": "testvm"}})
    gone = world.birth.document(VIRTUAL_MACHINE, "default", "gone", spec={})
    for name, owner, labels, phase in (
        ("virt-migration-aaaaa", dead, {"kubevirt.io": "migration"}, "Succeeded"),
        ("virt-launcher-gone-over", gone, {"kubevirt.io": "virt-launcher"}, "Failed"),
        ("virt-launcher-gone-runs", gone, {"kubevirt.io": "virt-launcher"}, "Running"),
    ):
        pod = world.birth.document(
            POD, "default", name, owner=owner, labels=labels, spec={"containers": []}, status={"phase": phase}
        )
        await world.store.objects.create(Key(POD.resource, "default", name), pod)

    async with leading(world.store):
        await world.until_gone(POD, "virt-migration-aaaaa")
        await world.until_gone(POD, "virt-launcher-gone-over")

    assert [pod["metadata"]["name"] for pod in await world.pods()] == ["virt-launcher-gone-runs"]
