"""What others need to know of a domain, read from its XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement

from app.hypervisor.base import Mark
from app.hypervisor.domain_blockers import Blocked, blockers
from app.hypervisor.domain_mark import MARK_NAMESPACE, mark_of
from app.hypervisor.domain_tree import BadXml, parse, write

_ATTACHED = ("bridge", "direct")
_LINES = ("serial", "parallel", "console", "channel")
_UNITS: dict[str, int] = {"b": 1, "bytes": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk, as the guest sees it and where its data are."""

    target: str
    type: str
    """file, block, network, …"""
    device: str
    """disk, cdrom, floppy, lun."""
    path: str | None
    """On the host; None for an empty drive or a network disk."""
    format: str
    """raw, qcow2, …"""
    read_only: bool
    shareable: bool
    layered: bool = False
    """What it does not hold itself is in other files below it."""
    optional: bool = False
    """A host that does not have it starts the guest with the drive empty."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface."""

    type: str
    """bridge, network, direct, …"""
    source: str
    """The bridge's, network's or host interface's name."""
    mac: str
    model: str


@dataclass(frozen=True, slots=True)
class Graphics:
    """A graphical console. Port is None while it is not known."""

    type: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Cpu:
    """The CPU that the guest sees."""

    mode: str
    """custom, host-model, host-passthrough, maximum."""
    model: str = ""
    required: tuple[str, ...] = ()
    """Features beside the model's own."""
    disabled: tuple[str, ...] = ()
    """Features of the model that it does not have."""
    checked: bool = True
    """False where the definition tells libvirt to take whatever the host has of it."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """A domain. Memory in bytes."""

    name: str
    uuid: UUID | None
    type: str
    """kvm or qemu."""
    arch: str
    """Empty where the XML leaves it to the host; so is machine."""
    machine: str
    memory: int
    """What the guest may at most have."""
    vcpus: int
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    graphics: tuple[Graphics, ...] = ()
    files: tuple[str, ...] = ()
    """Host paths beside disks: kernel, initrd, firmware, and where serial ports and consoles write."""
    cpu: Cpu | None = None
    hugepages: tuple[int, ...] = ()
    """Sizes of the pages that its memory lies in, in bytes; 0 is the host's default size. Empty: ordinary pages."""
    blockers: tuple[Blocked, ...] = ()
    """What keeps it where it is."""
    mark: Mark | None = None
    others_metadata: tuple[str, ...] = ()
    """XML namespaces of what others have noted in the domain's metadata."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The libvirt networks that it is attached to."""
        return tuple(sorted({one.source for one in self.interfaces if one.type == "network" and one.source}))

    @property
    def host_interfaces(self) -> tuple[str, ...]:
        """The bridges and interfaces of its host that it is attached to."""
        return tuple(sorted({one.source for one in self.interfaces if one.type in _ATTACHED and one.source}))


def read(xml: str) -> DomainFacts:
    """Raises BadXml."""
    return facts_of(parse(xml))


def facts_of(root: Element) -> DomainFacts:
    """Raises BadXml where name, uuid, memory or vcpu cannot be read."""
    machine = root.find("os/type")
    cpu = root.find("cpu")
    return DomainFacts(
        name=root.findtext("name", ""),
        uuid=_uuid(root.findtext("uuid")),
        type=root.get("type", ""),
        arch=machine.get("arch", "") if machine is not None else "",
        machine=machine.get("machine", "") if machine is not None else "",
        memory=memory_of(root),
        vcpus=vcpus_of(root),
        disks=tuple(_disk(disk) for disk in root.findall("devices/disk")),
        interfaces=tuple(_interface(interface) for interface in root.findall("devices/interface")),
        graphics=tuple(_graphics(graphics) for graphics in root.findall("devices/graphics")),
        files=tuple(_files(root)),
        cpu=_cpu(cpu) if cpu is not None else None,
        hugepages=_hugepages(root),
        blockers=blockers(root),
        mark=mark_of(root),
        others_metadata=tuple(dict.fromkeys(_namespaces(root))),
    )


def _namespaces(root: Element) -> Iterator[str]:
    for element in root.findall("metadata/*"):
        namespace = element.tag.rpartition("}")[0].removeprefix("{")
        if namespace and namespace != MARK_NAMESPACE:
            yield namespace


def _cpu(cpu: Element) -> Cpu:
    model = cpu.findtext("model", "").strip()
    features = [(feature.get("policy", "require"), feature.get("name", "")) for feature in cpu.findall("feature")]
    return Cpu(
        # A model without a mode is libvirt's oldest way to say custom.
        mode=cpu.get("mode", "custom" if model else ""),
        model=model,
        required=tuple(sorted(name for policy, name in features if policy in ("require", "force"))),
        disabled=tuple(sorted(name for policy, name in features if policy in ("disable", "forbid"))),
        checked=cpu.get("check") != "none",
    )


def cpu_xml(cpu: Cpu) -> str:
    """The `<cpu>` as libvirt compares it with a host."""
    element = Element("cpu", {"mode": cpu.mode})
    if cpu.model:
        element.set("match", "exact")
        SubElement(element, "model", {"fallback": "forbid"}).text = cpu.model
    for policy, names in (("require", cpu.required), ("disable", cpu.disabled)):
        for name in names:
            SubElement(element, "feature", {"policy": policy, "name": name})
    return write(element)


def _hugepages(root: Element) -> tuple[int, ...]:
    backing = root.find("memoryBacking/hugepages")
    if backing is None:
        return ()
    sizes = {_bytes(page.get("size", ""), page.get("unit", "KiB")) for page in backing.findall("page")}
    return tuple(sorted(sizes)) or (0,)


def memory_of(root: Element) -> int:
    """Bytes. NUMA cells, where there are any, overrule `<memory>` in libvirt: the larger is what may be used."""
    memory = root.find("memory")
    if memory is None:
        raise BadXml("has no <memory>")
    cells = (_bytes(cell.get("memory", ""), cell.get("unit", "KiB")) for cell in root.findall("cpu/numa/cell"))
    return max(_bytes(memory.text or "", memory.get("unit", "KiB")), sum(cells))


def vcpus_of(root: Element) -> int:
    """Virtual CPUs at most; 1 where nothing is said."""
    text = (root.findtext("vcpu") or "1").strip()
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 4096):
        raise BadXml("has a <vcpu> that is no number from 1 to 4096")
    return int(text)


def _bytes(text: str, unit: str) -> int:
    text, factor = text.strip(), _UNITS.get(unit.strip().lower())
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadXml("has a memory size that is no whole number")
    if factor is None:
        raise BadXml(f"has a memory size in an unknown unit {unit!r}")
    return int(text) * factor


def _uuid(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text.strip())
    except ValueError as wrong:
        raise BadXml("has a <uuid> that is none") from wrong


def _disk(disk: Element) -> Disk:
    source, driver, target = disk.find("source"), disk.find("driver"), disk.find("target")
    path = None
    if source is not None:
        path = source.get("file") or source.get("dev") or source.get("dir")
    return Disk(
        target=target.get("dev", "") if target is not None else "",
        type=disk.get("type", "file"),
        device=disk.get("device", "disk"),
        path=path,
        format=driver.get("type", "raw") if driver is not None else "raw",
        read_only=disk.find("readonly") is not None or disk.get("device") == "cdrom",
        shareable=disk.find("shareable") is not None,
        layered=disk.find("backingStore/source") is not None,
        optional=source is not None and source.get("startupPolicy") in ("optional", "requisite"),
    )


def _interface(interface: Element) -> Interface:
    source, mac, model = interface.find("source"), interface.find("mac"), interface.find("model")
    names = source.attrib if source is not None else {}
    # A running guest's network names the bridge or device too, which is the host's own business; where it leads to one
    # that others made, libvirt gives the interface that one's type besides.
    network = names.get("network", "")
    return Interface(
        type="network" if network else interface.get("type", ""),
        source=network or names.get("bridge") or names.get("dev") or "",
        mac=mac.get("address", "") if mac is not None else "",
        model=model.get("type", "") if model is not None else "",
    )


def _graphics(graphics: Element) -> Graphics:
    listen = graphics.find("listen")
    host = graphics.get("listen") or (listen.get("address") if listen is not None else None) or ""
    port = graphics.get("port", "")
    return Graphics(
        graphics.get("type", ""), host, int(port) if port.isascii() and port.isdigit() and port != "0" else None
    )


def _files(root: Element) -> list[str]:
    texts = [root.findtext(f"os/{name}") for name in ("kernel", "initrd", "dtb", "loader", "nvram")]
    lines = [line for kind in _LINES for line in root.findall(f"devices/{kind}")]
    sources = [source.get("path") for line in lines for source in line.findall("source")]
    logs = [log.get("file") for line in lines for log in line.findall("log")]
    found = [path for path in (*texts, *sources, *logs) if path and not path.startswith("/dev/pts/")]
    return list(dict.fromkeys(found))
