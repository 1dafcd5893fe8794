"""Reading libvirt's capabilities XML: what a host is and which guests it can run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID
from xml.etree import ElementTree as ET


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What does not change while a host is up."""

    uuid: UUID
    arch: str
    machine_types: tuple[str, ...]
    domain_types: tuple[str, ...]
    """Best first: `kvm` before `qemu`."""


def read_capabilities(xml: str) -> Capabilities:
    """Raises ValueError where libvirt names no host UUID or architecture."""
    root = ET.fromstring(xml)
    uuid, arch = root.findtext("host/uuid"), root.findtext("host/cpu/arch")
    if uuid is None or arch is None:
        raise ValueError("the capabilities name no host UUID or no architecture")
    guests = [found for guest in root.findall("guest") for found in guest.findall("arch") if found.get("name") == arch]
    machines = {name for guest in guests for machine in guest.iter("machine") for name in _names(machine)}
    kinds = {kind for guest in guests for domain in guest.iter("domain") if (kind := domain.get("type"))}
    return Capabilities(UUID(uuid), arch, tuple(sorted(machines)), tuple(sorted(kinds)))


def read_cpu_model(xml: str) -> str:
    """The named model nearest to the host's CPU, from domain capabilities; empty where libvirt knows none."""
    model = ET.fromstring(xml).findtext("cpu/mode[@name='host-model']/model")
    return model or ""


def _names(machine: ET.Element) -> tuple[str, ...]:
    canonical, name = machine.get("canonical"), (machine.text or "").strip()
    return tuple(found for found in (canonical, name) if found)
