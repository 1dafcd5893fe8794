"""How much of a guest's disks would be copied to another host, as its own host tells."""

from __future__ import annotations

from uuid import UUID

import structlog

from app.hypervisor.base import Busy, DomainGone, Hypervisor, Refused
from app.kinds.virtualmachine import VMDisk, VMHostRequirements

log = structlog.get_logger()

_LEAST = 1 << 20


async def sized(told: VMHostRequirements, domain: UUID, host: Hypervisor) -> VMHostRequirements:
    """With the size of each disk that can be copied while the guest runs; without, where libvirt does not tell it. Raises
    Unreachable."""
    if not any(_travels(disk) for disk in told.disks):
        return told
    try:
        usage = await host.disk_usage(domain)
    except (Refused, DomainGone, Busy) as error:
        log.info("disks not measured", domain=str(domain), error=error.text)
        return told
    disks = [
        disk.model_copy(update={"size": rounded(usage[disk.target])})
        if _travels(disk) and disk.target in usage
        else disk
        for disk in told.disks
    ]
    return told.model_copy(update={"disks": disks})


def _travels(disk: VMDisk) -> bool:
    return bool(disk.copyable and not disk.read_only)


def rounded(size: int) -> int:
    """
    Up, by less than an eighth or to a MiB. An image grows while its guest writes, and the VirtualMachine is not to be written
    each time that somebody looks.
    """
    step = max(_LEAST, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
