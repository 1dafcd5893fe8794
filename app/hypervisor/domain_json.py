"""KubeVirt 2017's JSON DomainSpec as libvirt's domain XML: one table that says where each field goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from app.machinery.objects import Document


@dataclass(frozen=True, slots=True)
class Below:
    """An object, or each object of a list, becomes an element of this tag."""

    tag: str
    fields: Mapping[str, str | Below] = field(default_factory=dict)
    within: str = ""
    """An element around them all."""


Fields = Mapping[str, str | Below]
"""Where a field goes: `@x` an attribute, `.` the element's text, `x` a child's text, `x/@y` a child's attribute."""

_BOOT_ORDER: Fields = {"order": "@order"}
_ENTRIES = Below("entry", {"name": "@name", "value": "."})

_DISK = Below(
    "disk",
    {
        "type": "@type",
        "device": "@device",
        "snapshot": "@snapshot",
        "serial": "serial",
        "driver": Below(
            "driver",
            {"cache": "@cache", "errorPolicy": "@error_policy", "io": "@io", "name": "@name", "type": "@type"},
        ),
        "source": Below(
            "source",
            {
                "file": "@file",
                "dev": "@dev",
                "startupPolicy": "@startupPolicy",
                "protocol": "@protocol",
                "name": "@name",
                "host": Below("host", {"name": "@name", "port": "@port"}),
            },
        ),
        "target": Below("target", {"dev": "@dev", "bus": "@bus"}),
        "readOnly": Below("readonly"),
        "auth": Below(
            "auth", {"username": "@username", "secret": Below("secret", {"type": "@type", "usage": "@usage"})}
        ),
    },
)

_INTERFACE = Below(
    "interface",
    {
        "type": "@type",
        "source": Below("source", {"network": "@network", "device": "@dev", "bridge": "@bridge"}),
        "target": Below("target", {"dev": "@dev"}),
        "model": Below("model", {"type": "@type"}),
        "mac": Below("mac", {"address": "@address"}),
        "bandwidth": Below("bandwidth"),
        "boot": Below("boot", _BOOT_ORDER),
        "link": Below("link", {"state": "@state"}),
        "filterRef": Below("filterref", {"filter": "@filter"}),
        "address": Below(
            "address",
            {"type": "@type", "domain": "@domain", "bus": "@bus", "slot": "@slot", "function": "@function"},
        ),
        "alias": Below("alias", {"name": "@name"}),
    },
)

_GRAPHICS = Below(
    "graphics",
    {
        "type": "@type",
        "port": "@port",
        "tlsPort": "@tlsPort",
        "autoPort": "@autoport",
        "defaultMode": "@defaultMode",
        "passwdValidTo": "@passwdValidTo",
        "listen": Below("listen", {"type": "@type", "address": "@address", "network": "@network"}),
    },
)

_VIDEO = Below(
    "video",
    {
        "type": "model/@type",
        "heads": "model/@heads",
        "ram": "model/@ram",
        "vRam": "model/@vram",
        "vgaMem": "model/@vgamem",
    },
)

_CHANNEL = Below(
    "channel",
    {
        "type": "@type",
        "source": Below("source", {"mode": "@mode", "path": "@path"}),
        "target": Below("target", {"type": "@type", "name": "@name", "address": "@address", "port": "@port"}),
    },
)

_DEVICES = Below(
    "devices",
    {
        "emulator": "emulator",
        "disks": _DISK,
        "interfaces": _INTERFACE,
        "channels": _CHANNEL,
        "serials": Below("serial", {"type": "@type", "target": Below("target", {"port": "@port"})}),
        "consoles": Below("console", {"type": "@type", "target": Below("target", {"type": "@type", "port": "@port"})}),
        "graphics": _GRAPHICS,
        "video": _VIDEO,
        "watchdog": Below("watchdog", {"model": "@model", "action": "@action"}),
        "memballoon": Below("memballoon", {"model": "@model"}),
    },
)

_OS = Below(
    "os",
    {
        "type": Below("type", {"os": ".", "arch": "@arch", "machine": "@machine"}),
        "smBIOS": Below("smbios", {"mode": "@mode"}),
        "bootOrder": Below("boot", {"dev": "@dev"}),
        "bootMenu": Below("bootmenu", {"enabled": "@enable", "timeout": "@timeout"}),
        "bios": Below("bios"),
    },
)

_CPU = Below(
    "cpu",
    {
        "mode": "@mode",
        "match": "@match",
        "check": "@check",
        "model": "model",
        "topology": Below("topology", {"sockets": "@sockets", "cores": "@cores", "threads": "@threads"}),
        "features": Below("feature", {"policy": "@policy", "name": "@name"}),
    },
)

DOMAIN = Below(
    "domain",
    {
        "type": "@type",
        "memory": Below("memory", {"value": ".", "unit": "@unit"}),
        "vcpu": "vcpu",
        "os": _OS,
        "cpu": _CPU,
        "features": Below("features", {"acpi": Below("acpi"), "apic": Below("apic"), "pae": Below("pae")}),
        "clock": Below("clock"),
        "sysInfo": Below(
            "sysinfo",
            {
                "type": "@type",
                "bios": Below("entry", _ENTRIES.fields, within="bios"),
                "system": Below("entry", _ENTRIES.fields, within="system"),
                "baseBoard": Below("entry", _ENTRIES.fields, within="baseBoard"),
            },
        ),
        "devices": _DEVICES,
    },
)
"""v1.DomainSpec and all that is reachable from it."""


@dataclass(frozen=True, slots=True)
class Built:
    """A tree, and for each of its elements the JSON path that it comes from."""

    root: Element
    origins: Mapping[Element, str]


def build(domain: Document, path: str) -> Built:
    """The tree of a DomainSpec that has passed its schema, with what an ordinary guest needs where it says nothing."""
    origins: dict[Element, str] = {}
    root = _element(DOMAIN, domain, path, origins)
    _fill_in(root, path, origins)
    return Built(root, origins)


def _fill_in(root: Element, path: str, origins: dict[Element, str]) -> None:
    clock = root.find("clock")
    if clock is not None:
        clock.set("offset", "utc")
    for feature in root.findall("cpu/feature"):
        feature.attrib.setdefault("policy", "require")
    if root.find("vcpu") is None:
        _child(root, "vcpu", path, origins).text = "1"
    if root.find("features") is None and _is_x86(root):
        # Without ACPI a guest never hears that it is to power off.
        features = _child(root, "features", path, origins)
        for name in ("acpi", "apic"):
            _child(features, name, path, origins)


def _is_x86(root: Element) -> bool:
    machine = root.find("os/type")
    return machine is None or machine.get("arch", "x86_64") in ("x86_64", "i686")


def _element(form: Below, value: Document, path: str, origins: dict[Element, str]) -> Element:
    element = Element(form.tag)
    origins[element] = path
    for name, place in form.fields.items():
        if value.get(name) is not None:
            _put(element, place, value[name], f"{path}.{name}", origins)
    return element


def _put(element: Element, place: str | Below, value: Any, path: str, origins: dict[Element, str]) -> None:
    if isinstance(place, Below):
        if value == []:
            return
        around = _child(element, place.within, path, origins) if place.within else element
        if isinstance(value, list):
            around.extend([_element(place, each, f"{path}[{i}]", origins) for i, each in enumerate(value)])
        else:
            around.append(_element(place, value, path, origins))
        return
    tag, _, attribute = place.rpartition("@")
    if tag:
        element = _child(element, tag.rstrip("/"), path, origins)
    if attribute and "@" in place:
        element.set(attribute, _text(value))
    elif place == ".":
        element.text = _text(value)
    else:
        _child(element, place, path, origins).text = _text(value)


def _child(element: Element, tag: str, path: str, origins: dict[Element, str]) -> Element:
    """The child of that tag, made where there is none."""
    found = element.find(tag)
    if found is None:
        found = SubElement(element, tag)
        origins[found] = path
    return found


def _text(value: Any) -> str:
    """As libvirt writes scalars: yes and no for booleans."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
