"""Guests whose disks only their host reaches, between real libvirt hosts: the data go along, written to while they move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kinds import MIGRATION, VIRTUAL_MACHINE
from app.lab.hosts import LabHosts
from app.machinery.objects import Document
from app.store.base import Store
from tests.controllers.disks import content, make_disk, writer_xml
from tests.controllers.test_adoption_on_libvirt import WEB, drover, on
from tests.controllers.world import World, condition, eventually
from tests.lab.virsh import virsh

pytestmark = pytest.mark.libvirt
CAP = {"bandwidthPerMigration": "16Mi"}


@pytest.fixture
def hosts() -> Iterator[LabHosts]:
    with LabHosts.temporary("node0", "node1") as standing:
        yield standing


def started(hosts: LabHosts, form: str) -> tuple[Path, str]:
    """A guest that writes to that disk, on node0; the disk, and the checksum of what it does not write to."""
    disk = hosts["node0"].directory / "disks" / f"web.{form}"
    disk.parent.mkdir(mode=0o755)
    hosts.give(disk.parent)
    preset = make_disk(hosts, disk, form)
    virsh(hosts["node0"], "define", "/dev/stdin", given=writer_xml(hosts, "web", WEB, disk, form))
    virsh(hosts["node0"], "start", "web")
    return disk, preset


async def migrate(world: World, name: str, **options: str) -> Document:
    spec = {"selector": {"name": "web"}, "options": options}
    await world.make(MIGRATION, name, finalizers=["kubevirt.io/migration"], spec=spec)
    return await world.until(MIGRATION, name, lambda m: m.get("status", {}).get("phase") in ("Succeeded", "Failed"))


def disk_of(hosts: LabHosts, node: str) -> Path:
    """Of the running guest."""
    lines = virsh(hosts[node], "domblklist", "web").splitlines()
    return Path(next(line.split()[-1] for line in lines if line.split()[0] == "vdb"))


def writes(hosts: LabHosts, node: str) -> int:
    """How many the guest has made since it came to that host."""
    lines = virsh(hosts[node], "domblkstat", "web", "vdb").splitlines()
    return next(int(line.split()[-1]) for line in lines if "wr_req" in line)


@pytest.mark.parametrize("form", ["qcow2", pytest.param("raw", marks=pytest.mark.slow)])
async def test_a_disk_moves_with_its_guest_and_its_data_are_the_same(store: Store, hosts: LabHosts, form: str) -> None:
    disk, preset = started(hosts, form)

    async with drover(store, hosts) as world:
        vm = await on(world, "node0")
        await eventually(lambda: writes(hosts, "node0") > 0)
        before = writes(hosts, "node0")
        migration = await migrate(world, "m1", **CAP)
        await on(world, "node1")
        copy = disk_of(hosts, "node1")
        left = content(disk, form)
        await eventually(lambda: writes(hosts, "node1") > 0)
        virsh(hosts["node1"], "suspend", "web")
        virsh(hosts["node1"], "destroy", "web")

    after = content(copy, form)
    print(f"{form}: {before} writes before, {left.writes} when it had moved, {after.writes} at the end")
    print(migration["status"]["progress"])
    assert condition(vm, "LiveMigratable")["status"] == "True"
    assert [one["size"] > 0 for one in vm["status"]["hostRequirements"]["disks"] if one["target"] == "vdb"] == [True]
    assert migration["status"]["phase"] == "Succeeded", migration["status"]
    assert copy == disk.with_name(f"{disk.name}.{migration['metadata']['uid'][:8]}")
    assert before < left.writes < after.writes
    assert preset == left.preset == after.preset
    assert migration["status"]["progress"]["dataTotalBytes"] > 64 << 20
    assert await world.events("DiskLeftBehind")


async def test_only_what_drover_made_is_removed_once_the_guest_has_left_it(store: Store, hosts: LabHosts) -> None:
    disk, _ = started(hosts, "qcow2")

    async with drover(store, hosts) as world:
        await on(world, "node0")
        await migrate(world, "m1")
        await on(world, "node1")
        first = disk_of(hosts, "node1")
        stays = first.exists()
        back = await migrate(world, "m2")
        await on(world, "node0")
        await eventually(lambda: not first.exists())
        second = disk_of(hosts, "node0")
        vm = await world.until(VIRTUAL_MACHINE, "web", lambda vm: len(vm["status"].get("madeDisks", [])) == 1)

    assert stays and disk.exists() and second.exists()
    assert second == disk.with_name(f"{disk.name}.{back['metadata']['uid'][:8]}")
    assert vm["status"]["madeDisks"] == [{"nodeName": "node0", "path": str(second)}]


@pytest.mark.slow
async def test_what_was_made_for_a_move_that_was_cancelled_is_removed(store: Store, hosts: LabHosts) -> None:
    disk, _ = started(hosts, "qcow2")

    async with drover(store, hosts) as world:
        await on(world, "node0")
        spec = {"selector": {"name": "web"}, "options": {"bandwidthPerMigration": "1Mi"}}
        made = await world.make(MIGRATION, "m1", finalizers=["kubevirt.io/migration"], spec=spec)
        copy = disk.with_name(f"{disk.name}.{made['metadata']['uid'][:8]}")
        await world.until(
            MIGRATION, "m1", lambda m: (m.get("status", {}).get("progress") or {}).get("elapsedMs", 0) > 0
        )
        was_there = copy.exists()
        await world.delete(MIGRATION, "m1")
        await world.until_gone(MIGRATION, "m1")
        await eventually(lambda: not copy.exists())
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: "madeDisks" not in vm["status"])

    assert was_there and disk.exists()
    assert len(hosts["node0"].guests()) == 1


async def test_a_disk_is_not_copied_where_that_is_not_wanted(store: Store, hosts: LabHosts) -> None:
    started(hosts, "qcow2")

    async with drover(store, hosts) as world:
        await on(world, "node0")
        spec = {"selector": {"name": "web"}, "options": {"copyStorage": "Never"}}
        await world.make(MIGRATION, "m1", finalizers=["kubevirt.io/migration"], spec=spec)
        waiting = await world.until(MIGRATION, "m1", lambda m: m.get("status", {}).get("phase") == "Scheduling")

    assert "don't share the guest's disk" in condition(waiting, "Scheduled")["message"]
