"""Guests that somebody started with virsh, on real libvirt hosts: adopted, moved by Drover and past it, let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from app.controllers.host_controllers import HostControllers
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.supervise import Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors, connect_factory
from app.kinds import MIGRATION, NODE, VIRTUAL_MACHINE
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHosts
from app.machinery.objects import Document
from app.store.base import Store
from tests.controllers.world import FAST, World, condition, eventually, is_ready
from tests.lab.virsh import move, virsh

pytestmark = pytest.mark.libvirt
WEB = "1a2b3c4d-0000-4000-8000-000000000001"
MARK = "https://drover/domain/v1"


@pytest.fixture
def hosts() -> Iterator[LabHosts]:
    with LabHosts.temporary("node0", "node1") as standing:
        yield standing


def definition(hosts: LabHosts, name: str = "web", uuid: str = WEB) -> str:
    return boot_sector_xml(name, uuid, build_boot_sector(hosts.images / "boot.img", mib_per_second=1))


@asynccontextmanager
async def drover(store: Store, hosts: LabHosts) -> AsyncIterator[World]:
    """All of it, but for the API."""
    world, hypervisors = World(store), LibvirtHypervisors()
    for host in hosts:
        uri = {"kubevirt.io/migration-uri": f"unix://{host.migration_sockets}/"}
        await world.node(host.name, host.uri, annotations=uri)
    keeper = LeaseKeeper(store.leases, "one", timedelta(seconds=9))
    config = WorkerConfig(tenure=Tenure(lease=timedelta(seconds=6), settle_s=0.5))
    parts = (
        keeper.run(),
        HostControllers(store, hypervisors, keeper, FAST).run(),
        MigrationController(store, keeper).run(),
        Workers(store, connect_factory, "one", config).run(),
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part) for part in parts]
        try:
            for host in hosts:
                await world.until(NODE, host.name, is_ready)
            yield world
        finally:
            for task in running:
                task.cancel()
    await hypervisors.close()


async def migrated(world: World, name: str, vm: str = "web") -> Document:
    await world.make(MIGRATION, name, finalizers=["kubevirt.io/migration"], spec={"selector": {"name": vm}})
    return await world.until(MIGRATION, name, lambda m: m.get("status", {}).get("phase") in ("Succeeded", "Failed"))


async def on(world: World, node: str, name: str = "web") -> Document:
    return await world.until(VIRTUAL_MACHINE, name, lambda vm: vm["status"].get("nodeName") == node and is_ready(vm))


def autostart(hosts: LabHosts, node: str) -> str:
    lines = virsh(hosts[node], "dominfo", "web").splitlines()
    return next(line.split()[-1] for line in lines if line.startswith("Autostart"))


async def test_a_guest_of_somebody_elses_is_adopted_moved_let_go_and_adopted_again(
    store: Store, hosts: LabHosts
) -> None:
    virsh(hosts["node0"], "define", "/dev/stdin", given=definition(hosts))
    virsh(hosts["node0"], "autostart", "web")
    virsh(hosts["node0"], "start", "web")

    async with drover(store, hosts) as world:
        adopted = await on(world, "node0")
        pid = hosts["node0"].guests()[0].pid
        migration = await migrated(world, "m1")
        moved = await on(world, "node1")
        await eventually(lambda: autostart(hosts, "node1") == "enable")
        await eventually(lambda: virsh(hosts["node0"], "list", "--all", "--name") == "")
        await world.delete(VIRTUAL_MACHINE, "web")
        await world.until_gone(VIRTUAL_MACHINE, "web")
        released = virsh(hosts["node1"], "metadata", "web", MARK)
        runs_on = hosts["node1"].guests()
        virsh(hosts["node1"], "metadata", "web", MARK, "--remove", "--live", "--config")
        again = await on(world, "node1")

    assert pid and migration["status"]["phase"] == "Succeeded"
    assert migration["status"]["migrationState"]["autostart"] is True
    assert moved["metadata"]["uid"] == adopted["metadata"]["uid"] != again["metadata"]["uid"]
    assert 'released="yes"' in released.replace("'", '"')
    assert virsh(hosts["node1"], "domuuid", "web") == WEB
    assert [guest.pid for guest in hosts["node1"].guests()] == [guest.pid for guest in runs_on]


async def test_a_guest_without_a_definition_has_none_after_the_move_either(store: Store, hosts: LabHosts) -> None:
    virsh(hosts["node0"], "create", "/dev/stdin", given=definition(hosts))

    async with drover(store, hosts) as world:
        await on(world, "node0")
        migration = await migrated(world, "m1")
        await on(world, "node1")
        await eventually(lambda: virsh(hosts["node1"], "list", "--transient", "--name") == "web")

    assert migration["status"]["phase"] == "Succeeded"
    assert virsh(hosts["node0"], "list", "--all", "--name") == ""


async def test_what_is_done_with_virsh_is_noticed_and_told(store: Store, hosts: LabHosts) -> None:
    async with drover(store, hosts) as world:
        virsh(hosts["node0"], "define", "/dev/stdin", given=definition(hosts))
        virsh(hosts["node0"], "start", "web")
        await on(world, "node0")
        virsh(hosts["node0"], "suspend", "web")
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Paused") != {})
        virsh(hosts["node0"], "resume", "web")
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: condition(vm, "Paused") == {})
        move("web", hosts["node0"], hosts["node1"])
        await on(world, "node1")
        [pod] = [pod for pod in await world.pods() if pod["status"]["phase"] in ("Pending", "Running")]
        virsh(hosts["node1"], "destroy", "web")
        failed = await world.phase("web", "Failed")
        virsh(hosts["node1"], "start", "web")
        await on(world, "node1")

    assert pod["spec"]["nodeName"] == "node1"
    assert condition(failed, "Ready")["reason"] == "GuestDestroyed"
    assert await world.events("GuestMoved")
