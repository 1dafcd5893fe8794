"""The life of a VirtualMachine on real libvirt hosts: libvirtd and QEMU, and a guest that is a boot sector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.kinds import NODE, VIRTUAL_MACHINE
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHosts
from app.store.base import Store
from tests.controllers.world import World, condition, eventually, is_ready, running
from tests.lab.virsh import virsh

pytestmark = pytest.mark.libvirt


@pytest.fixture
def hosts() -> Iterator[LabHosts]:
    with LabHosts.temporary("node0", "node1") as standing:
        yield standing


def guest_xml(hosts: LabHosts) -> str:
    image: Path = build_boot_sector(hosts.images / "sector.img")
    return boot_sector_xml("ignored", "", image)


async def test_a_vm_runs_in_libvirt_and_leaves_nothing_when_deleted(store: Store, hosts: LabHosts) -> None:
    world, hypervisors = World(store), LibvirtHypervisors()
    await world.node("node0", hosts["node0"].uri)

    async with running(store, hypervisors):
        await world.until(NODE, "node0", is_ready)
        made = await world.vm("testvm", domainXML=guest_xml(hosts))
        vm = await world.phase("testvm", "Running")
        dump = virsh(hosts["node0"], "dumpxml", made["metadata"]["uid"])
        await world.delete(VIRTUAL_MACHINE, "testvm")
        await world.until_gone(VIRTUAL_MACHINE, "testvm")

    assert "<name>default_testvm</name>" in dump
    assert vm["status"]["nodeName"] == "node0" == vm["metadata"]["labels"]["kubevirt.io/nodeName"]
    assert {t: condition(vm, t)["status"] for t in ("Ready", "Synchronized", "LiveMigratable")} == {
        "Ready": "True",
        "Synchronized": "True",
        "LiveMigratable": "True",
    }
    assert virsh(hosts["node0"], "list", "--all", "--name").strip() == ""
    assert hosts["node0"].guests() == []
    assert await world.pods() == []
    await hypervisors.close()


async def test_what_libvirt_says_of_a_bad_domain_is_told(store: Store, hosts: LabHosts) -> None:
    world, hypervisors = World(store), LibvirtHypervisors()
    await world.node("node0", hosts["node0"].uri)
    bad = guest_xml(hosts).replace("sector.img", "no-such.img")

    async with running(store, hypervisors):
        await world.vm("badvm", domainXML=bad)
        vm = await world.phase("badvm", "Failed")

    assert condition(vm, "Synchronized")["status"] == "False"
    assert "no-such.img" in condition(vm, "Synchronized")["message"]
    assert virsh(hosts["node0"], "list", "--all", "--name").strip() == ""
    await hypervisors.close()


async def test_a_host_whose_libvirtd_died_is_not_ready_and_its_guest_unknown_until_it_is_back(
    store: Store, hosts: LabHosts
) -> None:
    world, hypervisors = World(store), LibvirtHypervisors()
    await world.node("node0", hosts["node0"].uri)

    async with running(store, hypervisors):
        await world.vm("testvm", domainXML=guest_xml(hosts))
        await world.phase("testvm", "Running")
        hosts["node0"].kill()
        lost = await world.until(NODE, "node0", lambda node: not is_ready(node), within_s=15)
        unknown = await world.phase("testvm", "Unknown")
        hosts["node0"].start()
        await world.until(NODE, "node0", is_ready)
        await world.phase("testvm", "Running")

    assert condition(lost, "Ready")["reason"] == "HostUnreachable"
    assert condition(unknown, "Ready")["status"] == "Unknown"
    assert len(hosts["node0"].guests()) == 1
    await hypervisors.close()


async def test_a_guest_that_is_ended_past_drover_is_failed_and_not_started_again(store: Store, hosts: LabHosts) -> None:
    world, hypervisors = World(store), LibvirtHypervisors()
    await world.node("node0", hosts["node0"].uri)

    async with running(store, hypervisors):
        made = await world.vm("testvm", domainXML=guest_xml(hosts))
        await world.phase("testvm", "Running")
        virsh(hosts["node0"], "destroy", made["metadata"]["uid"])
        vm = await world.phase("testvm", "Failed")
        await eventually(lambda: hosts["node0"].guests() == [])

    assert condition(vm, "Ready")["reason"] == "GuestDestroyed"
    await hypervisors.close()
