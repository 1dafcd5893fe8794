"""Domain XML: made from a VirtualMachine's spec, judged by the operator's rules, and read. Pure.

The tree, the mark, the JSON form, the rules and what is read of it each have a file; this one puts them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement

from app.hypervisor.base import Mark
from app.hypervisor.domain_facts import DomainFacts, cpu_xml, facts_of, memory_of, read, vcpus_of
from app.hypervisor.domain_json import build
from app.hypervisor.domain_mark import MARK_NAMESPACE, MARK_PREFIX, mark_of, mark_xml, put_mark, read_mark
from app.hypervisor.domain_rules import Policy, judge, paths_in_xml
from app.hypervisor.domain_tree import BadXml, parse, write
from app.machinery.errors import FieldError
from app.machinery.objects import Document

__all__ = [
    "MARK_NAMESPACE",
    "MARK_PREFIX",
    "BadXml",
    "DomainFacts",
    "Policy",
    "cpu_xml",
    "definition",
    "facts",
    "for_target",
    "from_json",
    "from_xml",
    "mark_of",
    "mark_xml",
    "problems",
    "read",
    "read_mark",
]


def definition(spec: Document, *, name: str, uuid: UUID, mark: Mark) -> str:
    """The libvirt XML of a VirtualMachine's spec, in whichever form it has. Raises BadXml."""
    if spec.get("domainXML") is not None:
        return from_xml(spec["domainXML"], name=name, uuid=uuid, mark=mark)
    return from_json(spec.get("domain") or {}, name=name, uuid=uuid, mark=mark)


def from_json(domain: Document, *, name: str, uuid: UUID, mark: Mark) -> str:
    """libvirt XML of a DomainSpec that has passed its schema."""
    return _identified(build(domain, "spec.domain").root, name, uuid, mark)


def from_xml(text: str, *, name: str, uuid: UUID, mark: Mark) -> str:
    """The user's XML with Drover's name, uuid and metadata; the rest stays. Raises BadXml."""
    return _identified(parse(text), name, uuid, mark)


def problems(spec: Document, policy: Policy) -> Iterator[FieldError]:
    """What the operator does not allow of a VirtualMachine's guest, and what cannot be read; whatever its form."""
    if isinstance(spec.get("domainXML"), str):
        yield from _xml_problems(spec["domainXML"], policy)
    if isinstance(spec.get("domain"), dict):
        built = build(spec["domain"], "spec.domain")
        yield from judge(built.root, policy, built.origins)


def facts(spec: Document) -> DomainFacts:
    """The guest of a VirtualMachine's spec, in whichever form it has. Raises BadXml."""
    text = spec.get("domainXML")
    return facts_of(build(spec.get("domain") or {}, "spec.domain").root if text is None else parse(text))


def for_target(xml: str, *, disks: Mapping[str, str] | None = None, mark: Mark | None = None) -> str:
    """A running guest's XML as the target should have it: other paths for disks (by target, `vda`), another mark.

    What libvirt compares between the two sides (devices, addresses, memory) stays. Raises BadXml.
    """
    root = parse(xml)
    for disk in root.findall("devices/disk"):
        target = disk.find("target")
        path = (disks or {}).get(target.get("dev", "") if target is not None else "")
        if path is not None:
            _relocate(disk, path)
    if mark is not None:
        put_mark(root, mark)
    return write(root)


def _relocate(disk: Element, path: str) -> None:
    source = disk.find("source")
    if source is None:
        source = SubElement(disk, "source")
    source.set("dev" if disk.get("type") == "block" else "file", path)
    # The copy is whole: what it was layered on stays behind.
    for below in disk.findall("backingStore"):
        disk.remove(below)
    SubElement(disk, "backingStore")


def _xml_problems(text: str, policy: Policy) -> Iterator[FieldError]:
    try:
        root = parse(text)
        memory_of(root)
        vcpus_of(root)
    except BadXml as wrong:
        # Not the value: it is long, and whoever sent it has it.
        yield FieldError("spec.domainXML", "FieldValueInvalid", f"Invalid value: {wrong}")
        return
    yield from judge(root, policy, paths_in_xml(root, "spec.domainXML"))


def _identified(root: Element, name: str, uuid: UUID, mark: Mark) -> str:
    for tag in ("name", "uuid"):
        for old in root.findall(tag):
            root.remove(old)
    root.attrib.pop("id", None)
    put_mark(root, mark)
    for position, (tag, text) in enumerate((("name", name), ("uuid", str(uuid)))):
        element = Element(tag)
        element.text = text
        root.insert(position, element)
    return write(root)
