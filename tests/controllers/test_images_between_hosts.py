"""Disks, layers and CDs between real libvirt hosts with addresses and file systems of their own, over TCP and over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.controllers.host_controllers import HostControllers
from app.controllers.lease import LeaseKeeper
from app.controllers.migration.reconcile import MigrationController
from app.controllers.migration.supervise import Tenure
from app.controllers.workers import WorkerConfig, Workers
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors, connect_factory
from app.kinds import MIGRATION, NODE, VIRTUAL_MACHINE
from app.lab.namespaces import NamespaceHost, NamespaceLab
from app.machinery.objects import Document
from app.store.base import Store
from tests.controllers.disks import MIB, content, make_disk, writer_xml
from tests.controllers.test_adoption_on_libvirt import WEB, on
from tests.controllers.world import FAST, World, condition, eventually, is_ready
from tests.hypervisor.pki import Authority
from tests.hypervisor.wire import tapped

pytestmark = [pytest.mark.libvirt, pytest.mark.postgres, pytest.mark.namespaces]

FOLDER = Path("/var/lib/libvirt/images")
"""On every host another folder."""


class Machines(NamespaceLab):
    """What `disks` asks of a lab."""

    def give(self, path: Path) -> None:
        """Everything is root's here."""
        assert path.exists()


@pytest.fixture
def lab() -> Iterator[Machines]:
    authority = Authority.new()
    with Machines("node0", "node1") as standing:
        for host in standing:
            authority.furnish(host.pki, host.address)
            outside(host).mkdir()
        yield standing


def outside(host: NamespaceHost, path: Path = FOLDER) -> Path:
    """Where that file of the host is seen from here."""
    return host.directory / "lib" / path.relative_to("/var/lib/libvirt")


@asynccontextmanager
async def drover(store: Store, lab: Machines, tls: str = "false") -> AsyncIterator[World]:
    world, hypervisors = World(store), LibvirtHypervisors()
    for host in lab:
        said = {
            "kubevirt.io/migration-uri": host.migration_uri,
            "kubevirt.io/peer-uri": host.peer_uri,
            "kubevirt.io/migration-tls": tls,
        }
        await world.node(host.name, host.uri, annotations=said)
    keeper = LeaseKeeper(store.leases, "one", timedelta(seconds=9))
    config = WorkerConfig(tenure=Tenure(lease=timedelta(seconds=6), settle_s=0.5))
    parts = (
        keeper.run(),
        HostControllers(store, hypervisors, keeper, FAST).run(),
        MigrationController(store, keeper, hypervisors=hypervisors).run(),
        Workers(store, connect_factory, "one", config).run(),
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part) for part in parts]
        try:
            for host in lab:
                await world.until(NODE, host.name, is_ready)
            yield world
        finally:
            for task in running:
                task.cancel()
    await hypervisors.close()


def qemu_img(*words: str) -> str:
    done = subprocess.run(["qemu-img", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def virsh(host: NamespaceHost, *words: str, given: str | None = None) -> str:
    command = ["virsh", "-q", "-c", host.uri, *words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cd_xml(path: Path | None, dev: str) -> str:
    source = f"<source file='{path}'/>" if path else ""
    return (
        f"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>{source}"
        f"<target dev='{dev}' bus='ide'/><readonly/></disk>"
    )


def started(lab: Machines, *, layered: bool = False, form: str = "qcow2", more: str = "") -> str:
    """A guest on node0 that writes to a disk there; the checksum of what it does not write to."""
    host, disk = lab["node0"], FOLDER / f"web.{form}"
    made = outside(host, disk.with_name(f"base.{form}") if layered else disk)
    preset = make_disk(lab, made, form)  # type: ignore[arg-type]  # another lab with the same words
    if layered:
        # By name alone, so that the layer is found from inside and from outside.
        qemu_img("create", "-q", "-f", "qcow2", "-F", form, "-b", made.name, str(outside(host, disk)))
    xml = writer_xml(lab, "web", WEB, disk, form)  # type: ignore[arg-type]
    virsh(host, "define", "/dev/stdin", given=xml.replace("<controller", f"{more}<controller", 1))
    virsh(host, "start", "web")
    return preset


async def migrated(world: World, name: str, **options: str) -> Document:
    spec = {"selector": {"name": "web"}, "options": options}
    await world.make(MIGRATION, name, finalizers=["kubevirt.io/migration"], spec=spec)
    over = ("Succeeded", "Failed")
    return await world.until(MIGRATION, name, lambda m: m.get("status", {}).get("phase") in over, within_s=60)


def disk_of(lab: Machines, node: str, target: str) -> str:
    lines = virsh(lab[node], "domblklist", "web").splitlines()
    return next(line.split()[-1] for line in lines if line.split()[0] == target)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def a_cd(host: NamespaceHost, name: str, size: int = 3 * MIB + 2048) -> str:
    """Random data in a file there; their checksum."""
    path = outside(host, FOLDER / name)
    path.write_bytes(os.urandom(size))
    return digest(path)


def ended(lab: Machines, node: str) -> None:
    virsh(lab[node], "suspend", "web")
    virsh(lab[node], "destroy", "web")


@pytest.mark.parametrize(
    "tls", [pytest.param("false", marks=pytest.mark.slow, id="tcp"), pytest.param("true", id="tls")]
)
async def test_a_layered_disk_moves_whole_over_the_network(store: Store, lab: Machines, tls: str) -> None:
    preset = started(lab, layered=True)
    known = outside(lab["node0"], FOLDER / "base.qcow2")
    page = preset_page(known)

    async with drover(store, lab, tls) as world:
        vm = await on(world, "node0")
        with tapped(lab, "node1") as wire:
            migration = await migrated(world, "m1", bandwidthPerMigration="32Mi")
        await on(world, "node1")
        copy = outside(lab["node1"], Path(disk_of(lab, "node1", "vdb")))
        ended(lab, "node1")

    info = json.loads(qemu_img("info", "--output=json", str(copy)))
    assert condition(vm, "LiveMigratable")["status"] == "True"
    assert migration["status"]["phase"] == "Succeeded", migration["status"]
    assert content(copy, "qcow2").preset == preset
    assert "backing-filename" not in info
    assert wire.bytes > 16 * MIB, "the disk went over this wire"
    assert wire.carried(page) is (tls == "false")
    assert migration["status"]["migrationState"]["encrypted"] is (tls == "true")


def preset_page(image: Path) -> bytes:
    """A part of what the guest never touches."""
    raw = image.with_name("page.raw")
    qemu_img("convert", "-O", "raw", str(image), str(raw))
    page = raw.read_bytes()[5 * MIB : 5 * MIB + 256]
    raw.unlink()
    return page


async def test_cds_come_along_and_empty_drives_stay_empty(store: Store, lab: Machines) -> None:
    seed, tools = a_cd(lab["node0"], "seed.iso"), a_cd(lab["node0"], "tools.iso")
    same = outside(lab["node1"], FOLDER / "tools.iso")
    same.write_bytes(outside(lab["node0"], FOLDER / "tools.iso").read_bytes())
    started(lab, more=cd_xml(FOLDER / "seed.iso", "hda") + cd_xml(FOLDER / "tools.iso", "hdb") + cd_xml(None, "hdc"))

    async with drover(store, lab) as world:
        await on(world, "node0")
        there = await migrated(world, "m1")
        await on(world, "node1")
        brought = disk_of(lab, "node1", "hda")
        found = [disk_of(lab, "node1", target) for target in ("hdb", "hdc")]
        first = outside(lab["node1"], Path(brought))
        arrived = digest(first)
        vm = await world.until(VIRTUAL_MACHINE, "web", lambda vm: len(vm["status"].get("madeDisks", [])) == 2)
        back = await migrated(world, "m2")
        await on(world, "node0")
        await eventually(lambda: not first.exists())
        again = digest(outside(lab["node0"], Path(disk_of(lab, "node0", "hda"))))

    assert there["status"]["phase"] == back["status"]["phase"] == "Succeeded", (there["status"], back["status"])
    assert brought == f"{FOLDER}/seed.iso.{there['metadata']['uid'][:8]}"
    assert found == [str(FOLDER / "tools.iso"), "-"]
    assert seed == arrived == again
    assert digest(same) == tools
    assert {made["path"] for made in vm["status"]["madeDisks"]} == {brought, f"{FOLDER}/web.qcow2.{brought[-8:]}"}
    assert (outside(lab["node0"], FOLDER / "seed.iso")).exists()


@pytest.mark.slow
async def test_a_cd_of_the_same_name_with_other_data_is_neither_used_nor_touched(store: Store, lab: Machines) -> None:
    seed, other = a_cd(lab["node0"], "seed.iso"), a_cd(lab["node1"], "seed.iso")
    started(lab, more=cd_xml(FOLDER / "seed.iso", "hda"))

    async with drover(store, lab) as world:
        await on(world, "node0")
        migration = await migrated(world, "m1")
        await on(world, "node1")
        used = outside(lab["node1"], Path(disk_of(lab, "node1", "hda")))

    assert migration["status"]["phase"] == "Succeeded", migration["status"]
    assert digest(used) == seed
    assert digest(outside(lab["node1"], FOLDER / "seed.iso")) == other


@pytest.mark.slow
async def test_a_cd_that_is_gone_from_its_host_stops_the_move_until_it_is_ejected(store: Store, lab: Machines) -> None:
    """The guest reads on what was deleted; on another host it would find nothing."""
    for name in ("gone.iso", "spare.iso"):
        a_cd(lab["node0"], name)
    spare = cd_xml(FOLDER / "spare.iso", "hdb").replace("<source ", "<source startupPolicy='optional' ")
    started(lab, more=cd_xml(FOLDER / "gone.iso", "hda") + spare)

    async with drover(store, lab) as world:
        await on(world, "node0")
        for name in ("gone.iso", "spare.iso"):
            outside(lab["node0"], FOLDER / name).unlink()
        refused = await migrated(world, "m1")
        virsh(lab["node0"], "change-media", "web", "hda", "--eject")
        moved = await migrated(world, "m2")
        assert moved["status"]["phase"] == "Succeeded", moved["status"]
        await on(world, "node1")

    assert refused["status"]["phase"] == "Failed"
    assert (
        f"{FOLDER / 'gone.iso'} is no longer on node0, and node1 has none"
        in refused["status"]["migrationState"]["failureReason"]
    )
    assert [disk_of(lab, "node1", drive) for drive in ("hda", "hdb")] == ["-", "-"]


def files(host: NamespaceHost) -> set[str]:
    return {path.name for path in outside(host).iterdir()}


async def test_a_move_that_is_cancelled_while_a_cd_is_brought_leaves_nothing(store: Store, lab: Machines) -> None:
    a_cd(lab["node0"], "seed.iso", 64 * MIB)
    started(lab, more=cd_xml(FOLDER / "seed.iso", "hda"))

    async with drover(store, lab) as world:
        await on(world, "node0")
        spec = {"selector": {"name": "web"}, "options": {"bandwidthPerMigration": "1Mi"}}
        await world.make(MIGRATION, "m1", finalizers=["kubevirt.io/migration"], spec=spec)
        await eventually(lambda: any(name.startswith("seed.iso.") for name in files(lab["node1"])))
        await world.delete(MIGRATION, "m1")
        await world.until_gone(MIGRATION, "m1")
        await eventually(lambda: not files(lab["node1"]))
        await world.until(VIRTUAL_MACHINE, "web", lambda vm: "madeDisks" not in vm["status"])

    assert "seed.iso" in files(lab["node0"])
    assert len(lab["node0"].guests()) == 1


@pytest.mark.slow
async def test_a_copy_over_the_network_that_is_cancelled_leaves_nothing(store: Store, lab: Machines) -> None:
    started(lab, form="raw")

    async with drover(store, lab) as world:
        await on(world, "node0")
        spec = {"selector": {"name": "web"}, "options": {"bandwidthPerMigration": "1Mi"}}
        await world.make(MIGRATION, "m1", finalizers=["kubevirt.io/migration"], spec=spec)
        await world.until(
            MIGRATION, "m1", lambda m: (m.get("status", {}).get("progress") or {}).get("elapsedMs", 0) > 0
        )
        was_there = files(lab["node1"])
        await world.delete(MIGRATION, "m1")
        await world.until_gone(MIGRATION, "m1")
        await eventually(lambda: not files(lab["node1"]))

    assert len(was_there) == 1
    assert len(lab["node0"].guests()) == 1


@pytest.mark.slow
async def test_a_raw_disk_moves_over_the_network_with_its_data(store: Store, lab: Machines) -> None:
    preset = started(lab, form="raw")

    async with drover(store, lab) as world:
        await on(world, "node0")
        migration = await migrated(world, "m1", bandwidthPerMigration="32Mi")
        await on(world, "node1")
        copy = outside(lab["node1"], Path(disk_of(lab, "node1", "vdb")))
        left = content(outside(lab["node0"], FOLDER / "web.raw"), "raw")
        ended(lab, "node1")

    after = content(copy, "raw")
    assert migration["status"]["phase"] == "Succeeded", migration["status"]
    assert (left.preset, after.preset) == (preset, preset)
    assert after.writes > left.writes > 0


async def test_a_host_without_room_for_the_disks_is_excluded_before_anything_moves(store: Store, lab: Machines) -> None:
    started(lab)
    lab["node1"].enclosure.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(FOLDER))

    async with drover(store, lab) as world:
        await on(world, "node0")
        spec: Document = {"selector": {"name": "web"}}
        await world.make(MIGRATION, "m1", finalizers=["kubevirt.io/migration"], spec=spec)
        waiting = await world.until(
            MIGRATION, "m1", lambda m: "room" in condition(m, "Scheduled").get("message", ""), within_s=30
        )

    assert waiting["status"]["phase"] == "Scheduling"
    assert f"of the guest's disks in {FOLDER}" in condition(waiting, "Scheduled")["message"]
    assert "migrationState" not in waiting["status"]
