"""A guest that writes to a disk without end, and what must be on that disk at any moment."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.lab.accelerator import accelerator
from app.lab.hosts import LabHosts

MIB = 1 << 20
SECTOR = 512
FIRST = 32 * MIB // SECTOR
RING = 1024
SIZE_MIB = 64
PRESET_MIB = 16
"""Random data at its beginning, which the guest never touches."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a disk holds."""

    preset: str
    """Checksum of what was on it from the start."""
    writes: int
    """How many the guest had made."""


def writer_xml(hosts: LabHosts, name: str, uuid: str, disk: Path, form: str) -> str:
    """The guest; its first disk is what it boots from. The firmware serves only disks that have a place in the order."""
    boot = hosts.images / "writer.img"
    if not boot.exists():
        _assemble(boot)
    return f"""\
<domain type='{accelerator()}'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{boot}'/>
      <target dev='vda' bus='virtio'/><readonly/><boot order='1'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='{form}' cache='none'/><source file='{disk}'/>
      <target dev='vdb' bus='virtio'/><boot order='2'/></disk>
    <controller type='usb' model='none'/><memballoon model='none'/>
  </devices></domain>"""


def make_disk(hosts: LabHosts, path: Path, form: str) -> str:
    """With random data at its beginning; their checksum."""
    preset = os.urandom(PRESET_MIB * MIB)
    raw = path.with_name(f"{path.name}.preset")
    raw.write_bytes(preset)
    with raw.open("r+b") as file:
        file.truncate(SIZE_MIB * MIB)
    _run("qemu-img", "convert", "-f", "raw", "-O", form, str(raw), str(path))
    raw.unlink()
    hosts.give(path)
    return hashlib.sha256(preset).hexdigest()


def content(path: Path, form: str) -> Content:
    """Fails unless every sector of the ring holds the newest write that was meant for it. No guest may use the disk."""
    raw = path.with_name(f"{path.name}.read")
    _run("qemu-img", "convert", "-f", form, "-O", "raw", str(path), str(raw))
    data = raw.read_bytes()
    raw.unlink()
    ring = data[FIRST * SECTOR : (FIRST + RING) * SECTOR]
    sectors = [ring[at : at + SECTOR] for at in range(0, len(ring), SECTOR)]
    numbers = [int.from_bytes(sector[:4], "little") for sector in sectors]
    last = max(numbers)
    for place, (sector, number) in enumerate(zip(sectors, numbers, strict=True)):
        expected = last - (last - place) % RING
        assert number == max(0, expected), f"sector {place} holds write {number} after {last}"
        assert sector == number.to_bytes(4, "little") * (SECTOR // 4), f"sector {place} is torn"
    return Content(hashlib.sha256(data[: PRESET_MIB * MIB]).hexdigest(), last)


def _assemble(image: Path) -> None:
    linked, assembled = image.with_suffix(".bin"), image.with_suffix(".o")
    source = Path(__file__).with_name("disk_writer.s")
    symbols = ("--defsym", f"FIRST={FIRST}", "--defsym", f"RING={RING}")
    _run("as", "--32", *symbols, "-o", str(assembled), str(source))
    _run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", str(linked), str(assembled))
    image.write_bytes(linked.read_bytes().ljust(MIB, b"\0"))
    image.chmod(0o644)
    for file in (linked, assembled):
        file.unlink()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
