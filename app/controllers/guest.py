"""What the controllers must know of a VirtualMachine's guest, from its spec and from its live definition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.controllers.documents import domain_uuid
from app.controllers.placement.need import GuestCpu, HostNeeds
from app.controllers.storage import disks_of, local_disks, written_disks
from app.hypervisor import domain_xml
from app.hypervisor.base import Candidate, Inspection, Mark
from app.hypervisor.domain_blockers import Blocker
from app.hypervisor.domain_facts import Cpu, DomainFacts
from app.kinds.virtualmachine import Reason, VMCpu, VMGraphics, VMHostRequirements
from app.machinery.objects import Document

_REASONS = {
    Blocker.HOST_DEVICE: (Reason.HOST_DEVICES, "detach them"),
    Blocker.SHARED_MEMORY: (Reason.SHARED_MEMORY, "detach it"),
    Blocker.FILESYSTEM: (Reason.SHARED_FILESYSTEM, "unmount and detach it"),
    Blocker.VDPA: (Reason.VDPA_INTERFACE, "detach it"),
    Blocker.TRANSIENT_DISK: (Reason.TRANSIENT_DISK, "detach it"),
    Blocker.INVARIANT_TSC: (Reason.INVARIANT_TSC, "give the timer tsc of its clock a frequency"),
    Blocker.NVME_DISK: (Reason.NVME_DISK, "detach it"),
}
"""And what would let it move."""
_LET_GO = "delete them (virsh snapshot-delete, which with --metadata keeps what they hold)"


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that keeps a guest on its host."""

    reason: Reason
    because: str
    """And what would help, in a sentence."""


@dataclass(frozen=True, slots=True)
class Live:
    """What a look at a running guest tells."""

    bound: tuple[Bound, ...]
    """Why it cannot be moved; empty if it can."""
    graphics: tuple[VMGraphics, ...]
    requirements: VMHostRequirements

    @property
    def because(self) -> str:
        """All of it, in a sentence."""
        return "; ".join(one.because for one in self.bound)


def facts(vm: Document) -> DomainFacts:
    """The guest as its spec has it. Raises BadXml."""
    return domain_xml.facts(vm["spec"])


def mark(store_id: str, vm: Document) -> Mark:
    """By which the guest is known as ours, on whatever host."""
    metadata = vm["metadata"]
    return Mark(store=store_id, vm=f"{metadata['namespace']}/{metadata['name']}")


def definition(store_id: str, vm: Document) -> str:
    """The XML that a host is given; the libvirt name is <namespace>_<name>, the UUID metadata.uid. Raises BadXml."""
    spec, metadata = vm["spec"], vm["metadata"]
    return domain_xml.definition(spec, name=domain_name(vm), uuid=UUID(metadata["uid"]), mark=mark(store_id, vm))


def domain_name(vm: Document) -> str:
    """libvirt's name of a guest; an adopted one keeps its own."""
    return (vm.get("status") or {}).get("domainName") or f"{vm['metadata']['namespace']}_{vm['metadata']['name']}"


def live(inspection: Inspection, shared: Sequence[str]) -> Live:
    """`shared` are the prefixes of paths that its host shares with others. Raises BadXml."""
    read = domain_xml.read(inspection.definition)
    graphics = tuple(
        VMGraphics(type=console.type, host=console.host, port=console.port)
        for console in read.graphics
        if console.port is not None
    )
    return Live(tuple(_bound(inspection, read, shared)), graphics, _requirements(read))


def host_needs(read: DomainFacts) -> HostNeeds:
    """What a guest that is started for the first time asks of its host. Its disks are wherever its definition says."""
    cpu = _asked(read.cpu) if read.cpu is not None and read.cpu.mode == "custom" else None
    return HostNeeds(
        domain_type=read.type,
        arch=read.arch,
        machine=read.machine,
        cpu=GuestCpu() if cpu is None else _guest_cpu(cpu.mode, cpu.model, cpu.required, cpu.disabled),
        networks=frozenset(read.networks),
        interfaces=frozenset(read.host_interfaces),
    )


def moving_needs(vm: Document, *, copying: bool) -> HostNeeds:
    """What a running guest asks of another host, as its own host last told. Disks that may be copied need not be reached."""
    told = VMHostRequirements.read((vm.get("status") or {}).get("hostRequirements") or {})
    cpu = told.cpu or VMCpu()
    return HostNeeds(
        domain_type=told.domain_type,
        arch=told.arch,
        machine=told.machine,
        cpu=_guest_cpu(cpu.mode, cpu.model, cpu.required, cpu.disabled),
        networks=frozenset(told.networks),
        interfaces=frozenset(told.interfaces),
        shared_paths=tuple(
            sorted(disk.path for disk in told.disks if not disk.read_only and not (copying and disk.copyable))
        ),
    )


def candidate(vm: Document, needs: HostNeeds) -> Candidate:
    """The guest as another host is asked about it."""
    told = (vm.get("status") or {}).get("hostRequirements") or {}
    return Candidate(
        uuid=domain_uuid(vm),
        name=told.get("domainName") or domain_name(vm),
        domain_type=needs.domain_type,
        arch=needs.arch,
        machine=needs.machine,
        cpu_xml=cpu_xml(needs),
    )


def cpu_xml(needs: HostNeeds) -> str:
    """The CPU as libvirt compares it with a host; empty where none is known."""
    cpu = needs.cpu
    if not cpu.mode:
        return ""
    return domain_xml.cpu_xml(Cpu(cpu.mode, cpu.model, tuple(sorted(cpu.features)), tuple(sorted(cpu.disabled))))


def _asked(cpu: Cpu | None) -> Cpu | None:
    """None for one that any host will do for."""
    if cpu is None or not cpu.mode or (cpu.mode == "custom" and not cpu.checked):
        return None
    return cpu


def _guest_cpu(mode: str, model: str, required: Iterable[str], disabled: Iterable[str]) -> GuestCpu:
    return GuestCpu(mode, model, frozenset(required), frozenset(disabled))


def _bound(inspection: Inspection, read: DomainFacts, shared: Sequence[str]) -> Iterable[Bound]:
    for blocked in read.blockers:
        reason, help_ = _REASONS[blocked.by]
        yield Bound(reason, f"{blocked.because}: {help_}")
    if inspection.snapshots:
        yield Bound(Reason.SNAPSHOTS, f"libvirt keeps {inspection.snapshots} snapshot(s) of the guest: {_LET_GO}")
    for disk in inspection.block_jobs:
        yield Bound(Reason.BLOCK_JOB, f"libvirt is at work on disk {disk}: wait until that is over")
    for local in local_disks(written_disks(read.disks), shared):
        if not local.copyable:
            because = f"disk {local.target} is {local.path}, which only this host can reach, and which cannot be copied"
            because += ": put it where hosts share it, and say so in the Nodes' annotation kubevirt.io/shared-paths"
            yield Bound(Reason.LOCAL_STORAGE, because)


def _requirements(read: DomainFacts) -> VMHostRequirements:
    cpu = _asked(read.cpu)
    return VMHostRequirements(
        domain_name=read.name,
        domain_type=read.type,
        arch=read.arch,
        machine=read.machine,
        cpu=None
        if cpu is None
        else VMCpu(mode=cpu.mode, model=cpu.model, required=list(cpu.required), disabled=list(cpu.disabled)),
        networks=list(read.networks),
        interfaces=list(read.host_interfaces),
        disks=list(disks_of(read.disks)),
    )
