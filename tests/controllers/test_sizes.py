"""How much of a guest's disks would be copied, as its host tells it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.controllers.virtualmachine.sizes import rounded, sized
from app.hypervisor.fake import FakeCloud, FakeHypervisors
from app.kinds.virtualmachine import VMDisk, VMHostRequirements

MIB = 1 << 20
GUEST = uuid4()
XML = f"""
<domain type='qemu'><name>g</name><uuid>{GUEST}</uuid><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>
  <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/d/a.img'/><target dev='vda'/></disk>
  <disk type='file' device='cdrom'><source file='/d/b.iso'/><target dev='sda'/><readonly/></disk>
</devices></domain>"""
WRITTEN = VMDisk(target="vda", type="file", path="/d/a.img", format="raw", copyable=True)
READ = VMDisk(target="sda", type="file", path="/d/b.iso", format="raw", copyable=True, read_only=True)
DEVICE = VMDisk(target="vdb", type="block", path="/dev/b")


async def told(*disks: VMDisk, domain: UUID = GUEST) -> dict[str, int | None]:
    cloud = FakeCloud("node0")
    cloud["node0"].files["/d/a.img"] = 20 * MIB + 1
    try:
        host = await FakeHypervisors(cloud).connect(cloud["node0"].uri)
        await host.define_and_start(XML)
        found = await sized(VMHostRequirements(disks=list(disks)), domain, host)
        await host.close()
    finally:
        await cloud.close()
    return {disk.target: disk.size for disk in found.disks}


async def test_a_disk_that_is_copied_while_the_guest_runs_has_a_size() -> None:
    assert await told(WRITTEN, READ, DEVICE) == {"vda": 22 * MIB, "sda": None, "vdb": None}


async def test_without_the_hosts_word_nothing_is_said() -> None:
    assert await told(WRITTEN, domain=uuid4()) == {"vda": None}


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 0), (1, MIB), (MIB, MIB), (16 * MIB + 1, 18 * MIB), (100 << 30, 104 << 30), (96 << 30, 96 << 30)],
)
def test_sizes_are_rounded_up(size: int, expected: int) -> None:
    assert rounded(size) == expected


def test_none_is_rounded_by_an_eighth_or_down() -> None:
    for size in range(16 * MIB, 1 << 32, 7_654_321):
        assert size <= rounded(size) < size * 9 / 8 + 1
        assert rounded(rounded(size)) == rounded(size)
