"""The programs that a lab runs, and the Debian packages that they come from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from app.lab.errors import LabError

PACKAGES = {
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "as": "binutils",
    "ld": "binutils",
    "gcc": "gcc",
    "gzip": "gzip",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg": "dpkg",
    "zstd": "zstd",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
}
DRIVER = Path("lib/libvirt/connection-driver/libvirt_driver_qemu.so")
"""libvirt's QEMU driver, a package of its own: below /usr, in the architecture's folder or not."""
SEARCH_PATH = ":".join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""An ordinary user's PATH lacks the folders where Debian keeps daemons."""


def program(name: str) -> str:
    """The absolute path of a program; LabError names its package."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None:
        raise LabError(f"{name} is missing: apt-get install --no-install-recommends {PACKAGES.get(name, name)}")
    return found


def require(*names: str, path: str = SEARCH_PATH) -> None:
    """All at once, so that one command mends it."""
    missing = sorted({PACKAGES[name] for name in names if shutil.which(name, path=path) is None})
    if "libvirtd" in names and not any(_driver_folders()):
        missing.append("libvirt-daemon-driver-qemu")
    if missing:
        raise LabError(f"missing programs: apt-get install --no-install-recommends {' '.join(missing)}")


def _driver_folders() -> list[Path]:
    usr = Path("/usr")
    return [usr / DRIVER] if (usr / DRIVER).exists() else list(usr.glob(f"lib/*/{DRIVER.relative_to('lib')}"))
