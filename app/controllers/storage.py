"""Which of a guest's disks a move must reach from both hosts, and which only one host can reach. Pure.

What is below a prefix that both Nodes declare in kubevirt.io/shared-paths, and what lies on a server of disks, need not be
copied. libvirt copies no disk that is only read: such an image (a CD, cloud-init's) is brought to the target by Drover before
the guest moves, unless the target has a file of that path with the same bytes. A device that is only read, and an image that is
layered on others, is left to libvirt: it says before anything moves whether the target has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from app.controllers.placement.nodes import is_below
from app.hypervisor.domain_facts import Disk
from app.kinds.virtualmachine import VMDisk

COPIED_FORMATS = ("raw", "qcow2")
"""Those that a storage pool makes empty, and QEMU fills."""
_COPIED = re.compile(r"(\.[0-9a-f]{8}(-[0-9]+)?)+$")
_ON_THE_HOST = ("file", "block", "dir")


def disks_of(disks: Iterable[Disk]) -> Iterator[VMDisk]:
    """Those that lie on the guest's host, written to or not."""
    listed = tuple(disks)
    yield from written_disks(listed)
    for disk in listed:
        if disk.type in _ON_THE_HOST and disk.path and disk.read_only:
            copyable = disk.type == "file" and not disk.layered
            yield VMDisk(
                target=disk.target,
                type=disk.type,
                path=disk.path,
                format=disk.format,
                copyable=copyable,
                read_only=True,
            )


def written_disks(disks: Iterable[Disk]) -> Iterator[VMDisk]:
    """Those that the guest writes to and that lie on its host."""
    for disk in disks:
        if disk.type in _ON_THE_HOST and disk.path and not disk.read_only:
            yield VMDisk(
                target=disk.target, type=disk.type, path=disk.path, format=disk.format, copyable=_is_copyable(disk)
            )


def _is_copyable(disk: Disk) -> bool:
    return disk.type == "file" and disk.device == "disk" and disk.format in COPIED_FORMATS and not disk.shareable


def local_disks(disks: Iterable[VMDisk], shared: Sequence[str]) -> tuple[VMDisk, ...]:
    """Those that other hosts cannot reach: their data would have to be copied."""
    return tuple(disk for disk in disks if not is_below(disk.path, shared))


def copies(disks: Iterable[VMDisk], source: Sequence[str], target: Sequence[str]) -> tuple[VMDisk, ...]:
    """Those that not both hosts declare shared, and that can be copied. libvirt may still know better that they are shared."""
    return _undeclared(_written(disks), source, target)


def images(disks: Iterable[VMDisk], source: Sequence[str], target: Sequence[str]) -> tuple[VMDisk, ...]:
    """Those that are only read, that not both hosts declare shared, and that can be brought along."""
    return _undeclared((disk for disk in disks if disk.read_only), source, target)


def _written(disks: Iterable[VMDisk]) -> tuple[VMDisk, ...]:
    return tuple(disk for disk in disks if not disk.read_only)


def _undeclared(disks: Iterable[VMDisk], source: Sequence[str], target: Sequence[str]) -> tuple[VMDisk, ...]:
    listed = tuple(disks)
    undeclared = {disk.target for prefixes in (source, target) for disk in local_disks(listed, prefixes)}
    return tuple(disk for disk in listed if disk.target in undeclared and disk.copyable)


def copied_path(path: str, migration_uid: str, attempt: int) -> str:
    """A file that surely was not there before: named after the migration. The name of an earlier copy does not grow."""
    suffix = migration_uid.replace("-", "")[:8] + (f"-{attempt}" if attempt > 1 else "")
    return f"{_COPIED.sub('', path)}.{suffix}"


def is_declared_shared(disks: Iterable[VMDisk], source: Sequence[str], target: Sequence[str]) -> bool:
    """Whether both hosts declare each of these disks that is not copied, of which there are some: then libvirt's own judgement
    of what is shared, which knows only some file systems, is overruled."""
    listed = _written(disks)
    kept = [disk for disk in listed if disk not in copies(listed, source, target)]
    return bool(kept) and not local_disks(kept, source) and not local_disks(kept, target)
