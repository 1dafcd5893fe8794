"""A guest without a kernel: a boot sector that starts at once, dirties memory at a set rate, and ticks on its console."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

from app.lab.accelerator import accelerator
from app.lab.errors import LabError
from app.lab.programs import program, require

SOURCE = Path(__file__).with_name("boot_sector.s")
MIB = 1 << 20
PAGE = 4096
ROUNDS_PER_SECOND = 100
TICK_S = 0.1
"""The time between two lines of its console."""


def build_boot_sector(image: Path, *, dirty_mib: int = 32, mib_per_second: float = 8) -> Path:
    """A raw disk of 1 MiB whose guest writes to `dirty_mib` of its memory, over and over, at that rate (0: idle)."""
    require("as", "ld")
    pages = max(0, round(mib_per_second * MIB / PAGE / ROUNDS_PER_SECOND))
    symbols = {"PAGES": pages, "FIRST": 2 * MIB, "END": (2 + dirty_mib) * MIB}
    defined = [part for name, value in symbols.items() for part in ("--defsym", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as work:
        linked, assembled = Path(work, "sector"), Path(work, "sector.o")
        _run(program("as"), "--32", *defined, "-o", str(assembled), str(SOURCE))
        _run(
            program("ld"),
            "-m",
            "elf_i386",
            "-Ttext",
            "0x7c00",
            "--oformat",
            "binary",
            "-o",
            str(linked),
            str(assembled),
        )
        sector = linked.read_bytes()
    unfinished = image.with_name(f".{image.name}-{os.getpid()}")
    unfinished.write_bytes(sector.ljust(MIB, b"\0"))
    unfinished.chmod(0o644)
    unfinished.replace(image)
    return image


def boot_sector_xml(name: str, uuid: str, image: Path, *, memory_mib: int = 64, console: Path | None = None) -> str:
    """Its libvirt definition; `console` is a file that goes on growing after a move. Without a UUID one is given to it."""
    kind = accelerator()
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    serial = ""
    if console is not None:
        serial = f"<serial type='file'><source path={quoteattr(str(console))} append='on'/><target port='0'/></serial>"
    return f"""\
<domain type='{kind}'>
  <name>{name}</name>{identity}
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file={quoteattr(str(image))}/>
      <target dev='vda' bus='virtio'/>
      <readonly/>
    </disk>
    <controller type='usb' model='none'/>
    {serial}
    <memballoon model='none'/>
  </devices>
</domain>
"""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise LabError(f"{command[0]} failed: {done.stderr.strip()}")
