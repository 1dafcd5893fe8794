"""Drover's metadata in a domain's XML: one element in a namespace of its own, which travels with the guest."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, register_namespace

from app.hypervisor.base import Mark
from app.hypervisor.domain_tree import BadXml, parse, write

MARK_NAMESPACE = "https://drover/domain/v1"
MARK_PREFIX = "drover"
_LOCAL = "guest"
_QUALIFIED = f"{{{MARK_NAMESPACE}}}{_LOCAL}"

_FLAGS = ("released", "adopted", "autostart", "transient", "stopped")

register_namespace(MARK_PREFIX, MARK_NAMESPACE)


def mark_xml(mark: Mark) -> str:
    """The element as virDomainSetMetadata takes it: without a namespace, which libvirt adds from its key and URI."""
    return write(_element(_LOCAL, mark))


def read_mark(xml: str) -> Mark | None:
    """The mark in a domain's XML, or in the element that virDomainGetMetadata answers. None where there is none."""
    try:
        root = parse(xml)
    except BadXml:
        return None
    return mark_of(root)


def mark_of(root: Element) -> Mark | None:
    """The mark in a parsed domain, or in the metadata's own element."""
    found = root if root.tag in (_LOCAL, _QUALIFIED) else root.find(f"metadata/{_QUALIFIED}")
    return None if found is None else _mark(found)


def put_mark(root: Element, mark: Mark) -> None:
    """Give a parsed domain this mark and no other; everybody else's metadata stay."""
    kept = [item for metadata in root.findall("metadata") for item in metadata if item.tag != _QUALIFIED]
    for metadata in root.findall("metadata"):
        root.remove(metadata)
    metadata = SubElement(root, "metadata")
    metadata.extend([*kept, _element(_QUALIFIED, mark)])


def _element(tag: str, mark: Mark) -> Element:
    attributes = {
        "store": mark.store,
        "vm": mark.vm,
        "migration": mark.migration,
        "attempt": str(mark.attempt) if mark.attempt else "",
        **{flag: "yes" if getattr(mark, flag) else "" for flag in _FLAGS},
    }
    return Element(tag, {key: value for key, value in attributes.items() if value})


def _mark(element: Element) -> Mark:
    """What somebody else damaged reads as not said: a host's domains are listed whatever they carry."""
    attempt = element.get("attempt", "")
    return Mark(
        store=element.get("store", ""),
        vm=element.get("vm", ""),
        migration=element.get("migration", ""),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        **{flag: element.get(flag) == "yes" for flag in _FLAGS},
    )
