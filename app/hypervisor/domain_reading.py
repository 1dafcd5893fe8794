"""Libvirt's domain XML as KubeVirt 2017's JSON DomainSpec: the table of `domain_json`, read the other way.

What the table does not know is left out, and so is SMBIOS data: passwords and the like stay on the host.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from app.hypervisor.domain_json import DOMAIN, Below
from app.hypervisor.domain_tree import parse
from app.machinery.objects import Document

_LISTS = frozenset(
    {"disks", "interfaces", "channels", "serials", "consoles", "graphics", "video", "bootOrder", "features"}
)
_LEFT_OUT = frozenset({"sysInfo", "passwdValidTo"})


def as_json(xml: str) -> Document:
    """What the XML says in the words of a DomainSpec, every value a text. Raises BadXml."""
    return _object(DOMAIN, parse(xml))


def _object(form: Below, element: Element) -> Document:
    read: Document = {}
    for name, place in form.fields.items():
        if name in _LEFT_OUT:
            continue
        if isinstance(place, Below):
            found = [_object(place, each) for each in element.findall(place.tag)]
            if found:
                # A CPU has a list of features, a domain one object of them.
                is_list = name in _LISTS and place.tag != name
                read[name] = found if is_list or name in ("graphics", "video") else found[0]
        elif (text := _text(place, element)) is not None:
            read[name] = text
    return read


def _text(place: str, element: Element) -> str | None:
    tag, at, attribute = place.rpartition("@")
    if not at:
        return _stripped(element.text if place == "." else element.findtext(place))
    found = element.find(tag.rstrip("/")) if tag else element
    return None if found is None else _stripped(found.get(attribute))


def _stripped(text: str | None) -> str | None:
    return (text or "").strip() or None
