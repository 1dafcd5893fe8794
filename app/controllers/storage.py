"""Which of a guest's disks a move must reach from both hosts, and which only one host can reach. Pure.

What is below a prefix that both Nodes declare in kubevirt.io/shared-paths, and what lies on a server of disks, need not be
copied. A disk that is only read is left to libvirt: it says before anything moves whether the target has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.controllers.placement.nodes import is_below
from app.hypervisor.domain_facts import Disk
from app.kinds.virtualmachine import VMDisk

_ON_THE_HOST = ("file", "block", "dir")


def written_disks(disks: Iterable[Disk]) -> Iterator[VMDisk]:
    """Those that the guest writes to and that lie on its host."""
    for disk in disks:
        if disk.type in _ON_THE_HOST and disk.path and not disk.read_only:
            yield VMDisk(target=disk.target, type=disk.type, path=disk.path)


def local_disks(disks: Iterable[VMDisk], shared: Sequence[str]) -> tuple[VMDisk, ...]:
    """Those that other hosts cannot reach: their data would have to be copied."""
    return tuple(disk for disk in disks if not is_below(disk.path, shared))


def is_declared_shared(disks: Iterable[VMDisk], source: Sequence[str], target: Sequence[str]) -> bool:
    """Whether both hosts declare each of these disks, of which there are some: then libvirt's own judgement of what is
    shared, which knows only some file systems, is overruled."""
    listed = tuple(disks)
    return bool(listed) and not local_disks(listed, source) and not local_disks(listed, target)
