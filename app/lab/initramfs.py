"""The guest's whole disk: busybox, the modules that it needs, and its heartbeat, packed as an initramfs."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from app.lab.errors import LabError
from app.lab.kernel import Kernel
from app.lab.programs import program, require

HEARTBEAT = Path(__file__).with_name("heartbeat.c")
INIT = Path(__file__).with_name("init.sh")
MODULES = ("button", "evdev", "virtio_pci", "virtio_blk", "sd_mod", "virtio_scsi", "virtio_net")
APPLETS = ("sh", "mount", "insmod", "stty", "ip")


def initramfs(kernel: Kernel, cache: Path) -> Path:
    """Built once for a kernel and these sources; two at once do not collide."""
    recipe = (HEARTBEAT.read_bytes(), INIT.read_bytes(), " ".join((*MODULES, *APPLETS, kernel.folder.name)).encode())
    keep = cache / f"initramfs-{hashlib.sha256(b''.join(recipe)).hexdigest()[:16]}.gz"
    if keep.exists():
        return keep
    require("gcc", "busybox", "cpio", "gzip")
    with tempfile.TemporaryDirectory(prefix=".initramfs-", dir=cache) as work:
        root = Path(work, "root")
        _furnish(root, kernel)
        packed = Path(work, "packed")
        _pack(root, packed)
        packed.replace(keep)
    return keep


def _furnish(root: Path, kernel: Kernel) -> None:
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy(program("busybox"), root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for number, module in enumerate(kernel.modules(*MODULES)):
        shutil.copy(module, root / f"modules/{number:02}-{module.name}")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    _run([program("gcc"), "-O2", "-Wall", "-static", "-o", str(root / "heartbeat"), str(HEARTBEAT)])
    if _is_dynamic(root / "bin/busybox"):
        raise LabError("busybox is linked dynamically: apt-get install --no-install-recommends busybox-static")


def _is_dynamic(binary: Path) -> bool:
    """It asks for an interpreter (PT_INTERP, 3), and the guest has no libraries."""
    elf = binary.read_bytes()
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    return any(struct.unpack_from("<I", elf, table + index * size) == (3,) for index in range(count))


def _pack(root: Path, packed: Path) -> None:
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    archive = _run([program("cpio"), "-o", "-H", "newc", "--quiet", "-R", "0:0"], root, names.encode())
    packed.write_bytes(_run([program("gzip"), "-9"], given=archive))


def _run(command: list[str], folder: Path = Path("/"), given: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise LabError(f"{os.fsdecode(command[0])} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
