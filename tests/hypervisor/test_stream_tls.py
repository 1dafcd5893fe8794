"""The stream between two hosts, with libvirt and real certificates: what of a guest's memory can be read on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.hypervisor.base import Destination, Domain, Hypervisor, MigrationFailed, State
from app.hypervisor.libvirt_driver.driver import LibvirtHypervisors
from app.lab.boot_sector import boot_sector_xml, build_boot_sector
from app.lab.namespaces import NamespaceLab
from tests.hypervisor.pki import Authority
from tests.hypervisor.waiting import eventually
from tests.hypervisor.wire import tapped

pytestmark = [pytest.mark.libvirt, pytest.mark.namespaces, pytest.mark.xdist_group("stream tls")]

BOOTED_AT = slice(0, 256)
"""Of the guest's disk: the firmware loads it into memory, where nothing writes to this part."""
Guest = Callable[[], UUID]


@pytest.fixture(scope="module")
def lab() -> Iterator[NamespaceLab]:
    """node0 and node1 have certificates for their addresses, node2 one for a name, node3 none."""
    authority = Authority.new()
    with NamespaceLab("node0", "node1", "node2", "node3") as standing:
        for name, bears in (("node0", standing["node0"].address), ("node1", standing["node1"].address)):
            authority.furnish(standing[name].pki, bears)
        authority.furnish(standing["node2"].pki, "node2.example")
        build_boot_sector(standing.images / "guest.img", dirty_mib=8, mib_per_second=1)
        yield standing


@pytest.fixture
async def hypervisors() -> AsyncIterator[LibvirtHypervisors]:
    opened = LibvirtHypervisors()
    yield opened
    await opened.close()


@pytest.fixture
async def source(lab: NamespaceLab, hypervisors: LibvirtHypervisors) -> Hypervisor:
    return await hypervisors.connect(lab["node0"].uri)


@pytest.fixture
async def guest(lab: NamespaceLab, source: Hypervisor) -> UUID:
    """It ticks, so what it was booted from is in its memory."""
    uuid = uuid4()
    name, console = f"guest-{uuid.hex[:8]}", lab.images / f"{uuid}.console"
    xml = boot_sector_xml(name, str(uuid), lab.images / "guest.img", memory_mib=48, console=console)
    await source.define_and_start(xml)
    await eventually(lambda: asyncio.to_thread(said, console), lambda ticks: len(ticks) > 3)
    return uuid


def said(console: Path) -> list[bytes]:
    """Its ticks."""
    return console.read_bytes().splitlines() if console.exists() else []


def towards(lab: NamespaceLab, name: str, *, tls: bool, tls_name: str | None = None) -> Destination:
    host = lab[name]
    return Destination(host.peer_uri, host.migration_uri, tls=tls, tls_name=tls_name)


def page(images: Path) -> bytes:
    return (images / "guest.img").read_bytes()[BOOTED_AT]


async def where(lab: NamespaceLab, hypervisors: LibvirtHypervisors, guest: UUID, target: str) -> tuple[State, State]:
    looked: list[Domain] = []
    for name in ("node0", target):
        looked.append(await (await hypervisors.connect(lab[name].uri)).look(guest))
    return looked[0].state, looked[1].state


async def test_without_tls_the_guests_memory_can_be_read_on_the_wire(
    lab: NamespaceLab, source: Hypervisor, guest: UUID
) -> None:
    with tapped(lab, "node1") as wire:
        await source.migrate(guest, towards(lab, "node1", tls=False))

    assert wire.carried(page(lab.images))


async def test_with_tls_it_cannot(
    lab: NamespaceLab, hypervisors: LibvirtHypervisors, source: Hypervisor, guest: UUID
) -> None:
    with tapped(lab, "node1") as wire:
        await source.migrate(guest, towards(lab, "node1", tls=True))

    assert not wire.carried(page(lab.images))
    assert wire.bytes > 1 << 19, "the guest went over this wire"
    assert await where(lab, hypervisors, guest, "node1") == (State.SHUTOFF, State.RUNNING)


async def test_a_certificate_for_another_name_is_accepted_under_that_name(
    lab: NamespaceLab, hypervisors: LibvirtHypervisors, source: Hypervisor, guest: UUID
) -> None:
    await source.migrate(guest, towards(lab, "node2", tls=True, tls_name="node2.example"))

    assert await where(lab, hypervisors, guest, "node2") == (State.SHUTOFF, State.RUNNING)


@pytest.mark.parametrize(
    ("target", "name"), [("node2", None), ("node1", "other.example"), ("node3", None)],
    ids=["for another name", "for another name than told", "without a certificate"],
)  # fmt: skip
async def test_a_target_that_cannot_prove_itself_gets_nothing_and_the_guest_stays(
    lab: NamespaceLab, hypervisors: LibvirtHypervisors, source: Hypervisor, guest: UUID, target: str, name: str | None
) -> None:
    with tapped(lab, target) as wire, pytest.raises(MigrationFailed):
        await source.migrate(guest, towards(lab, target, tls=True, tls_name=name))

    assert not wire.carried(page(lab.images))
    assert await where(lab, hypervisors, guest, target) == (State.RUNNING, State.ABSENT)
