"""Two hosts with guests, simulated or real: what the contract suite needs of either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from uuid import UUID, uuid4

import pytest

from app.hypervisor.base import Destination, Hypervisor, Hypervisors, State
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.hypervisor.libvirt_driver.driver import Deadlines, LibvirtHypervisors
from app.hypervisor.precopy import Load
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.hosts import LabHosts
from app.lab.namespaces import NamespaceLab
from tests.hypervisor.post_copy import break_post_copy

MIB = 1 << 20
MEMORY_MIB = 48
DIRTY_MIB = 24
DIRTY_MIB_PER_SECOND = 16
A, B = "node0", "node1"


class Site(Protocol):
    """Two hosts, node0 and node1."""

    hypervisors: Hypervisors

    def uri(self, host: str) -> str: ...

    def definition(self, uuid: UUID, name: str, *, busy: bool = False) -> str:
        """A guest's; a busy one dirties its memory faster than a cap of 4 MiB/s can send it."""

    def destination(self, host: str, *, bandwidth: int | None = None) -> Destination: ...

    def disks_uri(self, host: str) -> str | None:
        """Where that host listens for disks."""

    def disk(self, host: str, name: str) -> str:
        """A path on that host where disks may be made; its folder is not there yet."""

    def with_disk(self, uuid: UUID, name: str, disk: str) -> str:
        """A guest's definition; it writes to that disk, vdb, of raw data."""

    async def lose(self, host: str) -> None:
        """Connections to it break, its guests go on, and it is there again at once."""

    async def break_post_copy(self, host: str, guest: UUID) -> None:
        """The connection that carries its pages away from there is gone, and both hosts hear of it."""

    def forbid_post_copy(self) -> None:
        """QEMU there may not do it."""

    async def close(self) -> None: ...


def _with_disk(definition: str, disk: str) -> str:
    more = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{disk}'/>"
        "<target dev='vdb' bus='virtio'/></disk>"
    )
    return definition.replace("<controller", f"{more}<controller", 1)


class FakeSite:
    def __init__(self) -> None:
        self.cloud = FakeCloud(A, B, bandwidth=256 * MIB, tick_s=0.01)
        self.hypervisors: Hypervisors = FakeHypervisors(self.cloud, deadline_s=2)

    def uri(self, host: str) -> str:
        return self.cloud[host].uri

    def definition(self, uuid: UUID, name: str, *, busy: bool = False) -> str:
        rate = DIRTY_MIB_PER_SECOND * MIB if busy else 0
        self.cloud.loads[uuid] = Load(MEMORY_MIB * MIB, dirty_rate=rate, working_set=DIRTY_MIB * MIB)
        return boot_sector_xml(name, str(uuid), Path("/images/guest.img"), memory_mib=MEMORY_MIB).replace(
            "'kvm'", "'qemu'"
        )

    def destination(self, host: str, *, bandwidth: int | None = None) -> Destination:
        return Destination(self.uri(host), bandwidth=bandwidth)

    def disks_uri(self, host: str) -> str | None:
        return None

    def disk(self, host: str, name: str) -> str:
        return f"/{host}/disks/{name}"

    def with_disk(self, uuid: UUID, name: str, disk: str) -> str:
        return _with_disk(self.definition(uuid, name), disk)

    async def lose(self, host: str) -> None:
        self.cloud.disconnect(host)

    async def break_post_copy(self, host: str, guest: UUID) -> None:
        migration = self.cloud[host].guests[guest].migration
        assert migration is not None
        migration.broken = True

    def forbid_post_copy(self) -> None:
        self.cloud[B].faults.lacks_post_copy = True

    async def close(self) -> None:
        await self.hypervisors.close()
        await self.cloud.close()


LabT = TypeVar("LabT", LabHosts, NamespaceLab)


class RealSite(Generic[LabT]):
    def __init__(self, lab: LabT, deadlines: Deadlines | None = None) -> None:
        self.lab: LabT = lab
        self.hypervisors: Hypervisors = LibvirtHypervisors(deadlines)

    def uri(self, host: str) -> str:
        return self.lab[host].uri

    def definition(self, uuid: UUID, name: str, *, busy: bool = False) -> str:
        image = self.lab.images / ("busy.img" if busy else "idle.img")
        if not image.exists():
            build_boot_sector(image, dirty_mib=DIRTY_MIB, mib_per_second=DIRTY_MIB_PER_SECOND if busy else 0)
        return boot_sector_xml(name, str(uuid), image, memory_mib=MEMORY_MIB)

    def destination(self, host: str, *, bandwidth: int | None = None) -> Destination:
        raise NotImplementedError

    def forbid_post_copy(self) -> None:
        assert Path("/proc/sys/vm/unprivileged_userfaultfd").read_text() == "0\n", (
            "the kernel lets every user do post-copy"
        )

    async def break_post_copy(self, host: str, guest: UUID) -> None:
        await break_post_copy(self.uri(host), guest)

    def disks_uri(self, host: str) -> str | None:
        return None

    def disk(self, host: str, name: str) -> str:
        return str(self.lab[host].directory / f"disks-{uuid4().hex[:8]}" / name)

    def with_disk(self, uuid: UUID, name: str, disk: str) -> str:
        return _with_disk(self.definition(uuid, name), disk)

    async def lose(self, host: str) -> None:
        await asyncio.to_thread(self.lab[host].kill)
        await asyncio.to_thread(self.lab[host].start)

    async def close(self) -> None:
        """Every guest goes; the hosts stand for the next test."""
        for host in (A, B):
            await asyncio.to_thread(self.lab[host].start)
            hypervisor = await self.hypervisors.connect(self.uri(host))
            for domain in await hypervisor.domains():
                await hypervisor.destroy(domain.uuid)
                await hypervisor.undefine(domain.uuid)
        await self.hypervisors.close()


class LibvirtSite(RealSite[LabHosts]):
    """Hosts without rights."""

    def destination(self, host: str, *, bandwidth: int | None = None) -> Destination:
        socket = self.lab[host].migration_sockets / f"{uuid4().hex[:8]}.sock"
        return Destination(self.uri(host), f"unix://{socket}", bandwidth=bandwidth)

    def disks_uri(self, host: str) -> str | None:
        return f"unix://{self.lab[host].migration_sockets / f'{uuid4().hex[:8]}.sock'}"


class NamespaceSite(RealSite[NamespaceLab]):
    """Hosts of root's, whose QEMU may do post-copy."""

    def destination(self, host: str, *, bandwidth: int | None = None) -> Destination:
        return Destination(self.lab[host].peer_uri, self.lab[host].migration_uri, bandwidth=bandwidth)


@pytest.fixture(scope="session")
def lab() -> Iterator[LabHosts]:
    """Two real hosts for all of this folder's tests."""
    with LabHosts.temporary(A, B) as standing:
        yield standing


@pytest.fixture
async def libvirt_site(lab: LabHosts) -> AsyncIterator[LibvirtSite]:
    site = LibvirtSite(lab)
    yield site
    await site.close()


@pytest.fixture
async def fake_site() -> AsyncIterator[FakeSite]:
    site = FakeSite()
    yield site
    await site.close()


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.libvirt)])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture(scope="session")
def namespace_lab() -> Iterator[NamespaceLab]:
    with NamespaceLab(A, B) as standing:
        yield standing


@pytest.fixture
async def namespaces_site(namespace_lab: NamespaceLab) -> AsyncIterator[NamespaceSite]:
    site = NamespaceSite(namespace_lab)
    yield site
    await site.close()


@pytest.fixture(
    params=["fake", pytest.param("namespaces", marks=[pytest.mark.libvirt, pytest.mark.namespaces])],
)
def post_copy_site(request: pytest.FixtureRequest) -> Site:
    """Hosts that can do post-copy."""
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture
async def source(site: Site) -> Hypervisor:
    return await site.hypervisors.connect(site.uri(A))


@pytest.fixture
async def target(site: Site) -> Hypervisor:
    return await site.hypervisors.connect(site.uri(B))


async def gone(hypervisor: Hypervisor, guest: UUID) -> bool:
    return (await hypervisor.look(guest)).state is State.ABSENT
