"""What the controllers must know of a VirtualMachine's guest, from its spec and from its live definition. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.hypervisor import domain_xml
from app.hypervisor.base import Mark
from app.hypervisor.domain_xml import Demand
from app.kinds.virtualmachine import Reason, VMGraphics
from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Live:
    """What the definition of a running guest tells."""

    blocked_by: Reason | None
    """Why it cannot be moved, as far as the definition tells."""
    blocked_because: str
    graphics: tuple[VMGraphics, ...]


def demand(vm: Document) -> Demand:
    """Memory and virtual CPUs. Raises BadXml."""
    return domain_xml.demand(vm["spec"])


def mark(store_id: str, vm: Document) -> Mark:
    """By which the guest is known as ours, on whatever host."""
    metadata = vm["metadata"]
    return Mark(store=store_id, vm=f"{metadata['namespace']}/{metadata['name']}")


def definition(store_id: str, vm: Document) -> str:
    """The XML that a host is given; the libvirt name is <namespace>_<name>, the UUID metadata.uid. Raises BadXml."""
    metadata = vm["metadata"]
    name = f"{metadata['namespace']}_{metadata['name']}"
    return domain_xml.definition(vm["spec"], name=name, uuid=UUID(metadata["uid"]), mark=mark(store_id, vm))


def live(xml: str) -> Live:
    """Raises BadXml."""
    facts = domain_xml.read(xml)
    graphics = tuple(
        VMGraphics(type=console.type, host=console.host, port=console.port)
        for console in facts.graphics
        if console.port is not None
    )
    if facts.host_devices:
        return Live(Reason.HOST_DEVICES, f"the guest holds {facts.host_devices} device(s) of its host", graphics)
    return Live(None, "", graphics)
