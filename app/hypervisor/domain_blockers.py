"""What of a guest's definition libvirt refuses to migrate. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from xml.etree.ElementTree import Element


class Blocker(StrEnum):
    """Why a guest cannot be moved while it runs."""

    HOST_DEVICE = "host device"
    SHARED_MEMORY = "shared memory device"
    FILESYSTEM = "shared file system"
    VDPA = "vDPA interface"
    TRANSIENT_DISK = "transient disk"
    INVARIANT_TSC = "invariant TSC"
    NVME_DISK = "NVMe disk"


@dataclass(frozen=True, slots=True)
class Blocked:
    """One thing that keeps a guest where it is, in a sentence for people."""

    by: Blocker
    because: str


def blockers(root: Element) -> tuple[Blocked, ...]:
    """All of them."""
    return (*_devices(root), *_disks(root), *_clock(root))


def _devices(root: Element) -> Iterator[Blocked]:
    """A device that is teamed as `transient` is taken off by libvirt for the way."""
    held = [device for device in root.findall("devices/hostdev") if not _is_teamed(device)]
    held += [one for one in root.findall("devices/interface[@type='hostdev']") if not _is_teamed(one)]
    if held:
        yield Blocked(Blocker.HOST_DEVICE, f"the guest holds {len(held)} device(s) of its host")
    for shmem in root.findall("devices/shmem"):
        if shmem.get("role") != "master":
            yield Blocked(Blocker.SHARED_MEMORY, f"shared memory {shmem.get('name', '')} moves only with role='master'")
    for filesystem in root.findall("devices/filesystem"):
        target = filesystem.find("target")
        name = target.get("dir", "") if target is not None else ""
        yield Blocked(Blocker.FILESYSTEM, f"the guest has mounted its host's directory as {name}")
    if root.find("devices/interface[@type='vdpa']") is not None:
        yield Blocked(Blocker.VDPA, "the guest has a vDPA interface")


def _is_teamed(device: Element) -> bool:
    teaming = device.find("teaming")
    return teaming is not None and teaming.get("type") == "transient"


def _disks(root: Element) -> Iterator[Blocked]:
    for disk in root.findall("devices/disk"):
        target = disk.find("target")
        name = target.get("dev", "") if target is not None else ""
        if disk.find("transient") is not None:
            yield Blocked(Blocker.TRANSIENT_DISK, f"what was written to the transient disk {name} would be lost")
        if disk.get("type") == "nvme":
            yield Blocked(Blocker.NVME_DISK, f"disk {name} is an NVMe drive of its host")


def _clock(root: Element) -> Iterator[Blocked]:
    invariant = root.find("cpu/feature[@name='invtsc']")
    if invariant is None or invariant.get("policy", "require") not in ("require", "force"):
        return
    timers = root.findall("clock/timer[@name='tsc']")
    if not any(timer.get("frequency") for timer in timers):
        yield Blocked(Blocker.INVARIANT_TSC, "the guest counts by an invariant TSC without a fixed frequency")
