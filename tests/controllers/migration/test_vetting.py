"""The host's own word: asked before it is used, on no the next node, and nothing is written meanwhile."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from app.controllers.hosts import Hosts
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.config import MigrationConfig
from app.controllers.migration.reconcile import Reconciler
from app.controllers.migration.vetting import BAD_S, GOOD_S, NAME_TAKEN, SILENT, SPARE, WAY_S, Question, Vetting
from app.hypervisor.base import Candidate
from app.hypervisor.fake import EPYC, FakeCloud, FakeHypervisors
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.kinds.virtualmachine import VMDisk
from app.lab.hosts import LabHosts
from app.machinery.objects import Document
from app.store.base import Store
from app.store.postgres import PostgresStore
from tests.controllers.migration.test_reconcile import LEASE
from tests.controllers.migration.world import (
    create,
    document_at,
    migration_document,
    migration_key,
    node_document,
    pod_document,
    vm_document,
)

CPU = {"mode": "custom", "model": "Icelake"}


class Watched:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cloud() -> FakeCloud:
    """node1 gives the guest's CPU, node2 does not."""
    made = FakeCloud("node0", "node1", "node2")
    made["node1"].cpu = replace(EPYC, models=(*EPYC.models, "Icelake"))
    return made


def vetting(cloud: FakeCloud, clock: Watched) -> Vetting:
    return Vetting(Hosts(FakeHypervisors(cloud, deadline_s=1), clock=clock), clock=clock)


async def looked_at(store: Store, cloud: FakeCloud, clock: Watched) -> Document:
    """A Migration of a guest of that CPU away from node0, after one look."""
    nodes = [node_document(name) for name in ("node0", "node1", "node2")]
    nodes[2]["status"]["allocatable"]["memory"] = "64Gi"  # the best, but for the host's word
    return await judged(store, nodes, CPU, vetting(cloud, clock))


async def judged(store: Store, nodes: list[Document], cpu: Document, vetted: Vetting) -> Document:
    vm = vm_document("testvm", "node0")
    needs = {"domainType": "qemu", "arch": "x86_64", "machine": "pc", "cpu": cpu}
    vm["status"]["hostRequirements"] = needs
    await create(store, *nodes, vm, pod_document(vm, "node0"), migration_document("m1"))
    held = await LeaseKeeper(store.leases, "test", LEASE).try_acquire("controllers")
    assert held is not None
    reconciler = Reconciler(store, held, MigrationConfig(), vetting=vetted)
    await reconciler.reconcile(migration_key("m1"))
    found = await document_at(store, migration_key("m1"))
    assert found is not None
    return found


async def test_a_host_that_says_no_is_out_and_the_next_one_is_taken(store: PostgresStore, cloud: FakeCloud) -> None:
    migration = await looked_at(store, cloud, Watched())

    (run,) = await store.runs.unfinished()
    (scheduled,) = [c for c in migration["status"]["conditions"] if c["type"] == "Scheduled"]
    assert (run.target, migration["status"]["phase"]) == ("node1", "Running")
    assert "node2: node(s) can't give the guest its CPU (the CPU is incompatible" in scheduled["message"]


async def test_without_a_host_that_says_yes_it_stays_in_scheduling(store: PostgresStore, cloud: FakeCloud) -> None:
    cloud["node1"].cpu = EPYC

    migration = await looked_at(store, cloud, Watched())

    assert migration["status"]["phase"] == "Scheduling"
    assert await store.runs.unfinished() == []


async def test_a_host_that_does_not_answer_is_out_for_a_while(store: PostgresStore, cloud: FakeCloud) -> None:
    cloud.cut_off("node1")

    migration = await looked_at(store, cloud, Watched())

    assert f"node1: {SILENT}" in migration["status"]["conditions"][0]["message"]


async def test_a_migration_stays_off_a_node_that_its_source_does_not_reach(
    store: PostgresStore, cloud: FakeCloud
) -> None:
    """Asked just before it is used, whatever the Nodes say: nothing was begun there."""
    cloud["node0"].faults.shut_out_of = frozenset({"node1"})

    migration = await looked_at(store, cloud, Watched())

    (scheduled,) = [c for c in migration["status"]["conditions"] if c["type"] == "Scheduled"]
    assert migration["status"]["phase"] == "Scheduling"
    assert "node1: node(s) can't be reached from the source: unable to connect" in scheduled["message"]
    assert await store.runs.unfinished() == []
    assert cloud["node1"].guests == {}


async def test_a_way_is_asked_for_once_and_again_when_it_may_have_changed(cloud: FakeCloud) -> None:
    clock = Watched()
    vetted = vetting(cloud, clock)

    async def said() -> dict[str, str]:
        guest = Candidate(uuid4(), "testvm")
        await vetted.ask(Question(guest, node_document("node1"), node_document("node0")))
        return dict(vetted.doubts(str(guest.uuid)))

    first = await said()
    cloud["node0"].faults.shut_out_of = frozenset({"node1"})
    remembered = await said()
    clock.now += WAY_S + 1
    asked_again = await said()

    assert first == remembered == {}
    assert list(asked_again) == ["node1"]


async def test_a_name_that_is_taken_is_a_no(cloud: FakeCloud) -> None:
    clock = Watched()
    vetted = vetting(cloud, clock)
    host = await FakeHypervisors(cloud).connect("fake://node1")
    await host.define_and_start(
        f"<domain type='qemu'><name>default_testvm</name><uuid>{uuid4()}</uuid><memory>1024</memory></domain>"
    )
    guest = Candidate(UUID(int=1), "default_testvm")

    await vetted.ask(Question(guest, node_document("node1")))

    assert vetted.doubts(str(guest.uuid)) == {"node1": NAME_TAKEN}
    assert vetted.doubts(str(uuid4())) == {}
    clock.now += BAD_S + 1
    assert vetted.doubts(str(guest.uuid)) == {}


async def test_a_yes_stands_for_seconds(cloud: FakeCloud) -> None:
    clock = Watched()
    vetted = vetting(cloud, clock)
    guest = Candidate(UUID(int=1), "default_testvm")

    await vetted.ask(Question(guest, node_document("node1")))

    assert vetted.vouches(str(guest.uuid), "node1")
    assert not vetted.vouches(str(guest.uuid), "node2")
    clock.now += GOOD_S + 1
    assert not vetted.vouches(str(guest.uuid), "node1")


DISK = VMDisk(target="vda", type="file", path="/i/a", format="raw", copyable=True)
CD = VMDisk(target="sda", type="file", path="/i/cd", format="raw", copyable=True, read_only=True)


async def doubts(cloud: FakeCloud, *, free: int, has: tuple[str, ...] = ()) -> dict[str, str]:
    """What is held against node1, with so much room, for a guest on node0 with 1 GiB of disk and 1 GiB of CD."""
    uuid = uuid4()
    vetted, guest = vetting(cloud, Watched()), Candidate(uuid, f"guest-{uuid}")
    cloud["node0"].files = {"/i/a": 2**30, "/i/cd": 2**30}
    cloud["node1"].files, cloud["node1"].disk_free = dict.fromkeys(has, 2**30), free
    disks = "<disk type='file'><source file='/i/a'/><target dev='vda'/></disk>"
    await (await FakeHypervisors(cloud).connect("fake://node0")).define_and_start(
        f"<domain type='qemu'><name>{guest.name}</name><uuid>{guest.uuid}</uuid><memory>1024</memory>"
        f"<devices>{disks}</devices></domain>"
    )
    await vetted.ask(Question(guest, node_document("node1"), node_document("node0"), (DISK, CD)))
    return dict(vetted.doubts(str(guest.uuid)))


async def test_a_host_without_room_for_the_disks_is_a_no(cloud: FakeCloud) -> None:
    assert await doubts(cloud, free=2**31 + SPARE) == {}
    assert await doubts(cloud, free=2**31 + SPARE - 1) == {
        "node1": "node(s) have no room for 2.0 GiB of the guest's disks in /i (2.1 GiB free)"
    }


async def test_what_is_there_already_needs_no_room(cloud: FakeCloud) -> None:
    assert await doubts(cloud, free=2**30 + SPARE, has=("/i/cd",)) == {}
    assert await doubts(cloud, free=0, has=("/i/a", "/i/cd")) == {}


@pytest.mark.libvirt
async def test_libvirt_itself_excludes_a_host_of_another_cpu(store: PostgresStore, hosts: LabHosts) -> None:
    hypervisors = LibvirtHypervisors()
    nodes = [node_document(host.name, host.uri) for host in hosts]

    migration = await judged(store, nodes, {"mode": "custom", "model": "EPYC-Milan"}, Vetting(Hosts(hypervisors)))

    await hypervisors.close()
    message = migration["status"]["conditions"][0]["message"]
    assert migration["status"]["phase"] == "Scheduling"
    assert "node1: node(s) can't give the guest its CPU (the CPU is incompatible with host CPU" in message
    assert await store.runs.unfinished() == []


@pytest.mark.libvirt
async def test_libvirt_itself_lets_a_host_of_that_cpu_pass(store: PostgresStore, hosts: LabHosts) -> None:
    hypervisors = LibvirtHypervisors()
    nodes = [node_document(host.name, host.uri) for host in hosts]

    migration = await judged(store, nodes, {"mode": "custom", "model": "Nehalem"}, Vetting(Hosts(hypervisors)))

    await hypervisors.close()
    assert migration["status"]["phase"] == "Running"
