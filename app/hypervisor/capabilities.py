"""Reading libvirt's capabilities XML: what a host is and which guests it can run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID
from xml.etree import ElementTree as ET

from app.hypervisor.base import GuestCpus

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What does not change while a host is up."""

    uuid: UUID
    arch: str
    machine_types: tuple[str, ...]
    domain_types: tuple[str, ...]
    """Best first: `kvm` before `qemu`."""
    hugepages: tuple[tuple[int, int], ...] = ()
    """(Size of a page, bytes in such pages)."""


def read_capabilities(xml: str) -> Capabilities:
    """Raises ValueError where libvirt names no host UUID or architecture."""
    root = ET.fromstring(xml)
    uuid, arch = root.findtext("host/uuid"), root.findtext("host/cpu/arch")
    if uuid is None or arch is None:
        raise ValueError("the capabilities name no host UUID or no architecture")
    guests = [found for guest in root.findall("guest") for found in guest.findall("arch") if found.get("name") == arch]
    machines = {name for guest in guests for machine in guest.iter("machine") for name in _names(machine)}
    kinds = {kind for guest in guests for domain in guest.iter("domain") if (kind := domain.get("type"))}
    return Capabilities(UUID(uuid), arch, tuple(sorted(machines)), tuple(sorted(kinds)), _hugepages(root))


def read_cpu_model(xml: str) -> str:
    """The named model nearest to the host's CPU, from domain capabilities; empty where libvirt knows none."""
    model = ET.fromstring(xml).findtext("cpu/mode[@name='host-model']/model")
    return model or ""


def host_model_cpu(xml: str) -> str:
    """The `<cpu>` that host-model stands for, from domain capabilities; empty where the host has none."""
    mode = ET.fromstring(xml).find("cpu/mode[@name='host-model']")
    if mode is None or mode.find("model") is None:
        return ""
    cpu = ET.Element("cpu", {"mode": "custom", "match": "exact"})
    cpu.extend(part for part in mode if part.tag in ("model", "vendor", "feature"))
    return ET.tostring(cpu, encoding="unicode")


def read_guest_cpus(xml: str, domain_type: str, expanded: str) -> GuestCpus:
    """From domain capabilities; `expanded` is the host-model `<cpu>` with every feature named, or empty."""
    custom = ET.fromstring(xml).findall("cpu/mode[@name='custom']/model[@usable='yes']")
    features = _required(ET.fromstring(expanded)) if expanded else ()
    return GuestCpus(domain_type, read_cpu_model(xml), tuple(sorted(m.text for m in custom if m.text)), features)


def _required(cpu: ET.Element) -> tuple[str, ...]:
    said = (feature.get("name") for feature in cpu.findall("feature") if feature.get("policy") in (None, "require"))
    return tuple(sorted(name for name in said if name))


def _hugepages(root: ET.Element) -> tuple[tuple[int, int], ...]:
    """Over all NUMA cells; sizes without a page are left out."""
    total: Counter[int] = Counter()
    for pages in root.findall("host/topology/cells/cell/pages"):
        size = int(pages.get("size", "0")) * (1024 if pages.get("unit", "KiB") == "KiB" else 1)
        if size > _PAGE:
            total[size] += size * int(pages.text or "0")
    return tuple(sorted((size, amount) for size, amount in total.items() if amount))


def host_interfaces(names: Sequence[str]) -> tuple[str, ...]:
    """Those of the host: libvirt's taps for guests, and loopback, apart."""
    return tuple(sorted(name for name in names if name != "lo" and not name.startswith(("vnet", "macvtap"))))


def _names(machine: ET.Element) -> tuple[str, ...]:
    canonical, name = machine.get("canonical"), (machine.text or "").strip()
    return tuple(found for found in (canonical, name) if found)
